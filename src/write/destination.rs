//! Where output may go: never onto the sources, and only where there is room.

use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use crate::error::{Error, Result};
use crate::units::bytes as bytes_with_unit;

/// Fails when `target` and `source` are the same directory or one lies inside the other, symlinks resolved.
///
/// # Errors
/// [`Error::Refused`] naming both.
pub(crate) fn require_apart(target: &Path, source: &Path) -> Result<()> {
    require_outside(target, source)?;
    match resolve(source).starts_with(resolve(target)) {
        true => Err(not_apart(target, "contains", source)),
        false => Ok(()),
    }
}

/// Fails when `target` and `source` are the same directory or `target` lies inside `source`, symlinks resolved.
///
/// # Errors
/// [`Error::Refused`] naming both.
pub(crate) fn require_outside(target: &Path, source: &Path) -> Result<()> {
    let (resolved_target, resolved_source) = (resolve(target), resolve(source));
    match resolved_target.starts_with(&resolved_source) {
        true if resolved_target == resolved_source => Err(not_apart(target, "is", source)),
        true => Err(not_apart(target, "lies inside", source)),
        false => Ok(()),
    }
}

fn not_apart(target: &Path, relation: &str, source: &Path) -> Error {
    let problem = format!(
        "the output `{}` {relation} the source `{}`, which is never written to",
        target.display(),
        source.display()
    );
    Error::refused(problem).with_hint("choose another --out")
}

/// Fails when nothing can be made at `target`: it is or lies below a link to nothing, or its nearest existing parent is no directory, may not be written to, or lies
/// on a file system that takes nothing.
///
/// # Errors
/// [`Error::Refused`] naming that parent and why.
pub(crate) fn require_writable(target: &Path) -> Result<()> {
    require_no_dangling_link(target)?;
    let existing = nearest_existing(target);
    let refused = |why: String| {
        let problem = format!("nothing can be written to `{}`: {why}", existing.display());
        Err(Error::refused(problem).with_hint("choose another --out"))
    };
    if !existing.is_dir() {
        return refused("it is no directory".into());
    }
    if let Some(kind) = rustix::fs::statfs(&existing).ok().and_then(|stat| keeps_nothing(stat.f_type as u64))
    {
        return refused(format!("it is part of {kind}, which shows what the system does and keeps no files"));
    }
    match rustix::fs::access(&existing, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Ok(()),
        Err(error) => refused(std::io::Error::from(error).to_string()),
    }
}

/// Fails when `target` is a link that leads to nothing, or lies below one: the system would say that it exists, or that it does
/// not.
///
/// # Errors
/// [`Error::Refused`] naming the link and where it leads.
pub(crate) fn require_no_dangling_link(target: &Path) -> Result<()> {
    let there = target.ancestors().find(|path| path.symlink_metadata().is_ok());
    let Some(link) = there.filter(|there| there.is_symlink() && !there.exists()) else { return Ok(()) };
    let to = std::fs::read_link(link).unwrap_or_default();
    let problem = format!("`{}` is a link to `{}`, which is not there", link.display(), to.display());
    Err(Error::refused(problem).with_hint("make what it leads to, remove it, or choose another output"))
}

/// What Linux calls the file systems that hold no files of anybody's, by the numbers in its `magic.h`.
const KEEPING_NOTHING: [(u64, &str); 10] = [
    (0x9fa0, "procfs"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x1cd1, "devpts"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0x6265_6570, "configfs"),
    (0x1980_0202, "mqueue"),
];

fn keeps_nothing(kind: u64) -> Option<&'static str> {
    KEEPING_NOTHING.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

/// The longest path that Linux takes, without the zero at its end.
const LONGEST_PATH: usize = 4095;
/// The longest name that a file system takes, where it does not tell.
const LONGEST_NAME: usize = 255;
/// How much longer the paths of the files of a run are than twice the name of the scheme: `/.NAME.replaced/layer-sensitivity/`
/// and the longest ending of a record, or the name of a shard in the workplace.
const BELOW: usize = 128;

/// Fails when the path of the scheme directory `target` is longer than the system takes, with what goes into it, or a part of it
/// is.
///
/// # Errors
/// [`Error::Refused`] with both lengths.
pub(crate) fn require_short(target: &Path) -> Result<()> {
    let refused = |problem: String| Err(Error::refused(problem).with_hint("choose a shorter --out"));
    let limit = rustix::fs::statvfs(nearest_existing(target)).ok().map(|stat| stat.f_namemax as usize);
    let limit = limit.filter(|limit| *limit > 0).unwrap_or(LONGEST_NAME);
    let names = target.components().map(|part| part.as_os_str());
    if let Some(long) = names.clone().find(|name| name.len() > limit) {
        let begin: String = long.to_string_lossy().chars().take(20).collect();
        return refused(format!(
            "the part `{begin}…` of the output path has {} bytes, and the file system takes {limit}",
            long.len()
        ));
    }
    let name = target.file_name().map_or(0, |name| name.len());
    let longest = target.as_os_str().len() + name + BELOW;
    if longest > LONGEST_PATH {
        return refused(format!(
            "the output path has {} bytes, {longest} with what goes into it, and the system takes {LONGEST_PATH}",
            target.as_os_str().len()
        ));
    }
    Ok(())
}

