//! Policies that somebody else wrote, each run in a process of its own.
//!
//! A process is the one thing that can be ended whatever it does: no hook sees the inside of Lua's own functions, of which a
//! pattern, a sort, a concatenation or a move can take any time. The process gets its input through a pipe, reaches no file, and
//! is killed when its time is over; the script that asked goes on with an ordinary error.

mod message;
mod process;
mod worker;

pub(super) use message::{PolicyAnswer, PolicyChoice, PolicyRequest, source_text};
pub(super) use process::ask;
pub use worker::answer_request;
