//! The help of a command.

use std::fmt::Write as _;

use super::{Command, ValueKind, Parameter};

const WIDTH: usize = 100;
const MOST_INDENT: usize = 34;

impl Command {
    /// The text of `--help`: usage, what it does, arguments and options with their defaults.
    pub fn help(&self) -> String {
        let mut out = format!("usage: {}\n", self.usage());
        if !self.about.is_empty() {
            let _ = write!(out, "\n{}\n", wrap(self.about.trim(), 0));
        }
        let arguments: Vec<_> = self.arguments.iter().map(|a| (a.metavar.clone(), explain(a))).collect();
        let mut options: Vec<_> = self.options.iter().map(|o| (option_name(o), explain(o))).collect();
        options.push(("-h, --help".into(), "show this help and exit".into()));
        let width = arguments.iter().chain(&options).map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let indent = (width + 4).min(MOST_INDENT);
        for (title, rows) in [("arguments", arguments), ("options", options)] {
            if !rows.is_empty() {
                let _ = write!(out, "\n{title}:\n");
            }
            for (name, text) in rows {
                let text = wrap(&text, indent);
                if name.chars().count() + 4 > indent {
                    let _ = writeln!(out, "  {name}\n{:indent$}{text}", "");
                } else {
                    let _ = writeln!(out, "  {name:<w$}{text}", w = indent - 2);
                }
            }
        }
        out
    }

    fn usage(&self) -> String {
        let mut usage = format!("{} [options]", self.name);
        for option in self.options.iter().filter(|o| o.required) {
            let _ = write!(usage, " {}", option_name(option));
        }
        for argument in &self.arguments {
            let dots = if argument.repeated { "…" } else { "" };
            let (open, close) = if argument.required { ("", "") } else { ("[", "]") };
            let _ = write!(usage, " {open}{}{dots}{close}", argument.metavar);
        }
        usage
    }
}

fn option_name(option: &Parameter) -> String {
    match option.kind {
        ValueKind::Flag => format!("--{}", option.name),
        _ => format!("--{} {}", option.name, option.metavar),
    }
}

fn explain(parameter: &Parameter) -> String {
    let mut notes: Vec<String> = Vec::new();
    if let ValueKind::Choice(words) = &parameter.kind {
        notes.push(format!("one of {}", words.join(", ")));
    }
    if parameter.repeated {
        notes.push("may be repeated".into());
    }
    if parameter.required {
        notes.push("required".into());
    }
    if let Some(default) = &parameter.default {
        notes.push(format!("default: {default}"));
    }
    match (parameter.doc.as_str(), notes.is_empty()) {
        (doc, true) => doc.into(),
        ("", false) => notes.join("; "),
        (doc, false) => format!("{doc} ({})", notes.join("; ")),
    }
}

/// `text` in lines of at most [`WIDTH`] columns; all but the first are indented.
fn wrap(text: &str, indent: usize) -> String {
    let mut out = String::new();
    for (i, paragraph) in text.lines().enumerate() {
        if i > 0 {
            let _ = write!(out, "\n{:indent$}", "");
        }
        let mut column = indent;
        for (j, word) in paragraph.split_whitespace().enumerate() {
            let length = word.chars().count();
            if j > 0 && column + 1 + length > WIDTH {
                let _ = write!(out, "\n{:indent$}", "");
                column = indent;
            } else if j > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
    }
    out
}
