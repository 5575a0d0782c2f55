//! The process of a job.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::job::{BatchJob, BatchOptions, JobEnd};
use super::nesting;
use crate::error::{Error, Result};
use crate::interrupt::Cleanup;

/// This program, whatever became of its file since.
const PROGRAM: &str = "/proc/self/exe";
/// How an error begins on standard error.
const ERROR: &str = "qlua: error: ";
/// How long a process that is to end at once may take to clean up.
const PATIENCE: Duration = Duration::from_secs(4);

/// A process that runs a job. It does not outlive this one.
pub(super) struct JobProcess {
    child: Child,
    failure: Option<JoinHandle<Option<String>>>,
    begun: Instant,
    log: PathBuf,
    /// Keeps the log for this job, until it is dropped.
    _held: File,
    /// Ends the process when this one has to end at once.
    cleanup: Option<Cleanup>,
}

impl JobProcess {
    /// Begins `job`.
    ///
    /// # Errors
    /// [`Error::Io`] when its log cannot be written, or there can be no process; [`Error::Refused`] when a job of another batch
    /// writes that log.
    pub fn begin(job: &BatchJob, options: &BatchOptions) -> Result<Self> {
        let log = log(job, options);
        let unwritten = |error| Error::io("write", &log, error);
        let held =
            OpenOptions::new().write(true).create(true).truncate(false).open(&log).map_err(unwritten)?;
        match held.try_lock() {
            Err(TryLockError::WouldBlock) => {
                let problem = format!("another batch writes `{}`", log.display());
                return Err(
                    Error::refused(problem).with_hint("wait for it, or give another folder for the logs")
                );
            }
            // Some file systems have no locks.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        held.set_len(0).map_err(unwritten)?;
        let append = || OpenOptions::new().append(true).open(&log).map_err(unwritten);
        let mut command = Command::new(PROGRAM);
        command.arg0("qlua").args(&job.words).stdin(Stdio::null()).stdout(append()?).stderr(Stdio::piped());
        command.env("RAYON_NUM_THREADS", options.threads_each().to_string());
        command.env(nesting::DEPTH, nesting::below().to_string());
        // Ctrl-C reaches this process alone, which passes it on once: a second one would end the jobs at once.
        command.process_group(0);
        end_with_parent(&mut command);
        let make = || command.spawn().map_err(|error| Error::io("run", PROGRAM, error));
        let (mut child, cleanup) = Cleanup::make(make, |child| {
            let process = child.id();
            move || end_at_once(process)
        })?;
        let failure = match child.stderr.take() {
            Some(said) => {
                let log = append()?;
                Some(thread::spawn(move || failure(said, log)))
            }
            None => None,
        };
        Ok(JobProcess { child, failure, begun: Instant::now(), log, _held: held, cleanup: Some(cleanup) })
    }

    /// Asks it to stop after its current step.
    pub fn ask_to_stop(&self) {
        signal(self.child.id(), libc::SIGTERM);
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// [`Error::Io`] from the operating system.
    pub fn end(&mut self, name: &str) -> Result<Option<JobEnd>> {
        let status = self.child.try_wait().map_err(|error| Error::io("wait for", PROGRAM, error))?;
        let Some(status) = status else { return Ok(None) };
        drop(self.cleanup.take());
        let said = self.failure.take().and_then(|failure| failure.join().ok()).flatten();
        let message = match (status.code(), status.signal()) {
            (Some(0), _) => None,
            (Some(130), _) => Some("interrupted".into()),
            (Some(code), _) => Some(said.unwrap_or_else(|| format!("ended with exit code {code}"))),
            (None, signal) => Some(format!("ended by signal {}", signal.unwrap_or(0))),
        };
        Ok(Some(JobEnd {
            name: name.into(),
            code: status.code(),
            seconds: self.begun.elapsed().as_secs_f64(),
            message,
            log: self.log.clone(),
        }))
    }
}

impl Drop for JobProcess {
    /// What is left when a batch fails is stopped, and waited for.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.ask_to_stop();
            let _ = self.child.wait();
        }
    }
}

/// Where all that `job` says is kept.
pub(super) fn log(job: &BatchJob, options: &BatchOptions) -> PathBuf {
    options.logs.join(format!("{}.log", job.name))
}

/// Copies what is `said` on standard error to `log` and gives the last error, with its hint.
fn failure(said: ChildStderr, mut log: File) -> Option<String> {
    let mut found: Option<String> = None;
    for line in BufReader::new(said).split(b'\n') {
        let Ok(line) = line else { break };
        // A full disk is no reason to stop the job: it says so itself, where it writes.
        let _ = log.write_all(&[&line[..], b"\n"].concat());
        let line = String::from_utf8_lossy(&line);
        match (line.strip_prefix(ERROR), line.strip_prefix("  hint: "), &mut found) {
            (Some(message), ..) => found = Some(message.into()),
            (None, Some(hint), Some(found)) => found.push_str(&format!(" ({hint})")),
            _ => {}
        }
    }
    found
}

fn signal(process: u32, signal: i32) {
    let Ok(process) = i32::try_from(process) else { return };
    // SAFETY: a call without memory. The process was started here and not waited for yet, so the number is still its own.
    unsafe { libc::kill(process, signal) };
}

/// The second wish to stop, which a process of qlua takes as one to end at once; then there is no other choice.
fn end_at_once(process: u32) {
    signal(process, libc::SIGTERM);
    let begun = Instant::now();
    let is_there = || std::path::Path::new(&format!("/proc/{process}")).exists() && !is_dead(process);
    while is_there() && begun.elapsed() < PATIENCE {
        signal(process, libc::SIGTERM);
        thread::sleep(Duration::from_millis(50));
    }
    if is_there() {
        signal(process, libc::SIGKILL);
    }
}

/// Whether the process has ended and nobody has asked how.
fn is_dead(process: u32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}

/// Has the process stop when this one is gone, however it ended.
#[cfg(target_os = "linux")]
fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls are made that are allowed there, and no memory is touched.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // It may have gone before that was asked for.
            match u32::try_from(libc::getppid()) == Ok(parent) {
                true => Ok(()),
                false => Err(std::io::ErrorKind::Interrupted.into()),
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_parent(_: &mut Command) {}
