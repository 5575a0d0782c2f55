//! Lua: the state that scripts run in, the registry that every function is declared in, and the API itself.
//!
//! The only room that knows mlua. A namespace is one file in `api/`; [`declare`] is the vocabulary it is written in.

mod absent;
pub mod api;
pub mod batch_progress;
mod call;
mod chunk;
pub mod colour;
pub mod declare;
pub mod docs;
pub mod embedded;
mod failure;
mod host;
mod host_functions;
mod install;
pub mod jobs;
pub mod log_file;
pub mod output;
mod policy_process;
pub mod progress;
mod raise;
mod rows;
pub mod sandbox;
mod session;
mod state;
mod step_progress;
mod types;
mod values;

pub use call::Call;
pub use chunk::Chunk;
pub use failure::Failure;
pub use host::{Ending, Host};
pub use policy_process::answer_request;
pub use rows::{Row, ToRow};
pub use session::{Completions, Session, Suggestion};
pub use state::{ScriptStop, Thrown, Verbosity, policy, verbosity};
pub use types::{Key, Record, Type};
pub use values::{Callback, Handle, Plain, Selector, Tidy};

#[cfg(test)]
mod tests;
