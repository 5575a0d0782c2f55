//! Errors between Rust and Lua: as tables for scripts, as sentences with positions for people.

use std::fmt;

use mlua::{Lua, Table, Value};

use super::state::{self, Stop, Thrown};
use crate::error::Error;
use crate::options::UsageError;

const ERROR_METATABLE: &str = "qlua.error";
/// Chunk names that begin so belong to the host and are no place to look for a mistake.
const OWN_CHUNK: &str = "=[";
const MOST_POSITIONS: usize = 10;

/// An uncaught error, ready to be printed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The stable word for the kind of error (`Error::kind`), `"script"` for what scripts and Lua itself raise.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Positions as `scripts/x.lua:12`, the user's own script first.
    pub at: Vec<String>,
}

impl Report {
    /// A report without positions.
    pub fn of(error: &anyhow::Error) -> Report {
        let (kind, message, hint) = parts(error);
        Report { kind, message, hint, at: Vec::new() }
    }

    /// The exit code that belongs to the kind: 2 for usage, 3 for verification, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self.kind.as_str() {
            "usage" => 2,
            "verification" => 3,
            _ => 1,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "qlua: error: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        // A mistake on the command line is not one of the script that found it.
        if self.kind != "usage" {
            for position in &self.at {
                write!(f, "\n  at {position}")?;
            }
        }
        Ok(())
    }
}

/// A line of a script on the Lua stack.
struct Frame {
    source: String,
    short: String,
    line: usize,
}

impl Frame {
    fn position(&self) -> String {
        format!("{}:{}", self.source, self.line)
    }
}

/// Where the innermost script stands.
pub(super) fn position(lua: &Lua) -> Option<String> {
    frames_up_to(lua, 1).first().map(Frame::position)
}

/// The script lines on the stack, innermost first.
fn frames(lua: &Lua) -> Vec<Frame> {
    frames_up_to(lua, usize::MAX)
}

fn frames_up_to(lua: &Lua, most: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    for level in 0..1000 {
        if frames.len() == most {
            break;
        }
        let frame = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let name = source.source.as_deref().unwrap_or("").to_string();
            let short = source.short_src.as_deref().unwrap_or("").to_string();
            debug.current_line().filter(|_| !name.starts_with(OWN_CHUNK)).map(|line| {
                let source = match name.as_bytes().first() {
                    Some(b'@' | b'=') => name[1..].to_string(),
                    _ => short.clone(),
                };
                Frame { source, short, line }
            })
        });
        match frame {
            None => break,
            Some(None) => {}
            Some(Some(frame)) => frames.push(frame),
        }
    }
    frames
}

/// Kind, message and hint of `error`.
fn parts(error: &anyhow::Error) -> (String, String, Option<String>) {
    let mut context: Vec<String> = Vec::new();
    for cause in error.chain() {
        let known = if let Some(e) = cause.downcast_ref::<Error>() {
            Some((e.kind(), e.to_string(), e.hint()))
        } else if let Some(e) = cause.downcast_ref::<UsageError>() {
            Some(("usage", e.message.clone(), e.hint.clone()))
        } else {
            cause.downcast_ref::<mlua::Error>().map(lua_parts)
        };
        match known {
            None => context.push(cause.to_string()),
            Some((kind, message, hint)) => {
                context.push(message);
                return (kind.into(), context.join(": "), hint);
            }
        }
    }
    ("error".into(), context.join(": "), None)
}

fn lua_parts(error: &mlua::Error) -> (&'static str, String, Option<String>) {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::BadArgument { cause, .. } => lua_parts(cause),
        mlua::Error::SyntaxError { message, .. } => ("syntax", message.clone(), None),
        mlua::Error::RuntimeError(message) => ("script", message.clone(), None),
        mlua::Error::MemoryError(_) => ("memory", "not enough memory".into(), None),
        _ => match error.downcast_ref::<Error>() {
            Some(e) => (e.kind(), e.to_string(), e.hint()),
            None => ("error", error.to_string(), None),
        },
    }
}

