//! `qlua completions`, `qlua man` and `qlua help`: what is made from the declarations of all commands and scripts.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

use super::built_in::{BuiltIn, Said};
use super::console::print;
use super::declaration::{self, SCRIPTS};
use crate::error::Error;
use crate::lua::api::declarations;
use crate::lua::embedded::{self, Embedded};
use crate::lua::{Host, docs};
use crate::options::{OptionValue, ValueKind, width};
use crate::words::{nearest, words};

words! {
    /// A shell that there are completions for.
    enum Completed: "shell" {
        Bash = "bash",
        Zsh = "zsh",
        Fish = "fish",
    }
}

pub(super) fn declare_completions(command: Command) -> Command {
    let shells = ValueKind::Choice(Completed::WORDS.iter().map(ToString::to_string).collect());
    let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(shells);
    command.arg(shell.help("Which shell")).after_help(
        "For bash, put `source <(qlua completions bash)` into ~/.bashrc. For zsh, write the output to a file `_qlua` in a folder \
         of $fpath; for fish, to ~/.config/fish/completions/qlua.fish.",
    )
}

pub(super) fn completions(values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let Some(OptionValue::Text(word)) = values.get_one("shell") else { return Ok(2) };
    let shell = match word.parse()? {
        Completed::Bash => Shell::Bash,
        Completed::Zsh => Shell::Zsh,
        Completed::Fish => Shell::Fish,
    };
    let mut whole = whole(said.commands)?;
    for taking_names in ["help", "man"] {
        // Other names than these are possible, but too many to offer.
        let names = PossibleValuesParser::new(names(said.commands));
        whole = whole.mut_subcommand(taking_names, |c| c.mut_arg("name", |name| name.value_parser(names)));
    }
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut whole, "qlua", &mut text);
    print(&completed(shell, String::from_utf8(text)?, &whole))
}

/// `text`, the completions of `whole`, with what clap_complete leaves out: files with scripts where a command may stand, and in
/// fish the words that arguments may be.
fn completed(shell: Shell, text: String, whole: &Command) -> String {
    match shell {
        Shell::Zsh => {
            let commands = "_describe -t commands 'qlua commands' commands \"$@\"\n";
            let or_files = format!("{} || _files -g '*.lua'\n", commands.trim_end());
            text.replacen(commands, &or_files, 1)
        }
        Shell::Fish => {
            let mut lines = vec!["complete -c qlua -n \"__fish_qlua_needs_command\" -F".to_string()];
            for command in whole.get_subcommands() {
                let words = command.get_positionals().flat_map(Arg::get_possible_values);
                let words: Vec<String> = words.map(|word| word.get_name().to_string()).collect();
                if !words.is_empty() {
                    let (name, words) = (command.get_name(), words.join(" "));
                    lines.push(format!(
                        "complete -c qlua -n \"__fish_qlua_using_subcommand {name}\" -f -a \"{words}\""
                    ));
                }
            }
            format!("{text}{}\n", lines.join("\n"))
        }
        _ => text,
    }
}

pub(super) fn declare_man(command: Command) -> Command {
    command
        .arg(name("A command or a built-in script; without it the page of qlua itself"))
        .arg(
            Arg::new("out")
                .long("out")
                .value_name("DIR")
                .value_hint(ValueHint::DirPath)
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("name")
                .help("Write all pages into this directory instead"),
        )
        .after_help("`qlua man | man -l -` shows the page.")
}

pub(super) fn man(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let mut whole = whole(said.commands)?;
    if let Some(directory) = values.remove_one::<PathBuf>("out") {
        std::fs::create_dir_all(&directory).map_err(|e| Error::io("create", &directory, e))?;
        clap_mangen::generate_to(whole, &directory).map_err(|e| Error::io("write", &directory, e))?;
        return Ok(0);
    }
    whole.build();
    let page = match values.remove_one::<String>("name") {
        None => whole,
        Some(name) => match whole.find_subcommand(&name) {
            Some(command) => command
                .clone()
                .name(format!("qlua-{name}"))
                .display_name(format!("qlua-{name}"))
                .version(env!("CARGO_PKG_VERSION")),
            None => return Err(nothing_called(said.commands, &name).into()),
        },
    };
    let mut text = Vec::new();
    Man::new(page).render(&mut text)?;
    print(&String::from_utf8(text)?)
}

pub(super) fn declare_help(command: Command) -> Command {
    command.arg(name("A command, a built-in script, or an entry of the Lua API such as `fs.read`"))
}

pub(super) fn help(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    let Some(name) = values.remove_one::<String>("name") else {
        return print(&declaration::help(said.commands));
    };
    let command = said.commands.iter().find(|command| command.name == name);
    let found = match (command, embedded::script(&name)) {
        (Some(command), _) => Some(command.declaration()),
        (None, Some(script)) => Host::command_line_of(script)?,
        (None, None) => None,
    };
    match found {
        Some(command) => print(&command.term_width(width()).render_help().to_string()),
        None => match docs::lookup(&declarations(), &name, width()) {
            Ok(text) => print(&text),
            Err(_) => Err(nothing_called(said.commands, &name).into()),
        },
    }
}

/// The argument that names a command or script; shells complete it.
fn name(help: &'static str) -> Arg {
    Arg::new("name").value_name("NAME").value_hint(ValueHint::Other).help(help)
}

/// The names of all commands and built-in scripts.
fn names(commands: &'static [BuiltIn]) -> impl Iterator<Item = &'static str> {
    commands.iter().map(|command| command.name).chain(embedded::scripts().map(Embedded::name))
}

fn nothing_called(commands: &'static [BuiltIn], name: &str) -> Error {
    let error = Error::usage(format!("there is no script or command `{name}`"));
    match nearest(name, names(commands)) {
        Some(near) => error.with_hint(format!("did you mean `{near}`?")),
        None => error.with_hint(SCRIPTS),
    }
}

/// The command line of qlua with all commands and all built-in scripts.
fn whole(commands: &[BuiltIn]) -> anyhow::Result<Command> {
    let mut scripts = Vec::new();
    for script in embedded::scripts() {
        let declared = Host::command_line_of(script)?;
        scripts.push(declared.unwrap_or_else(|| Command::new(script.name()).about(script.headline())));
    }
    Ok(declaration::declaration(commands, scripts))
}

pub(super) fn version(_: ArgMatches, _: &Said) -> anyhow::Result<u8> {
    print(&declaration::version())
}
