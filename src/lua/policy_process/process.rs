//! The side of the script that asks.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::message::{PolicyAnswer, PolicyRequest};
use super::worker::{SPENT_MEMORY, SPENT_TIME};
use crate::error::{Error, Result};
use crate::interrupt;

/// How long a process may take beside the time of the policy: to begin, and to read what it is asked.
const ALLOWANCE: Duration = Duration::from_secs(10);
/// More than any answer has; it is a name for each group.
const MOST_BYTES: u64 = 1 << 30;

/// A process that does not outlive whoever waits for it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the policy of `request` answers.
///
/// # Errors
/// [`Error::Limit`] when it used up its time or memory, [`Error::Interrupted`] after a wish to stop, [`Error::Io`] when there can
/// be no process.
pub fn ask(request: &PolicyRequest) -> Result<PolicyAnswer> {
    let failed = |error| Error::io("run", "/proc/self/exe", error);
    let mut command = Command::new("/proc/self/exe");
    command.arg("--policy-worker").env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = Killed(command.spawn().map_err(failed)?);
    let (input, output) = (process.0.stdin.take(), process.0.stdout.take());
    let question = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
    let limit = Duration::from_secs_f64(request.seconds) + ALLOWANCE;
    let begun = Instant::now();
    thread::scope(|scope| {
        // Where the process ends early, its answer or its exit code says more than the pipe.
        scope.spawn(move || input.map(|mut input| input.write_all(&question)));
        let answer = scope.spawn(move || {
            let mut text = Vec::new();
            output.map(|output| output.take(MOST_BYTES).read_to_end(&mut text));
            text
        });
        let status = loop {
            if let Some(status) = process.0.try_wait().map_err(failed)? {
                break Some(status);
            }
            // A long answer fills the pipe, and the process ends once it is read.
            if begun.elapsed() > limit {
                break None;
            }
            if let Err(error) = interrupt::check() {
                drop(process);
                return Err(error);
            }
            thread::sleep(Duration::from_millis(2));
        };
        drop(process);
        let text = answer.join().unwrap_or_default();
        let spent = |what: String| Error::Limit {
            problem: format!("the policy `{}` used up {what}", request.name),
            hint: None,
        };
        match status.map(|status| status.code()) {
            Some(Some(0)) => serde_json::from_slice(&text).map_err(|error| {
                Error::format(&request.name, format!("gave an answer that is none: {error}"))
            }),
            None | Some(Some(SPENT_TIME)) => {
                Err(spent(format!("the {} s that it may take", request.seconds))
                    .with_hint("the option `seconds` of qlua.policy.load allows more"))
            }
            Some(Some(SPENT_MEMORY) | None) => Err(spent("the memory that it may use".into())
                .with_hint("the option `memory` of qlua.policy.load allows more")),
            Some(Some(code)) => {
                Err(Error::refused(format!("the process of the policy `{}` ended with {code}", request.name)))
            }
        }
    })
}
