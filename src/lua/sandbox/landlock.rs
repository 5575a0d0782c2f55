//! The kernel's own refusal: Landlock, which holds whatever way a path was come by. Where a kernel does not have it, the checks
//! of paths stand alone.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::roots::Roots;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// Making, removing and linking files and directories of every kind, by the version of the interface that first had them all.
const CHANGES: [(u64, u32); 3] = [(1, 0x1ff0), (2, 1 << 13), (3, 1 << 14)];
const TRUNCATE: u64 = 1 << 14;
/// Connections and signals to others, since versions 4 and 6.
const TCP: u64 = 0b11;
const SCOPES: u64 = 0b11;

/// What the dynamic linker and the driver of a GPU need, and nobody's own files are in.
const OF_THE_SYSTEM: [&str; 9] = [
    "/usr",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/sys/devices",
    "/proc/driver",
    "/proc/devices",
    "/proc/self/maps",
    "/proc/self/exe",
];

#[repr(C)]
struct RulesetAttributes {
    filesystem: u64,
    network: u64,
    scopes: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Restricts this thread, and those that it starts from now on, to the roots, for good. Gives whether the kernel can do that.
///
/// # Errors
/// What the operating system says.
pub fn restrict(roots: &Roots) -> io::Result<bool> {
    // SAFETY: with no attributes and this flag the call gives the version of the interface and does nothing else.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0usize, 0usize, 1u32) };
    if version < 1 {
        return Ok(false);
    }
    let version = version as u64;
    let changes = CHANGES
        .iter()
        .filter(|(since, _)| version >= *since)
        .fold(0, |all, (_, bits)| all | u64::from(*bits));
    let reads = READ_FILE | READ_DIR;
    let ruleset = Ruleset::new(&RulesetAttributes {
        filesystem: EXECUTE | WRITE_FILE | reads | changes,
        network: if version >= 4 { TCP } else { 0 },
        scopes: if version >= 6 { SCOPES } else { 0 },
    })?;
    for path in OF_THE_SYSTEM.iter().map(Path::new).filter(|path| path.exists()) {
        ruleset.allow(path, EXECUTE | reads)?;
    }
    for device in std::fs::read_dir("/dev").into_iter().flatten().flatten() {
        let name = device.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("nvidia") || ["null", "zero", "urandom"].contains(&&*name) {
            ruleset.allow(&device.path(), WRITE_FILE | reads)?;
        }
    }
    for root in roots.readable() {
        ruleset.allow(root, reads)?;
    }
    for root in roots.writable() {
        ruleset.allow(root, WRITE_FILE | reads | changes)?;
    }
    ruleset.enforce()?;
    Ok(true)
}

struct Ruleset(OwnedFd);

impl Ruleset {
    fn new(attributes: &RulesetAttributes) -> io::Result<Ruleset> {
        let size = size_of::<RulesetAttributes>();
        // SAFETY: the attributes live through the call, and `size` is theirs; a kernel that knows fewer of them takes those that
        // are 0.
        let made = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::from_ref(attributes), size, 0u32)
        };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call gave a descriptor that nobody else has.
        Ok(Ruleset(unsafe { OwnedFd::from_raw_fd(made as i32) }))
    }

    /// Allows `rights` to `path` and to what is below it.
    fn allow(&self, path: &Path, rights: u64) -> io::Result<()> {
        let at = File::options().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
        let of_files = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE;
        let allowed = if at.metadata()?.is_dir() { rights } else { rights & of_files };
        let rule = PathBeneath { allowed, parent: at.as_raw_fd() };
        // SAFETY: the rule lives through the call, and so does the descriptor in it; 1 is the kind of rule that it is.
        let added = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.0.as_raw_fd(),
                1u32,
                std::ptr::from_ref(&rule),
                0u32,
            )
        };
        if added < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn enforce(&self) -> io::Result<()> {
        // SAFETY: both calls take numbers and the descriptor, and change nothing but what this thread may do.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0u32) == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_keeps_a_thread_to_its_roots() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        for name in ["read", "write", "other"] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("file"), name).unwrap();
        }
        let roots = Roots::new(&[at("read")], &[at("write")]).unwrap();
        let thread = std::thread::spawn(move || {
            if !restrict(&roots).unwrap() {
                eprintln!("SKIPPED: this kernel has no Landlock");
                return;
            }
            let read = |name: &str| std::fs::read(base.path().join(name).join("file"));
            let write = |name: &str| std::fs::write(base.path().join(name).join("new"), "");
            assert_eq!(read("read").unwrap(), b"read");
            assert_eq!(read("write").unwrap(), b"write");
            assert_eq!(read("other").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            write("write").unwrap();
            let file = |name: &str| base.path().join(name).join("file");
            std::fs::rename(file("write"), base.path().join("write/moved")).unwrap();
            for name in ["read", "other"] {
                assert_eq!(write(name).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{name}");
                std::fs::remove_file(file(name)).unwrap_err();
                std::fs::hard_link(file(name), base.path().join("write/link")).unwrap_err();
            }
            std::fs::read("/etc/hostname").unwrap_err();
        });
        thread.join().unwrap();
    }
}
