//! A Lua state with everything that scripts find in it, and how a script is run in it.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mlua::chunk::ChunkMode;
use mlua::{
    Function, HookTriggers, IntoLuaMulti, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value,
    VmState,
};

use super::declare::Api;
use super::embedded::{self, Embedded};
use super::failure::Failure;
use super::install::{fallible, install};
use super::raise;
use super::state::{self, HostState, ScriptStop, Verbosity};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::shown;
use crate::words::nearest;
use crate::write::HashedFile;

/// After how many instructions a script is asked whether it should stop; about a tenth of a millisecond.
const HOOK_INTERVAL: u32 = 10_000;

/// Source code and the name under which positions show it (`@path`, or `=text`).
#[derive(Debug, Clone)]
pub struct Chunk {
    name: String,
    source: Vec<u8>,
}

impl Chunk {
    /// The script in the file `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such file, [`Error::Io`] when it cannot be read.
    pub fn file(path: &Path) -> Result<Chunk> {
        let source =
            input::read(path, InputKind::Script).map_err(|error| match input::is_missing(&error) {
                true => Error::not_found(format!("there is no script `{}`", path.display())),
                false => error,
            })?;
        Ok(Chunk::new(format!("@{}", path.display()), source))
    }

    /// A script that is part of the binary.
    pub fn built_in(script: &Embedded) -> Chunk {
        Chunk::new(script.chunk_name(), script.source.into())
    }

    /// Code from the command line.
    pub fn code(code: &str) -> Chunk {
        Chunk::new("=(command line)".into(), code.into())
    }

    /// Code from standard input.
    pub fn stdin(source: Vec<u8>) -> Chunk {
        Chunk::new("=stdin".into(), source)
    }

    /// Its name, and the hash of its source, for whoever wants to know exactly what runs.
    pub fn described(&self) -> String {
        let HashedFile { file, sha256, .. } =
            HashedFile::of(self.name.trim_start_matches(['@', '=']), &self.source);
        format!("{file} (SHA-256 {sha256})")
    }

    fn new(name: String, mut source: Vec<u8>) -> Chunk {
        if source.starts_with(b"\xef\xbb\xbf") {
            source.drain(..3);
        }
        if source.starts_with(b"#") {
            // The line break stays, so that line numbers stay too.
            let end = source.iter().position(|b| *b == b'\n').unwrap_or(source.len());
            source.drain(..end);
        }
        Chunk { name, source }
    }
}

/// How a script ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It ran to its end.
    Done,
    /// It raised an error that nobody caught.
    Failed(Failure),
    /// It, or the user, asked to stop.
    Stopped(ScriptStop),
}

impl Ending {
    /// The exit code: 0 ok, 1 failure, 2 usage, 3 verification, 130 interrupted, or what the script chose.
    pub fn exit_code(&self) -> u8 {
        match self {
            Ending::Done | Ending::Stopped(ScriptStop::ClosedPipe) => 0,
            Ending::Failed(failure) => failure.exit_code(),
            Ending::Stopped(ScriptStop::Exit(code)) => *code,
            Ending::Stopped(ScriptStop::Interrupted) => 130,
        }
    }
}

/// A Lua state with the qlua API.
pub struct Host {
    lua: Lua,
    guard: Function,
    load_module: Function,
}

