//! Lua values to JSON text.

use std::fmt::Write;

use mlua::{Table, Value};

use super::{Null, TableEntry, object_keys, ordered_entries};
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
    let encoder = JsonEncoder {
        call,
        root: "value",
        indent,
        allow_nan: call.get("allow_nan")?,
        margin: String::new(),
        out: String::new(),
    };
    encoder.whole(&call.get("value")?)
}

/// Encodes `value`, which is what the parameter `root` of `call` holds, on one line and with whatever number there is.
pub(in crate::lua::api) fn text_of(call: &Call, root: &'static str, value: &Value) -> anyhow::Result<String> {
    JsonEncoder { call, root, indent: None, allow_nan: true, margin: String::new(), out: String::new() }
        .whole(value)
}

/// Where in the value the encoder stands, for messages.
struct Position<'a> {
    parent: Option<&'a Position<'a>>,
    step: Step<'a>,
    depth: usize,
}

/// How a value is reached from the one around it.
enum Step<'a> {
    Root,
    Key(&'a str),
    /// Counted from 1.
    Element(usize),
}

impl Position<'_> {
    fn inside<'a>(&'a self, step: Step<'a>) -> Position<'a> {
        Position { parent: Some(self), step, depth: self.depth + 1 }
    }

    fn path(&self) -> String {
        let before = self.parent.map_or(String::new(), Position::path);
        match self.step {
            Step::Root => before,
            Step::Key(name) => format!("{before}.{name}"),
            Step::Element(position) => format!("{before}[{position}]"),
        }
    }
}

struct JsonEncoder<'a> {
    call: &'a Call<'a>,
    /// The parameter that messages speak of.
    root: &'static str,
    indent: Option<usize>,
    allow_nan: bool,
    /// As many spaces as the deepest line so far begins with.
    margin: String,
    out: String,
}

impl JsonEncoder<'_> {
    fn whole(mut self, value: &Value) -> anyhow::Result<String> {
        self.value(value, &Position { parent: None, step: Step::Root, depth: 0 })?;
        Ok(self.out)
    }

    fn value(&mut self, value: &Value, place: &Position) -> anyhow::Result<()> {
        match value {
            Value::Boolean(b) => self.out.push_str(if *b { "true" } else { "false" }),
            Value::Integer(i) => write!(self.out, "{i}")?,
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
        // Nearly every text is a name: nothing in it is written in another way.
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.out.push('"');
            self.out.push_str(text);
            self.out.push('"');
        } else {
            self.out.push_str(&serde_json::to_string(text)?);
        }
        Ok(())
    }

    fn table(&mut self, table: &Table, place: &Position) -> anyhow::Result<()> {
        if place.depth >= MOST_DEPTH {
            return Err(self.refuse(place, "is nested too deeply (does the table contain itself?)"));
        }
        let length = table.raw_len();
        // As many keys as the length: nothing but 1 to the length.
        if object_keys(table).is_none() && table.pairs::<Value, Value>().take(length + 1).count() == length {
            return self.array(table, length, place);
        }
        self.object(ordered_entries(table)?, place)
    }

    fn array(&mut self, table: &Table, length: usize, place: &Position) -> anyhow::Result<()> {
        self.out.push('[');
        for position in 1..=length {
            self.next(position == 1, place);
            self.value(&table.raw_get(position)?, &place.inside(Step::Element(position)))?;
        }
        self.close(']', length == 0, place);
        Ok(())
    }

    fn object(&mut self, entries: Vec<TableEntry>, place: &Position) -> anyhow::Result<()> {
        if entries.iter().any(|entry| !entry.key.is_string()) {
            return Err(self.refuse(place, "mixes names and positions as keys"));
        }
        self.out.push('{');
        let is_empty = entries.is_empty();
        for (i, entry) in entries.iter().enumerate() {
            self.next(i == 0, place);
            let name = String::from_utf8_lossy(&entry.name);
            self.string(&name)?;
            self.out.push_str(if self.indent.is_some() { ": " } else { ":" });
            self.value(&entry.value, &place.inside(Step::Key(&name)))?;
        }
        self.close('}', is_empty, place);
        Ok(())
    }

    /// Begins the next entry of what stands at `place`.
    fn next(&mut self, is_first: bool, place: &Position) {
        if !is_first {
            self.out.push(',');
        }
        self.line_break(place.depth + 1);
    }

    fn close(&mut self, bracket: char, is_empty: bool, place: &Position) {
        if !is_empty {
            self.line_break(place.depth);
        }
        self.out.push(bracket);
    }

    fn line_break(&mut self, depth: usize) {
        if let Some(indent) = self.indent {
            self.out.push('\n');
            let spaces = indent * depth;
            while self.margin.len() < spaces {
                self.margin.push(' ');
            }
            self.out.push_str(&self.margin[..spaces]);
        }
    }

    fn refuse(&self, place: &Position, problem: &str) -> anyhow::Error {
        self.call.refuse(&format!("{}{}", self.root, place.path()), problem)
    }
}
