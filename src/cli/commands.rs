//! The built-in commands: `qlua NAME WORDS…`.

use super::built_in::BuiltIn;
use super::{batch, clean, detach, diff, inspect, listing, new, repl, report, setup, shell, verify};

/// All built-in commands, in the order in which `--help` lists them; dispatch, help, completions and manual are made from this list.
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
        name: "diff",
        about: "Show what sets two checkpoint directories or two manifests apart: configurations, files, and weights as the \
                numbers that stand for them; exit code 3 when they differ",
        declare: diff::declare,
        run: diff::diff,
    },
    BuiltIn {
        name: "report",
        about: "Write the report over every scheme in a directory, whatever runs wrote it: sizes, scores, quality, heat maps, and \
                the commands that made each scheme and serve it",
        declare: report::declare,
        run: report::report,
    },
    BuiltIn {
        name: "detach",
        about: "Give directories copies of their own of the weight files that they share with other schemes, so that they can \
                be changed or moved to another file system",
        declare: detach::declare,
        run: detach::detach,
    },
    BuiltIn {
        name: "clean",
        about: "Remove what interrupted runs left in directories and no run will go on with; finished schemes, other files and \
                what a running process works on are not touched",
        declare: clean::declare,
        run: clean::clean,
    },
    BuiltIn {
        name: "new",
        about: "Write a policy of your own, with comments and ready to run, from a built-in one",
        declare: new::declare,
        run: new::new,
    },
    BuiltIn {
        name: "setup",
        about: "Have lua-language-server, and with it editors, know the Lua API in a folder",
        declare: setup::declare,
        run: setup::setup,
    },
    BuiltIn {
        name: "list",
        about: "List the scripts that are part of qlua; `qlua NAME` runs one",
        declare: listing::declare_list,
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
        about: "Run scripts one after another or several at a time, or the policies of a recipe, on past failures, and end \
                with a summary",
        declare: batch::declare,
        run: batch::run,
    },
    BuiltIn {
        name: "repl",
        about: "Run lines of Lua as they are entered: with history, completion and help(x)",
        declare: repl::declare,
        run: repl::repl,
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
    BuiltIn { name: "version", about: "Show the version", declare: |command| command, run: shell::version },
];
