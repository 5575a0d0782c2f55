//! Ends what no hook sees: a pattern that goes back and forth, a sort or a concatenation of what is not there, memory that is
//! not Lua's own, and what qlua itself does for a script without end.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use super::clock::ScriptClock;
use super::limits::{Limits, ScriptLimit};
use super::usage::ProcessUsage;
use crate::interrupt;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long a script has to end by itself after its time is over, as most do at their next instructions.
const GRACE: Duration = Duration::from_millis(1000);
/// How long what qlua does for a script has to end by itself: it asks for a wish to stop after each tensor or megabyte.
const PATIENCE: Duration = Duration::from_secs(5);
/// What qlua itself may use beside the memory of Lua.
const OWN_MEMORY: u64 = 1 << 30;

/// What ends the process; it does not return.
pub type WatchdogEnd = fn(ScriptLimit, &Limits) -> !;

/// A thread that watches the script of one Lua state.
pub struct Watchdog {
    clock: Weak<ScriptClock>,
    limits: Limits,
    end: WatchdogEnd,
    usage: ProcessUsage,
    begun: Instant,
    written_before: u64,
    /// Since when a limit is used up that holds for what qlua does, too.
    over: Option<Instant>,
}

impl Watchdog {
    /// A watchdog for the script of `clock`, which is not watching yet. What it reads it opens now, while it may.
    pub fn new(clock: &Arc<ScriptClock>, limits: Limits, end: WatchdogEnd) -> Watchdog {
        let mut usage = ProcessUsage::open();
        let written_before = usage.written().unwrap_or(0);
        let (clock, begun) = (Arc::downgrade(clock), Instant::now());
        Watchdog { clock, limits, end, usage, begun, written_before, over: None }
    }

    /// Watches until the state is gone.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start(mut self) -> std::io::Result<()> {
        let watch = move || {
            while let Some(clock) = self.clock.upgrade() {
                self.watch_script(&clock);
                self.watch_all(&clock);
                drop(clock);
                thread::sleep(INTERVAL);
            }
        };
        thread::Builder::new().name("watchdog".into()).spawn(watch).map(drop)
    }

    /// Ends what the script itself does without end.
    fn watch_script(&mut self, clock: &ScriptClock) {
        let elapsed = clock.elapsed();
        let over = |grace| self.limits.time.is_some_and(|time| elapsed > time + grace);
        if over(Duration::ZERO) {
            // What was used up first counts.
            let _ = clock.over.set(ScriptLimit::Time);
        }
        if clock.may_be_cut_off() {
            if over(GRACE) {
                (self.end)(ScriptLimit::Time, &self.limits);
            }
            let most = self.limits.memory as u64 + OWN_MEMORY;
            if self.usage.memory().is_some_and(|own| own > most) {
                (self.end)(ScriptLimit::Memory, &self.limits);
            }
        }
    }

    /// Ends all that goes on for too long or writes too much, whoever does it: first by a wish, then for good.
    fn watch_all(&mut self, clock: &ScriptClock) {
        let Some(since) = self.over else {
            if let Some(limit) = self.used_up() {
                let _ = clock.over.set(limit);
                interrupt::request();
                self.over = Some(Instant::now());
            }
            return;
        };
        let grace = if clock.may_be_cut_off() { GRACE } else { PATIENCE };
        if since.elapsed() > grace {
            (self.end)(clock.over.get().copied().unwrap_or(ScriptLimit::Total), &self.limits);
        }
    }

    /// What is used up of what holds for the whole process.
    fn used_up(&mut self) -> Option<ScriptLimit> {
        if self.limits.total.is_some_and(|total| self.begun.elapsed() > total) {
            return Some(ScriptLimit::Total);
        }
        let most = self.limits.written?;
        let written = self.usage.written()?.saturating_sub(self.written_before);
        (written > most).then_some(ScriptLimit::Written)
    }
}
