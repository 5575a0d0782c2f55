//! What a built-in command is.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};

use crate::lua::sandbox::Limits;
use crate::lua::{Verbosity, output};

/// What was said before a command, and what commands there are.
pub(super) struct Said {
    pub verbosity: Verbosity,
    pub limits: Limits,
    pub commands: &'static [BuiltIn],
}

impl Said {
    /// Says what helps to find a mistake, where `-v` or a log asks for it.
    pub fn debug(&self, text: impl FnOnce() -> String) {
        output::debug(self.verbosity, text);
    }

    /// With what was said after the command, which counts more.
    pub fn with(self, values: &ArgMatches) -> Self {
        let verbosity = match () {
            () if values.get_flag("quiet") => Verbosity::Quiet,
            () if values.get_flag("verbose") => Verbosity::Verbose,
            () => self.verbosity,
        };
        Said { verbosity, ..self }
    }
}

/// How much is said, and where it is kept: options before the script and of every command.
pub(super) fn common_options() -> [Arg; 3] {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).long(name).action(ArgAction::SetTrue).help(help)
    };
    [
        flag("quiet", 'q', "Say only warnings and errors").overrides_with("verbose"),
        flag(
            "verbose",
            'v',
            "Say more: what runs, on which device, from which sources, and how long it takes",
        ),
        Arg::new("log")
            .long("log")
            .value_name("FILE")
            .value_hint(ValueHint::FilePath)
            .value_parser(value_parser!(PathBuf))
            .help("Add all that is said, and what -v would say, to FILE, each line with the time"),
    ]
}

/// A built-in command.
pub(super) struct BuiltIn {
    pub name: &'static str,
    pub about: &'static str,
    /// Adds what it takes to a command that has its name.
    pub declare: fn(Command) -> Command,
    /// Takes what was given and gives the exit code.
    pub run: fn(ArgMatches, &Said) -> anyhow::Result<u8>,
}

impl BuiltIn {
    /// Its command line.
    pub fn declaration(&self) -> Command {
        let command = Command::new(self.name)
            .bin_name(format!("qlua {}", self.name))
            .about(self.about)
            .disable_version_flag(true);
        (self.declare)(command).args(common_options())
    }
}
