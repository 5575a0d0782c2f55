//! Which schemes of a sweep belong together.

use super::data::SweepReport;

/// The classes of the style sheet that give families their colours; those beyond share the last.
const COLOURS: [&str; 6] = ["first", "second", "third", "fourth", "fifth", "sixth"];

/// The class of the family at `place`.
pub(in crate::report) fn colour(place: usize) -> &'static str {
    COLOURS[place.min(COLOURS.len() - 1)]
}

/// Schemes that belong together: those of one ranking, one policy and one layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyRow {
    /// What their short names have in common: `all_layers`.
    pub label: String,
    /// Their places among [`SweepReport::schemes`].
    pub schemes: Vec<usize>,
}

impl SweepReport {
    /// The families of the sweep, in the order of their first schemes.
    pub fn families(&self) -> Vec<FamilyRow> {
        let mut families: Vec<(usize, FamilyRow)> = Vec::new();
        for (at, scheme) in self.schemes.iter().enumerate() {
            match families.iter_mut().find(|(family, _)| *family == scheme.family) {
                Some((_, row)) => row.schemes.push(at),
                None => families
                    .push((scheme.family, FamilyRow { label: String::new(), schemes: vec![at] })),
            }
        }
        let names = self.short_names();
        let mut families: Vec<FamilyRow> = families.into_iter().map(|(_, row)| row).collect();
        for family in &mut families {
            let own: Vec<&str> = family.schemes.iter().map(|&at| names[at].as_str()).collect();
            family.label = common_words(&own);
        }
        // Labels that tell nothing apart are the names of the first schemes.
        let labels: Vec<String> = families.iter().map(|family| family.label.clone()).collect();
        for (at, family) in families.iter_mut().enumerate() {
            let is_taken = labels.iter().enumerate().any(|(other, label)| other != at && *label == labels[at]);
            if labels[at].is_empty() || is_taken {
                let more = if family.schemes.len() > 1 { ", …" } else { "" };
                family.label = format!("{}{more}", names[family.schemes[0]]);
            }
        }
        families
    }
}

/// The words that all `names` begin with, or the only name.
fn common_words(names: &[&str]) -> String {
    let [first, rest @ ..] = names else { return String::new() };
    if rest.is_empty() {
        return first.to_string();
    }
    let words: Vec<&str> = first.split('_').collect();
    let is_common = |at: usize| rest.iter().all(|name| name.split('_').nth(at) == Some(words[at]));
    let common = (0..words.len()).take_while(|&at| is_common(at)).count();
    words[..common].join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_all_names_begin_with_are_their_label() {
        assert_eq!(common_words(&["lm_only_top10", "lm_only_top20"]), "lm_only");
        assert_eq!(common_words(&["top10", "top20"]), "");
        assert_eq!(common_words(&["alone_top10"]), "alone_top10");
    }
}
