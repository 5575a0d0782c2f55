//! What a model card takes from the card of the base checkpoint.

use std::collections::BTreeSet;

/// The keys that hold for a quantised model as for its base.
const KEYS: [&str; 5] = ["license", "license_name", "license_link", "language", "pipeline_tag"];
/// The key of the library that loads a model.
const LIBRARY: &str = "library_name";
/// No key has more values.
const MOST_VALUES: usize = 200;
/// No value is longer, in bytes.
const LONGEST_VALUE: usize = 1000;

/// Metadata of the card of a base checkpoint that hold for what is made from it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarriedMetadata {
    /// Lines of YAML that say it.
    pub lines: String,
    /// The library that loads the base.
    pub library: Option<String>,
    /// What was left out because it cannot be read, as a sentence without its subject, which is the card.
    pub note: Option<String>,
}

/// The values of a key: one, or a list.
#[derive(Debug, PartialEq, Eq)]
enum Carried {
    One(String),
    Several(Vec<String>),
}

impl CarriedMetadata {
    /// What of `card`, the text of a `README.md`, is carried along: nothing where it has no front matter, and nothing of one that is
    /// no YAML. Of YAML, lines with one value or a list of values are understood, and written anew; the rest is left out.
    pub fn of(card: &str) -> Self {
        let mut carried = CarriedMetadata::default();
        let text = card.trim_start_matches('\u{feff}');
        // The Hub reads front matter after blank lines too.
        let blank = text.lines().take_while(|line| line.trim().is_empty()).count();
        let mut lines = text.lines().skip(blank).map(str::trim_end);
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
        let blocks = match blocks(&front) {
            Ok(blocks) => blocks,
            Err(line) => {
                // The first line is the rule.
                carried.note = Some(format!(
                    "is not understood as YAML in line {}, so nothing of it comes along",
                    line + 2 + blank
                ));
                return carried;
            }
        };
        let mut unread = Vec::new();
        for (key, value) in blocks {
            let is_library = key == LIBRARY;
            if !is_library && !KEYS.contains(&key) {
                continue;
            }
            match values(&value) {
                Ok(None) => {}
                Ok(Some(Carried::One(library))) if is_library => {
                    carried.library = is_word(&library).then_some(library);
                }
                Ok(Some(Carried::One(value))) => carried.lines += &format!("{key}: {}\n", scalar(&value)),
                Ok(Some(Carried::Several(values))) if !is_library => {
                    carried.lines += &format!("{key}:\n");
                    values.iter().for_each(|value| carried.lines += &format!("- {}\n", scalar(value)));
                }
                _ => unread.push(format!("`{key}`")),
            }
        }
        carried.note = (!unread.is_empty()).then(|| {
            format!(
                "says {} in a way that is not understood here, so that does not come along",
                unread.join(", ")
            )
        });
        carried
    }
}

/// The keys at the top with their lines: the first is what stands behind the key, and those that follow belong to it where they are
/// indented, items or empty. The number of the first line that can be no part of that, from 0.
fn blocks<'a>(lines: &[&'a str]) -> Result<Vec<(&'a str, Vec<&'a str>)>, usize> {
    let mut blocks: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let is_inside = line.is_empty() || line.starts_with([' ', '-', ']', '}']);
        if line.starts_with('#') || line.is_empty() && blocks.is_empty() {
            continue;
        }
        // A tab may not indent.
        if line.trim_start_matches(' ').starts_with('\t') {
            return Err(at);
        }
        if is_inside {
            blocks.last_mut().ok_or(at)?.1.push(line);
            continue;
        }
        let (key, value) = match line.split_once(": ") {
            Some((key, value)) => (key, value),
            None => (line.strip_suffix(':').ok_or(at)?, ""),
        };
        let is_key = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_plain = !key.is_empty() && key.chars().all(is_key);
        if !is_plain || !seen.insert(key) || !is_possible(value.trim()) {
            return Err(at);
        }
        blocks.push((key, vec![value]));
    }
    Ok(blocks)
}

