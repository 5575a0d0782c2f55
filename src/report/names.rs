//! Names of layers and directories on a page.

use maud::{Markup, PreEscaped, html};

/// No word is longer that stands on one line.
const LONGEST_WORD: usize = 28;

/// A name, which may be broken between its words: after underscores, slashes, and dots that are no decimal points; and within a
/// word that is longer than any column has room for.
pub(super) fn breakable(name: &str) -> Markup {
    html! {
        @for (at, piece) in pieces(name).into_iter().enumerate() {
            // Written as XML has it.
            @if at > 0 { (PreEscaped("<wbr/>")) }
            (piece)
        }
    }
}

/// `name` cut where a line may end.
fn pieces(name: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut from, mut length) = (0, 0);
    for (at, c) in name.char_indices() {
        length = if c.is_whitespace() { 0 } else { length + 1 };
        let after = at + c.len_utf8();
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let is_decimal = || is_digit(name[..at].chars().last()) && is_digit(name[after..].chars().next());
        let is_end = match c {
            '_' | '/' => true,
            // Those that a relative path begins with stand with its slash.
            '.' => !is_decimal() && !name[from..at].chars().all(|c| c == '.'),
            _ => length == LONGEST_WORD,
        };
        if is_end && after < name.len() {
            pieces.push(&name[from..after]);
            (from, length) = (after, 0);
        }
    }
    pieces.push(&name[from..]);
    pieces
}

/// `names` without the words that all of them begin and end with: `top10`. As they are where that would leave nothing of one.
pub(super) fn shortened(names: &[&str]) -> Vec<String> {
    let as_they_are = || names.iter().map(ToString::to_string).collect();
    let words: Vec<Vec<&str>> = names.iter().map(|name| name.split('_').collect()).collect();
    let shortest = words.iter().map(Vec::len).min().unwrap_or(0);
    if words.len() < 2 {
        return as_they_are();
    }
    let common = |from: fn(&[&str], usize) -> String| {
        (0..shortest).take_while(|&at| words.iter().all(|w| from(w, at) == from(&words[0], at))).count()
    };
    let begin = common(|words, at| words[at].to_string());
    let end = common(|words, at| words[words.len() - 1 - at].to_string()).min(shortest - begin);
    let short = |w: &Vec<&str>| w[begin..w.len() - end].join("_");
    match words.iter().map(short).collect::<Vec<_>>() {
        names if names.iter().any(String::is_empty) => as_they_are(),
        names => names,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_broken_between_words_and_not_inside_numbers() {
        assert_eq!(pieces("Qwen2.5-VL-3B"), ["Qwen2.5-VL-3B"]);
        assert_eq!(pieces("model.layers.0.o_proj"), ["model.", "layers.", "0.", "o_", "proj"]);
        assert_eq!(pieces("./fp8_top12.5_x"), ["./", "fp8_", "top12.5_", "x"]);
        let long = "z".repeat(60);
        assert_eq!(pieces(&long), [&long[..28], &long[..28], "zzzz"]);
        assert_eq!(
            pieces("Qwen2_5_VLForConditionalGeneration of"),
            ["Qwen2_", "5_", "VLForConditionalGeneration of"]
        );
        assert_eq!(pieces(""), [""]);
    }
}
