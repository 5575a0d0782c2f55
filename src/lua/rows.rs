//! Rows: what a function returns as a table with declared keys.
//!
//! A row is declared once, with `row!`: its name, and for each key the type, the meaning and how it is
//! read from the value of the core. That makes the [`Record`] that documents and checks use, and the table itself. Such a
//! table is plain in every way but three: reading a key that its record does not have raises, `tostring` gives one line,
//! and `pairs` follows the declaration.

use std::cell::{Cell, RefCell};

use mlua::{Function, IntoLua, Lua, MultiValue, Table, Value};

use super::absent::Absent;
use super::install::fallible;
use super::types::{Record, Type, describe, words_in_ticks};
use super::{raise, state};
use crate::error::Error;
use crate::words::nearest;

/// The key of their metatables that tells rows from other tables.
const MARK: &str = "qlua_row";

/// A value that Lua sees as a row; `row!` implements it.
pub trait ToRow {
    /// The declaration of its keys.
    const RECORD: &'static Record;

    /// Sets the keys of `row`; those that are nil stay out.
    ///
    /// # Errors
    /// When memory runs out.
    fn fill(&self, row: &Table) -> mlua::Result<()>;
}

impl<T: ToRow> ToRow for &T {
    const RECORD: &'static Record = T::RECORD;

    fn fill(&self, row: &Table) -> mlua::Result<()> {
        T::fill(self, row)
    }
}

impl<T: ToRow> ToRow for std::sync::Arc<T> {
    const RECORD: &'static Record = T::RECORD;

    fn fill(&self, row: &Table) -> mlua::Result<()> {
        T::fill(self, row)
    }
}

/// A value on its way to Lua as a row: `Ok(Row(outcome))`.
pub struct Row<T>(pub T);

impl<T: ToRow> IntoLua for Row<T> {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        let row = lua.create_table_with_capacity(0, T::RECORD.keys.len())?;
        self.0.fill(&row)?;
        row.set_metatable(Some(metatable(lua, T::RECORD)?))?;
        Ok(Value::Table(row))
    }
}

/// A list of rows, made from borrowed values.
///
/// # Errors
/// When memory runs out.
pub fn rows<T: ToRow>(lua: &Lua, items: impl IntoIterator<Item = T>) -> anyhow::Result<Vec<Value>> {
    Ok(items.into_iter().map(|item| Row(item).into_lua(lua)).collect::<mlua::Result<_>>()?)
}

/// Makes the plain table `row` one of `record`, whose keys it has.
///
/// # Errors
/// When memory runs out.
pub(super) fn as_row(lua: &Lua, record: &'static Record, row: &Table) -> mlua::Result<()> {
    row.set_metatable(Some(metatable(lua, record)?))
}

