//! The words before the script: options of qlua, and what they name to run.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::built_in::BuiltIn;
use super::commands::COMMANDS;
use super::declaration::{SCRIPTS, help, options as declared_options, version};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::lua::embedded::{self, Embedded};
use crate::lua::sandbox::{Limits, Roots};
use crate::lua::{Chunk, Verbosity};
use crate::options::{self, OptionValue, Parsed};
use crate::units::bytes;
use crate::words::nearest;

/// What happens before the script, in the order given.
pub(super) enum StartupStep {
    /// `-e CODE`
    Code(String),
    /// `-l MODULE` or `-l NAME=MODULE`
    Module { name: String, module: String },
}

/// What is to run.
pub(super) enum RunTarget {
    Nothing,
    /// Help, or the version.
    Text(String),
    Stdin,
    File(PathBuf),
    BuiltIn(&'static Embedded),
    Command(&'static BuiltIn),
    /// The other side of a pipe on which a policy is asked.
    PolicyWorker,
}

/// The command line of qlua, read.
pub(super) struct Invocation {
    pub steps: Vec<StartupStep>,
    pub verbosity: Verbosity,
    /// Where a log is kept.
    pub log: Option<PathBuf>,
    pub target: RunTarget,
    /// What a sandbox may read and write; nothing where the script is trusted.
    pub roots: Option<Roots>,
    pub limits: Limits,
    /// Whether a session follows the script.
    pub is_interactive: bool,
    /// Where the script stands among the words after the program's name.
    pub script_index: Option<usize>,
    /// The words after the script or command; they are its own, whatever they look like.
    pub arguments: Vec<OsString>,
}

impl Invocation {
    pub fn parse(words: &[OsString]) -> Result<Invocation> {
        let mut values = match options::parse(reader(), words.iter().cloned())? {
            Parsed::Text(text) => return Ok(Invocation::of(RunTarget::Text(text))),
            Parsed::Values(values) => values,
        };
        if values.get_flag("help") {
            return Ok(Invocation::of(RunTarget::Text(help(COMMANDS))));
        }
        if values.get_flag("version") {
            return Ok(Invocation::of(RunTarget::Text(version())));
        }
        if values.get_flag("policy-worker") {
            return Ok(Invocation::of(RunTarget::PolicyWorker));
        }
        let mut invocation = Invocation { steps: steps(&values), ..Invocation::of(RunTarget::Nothing) };
        (invocation.roots, invocation.limits) = reach(&mut values)?;
        invocation.is_interactive = values.get_flag("interactive");
        if invocation.is_interactive && invocation.roots.is_some() {
            return Err(Error::usage("`-i` does not go with `--sandbox`")
                .with_hint("a session is for code of your own; leave one of the two out"));
        }
        invocation.log = values.remove_one("log");
        if values.get_flag("quiet") {
            invocation.verbosity = Verbosity::Quiet;
        } else if values.get_flag("verbose") {
            invocation.verbosity = Verbosity::Verbose;
        }
        if let Some((script, mut own)) = values.remove_subcommand() {
            invocation.arguments = own.remove_many::<OsString>("").into_iter().flatten().collect();
            invocation.script_index = Some(words.len() - invocation.arguments.len() - 1);
            invocation.target = RunTarget::find(OsStr::new(&script))?;
            if invocation.is_interactive && matches!(invocation.target, RunTarget::Stdin) {
                return Err(Error::usage("`-i` does not go with a script from standard input")
                    .with_hint("a session reads its lines from there; put the script into a file"));
            }
        }
        Ok(invocation)
    }

    fn of(target: RunTarget) -> Self {
        Invocation {
            steps: Vec::new(),
            verbosity: Verbosity::Normal,
            log: None,
            target,
            roots: None,
            limits: Limits::TRUSTED,
            is_interactive: false,
            script_index: None,
            arguments: Vec::new(),
        }
    }
}

/// What reads the words up to the script. `--help` is a flag like others there, as its text also lists the commands.
fn reader() -> Command {
    let help = Arg::new("help").short('h').long("help").action(ArgAction::SetTrue);
    declared_options().disable_help_flag(true).arg(help).allow_external_subcommands(true)
}

/// What `-e` and `-l` say, in the order in which they were given.
fn steps(values: &ArgMatches) -> Vec<StartupStep> {
    let given = |name: &'static str| {
        let texts = values.get_many::<String>(name).into_iter().flatten();
        values.indices_of(name).into_iter().flatten().zip(texts)
    };
    let code = given("code").map(|(at, code)| (at, StartupStep::Code(code.clone())));
    let module = given("module").map(|(at, text)| {
        let (name, module) = text.split_once('=').unwrap_or((text, text));
        (at, StartupStep::Module { name: name.into(), module: module.into() })
    });
    let mut steps: Vec<(usize, StartupStep)> = code.chain(module).collect();
    steps.sort_by_key(|(at, _)| *at);
    steps.into_iter().map(|(_, step)| step).collect()
}

/// What the script may read and write, and how much it may use.
fn reach(values: &mut ArgMatches) -> Result<(Option<Roots>, Limits)> {
    let is_sandbox = values.get_flag("sandbox");
    if !is_sandbox
        && let Some(name) = ["read", "write", "seconds", "instructions", "total-seconds", "write-limit"]
            .iter()
            .find(|n| values.contains_id(n))
    {
        return Err(Error::usage(format!("`--{name}` goes with `--sandbox`"))
            .with_hint("a script that is trusted may read and write everything"));
    }
    let mut paths = |name| -> Vec<PathBuf> { values.remove_many(name).into_iter().flatten().collect() };
    let (read, write) = (paths("read"), paths("write"));
    let roots = if is_sandbox { Some(Roots::new(&read, &write)?) } else { None };
    let mut limits = if is_sandbox { Limits::SANDBOX } else { Limits::TRUSTED };
    if let Some(OptionValue::Integer(bytes)) = values.remove_one("memory") {
        limits.memory = usize::try_from(bytes).unwrap_or(usize::MAX);
    }
    for (name, limit) in [("seconds", &mut limits.time), ("total-seconds", &mut limits.total)] {
        match values.remove_one(name) {
            // More than a time can be is no limit.
            Some(OptionValue::Number(seconds)) => *limit = Duration::try_from_secs_f64(seconds).ok(),
            Some(OptionValue::Integer(seconds)) => *limit = Some(Duration::from_secs(seconds.unsigned_abs())),
            _ => {}
        }
    }
    if let Some(OptionValue::Integer(instructions)) = values.remove_one("instructions") {
        limits.instructions = Some(instructions.unsigned_abs());
    }
    if let Some(free) = roots.as_ref().and_then(Roots::free_bytes) {
        // A whole number of MiB reads better.
        limits.written = Some((free / 2) & !((1 << 20) - 1));
    }
    if let Some(OptionValue::Integer(bytes)) = values.remove_one("write-limit") {
        limits.written = Some(bytes.unsigned_abs());
    }
    Ok((roots, limits))
}

impl RunTarget {
    /// What `word` names: a command, `-`, a built-in script, or a file; a path such as `./name` is always a file.
    pub fn find(word: &OsStr) -> Result<RunTarget> {
        let path = Path::new(word);
        let text = word.to_string_lossy();
        if text == "-" {
            return Ok(RunTarget::Stdin);
        }
        if let Some(command) = COMMANDS.iter().find(|command| command.name == text) {
            return Ok(RunTarget::Command(command));
        }
        // A file that happens to lie here must not run in the place of what the word means everywhere else.
        if let Some(script) = embedded::script(&text) {
            return Ok(RunTarget::BuiltIn(script));
        }
        if text.contains('/') || text.ends_with(".lua") || path.is_file() {
            return Ok(RunTarget::File(path.to_path_buf()));
        }
        let known = COMMANDS.iter().map(|c| c.name).chain(embedded::scripts().map(Embedded::name));
        if let Some(what) = path.metadata().ok().and_then(|found| input::special(found.file_type())) {
            let problem =
                format!("there is no script or command `{text}`: what lies here by that name is {what}");
            return Err(Error::usage(problem).with_hint(SCRIPTS));
        }
        let error = Error::usage(format!("there is no script or command `{text}`"));
        Err(match nearest(&text, known) {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(SCRIPTS),
        })
    }

    /// The code to run; `None` when there is no script.
    pub fn chunk(&self) -> anyhow::Result<Option<Chunk>> {
        Ok(match self {
            RunTarget::File(path) => match Chunk::file(path) {
                Err(Error::NotFound { problem, .. }) => {
                    return Err(Error::usage(problem).with_hint(SCRIPTS).into());
                }
                other => Some(other?),
            },
            RunTarget::BuiltIn(script) => Some(Chunk::built_in(script)),
            RunTarget::Stdin => {
                let mut source = Vec::new();
                let most = InputKind::Script.most_bytes();
                let read = std::io::stdin().lock().take(most + 1).read_to_end(&mut source);
                read.map_err(|e| Error::io("read", "standard input", e))?;
                if source.len() as u64 > most {
                    let problem = format!("is larger than {}, the most that a script may have", bytes(most));
                    return Err(Error::format("standard input", problem).into());
                }
                Some(Chunk::stdin(source))
            }
            _ => None,
        })
    }

    /// The folder in which `require` looks: the script's own; built-in scripts have none.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            RunTarget::File(path) => Some(path.parent().unwrap_or(Path::new(""))),
            RunTarget::BuiltIn(_) => None,
            _ => Some(Path::new("")),
        }
    }
}
