//! The wish to stop: set once by Ctrl-C or a termination signal, and asked for wherever work can end early. And what is to be
//! taken off the disk when the process ends at once, because somebody asked a second time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

use crate::error::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks all work of this process to stop. The wish stays until it is withdrawn.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Takes the wish back, once all work that it was for has ended.
pub fn withdraw() {
    REQUESTED.store(false, Ordering::SeqCst);
}

/// Whether somebody asked to stop.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Gives the error to return when somebody asked to stop. Cheap: call it once per tensor or per megabyte.
///
/// # Errors
/// [`Error::Interrupted`] after [`request`].
pub fn check() -> Result<()> {
    if requested() { Err(Error::Interrupted) } else { Ok(()) }
}

type Removal = (u64, Box<dyn Fn() + Send>);

static CLEANUPS: Mutex<Vec<Removal>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Something on the disk that would be in the way if the process ended now, and how it is removed. Registered until it is
/// dropped or concluded.
#[derive(Debug)]
pub struct Cleanup(u64);

impl Cleanup {
    /// Has `remove` called by [`clean_up`], from another thread and while all others go on.
    pub fn register(remove: impl Fn() + Send + 'static) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        cleanups().push((number, Box::new(remove)));
        Cleanup(number)
    }

    /// Makes something by `make` and has what `removal` gives for it called by [`clean_up`], which never comes between the two.
    /// `make` is to be short, and not to register anything.
    ///
    /// # Errors
    /// That of `make`; nothing is registered then.
    pub fn make<T, R: Fn() + Send + 'static>(
        make: impl FnOnce() -> Result<T>,
        removal: impl FnOnce(&T) -> R,
    ) -> Result<(T, Self)> {
        let mut cleanups = cleanups();
        let made = make()?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        cleanups.push((number, Box::new(removal(&made))));
        Ok((made, Cleanup(number)))
    }

    /// Ends the need for the cleanup by `work`, which [`clean_up`] waits for: it is to be short, and not to register anything.
    pub fn conclude<T>(self, work: impl FnOnce() -> T) -> T {
        let mut cleanups = cleanups();
        cleanups.retain(|(number, _)| *number != self.0);
        // The lock is held already.
        std::mem::forget(self);
        work()
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        cleanups().retain(|(number, _)| *number != self.0);
    }
}

/// Does every registered cleanup, the latest first. The process has to end right after: nothing can be registered or concluded
/// any more, so that nobody publishes what is being removed.
pub fn clean_up() {
    let cleanups = cleanups();
    for (_, remove) in cleanups.iter().rev() {
        remove();
    }
    std::mem::forget(cleanups);
}

fn cleanups() -> MutexGuard<'static, Vec<Removal>> {
    CLEANUPS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
