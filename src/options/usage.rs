//! A command line read by clap, with mistakes said as qlua says all errors: one sentence and a next step.

use std::error::Error as _;
use std::ffi::OsString;
use std::io::stdout;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Command};

use crate::error::Error;
use crate::words::nearest;

/// Columns of help where nobody says how many there are.
const USUAL_WIDTH: usize = 80;

/// What [`parse`] found.
#[derive(Debug)]
pub enum Parsed {
    /// A text was asked for, help or the version: print it and end with exit code 0.
    Text(String),
    /// The values.
    Values(ArgMatches),
}

/// The columns that help may use: `COLUMNS`, or what the terminal has, or 80.
pub fn width() -> usize {
    let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || rustix::termios::tcgetwinsize(stdout()).ok().map(|size| usize::from(size.ws_col));
    said.filter(|columns| *columns > 0)
        .or_else(|| terminal().filter(|columns| *columns > 0))
        .unwrap_or(USUAL_WIDTH)
}

/// Reads `words` as a command line of `command`, whose name is not among them.
///
/// # Errors
/// [`Error::Usage`] for the first mistake.
pub fn parse(command: Command, words: impl IntoIterator<Item = OsString>) -> Result<Parsed, Error> {
    let mut command = command.no_binary_name(true).term_width(width());
    let words: Vec<OsString> = words.into_iter().collect();
    match command.try_get_matches_from_mut(&words) {
        Ok(matches) => Ok(Parsed::Values(matches)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Parsed::Text(error.to_string())),
            ErrorKind::UnknownArgument => {
                let value = value_with_dash(&mut command, &words, &subject(&error));
                Err(value.unwrap_or_else(|| mistake(&command, &error)))
            }
            _ => Err(mistake(&command, &error)),
        },
    }
}

/// What is wrong where the unknown option `unknown` of `words` was meant as the value of the option before it: `--size -1GB`.
fn value_with_dash(command: &mut Command, words: &[OsString], unknown: &str) -> Option<Error> {
    let is_meant = |word: &str| word.starts_with(unknown) && !word.starts_with("--");
    let takes_value = |word: &str| {
        let name = word.strip_prefix("--")?;
        command
            .get_arguments()
            .find(|argument| argument.get_long() == Some(name) && argument.get_action().takes_values())
    };
    let at = words.windows(2).position(|pair| {
        let [option, value] = [0, 1].map(|at| pair[at].to_str().unwrap_or_default());
        takes_value(option).is_some() && is_meant(value)
    })?;
    let (option, value) = (words[at].to_str()?, words[at + 1].to_str()?);
    let joined = format!("{option}={value}");
    let whole = [&words[..at], &[joined.as_str().into()], &words[at + 2..]].concat();
    let about_it = command.try_get_matches_from_mut(whole).err().filter(|error| subject(error) == option);
    Some(match about_it {
        Some(error) => mistake(command, &error),
        None => Error::usage(format!("the value of `{option}` begins with a dash: `{value}`"))
            .with_hint(format!("write `{joined}` when that is meant")),
    })
}

/// `error` as a sentence that names the option or argument, and a next step.
fn mistake(command: &Command, error: &clap::Error) -> Error {
    let called = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let list = format!("`{called} --help` lists what there is");
    let subject = subject(error);
    let (problem, hint) = match error.kind() {
        ErrorKind::UnknownArgument if subject.starts_with('-') => {
            let name = subject.trim_start_matches('-').replace('_', "-");
            let known = command.get_arguments().filter_map(|a| a.get_long()).chain(["help"]);
            let near = || nearest(&name, known).map(|near| format!("did you mean `--{near}`?"));
            let hint = of_qlua(&subject).or_else(near).unwrap_or_else(|| options(command, called));
            (format!("there is no option `{subject}`"), hint)
        }
        ErrorKind::UnknownArgument => (format!("there is an argument too many: `{subject}`"), list),
        ErrorKind::MissingRequiredArgument => (format!("`{subject}` is missing"), list),
        ErrorKind::InvalidValue => (
            format!("the option `{subject}` needs a value: `{}`", text(error, ContextKind::InvalidArg)),
            list,
        ),
        ErrorKind::TooManyValues => {
            (format!("the option `{subject}` takes no value"), format!("write `{subject}` alone"))
        }
        ErrorKind::ArgumentConflict => match name_of(error, ContextKind::PriorArg) {
            other if other.is_empty() || other == subject => {
                (format!("the option `{subject}` was given twice"), "give it once".into())
            }
            other => {
                (format!("`{subject}` and `{other}` do not go together"), "leave one of them out".into())
            }
        },
        ErrorKind::ValueValidation => {
            let reason = error.source().and_then(|source| source.downcast_ref::<Error>());
            let problem = reason.map_or_else(|| "cannot be used".into(), Error::to_string);
            (format!("the value of `{subject}` {problem}"), reason.and_then(Error::hint).unwrap_or(list))
        }
        ErrorKind::InvalidUtf8 => ("the command line is not valid UTF-8".into(), list),
        // What the declarations of qlua do not use; clap's first line is one sentence too.
        _ => {
            let whole = error.to_string();
            let line = whole.lines().next().unwrap_or_default();
            (line.strip_prefix("error: ").unwrap_or(line).to_string(), list)
        }
    };
    Error::usage(problem).with_hint(hint)
}

/// Where an option of qlua itself stands, which every script has and none declares.
fn of_qlua(subject: &str) -> Option<String> {
    let value = match subject {
        "-q" | "--quiet" | "-v" | "--verbose" => "",
        "--log" => " FILE",
        _ => return None,
    };
    Some(format!("it stands before the script: `qlua {subject}{value} SCRIPT`"))
}

/// What options there are.
fn options(command: &Command, called: &str) -> String {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let name = |argument: &Arg| match (argument.get_long(), argument.get_short()) {
        (Some(long), _) => Some(format!("--{long}")),
        (None, short) => short.map(|short| format!("-{short}")),
    };
    let names: Vec<String> = shown.filter_map(name).collect();
    match names.is_empty() {
        true => format!("`{called}` takes none; `{called} --help` shows what it takes"),
        false => format!("there are {}; `{called} --help` explains them", names.join(", ")),
    }
}

/// The option (`--name`) or argument (`NAME`) that `error` is about, without what stands for its value.
fn subject(error: &clap::Error) -> String {
    name_of(error, ContextKind::InvalidArg)
}

/// The option or argument that stands under `kind`.
fn name_of(error: &clap::Error, kind: ContextKind) -> String {
    let whole = text(error, kind);
    let name = whole.split(' ').next().unwrap_or_default();
    name.trim_end_matches("...").trim_matches(['<', '>', '[', ']']).to_string()
}

fn text(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}
