//! `config.json` with an entry more or less: what else stands in the file stays byte for byte.

use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::quantisation::{at, places, says_something};
use crate::error::{Error, Result};

const KEY: &str = "quantization_config";

/// `config.json` byte for byte, with `quantization_config` as its last entry. One that is there already and says nothing,
/// such as `null`, goes.
///
/// # Errors
/// [`Error::Format`] when `text` (of `path`) is no JSON object, or has such an entry that says something.
pub fn with_quantization_config(path: &Path, text: &[u8], value: &Value) -> Result<Vec<u8>> {
    let original: Value = crate::json::parse(path, text)?;
    if !original.is_object() {
        return Err(Error::format(path, "is not a JSON object"));
    }
    if original.get(KEY).is_some_and(says_something) {
        return Err(Error::format(path, "has a `quantization_config` already"));
    }
    let text = &without(text, &[KEY]);
    let close = text.iter().rposition(|b| *b == b'}').unwrap_or(text.len());
    let body_end = text[..close].iter().rposition(|b| !b.is_ascii_whitespace()).map_or(0, |i| i + 1);
    let indent = indentation(text);
    let block = reindent(&serde_json::to_string_pretty(value).unwrap_or_default(), &indent);
    let mut out = text[..body_end].to_vec();
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.extend_from_slice(format!("\n{indent}\"{KEY}\": {block}\n").as_bytes());
    out.extend_from_slice(&text[close..]);
    Ok(out)
}

/// `config.json`, of which `config` is the content, without any configuration of quantisation that says something.
pub fn without_quantisation(config: &Value, text: &[u8]) -> Vec<u8> {
    let said = places(config).into_iter().filter(|place| at(config, place).is_some_and(says_something));
    said.fold(text.to_vec(), |text, place| without(&text, &place))
}

/// `text`, which is JSON, without the entry at `place`.
fn without(text: &[u8], place: &[&str]) -> Vec<u8> {
    let Some((last, parents)) = place.split_last() else { return text.to_vec() };
    let mut object = 0;
    for parent in parents {
        match entries(text, object).into_iter().rfind(|entry| entry.key == *parent) {
            Some(entry) => object = entry.value.start,
            None => return text.to_vec(),
        }
    }
    let mut out = text.to_vec();
    // From the last, so that what stands before it does not move.
    for (index, entry) in entries(text, object).iter().enumerate().rev() {
        if entry.key == *last {
            let rest = entries(&out, object);
            let (from, to) = match (index.checked_sub(1).map(|before| &rest[before]), rest.get(index + 1)) {
                (Some(before), _) => (before.value.end, rest[index].value.end),
                (None, Some(after)) => (rest[index].start, after.start),
                (None, None) => (rest[index].start, rest[index].value.end),
            };
            out.drain(from..to);
        }
    }
    out
}

/// An entry of an object: its key, where that begins, and where its value stands.
struct ConfigEntry {
    key: String,
    start: usize,
    value: Range<usize>,
}