/// Keeps the metatable of error tables, which the prelude makes.
pub(super) fn keep_metatable(lua: &Lua, metatable: Table) -> mlua::Result<()> {
    lua.set_named_registry_value(ERROR_METATABLE, metatable)
}

/// The value that a script sees for `error`: its own value for what a callback threw, an error table otherwise.
pub(super) fn value_of(lua: &Lua, error: &anyhow::Error) -> mlua::Result<Value> {
    if error.downcast_ref::<Thrown>().is_some() {
        return Ok(state::thrown(lua));
    }
    let (kind, message, hint) = parts(error);
    if kind == "interrupted" {
        state::stop(lua, Stop::Interrupted);
    }
    let positions: Vec<String> = frames(lua).iter().map(Frame::position).collect();
    table(lua, &kind, &message, hint, positions)
}

fn table(
    lua: &Lua,
    kind: &str,
    message: &str,
    hint: Option<String>,
    positions: Vec<String>,
) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    table.raw_set("kind", kind)?;
    table.raw_set("message", message)?;
    table.raw_set("hint", hint)?;
    table.raw_set("traceback", positions.join("\n"))?;
    table.set_metatable(lua.named_registry_value(ERROR_METATABLE)?)?;
    Ok(Value::Table(table))
}

/// The error value `raised` of a script's function; one that came from a nil in a row as a sentence that says so.
pub(super) fn explained(lua: &Lua, raised: Value) -> mlua::Result<Value> {
    let Value::String(text) = &raised else { return Ok(raised) };
    let text = text.to_string_lossy();
    let (position, message) = split_position(&text, |_| true);
    let Some((message, hint)) = explain(lua, message, None) else { return Ok(raised) };
    let position = position.map(|(source, line)| format!("{source}:{line}"));
    let positions = position.into_iter().chain(frames(lua).iter().map(Frame::position)).collect();
    table(lua, "script", &message, Some(hint), positions)
}

/// Sentence and hint for Lua's own `message`, where it is about a nil that was last read from a row: see `Absent::explain`.
fn explain(lua: &Lua, message: &str, position: Option<&str>) -> Option<(String, String)> {
    state::with(lua, |state| state.absent.borrow().as_ref()?.explain(message, position))
}

/// The value that stands for a stop; scripts never get to see it.
pub(super) fn stop_value(lua: &Lua, stop: Stop) -> mlua::Result<Value> {
    let kind = match stop {
        Stop::Exit(_) => "exit",
        Stop::ClosedPipe => "closed_pipe",
        Stop::Interrupted => "interrupted",
    };
    table(lua, kind, kind, None, Vec::new())
}

/// Makes `lua` stop, and gives the error that takes the running function there.
pub(super) fn stop_error(lua: &Lua, stop: Stop) -> anyhow::Error {
    state::stop(lua, stop);
    match stop_value(lua, stop).and_then(|value| state::throw(lua, value)) {
        Ok(thrown) => thrown.into(),
        Err(error) => error.into(),
    }
}

/// The error table for source code that does not parse: `message` is Lua's own, `name` the chunk's name.
pub(super) fn syntax_value(lua: &Lua, name: &str, message: &str) -> mlua::Result<Value> {
    let report = syntax(name, message);
    let positions = report.at.into_iter().chain(frames(lua).iter().map(Frame::position)).collect();
    table(lua, "syntax", &report.message, None, positions)
}

/// The report on source code that does not parse.
pub(super) fn syntax(name: &str, message: &str) -> Report {
    let (position, text) = split_position(message, |_| true);
    let name = name.strip_prefix(['@', '=']).unwrap_or(name);
    let at = position.map(|(_, line)| format!("{name}:{line}")).into_iter().collect();
    Report { kind: "syntax".into(), message: text.to_string(), hint: None, at }
}