/// Whether `value`, which stands behind a key, can be YAML: a plain one neither begins as something else does nor holds a further key.
fn is_possible(value: &str) -> bool {
    let value = value.split(" #").next().unwrap_or_default().trim_end();
    match value.chars().next() {
        Some('"' | '\'' | '[' | '{' | '|' | '>' | '&' | '*' | '!' | '#') | None => true,
        Some(',' | ']' | '}' | '%' | '@' | '`') => false,
        Some(_) => !value.contains(": ") && !value.ends_with(':'),
    }
}

/// What the lines of a key say; nothing where that is nothing.
fn values(lines: &[&str]) -> Result<Option<Carried>, ()> {
    let (first, rest) = lines.split_first().ok_or(())?;
    let rest: Vec<&str> = rest.iter().map(|line| line.trim()).filter(|line| !is_empty(line)).collect();
    let first = first.trim();
    if rest.len() > MOST_VALUES {
        return Err(());
    }
    match (is_empty(first), rest.is_empty()) {
        (true, true) => Ok(None),
        (true, false) => {
            let item = |line: &&str| one(line.strip_prefix("- ").ok_or(())?.trim())?.ok_or(());
            rest.iter().map(item).collect::<Result<_, _>>().map(|items| Some(Carried::Several(items)))
        }
        (false, true) => match first.strip_prefix('[') {
            Some(list) => {
                let list = list.strip_suffix(']').ok_or(())?.trim();
                let item = |item: &str| one(item.trim())?.ok_or(());
                let items = list.trim_end_matches(',').split(',').filter(|item| !item.trim().is_empty());
                items.map(item).collect::<Result<_, _>>().map(|items| Some(Carried::Several(items)))
            }
            None => Ok(one(first)?.map(Carried::One)),
        },
        // A value of several lines.
        (false, false) => Err(()),
    }
}

/// Whether `text` is nothing, or a comment.
fn is_empty(text: &str) -> bool {
    text.is_empty() || text.starts_with('#')
}

/// The one value that `text` is, in quotes or without; nothing where it stands for nothing.
fn one(text: &str) -> Result<Option<String>, ()> {
    if text.len() > LONGEST_VALUE {
        return Err(());
    }
    for quote in ['"', '\''] {
        let Some(inside) = text.strip_prefix(quote) else { continue };
        let (inside, after) = inside.rsplit_once(quote).ok_or(())?;
        let is_end = is_empty(after.trim());
        let is_read = is_end && !inside.contains([quote, '\\']) && inside.chars().all(|c| !c.is_control());
        return if is_read { Ok(Some(inside.into())) } else { Err(()) };
    }
    let text = text.split(" #").next().unwrap_or_default().trim();
    let begins_otherwise =
        text.starts_with(['[', ']', '{', '}', '|', '>', '&', '*', '!', '%', '@', '`', ',', '?', '-', ':']);
    let is_plain = !begins_otherwise
        && !text.contains(": ")
        && !text.ends_with(':')
        && text.chars().all(|c| !c.is_control());
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Ok(None),
        _ if is_plain => Ok(Some(text.into())),
        _ => Err(()),
    }
}

