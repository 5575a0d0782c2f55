//! What qlua takes before a script or command, as help, completions and manual show it.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, ValueHint, value_parser};

use super::built_in::{BuiltIn, common_options};
use crate::options::{ValueKind, width};

const EXIT_CODES: &str =
    "Exit codes: 0 ok, 1 failure, 2 usage, 3 `verify` found problems or `diff` differences, 130 interrupted";

/// Where to look for what can be run.
pub(super) const SCRIPTS: &str = "`qlua list` shows the built-in scripts, `qlua --help` the commands";

/// The options before the script.
pub(super) fn options() -> Command {
    let flag = |name: &'static str, short: char, help: &'static str| {
        Arg::new(name).short(short).long(name).action(ArgAction::SetTrue).help(help)
    };
    let repeated = |name: &'static str, short: char, metavar: &'static str, help: &'static str| {
        Arg::new(name)
            .short(short)
            .value_name(metavar)
            .action(ArgAction::Append)
            .allow_hyphen_values(true)
            .value_hint(ValueHint::Other)
            .value_parser(value_parser!(String))
            .help(help)
    };
    Command::new("qlua")
        .bin_name("qlua")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs Lua scripts that write mixed FP8/BF16 checkpoints")
        .override_usage("qlua [OPTIONS] SCRIPT [ARGS]...\n       qlua [OPTIONS] COMMAND [ARGS]...")
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .args_override_self(true)
        .args([
            repeated("code", 'e', "CODE", "Run CODE, before the script if there is one (may be repeated)"),
            repeated(
                "module",
                'l',
                "MODULE",
                "Load MODULE into a global first; `-l name=MODULE` chooses the global (may be repeated)",
            ),
            flag(
                "interactive",
                'i',
                "Go on with a session (see `qlua repl`) after the script, or without one",
            ),
        ])
        .args(common_options())
        .args([flag("version", 'V', "Show the version")])
        .args(limits())
}

/// What a script may reach and use.
fn limits() -> impl IntoIterator<Item = Arg> {
    let value = |name: &'static str, metavar: &'static str, kind: ValueKind, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(metavar)
            .value_hint(ValueHint::Other)
            .allow_negative_numbers(kind.is_numeric())
            .value_parser(kind)
            .help(help)
    };
    let root = |name: &'static str, hint, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("DIR")
            .action(ArgAction::Append)
            .value_hint(hint)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    let at_least = |kind, least| ValueKind::AtLeast(Box::new(kind), least);
    [
        Arg::new("sandbox").long("sandbox").action(ArgAction::SetTrue).help(
            "Run the script in a sandbox: it reaches no file but those that `--read` and `--write` name, and ends when it used up \
             its memory or time",
        ),
        root("read", ValueHint::AnyPath, "With --sandbox: a directory, or a file, that may be read (may be repeated)"),
        root("write", ValueHint::DirPath, "With --sandbox: a directory in which may be written, and read (may be repeated)"),
        value(
            "memory",
            "SIZE",
            at_least(ValueKind::Size, 1_048_576.0),
            "The most memory for Lua's values (default: 4GiB, with --sandbox 512MiB)",
        ),
        value(
            "seconds",
            "N",
            at_least(ValueKind::Number, 0.001),
            "With --sandbox: the longest that the script itself may take; what qlua spends on weights does not count (default: 60)",
        ),
        value(
            "instructions",
            "N",
            at_least(ValueKind::Integer, 1.0),
            "With --sandbox: the most instructions of Lua that it may take (default: 20000000000)",
        ),
        value(
            "total-seconds",
            "N",
            at_least(ValueKind::Number, 0.001),
            "With --sandbox: the longest that all of it may take, what qlua spends on weights included (default: 3600)",
        ),
        value(
            "write-limit",
            "SIZE",
            at_least(ValueKind::Size, 1.0),
            "With --sandbox: the most bytes that it may write, to files and to the standard output together (default: half of what is \
             free where --write leads; 1GiB without --write)",
        ),
        Arg::new("policy-worker").long("policy-worker").action(ArgAction::SetTrue).hide(true),
    ]
}

/// The whole command line of qlua, with its commands; `scripts` are those of built-in scripts.
pub(super) fn declaration(commands: &[BuiltIn], scripts: impl IntoIterator<Item = Command>) -> Command {
    options()
        .subcommand_help_heading("Commands")
        .subcommands(commands.iter().map(BuiltIn::declaration))
        .subcommands(scripts)
        .after_help(format!(
            "SCRIPT is a file, the name of a built-in script (`qlua list` shows them), or `-` for standard input; all words \
             after it are its own.\n\n{EXIT_CODES}"
        ))
}

/// The text of `qlua --help`.
pub(super) fn help(commands: &[BuiltIn]) -> String {
    declaration(commands, []).term_width(width()).render_help().to_string()
}

/// The text of `qlua --version`.
pub(super) fn version() -> String {
    format!("qlua {} (Lua 5.4)\n", env!("CARGO_PKG_VERSION"))
}
