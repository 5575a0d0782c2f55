//! Colours on a terminal: only there, and not where `NO_COLOR` is set or the terminal is a dumb one.

use std::io::IsTerminal;

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const QUIET: &str = "2";

/// Whether what is written to `stream` may have colours.
pub fn is_wanted(stream: &impl IsTerminal) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A message whose first word says what it is, with that word in its colour: `error:`, `warning:`, `hint:`, `debug:`.
pub fn message(text: &str) -> String {
    const WORDS: [(&str, &str); 4] =
        [("qlua: error:", RED), ("warning:", YELLOW), ("  hint:", GREEN), ("debug:", QUIET)];
    by_line(text, |line| {
        let (word, colour) = WORDS.iter().find(|(word, _)| line.starts_with(word))?;
        Some(format!("{}{}", painted(word, colour), &line[word.len()..]))
    })
}

/// Lines of findings, with their judgements in colour: `…: ok`, `…: 2 problems`, `…: not checked in 1 respect`.
pub fn findings(text: &str) -> String {
    by_line(text, |line| {
        if line.starts_with("    hint:") {
            return Some(painted(line, QUIET));
        }
        if line.starts_with(' ') {
            return None;
        }
        let (subject, judgement) = match line.rsplit_once(": ") {
            Some((subject, judgement)) => (format!("{subject}: "), judgement),
            None => return None,
        };
        let is_problems = judgement.contains(" problem") || subject.contains("could not be looked at");
        let colour = match judgement {
            _ if is_problems => RED,
            _ if judgement.starts_with("not checked") => YELLOW,
            _ if judgement.starts_with("ok") => GREEN,
            _ => return None,
        };
        Some(format!("{subject}{}", painted(judgement, colour)))
    })
}

/// `text` whose lines are what `paint` makes of them; nothing for one that stays as it is.
fn by_line(text: &str, paint: impl Fn(&str) -> Option<String>) -> String {
    let lines = text.split('\n').map(|line| paint(line).unwrap_or_else(|| line.to_string()));
    lines.collect::<Vec<_>>().join("\n")
}

fn painted(text: &str, colour: &str) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_a_message_is_in_colour_and_nothing_else() {
        assert_eq!(
            message("qlua: error: no\n  hint: yes\n  at x.lua:1"),
            "\x1b[31mqlua: error:\x1b[0m no\n\x1b[32m  hint:\x1b[0m yes\n  at x.lua:1"
        );
        assert_eq!(message("a warning: b"), "a warning: b");
    }

    #[test]
    fn judgements_are_in_colour() {
        assert_eq!(findings("a: ok\n"), "a: \x1b[32mok\x1b[0m\n");
        assert_eq!(
            findings("a: 2 problems\n  missing_file: x: y"),
            "a: \x1b[31m2 problems\x1b[0m\n  missing_file: x: y"
        );
    }
}
