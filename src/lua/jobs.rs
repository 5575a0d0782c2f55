//! From scripts and their options to the jobs of a batch: what recipes and `qlua.jobs` have in common.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use clap::{Arg, ArgAction, Command};

use super::embedded::{self, Embedded};
use super::{Host, Verbosity};
use crate::error::Error;
use crate::interrupt;
use crate::job::batch::{BatchJob, BatchOptions};
use crate::words::nearest;

/// The system takes no longer words on a command line, with the byte that ends them.
const LONGEST_WORD: usize = (128 << 10) - 1;

/// The value of an option of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobValue {
    /// Whether a flag is given.
    Flag(bool),
    /// A text or a number.
    Text(String),
    /// Several values: an option that may be repeated is, any other gets them separated by commas.
    List(Vec<String>),
}

/// A script that is to be run, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobRequest {
    /// The name of a built-in script, or the path of a file.
    pub script: String,
    /// What the job is called; the name of the script where nothing is said.
    pub name: Option<String>,
    /// Options by name, with `_` or `-` between words.
    pub options: Vec<(String, JobValue)>,
    /// Options that hold for all jobs whose scripts take them.
    pub common: Vec<(String, JobValue)>,
    /// What follows the options.
    pub arguments: Vec<String>,
}

/// What is wrong with a job, and the key that it is wrong with.
#[derive(Debug)]
pub struct JobMistake {
    /// `script`, `name`, or the name of an option.
    pub key: String,
    /// The sentence.
    pub error: Error,
}

/// The jobs that `requests` are, with names of their own; the place of the first that is wrong, and what is.
///
/// # Errors
/// [`Error::Usage`] for an unknown script or option, and for a name that is none. The values of options are judged by the
/// scripts, when they run.
pub fn jobs(
    requests: &[JobRequest],
    options: &BatchOptions,
    verbosity: Verbosity,
) -> anyhow::Result<Result<Vec<BatchJob>, (usize, JobMistake)>> {
    let mut names = BTreeSet::new();
    let mut jobs = Vec::new();
    // What each built-in script takes: to know that it has to be run.
    let mut known: HashMap<&str, Option<Command>> = HashMap::new();
    for (at, request) in requests.iter().enumerate() {
        interrupt::check()?;
        let built_in = embedded::script(&request.script);
        if let Some(script) = built_in
            && !known.contains_key(script.name())
        {
            known.insert(script.name(), Host::command_line_of(script)?);
        }
        let declared = built_in.and_then(|script| known.get(script.name())).and_then(Option::as_ref);
        let mut job = match job(request, built_in.is_some(), declared, options, verbosity) {
            Ok(job) => job,
            Err(mistake) => return Ok(Err((at, mistake))),
        };
        let first = job.name.clone();
        for number in 2.. {
            if names.insert(job.name.clone()) {
                break;
            }
            job.name = format!("{first}-{number}");
        }
        jobs.push(job);
    }
    Ok(Ok(jobs))
}

/// The job of `request`. As on the command line, a bare name is always the built-in script where there is one; `known` is what that
/// takes.
fn job(
    request: &JobRequest,
    is_built_in: bool,
    known: Option<&Command>,
    options: &BatchOptions,
    verbosity: Verbosity,
) -> Result<BatchJob, JobMistake> {
    let mistake = |key: &str, error: Error| Err(JobMistake { key: key.into(), error });
    if !is_built_in && !Path::new(&request.script).is_file() {
        return mistake("script", no_script(&request.script));
    }
    let name = match &request.name {
        Some(name) => name.clone(),
        None => {
            Path::new(&request.script).file_stem().map_or_else(String::new, |s| s.to_string_lossy().into())
        }
    };
    let is_plain = |c: char| c.is_alphanumeric() || "-_.+ ".contains(c);
    if name.is_empty() || name.starts_with('.') || name.len() > 100 || !name.chars().all(is_plain) {
        let problem = format!("`{name}` cannot be the name of a job, which is that of its log");
        return mistake("name", Error::usage(problem).with_hint("use letters, digits, `-`, `_` and `.`"));
    }
    let mut spelled: HashMap<String, &str> = HashMap::new();
    for (key, value) in &request.options {
        if let Err(error) = check(key, value, &request.script, known) {
            return mistake(key, error);
        }
        if let Some(other) = spelled.insert(key.replace('_', "-"), key) {
            return mistake(key, given_twice(other, key));
        }
    }
    let mut given: Vec<(String, &JobValue)> = Vec::new();
    let is_taken = |key: &str| known.is_none_or(|known| argument(known, key).is_some());
    let common = request.common.iter().filter(|(key, _)| is_taken(key));
    for (key, value) in request.options.iter().chain(common) {
        let key = key.replace('_', "-");
        if !given.iter().any(|(known, _)| *known == key) {
            given.push((key, value));
        }
    }
    let threads = JobValue::Text(options.threads_each().to_string());
    if known.is_some_and(|known| argument(known, "threads").is_some())
        && !given.iter().any(|(key, _)| key == "threads")
    {
        given.push(("threads".into(), &threads));
    }
    let mut words: Vec<OsString> = match verbosity {
        Verbosity::Quiet => vec!["-q".into()],
        Verbosity::Normal => vec![],
        Verbosity::Verbose => vec!["-v".into()],
    };
    words.push(request.script.clone().into());
    for (key, value) in &given {
        let is_repeated = known
            .and_then(|known| argument(known, key))
            .map_or(matches!(value, JobValue::List(_)), |argument| {
                matches!(argument.get_action(), ArgAction::Append)
            });
        let of_option = option_words(key, value, is_repeated);
        if let Some(error) = of_option.iter().find_map(|word| no_word(word)) {
            return mistake(key, error);
        }
        words.extend(of_option.into_iter().map(OsString::from));
    }
    if let Some(error) = request.arguments.iter().chain([&request.script]).find_map(|word| no_word(word)) {
        return mistake("arguments", error);
    }
    words.extend(request.arguments.iter().map(OsString::from));
    Ok(BatchJob { name, words, writes: known.and_then(|known| writes(known, &given)) })
}