/// Declares a row: the [`Record`] called `$record`, and how each key is read from a `$source`.
///
/// ```text
/// row! {
///     /// A weight file.
///     const SHARD = "Shard" for |shard: &Shard| {
///         /// its name
///         name: Type::String => shard.name.as_str(),
///         /// how many schemes share it; nil for a file of its own
///         schemes: Type::Optional(&Type::Integer) => shard.schemes,
///     }
/// }
/// ```
/// The comments are what the manual says. That of a key that may be nil says when, after `; nil`: an error that comes from
/// the nil repeats it.
macro_rules! row {
    (
        $(#[doc = $doc:literal])+
        $visibility:vis const $record:ident = $name:literal for |$source:ident: &$type:ty| {
            $( $(#[doc = $key_doc:literal])+ $key:ident: $key_type:expr => $value:expr, )+
        }
    ) => {
        $(#[doc = $doc])+
        $visibility const $record: $crate::lua::Record = $crate::lua::Record {
            name: $name,
            doc: $crate::lua::rows::prose(concat!($($doc),+)),
            keys: &[
                $( $crate::lua::Key::new(
                    stringify!($key),
                    $key_type,
                    $crate::lua::rows::prose(concat!($($key_doc),+)),
                ), )+
            ],
        };

        impl $crate::lua::rows::ToRow for $type {
            const RECORD: &'static $crate::lua::Record = &$record;

            fn fill(&self, row: &::mlua::Table) -> ::mlua::Result<()> {
                let $source = self;
                $( row.raw_set(stringify!($key), $value)?; )+
                Ok(())
            }
        }
    };
}

pub(super) use row;

/// A doc comment without the space that follows its slashes.
pub const fn prose(comment: &'static str) -> &'static str {
    match comment.as_bytes() {
        [b' ', ..] => comment.split_at(1).1,
        _ => comment,
    }
}

/// The metatable of all rows of `record`, made on first use.
fn metatable(lua: &Lua, record: &'static Record) -> mlua::Result<Table> {
    let entry = format!("qlua.row.{}", record.name);
    if let Value::Table(made) = lua.named_registry_value(&entry)? {
        return Ok(made);
    }
    let index: Function = state::wrap(lua)?.call(fallible(lua, move |lua, arguments| {
        absent(lua, record, arguments.front(), arguments.get(1))
    })?)?;
    let metatable = lua.create_table()?;
    metatable.raw_set("__name", format!("qlua.{}", record.name))?;
    metatable.raw_set("__metatable", false)?;
    metatable.raw_set(MARK, true)?;
    metatable.raw_set("__index", index)?;
    metatable.raw_set("__tostring", lua.create_function(move |_, row: Table| line(record, &row))?)?;
    metatable.raw_set("__pairs", lua.create_function(move |lua, row: Table| pairs(lua, record, row))?)?;
    lua.set_named_registry_value(&entry, &metatable)?;
    Ok(metatable)
}

/// Whether `table` is a row.
pub(super) fn is_row(table: &Table) -> bool {
    table.metatable().is_some_and(|metatable| metatable.contains_key(MARK).unwrap_or(false))
}

/// Answers for a key that is not in the row: nil where its record knows it.
fn absent(
    lua: &Lua,
    record: &'static Record,
    row: Option<&Value>,
    key: Option<&Value>,
) -> anyhow::Result<()> {
    let word = match key {
        Some(Value::String(word)) => word.to_string_lossy(),
        other => describe(other.unwrap_or(&Value::Nil)),
    };
    if let (Some(Value::String(_)), Some(key)) = (key, record.keys.iter().find(|k| k.name == word)) {
        let subject = row.and_then(|row| subject(record, row));
        let absent = Absent { record, key, subject, position: raise::position(lua) };
        state::with(lua, |state| *state.absent.borrow_mut() = Some(absent));
        return Ok(());
    }
    let names = || record.keys.iter().map(|k| k.name);
    let hint = match nearest(&word, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            format!("its fields are {}; `rawget` reads a key of your own", words_in_ticks(names()))
        }
    };
    Err(Error::not_found(format!("`{}` has no field `{word}`", record.name)).with_hint(hint).into())
}

/// What a row is called: its first key, where that is a text.
fn subject(record: &Record, row: &Value) -> Option<String> {
    let first = record.keys.first().filter(|key| matches!(key.ty, Type::String | Type::Path))?;
    let Value::Table(row) = row else { return None };
    match row.raw_get(first.name) {
        Ok(Value::String(name)) => Some(name.to_string_lossy()),
        _ => None,
    }
}

/// The keys of `row`: those of its record in their order, then those that a script added, sorted.
fn keys(record: &Record, row: &Table) -> mlua::Result<Vec<Value>> {
    let mut keys: Vec<(usize, String, Value)> = Vec::new();
    for pair in row.pairs::<Value, Value>() {
        let (key, _) = pair?;
        let text = key.to_string()?;
        let declared = key.is_string().then(|| record.keys.iter().position(|k| k.name == text)).flatten();
        keys.push((declared.unwrap_or(record.keys.len()), text, key));
    }
    keys.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    Ok(keys.into_iter().map(|(_, _, key)| key).collect())
}

/// `__pairs`: all keys in the order of [`keys`].
fn pairs(lua: &Lua, record: &'static Record, row: Table) -> mlua::Result<(Function, Table)> {
    let keys = keys(record, &row)?;
    let next = Cell::new(0);
    let iterator = lua.create_function(move |_, arguments: MultiValue| {
        let Some(Value::Table(row)) = arguments.front() else { return Ok((Value::Nil, Value::Nil)) };
        while let Some(key) = keys.get(next.replace(next.get() + 1)) {
            let value: Value = row.raw_get(key)?;
            // A loop may take keys out of the row it runs over.
            if !value.is_nil() {
                return Ok((key.clone(), value));
            }
        }
        Ok((Value::Nil, Value::Nil))
    })?;
    Ok((iterator, row))
}

/// How many rows are shown inside one another.
const DEEPEST: usize = 8;

thread_local! {
    /// The rows of this thread whose line is being made: each is in the one before.
    static SHOWN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A row of [`SHOWN`], until it is dropped.
struct ShownRow;

impl ShownRow {
    /// Nothing where `row` is shown already, or too deep inside of others.
    fn begin(row: &Table) -> Option<Self> {
        let row = row.to_pointer().addr();
        SHOWN.with_borrow_mut(|shown| {
            let is_new = shown.len() < DEEPEST && !shown.contains(&row);
            is_new.then(|| {
                shown.push(row);
                ShownRow
            })
        })
    }
}

impl Drop for ShownRow {
    fn drop(&mut self) {
        SHOWN.with_borrow_mut(Vec::pop);
    }
}

/// `Group(name = "lm_head", members = list of 1, tower = "head", …)`; `Group(…)` inside itself.
fn line(record: &'static Record, row: &Table) -> mlua::Result<String> {
    let Some(_shown) = ShownRow::begin(row) else { return Ok(format!("{}(…)", record.name)) };
    let mut parts = Vec::new();
    for key in keys(record, row)? {
        let text = match row.raw_get::<Value>(&key)? {
            Value::String(s) => format!("{:?}", s.to_string_lossy()),
            Value::Table(inner) => match inner.metatable() {
                Some(_) => Value::Table(inner).to_string()?,
                None if inner.raw_len() == 0 && !inner.is_empty() => "a table".into(),
                None => format!("list of {}", inner.raw_len()),
            },
            other => other.to_string()?,
        };
        parts.push(format!("{} = {text}", key.to_string()?));
    }
    Ok(format!("{}({})", record.name, parts.join(", ")))
}
