//! The time that a script itself takes, as others of its process see it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::limits::ScriptLimit;

/// What a call that is not counted costs all the same, so that an endless loop of them ends.
const FEE: u64 = 50;

/// Runs while a script runs, and stands while qlua works on weights for it. The script's thread sets it; a watchdog reads it.
#[derive(Debug, Default)]
pub struct ScriptClock {
    /// Since when it runs, in milliseconds of the process and never 0; 0 while it stands.
    since: AtomicU64,
    /// Milliseconds that it ran before.
    before: AtomicU64,
    /// How many calls are under way that must not be cut off.
    held: AtomicUsize,
    /// What a watchdog found to be used up first.
    pub over: OnceLock<ScriptLimit>,
}

/// Puts the clock back into the state it was in.
pub struct ClockGuard<'a> {
    clock: &'a ScriptClock,
    was_running: bool,
    holds: bool,
}

impl Drop for ClockGuard<'_> {
    fn drop(&mut self) {
        self.clock.held.fetch_sub(usize::from(self.holds), SeqCst);
        self.clock.set(self.was_running);
    }
}

impl ScriptClock {
    /// Lets it run, until the guard goes.
    pub fn run(&self) -> ClockGuard<'_> {
        ClockGuard { clock: self, was_running: self.set(true), holds: false }
    }

    /// Stops it for a small fee, until the guard goes.
    pub fn stand(&self) -> ClockGuard<'_> {
        self.before.fetch_add(FEE, SeqCst);
        ClockGuard { clock: self, was_running: self.set(false), holds: false }
    }

    /// Lets nobody cut the script off, until the guard goes; the time counts.
    pub fn hold(&self) -> ClockGuard<'_> {
        self.held.fetch_add(1, SeqCst);
        ClockGuard { clock: self, was_running: self.since.load(SeqCst) != 0, holds: true }
    }

    /// The time that it ran so far.
    pub fn elapsed(&self) -> Duration {
        let since = self.since.load(SeqCst);
        let running = if since == 0 { 0 } else { now().saturating_sub(since) };
        Duration::from_millis(self.before.load(SeqCst) + running)
    }

    /// Whether the script may be cut off: it runs, and nothing that it called would be left half done.
    pub fn may_be_cut_off(&self) -> bool {
        self.since.load(SeqCst) != 0 && self.held.load(SeqCst) == 0
    }

    /// Makes this the clock that [`is_stuck`] looks at.
    pub fn show(self: &Arc<Self>) {
        *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(self);
    }

    /// Sets whether it runs, and tells whether it did.
    fn set(&self, runs: bool) -> bool {
        let since = self.since.load(SeqCst);
        match (since, runs) {
            (0, true) => self.since.store(now(), SeqCst),
            (since, false) if since != 0 => {
                self.before.fetch_add(now().saturating_sub(since), SeqCst);
                self.since.store(0, SeqCst);
            }
            _ => {}
        }
        since != 0
    }
}

static SHOWN: Mutex<Weak<ScriptClock>> = Mutex::new(Weak::new());

/// Milliseconds since the first question, counted from 1.
fn now() -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    1 + BEGIN.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// Waits until the script of this process has run for so long in spite of a wish to stop: it is then in a function of Lua's own
/// library, where no hook sees the wish. False when no script runs any more. Nothing is half written where this gives true.
pub fn is_stuck(patience: Duration) -> bool {
    let shown = || SHOWN.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
    let mut since = Instant::now();
    while let Some(clock) = shown() {
        if !clock.may_be_cut_off() {
            since = Instant::now();
        } else if since.elapsed() >= patience {
            return true;
        }
        drop(clock);
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