/// Splits `source:line: ` off the front of `message` where `known` accepts the source.
fn split_position(message: &str, known: impl Fn(&str) -> bool) -> (Option<(&str, usize)>, &str) {
    for (i, _) in message.match_indices(':') {
        let rest = &message[i + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0
            && let Some(text) = rest[digits..].strip_prefix(": ")
            && known(&message[..i])
        {
            return (rest[..digits].parse().ok().map(|line| (&message[..i], line)), text);
        }
    }
    (None, message)
}

/// The report on `value`, raised where `lua` stands now.
pub(super) fn describe(lua: &Lua, value: &Value) -> Report {
    let frames = frames(lua);
    let mut report = Report { kind: "script".into(), ..Report::default() };
    let mut positions: Vec<String> = Vec::new();
    match value {
        Value::Table(table) => {
            let text = |key: &str| match table.get::<Value>(key) {
                Ok(Value::String(s)) => Some(s.to_string_lossy()),
                _ => None,
            };
            report.message = text("message").unwrap_or_else(|| spoken(value));
            report.hint = text("hint");
            if let Some(kind) = text("kind") {
                report.kind = kind;
            }
            positions.extend(text("traceback").iter().flat_map(|t| t.lines()).map(str::to_string));
        }
        Value::String(text) => {
            let text = text.to_string_lossy();
            let mut rest = text.as_str();
            let known = |source: &str| frames.iter().any(|f| f.short == source) || source.ends_with(".lua");
            while let (Some((source, line)), text) = split_position(rest, known) {
                let full = frames.iter().find(|f| f.short == source).map_or(source, |f| &f.source);
                // The innermost position stands last: it was there before others were put in front.
                positions.insert(0, format!("{full}:{line}"));
                rest = text;
            }
            report.message = rest.to_string();
            let position = positions.first().map(String::as_str);
            if let Some((message, hint)) = explain(lua, rest, Some(position.unwrap_or_default())) {
                (report.message, report.hint) = (message, Some(hint));
            }
        }
        Value::Error(error) => {
            (report.kind, report.message, report.hint) = parts(&anyhow::Error::from((**error).clone()));
        }
        other => report.message = spoken(other),
    }
    if !matches!(value, Value::Table(_)) || positions.is_empty() {
        positions.extend(frames.iter().map(Frame::position));
    }
    report.at = user_first(lua, positions);
    report
}

/// `positions` without repetitions, those in the script that the user runs before those in what it uses.
fn user_first(lua: &Lua, positions: Vec<String>) -> Vec<String> {
    let main = state::with(lua, |s| s.main_source.borrow().clone());
    let is_main = |p: &String| p.rsplit_once(':').is_some_and(|(source, _)| source == main);
    let mut unique: Vec<String> = Vec::new();
    for position in positions {
        if !unique.contains(&position) {
            unique.push(position);
        }
    }
    let (mut own, used): (Vec<_>, Vec<_>) = unique.into_iter().partition(is_main);
    own.extend(used);
    own.truncate(MOST_POSITIONS);
    own
}

fn spoken(value: &Value) -> String {
    match value {
        Value::Nil => "the script raised nil as an error".into(),
        Value::Table(table) => match table.metatable().map(|m| m.contains_key("__tostring")) {
            Some(Ok(true)) => value.to_string().unwrap_or_else(|_| "an error that cannot be shown".into()),
            _ => "the script raised a table without a `message` as an error".into(),
        },
        other => other.to_string().unwrap_or_else(|_| "an error that cannot be shown".into()),
    }
}

/// A traceback in the manner of `debug.traceback`: `message`, then one position a line.
pub(super) fn traceback(lua: &Lua, message: Option<&str>) -> String {
    let mut text = message.map_or(String::new(), |m| format!("{m}\n"));
    text.push_str("stack traceback:");
    for frame in frames(lua) {
        text.push_str(&format!("\n\t{}", frame.position()));
    }
    text
}
