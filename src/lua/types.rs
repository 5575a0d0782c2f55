//! The types of parameters, options and results: what they are called, and whether a Lua value fits.

use std::fmt::Write as _;

use mlua::{Table, Value};

use super::state;
use crate::selector::nearest;

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
    /// A glob, a list of globs, or a predicate `fun(name: string): boolean`.
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
    /// A key that is always there.
    pub const fn new(name: &'static str, ty: Type, doc: &'static str) -> Self {
        Key { name, ty, optional: false, doc }
    }

    /// A key that may be absent.
    pub const fn optional(name: &'static str, ty: Type, doc: &'static str) -> Self {
        Key { name, ty, optional: true, doc }
    }
}

/// Why a value does not fit a type.
pub(super) struct Mismatch {
    /// Where inside the value, as Lua would write it: `[3].name`, or empty.
    pub place: String,
    /// The rest of the sentence after the parameter's name.
    pub problem: String,
    /// A next step.
    pub hint: Option<String>,
}

impl Mismatch {
    fn new(problem: String) -> Self {
        Mismatch { place: String::new(), problem, hint: None }
    }

    fn inside(mut self, place: &str) -> Self {
        self.place.insert_str(0, place);
        self
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
            Type::Selector => "string|string[]|fun(name: string): boolean".into(),
            Type::Optional(inner) => format!("{}|nil", inner.annotation()),
            Type::Union(types) => types.iter().map(Type::annotation).collect::<Vec<_>>().join("|"),
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
    fn demanded(&self) -> String {
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

    /// Checks that `value` is of this type.
    pub(super) fn check(&self, value: &Value, lua: &mlua::Lua) -> Result<(), Mismatch> {
        let fits = match (self, value) {
            (Type::Optional(_), Value::Nil) => true,
            (Type::Optional(inner), _) => return inner.check(value, lua),
            (Type::Any, other) => !other.is_nil(),
            (Type::Boolean, Value::Boolean(_)) => true,
            (Type::Integer | Type::IntegerIn(_), Value::Integer(_)) => true,
            (Type::Integer | Type::IntegerIn(_), Value::Number(x)) => {
                // Above 2^53 a float no longer says which integer is meant.
                x.fract() == 0.0 && x.abs() <= 9_007_199_254_740_992.0
            }
            (Type::Number | Type::NumberIn(_), Value::Integer(_) | Value::Number(_)) => true,
            (Type::Percent, Value::Integer(x)) => (0..=100).contains(x),
            (Type::Percent, Value::Number(x)) => (0.0..=100.0).contains(x),
            (Type::String | Type::Path, Value::String(s)) => {
                if s.to_str().is_err() {
                    return Err(Mismatch::new("is not valid UTF-8".into()));
                }
                if matches!(self, Type::Path) && s.as_bytes().is_empty() {
                    return Err(Mismatch::new("is an empty path".into()));
                }
                true
            }
            (Type::Bytes, Value::String(_)) => true,
            (Type::Function(_) | Type::Selector, Value::Function(_)) => true,
            (Type::Table, Value::Table(_)) => true,
            (Type::List(item), Value::Table(table)) => return check_list(table, item, lua),
            (Type::Map(item), Value::Table(table)) => return check_map(table, item, lua),
            (Type::Choice(words), Value::String(s)) => {
                let word = s.to_string_lossy();
                if !words.contains(&word.as_str()) {
                    let mut mismatch = self.mismatch(value);
                    mismatch.hint =
                        nearest(&word, words.iter().copied()).map(|w| format!("did you mean \"{w}\"?"));
                    return Err(mismatch);
                }
                true
            }
            (Type::Handle(name), Value::UserData(handle)) => {
                handle.type_id().is_some() && handle.type_id() == state::class_type(lua, name)
            }
            (Type::Record(record), Value::Table(table)) => return check_record(table, record, lua),
            (Type::Selector, Value::String(_)) => true,
            (Type::Selector, Value::Table(table)) => return check_list(table, &Type::String, lua),
            (Type::Union(types), _) => {
                if types.iter().any(|t| t.check(value, lua).is_ok()) {
                    return Ok(());
                }
                // Where only one member takes tables, its own complaint says more than the list of all members.
                let mut candidates = types.iter().filter(|t| t.takes_tables());
                if let (Value::Table(_), Some(only), None) = (value, candidates.next(), candidates.next()) {
                    return only.check(value, lua);
                }
                false
            }
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.mismatch(value)) }
    }

    fn mismatch(&self, value: &Value) -> Mismatch {
        let mut mismatch = Mismatch::new(format!("must be {}, not {}", self.demanded(), describe(value)));
        if let (Type::Number | Type::Integer | Type::Percent, Value::String(s)) = (self, value)
            && s.to_string_lossy().trim().parse::<f64>().is_ok()
        {
            mismatch.hint = Some("use tonumber(…) to turn a string into a number".into());
        }
        mismatch
    }
}

fn check_list(table: &Table, item: &Type, lua: &mlua::Lua) -> Result<(), Mismatch> {
    let length = table.raw_len();
    for i in 1..=length {
        let value: Value = table.raw_get(i).unwrap_or(Value::Nil);
        item.check(&value, lua).map_err(|m| m.inside(&format!("[{i}]")))?;
    }
    for (key, _) in table.pairs::<Value, Value>().flatten() {
        if !matches!(key, Value::Integer(i) if i >= 1 && i as usize <= length) {
            return Err(Mismatch::new(format!(
                "must be a list of {}, but it has the key {}",
                item.plural(),
                describe(&key)
            )));
        }
    }
    Ok(())
}

fn check_map(table: &Table, item: &Type, lua: &mlua::Lua) -> Result<(), Mismatch> {
    for (key, value) in table.pairs::<Value, Value>().flatten() {
        let Value::String(name) = &key else {
            return Err(Mismatch::new(format!("must have only strings as keys, not {}", describe(&key))));
        };
        item.check(&value, lua).map_err(|m| m.inside(&format!("[\"{}\"]", name.to_string_lossy())))?;
    }
    Ok(())
}

fn check_record(table: &Table, record: &Record, lua: &mlua::Lua) -> Result<(), Mismatch> {
    for key in record.keys {
        let value: Value = table.raw_get(key.name).unwrap_or(Value::Nil);
        match (&value, key.optional) {
            (Value::Nil, true) => {}
            (Value::Nil, false) => {
                let problem = format!("is missing: it must be {}", key.ty.demanded());
                return Err(Mismatch::new(problem).inside(&format!(".{}", key.name)));
            }
            _ => key.ty.check(&value, lua).map_err(|m| m.inside(&format!(".{}", key.name)))?,
        }
    }
    let known = || record.keys.iter().map(|k| k.name);
    match unknown_key(table, known) {
        None => Ok(()),
        Some((key, hint)) => {
            let mut mismatch = Mismatch::new(format!("has the unknown key {key}"));
            mismatch.hint = Some(hint);
            Err(mismatch)
        }
    }
}

/// The first key (in sorted order) of `table` that is not `known`, with a hint.
pub(super) fn unknown_key<'a, I: Iterator<Item = &'a str>>(
    table: &Table,
    known: impl Fn() -> I,
) -> Option<(String, String)> {
    let mut unknown: Vec<(String, String)> = table
        .pairs::<Value, Value>()
        .flatten()
        .filter_map(|(key, _)| match &key {
            Value::String(s) => {
                let word = s.to_string_lossy();
                let hint = || match nearest(&word, known()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the known keys are {}", words_in_ticks(known())),
                };
                (!known().any(|k| k == word)).then(|| (format!("`{word}`"), hint()))
            }
            other => Some((describe(other), format!("the known keys are {}", words_in_ticks(known())))),
        })
        .collect();
    unknown.sort();
    unknown.into_iter().next()
}

/// A parameter's demand as a whole, for a value that is missing.
pub(super) fn demand(ty: &Type) -> String {
    ty.demanded()
}

/// A value as the object of "not …": its content where that is short, its type otherwise.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Nil => "nil".into(),
        Value::Boolean(b) => b.to_string(),
        Value::Integer(i) => i.to_string(),
        Value::Number(x) => format_float(*x),
        Value::String(s) => {
            let text = s.to_string_lossy();
            let mut short: String = text.chars().take(40).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            format!("the string {short:?}")
        }
        Value::Table(_) => "a table".into(),
        Value::Function(_) => "a function".into(),
        Value::Thread(_) => "a coroutine".into(),
        Value::UserData(handle) => match handle.type_name() {
            Ok(name) => {
                let name = name.to_string_lossy();
                format!("{} {name} handle", article(&name))
            }
            Err(_) => "a handle".into(),
        },
        Value::Error(_) => "an error".into(),
        other => format!("a {}", other.type_name()),
    }
}

fn format_float(x: f64) -> String {
    if x.is_nan() { "NaN".into() } else { format!("{x:?}") }
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

fn words_in_ticks<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        let _ = write!(text, "{}`{word}`", if text.is_empty() { "" } else { ", " });
    }
    text
}
