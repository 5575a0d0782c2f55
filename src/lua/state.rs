//! What the host keeps beside each Lua state: why it should stop, what was thrown, and which classes there are.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mlua::{Function, Lua, Value};

use super::absent::Absent;
use super::embedded;
use super::failure::Failure;
use super::sandbox::{Limits, Roots, ScriptClock, ScriptLimit};
use crate::interrupt;
use crate::write::HashedFile;

/// After how many instructions a script is asked whether it should stop; about a tenth of a millisecond.
pub(super) const HOOK_INTERVAL: u32 = 10_000;

/// Why a script stops other than by an error that it could catch. Once set it stays: no `pcall` of a script gets past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptStop {
    /// `os.exit(code)`.
    Exit(u8),
    /// Nobody reads the standard output any more.
    ClosedPipe,
    /// Ctrl-C, or a termination signal.
    Interrupted,
    /// It used up what it may use.
    Limit(ScriptLimit),
}

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Warnings and errors (`-q`).
    Quiet,
    /// Also progress and notes.
    #[default]
    Normal,
    /// Also what helps to find a mistake (`-v`).
    Verbose,
}

/// The host's own data of one Lua state.
#[derive(Default)]
pub(super) struct HostState {
    pub stop: Cell<Option<ScriptStop>>,
    pub failure: RefCell<Option<Failure>>,
    /// The chunk that the user runs, as positions name it.
    pub main_source: RefCell<String>,
    /// The sources of scripts and their modules, as positions name them.
    pub sources: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The script that the user runs, for the provenance of what it writes.
    pub policy: RefCell<Option<HashedFile>>,
    pub verbosity: Verbosity,
    /// What a script last read from a row that does not have it.
    pub absent: RefCell<Option<Absent>>,
    /// What scripts may use.
    pub limits: Limits,
    /// What a sandbox may read and write; nothing where scripts are trusted.
    pub roots: Option<Roots>,
    /// Whether what scripts print is only for people to read, as the standard output is taken.
    pub prints_to_stderr: bool,
    /// The time that the script takes.
    pub clock: Arc<ScriptClock>,
    /// Instructions that the script took.
    instructions: Cell<u64>,
    /// Whether scripts are only asked what they take on their command line.
    declaring: bool,
    /// What the script said it takes.
    declared: RefCell<Option<clap::Command>>,
    classes: RefCell<BTreeMap<&'static str, TypeId>>,
    /// What the functions of the API are called, in a session.
    names: Option<RefCell<BTreeMap<usize, String>>>,
}

impl HostState {
    pub fn new(verbosity: Verbosity) -> Self {
        HostState { verbosity, ..HostState::default() }
    }

    /// The state of a script that may use no more than `limits`.
    pub fn limited(verbosity: Verbosity, limits: Limits) -> Self {
        HostState { limits, ..HostState::new(verbosity) }
    }

    /// The state of a session, which can tell what the functions of the API are called.
    pub fn interactive(verbosity: Verbosity, limits: Limits) -> Self {
        HostState { names: Some(RefCell::default()), ..HostState::limited(verbosity, limits) }
    }

    /// The state of a script that is only asked what it takes on its command line.
    pub fn declaring() -> Self {
        HostState { declaring: true, ..HostState::new(Verbosity::Quiet) }
    }
}

const PCALL: &str = "qlua.pcall";
const WRAP: &str = "qlua.wrap";
const THROWN: &str = "qlua.thrown";

/// Applies `f` to the host's data of `lua`.
pub(super) fn with<R>(lua: &Lua, f: impl FnOnce(&HostState) -> R) -> R {
    match lua.app_data_ref::<HostState>() {
        Some(state) => f(&state),
        None => f(&HostState::default()),
    }
}

/// How much `lua`'s scripts may say on standard error.
pub fn verbosity(lua: &Lua) -> Verbosity {
    with(lua, |state| state.verbosity)
}

/// The script that `lua` runs, where it runs one.
pub fn policy(lua: &Lua) -> Option<HashedFile> {
    with(lua, |state| state.policy.borrow().clone())
}

/// Why `lua` should stop, if it should.
pub(super) fn stopping(lua: &Lua) -> Option<ScriptStop> {
    with(lua, |state| {
        if state.stop.get().is_none() {
            let spent = state.limits.instructions.is_some_and(|most| state.instructions.get() > most);
            let over = state.clock.over.get();
            state.stop.set(match () {
                // A watchdog that ends what qlua does for the script asks all work to stop as a user would.
                () if over.is_some() => over.map(|limit| ScriptStop::Limit(*limit)),
                () if interrupt::requested() => Some(ScriptStop::Interrupted),
                () if spent => Some(ScriptStop::Limit(ScriptLimit::Instructions)),
                () => None,
            });
        }
        state.stop.get()
    })
}

/// Counts instructions of the script.
pub(super) fn count(lua: &Lua, instructions: u32) {
    with(lua, |state| state.instructions.set(state.instructions.get().saturating_add(instructions.into())));
}

