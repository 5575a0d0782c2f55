//! What a model card takes from the card of the base checkpoint.

/// The keys that hold for a quantised model as for its base.
const KEYS: [&str; 5] = ["license", "license_name", "license_link", "language", "pipeline_tag"];
/// The key of the library that loads a model.
const LIBRARY: &str = "library_name";
/// More lines belong to no such key.
const MOST_LINES: usize = 200;
/// No value is longer, in bytes.
const LONGEST_LINE: usize = 1000;

/// Metadata of the card of a base checkpoint that hold for what is made from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarriedMetadata {
    /// Lines of YAML, as they stand there.
    pub lines: String,
    /// The library that loads the base.
    pub library: Option<String>,
}

impl CarriedMetadata {
    /// What of `card`, the text of a `README.md`, is carried along: nothing where it has no front matter. Of a value that is more than
    /// a word, a quoted text or a list of these it cannot be said where it ends, so that it stays behind: what follows it on the new
    /// card would be a part of it.
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
        let mut carried_keys: Vec<&str> = Vec::new();
        for block in blocks(&front) {
            let Some((key, value)) = block[0].split_once(':') else { continue };
            if key == LIBRARY {
                let library = value.trim().trim_matches(['"', '\'']);
                carried.library = is_word(library).then(|| library.to_string());
            } else if KEYS.contains(&key) && !carried_keys.contains(&key) && is_simple(value, &block[1..]) {
                carried_keys.push(key);
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

/// Whether `value`, which stands behind a key, and the `items` below it are a value that ends where it seems to.
fn is_simple(value: &str, items: &[&str]) -> bool {
    let (value, is_ignored) =
        (value.trim(), |line: &str| line.is_empty() || line.trim_start().starts_with('#'));
    let mut items = items.iter().map(|line| line.trim_start()).filter(|line| !is_ignored(line)).peekable();
    let is_item = |line: &str| line.strip_prefix("- ").is_some_and(|item| is_scalar(item.trim()));
    match items.peek() {
        None => is_scalar(value) || is_list(value),
        Some(_) => value.is_empty() && items.by_ref().take(MOST_LINES).all(is_item) && items.peek().is_none(),
    }
}

/// Whether `text` is a list on one line.
fn is_list(text: &str) -> bool {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|inner| {
        inner.split(',').map(str::trim).all(|item| is_scalar(item) && !item.contains(['[', ']', '{', '}']))
    })
}

/// Whether `text` is a plain or a quoted text of YAML, with nothing behind it.
fn is_scalar(text: &str) -> bool {
    if text.is_empty() || text.len() > LONGEST_LINE || text.chars().any(char::is_control) {
        return false;
    }
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.strip_suffix(quote).is_some_and(|inner| !inner.contains([quote, '\\']));
        }
    }
    let begins = |text: &str| {
        !text.starts_with([
            '[', ']', '{', '}', ',', '#', '&', '*', '!', '|', '>', '%', '@', '`', '-', '?', ':',
        ])
    };
    begins(text) && !text.contains(": ") && !text.contains(" #") && !text.ends_with(':')
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

    /// A value that goes on after its lines would take in what the new card says below it.
    #[test]
    fn a_value_of_which_the_end_is_not_certain_stays_behind() {
        for value in [
            "\"mit",
            "'mit",
            "\"a\" b\"",
            "\"a\\",
            "[en, de",
            "[en, [de]]",
            "{a: b}",
            "|",
            ">-\n  mit",
            "a: b",
            "mit # x",
            "&a mit",
            "!!str mit",
            "\u{1b}[31mmit",
            "mit\n  and more",
            "\n- \"en\n- de",
            "\n- en: de",
            "\n  name: mit",
            "@mit",
            "a:",
        ] {
            let card = format!("---\nlicense: {value}\npipeline_tag: any\n---\n");
            assert_eq!(CarriedMetadata::of(&card).lines, "pipeline_tag: any\n", "{value}");
        }
        assert_eq!(CarriedMetadata::of(&format!("---\nlicense: {}\n---\n", "x".repeat(2000))).lines, "");
        assert_eq!(CarriedMetadata::of(&format!("---\nlanguage:{}\n---\n", "\n- en".repeat(300))).lines, "");
        let twice =
            "---\nlicense: mit\nlicense: other\nlanguage: [en, 'de']\nlicense_link: https://a.b/c\n---\n";
        assert_eq!(
            CarriedMetadata::of(twice).lines,
            "license: mit\nlanguage: [en, 'de']\nlicense_link: https://a.b/c\n"
        );
    }
}
