//! A Lua state with everything that scripts find in it, and how a script is run in it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use mlua::chunk::ChunkMode;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use super::api;
use super::chunk::Chunk;
use super::declare::Api;
use super::embedded::Embedded;
use super::failure::Failure;
use super::host_functions::host_functions;
use super::install::install;
use super::raise;
use super::sandbox::{Limits, Roots, Watchdog, WatchdogEnd};
use super::state::{self, HOOK_INTERVAL, HostState, ScriptStop, Verbosity};
use crate::write::HashedFile;

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
            Ending::Stopped(ScriptStop::Limit(_)) => 1,
        }
    }
}

/// A Lua state with the qlua API.
pub struct Host {
    lua: Lua,
    guard: Function,
    load_module: Function,
}

/// Libraries that reach nothing outside of Lua.
const CLOSED_LIBRARIES: [StdLib; 5] =
    [StdLib::COROUTINE, StdLib::TABLE, StdLib::STRING, StdLib::UTF8, StdLib::MATH];

impl Host {
    /// A fresh state; modules are found in `folder` and among the embedded ones.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn new(verbosity: Verbosity, folder: Option<&Path>) -> anyhow::Result<Host> {
        Host::with_api(verbosity, folder, &api::declarations())
    }

    /// A fresh state whose scripts may use no more than `limits`.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn limited(verbosity: Verbosity, folder: Option<&Path>, limits: Limits) -> anyhow::Result<Host> {
        Host::with_state(HostState::limited(verbosity, limits), folder, &api::declarations())
    }

    /// A fresh state for a session, and for a script that runs before it.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn interactive(verbosity: Verbosity, folder: Option<&Path>, limits: Limits) -> anyhow::Result<Host> {
        Host::with_state(HostState::interactive(verbosity, limits), folder, &api::declarations())
    }

    /// A fresh state for a script that nobody has read: it reaches no files but those below `roots`, and `end` ends the process
    /// where it goes beyond `limits` and nothing else ends it.
    ///
    /// # Errors
    /// When memory runs out, or there can be no further thread.
    pub fn sandboxed(
        verbosity: Verbosity,
        roots: Roots,
        limits: Limits,
        end: WatchdogEnd,
    ) -> anyhow::Result<Host> {
        let mut own = HostState::limited(verbosity, limits);
        own.roots = Some(roots);
        let watchdog = Watchdog::new(&own.clock, limits, end);
        let host = Host::with_state(own, None, &api::declarations())?;
        watchdog.start()?;
        Ok(host)
    }

    /// A fresh sandbox with no files at all and nothing but pure functions; what scripts print goes to standard error.
    ///
    /// # Errors
    /// As for [`Host::sandboxed`].
    pub(super) fn pure(limits: Limits, end: WatchdogEnd) -> anyhow::Result<Host> {
        let mut own = HostState::limited(Verbosity::Normal, limits);
        (own.roots, own.prints_to_stderr) = (Some(Roots::default()), true);
        let watchdog = Watchdog::new(&own.clock, limits, end);
        let host = Host::with_state(own, None, &api::pure_declarations())?;
        watchdog.start()?;
        Ok(host)
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
        let host = Host::with_state(HostState::declaring(), None, &api::declarations())?;
        host.run(&Chunk::built_in(script), &[]);
        Ok(state::declared(&host.lua))
    }

    fn with_state(own: HostState, folder: Option<&Path>, api: &Api) -> anyhow::Result<Host> {
        // `true` leaves Lua's own pcall in place; mlua's replacement for it cannot yield.
        let is_sandbox = own.roots.is_some();
        let libraries = match is_sandbox {
            true => CLOSED_LIBRARIES.into_iter().fold(StdLib::NONE, |all, library| all | library),
            false => StdLib::ALL_SAFE,
        };
        let lua = Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(true))?;
        lua.set_memory_limit(own.limits.memory)?;
        own.clock.show();
        lua.set_app_data(own);
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(HOOK_INTERVAL), |lua, _| {
            state::count(lua, HOOK_INTERVAL);
            match state::stopping(lua) {
                None => Ok(VmState::Continue),
                Some(stop) => {
                    if let ScriptStop::Limit(limit) = stop {
                        keep_failure(lua, || raise::used_up(lua, limit));
                    }
                    Err(mlua::Error::runtime(format!("{stop:?}")))
                }
            }
        })?;
        let functions = host_functions(&lua)?;
        let load = |source: &'static str| lua.load(source).set_name("=[qlua]").set_mode(ChunkMode::Text);
        let prelude: Table = load(include_str!("prelude/common.lua")).call(&functions)?;
        let rest = match is_sandbox {
            true => include_str!("prelude/sandbox.lua"),
            false => include_str!("prelude/standard.lua"),
        };
        load(rest).call::<()>((functions, &prelude))?;
        state::keep_pcall(&lua, prelude.get("pcall")?)?;
        state::keep_wrap(&lua, prelude.get("wrap")?)?;
        raise::keep_metatable(&lua, prelude.get("error_metatable")?)?;
        let qlua = install(&lua, api, &prelude)?;
        prelude.get::<Function>("provide")?.call::<()>(("qlua", &qlua))?;
        if let Some(package) = lua.globals().raw_get::<Option<Table>>("package")? {
            package.raw_set("path", lua.create_string(module_path(folder))?)?;
        }
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
        self.results(chunk, arguments).err().unwrap_or(Ending::Done)
    }

    /// Runs `chunk` with `arguments` as its `...`, and gives its results, or how it ended otherwise.
    pub(super) fn results(&self, chunk: &Chunk, arguments: &[OsString]) -> Result<MultiValue, Ending> {
        let name = chunk.name().trim_start_matches(['@', '=']).to_string();
        state::with(&self.lua, |s| {
            *s.policy.borrow_mut() = Some(HashedFile::of(&name, chunk.source()));
            *s.main_source.borrow_mut() = name.clone();
        });
        // What stands on a command line is there to see.
        if chunk.has_lines() {
            state::keep_source(&self.lua, &name, chunk.source());
        }
        let function = match self.function_of(chunk) {
            Ok(function) => function,
            Err(failure) => return Err(Ending::Failed(raise::with_code(&self.lua, failure))),
        };
        let strings = arguments.iter().map(|a| self.lua.create_string(a.as_bytes()).map(Value::String));
        match strings.collect::<mlua::Result<MultiValue>>() {
            Ok(arguments) => self.called(function, arguments),
            Err(error) => Err(Ending::Failed(Failure::of(&error.into()))),
        }
    }

    /// Takes back that somebody asked to stop what ran before.
    pub(super) fn resume(&self) {
        state::resume(&self.lua);
    }

    /// `require(module)`, the result as global `name` (`-l name=module`).
    pub fn load_module(&self, name: &str, module: &str) -> Ending {
        let strings = [name, module].map(|text| self.lua.create_string(text).map(Value::String));
        match strings.into_iter().collect::<mlua::Result<MultiValue>>() {
            Ok(arguments) => self.guarded(self.load_module.clone(), arguments),
            Err(error) => Ending::Failed(Failure::of(&error.into())),
        }
    }

    /// The code of `chunk` as a function.
    ///
    /// # Errors
    /// The failure of code that does not parse.
    pub(super) fn function_of(&self, chunk: &Chunk) -> Result<Function, Failure> {
        let loaded = self.lua.load(chunk.source()).set_name(chunk.name()).set_mode(ChunkMode::Text);
        loaded.into_function().map_err(|error| match error {
            mlua::Error::SyntaxError { message, .. } => raise::syntax(chunk.name(), &message),
            other => Failure::of(&other.into()),
        })
    }

    /// Runs `function` with `arguments`.
    pub(super) fn guarded(&self, function: Function, arguments: MultiValue) -> Ending {
        self.called(function, arguments).err().unwrap_or(Ending::Done)
    }

    /// Runs `function` with `arguments`, and gives its results, or how it ended otherwise.
    fn called(&self, function: Function, arguments: MultiValue) -> Result<MultiValue, Ending> {
        let mut all = arguments;
        all.push_front(Value::Function(function));
        let clock = state::with(&self.lua, |state| Arc::clone(&state.clock));
        let running = clock.run();
        let outcome = self.guard.call::<MultiValue>(all);
        drop(running);
        let failure = state::with(&self.lua, |s| s.failure.borrow_mut().take());
        match state::stopping(&self.lua) {
            Some(ScriptStop::Limit(limit)) => {
                return Err(Ending::Failed(failure.unwrap_or_else(|| raise::used_up(&self.lua, limit))));
            }
            Some(stop) => return Err(Ending::Stopped(stop)),
            None => {}
        }
        let mut results = outcome.map_err(|error| Ending::Failed(Failure::of(&error.into())))?;
        match results.pop_front() {
            Some(Value::Boolean(true)) => Ok(results),
            // Without a failure the handler itself had no room left to run: a stack overflow.
            _ => {
                Err(Ending::Failed(failure.unwrap_or_else(|| {
                    raise::describe(&self.lua, &results.pop_front().unwrap_or(Value::Nil))
                })))
            }
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

/// Keeps the first failure of a script that is about to stop.
fn keep_failure(lua: &Lua, failure: impl FnOnce() -> Failure) {
    if state::with(lua, |s| s.failure.borrow().is_none()) {
        let failure = failure();
        state::with(lua, |s| *s.failure.borrow_mut() = Some(failure));
    }
}
