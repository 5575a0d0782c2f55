//! Text that comes from elsewhere (names of tensors, files and groups, messages of scripts), made fit to be shown: nothing in it
//! moves the cursor, reorders what stands around it, ends a line, or is markup.

use std::borrow::Cow;
use std::path::Path;

/// Whether `c` does something to a terminal or a page instead of standing there: control characters, line and paragraph
/// separators, marks and overrides of the writing direction, invisible tags.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// `text` of one or more lines with what acts written out, as `\u{1b}`; line breaks and tabs stay.
pub fn lines(text: &str) -> Cow<'_, str> {
    written_out(text, |c| c != '\n' && c != '\t' && acts(c))
}

/// `text` with all that acts written out, line breaks and tabs too: one line.
pub fn line(text: &str) -> Cow<'_, str> {
    written_out(text, acts)
}

/// `path` in one line, as [`line()`].
pub fn path(path: &Path) -> String {
    line(&path.display().to_string()).into_owned()
}

/// JSON with what acts, which stands in strings alone, as JSON's own escapes.
pub fn json(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| c != '\n' && c != '\t' && acts(c);
    if !text.chars().any(is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_escaped(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out += &format!("\\u{unit:04x}")),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// `text` of several lines below a first one that nothing in it can pass for: further lines are indented.
pub fn indented(text: &str) -> String {
    lines(text).replace('\n', "\n  ")
}

/// What a script writes to a terminal: text as in [`lines`]; of bytes that are no text each is written out.
pub fn bytes(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend_from_slice(lines(chunk.valid()).as_bytes());
        out.extend(chunk.invalid().iter().flat_map(|byte| format!("\\x{byte:02x}").into_bytes()));
    }
    out
}

/// `text` between the backticks of Markdown, which it does not end.
pub fn code(text: &str) -> String {
    line(text).replace('`', "'")
}

/// `text` in a cell of a Markdown table: nothing ends the cell or its row, begins code, a link or an element.
pub fn markdown_cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace(['\n', '\r', '\t'], " ").chars() {
        match c {
            '\\' | '|' | '`' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            c if acts(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    // A link needs both.
    if out.contains("](") { out.replace("](", "]\\(") } else { out }
}

fn written_out(text: &str, is_written_out: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&is_written_out) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' if is_written_out(c) => out.extend(c.escape_default()),
            c if is_written_out(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({"a\u{202e}\u{85}b": "\u{e0041}\n\u{1b}é"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = json(&text);
        assert!(!shown.chars().any(|c| c != '\n' && acts(c)), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn what_acts_is_written_out_and_all_else_stays() {
        assert_eq!(lines("a\x1b[31m\tb\nc\r"), "a\\u{1b}[31m\tb\nc\\r");
        assert_eq!(line("a\tb\n\u{202e}c\u{9b}"), "a\\tb\\n\\u{202e}c\\u{9b}");
        let plain = "größe – 模型 \\ `x` | ✓ 👩‍💻";
        assert!(matches!(line(plain), Cow::Borrowed(same) if same == plain));
        assert_eq!(indented("one\nhint: two"), "one\n  hint: two");
        assert_eq!(bytes(b"a\xffb\x1b\xe2\x80\xaec"), b"a\\xffb\\u{1b}\\u{202e}c");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({"a\u{202e}": "b\u{85}\u{1b}\n\u{e0041}\u{7f}ß"});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let escaped = json(&text);
        assert!(
            escaped.contains("a\\u202e") && escaped.contains("b\\u0085\\u001b\\n\\udb40\\udc41\\u007fß"),
            "{escaped}"
        );
        assert_eq!(lines(&escaped), escaped);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
    }

    #[test]
    fn a_cell_of_a_table_stays_one() {
        assert_eq!(code("a`b\nc"), "a'b\\nc");
        assert_eq!(markdown_cell("a|b`c`\nd<i>\\"), "a\\|b\\`c\\` d&lt;i>\\\\");
        assert_eq!(markdown_cell("[512, 512] [x](y)"), "[512, 512] [x]\\(y)");
        assert_eq!(markdown_cell("\u{202e}\x1b"), "\\u{202e}\\u{1b}");
    }
}