impl Host {
    /// A fresh state; modules are found in `folder` and among the embedded ones.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn new(verbosity: Verbosity, folder: Option<&Path>) -> anyhow::Result<Host> {
        Host::with_api(verbosity, folder, &super::api::declarations())
    }

    /// A fresh state with the declarations of `api` instead of the whole API.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn with_api(verbosity: Verbosity, folder: Option<&Path>, api: &Api) -> anyhow::Result<Host> {
        Host::with_state(HostState::new(verbosity), folder, api)
    }

    /// What `script` takes on its command line, as it declares it; nothing where it declares nothing. The script runs as far
    /// as that.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn command_line_of(script: &Embedded) -> anyhow::Result<Option<clap::Command>> {
        let host = Host::with_state(HostState::declaring(), None, &super::api::declarations())?;
        host.run(&Chunk::built_in(script), &[]);
        Ok(state::declared(&host.lua))
    }

    fn with_state(own: HostState, folder: Option<&Path>, api: &Api) -> anyhow::Result<Host> {
        // `true` leaves Lua's own pcall in place; mlua's replacement for it cannot yield.
        let lua = Lua::new_with(StdLib::ALL_SAFE, LuaOptions::new().catch_rust_panics(true))?;
        lua.set_app_data(own);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(HOOK_INTERVAL), |lua, _| {
            match state::stopping(lua) {
                None => Ok(VmState::Continue),
                Some(stop) => Err(mlua::Error::runtime(format!("{stop:?}"))),
            }
        })?;
        let prelude: Table = lua
            .load(include_str!("prelude.lua"))
            .set_name("=[qlua]")
            .set_mode(ChunkMode::Text)
            .call(host_functions(&lua)?)?;
        state::keep_pcall(&lua, prelude.get("pcall")?)?;
        state::keep_wrap(&lua, prelude.get("wrap")?)?;
        raise::keep_metatable(&lua, prelude.get("error_metatable")?)?;
        let qlua = install(&lua, api, &prelude)?;
        let package: Table = lua.globals().get("package")?;
        package.get::<Table>("loaded")?.raw_set("qlua", &qlua)?;
        package.raw_set("path", lua.create_string(module_path(folder))?)?;
        lua.globals().raw_set("qlua", qlua)?;
        let (guard, load_module) = (prelude.get("guard")?, prelude.get("load_module")?);
        Ok(Host { lua, guard, load_module })
    }

    /// The Lua state.
    pub fn lua(&self) -> &Lua {
        &self.lua
    }

    /// Sets the global `arg`: `before` at negative indices, `script` at 0, `after` from 1.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn set_arg(&self, before: &[OsString], script: &OsStr, after: &[OsString]) -> anyhow::Result<()> {
        let arg = self.lua.create_table()?;
        let count = before.len() as i64;
        let all = before.iter().map(OsString::as_os_str).chain([script]);
        for (i, text) in all.chain(after.iter().map(OsString::as_os_str)).enumerate() {
            arg.raw_set(i as i64 - count, self.lua.create_string(text.as_bytes())?)?;
        }
        self.lua.globals().raw_set("arg", arg)?;
        Ok(())
    }

    /// Runs `chunk` with `arguments` as its `...`.
    pub fn run(&self, chunk: &Chunk, arguments: &[OsString]) -> Ending {
        let name = chunk.name.trim_start_matches(['@', '=']).to_string();
        state::with(&self.lua, |s| {
            *s.policy.borrow_mut() = Some(HashedFile::of(&name, &chunk.source));
            *s.main_source.borrow_mut() = name;
        });
        let loaded = self.lua.load(&chunk.source[..]).set_name(&chunk.name).set_mode(ChunkMode::Text);
        let function = match loaded.into_function() {
            Ok(function) => function,
            Err(mlua::Error::SyntaxError { message, .. }) => {
                return Ending::Failed(raise::syntax(&chunk.name, &message));
            }
            Err(other) => return Ending::Failed(Failure::of(&other.into())),
        };
        let strings = arguments.iter().map(|a| self.lua.create_string(a.as_bytes()).map(Value::String));
        match strings.collect::<mlua::Result<MultiValue>>() {
            Ok(arguments) => self.guarded(function, arguments),
            Err(error) => Ending::Failed(Failure::of(&error.into())),
        }
    }

    /// `require(module)`, the result as global `name` (`-l name=module`).
    pub fn load_module(&self, name: &str, module: &str) -> Ending {
        let strings = [name, module].map(|text| self.lua.create_string(text).map(Value::String));
        match strings.into_iter().collect::<mlua::Result<MultiValue>>() {
            Ok(arguments) => self.guarded(self.load_module.clone(), arguments),
            Err(error) => Ending::Failed(Failure::of(&error.into())),
        }
    }

    fn guarded(&self, function: Function, arguments: MultiValue) -> Ending {
        let mut all = arguments;
        all.push_front(Value::Function(function));
        let outcome = self.guard.call::<MultiValue>(all);
        if let Some(stop) = state::stopping(&self.lua) {
            return Ending::Stopped(stop);
        }
        let failure = state::with(&self.lua, |s| s.failure.borrow_mut().take());
        match outcome.map(|mut results| (results.pop_front(), results.pop_front())) {
            Ok((Some(Value::Boolean(true)), _)) => Ending::Done,
            // Without a failure the handler itself had no room left to run: a stack overflow.
            Ok((_, value)) => Ending::Failed(
                failure.unwrap_or_else(|| raise::describe(&self.lua, &value.unwrap_or(Value::Nil))),
            ),
            Err(error) => Ending::Failed(Failure::of(&error.into())),
        }
    }
}

