//! The words before the script: options of qlua, and what they name to run.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{BuiltIn, COMMANDS};
use crate::error::{Error, Result};
use crate::lua::embedded::{self, Embedded};
use crate::lua::{Chunk, Verbosity};
use crate::options::UsageError;
use crate::selector::nearest;

/// What happens before the script, in the order given.
pub(super) enum Step {
    /// `-e CODE`
    Code(String),
    /// `-l MODULE` or `-l NAME=MODULE`
    Module { name: String, module: String },
}

/// What is to run.
pub(super) enum Target {
    Nothing,
    Help,
    Version,
    Stdin,
    File(PathBuf),
    BuiltIn(&'static Embedded),
    Command(&'static BuiltIn),
}

/// The command line of qlua, read.
pub(super) struct Invocation {
    pub steps: Vec<Step>,
    pub verbosity: Verbosity,
    pub target: Target,
    /// Where the script stands among the words after the program's name.
    pub script_index: Option<usize>,
    /// The words after the script or command; they are its own, whatever they look like.
    pub arguments: Vec<OsString>,
}

impl Invocation {
    pub fn parse(words: &[OsString]) -> Result<Invocation, UsageError> {
        let mut invocation = Invocation {
            steps: Vec::new(),
            verbosity: Verbosity::Normal,
            target: Target::Nothing,
            script_index: None,
            arguments: Vec::new(),
        };
        let mut i = 0;
        let mut only_script = false;
        while let Some(word) = words.get(i) {
            let bytes = word.as_bytes();
            if only_script || !bytes.starts_with(b"-") || bytes == b"-" {
                invocation.target = Target::find(word)?;
                invocation.script_index = Some(i);
                invocation.arguments = words[i + 1..].to_vec();
                break;
            }
            i += 1;
            match bytes {
                b"--" => only_script = true,
                b"-h" | b"--help" => invocation.target = Target::Help,
                b"-V" | b"--version" => invocation.target = Target::Version,
                b"-q" | b"--quiet" => invocation.verbosity = Verbosity::Quiet,
                b"-v" | b"--verbose" => invocation.verbosity = Verbosity::Verbose,
                [b'-', kind @ (b'e' | b'l'), attached @ ..] => {
                    let value = if attached.is_empty() {
                        i += 1;
                        words.get(i - 1).map(OsString::as_os_str)
                    } else {
                        Some(OsStr::from_bytes(attached))
                    };
                    invocation.steps.push(step(*kind, value)?);
                }
                _ => return Err(unknown_option(word)),
            }
            if matches!(invocation.target, Target::Help | Target::Version) {
                break;
            }
        }
        Ok(invocation)
    }
}

fn step(kind: u8, value: Option<&OsStr>) -> Result<Step, UsageError> {
    let (option, what) = if kind == b'e' { ("-e", "code") } else { ("-l", "the name of a module") };
    let Some(value) = value else {
        return Err(UsageError::new(format!("the option `{option}` needs a value: {what}")));
    };
    let Some(value) = value.to_str() else {
        return Err(UsageError::new(format!("the value of `{option}` is not valid UTF-8")));
    };
    Ok(match (kind, value.split_once('=')) {
        (b'e', _) => Step::Code(value.into()),
        (_, Some((name, module))) => Step::Module { name: name.into(), module: module.into() },
        (_, None) => Step::Module { name: value.into(), module: value.into() },
    })
}

fn unknown_option(word: &OsStr) -> UsageError {
    let word = word.to_string_lossy();
    let error = UsageError::new(format!("qlua has no option `{word}`"));
    match nearest(&word, ["--help", "--version", "--quiet", "--verbose"]) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => {
            error.with_hint("options of a script come after the script; `qlua --help` lists those of qlua")
        }
    }
}

impl Target {
    /// What `word` names: a command, `-`, a file, or a built-in script.
    fn find(word: &OsStr) -> Result<Target, UsageError> {
        let path = Path::new(word);
        let text = word.to_string_lossy();
        if text == "-" {
            return Ok(Target::Stdin);
        }
        if let Some(command) = COMMANDS.iter().find(|c| c.name == text) {
            return Ok(Target::Command(command));
        }
        if text.contains('/') || text.ends_with(".lua") || path.is_file() {
            return Ok(Target::File(path.to_path_buf()));
        }
        if let Some(script) = embedded::script(&text) {
            return Ok(Target::BuiltIn(script));
        }
        let known = COMMANDS.iter().map(|c| c.name).chain(embedded::scripts().map(Embedded::name));
        let error = UsageError::new(format!("there is no script or command `{text}`"));
        Err(match nearest(&text, known) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint("`qlua list` shows the built-in scripts, `qlua --help` the commands"),
        })
    }

    /// The code to run; `None` when there is no script.
    pub fn chunk(&self) -> anyhow::Result<Option<Chunk>> {
        Ok(match self {
            Target::File(path) => match Chunk::file(path) {
                Err(Error::NotFound { problem, .. }) => return Err(UsageError::new(problem).into()),
                other => Some(other?),
            },
            Target::BuiltIn(script) => Some(Chunk::built_in(script)),
            Target::Stdin => {
                let mut source = Vec::new();
                let read = std::io::stdin().lock().read_to_end(&mut source);
                read.map_err(|e| Error::io("read", "standard input", e))?;
                Some(Chunk::stdin(source))
            }
            _ => None,
        })
    }

    /// The folder in which `require` looks: the script's own; built-in scripts have none.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Target::File(path) => Some(path.parent().unwrap_or(Path::new(""))),
            Target::BuiltIn(_) => None,
            _ => Some(Path::new("")),
        }
    }
}

/// The text of `qlua --help`.
pub(super) fn help() -> String {
    let mut out = String::from(
        "\
qlua runs Lua scripts that write mixed FP8/BF16 checkpoints.

usage: qlua [options] SCRIPT [ARGS…]
",
    );
    for command in COMMANDS {
        let _ = writeln!(out, "       {}", format!("qlua {} {}", command.name, command.usage).trim_end());
    }
    out.push_str(
        "
SCRIPT is a file, the name of a built-in script, or `-` for standard input; all words after it are its own.

commands:
",
    );
    for command in COMMANDS {
        let _ = writeln!(out, "  {:<14} {}", command.name, command.about);
    }
    out.push_str(
        "
options:
  -e CODE        run CODE, before the script if there is one; may be repeated
  -l MODULE      load MODULE into a global first; `-l name=MODULE` chooses the global
  -q, --quiet    say only warnings and errors
  -v, --verbose  say more
  -V, --version  show the version and exit
  -h, --help     show this help and exit

exit codes: 0 ok, 1 failure, 2 usage, 3 verification found problems, 130 interrupted
",
    );
    out
}
