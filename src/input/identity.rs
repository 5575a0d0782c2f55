//! What the operating system says of a file, by which a change is noticed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// Which file it is, how long, and when it was last changed.
///
/// The time of the last change (ctime) is the system's own: nobody can set it back, as one can the time of modification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    links: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// That of a file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            links: metadata.nlink(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Size in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Device and inode: which file it is.
    pub fn file(&self) -> [u64; 2] {
        [self.device, self.inode]
    }

    /// The times of the last modification and of the last change, in seconds and nanoseconds.
    pub fn times(&self) -> [(i64, i64); 2] {
        [self.modified, self.changed]
    }

    /// How `now` differs, as the rest of a sentence that begins with the file's name; nothing where content is the same, or only
    /// [doubtful](Self::is_doubtful).
    pub(crate) fn difference(&self, now: &Identity) -> Option<&'static str> {
        match () {
            () if (self.device, self.inode) != (now.device, now.inode) => Some("was replaced"),
            () if now.length < self.length => Some("was cut short"),
            () if now.length > self.length => Some("grew"),
            () if self.modified != now.modified => Some("was written to"),
            () if self.changed != now.changed && self.links == now.links => Some("was changed"),
            () => None,
        }
    }

    /// The same without the time of the last change, which every name that a file gets or loses moves as well.
    pub(super) fn difference_in_content(&self, now: &Identity) -> Option<&'static str> {
        self.difference(&Identity { changed: self.changed, ..*now })
    }

    /// Whether another name of the file came or went: that changes ctime as a change of the content does.
    pub(super) fn is_doubtful(&self, now: &Identity) -> bool {
        self.changed != now.changed
    }

    /// How long ago the last change was; no time for one in the future.
    pub(super) fn age(&self) -> Duration {
        let (seconds, nanoseconds) = self.changed;
        let changed = u64::try_from(seconds).ok().and_then(|seconds| {
            SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, u32::try_from(nanoseconds).ok()?))
        });
        changed.and_then(|changed| changed.elapsed().ok()).unwrap_or_default()
    }

    /// Whether the file system counts whole seconds, as far as this time tells.
    pub(super) fn is_coarse(&self) -> bool {
        self.changed.1 == 0
    }
}