/// `value` as YAML: in quotes unless it is a word that stands for nothing but itself.
fn scalar(value: &str) -> String {
    // What YAML takes for other things than texts: `no` is a language.
    const OTHERS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let is_address = value
        .strip_prefix("https://")
        .is_some_and(|rest| rest.chars().all(|c| is_part(c) || "/".contains(c)));
    let is_text = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && !OTHERS.contains(&value.to_ascii_lowercase().as_str());
    match is_text && (is_word(value) || is_address) {
        true => value.into(),
        // A text of JSON is one of YAML.
        false => serde_json::Value::from(value).to_string(),
    }
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_task_and_languages_come_along() {
        let card = "---\r\nlicense: other\r\nlicense_name: \"research\"\r\nlicense_link: LICENSE # here\r\nlanguage:\r\n- en\r\n- de\r\n\
                    base_model: a/b\r\ntags:\r\n  - x\r\npipeline_tag: image-text-to-text\r\nlibrary_name: transformers\r\n---\r\n# Title\r\nlicense: no\r\n";
        let carried = CarriedMetadata::of(card);
        assert_eq!(
            carried.lines,
            "license: other\nlicense_name: research\nlicense_link: LICENSE\nlanguage:\n- en\n- de\npipeline_tag: image-text-to-text\n"
        );
        assert_eq!((carried.library.as_deref(), carried.note), (Some("transformers"), None));
    }

    #[test]
    fn values_are_written_as_texts_whatever_they_look_like() {
        for (given, expected) in [
            ("license: 'bsd #2'", "license: \"bsd #2\"\n"),
            ("license: mit and more", "license: \"mit and more\"\n"),
            ("license_link: https://example.org/a/LICENSE", "license_link: https://example.org/a/LICENSE\n"),
            ("license_link: https://example.org/?a=b", "license_link: \"https://example.org/?a=b\"\n"),
            ("language: [en, no, 'zh']", "language:\n- en\n- \"no\"\n- zh\n"),
            ("language:\n  - no\n\n  # two\n  - de", "language:\n- \"no\"\n- de\n"),
            ("license: 3", "license: \"3\"\n"),
            ("license:", ""),
            ("license: ~", ""),
        ] {
            let carried = CarriedMetadata::of(&format!("---\n{given}\n---\n"));
            assert_eq!((carried.lines.as_str(), carried.note), (expected, None), "{given}");
        }
    }

    #[test]
    fn what_is_no_front_matter_gives_nothing() {
        for card in ["", "# Title\n---\nlicense: mit\n---\n", "---\nlicense: mit\n"] {
            assert_eq!(CarriedMetadata::of(card), CarriedMetadata::default(), "{card}");
        }
        let odd = CarriedMetadata::of("---\nlibrary_name: a b c\nlicense: mit\n---\n");
        assert_eq!((odd.lines.as_str(), odd.library), ("license: mit\n", None));
    }

    #[test]
    fn of_what_is_no_yaml_nothing_is_taken() {
        for (front, line) in [
            ("license: mit\nthis is no key", 3),
            ("license: mit\nlicense: other", 3),
            ("license: mit\n\ttags: x", 3),
            ("- a\nlicense: mit", 2),
            ("license: mit\ntitle: a: b", 3),
            ("license: mit\ntitle: @b", 3),
            ("\"license\": mit", 2),
        ] {
            let carried = CarriedMetadata::of(&format!("---\n{front}\n---\n"));
            assert_eq!((carried.lines.as_str(), carried.library), ("", None), "{front}");
            assert!(
                carried.note.unwrap().starts_with(&format!("is not understood as YAML in line {line},")),
                "{front}"
            );
        }
        for (value, key) in [
            ("license: *other", "`license`"),
            ("license: \"mit", "`license`"),
            ("license: |\n  a\n  b", "`license`"),
            ("license: 'a' 'b'", "`license`"),
            ("license: \"a\\x00\"", "`license`"),
            ("language: [en, [de]]", "`language`"),
            ("language:\n- en\n- a: b", "`language`"),
            ("language: [en", "`language`"),
        ] {
            let carried = CarriedMetadata::of(&format!("---\n{value}\npipeline_tag: text-generation\n---\n"));
            assert_eq!(carried.lines, "pipeline_tag: text-generation\n", "{value}");
            assert!(carried.note.unwrap().starts_with(&format!("says {key} in a way")), "{value}");
        }
    }

    /// A value that goes on after its lines would take in what the new card says below it.
    #[test]
    fn a_value_of_which_the_end_is_not_certain_stays_behind() {
        let values = [
            "\"mit",
            "'mit",
            "\"a\" b\"",
            "\"a\\",
            "[en, de",
            "[en, [de]]",
            "{a: b}",
            "|",
            ">-\n  mit",
            "&a mit",
            "!!str mit",
            "\u{1b}[31mmit",
            "mit\n  and more",
            "\n- \"en\n- de",
            "\n- en: de",
            "\n  name: mit",
        ];
        for value in values.map(String::from).into_iter().chain(["x".repeat(2000), "\n- en".repeat(300)]) {
            let carried = CarriedMetadata::of(&format!("---\nlicense: {value}\npipeline_tag: any\n---\n"));
            assert_eq!(carried.lines, "pipeline_tag: any\n", "{value}");
            assert!(carried.note.is_some(), "{value}");
        }
    }
}
