//! An option or argument as a script declares it, and as clap knows it.

use clap::{Arg, ArgAction, ValueHint};
use mlua::{Table, Value as LuaValue};

use crate::dialect::{DialectChoice, Engine};
use crate::error::Error;
use crate::format::{Granularity, Rounding};
use crate::lua::types::describe;
use crate::lua::{Call, Key, Record, Type, state};
use crate::manifest::Order;
use crate::options::ValueKind;
use crate::plan::{ActivationsChoice, ScaleSharing};
use crate::write::LinkChoice;

/// More characters than this are no name of an option, nor what stands for its value.
pub(super) const LONGEST_NAME: usize = 100;

/// What `type` may say, and what makes the kind of value that is meant.
type NamedKind = (&'static str, fn() -> ValueKind);

const KINDS: [NamedKind; 36] = [
    ("string", || ValueKind::Text),
    ("path", || ValueKind::Path),
    ("file", || ValueKind::File),
    ("directory", || ValueKind::Directory),
    ("checkpoint", || ValueKind::Checkpoint),
    ("name part", || ValueKind::NamePart),
    ("saved state", || ValueKind::SavedState),
    ("glob", || ValueKind::Glob),
    ("integer", || ValueKind::Integer),
    ("number", || ValueKind::Number),
    ("percent", || ValueKind::Percent),
    ("coverage point", || ValueKind::CoveragePoint),
    ("size", || ValueKind::Size),
    ("device", || ValueKind::Device),
    ("threads", || ValueKind::Threads),
    ("dialect", || choice(DialectChoice::WORDS)),
    ("activations", || choice(ActivationsChoice::WORDS)),
    ("rounding", || choice(Rounding::WORDS)),
    ("scale sharing", || choice(ScaleSharing::WORDS)),
    ("link", || choice(LinkChoice::WORDS)),
    ("order", || choice(Order::WORDS)),
    ("granularity", || choice(Granularity::WORDS)),
    ("engine", || choice(Engine::WORDS)),
    ("string list", || list(ValueKind::Text)),
    ("path list", || list(ValueKind::Path)),
    ("file list", || list(ValueKind::File)),
    ("directory list", || list(ValueKind::Directory)),
    ("checkpoint list", || list(ValueKind::Checkpoint)),
    ("glob list", || list(ValueKind::Glob)),
    ("integer list", || list(ValueKind::Integer)),
    ("number list", || list(ValueKind::Number)),
    ("percent list", || list(ValueKind::Percent)),
    ("coverage point list", || list(ValueKind::CoveragePoint)),
    ("size list", || list(ValueKind::Size)),
    ("granularity list", || list(choice(Granularity::WORDS))),
    ("engine list", || list(choice(Engine::WORDS))),
];

const KIND_NAMES: &[&str] = &{
    let mut names = [""; KINDS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = KINDS[at].0;
        at += 1;
    }
    names
};

fn choice(words: &[&str]) -> ValueKind {
    ValueKind::Choice(words.iter().map(ToString::to_string).collect())
}

fn list(item: ValueKind) -> ValueKind {
    ValueKind::List(Box::new(item))
}

pub(super) const OPTION: Record = Record {
    name: "CliOption",
    doc: "An option (`--name VALUE`) or argument of a script.",
    keys: &[
        Key::new(
            "name",
            Type::String,
            "the name without dashes: `dry-run`; its key in the result is `dry_run`",
        ),
        Key::optional("short", Type::String, "a letter for it: `n` is typed as `-n`"),
        Key::optional("doc", Type::String, "what it means, for `--help`"),
        Key::optional(
            "type",
            Type::Choice(KIND_NAMES),
            "what the value must be (default: `\"string\"`); a `percent` is a share from 0 to 100, a `coverage point` above 0; a list \
             of them is `10,20,12.5` or `10..100:10`; a `checkpoint` is a directory or the name of a model in the Hugging Face cache; a `size` is `6GiB` or `5.5GB` and comes as bytes; a `device` is `auto`, `cpu`, \
             `cuda` or `cuda:N`; `dialect`, `activations`, `rounding`, `scale sharing`, `link`, `order`, `granularity` and `engine` take the words \
             that the functions of those options take",
        ),
        Key::optional("choices", Type::List(&Type::String), "the words that the value may be"),
        Key::optional("least", Type::Number, "the least that a number or size, or each in a list, may be"),
        Key::optional("flag", Type::Boolean, "takes no value; false in the result when it is not there"),
        Key::optional(
            "default",
            Type::Union(&[Type::String, Type::Number, Type::List(&Type::Number)]),
            "what is parsed when it is left out",
        ),
        Key::optional("metavar", Type::String, "what stands for the value in `--help`: `DIR`"),
        Key::optional("required", Type::Boolean, "must be given"),
        Key::optional("repeated", Type::Boolean, "may be given several times; the result is a list"),
    ],
};

/// One option (`--name VALUE`), flag (`--name`) or argument (`NAME`).
pub(super) struct Declared {
    name: String,
    short: Option<String>,
    metavar: String,
    doc: String,
    /// What its value must be; nothing for a flag.
    pub kind: Option<ValueKind>,
    default: Option<String>,
    required: bool,
    /// Whether it may be given several times; its value is then a list.
    pub repeated: bool,
    is_argument: bool,
    /// Whether what lies at a path is looked at only once it is known that it may be.
    asks_later: bool,
}

impl Declared {
    /// Reads the table of one option or argument.
    pub fn read(call: &Call, table: &Table, is_argument: bool) -> anyhow::Result<Self> {
        let name: String = table.raw_get("name")?;
        let fail = |problem: &str| Error::argument(format!("{}: the option `{name}` {problem}", call.name()));
        let choices: Option<Vec<String>> = table.raw_get("choices")?;
        let ty: Option<String> = table.raw_get("type")?;
        let flag = table.raw_get::<Option<bool>>("flag")?.unwrap_or(false);
        let mut kind = match (flag, choices, ty) {
            (true, None, None) => None,
            (false, Some(choices), None) => Some(ValueKind::Choice(choices)),
            (false, None, ty) => {
                let name = ty.as_deref().unwrap_or("string");
                let known = KINDS.iter().find(|(known, _)| *known == name);
                let (_, kind) = known.ok_or_else(|| fail("has a `type` that is none"))?;
                Some(kind())
            }
            _ => return Err(fail("can have only one of `flag`, `choices` and `type`").into()),
        };
        if let Some(least) = table.raw_get::<Option<f64>>("least")? {
            let Some(bounded) = kind.and_then(|kind| kind.at_least(least)) else {
                return Err(fail("is no number or size, and only those can have a `least`").into());
            };
            kind = Some(bounded);
        }
        Ok(Declared {
            kind,
            short: table.raw_get("short")?,
            metavar: table.raw_get::<Option<String>>("metavar")?.unwrap_or_else(|| name.to_uppercase()),
            doc: table.raw_get::<Option<String>>("doc")?.unwrap_or_default(),
            default: default_text(&table.raw_get("default")?)?,
            required: table.raw_get::<Option<bool>>("required")?.unwrap_or(false),
            repeated: table.raw_get::<Option<bool>>("repeated")?.unwrap_or(false),
            is_argument,
            asks_later: state::is_sandbox(call.lua()),
            name,
        })
    }

    /// The name as a key in snake_case: `dry_run`.
    pub fn key(&self) -> String {
        self.name.replace('-', "_")
    }

    /// As it is typed: `--name`, or `NAME`.
    pub fn shown(&self) -> String {
        if self.is_argument { self.metavar.clone() } else { format!("--{}", self.name) }
    }

    /// The letter that stands for the name.
    fn letter(&self) -> Option<char> {
        let mut letters = self.short.as_deref()?.chars();
        let letter = letters.next().filter(char::is_ascii_alphabetic)?;
        letters.next().is_none().then_some(letter)
    }

    /// Whether it takes no value.
    pub fn is_flag(&self) -> bool {
        self.kind.is_none()
    }

    /// What clap is to know of it.
    pub fn argument(&self) -> Arg {
        let doc = match (self.repeated, self.doc.as_str()) {
            (false, doc) => doc.to_string(),
            (true, "") => "may be repeated".into(),
            (true, doc) => format!("{doc} (may be repeated)"),
        };
        let mut argument = Arg::new(self.key()).help(doc).required(self.required);
        if !self.is_argument {
            argument = argument.long(self.name.clone()).short(self.letter());
        }
        let Some(kind) = &self.kind else { return argument.action(ArgAction::SetTrue) };
        argument = argument
            .value_name(self.metavar.clone())
            .value_hint(self.hint(kind))
            .allow_negative_numbers(kind.is_numeric())
            .value_parser(match self.asks_later {
                true => kind.as_text(),
                false => kind.clone(),
            });
        if let Some(default) = &self.default {
            argument = argument.default_value(default.clone());
        }
        match (self.repeated, self.is_argument) {
            (true, true) => argument.action(ArgAction::Append).num_args(1..),
            (true, false) => argument.action(ArgAction::Append),
            (false, _) => argument,
        }
    }

    /// What a shell may offer for the value.
    fn hint(&self, kind: &ValueKind) -> ValueHint {
        match (kind, self.metavar.as_str()) {
            (ValueKind::Directory | ValueKind::Checkpoint, _) | (ValueKind::Path, "DIR") => {
                ValueHint::DirPath
            }
            (ValueKind::File, _) | (ValueKind::Path, "FILE") => ValueHint::FilePath,
            (ValueKind::Path, _) => ValueHint::AnyPath,
            _ => ValueHint::Other,
        }
    }

    fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
            return Err(format!("the option name `{name}` must be in lower case, without leading dashes"));
        }
        if self.short.is_some() && (self.is_argument || self.letter().is_none()) {
            return Err(format!("the `short` of `{name}` must be one letter, of an option"));
        }
        // What lays out the help pads its columns, and takes no width beyond 16 bits.
        let texts = [(&self.name, "name"), (&self.metavar, "metavar")];
        if let Some((_, what)) = texts.iter().find(|(text, _)| text.chars().count() > LONGEST_NAME) {
            let begin: String = name.chars().take(20).collect();
            return Err(format!(
                "the {what} of the option `{begin}…` is longer than {LONGEST_NAME} characters"
            ));
        }
        let Some(kind) = &self.kind else {
            return if self.is_argument {
                Err(format!("the argument `{name}` cannot be a flag"))
            } else if self.repeated || self.default.is_some() || self.required {
                Err(format!("the flag `{name}` can be neither repeated nor required, and has no default"))
            } else {
                Ok(())
            };
        };
        let Some(default) = &self.default else { return Ok(()) };
        if self.required {
            return Err(format!("the option `{name}` is required, so its default is never used"));
        }
        // In a sandbox nothing is asked of the disk before it is known that it may be.
        let kind = if self.asks_later { kind.as_text() } else { kind.clone() };
        kind.parse(default).map(drop).map_err(|problem| format!("the default of option `{name}` {problem}"))
    }
}