fn module_path(folder: Option<&Path>) -> Vec<u8> {
    let Some(folder) = folder else { return Vec::new() };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    [folder.join("?.lua"), folder.join("?/init.lua")]
        .iter()
        .map(|p| p.as_os_str().as_bytes())
        .collect::<Vec<_>>()
        .join(&b';')
}

/// The functions that the prelude is built on.
fn host_functions(lua: &Lua) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    host.raw_set(
        "stopping",
        lua.create_function(|lua, ()| state::stopping(lua).map(|s| raise::stop_value(lua, s)).transpose())?,
    )?;
    host.raw_set(
        "convert",
        lua.create_function(|lua, value: Value| match value {
            Value::Error(error) => raise::value_of(lua, &anyhow::Error::from(*error)),
            other => Ok(other),
        })?,
    )?;
    host.raw_set(
        "describe",
        lua.create_function(|lua, value: Value| {
            if state::stopping(lua).is_none() {
                let failure = raise::describe(lua, &value);
                state::with(lua, |s| *s.failure.borrow_mut() = Some(failure));
            }
            Ok(value)
        })?,
    )?;
    host.raw_set(
        "exit",
        lua.create_function(|lua, code: Value| stop(lua, ScriptStop::Exit(exit_code(&code))))?,
    )?;
    host.raw_set("closed_pipe", lua.create_function(|lua, ()| stop(lua, ScriptStop::ClosedPipe))?)?;
    host.raw_set(
        "embedded",
        lua.create_function(|_, name: String| {
            let module = embedded::module(&name);
            Ok((module.map(|m| m.source), module.map(Embedded::chunk_name)))
        })?,
    )?;
    host.raw_set("source_of", fallible(lua, |lua, arguments| source_of(lua, &arguments))?)?;
    host.raw_set(
        "is_terminal",
        lua.create_function(|_, stream: i32| {
            Ok(if stream == 1 { std::io::stdout().is_terminal() } else { std::io::stderr().is_terminal() })
        })?,
    )?;
    host.raw_set(
        "shown",
        lua.create_function(|lua, text: LuaString| lua.create_string(shown::bytes(&text.as_bytes())))?,
    )?;
    host.raw_set("missing_module", fallible(lua, |lua, arguments| missing_module(lua, arguments.front()))?)?;
    host.raw_set(
        "syntax_error",
        lua.create_function(|lua, (name, message): (String, String)| {
            Ok((false, raise::syntax_value(lua, &name, &message)?))
        })?,
    )?;
    host.raw_set(
        "traceback",
        lua.create_function(|lua, (message, _level): (Value, Value)| match &message {
            Value::Nil => raise::traceback(lua, None).into_lua_multi(lua),
            Value::String(text) => raise::traceback(lua, Some(&text.to_string_lossy())).into_lua_multi(lua),
            _ => message.into_lua_multi(lua),
        })?,
    )?;
    Ok(host)
}

fn stop(lua: &Lua, reason: ScriptStop) -> mlua::Result<(bool, Value)> {
    state::stop(lua, reason);
    Ok((false, raise::stop_value(lua, reason)?))
}

fn exit_code(value: &Value) -> u8 {
    match value {
        Value::Nil | Value::Boolean(true) => 0,
        Value::Integer(code) => (*code & 0xff) as u8,
        Value::Number(code) if code.fract() == 0.0 => (*code as i64 & 0xff) as u8,
        _ => 1,
    }
}

/// The source of the script at a path; nothing where there is none.
fn source_of(lua: &Lua, arguments: &MultiValue) -> anyhow::Result<Option<LuaString>> {
    let Some(Value::String(path)) = arguments.front() else { return Ok(None) };
    match Chunk::file(Path::new(OsStr::from_bytes(&path.as_bytes()))) {
        Ok(chunk) => Ok(Some(lua.create_string(chunk.source)?)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn missing_module(lua: &Lua, name: Option<&Value>) -> anyhow::Result<()> {
    let name = match name {
        Some(Value::String(name)) => name.to_string_lossy(),
        other => super::types::describe(other.unwrap_or(&Value::Nil)),
    };
    let known: Vec<String> = embedded::modules().collect();
    let error = Error::not_found(format!("there is no module `{name}`"));
    let path: String = lua.globals().get::<Table>("package")?.get("path")?;
    let hint = match nearest(&name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if path.is_empty() => "built-in scripts use built-in modules only".into(),
        None => {
            let file = path.split(';').next().unwrap_or("").replace('?', &name.replace('.', "/"));
            format!("it would be read from `{file}`")
        }
    };
    Err(error.with_hint(hint).into())
}
