//! What this process uses, as the kernel counts it.

use std::fs::File;
use std::io::{Read, Seek};

/// The kernel's counts for this process, opened while it may open files.
#[derive(Debug)]
pub struct ProcessUsage {
    statm: Option<File>,
    io: Option<File>,
}

impl ProcessUsage {
    /// Opens what the kernel offers.
    pub fn open() -> ProcessUsage {
        ProcessUsage { statm: File::open("/proc/self/statm").ok(), io: File::open("/proc/self/io").ok() }
    }

    /// Bytes in memory that are no part of a file; nothing where the kernel does not say.
    pub fn memory(&mut self) -> Option<u64> {
        let text = content(self.statm.as_mut()?)?;
        let mut pages = text.split(' ').skip(1).map_while(|word| word.parse::<u64>().ok());
        let (resident, of_files) = (pages.next()?, pages.next()?);
        Some(resident.saturating_sub(of_files) * page_size())
    }

    /// Bytes that all threads together handed to calls that write or copy, to whatever: files, pipes, terminals. Shared blocks
    /// of a reflink are none. Nothing where the kernel does not count them.
    pub fn written(&mut self) -> Option<u64> {
        let text = content(self.io.as_mut()?)?;
        text.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
    }
}

fn content(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Some(text)
}

fn page_size() -> u64 {
    // SAFETY: the call reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_written_is_counted_whoever_writes_it() {
        let mut usage = ProcessUsage::open();
        let Some(before) = usage.written() else {
            eprintln!("SKIPPED: this kernel does not count what a process writes");
            return;
        };
        let thread = std::thread::spawn(|| tempfile::tempfile().unwrap().write_all(&[7; 1_000_000]).unwrap());
        thread.join().unwrap();
        assert!(usage.written().unwrap() - before >= 1_000_000);
        assert!(usage.memory().unwrap() > 1 << 20);
    }
}
