//! The types of parameters, options and results: what they are called, and whether a Lua value fits.

mod check;

use std::fmt::Write as _;

pub(super) use check::{Mismatch, describe, unknown_key};

/// The type of a parameter, option, field or result.
///
/// Every variant is `Copy`, so nested types are written in place: `Type::List(&Type::String)`.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// Any value but nil.
    Any,
    /// `true` or `false`.
    Boolean,
    /// A whole number; a float with an integral value is accepted.
    Integer,
    /// A whole number counted in a unit, such as `"bytes"`.
    IntegerIn(&'static str),
    /// A number.
    Number,
    /// A number measured in a unit, such as `"dB"`.
    NumberIn(&'static str),
    /// A percentage from 0 to 100: 10 means 10 %.
    Percent,
    /// A string.
    String,
    /// A string of any bytes, such as the content of a file.
    Bytes,
    /// A path of a file or directory, as a string.
    Path,
    /// A function, with its signature in the notation of lua-language-server: `fun(name: string): boolean`.
    Function(&'static str),
    /// Any table.
    Table,
    /// A sequence whose items are all of one type.
    List(&'static Type),
    /// A table from strings to one type.
    Map(&'static Type),
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A handle of the class of this name, such as `"Manifest"`.
    Handle(&'static str),
    /// A table with declared keys.
    Record(&'static Record),
    /// A glob, a list of globs, or a predicate `fun(name: string): any`, of which anything but nil and false is a yes.
    Selector,
    /// A value of the inner type, or nil.
    Optional(&'static Type),
    /// A value of any of these types.
    Union(&'static [Type]),
}

/// A table with declared keys: a row that a function returns, or a table that it takes.
#[derive(Debug)]
pub struct Record {
    /// The name in the manual, such as `"RankingRow"`.
    pub name: &'static str,
    /// What such a table describes.
    pub doc: &'static str,
    /// Its keys, in the order in which the manual lists them.
    pub keys: &'static [Key],
}

/// A key of a [`Record`].
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// The type of its value.
    pub ty: Type,
    /// Whether it may be absent.
    pub optional: bool,
    /// What it means, with its unit.
    pub doc: &'static str,
}

impl Key {
    /// A key that is always there, or one that may be absent where `ty` is [`Type::Optional`].
    pub const fn new(name: &'static str, ty: Type, doc: &'static str) -> Self {
        match ty {
            Type::Optional(inner) => Key { name, ty: *inner, optional: true, doc },
            _ => Key { name, ty, optional: false, doc },
        }
    }

    /// A key that may be absent.
    pub const fn optional(name: &'static str, ty: Type, doc: &'static str) -> Self {
        Key { name, ty, optional: true, doc }
    }
}

impl Type {
    /// The type in the notation of lua-language-server.
    pub fn annotation(&self) -> String {
        match self {
            Type::Any => "any".into(),
            Type::Boolean => "boolean".into(),
            Type::Integer | Type::IntegerIn(_) => "integer".into(),
            Type::Number | Type::NumberIn(_) | Type::Percent => "number".into(),
            Type::String | Type::Bytes | Type::Path => "string".into(),
            Type::Function(signature) => (*signature).into(),
            Type::Table => "table".into(),
            Type::List(item) => match item {
                Type::Choice(_) | Type::Union(_) | Type::Optional(_) | Type::Selector | Type::Function(_) => {
                    format!("({})[]", item.annotation())
                }
                _ => format!("{}[]", item.annotation()),
            },
            Type::Map(item) => format!("table<string, {}>", item.annotation()),
            Type::Choice(words) => words.iter().map(|w| format!("\"{w}\"")).collect::<Vec<_>>().join("|"),
            Type::Handle(name) => format!("qlua.{name}"),
            Type::Record(record) => format!("qlua.{}", record.name),
            Type::Selector => "string|string[]|(fun(name: string): any)".into(),
            Type::Optional(inner) => format!("{}|nil", inner.alternative()),
            Type::Union(types) => types.iter().map(Type::alternative).collect::<Vec<_>>().join("|"),
        }
    }

    /// The annotation where `|` comes after it: what a function gives would go on behind it.
    fn alternative(&self) -> String {
        match self {
            Type::Function(signature) => format!("({signature})"),
            _ => self.annotation(),
        }
    }

    /// The type in the words of the manual, without an article: `list of strings`, `number (dB)`.
    pub fn words(&self) -> String {
        match self {
            Type::IntegerIn(unit) => format!("integer ({unit})"),
            Type::NumberIn(unit) => format!("number ({unit})"),
            Type::Percent => "percent".into(),
            Type::Path => "path".into(),
            Type::Function(_) => "function".into(),
            Type::List(item) => format!("list of {}", item.plural()),
            Type::Map(item) => format!("table of {} by name", item.plural()),
            Type::Choice(words) => alternatives(words.iter().map(|w| format!("\"{w}\""))),
            Type::Handle(name) => (*name).into(),
            Type::Record(record) => record.name.into(),
            Type::Selector => "glob, list of globs, or predicate".into(),
            Type::Optional(inner) => format!("{} or nil", inner.words()),
            Type::Union(types) => alternatives(types.iter().map(Type::words)),
            _ => self.annotation(),
        }
    }

    fn plural(&self) -> String {
        match self {
            Type::Any => "values".into(),
            Type::Choice(_) | Type::Union(_) | Type::Selector | Type::Optional(_) => {
                format!("({})", self.words())
            }
            Type::Record(record) => format!("{} tables", record.name),
            Type::Handle(name) => format!("{name} handles"),
            Type::IntegerIn(unit) => format!("integers ({unit})"),
            Type::NumberIn(unit) => format!("numbers ({unit})"),
            _ => format!("{}s", self.words()),
        }
    }

    /// The type as the object of "must be …".
    pub(super) fn demanded(&self) -> String {
        match self {
            Type::Any => "given".into(),
            Type::Boolean => "true or false".into(),
            Type::Integer | Type::IntegerIn(_) => format!("an {}", self.words()),
            Type::Percent => "a percentage from 0 to 100".into(),
            Type::Choice(words) => format!("one of {}", words_in_quotes(words)),
            Type::Handle(name) => format!("{} {name} handle", article(name)),
            Type::Record(record) => format!("a table ({})", record.name),
            Type::Selector => "a glob, a list of globs, or a function".into(),
            Type::Union(types) => alternatives(types.iter().map(Type::demanded)),
            Type::Optional(inner) => inner.demanded(),
            _ => format!("a {}", self.words()),
        }
    }

    /// Whether a table could be meant for this type (an options table in its place is recognised otherwise).
    pub(super) fn takes_tables(&self) -> bool {
        match self {
            Type::Any | Type::Table | Type::List(_) | Type::Map(_) | Type::Record(_) | Type::Selector => true,
            Type::Optional(inner) => inner.takes_tables(),
            Type::Union(types) => types.iter().any(Type::takes_tables),
            _ => false,
        }
    }

    /// Whether a string could be a path for this type. A list of paths is none: nothing takes one.
    pub fn takes_paths(&self) -> bool {
        match self {
            Type::Path => true,
            Type::Optional(inner) => inner.takes_paths(),
            Type::Union(types) => types.iter().any(Type::takes_paths),
            _ => false,
        }
    }

    /// The classes of handles that this type mentions.
    pub fn handles(&self) -> Vec<&'static str> {
        match self {
            Type::Handle(class) => vec![*class],
            Type::List(inner) | Type::Map(inner) | Type::Optional(inner) => inner.handles(),
            Type::Union(types) => types.iter().flat_map(Type::handles).collect(),
            Type::Record(record) => record.keys.iter().flat_map(|key| key.ty.handles()).collect(),
            _ => Vec::new(),
        }
    }

    /// The records that this type mentions, itself included.
    pub fn records(&self) -> Vec<&'static Record> {
        match self {
            Type::Record(record) => {
                std::iter::once(*record).chain(record.keys.iter().flat_map(|key| key.ty.records())).collect()
            }
            Type::List(inner) | Type::Map(inner) | Type::Optional(inner) => inner.records(),
            Type::Union(types) => types.iter().flat_map(Type::records).collect(),
            _ => Vec::new(),
        }
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['A', 'E', 'I', 'O', 'U', 'a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn alternatives(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, second] => format!("{first} or {second}"),
        [most @ .., last] => format!("{}, or {last}", most.join(", ")),
    }
}

fn words_in_quotes(words: &[&str]) -> String {
    alternatives(words.iter().map(|w| format!("\"{w}\"")))
}

pub(super) fn words_in_ticks<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        let _ = write!(text, "{}`{word}`", if text.is_empty() { "" } else { ", " });
    }
    text
}