/// The entries of the first object from `from` on; none where there is no object. `text` is known to be JSON.
fn entries(text: &[u8], from: usize) -> Vec<ConfigEntry> {
    let blank = |at: usize| text[at..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    let mut found = Vec::new();
    let mut at = from + blank(from);
    if text.get(at) != Some(&b'{') {
        return found;
    }
    at += 1;
    loop {
        at += blank(at);
        match text.get(at) {
            Some(b',') => at += 1,
            Some(b'"') => {
                let start = at;
                at = end_of_value(text, at);
                let key = serde_json::from_slice(&text[start..at]).unwrap_or_default();
                at += blank(at);
                at += usize::from(text.get(at) == Some(&b':'));
                at += blank(at);
                let end = end_of_value(text, at);
                found.push(ConfigEntry { key, start, value: at..end });
                at = end;
            }
            _ => return found,
        }
    }
}

/// Where the value that begins at `at` ends.
fn end_of_value(text: &[u8], at: usize) -> usize {
    let (mut depth, mut in_string, mut i) = (0usize, false, at);
    while i < text.len() {
        match text[i] {
            b'\\' if in_string => i += 1,
            b'"' => {
                in_string = !in_string;
                if !in_string && depth == 0 {
                    return i + 1;
                }
            }
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 1 => depth -= 1,
            b'}' | b']' if depth == 1 => return i + 1,
            // A number or a word ends where something else begins.
            b'}' | b']' | b',' | b':' if depth == 0 => return i,
            c if depth == 0 && c.is_ascii_whitespace() => return i,
            _ => {}
        }
        i += 1;
    }
    text.len()
}

/// The white space before the first key.
fn indentation(text: &[u8]) -> String {
    let first_key = text.iter().position(|b| *b == b'"').unwrap_or(0);
    let line = text[..first_key].iter().rposition(|b| *b == b'\n').map_or(first_key, |i| i + 1);
    let indent = String::from_utf8_lossy(&text[line..first_key]).into_owned();
    if !indent.is_empty() && indent.chars().all(char::is_whitespace) { indent } else { "  ".into() }
}

/// Lines of two-space JSON, each level indented by `step` and the whole moved right by one `step`.
fn reindent(block: &str, step: &str) -> String {
    let mut out = String::new();
    for (number, line) in block.lines().enumerate() {
        let level = (line.len() - line.trim_start().len()) / 2;
        if number > 0 {
            out.push('\n');
            out.push_str(&step.repeat(level + 1));
        }
        out.push_str(line.trim_start());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(text: &str, value: &Value) -> String {
        let out = with_quantization_config(Path::new("config.json"), text.as_bytes(), value).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn plain(text: &str) -> String {
        let config = crate::json::parse(Path::new("config.json"), text.as_bytes()).unwrap();
        String::from_utf8(without_quantisation(&config, text.as_bytes())).unwrap()
    }

    #[test]
    fn the_rest_of_config_json_stays_byte_for_byte() {
        let added = json!({"ignore": ["x"], "n": null});
        let out = with("{\n    \"a\": 1e-05,\n    \"b\": {\"c\": [1,2]}\n}\n", &added);
        assert_eq!(
            out,
            "{\n    \"a\": 1e-05,\n    \"b\": {\"c\": [1,2]},\n    \"quantization_config\": {\n        \"ignore\": [\n            \"x\"\n        ],\n        \"n\": null\n    }\n}\n"
        );
        let parsed: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(parsed["quantization_config"], added);
    }

    #[test]
    fn one_line_and_empty_objects_work_too() {
        for text in ["{}", "{\"a\":{\"b\":1}}", "{ }", "{\"quantization_config\":null}"] {
            let parsed: Value = serde_json::from_str(&with(text, &json!({"q": 1}))).unwrap();
            assert_eq!(parsed["quantization_config"]["q"], 1);
        }
        let said = b"{\"quantization_config\": {\"quant_method\": \"awq\"}}";
        assert!(with_quantization_config(Path::new("c"), said, &json!({})).is_err());
    }

    #[test]
    fn an_entry_that_says_nothing_makes_room_for_one_that_does() {
        let added = json!({"q": [1]});
        for nothing in ["null", "{}", "{ \"version\" : \"1, 2}\" }", "{\"quant_method\": null}"] {
            let first = format!("{{\"quantization_config\": {nothing}, \"eps\":1E-6 , \"s\": \"}}\"}}");
            let middle = format!("{{\"eps\":1E-6, \"quantization_config\" :{nothing}\n, \"s\": \"}}\"}}");
            let last = format!("{{\"eps\":1E-6 , \"s\": \"}}\",\"quantization_config\":{nothing} }}");
            for text in [first, middle, last] {
                let out = with(&text, &added);
                assert_eq!(out.matches("quantization_config").count(), 1, "{out}");
                assert!(out.contains("\"eps\":1E-6"), "{out}");
                let parsed: Value = serde_json::from_str(&out).unwrap();
                assert_eq!(parsed, json!({"eps": 1e-6, "s": "}", "quantization_config": added}));
            }
        }
    }

    #[test]
    fn what_says_something_is_taken_out_of_every_place_and_nothing_else() {
        let text = "{\"a\": NaN, \"text_config\": {\"quantization_config\": {\"quant_method\": \"fp8\"}, \"h\":  4},\n \
                    \"quantization_config\": null, \"compression_config\": {\"config_groups\": {\"g\": {\"x\": []}}}}";
        assert_eq!(
            plain(text),
            "{\"a\": NaN, \"text_config\": {\"h\":  4},\n \"quantization_config\": null}"
        );
        assert_eq!(plain("{\"quantization_config\": {\"quant_method\": \"fp8\"}}"), "{}");
        let nested =
            "{\"llm_config\": {\"text_config\": {\"quantization_config\": {\"bits\": 4}, \"h\": 4}}}";
        assert_eq!(plain(nested), "{\"llm_config\": {\"text_config\": {\"h\": 4}}}");
        assert_eq!(plain("{\"a\":  1}\n"), "{\"a\":  1}\n");
    }
}
