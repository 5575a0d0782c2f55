//! The last entry of a record, of a manifest or of measurements: a hash of all that stands before it, so that a record that was changed is told from one that
//! was not. It guards against accidents, not against somebody who makes it anew.

use serde::Serialize;

/// What stands before the hash.
const BEFORE: &str = ",\n  \"seal\": \"";
/// What stands after it.
const AFTER: &str = "\"\n}\n";

/// What is said of a file whose seal is broken, after its name.
pub const BROKEN: &str = "was changed after it was written: its seal is that of another text";

/// `value`, which is a record with fields, as JSON with the seal as its last entry.
pub fn sealed(value: &impl Serialize) -> Vec<u8> {
    sealed_text(crate::json::pretty(value))
}

/// `text`, which is a JSON object with fields, laid out in lines, with the seal as its last entry.
pub fn sealed_text(mut text: Vec<u8>) -> Vec<u8> {
    let body = text.iter().rposition(|byte| *byte == b'}').unwrap_or(text.len());
    text.truncate(text[..body].iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |at| at + 1));
    let seal = blake3::hash(&text).to_hex();
    text.extend_from_slice(format!("{BEFORE}{seal}{AFTER}").as_bytes());
    text
}

/// `text`, which is sealed, with its body changed by `change` and sealed anew; nothing where it is not sealed, or `change` gives nothing.
pub(super) fn resealed(text: &[u8], change: impl FnOnce(&str) -> Option<String>) -> Option<Vec<u8>> {
    if is_sealed(text) != Some(true) {
        return None;
    }
    let body = text.len().checked_sub(BEFORE.len() + blake3::OUT_LEN * 2 + AFTER.len())?;
    let body = change(std::str::from_utf8(&text[..body]).ok()?)?;
    let seal = blake3::hash(body.as_bytes()).to_hex();
    Some(format!("{body}{BEFORE}{seal}{AFTER}").into_bytes())
}

/// Whether the seal of `text` is that of what stands before it; nothing where it has none.
pub fn is_sealed(text: &[u8]) -> Option<bool> {
    let begins = |at: &usize| text[*at..].starts_with(b"\"seal\"");
    (0..text.len()).rfind(begins)?;
    let length = BEFORE.len() + blake3::OUT_LEN * 2 + AFTER.len();
    let Some(at) = text.len().checked_sub(length) else { return Some(false) };
    let (body, tail) = text.split_at(at);
    let seal = blake3::hash(body).to_hex();
    Some(tail == format!("{BEFORE}{seal}{AFTER}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_changed_byte_breaks_the_seal() {
        let text = sealed(&json!({"a": [1, 2], "b": {"c": "d"}}));
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap()["b"]["c"], "d");
        assert_eq!(is_sealed(&text), Some(true));
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert_ne!(is_sealed(&changed), Some(true), "{at}");
        }
        assert_eq!(is_sealed(br#"{"a": 1}"#), None);
        let changed = resealed(&text, |body| Some(body.replace('d', "e")));
        assert_eq!(changed, Some(sealed(&json!({"a": [1, 2], "b": {"c": "e"}}))));
        assert_eq!(resealed(br#"{"a": 1}"#, |body| Some(body.into())), None);
    }
}
