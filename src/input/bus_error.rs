//! SIGBUS: what the system raises when a mapped file is read behind its end, because somebody has cut it short, or when its disk
//! fails. Inside a registered region the lost pages become zeros and the region is marked; anything else goes where it would have
//! gone.

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use libc::{c_int, c_void, siginfo_t};

/// Regions of one link of the chain.
const LINK: usize = 256;

/// The addresses of a mapped file. A handler of signals may not wait, so there is nothing here but atomic numbers.
#[derive(Debug)]
struct MapSlot {
    /// 0 where nothing is registered.
    start: AtomicUsize,
    end: AtomicUsize,
    is_lost: AtomicBool,
}

/// Some slots, and where there are more; never freed, as the handler may be looking at them.
struct MapSlots {
    slots: [MapSlot; LINK],
    next: AtomicPtr<MapSlots>,
}

static FIRST: MapSlots = MapSlots::new();
/// Held by who registers a region.
static REGISTERING: Mutex<()> = Mutex::new(());
/// What SIGBUS did before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();
static PAGE: AtomicUsize = AtomicUsize::new(0);

/// The registration of a map: drop it before the map.
#[derive(Debug)]
pub(super) struct Region(&'static MapSlot);

impl Region {
    /// Registers `length` bytes from the address `start`, which are mapped for reading alone.
    pub fn register(start: usize, length: usize) -> Self {
        let _registering = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
        install();
        let slot = FIRST.free_slot();
        slot.is_lost.store(false, Ordering::Relaxed);
        slot.end.store(start + length, Ordering::Release);
        slot.start.store(start, Ordering::Release);
        Region(slot)
    }

    /// Whether bytes that were read were not there.
    pub fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Acquire)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        self.0.start.store(0, Ordering::Release);
    }
}

impl MapSlot {
    const fn new() -> Self {
        MapSlot { start: AtomicUsize::new(0), end: AtomicUsize::new(0), is_lost: AtomicBool::new(false) }
    }
}

impl MapSlots {
    const fn new() -> Self {
        MapSlots { slots: [const { MapSlot::new() }; LINK], next: AtomicPtr::new(std::ptr::null_mut()) }
    }

    fn next(&self) -> Option<&'static MapSlots> {
        // SAFETY: the pointer is null, or comes from a box that was leaked.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }

    /// A slot that nobody has. The caller holds [`REGISTERING`].
    fn free_slot(&'static self) -> &'static MapSlot {
        let mut link = self;
        loop {
            if let Some(slot) = link.slots.iter().find(|slot| slot.start.load(Ordering::Acquire) == 0) {
                return slot;
            }
            link = link.next().unwrap_or_else(|| {
                let new: &'static MapSlots = Box::leak(Box::new(MapSlots::new()));
                link.next.store(std::ptr::from_ref(new).cast_mut(), Ordering::Release);
                new
            });
        }
    }
}

/// Takes SIGBUS over, once.
fn install() {
    BEFORE.get_or_init(|| {
        // SAFETY: these calls have no precondition but valid pointers. An all-zero sigaction is a valid one.
        unsafe {
            PAGE.store(usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(4096), Ordering::Release);
            let mut before: libc::sigaction = std::mem::zeroed();
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = on_bus_error as *const () as usize;
            // On the stack that the standard library gives threads for signals, where there is one.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            // A fault between this and the end of `get_or_init` cannot be ours: no region is registered yet.
            libc::sigaction(libc::SIGBUS, &raw const action, &raw mut before);
            before
        }
    });
}

/// Only what may be called in a handler of signals is: atomic numbers and system calls.
extern "C" fn on_bus_error(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the system gives a valid siginfo; a positive code comes from a fault, which has an address.
    let address = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr().addr()) };
    if !address.is_some_and(replace_lost) {
        pass_on(signal, info, context);
    }
}

/// Puts zeros in the place of a region from the page of `address` to the end, and marks it. All of it goes at once: what lies
/// behind a lost page is lost as well, and every piece of a map costs the system memory. Says whether there is such a region.
fn replace_lost(address: usize) -> bool {
    let mut link = Some(&FIRST);
    while let Some(MapSlots { slots, next }) = link {
        for slot in slots {
            let (start, end) = (slot.start.load(Ordering::Acquire), slot.end.load(Ordering::Acquire));
            let is_same = slot.start.load(Ordering::Acquire) == start;
            let page = address & !(PAGE.load(Ordering::Acquire) - 1);
            // The last page of a map goes beyond the file.
            if start == 0 || !is_same || address < start || page >= end {
                continue;
            }
            slot.is_lost.store(true, Ordering::Release);
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
            // SAFETY: these pages belong to a map that is registered, which is alive while a thread reads from it, and they
            // are read by nobody who relies on what they hold before asking for the mark.
            let new = unsafe {
                let page = std::ptr::without_provenance_mut(page);
                libc::mmap(page, end - page.addr(), libc::PROT_READ, flags, -1, 0)
            };
            return new != libc::MAP_FAILED;
        }
        // SAFETY: the pointer is null, or comes from a box that was leaked.
        link = unsafe { next.load(Ordering::Acquire).as_ref() };
    }
    false
}

/// Does what SIGBUS did before.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = BEFORE.get().copied();
    // SAFETY: the handler was a valid one when it was asked for, and takes what its flags say. Without one the default comes
    // back: a fault happens again and ends the process, and a signal that somebody sent is sent again.
    unsafe {
        match before {
            Some(before) if ![libc::SIG_DFL, libc::SIG_IGN].contains(&before.sa_sigaction) => {
                if before.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
                        std::mem::transmute(before.sa_sigaction);
                    handler(signal, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(before.sa_sigaction);
                    handler(signal);
                }
            }
            Some(before) if before.sa_sigaction == libc::SIG_IGN && (*info).si_code <= 0 => {}
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                if (*info).si_code <= 0 {
                    libc::raise(signal);
                }
            }
        }
    }
}
