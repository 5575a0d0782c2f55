//! An error that nobody caught, ready to be printed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::error::Error;
use crate::shown;

/// An uncaught error, ready to be printed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failure {
    /// The stable word for the kind of error (`Error::kind`), `"script"` for what scripts and Lua itself raise.
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Positions as `scripts/x.lua:12`, the user's own script first.
    pub at: Vec<String>,
    /// What stands at these positions, where that is known.
    pub code: BTreeMap<String, String>,
}

/// The most characters of a line of code that are shown.
const LONGEST_CODE: usize = 100;

impl Failure {
    /// A failure without positions.
    pub fn of(error: &anyhow::Error) -> Failure {
        let (kind, message, hint) = parts(error);
        Failure { kind, message, hint, ..Failure::default() }
    }

    /// A sentence of qlua's is one line whatever names are in it; what scripts raise may have several.
    fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.kind.as_str() {
            "script" | "syntax" | "usage" | "error" => Cow::Owned(shown::indented(text)),
            _ => shown::line(text),
        }
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "qlua: error: {}", self.shown(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {}", self.shown(hint))?;
        }
        // A mistake on the command line is not one of the script that found it.
        if self.kind != "usage" {
            for position in &self.at {
                write!(f, "\n  at {}", shown::line(position))?;
                if let Some(code) = self.code.get(position) {
                    let cut = code.chars().count() > LONGEST_CODE;
                    let code: String = code.chars().take(LONGEST_CODE).collect();
                    write!(f, " | {}{}", shown::line(&code), if cut { "…" } else { "" })?;
                }
            }
        }
        Ok(())
    }
}

/// Kind, message and hint of `error`.
pub(super) fn parts(error: &anyhow::Error) -> (String, String, Option<String>) {
    let mut context: Vec<String> = Vec::new();
    for cause in error.chain() {
        let known = if let Some(e) = cause.downcast_ref::<Error>() {
            Some((e.kind(), e.to_string(), e.hint()))
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