/// Fails where `lua` runs a sandbox in which `path` may not be used so.
pub(super) fn allow_path<R>(
    lua: &Lua,
    check: impl FnOnce(&Roots) -> crate::error::Result<R>,
) -> crate::error::Result<()> {
    with(lua, |state| state.roots.as_ref().map(check).transpose().map(drop))
}

/// Keeps the source of `chunk`, whose lines are shown where errors come from.
pub(super) fn keep_source(lua: &Lua, name: &str, source: &[u8]) {
    with(lua, |state| state.sources.borrow_mut().insert(name.into(), source.into()));
}

/// The line of code at `position`, such as `mine.lua:3`; nothing where its source is not at hand.
pub(super) fn code_at(lua: &Lua, position: &str) -> Option<String> {
    let (name, line) = position.rsplit_once(':')?;
    let line = line.parse::<usize>().ok()?.checked_sub(1)?;
    if let Some(script) = name.strip_prefix("built-in:").and_then(embedded::at) {
        return script.source.lines().nth(line).map(|code| code.trim().into());
    }
    with(lua, |state| {
        let sources = state.sources.borrow();
        let code = sources.get(name)?.split(|byte| *byte == b'\n').nth(line)?;
        Some(String::from_utf8_lossy(code).trim().into())
    })
}

/// Whether `lua` runs a sandbox.
pub(super) fn is_sandbox(lua: &Lua) -> bool {
    with(lua, |state| state.roots.is_some())
}

/// Makes `lua` stop; the first reason counts.
pub(super) fn stop(lua: &Lua, reason: ScriptStop) {
    with(lua, |state| {
        if state.stop.get().is_none() {
            state.stop.set(Some(reason));
        }
    });
}

/// The Rust type behind the class called `name`.
pub(super) fn class_type(lua: &Lua, name: &str) -> Option<TypeId> {
    with(lua, |state| state.classes.borrow().get(name).copied())
}

/// Whether the script is only asked what it takes on its command line.
pub(super) fn is_declaring(lua: &Lua) -> bool {
    with(lua, |state| state.declaring)
}

/// Keeps what the script takes on its command line.
pub(super) fn declare(lua: &Lua, command: clap::Command) {
    with(lua, |state| *state.declared.borrow_mut() = Some(command));
}

/// What [`declare`] kept.
pub(super) fn declared(lua: &Lua) -> Option<clap::Command> {
    with(lua, |state| state.declared.borrow_mut().take())
}

/// Notes in a session that `function` is called `name`.
pub(super) fn name_function(lua: &Lua, function: &Function, name: &str) {
    with(lua, |state| {
        if let Some(names) = &state.names {
            names.borrow_mut().insert(function.to_pointer().addr(), name.into());
        }
    });
}

/// What [`name_function`] noted, by the addresses of the functions.
pub(super) fn function_names(lua: &Lua) -> BTreeMap<usize, String> {
    with(lua, |state| state.names.as_ref().map(|names| names.borrow().clone()).unwrap_or_default())
}

/// Takes back that `lua` should stop.
pub(super) fn resume(lua: &Lua) {
    with(lua, |state| state.stop.set(None));
}

/// Makes a class known to argument checks.
pub(super) fn add_class(lua: &Lua, name: &'static str, type_id: TypeId) {
    with(lua, |state| state.classes.borrow_mut().insert(name, type_id));
}

/// Keeps Lua's own `pcall`, which scripts see only wrapped.
pub(super) fn keep_pcall(lua: &Lua, pcall: Function) -> mlua::Result<()> {
    lua.set_named_registry_value(PCALL, pcall)
}

/// Lua's own `pcall`.
pub(super) fn raw_pcall(lua: &Lua) -> mlua::Result<Function> {
    lua.named_registry_value(PCALL)
}

/// Keeps the prelude's `wrap`, which makes a function of Rust raise error tables.
pub(super) fn keep_wrap(lua: &Lua, wrap: Function) -> mlua::Result<()> {
    lua.set_named_registry_value(WRAP, wrap)
}

/// The prelude's `wrap`.
pub(super) fn wrap(lua: &Lua) -> mlua::Result<Function> {
    lua.named_registry_value(WRAP)
}

/// An error value of a script on its way through Rust; the value itself waits in the Lua state.
#[derive(Debug)]
pub struct Thrown;

impl fmt::Display for Thrown {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a function of the script raised an error")
    }
}

impl std::error::Error for Thrown {}

/// Puts `value` aside and gives the error that stands for it.
pub(super) fn throw(lua: &Lua, value: Value) -> mlua::Result<Thrown> {
    lua.set_named_registry_value(THROWN, value)?;
    Ok(Thrown)
}

/// The value that [`throw`] put aside.
pub(super) fn thrown(lua: &Lua) -> Value {
    let value = lua.named_registry_value(THROWN).unwrap_or(Value::Nil);
    // Setting nil cannot fail for want of memory; a value left behind would only live longer than needed.
    let _ = lua.set_named_registry_value(THROWN, Value::Nil);
    value
}
