//! Lua values to JSON text.

use mlua::{Table, Value};

use super::{Null, object_keys, ordered_keys};
use crate::lua::Call;

/// Deeper values are taken to contain themselves.
const MOST_DEPTH: usize = 100;

/// Encodes parameter `value` of `call` as its options say.
pub(super) fn encode(call: &Call) -> anyhow::Result<String> {
    let indent: Option<i64> = call.get("indent")?;
    let indent = match indent {
        None => None,
        Some(spaces @ 0..=16) => Some(spaces as usize),
        Some(_) => return Err(call.refuse("indent", "must be from 0 to 16 spaces")),
    };
    let encoder =
        JsonEncoder { call, root: "value", indent, allow_nan: call.get("allow_nan")?, out: String::new() };
    encoder.whole(&call.get("value")?)
}

/// Encodes `value`, which is what the parameter `root` of `call` holds, on one line and with whatever number there is.
pub(in crate::lua::api) fn text_of(call: &Call, root: &'static str, value: &Value) -> anyhow::Result<String> {
    JsonEncoder { call, root, indent: None, allow_nan: true, out: String::new() }.whole(value)
}

/// Where in the value the encoder stands, for messages.
struct Position<'a> {
    parent: Option<&'a Position<'a>>,
    name: String,
    depth: usize,
}

impl Position<'_> {
    fn inside(&self, name: String) -> Position<'_> {
        Position { parent: Some(self), name, depth: self.depth + 1 }
    }

    fn path(&self) -> String {
        let before = self.parent.map_or(String::new(), Position::path);
        format!("{before}{}", self.name)
    }
}

struct JsonEncoder<'a> {
    call: &'a Call<'a>,
    /// The parameter that messages speak of.
    root: &'static str,
    indent: Option<usize>,
    allow_nan: bool,
    out: String,
}

impl JsonEncoder<'_> {
    fn whole(mut self, value: &Value) -> anyhow::Result<String> {
        self.value(value, &Position { parent: None, name: String::new(), depth: 0 })?;
        Ok(self.out)
    }

    fn value(&mut self, value: &Value, place: &Position) -> anyhow::Result<()> {
        match value {
            Value::Boolean(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Integer(i) => self.out.push_str(&i.to_string()),
            Value::Number(x) => self.number(*x, place)?,
            Value::String(s) => match s.to_str() {
                Ok(text) => self.string(&text)?,
                Err(_) => return Err(self.refuse(place, "is text that is not UTF-8")),
            },
            Value::UserData(handle) if handle.is::<Null>() => self.out.push_str("null"),
            Value::Table(table) => self.table(table, place)?,
            other => {
                let problem = format!("is a {}, which JSON cannot hold", other.type_name());
                return Err(self.refuse(place, &problem));
            }
        }
        Ok(())
    }

    fn number(&mut self, x: f64, place: &Position) -> anyhow::Result<()> {
        let text = match x {
            _ if x.is_finite() => serde_json::to_string(&x)?,
            _ if !self.allow_nan => {
                let text = if x.is_nan() { "NaN" } else { "infinite" };
                return Err(
                    self.refuse(place, &format!("is {text}, which JSON cannot hold unless allow_nan is set"))
                );
            }
            _ if x.is_nan() => "NaN".into(),
            _ if x > 0.0 => "Infinity".into(),
            _ => "-Infinity".into(),
        };
        self.out.push_str(&text);
        Ok(())
    }

    fn string(&mut self, text: &str) -> anyhow::Result<()> {
        self.out.push_str(&serde_json::to_string(text)?);
        Ok(())
    }

    fn table(&mut self, table: &Table, place: &Position) -> anyhow::Result<()> {
        if place.depth >= MOST_DEPTH {
            return Err(self.refuse(place, "is nested too deeply (does the table contain itself?)"));
        }
        let length = table.raw_len();
        if object_keys(table).is_none() && table.pairs::<Value, Value>().count() == length {
            // As many keys as the length: nothing but 1 to the length.
            let keys: Vec<_> = (1..=length as i64).map(|i| (None, Value::Integer(i))).collect();
            return self.entries('[', ']', place, keys, table);
        }
        let keys = ordered_keys(table)?;
        let mut names = Vec::with_capacity(keys.len());
        for key in keys {
            match &key {
                Value::String(s) => names.push((Some(s.to_string_lossy()), key)),
                _ => return Err(self.refuse(place, "mixes names and positions as keys")),
            }
        }
        self.entries('{', '}', place, names, table)
    }

    fn entries(
        &mut self,
        open: char,
        close: char,
        place: &Position,
        keys: Vec<(Option<String>, Value)>,
        table: &Table,
    ) -> anyhow::Result<()> {
        self.out.push(open);
        let empty = keys.is_empty();
        for (i, (name, key)) in keys.into_iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.line_break(place.depth + 1);
            let inner = match &name {
                Some(name) => {
                    self.string(name)?;
                    self.out.push_str(if self.indent.is_some() { ": " } else { ":" });
                    place.inside(format!(".{name}"))
                }
                None => place.inside(format!("[{}]", i + 1)),
            };
            self.value(&table.raw_get(key)?, &inner)?;
        }
        if !empty {
            self.line_break(place.depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn line_break(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    }

    fn refuse(&self, place: &Position, problem: &str) -> anyhow::Error {
        self.call.refuse(&format!("{}{}", self.root, place.path()), problem)
    }
}
