//! A batch: runs of qlua as processes of their own, so many at a time, on past those that fail.

mod job;
mod nesting;
mod process;
mod run;
mod share;

pub use job::{BatchJob, BatchOptions, JobEnd};
pub use run::{BatchListener, run_batch};
pub use share::MachineShare;
