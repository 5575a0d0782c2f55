//! What becomes of memory that is free: the allocator of a program may give it back at once, which keeps a program small, or keep
//! it for what comes next. A model that runs takes and frees buffers of megabytes all the time, and to give each back and ask for
//! it again takes a seventh of the time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

static TELL: OnceLock<fn(keep: bool)> = OnceLock::new();
static HOLDERS: AtomicUsize = AtomicUsize::new(0);

/// Says who is told whether to keep free memory: the program that has chosen the allocator. The first that says counts.
pub fn on_change(tell: fn(keep: bool)) {
    let _ = TELL.set(tell);
}

/// Free memory is kept for as long as one of these is there.
#[derive(Debug)]
pub(crate) struct KeptMemory(());

impl KeptMemory {
    /// Keeps free memory from now on.
    pub fn begin() -> Self {
        if HOLDERS.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(tell) = TELL.get()
        {
            tell(true);
        }
        KeptMemory(())
    }
}

impl Drop for KeptMemory {
    fn drop(&mut self) {
        if HOLDERS.fetch_sub(1, Ordering::Relaxed) == 1
            && let Some(tell) = TELL.get()
        {
            tell(false);
        }
    }
}
