//! Command lines: declared once, then parsed, checked and explained. Scripts and the built-in commands share it.

mod help;
mod value;

use std::fmt;

pub use value::{Kind, Value, parse_percents};

use crate::selector::nearest;

/// A mistake in how a command line was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    /// One sentence that names the option or argument.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for UsageError {}

impl UsageError {
    /// An error without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        UsageError { message: message.into(), hint: None }
    }

    /// The same error with a next step.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// An option (`--name VALUE`) or argument (`NAME`) of a command.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// The name as it is typed, without dashes: `dry-run`.
    pub name: String,
    /// What stands for the value in the help: `DIR`.
    pub metavar: String,
    /// What it means.
    pub doc: String,
    /// What its value must be.
    pub kind: Kind,
    /// The text that is parsed when it is left out.
    pub default: Option<String>,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it may be given several times; its value is then a list.
    pub repeated: bool,
}

impl Parameter {
    /// An optional parameter; its metavar is its name in capitals.
    pub fn new(name: impl Into<String>, kind: Kind, doc: impl Into<String>) -> Self {
        let name = name.into();
        let metavar = name.to_uppercase();
        Parameter { name, metavar, doc: doc.into(), kind, default: None, required: false, repeated: false }
    }

    /// The name as a key in snake_case: `dry_run`.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// A command: what it is called, what it does, and what it takes.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The name as it is typed: `all_layers_topx`, `qlua run`.
    pub name: String,
    /// What it does, in whole sentences.
    pub about: String,
    /// The options, in the order in which the help lists them; `--help` is added to them.
    pub options: Vec<Parameter>,
    /// The arguments without dashes, in order; only the last one may be repeated.
    pub arguments: Vec<Parameter>,
}

/// What [`Command::parse`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// `--help` or `-h` was given: print [`Command::help`] and end with exit code 0.
    Help,
    /// A value per declared parameter that was given or has a default, by [`Parameter::key`], in declared order.
    Values(Vec<(String, Value)>),
}

