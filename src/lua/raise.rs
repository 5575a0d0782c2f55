//! Errors between Rust and Lua: as tables for scripts, as sentences with positions for people.

use mlua::{Lua, Table, Value};

use super::failure::{Failure, parts};
use super::sandbox::{MemoryGuard, ScriptLimit};
use super::state::{self, ScriptStop, Thrown, Verbosity};

const ERROR_METATABLE: &str = "qlua.error";
/// Chunk names that begin so belong to the host and are no place to look for a mistake.
const OWN_CHUNK: &str = "=[";
const MOST_POSITIONS: usize = 10;
/// The most lines of a `traceback`: the innermost ones.
const MOST_TRACED: usize = 50;
/// What positions in scripts and modules that are part of qlua begin with.
const BUILT_IN: &str = "built-in:";

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

/// Keeps the metatable of error tables, which the prelude makes.
pub(super) fn keep_metatable(lua: &Lua, metatable: Table) -> mlua::Result<()> {
    lua.set_named_registry_value(ERROR_METATABLE, metatable)
}

/// What Lua says when an allocation fails.
const OUT_OF_MEMORY: &str = "not enough memory";

const ROOM_FOR_ERRORS: usize = 1 << 20;

/// The error value for a want of memory, where `value` is that.
pub(super) fn want_of_memory(lua: &Lua, value: &Value) -> Option<Value> {
    if !is_want_of_memory(value) {
        return None;
    }
    let limits = state::with(lua, |state| state.limits);
    // What the script holds may leave no room for the error, which gets some of its own.
    let _room = MemoryGuard::set(lua, limits.memory.saturating_add(ROOM_FOR_ERRORS));
    value_of(lua, &ScriptLimit::Memory.error(&limits).into()).ok()
}

fn is_want_of_memory(value: &Value) -> bool {
    match value {
        Value::String(text) => text.as_bytes() == OUT_OF_MEMORY.as_bytes(),
        Value::Error(error) => matches!(**error, mlua::Error::MemoryError(_)),
        _ => false,
    }
}

/// The failure of a script that used up what it may use, with where it stands.
pub(super) fn used_up(lua: &Lua, limit: ScriptLimit) -> Failure {
    let mut failure = Failure::of(&state::with(lua, |state| limit.error(&state.limits)).into());
    failure.at = user_first(lua, frames(lua).iter().map(Frame::position).collect());
    with_code(lua, failure)
}

