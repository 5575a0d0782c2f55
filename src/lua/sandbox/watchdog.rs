//! Ends what no hook sees: a pattern that goes back and forth, a sort or a concatenation of what is not there, memory that is
//! not Lua's own.

use std::fs::File;
use std::io::{Read, Seek};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use super::clock::ScriptClock;
use super::limits::{Limits, ScriptLimit};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long a script has to end by itself after its time is over, as most do at their next instructions.
const GRACE: Duration = Duration::from_millis(1000);
/// What qlua itself may use beside the memory of Lua.
const OWN_MEMORY: u64 = 1 << 30;

/// What ends the process; it does not return.
pub type WatchdogEnd = fn(ScriptLimit, &Limits) -> !;

/// A thread that watches the script of one Lua state.
pub struct Watchdog {
    clock: Weak<ScriptClock>,
    limits: Limits,
    end: WatchdogEnd,
    /// What the kernel says of the memory of this process.
    statm: Option<File>,
}

impl Watchdog {
    /// A watchdog for the script of `clock`, which is not watching yet. What it reads it opens now, while it may.
    pub fn new(clock: &Arc<ScriptClock>, limits: Limits, end: WatchdogEnd) -> Watchdog {
        Watchdog { clock: Arc::downgrade(clock), limits, end, statm: File::open("/proc/self/statm").ok() }
    }

    /// Watches until the state is gone.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start(mut self) -> std::io::Result<()> {
        let watch = move || {
            while let Some(clock) = self.clock.upgrade() {
                let elapsed = clock.elapsed();
                let over = |grace| self.limits.time.is_some_and(|time| elapsed > time + grace);
                if over(Duration::ZERO) {
                    clock.over.store(true, SeqCst);
                }
                if clock.may_be_cut_off() {
                    if over(GRACE) {
                        (self.end)(ScriptLimit::Time, &self.limits);
                    }
                    if self.own_memory().is_some_and(|own| own > self.limits.memory as u64 + OWN_MEMORY) {
                        (self.end)(ScriptLimit::Memory, &self.limits);
                    }
                }
                drop(clock);
                thread::sleep(INTERVAL);
            }
        };
        thread::Builder::new().name("watchdog".into()).spawn(watch).map(drop)
    }

    /// Bytes in memory that are no part of a file.
    fn own_memory(&mut self) -> Option<u64> {
        let statm = self.statm.as_mut()?;
        let mut text = String::new();
        statm.rewind().ok()?;
        statm.read_to_string(&mut text).ok()?;
        let mut pages = text.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
        let (resident, of_files) = (pages.next()?, pages.next()?);
        Some(resident.saturating_sub(of_files) * page_size())
    }
}

fn page_size() -> u64 {
    // SAFETY: the call reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
