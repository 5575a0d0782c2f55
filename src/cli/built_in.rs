//! What a built-in command is.

use clap::{ArgMatches, Command};

use crate::lua::Verbosity;
use crate::lua::sandbox::Limits;

/// What was said before a command, and what commands there are.
pub(super) struct Said {
    pub verbosity: Verbosity,
    pub limits: Limits,
    pub commands: &'static [BuiltIn],
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
        (self.declare)(command)
    }
}