/// What keeps `word` off a command line.
fn no_word(word: &str) -> Option<Error> {
    let begin: String = word.chars().take(20).collect();
    if word.contains('\0') {
        return Some(Error::usage(format!("the text that begins with `{begin}` holds a NUL character")));
    }
    (word.len() > LONGEST_WORD).then(|| {
        let problem = format!("the text that begins with `{begin}` is longer than {LONGEST_WORD} bytes");
        Error::usage(problem).with_hint("no program takes such an option; write a range, or several jobs")
    })
}

/// The name among those of `options` that means the same option as `key`.
pub fn twin<'a>(options: &'a [(String, JobValue)], key: &str) -> Option<&'a str> {
    let plain = |key: &str| key.replace('_', "-");
    options.iter().map(|(known, _)| known.as_str()).find(|known| plain(known) == plain(key))
}

/// That `earlier` and `key` are one option.
pub fn given_twice(earlier: &str, key: &str) -> Error {
    let said = match earlier == key {
        true => format!("the option `{key}` is given twice"),
        false => format!("`{earlier}` and `{key}` are the same option"),
    };
    Error::usage(said).with_hint("give it once")
}

/// Where a script whose command line is `known` writes.
fn writes(known: &Command, given: &[(String, &JobValue)]) -> Option<String> {
    argument(known, "out")?;
    let has_model = given.iter().any(|(key, _)| key == "model");
    let out = given.iter().find_map(|(key, value)| match (key.as_str(), value) {
        ("out", JobValue::Text(out)) => {
            let parts = Path::new(out).components().filter(|part| *part != Component::CurDir);
            Some(parts.collect::<PathBuf>().display().to_string())
        }
        _ => None,
    });
    // Where nothing is said, policies have one place for all models, and another for the demo.
    Some(out.unwrap_or_else(|| format!("default {has_model}")))
}

fn no_script(script: &str) -> Error {
    let error = Error::usage(format!("there is no script `{script}`"));
    match nearest(script, embedded::scripts().map(Embedded::name)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error
            .with_hint("give the name of a built-in script (`qlua list` shows them), or the path of a file"),
    }
}

fn argument<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let key = key.replace('_', "-");
    command.get_arguments().find(|argument| argument.get_long() == Some(&key))
}

/// Fails unless `key` is an option of the script, where that is known, and `value` one that it could have.
fn check(key: &str, value: &JobValue, script: &str, known: Option<&Command>) -> Result<(), Error> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if key.is_empty() || key.starts_with(['-', '_']) || !key.chars().all(is_word) {
        return Err(Error::usage(format!("`{key}` is no name of an option"))
            .with_hint("write the name without dashes before it: `top`"));
    }
    let Some(known) = known else { return Ok(()) };
    let Some(argument) = argument(known, key) else {
        let names = || known.get_arguments().filter_map(|argument| argument.get_long());
        let name = key.replace('_', "-");
        let error = Error::usage(format!("`{script}` has no option `{key}`"));
        return Err(match nearest(&name, names()) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("`qlua {script} --help` lists what there is")),
        });
    };
    let is_flag = !argument.get_action().takes_values();
    match (is_flag, value) {
        (true, JobValue::Flag(_)) | (false, JobValue::Text(_) | JobValue::List(_)) => Ok(()),
        (true, _) => Err(Error::usage(format!("the option `{key}` of `{script}` is true or false"))),
        (false, _) => Err(Error::usage(format!("the option `{key}` of `{script}` needs a value"))),
    }
}

fn option_words(key: &str, value: &JobValue, is_repeated: bool) -> Vec<String> {
    match value {
        JobValue::Flag(true) => vec![format!("--{key}")],
        JobValue::Flag(false) => vec![],
        JobValue::Text(text) => vec![format!("--{key}={text}")],
        JobValue::List(values) if is_repeated => {
            values.iter().map(|value| format!("--{key}={value}")).collect()
        }
        JobValue::List(values) => vec![format!("--{key}={}", values.join(","))],
    }
}
