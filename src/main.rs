use std::ffi::{c_int, c_long};
use std::process::ExitCode;

/// A plan of a large mixture is hundreds of thousands of short names: with this allocator it takes a third less time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_arena_eager_commit` and `mi_option_purge_delay` of mimalloc.h, version 3.
const ARENA_EAGER_COMMIT: c_int = 4;
const PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// The allocator takes memory when it is used and gives it back when it is free. As it comes, it holds a multiple of what is in
/// use for every thread.
extern "C" fn keep_memory_small() {
    // SAFETY: the option is looked up in a table of numbers. It is set before there is another thread.
    unsafe {
        mi_option_set(ARENA_EAGER_COMMIT, 0);
        mi_option_set(PURGE_DELAY, 0);
    }
}

/// Called by the loader: the allocator reads its options at the first allocation, which is before `main`.
#[used]
#[cfg(target_os = "linux")]
// SAFETY: the section holds pointers to functions without arguments.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = keep_memory_small;

fn main() -> ExitCode {
    qlua::cli::main()
}
