//! Which schemes of a sweep belong together.

use super::data::SweepReport;

/// The classes of the style sheet that give families their colours: six colours, then the same with rings for dots and broken lines.
/// Those beyond are grey.
const COLOURS: [&str; 13] = [
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "first ring",
    "second ring",
    "third ring",
    "fourth ring",
    "fifth ring",
    "sixth ring",
    "quiet",
];

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
                None => families.push((scheme.family, FamilyRow { label: String::new(), schemes: vec![at] })),
            }
        }
        let names = self.short_names();
        let mut families: Vec<FamilyRow> = families.into_iter().map(|(_, row)| row).collect();
        let labels = self.labels(&families, &names);
        for (family, label) in families.iter_mut().zip(labels) {
            family.label = label;
        }
        families
    }

    /// What each of `families` is called where its schemes are called `names`: by the words that these begin with; where that
    /// tells nothing, by the policy that made them or the first of them.
    pub(in crate::report) fn labels(&self, families: &[FamilyRow], names: &[String]) -> Vec<String> {
        let own =
            |family: &FamilyRow| family.schemes.iter().map(|&at| names[at].as_str()).collect::<Vec<_>>();
        let words: Vec<String> = families.iter().map(|family| common_words(&own(family))).collect();
        let label = |(at, family): (usize, &FamilyRow)| {
            let is_taken = words.iter().enumerate().any(|(other, word)| other != at && *word == words[at]);
            if !words[at].is_empty() && !is_taken {
                return words[at].clone();
            }
            let first = family.schemes[0];
            let policy = |family: &FamilyRow| {
                let origin = self.schemes[family.schemes[0]].origin.as_ref();
                origin.and_then(|origin| origin.policy.clone())
            };
            let is_its_own = |name: &String| {
                let others = families.iter().filter(|other| policy(other).as_ref() == Some(name));
                others.count() == 1
            };
            let more = if family.schemes.len() > 1 { ", …" } else { "" };
            policy(family).filter(is_its_own).unwrap_or_else(|| format!("{}{more}", names[first]))
        };
        families.iter().enumerate().map(label).collect()
    }
}

/// `name` beside a point that has the colour of the family `label`: without the words that the colour stands for.
pub(in crate::report) fn name_within<'a>(label: &str, name: &'a str) -> &'a str {
    let rest = name.strip_prefix(label).and_then(|rest| rest.strip_prefix('_'));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(name)
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
        assert_eq!(name_within("lm_only", "lm_only_top10"), "top10");
        assert_eq!(name_within("lm", "lm_only_top10"), "only_top10");
        assert_eq!([name_within("lm_on", "lm_only"), name_within("all", "all")], ["lm_only", "all"]);
    }
}
