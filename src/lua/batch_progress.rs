//! How a batch shows its progress: one bar on a terminal, a line for each job elsewhere, nothing when quiet.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Verbosity, output};
use crate::job::batch::{BatchListener, JobEnd};
use crate::shown;

/// The most columns of the names beside the bar.
const NAMES: usize = 40;
const BAR: &str = "{pos}/{len} [{bar:16}] {elapsed} {wide_msg}";

/// The listener that suits standard error and `verbosity`.
pub fn batch_listener(verbosity: Verbosity) -> Box<dyn BatchListener> {
    match verbosity {
        Verbosity::Quiet => Box::new(Failures),
        _ if std::io::stderr().is_terminal() => Box::new(JobBar(Mutex::new(None))),
        _ => Box::new(JobLines(Mutex::new((0, 0)))),
    }
}

/// What is said of a job that has ended.
fn line(job: &JobEnd) -> String {
    let name = &job.name;
    let text = match &job.message {
        None => format!("{name}: ok in {:.1} s", job.seconds),
        Some(message) => format!("{name}: failed after {:.1} s: {message}", job.seconds),
    };
    shown::line(&text).into_owned()
}

/// Says nothing but what failed.
struct Failures;

impl BatchListener for Failures {
    fn begin(&self, _: usize) {}
    fn running(&self, _: &[&str]) {}
    fn ended(&self, job: &JobEnd) {
        if !job.is_ok() {
            output::line_to_stderr(&line(job));
        }
    }
    fn end(&self) {}
}

/// A line for each job that ends: how many have, and of how many.
struct JobLines(Mutex<(usize, usize)>);

impl BatchListener for JobLines {
    fn begin(&self, jobs: usize) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (0, jobs);
    }

    fn running(&self, _: &[&str]) {}

    fn ended(&self, job: &JobEnd) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.0 += 1;
        output::line_to_stderr(&format!("{}/{} {}", counts.0, counts.1, line(job)));
    }

    fn end(&self) {}
}

/// A bar over all jobs, with the names of those that run.
struct JobBar(Mutex<Option<ProgressBar>>);

impl JobBar {
    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            act(bar);
        }
    }
}

impl BatchListener for JobBar {
    fn begin(&self, jobs: usize) {
        let bar = ProgressBar::new(jobs as u64);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(std::time::Duration::from_secs(1));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    fn running(&self, names: &[&str]) {
        let names = shown::line(&names.join(", ")).into_owned();
        let shown = match names.chars().count() > NAMES {
            true => format!("{}…", names.chars().take(NAMES - 1).collect::<String>()),
            false => names,
        };
        self.with(|bar| bar.set_message(shown));
    }

    fn ended(&self, job: &JobEnd) {
        self.with(|bar| {
            bar.suspend(|| output::line_to_stderr(&line(job)));
            bar.inc(1);
        });
    }

    fn end(&self) {
        self.with(ProgressBar::finish_and_clear);
    }
}
