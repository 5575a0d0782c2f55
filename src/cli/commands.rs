//! The built-in commands: `qlua NAME WORDS…`.

use clap::{ArgMatches, Command};

use super::{batch, detach, inspect, listing, shell, verify};
use crate::lua::Verbosity;

/// A built-in command.
pub(super) struct BuiltIn {
    pub name: &'static str,
    about: &'static str,
    /// Adds what it takes to a command that has its name.
    declare: fn(Command) -> Command,
    /// Takes what was given and gives the exit code.
    pub run: fn(ArgMatches, Verbosity) -> anyhow::Result<u8>,
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

/// The built-in command called `name`.
pub(super) fn find(name: &str) -> Option<&'static BuiltIn> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// All of them, in the order in which `--help` lists them; dispatch, help, completions and manual are made from this list.
pub(super) const COMMANDS: &[BuiltIn] = &[
    BuiltIn {
        name: "inspect",
        about: "Show what a checkpoint directory or a sensitivity manifest holds",
        declare: inspect::declare,
        run: inspect::inspect,
    },
    BuiltIn {
        name: "verify",
        about: "Check checkpoint directories against what loaders accept, and above all against what they accept and get \
                wrong; exit code 3 when something is wrong",
        declare: verify::declare,
        run: verify::verify,
    },
    BuiltIn {
        name: "detach",
        about: "Give directories copies of their own of the weight files that they share with other schemes, so that they can \
                be changed or moved to another file system",
        declare: detach::declare,
        run: detach::detach,
    },
    BuiltIn {
        name: "list",
        about: "List the scripts that are part of qlua; `qlua NAME` runs one",
        declare: |command| command,
        run: listing::list,
    },
    BuiltIn {
        name: "doc",
        about: "Explain a namespace, function, class, method or field of the Lua API",
        declare: listing::declare_doc,
        run: listing::doc,
    },
    BuiltIn {
        name: "run",
        about: "Run scripts one after another, each in a fresh Lua state, on past failures, and end with a summary",
        declare: batch::declare,
        run: batch::run,
    },
    BuiltIn {
        name: "completions",
        about: "Print a script that completes commands, scripts and their options in a shell",
        declare: shell::declare_completions,
        run: shell::completions,
    },
    BuiltIn {
        name: "man",
        about: "Print the manual page of qlua, of a command or of a built-in script",
        declare: shell::declare_man,
        run: shell::man,
    },
    BuiltIn {
        name: "help",
        about: "Show the help of qlua, of a command, of a built-in script or of an entry of the Lua API",
        declare: shell::declare_help,
        run: shell::help,
    },
    BuiltIn {
        name: "version",
        about: "Show the version",
        declare: |command| command,
        run: |_, _| super::print(&super::invocation::version()),
    },
];
