//! How a run of a model shows how far it is: a bar on a terminal, about ten lines elsewhere, the log alone when quiet.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::{Verbosity, log_file, output};
use crate::error::Result;

const BAR: &str = "{msg} [{wide_bar}] {pos}/{len} {elapsed} {eta}";
/// Lines of runs that take less would tell nobody anything.
const SECONDS: f64 = 2.0;

/// Does `work`, a run of `steps` steps or so that is called `what`, `scored` for instance, when it is over: `work` calls what it is
/// given after each of them.
///
/// # Errors
/// Those of `work`.
pub(super) fn in_steps<T>(
    verbosity: Verbosity,
    what: &'static str,
    steps: usize,
    work: impl FnOnce(&mut dyn FnMut()) -> Result<T>,
) -> Result<T> {
    let mut progress = StepProgress::new(what, steps, verbosity);
    let done = work(&mut || progress.step())?;
    progress.end();
    Ok(done)
}

/// Counts the steps of a run; what is drawn of it goes with it.
struct StepProgress {
    what: &'static str,
    steps: u64,
    done: u64,
    begun: Instant,
    display: StepDisplay,
}

/// Where it is shown.
enum StepDisplay {
    /// On a terminal, from the first step on: what is said before has its own line.
    Bar(Option<ProgressBar>),
    Lines,
    Log,
}

impl StepProgress {
    fn new(what: &'static str, steps: usize, verbosity: Verbosity) -> Self {
        let display = match verbosity {
            Verbosity::Quiet => StepDisplay::Log,
            _ if std::io::stderr().is_terminal() => StepDisplay::Bar(None),
            _ => StepDisplay::Lines,
        };
        StepProgress { what, steps: steps.max(1) as u64, done: 0, begun: Instant::now(), display }
    }

    fn step(&mut self) {
        // How many groups are scored is an estimate.
        self.done = (self.done + 1).min(self.steps);
        if let StepDisplay::Bar(bar) = &mut self.display {
            bar.get_or_insert_with(|| drawn(self.what, self.steps)).set_position(self.done);
        } else if self.is_long()
            && self.done < self.steps
            && self.done.is_multiple_of(self.steps.div_ceil(10))
        {
            let seconds = self.begun.elapsed().as_secs_f64();
            self.say(&format!("{}: {} of {} steps in {seconds:.0} s", self.what, self.done, self.steps));
        }
    }

    fn end(mut self) {
        self.clear();
        if self.is_long() || matches!(self.display, StepDisplay::Bar(_)) {
            self.say(&format!("{} in {:.1} s", self.what, self.begun.elapsed().as_secs_f64()));
        }
    }

    fn is_long(&self) -> bool {
        self.begun.elapsed().as_secs_f64() > SECONDS
    }

    fn say(&self, line: &str) {
        match self.display {
            StepDisplay::Log => log_file::write(line),
            _ => output::line_to_stderr(line),
        }
    }

    fn clear(&mut self) {
        if let StepDisplay::Bar(bar) = &mut self.display {
            bar.take().inspect(ProgressBar::finish_and_clear);
        }
    }
}

impl Drop for StepProgress {
    fn drop(&mut self) {
        // Left there, it would stand before an error on one line.
        self.clear();
    }
}

fn drawn(what: &'static str, steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps).with_message(what);
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