/// Checks each declaration and what they say together; a sentence that names the option at fault otherwise.
pub(super) fn check(options: &[Declared]) -> Result<(), String> {
    let mut seen: Vec<String> = vec!["help".into()];
    let mut letters = vec!['h'];
    for option in options {
        option.check()?;
        if let Some(letter) = option.letter() {
            if letters.contains(&letter) {
                return Err(format!("`-{letter}` is declared twice"));
            }
            letters.push(letter);
        }
        if seen.contains(&option.key()) {
            return Err(format!("the option `{}` is declared twice", option.name));
        }
        seen.push(option.key());
    }
    let arguments: Vec<&Declared> = options.iter().filter(|option| option.is_argument).collect();
    for pair in arguments.windows(2) {
        if pair[0].repeated {
            return Err(format!("the argument `{}` is repeated but not the last one", pair[0].name));
        }
        if pair[1].required && !pair[0].required {
            let (optional, required) = (&pair[0].name, &pair[1].name);
            return Err(format!(
                "the argument `{required}` is required, but comes after `{optional}`, which is not"
            ));
        }
    }
    Ok(())
}

fn default_text(value: &LuaValue) -> anyhow::Result<Option<String>> {
    Ok(match value {
        LuaValue::Nil => None,
        LuaValue::String(text) => Some(text.to_string_lossy()),
        LuaValue::Table(list) => {
            let items: Vec<f64> = list.sequence_values().collect::<mlua::Result<_>>()?;
            Some(items.iter().map(f64::to_string).collect::<Vec<_>>().join(","))
        }
        other => Some(describe(other)),
    })
}
