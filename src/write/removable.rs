//! Whether a directory that is to be replaced can be taken away: a run that finds out at its end has replaced half of them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat};

use crate::error::{Error, Result};

/// In such a folder only the owner of an entry, or its own, removes it.
const STICKY: u32 = 0o1000;

/// Fails when this user may not rename and remove `target` with all that lies in it; nothing when it is not there.
///
/// # Errors
/// [`Error::Refused`] naming the folder that keeps its entries.
pub(crate) fn require_removable(target: &Path) -> Result<()> {
    let Ok(metadata) = target.symlink_metadata() else { return Ok(()) };
    // Owner and mode say nothing to the superuser.
    // SAFETY: geteuid only reads a number of this process, and cannot fail.
    let user = unsafe { libc::geteuid() };
    if user == 0 {
        return Ok(());
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let kept_by = match may_remove(parent, &metadata, user) {
        false => Some(parent.to_path_buf()),
        true => keeper(target, user),
    };
    let Some(folder) = kept_by else { return Ok(()) };
    let problem = format!(
        "`{}` cannot be replaced: this user may not remove what lies in `{}`",
        target.display(),
        folder.display()
    );
    Err(Error::refused(problem)
        .with_hint("have its owner remove it or run the command, or choose another --out or --suffix"))
}

/// The first folder at or below `folder` whose entries `user` may not remove.
fn keeper(folder: &Path, user: u32) -> Option<std::path::PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Some(folder.to_path_buf()) };
    for entry in entries {
        let metadata =
            entry.and_then(|entry| entry.path().symlink_metadata().map(|found| (entry.path(), found)));
        let Ok((path, metadata)) = metadata else { return Some(folder.to_path_buf()) };
        if !may_remove(folder, &metadata, user) {
            return Some(folder.to_path_buf());
        }
        if metadata.is_dir()
            && let Some(keeper) = keeper(&path, user)
        {
            return Some(keeper);
        }
    }
    None
}

/// Whether `user` may remove `entry` from `folder`.
fn may_remove(folder: &Path, entry: &Metadata, user: u32) -> bool {
    let is_owner = || {
        folder
            .metadata()
            .is_ok_and(|folder| folder.mode() & STICKY == 0 || folder.uid() == user || entry.uid() == user)
    };
    accessat(CWD, folder, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok() && is_owner()
}
