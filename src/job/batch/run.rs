//! Jobs on their way: which begin, which have ended, and which are asked to stop.

use std::collections::VecDeque;
use std::fs;
use std::thread;
use std::time::Duration;

use super::job::{BatchJob, BatchOptions, JobEnd};
use super::nesting;
use super::process::{JobProcess, log};
use crate::error::{Error, Result};
use crate::{input, interrupt};

/// How long to wait between two looks at the processes.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Hears how a batch goes on.
pub trait BatchListener {
    /// So many jobs begin.
    fn begin(&self, jobs: usize);
    /// These run now.
    fn running(&self, names: &[&str]);
    /// One has ended.
    fn ended(&self, job: &JobEnd);
    /// All have, or no more will.
    fn end(&self);
}

/// Runs `jobs` in their order, as far as those before them leave workers and directories free, and gives how each ended, in the
/// order in which they are given. After a wish to stop all that run are asked to, and no other begins: those have no end.
///
/// # Errors
/// [`Error::Refused`] when the logs can go to no directory, and when this is a job of a job of a job; [`Error::Io`] when there can be
/// no folder for logs, or the system says nothing of a process; what runs is stopped then.
pub fn run_batch(
    jobs: &[BatchJob],
    options: &BatchOptions,
    listener: &dyn BatchListener,
) -> Result<Vec<Option<JobEnd>>> {
    nesting::require_shallow()?;
    if options.logs.symlink_metadata().is_ok()
        && let Some(what) = input::no_directory(&options.logs)
    {
        return Err(Error::refused(format!("the logs cannot go to `{}`: it {what}", options.logs.display()))
            .with_hint("name a directory, which is made where there is none"));
    }
    fs::create_dir_all(&options.logs).map_err(|e| Error::io("create", &options.logs, e))?;
    let mut ends: Vec<Option<JobEnd>> = vec![None; jobs.len()];
    let mut waiting: VecDeque<usize> = (0..jobs.len()).collect();
    let mut running: Vec<(usize, JobProcess)> = Vec::new();
    let mut is_told = false;
    listener.begin(jobs.len());
    loop {
        if interrupt::requested() && !is_told {
            is_told = true;
            waiting.clear();
            running.iter().for_each(|(_, process)| process.ask_to_stop());
        }
        let mut has_begun = false;
        while running.len() < options.workers
            && let Some(at) = next(jobs, &mut waiting, &running)
        {
            // One that cannot begin costs itself alone.
            match JobProcess::begin(&jobs[at], options) {
                Ok(process) => running.push((at, process)),
                Err(error) => {
                    let hint = error.hint().map_or(String::new(), |hint| format!(" ({hint})"));
                    let end = JobEnd {
                        name: jobs[at].name.clone(),
                        code: Some(1),
                        seconds: 0.0,
                        message: Some(format!("{error}{hint}")),
                        log: log(&jobs[at], options),
                    };
                    listener.ended(&end);
                    ends[at] = Some(end);
                }
            }
            has_begun = true;
        }
        let mut still = Vec::new();
        let before = running.len();
        for (at, mut process) in running {
            match process.end(&jobs[at].name)? {
                Some(end) => {
                    listener.ended(&end);
                    ends[at] = Some(end);
                }
                None => still.push((at, process)),
            }
        }
        running = still;
        if running.is_empty() && waiting.is_empty() {
            listener.end();
            return Ok(ends);
        }
        if has_begun || running.len() != before {
            let names: Vec<&str> = running.iter().map(|(at, _)| jobs[*at].name.as_str()).collect();
            listener.running(&names);
        }
        if running.len() == before {
            thread::sleep(BETWEEN_LOOKS);
        }
    }
}

/// Takes the first job off `waiting` that writes to nothing that one of `running` writes to.
fn next(jobs: &[BatchJob], waiting: &mut VecDeque<usize>, running: &[(usize, JobProcess)]) -> Option<usize> {
    let is_free = |at: &usize| {
        let writes = &jobs[*at].writes;
        writes.is_none() || running.iter().all(|(other, _)| jobs[*other].writes != *writes)
    };
    let position = waiting.iter().position(is_free)?;
    waiting.remove(position)
}
