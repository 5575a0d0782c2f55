//! Pages of 2 MiB that the system gives on its own: this process does without, for the sake of its memory, and what it runs gets
//! them as this process was given them. The system would have it inherit that it does without.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process was given them, and does without.
static REFUSED: AtomicBool = AtomicBool::new(false);

/// Does without from now on.
pub fn refuse() {
    let refused = was_given() && set_disabled(true);
    REFUSED.store(refused, Ordering::Relaxed);
}

/// Has what is run between `lend(true)` and `lend(false)` get them where this process was given them.
pub(crate) fn lend(lent: bool) {
    if REFUSED.load(Ordering::Relaxed) {
        set_disabled(!lent);
    }
}

#[cfg(target_os = "linux")]
fn was_given() -> bool {
    // SAFETY: a number is asked for; kernels without it answer that it is an error.
    unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0 }
}

#[cfg(target_os = "linux")]
fn set_disabled(disabled: bool) -> bool {
    // SAFETY: a mark of the process is set, which decides what pages are mapped from now on and nothing else.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, libc::c_ulong::from(disabled), 0, 0, 0) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn was_given() -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn set_disabled(_: bool) -> bool {
    false
}
