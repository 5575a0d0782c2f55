//! Sandboxes: what a script that nobody has read may use.
//!
//! A guard rail for mistakes and for scripts of strangers, not a boundary that hostile code could not find a way through.

mod clock;
mod landlock;
mod limits;
mod memory;
mod roots;
mod usage;
mod watchdog;

pub(super) use clock::ScriptClock;
pub use clock::is_stuck;
pub use landlock::restrict;
pub use limits::{Limits, ScriptLimit};
pub(super) use memory::MemoryGuard;
pub use roots::{PathUse, Roots};
pub use usage::ProcessUsage;
pub(super) use watchdog::{Watchdog, WatchdogEnd};