impl Command {
    /// Checks the declaration itself: names, defaults, and what excludes what.
    ///
    /// # Errors
    /// One sentence that names the option at fault.
    pub fn check(&self) -> Result<(), String> {
        let mut seen: Vec<String> = vec!["help".into()];
        for (i, parameter) in self.options.iter().chain(&self.arguments).enumerate() {
            let name = &parameter.name;
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
            if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
                return Err(format!(
                    "the option name `{name}` must be in lower case, without leading dashes"
                ));
            }
            if seen.contains(&parameter.key()) {
                return Err(format!("the option `{name}` is declared twice"));
            }
            seen.push(parameter.key());
            let is_flag = parameter.kind == Kind::Flag;
            if is_flag && (parameter.repeated || parameter.default.is_some() || parameter.required) {
                return Err(format!(
                    "the flag `{name}` can be neither repeated nor required, and has no default"
                ));
            }
            if is_flag && i >= self.options.len() {
                return Err(format!("the argument `{name}` cannot be a flag"));
            }
            if let Some(default) = &parameter.default {
                if parameter.required {
                    return Err(format!("the option `{name}` is required, so its default is never used"));
                }
                parameter.kind.parse(default).map_err(|p| format!("the default of option `{name}` {p}"))?;
            }
        }
        let early = self.arguments.len().saturating_sub(1);
        match self.arguments[..early].iter().find(|a| a.repeated) {
            Some(argument) => {
                Err(format!("the argument `{}` is repeated but not the last one", argument.name))
            }
            None => Ok(()),
        }
    }

    /// Parses `words`: `--name VALUE`, `--name=VALUE`, `--flag`, and arguments; `--` ends the options.
    ///
    /// # Errors
    /// The first mistake: an unknown option, a missing or bad value, a repetition, a missing or surplus argument.
    pub fn parse<S: AsRef<str>>(&self, words: &[S]) -> Result<Parsed, UsageError> {
        let mut found = Found::default();
        let mut words = words.iter().map(AsRef::as_ref);
        let mut only_arguments = false;
        while let Some(word) = words.next() {
            if only_arguments || !word.starts_with('-') || word == "-" {
                self.take_argument(&mut found, word)?;
            } else if word == "--" {
                only_arguments = true;
            } else if word == "--help" || word == "-h" {
                return Ok(Parsed::Help);
            } else {
                self.take_option(&mut found, word, &mut words)?;
            }
        }
        self.finish(found).map(Parsed::Values)
    }

    fn take_argument(&self, found: &mut Found, word: &str) -> Result<(), UsageError> {
        let position = found.arguments.min(self.arguments.len().saturating_sub(1));
        found.arguments += 1;
        match self.arguments.get(position) {
            Some(argument) if argument.repeated || found.arguments <= self.arguments.len() => {
                found.add(argument, &argument.metavar, word)
            }
            _ => Err(self.mistake(format!("there is an argument too many: `{word}`"))),
        }
    }

    fn take_option<'a>(
        &self,
        found: &mut Found,
        word: &str,
        words: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), UsageError> {
        let (typed, attached) = match word.split_once('=') {
            Some((typed, value)) => (typed, Some(value)),
            None => (word, None),
        };
        let name = typed.trim_start_matches('-');
        let option = self.options.iter().find(|o| o.name == name && typed.starts_with("--"));
        let Some(option) = option else {
            let known = self.options.iter().map(|o| o.name.as_str()).chain(["help"]);
            let error = self.mistake(format!("there is no option `{typed}`"));
            return Err(match nearest(&name.replace('_', "-"), known) {
                Some(near) => error.with_hint(format!("did you mean `--{near}`?")),
                None => error,
            });
        };
        if option.kind == Kind::Flag {
            if attached.is_some() {
                return Err(UsageError::new(format!("the option `{typed}` takes no value")));
            }
            return found.put(option, typed, Value::Flag);
        }
        // A word that names a declared option is never a value: `--out --dry-run` forgot the directory.
        let is_option = |w: &&str| {
            let name = w.split('=').next().unwrap_or(w);
            name == "--help"
                || name.strip_prefix("--").is_some_and(|n| self.options.iter().any(|o| o.name == n))
        };
        match attached.or_else(|| words.next().filter(|w| !is_option(w))) {
            Some(value) => found.add(option, typed, value),
            None => Err(UsageError::new(format!("the option `{typed}` needs a value: {}", option.kind))),
        }
    }

    fn finish(&self, mut found: Found) -> Result<Vec<(String, Value)>, UsageError> {
        let mut values = Vec::new();
        let arguments = self.arguments.iter().map(|a| (a, a.metavar.clone()));
        let options = self.options.iter().map(|o| (o, format!("--{}", o.name)));
        for (parameter, shown) in options.chain(arguments) {
            let key = parameter.key();
            let given = found.values.iter().position(|(k, _)| *k == key).map(|i| found.values.remove(i).1);
            let value = match (given, &parameter.default) {
                (Some(value), _) => Some(value),
                (None, Some(default)) => {
                    let value = parameter.kind.parse(default).map_err(UsageError::new)?;
                    Some(if parameter.repeated { Value::List(vec![value]) } else { value })
                }
                (None, None) if parameter.required => {
                    return Err(self.mistake(format!("`{shown}` is missing")));
                }
                (None, None) if parameter.repeated => Some(Value::List(Vec::new())),
                (None, None) => None,
            };
            values.extend(value.map(|v| (key, v)));
        }
        Ok(values)
    }

    fn mistake(&self, message: String) -> UsageError {
        UsageError::new(message).with_hint(format!("`{} --help` lists what there is", self.name))
    }
}

/// The values found so far.
#[derive(Default)]
struct Found {
    values: Vec<(String, Value)>,
    arguments: usize,
}

impl Found {
    fn add(&mut self, parameter: &Parameter, shown: &str, text: &str) -> Result<(), UsageError> {
        let value = parameter
            .kind
            .parse(text)
            .map_err(|problem| UsageError::new(format!("the value of `{shown}` {problem}")))?;
        self.put(parameter, shown, value)
    }

    fn put(&mut self, parameter: &Parameter, shown: &str, value: Value) -> Result<(), UsageError> {
        let key = parameter.key();
        match self.values.iter_mut().find(|(k, _)| *k == key) {
            Some((_, Value::List(list))) if parameter.repeated => list.push(value),
            Some(_) => return Err(UsageError::new(format!("the option `{shown}` was given twice"))),
            None if parameter.repeated => self.values.push((key, Value::List(vec![value]))),
            None => self.values.push((key, value)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
