use std::process::ExitCode;

/// The allocator, and how much memory it holds. Sanitizers watch over that of the system.
#[cfg(not(sanitized))]
mod allocator {
    use std::ffi::{c_int, c_long};

    /// A plan of a large mixture is hundreds of thousands of short names: with this allocator it takes a third less time.
    #[global_allocator]
    static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

    /// `mi_option_purge_delay`, `mi_option_arena_reserve` and `mi_option_allow_thp` of mimalloc.h, version 3.
    const PURGE_DELAY: c_int = 15;
    const ARENA_RESERVE: c_int = 23;
    const ALLOW_THP: c_int = 43;

    /// The least that the allocator reserves at once, in KiB; the next ones are larger. Tables for as much are written at the
    /// start, which for the gigabyte that it reserves as it comes takes as long as the rest of a short script.
    const RESERVE: c_long = 32 << 10;

    /// How long free memory is kept while a model runs, and what is reserved at once then, in KiB.
    const KEPT_MILLISECONDS: c_long = 1000;
    const KEPT_RESERVE: c_long = 1 << 20;

    unsafe extern "C" {
        fn mi_option_set(option: c_int, value: c_long);
    }

    /// The allocator takes memory when it is used and gives it back when it is free. As it comes, it holds a multiple of what is in
    /// use for every thread, since a page that is touched is one of 2 MiB.
    extern "C" fn keep_memory_small() {
        // Before the allocator does the same, and forgets what it was before.
        qlua::huge_pages::refuse();
        // SAFETY: the option is looked up in a table of numbers. It is set before there is another thread.
        unsafe {
            mi_option_set(ALLOW_THP, 0);
            mi_option_set(ARENA_RESERVE, RESERVE);
            mi_option_set(PURGE_DELAY, 0);
        }
    }

    /// Called by the loader: the allocator reads its options at the first allocation, which is before `main`.
    #[used]
    #[cfg(target_os = "linux")]
    // SAFETY: the section holds pointers to functions without arguments.
    #[unsafe(link_section = ".init_array")]
    static BEFORE_MAIN: extern "C" fn() = keep_memory_small;

    /// While a model runs, what is free is kept for its next buffers, in reserves that hold several of them.
    pub fn keep_free_memory(keep: bool) {
        let [delay, reserve] = if keep { [KEPT_MILLISECONDS, KEPT_RESERVE] } else { [0, RESERVE] };
        // SAFETY: as in `keep_memory_small`; threads see the one number or the other.
        unsafe {
            mi_option_set(ARENA_RESERVE, reserve);
            mi_option_set(PURGE_DELAY, delay);
        }
    }

    /// At the end. What is free need not be given back page by page to an operating system that takes all in a moment.
    pub fn keep_what_is_free() {
        // SAFETY: as above; threads that are left see the one number or the other.
        unsafe { mi_option_set(PURGE_DELAY, -1) };
    }
}

fn main() -> ExitCode {
    #[cfg(not(sanitized))]
    qlua::free_memory::on_change(allocator::keep_free_memory);
    let code = qlua::cli::main();
    #[cfg(not(sanitized))]
    allocator::keep_what_is_free();
    code
}
