//! A session: lines of Lua that are entered one after another in one state, what they give, and what could be entered.

mod completion;
mod help;
mod names;
mod show;
mod tokens;

use std::cell::Cell;

use mlua::{Lua, MultiValue};

use super::chunk::Chunk;
use super::declare::Api;
use super::failure::Failure;
use super::host::{Ending, Host};
use super::{api, output, raise, state};
use crate::options::width;
use crate::shown;
pub use completion::{Completions, Suggestion};
use names::Names;

/// Lines that are entered into the state of a [`Host`], which [`Host::interactive`] made.
pub struct Session<'a> {
    host: &'a Host,
    api: Api,
    names: Names,
    lines: Cell<usize>,
    /// Whether it was said what becomes of local variables.
    is_told_of_locals: Cell<bool>,
}

impl<'a> Session<'a> {
    /// A session in the state of `host`; it gets the global function `help`.
    ///
    /// # Errors
    /// Only when memory runs out.
    pub fn new(host: &'a Host) -> anyhow::Result<Self> {
        let names = Names::of(host.lua());
        help::install(host.lua(), names.clone())?;
        Ok(Session {
            host,
            api: api::declarations(),
            names,
            lines: Cell::new(0),
            is_told_of_locals: Cell::new(false),
        })
    }

    /// Whether `text` lacks nothing: false where more lines would make it a statement or an expression.
    pub fn is_complete(&self, text: &str) -> bool {
        let lua = self.host.lua();
        let lacks = |source: &str| match lua.load(source).set_name("=line").into_function() {
            Err(mlua::Error::SyntaxError { incomplete_input, .. }) => Some(incomplete_input),
            _ => None,
        };
        match (lacks(text), lacks(&format!("return {text}"))) {
            (None, _) | (_, None) => true,
            (Some(statement), Some(expression)) => !statement && !expression,
        }
    }

    /// Runs `text`, an expression or statements, and prints what it gives.
    pub fn enter(&self, text: &str) -> Ending {
        self.lines.set(self.lines.get() + 1);
        let name = format!("=(line {})", self.lines.get());
        let text = if text.trim() == "help" { "help()" } else { text };
        let expression = Chunk::new(name.clone(), format!("return {text}").into());
        let chunk = match self.host.function_of(&expression) {
            Ok(_) => expression,
            Err(_) => Chunk::new(name.clone(), text.into()),
        };
        if text.contains('\n') {
            state::keep_source(self.host.lua(), name.trim_start_matches('='), text.as_bytes());
        }
        let ending = match self.host.results(&chunk, &[]) {
            Ok(values) => self.print(&values),
            Err(ending) => ending,
        };
        self.host.resume();
        let is_local = text.starts_with("local ") && ending == Ending::Done;
        if is_local && !self.is_told_of_locals.replace(true) {
            output::line_to_stderr("note: a local variable ends with its line; without `local` it stays");
        }
        ending
    }

    /// Takes back that somebody asked to stop what ran before.
    pub fn resume(&self) {
        self.host.resume();
    }

    /// What may stand at the end of `text`.
    pub fn completions(&self, text: &str) -> Completions {
        completion::complete(self.host.lua(), &self.api, &self.names, text)
    }

    fn print(&self, values: &MultiValue) -> Ending {
        let lua = self.host.lua();
        let mut text = String::new();
        for value in values {
            match show::value(&self.names, value, width()) {
                Ok(shown) => text += &format!("{shown}\n"),
                Err(error) => {
                    return match state::stopping(lua) {
                        Some(stop) => Ending::Stopped(stop),
                        None => Ending::Failed(failure(lua, error)),
                    };
                }
            }
        }
        match output::write_stdout(&shown::lines(&text)) {
            Ok(()) => Ending::Done,
            Err(source) => Ending::Failed(Failure::of(&crate::Error::Output { source }.into())),
        }
    }
}

/// The failure of a metamethod that was asked how a value looks.
fn failure(lua: &Lua, error: anyhow::Error) -> Failure {
    match raise::value_of(lua, &error) {
        Ok(value) => raise::describe(lua, &value),
        Err(error) => Failure::of(&error.into()),
    }
}
