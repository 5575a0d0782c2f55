//! The side of the process that answers.

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use mlua::chunk::ChunkMode;
use mlua::{Function, IntoLua, Lua, MultiValue, Table, Value};

use super::message::{PolicyAnswer, PolicyChoice, PolicyRequest, source_bytes};
use crate::error::Error;
use crate::lua::api::{decode, group_rows};
use crate::lua::chunk::Chunk;
use crate::lua::failure::Failure;
use crate::lua::host::{Ending, Host};
use crate::lua::sandbox::{Limits, Roots, ScriptLimit, restrict};
use crate::words::words;

/// Exit code of a process whose policy took all of its time without ending.
pub const SPENT_TIME: i32 = 124;
/// Exit code of a process that takes too much memory.
pub const SPENT_MEMORY: i32 = 125;

/// Reads one request from standard input, runs its policy, and writes the answer to standard output. Gives the exit code.
///
/// # Errors
/// When the request is none, or nobody takes the answer.
pub fn answer_request() -> anyhow::Result<u8> {
    // SAFETY: both calls only say what signals do to this process: it ends with the one that asks, which also gets a Ctrl-C.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::signal(libc::SIGINT, libc::SIG_IGN);
    }
    let mut question = Vec::new();
    std::io::stdin().lock().read_to_end(&mut question)?;
    let request: PolicyRequest = serde_json::from_slice(&question)?;
    drop(question);
    let limits = Limits {
        memory: request.memory,
        time: Some(Duration::try_from_secs_f64(request.seconds)?),
        instructions: Some(request.instructions),
        ..Limits::POLICY
    };
    let host = Host::pure(limits, end)?;
    restrict(&Roots::default())?;
    let answer = match choose(&host, &request) {
        Ok(chosen) => PolicyAnswer::Chosen(chosen),
        Err(Failure { kind, message, hint, at, .. }) => PolicyAnswer::Failed { kind, message, hint, at },
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &answer)?;
    out.flush()?;
    Ok(0)
}

/// Ends this process where the policy does not.
fn end(limit: ScriptLimit, _: &Limits) -> ! {
    let code = if limit == ScriptLimit::Memory { SPENT_MEMORY } else { SPENT_TIME };
    // SAFETY: `_exit` ends the process without running anything; there is nothing to clean up.
    unsafe { libc::_exit(code) }
}

fn choose(host: &Host, request: &PolicyRequest) -> Result<PolicyChoice, Failure> {
    let chunk = Chunk::new(request.name.clone(), source_bytes(&request.source));
    let policy = host.function_of(&chunk)?;
    let (driver, arguments) = prepare(host.lua(), request, policy).map_err(|error| Failure::of(&error))?;
    match host.guarded(driver, arguments) {
        Ending::Done => {}
        Ending::Failed(failure) => return Err(failure),
        Ending::Stopped(stop) => {
            let problem = format!("the policy stopped: {stop:?}");
            return Err(Failure::of(&Error::argument(problem).into()));
        }
    }
    chosen(host.lua()).map_err(|error| Failure::of(&error))
}

/// Where the driver leaves what was chosen.
const CHOSEN: &str = "qlua.chosen";

/// The function that runs the policy, and what it takes.
fn prepare(lua: &Lua, request: &PolicyRequest, policy: Function) -> anyhow::Result<(Function, MultiValue)> {
    let groups = decode(lua, Path::new("the groups"), request.groups.as_bytes())?;
    let groups = group_rows(lua, groups)?;
    let options = decode(lua, Path::new("the options"), request.options.as_bytes())?;
    let keep = lua.create_function(|lua, (kind, list): (String, Table)| {
        let kept = lua.create_table()?;
        kept.raw_set(1, kind)?;
        kept.raw_set(2, list)?;
        lua.set_named_registry_value(CHOSEN, kept)
    })?;
    let driver = lua.load(include_str!("driver.lua")).set_name("=[qlua]").set_mode(ChunkMode::Text);
    let arguments = [policy.into_lua(lua)?, groups, options, keep.into_lua(lua)?];
    Ok((driver.into_function()?, MultiValue::from_iter(arguments)))
}

words! {
    /// How the driver says what a policy chose.
    enum ChosenBy: "way of choosing groups" {
        Names = "names",
        Globs = "globs",
    }
}

fn chosen(lua: &Lua) -> anyhow::Result<PolicyChoice> {
    let kept: Table = lua.named_registry_value(CHOSEN)?;
    let list = kept.raw_get::<Table>(2)?;
    let mut names = Vec::with_capacity(list.raw_len());
    for at in 1..=list.raw_len() {
        match list.raw_get::<Value>(at)? {
            Value::String(name) => match name.to_str() {
                Ok(name) => names.push(name.to_string()),
                Err(_) => anyhow::bail!("the policy chose a name that is not valid UTF-8"),
            },
            other => anyhow::bail!("the policy chose {}, which is no name", other.type_name()),
        }
    }
    Ok(match kept.raw_get::<String>(1)?.parse()? {
        ChosenBy::Names => PolicyChoice::Names(names),
        ChosenBy::Globs => PolicyChoice::Globs(names),
    })
}