/// Fails when the file system of `target` (or of its nearest existing parent) has fewer than `bytes` bytes free.
///
/// # Errors
/// [`Error::Refused`] with both numbers.
pub(crate) fn require_space(target: &Path, bytes: u64) -> Result<()> {
    let existing = nearest_existing(target);
    // A file system that does not tell is written to all the same: a full disk is noticed then.
    let Ok(stat) = rustix::fs::statvfs(&existing) else { return Ok(()) };
    if stat.f_blocks == 0 {
        return Ok(());
    }
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if bytes > free {
        let problem = format!(
            "the output needs {} and `{}` has {} free",
            bytes_with_unit(bytes),
            existing.display(),
            bytes_with_unit(free)
        );
        return Err(Error::refused(problem)
            .with_hint("free some space, choose another --out, or write fewer schemes"));
    }
    Ok(())
}

/// `target`, or the nearest of its parents that is there.
pub(crate) fn nearest_existing(target: &Path) -> PathBuf {
    let resolved = resolve(target);
    resolved.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/")).to_path_buf()
}

/// The absolute path with symlinks resolved as far as it exists, and `.` and `..` taken out of the rest.
fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut resolved = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            other => resolved.push(other),
        }
        if let Ok(real) = resolved.canonicalize() {
            resolved = real;
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_that_touch_the_source_are_refused_through_symlinks_too() {
        let base = tempfile::tempdir().unwrap();
        let model = base.path().join("model");
        std::fs::create_dir(&model).unwrap();
        std::os::unix::fs::symlink(&model, base.path().join("link")).unwrap();
        let relation = |target: &str| {
            require_apart(&base.path().join(target), &model).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(relation("model").contains(" is the source"));
        assert!(relation("link/scheme").contains(" lies inside the source"));
        assert!(relation("out/../model/x").contains(" lies inside the source"));
        assert!(relation("").contains(" contains the source"));
        assert_eq!(relation("model2"), "");
    }

    #[test]
    fn a_file_in_the_way_is_refused_before_writing() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = require_writable(&file.join("out")).unwrap_err().to_string();
        assert!(error.ends_with("it is no directory"), "{error}");
        require_writable(&base.path().join("not/there/yet")).unwrap();
    }

    #[test]
    fn a_link_to_nothing_is_named_with_what_it_leads_to() {
        let base = tempfile::tempdir().unwrap();
        let link = base.path().join("link");
        std::os::unix::fs::symlink("gone/for/good", &link).unwrap();
        for target in [link.clone(), link.join("out")] {
            let error = require_writable(&target).unwrap_err().to_string();
            let expected = format!("`{}` is a link to `gone/for/good`, which is not there", link.display());
            assert_eq!(error, expected);
        }
        std::fs::create_dir_all(base.path().join("gone/for/good")).unwrap();
        require_writable(&link.join("out")).unwrap();
    }

    #[test]
    fn paths_that_no_system_takes_are_refused_with_their_lengths() {
        let base = tempfile::tempdir().unwrap();
        let long = base.path().join("a".repeat(300)).join("scheme");
        let error = require_short(&long).unwrap_err();
        assert!(error.to_string().contains("has 300 bytes"), "{error}");
        assert_eq!(error.hint().as_deref(), Some("choose a shorter --out"));
        let deep = base.path().join(vec!["a".repeat(200); 21].join("/")).join("scheme");
        assert!(require_short(&deep).unwrap_err().to_string().contains("and the system takes 4095"));
        require_short(&base.path().join("a".repeat(255)).join("scheme")).unwrap();
        require_short(&base.path().join(vec!["a".repeat(200); 18].join("/")).join("scheme")).unwrap();
    }

    #[test]
    fn what_keeps_no_files_is_named_for_what_it_is() {
        let error = require_writable(Path::new("/proc/not/there")).unwrap_err().to_string();
        assert!(error.contains("`/proc`: it is part of procfs"), "{error}");
    }

    #[test]
    fn more_than_the_disk_holds_is_refused_before_writing() {
        let base = tempfile::tempdir().unwrap();
        let error = require_space(&base.path().join("not/there/yet"), u64::MAX).unwrap_err().to_string();
        assert!(error.starts_with("the output needs "), "{error}");
        require_space(base.path(), 1).unwrap();
    }
}
