//! What a model card takes from the card of the base checkpoint.

/// The keys that hold for a quantised model as for its base.
const KEYS: [&str; 5] = ["license", "license_name", "license_link", "language", "pipeline_tag"];
/// The key of the library that loads a model.
const LIBRARY: &str = "library_name";

/// Metadata of the card of a base checkpoint that hold for what is made from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarriedMetadata {
    /// Lines of YAML, as they stand there.
    pub lines: String,
    /// The library that loads the base.
    pub library: Option<String>,
}

impl CarriedMetadata {
    /// What of `card`, the text of a `README.md`, is carried along: nothing where it has no front matter.
    pub fn of(card: &str) -> Self {
        let mut carried = CarriedMetadata::default();
        let text = card.trim_start_matches('\u{feff}');
        let mut lines = text.lines().map(str::trim_end);
        if lines.next() != Some("---") {
            return carried;
        }
        let mut front: Vec<&str> = Vec::new();
        let is_closed = lines.by_ref().any(|line| {
            front.push(line);
            line == "---"
        });
        if !is_closed {
            return carried;
        }
        front.pop();
        for block in blocks(&front) {
            let Some((key, value)) = block[0].split_once(':') else { continue };
            if key == LIBRARY {
                let library = value.trim().trim_matches(['"', '\'']);
                carried.library = is_word(library).then(|| library.to_string());
            } else if KEYS.contains(&key) && !refers_elsewhere(block) {
                block.iter().for_each(|line| {
                    carried.lines.push_str(line);
                    carried.lines.push('\n');
                });
            }
        }
        carried
    }
}

/// The lines of each key at the top: those that follow it belong to it where they are indented, items or empty.
fn blocks<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = &'a [&'a str]> {
    let begins = |line: &str| !line.is_empty() && !line.starts_with([' ', '\t', '-', '#']);
    let starts: Vec<usize> = (0..lines.len()).filter(|&at| begins(lines[at])).collect();
    let ends = starts.clone().into_iter().skip(1).chain([lines.len()]);
    let ranges: Vec<(usize, usize)> = starts.into_iter().zip(ends).collect();
    ranges.into_iter().map(|(from, to)| &lines[from..to])
}

/// Whether a value is an anchor, or stands for one that is somewhere else.
fn refers_elsewhere(block: &[&str]) -> bool {
    let values = block.iter().enumerate().map(|(at, line)| match at {
        0 => line.split_once(':').map_or("", |(_, value)| value),
        _ => line.trim_start().trim_start_matches('-'),
    });
    values.into_iter().any(|value| value.trim_start().starts_with(['*', '&', '!']))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_task_and_languages_come_along_as_they_stand() {
        let card = "---\r\nlicense: other\r\nlicense_name: \"research\"\r\nlicense_link: LICENSE\r\nlanguage:\r\n- en\r\n- de\r\n\
                    base_model: a/b\r\ntags:\r\n  - x\r\npipeline_tag: image-text-to-text\r\nlibrary_name: transformers\r\n---\r\n# Title\r\nlicense: no\r\n";
        let carried = CarriedMetadata::of(card);
        assert_eq!(
            carried.lines,
            "license: other\nlicense_name: \"research\"\nlicense_link: LICENSE\nlanguage:\n- en\n- de\npipeline_tag: image-text-to-text\n"
        );
        assert_eq!(carried.library.as_deref(), Some("transformers"));
    }

    #[test]
    fn what_is_no_front_matter_gives_nothing() {
        for card in
            ["", "# Title\n---\nlicense: mit\n---\n", "---\nlicense: mit\n", "---\nlicense: *other\n---\n"]
        {
            assert_eq!(CarriedMetadata::of(card), CarriedMetadata::default(), "{card}");
        }
        let odd = CarriedMetadata::of("---\nlibrary_name: a b: c\nlicense: mit\n---\n");
        assert_eq!((odd.lines.as_str(), odd.library), ("license: mit\n", None));
    }
}
