//! Whether a Lua value fits a type, and what to say when it does not.

use mlua::{Lua, Table, Value};

use super::{Record, Type, article, words_in_ticks};
use crate::lua::state;
use crate::words::nearest;

/// Why a value does not fit a type.
pub(in crate::lua) struct Mismatch {
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
    /// Checks that `value` is of this type.
    pub(in crate::lua) fn check(&self, value: &Value, lua: &Lua) -> Result<(), Mismatch> {
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

    fn takes_numbers(&self) -> bool {
        match self {
            Type::Integer | Type::IntegerIn(_) | Type::Number | Type::NumberIn(_) | Type::Percent => true,
            Type::Optional(inner) => inner.takes_numbers(),
            Type::Union(types) => types.iter().any(Type::takes_numbers),
            _ => false,
        }
    }

    fn mismatch(&self, value: &Value) -> Mismatch {
        let mut mismatch = Mismatch::new(format!("must be {}, not {}", self.demanded(), describe(value)));
        if let Value::String(text) = value
            && self.takes_numbers()
            && text.to_string_lossy().trim().parse::<f64>().is_ok()
        {
            mismatch.hint = Some("use tonumber(…) to turn a string into a number".into());
        }
        mismatch
    }
}

fn check_list(table: &Table, item: &Type, lua: &Lua) -> Result<(), Mismatch> {
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

fn check_map(table: &Table, item: &Type, lua: &Lua) -> Result<(), Mismatch> {
    for (key, value) in table.pairs::<Value, Value>().flatten() {
        let Value::String(name) = &key else {
            return Err(Mismatch::new(format!("must have only strings as keys, not {}", describe(&key))));
        };
        item.check(&value, lua).map_err(|m| m.inside(&format!("[\"{}\"]", name.to_string_lossy())))?;
    }
    Ok(())
}

fn check_record(table: &Table, record: &Record, lua: &Lua) -> Result<(), Mismatch> {
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
pub(in crate::lua) fn unknown_key<'a, I: Iterator<Item = &'a str>>(
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

/// A value as the object of "not …": its content where that is short, its type otherwise.
pub(in crate::lua) fn describe(value: &Value) -> String {
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
