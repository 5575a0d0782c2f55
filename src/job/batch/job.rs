//! What a batch is made of, and how its jobs end.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// More workers than this help nobody.
const MOST_WORKERS: usize = 256;

/// One run of qlua.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchJob {
    /// What it is called; no two of a batch have one name.
    pub name: String,
    /// The command line, without the program.
    pub words: Vec<OsString>,
    /// What it writes into: jobs with the same are never run at once. Nothing where that is not known.
    pub writes: Option<String>,
}

/// How a batch is run.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// Jobs that run at a time.
    pub workers: usize,
    /// Threads of all of them together.
    pub threads: usize,
    /// The directory of the logs, one a job: all that it writes to standard output and standard error.
    pub logs: PathBuf,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JobEnd {
    /// Its name.
    pub name: String,
    /// Its exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, in a sentence; nothing where it did not.
    pub message: Option<String>,
    /// Where all that it said is kept.
    pub log: PathBuf,
}

impl JobEnd {
    /// Whether it did what it was to do.
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }
}

impl BatchOptions {
    /// Threads of each job.
    pub fn threads_each(&self) -> usize {
        (self.threads / self.workers.max(1)).max(1)
    }

    /// Fails unless there are between one and 256 workers.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn require_workers(given: i64) -> Result<usize> {
        match usize::try_from(given).ok().filter(|workers| (1..=MOST_WORKERS).contains(workers)) {
            Some(workers) => Ok(workers),
            None => Err(Error::usage(format!("workers must be from 1 to {MOST_WORKERS}, not {given}"))
                .with_hint("one job at a time is 1")),
        }
    }
}
