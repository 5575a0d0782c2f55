//! JSON with comments, as editors have it.

/// `text` as plain JSON: comments, and commas before a closing bracket, become spaces. What is no JSON stays none.
pub(super) fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut plain = text.to_vec();
    let mut last_comma = None;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let is_comment = rest.starts_with(b"//") || rest.starts_with(b"/*");
        let length = match rest[0] {
            b'"' => length_of_string(rest),
            b'/' if is_comment && rest[1] == b'/' => {
                rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len())
            }
            b'/' if is_comment => {
                rest[2..].windows(2).position(|end| end == b"*/").map_or(rest.len(), |inside| inside + 4)
            }
            _ => 1,
        };
        match rest[0] {
            b'/' if is_comment => plain[at..at + length].fill(b' '),
            b',' => last_comma = Some(at),
            b']' | b'}' => {
                if let Some(comma) = last_comma.take() {
                    plain[comma] = b' ';
                }
            }
            byte if byte.is_ascii_whitespace() => {}
            _ => last_comma = None,
        }
        at += length;
    }
    plain
}

fn length_of_string(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::without_comments;

    #[test]
    fn comments_and_trailing_commas_are_left_out_but_not_of_strings() {
        let text = br#"// head
        { /* a, */ "a": "// \" /* , ]", // tail, }
          "b": [1, 2, /**/ ], "c": {},
        } //"#;
        let value: Value = serde_json::from_slice(&without_comments(text)).unwrap();
        assert_eq!(value, json!({"a": "// \" /* , ]", "b": [1, 2], "c": {}}));
    }

    #[test]
    fn what_is_no_json_stays_none() {
        for text in ["/", "/* {}", "\"", "\"\\", "{\"a\": 1 /}", "[,]x", "{", "/*/ {}"] {
            let plain = without_comments(text.as_bytes());
            assert!(serde_json::from_slice::<Value>(&plain).is_err(), "{text}");
            assert_eq!(plain.len(), text.len());
        }
    }
}