/// The value that a script sees for `error`: its own value for what a callback threw, an error table otherwise.
pub(super) fn value_of(lua: &Lua, error: &anyhow::Error) -> mlua::Result<Value> {
    if error.downcast_ref::<Thrown>().is_some() {
        return Ok(state::thrown(lua));
    }
    let (mut kind, mut message, mut hint) = parts(error);
    if kind == "memory" {
        (kind, message, hint) =
            parts(&state::with(lua, |state| ScriptLimit::Memory.error(&state.limits)).into());
    }
    // The wish may be a watchdog's.
    if kind == "interrupted" && state::stopping(lua).is_none() {
        state::stop(lua, ScriptStop::Interrupted);
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
    let mut traced = positions;
    traced.dedup();
    traced.truncate(MOST_TRACED);
    table.raw_set("traceback", traced.join("\n"))?;
    table.set_metatable(lua.named_registry_value(ERROR_METATABLE)?)?;
    Ok(Value::Table(table))
}

/// The error table for `raised`, a text of Lua itself or of `error("…")`, on its way to who catches it.
pub(super) fn caught(lua: &Lua, raised: &Value) -> mlua::Result<Value> {
    let (failure, positions) = described(lua, raised);
    table(lua, &failure.kind, &failure.message, failure.hint, positions)
}

/// Whether `value` is an error table.
pub(super) fn is_error(lua: &Lua, value: &Table) -> bool {
    let own = lua.named_registry_value::<Table>(ERROR_METATABLE);
    own.is_ok_and(|own| value.metatable().is_some_and(|metatable| metatable == own))
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

/// What a function of Lua's, called from C without a name or a place, `raised`: with the `name` that scripts know it by, and the
/// place where the innermost script stands. A name that begins with a colon is that of a method, whose arguments Lua counts from
/// behind the handle.
pub(super) fn called(lua: &Lua, name: &str, raised: Value) -> mlua::Result<Value> {
    let Value::String(text) = &raised else { return Ok(raised) };
    if is_want_of_memory(&raised) {
        return Ok(raised);
    }
    let text = text.to_string_lossy();
    let text = named_argument(&text, name).unwrap_or(text);
    let position = frames_up_to(lua, 1).first().map(|frame| format!("{}:{}: ", frame.short, frame.line));
    lua.create_string(position.unwrap_or_default() + &text).map(Value::String)
}

/// Lua's sentence about an argument of a function without a name, with `name` in it.
fn named_argument(text: &str, name: &str) -> Option<String> {
    let (number, reason) = text.strip_prefix("bad argument #")?.split_once(" to '?' ")?;
    let number: u32 = number.parse().ok()?;
    Some(match name.strip_prefix(':') {
        // The handle itself has no number of its own.
        Some(method) => format!("bad argument #{} to '{method}' {reason}", number.saturating_sub(1).max(1)),
        None => format!("bad argument #{number} to '{name}' {reason}"),
    })
}

/// The value that stands for a stop; scripts never get to see it.
pub(super) fn stop_value(lua: &Lua, stop: ScriptStop) -> mlua::Result<Value> {
    let kind = match stop {
        ScriptStop::Exit(_) => "exit",
        ScriptStop::ClosedPipe => "closed_pipe",
        ScriptStop::Interrupted => "interrupted",
        ScriptStop::Limit(_) => "limit",
    };
    table(lua, kind, kind, None, Vec::new())
}

/// Makes `lua` stop, and gives the error that takes the running function there.
pub(super) fn stop_error(lua: &Lua, stop: ScriptStop) -> anyhow::Error {
    state::stop(lua, stop);
    match stop_value(lua, stop).and_then(|value| state::throw(lua, value)) {
        Ok(thrown) => thrown.into(),
        Err(error) => error.into(),
    }
}

/// An error with a sentence of its own, raised at `positions` before it came here.
pub(super) fn failed(
    lua: &Lua,
    kind: &str,
    message: &str,
    hint: Option<String>,
    mut at: Vec<String>,
) -> anyhow::Error {
    at.extend(frames(lua).iter().map(Frame::position));
    match table(lua, kind, message, hint, at).and_then(|value| state::throw(lua, value)) {
        Ok(thrown) => thrown.into(),
        Err(error) => error.into(),
    }
}

/// The error table for source code that does not parse: `message` is Lua's own, `name` the chunk's name.
pub(super) fn syntax_value(lua: &Lua, name: &str, message: &str) -> mlua::Result<Value> {
    let failure = syntax(name, message);
    let positions = failure.at.into_iter().chain(frames(lua).iter().map(Frame::position)).collect();
    table(lua, "syntax", &failure.message, None, positions)
}

/// The failure of source code that does not parse.
pub(super) fn syntax(name: &str, message: &str) -> Failure {
    let (position, text) = split_position(message, |_| true);
    let name = name.strip_prefix(['@', '=']).unwrap_or(name);
    let at = position.map(|(_, line)| format!("{name}:{line}")).into_iter().collect();
    Failure { kind: "syntax".into(), message: text.to_string(), hint: None, at, ..Failure::default() }
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

/// The failure that is `value`, raised where `lua` stands now.
pub(super) fn describe(lua: &Lua, value: &Value) -> Failure {
    let (mut failure, positions) = described(lua, value);
    failure.at = user_first(lua, positions);
    with_code(lua, failure)
}

/// `failure` with the code at its positions.
pub(super) fn with_code(lua: &Lua, mut failure: Failure) -> Failure {
    let code = |position: &String| state::code_at(lua, position).map(|code| (position.clone(), code));
    failure.code = failure.at.iter().filter_map(code).filter(|(_, code)| !code.is_empty()).collect();
    failure
}

/// The failure that is `value`, and where it comes from, innermost first.
fn described(lua: &Lua, value: &Value) -> (Failure, Vec<String>) {
    let frames = frames(lua);
    let mut failure = Failure { kind: "script".into(), ..Failure::default() };
    let mut positions: Vec<String> = Vec::new();
    match value {
        _ if is_want_of_memory(value) => failure = used_up(lua, ScriptLimit::Memory),
        Value::Table(table) => {
            let text = |key: &str| match table.get::<Value>(key) {
                Ok(Value::String(s)) => Some(s.to_string_lossy()),
                _ => None,
            };
            failure.message = text("message").unwrap_or_else(|| spoken(value));
            failure.hint = text("hint");
            if let Some(kind) = text("kind") {
                failure.kind = kind;
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
            failure.message = rest.to_string();
            let position = positions.first().map(String::as_str);
            if let Some((message, hint)) = explain(lua, rest, Some(position.unwrap_or_default())) {
                (failure.message, failure.hint) = (message, Some(hint));
            }
        }
        Value::Error(error) => {
            (failure.kind, failure.message, failure.hint) = parts(&anyhow::Error::from((**error).clone()));
        }
        other => failure.message = spoken(other),
    }
    if !matches!(value, Value::Table(_)) || positions.is_empty() {
        positions.extend(frames.iter().map(Frame::position));
    }
    (failure, positions)
}

/// `positions` without repetitions, those in the script that the user runs before those in what it uses. What is part of qlua is no
/// place to look for a mistake, but for who asks for more.
fn user_first(lua: &Lua, positions: Vec<String>) -> Vec<String> {
    let main = state::with(lua, |s| s.main_source.borrow().clone());
    let is_main = |p: &String| p.rsplit_once(':').is_some_and(|(source, _)| source == main);
    let mut unique: Vec<String> = Vec::new();
    for position in positions {
        if !unique.contains(&position) {
            unique.push(position);
        }
    }
    let (mut own, mut used): (Vec<_>, Vec<_>) = unique.into_iter().partition(is_main);
    if state::verbosity(lua) < Verbosity::Verbose && own.iter().chain(&used).any(|p| !p.starts_with(BUILT_IN))
    {
        used.retain(|position| !position.starts_with(BUILT_IN));
    } else if state::verbosity(lua) < Verbosity::Verbose && !own.is_empty() {
        used.clear();
    }
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
