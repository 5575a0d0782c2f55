//! The files and directories that a sandbox may read and write, and whether a path leads to one of them.

use std::path::{Component, Path, PathBuf};

use crate::checkpoint::hub;
use crate::error::{Error, Result};

/// What a function does with the path that a parameter or option holds. A sandbox asks for it, and refuses a path of which
/// nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathUse {
    /// It is only text.
    Text,
    /// The file or directory there is looked at or read; of a directory, its names alone.
    Read,
    /// The directory there is read with all that it holds, through links too.
    ReadTree,
    /// It is written, or made anew beside where it will lie.
    Write,
    /// The directory there gets what is written, and is made where it is missing.
    WriteInside,
}

/// More entries than this are no checkpoint; they are not looked through.
const MOST_ENTRIES: usize = 100_000;

/// What a sandbox may read and write; by default nothing.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

impl Roots {
    /// Files or directories to read, and directories to read and write.
    ///
    /// # Errors
    /// [`Error::Usage`] for a path where nothing is, and for a file to write in.
    pub fn new(read: &[PathBuf], write: &[PathBuf]) -> Result<Roots> {
        let real = |flag: &str, path: &PathBuf| {
            path.canonicalize().map_err(|error| {
                Error::usage(format!("`{flag}` names `{}`: {error}", path.display()))
                    .with_hint("make it first; a relative path begins in the current directory")
            })
        };
        let read: Vec<PathBuf> = read.iter().map(|path| real("--read", path)).collect::<Result<_>>()?;
        let write: Vec<PathBuf> = write.iter().map(|path| real("--write", path)).collect::<Result<_>>()?;
        match write.iter().find(|path| !path.is_dir()) {
            Some(file) => {
                Err(Error::usage(format!("`--write` names `{}`, which is no directory", file.display()))
                    .with_hint("give the directory that it lies in"))
            }
            None => Ok(Roots { read, write }),
        }
    }

    /// What may be read.
    pub fn readable(&self) -> impl Iterator<Item = &Path> {
        self.read.iter().chain(&self.write).map(PathBuf::as_path)
    }

    /// What may be written in.
    pub fn writable(&self) -> impl Iterator<Item = &Path> {
        self.write.iter().map(PathBuf::as_path)
    }

    /// Bytes that are free for this user where may be written, on the fullest file system of all; nothing without such a place.
    pub fn free_bytes(&self) -> Option<u64> {
        let free =
            |path: &Path| rustix::fs::statvfs(path).ok().map(|s| s.f_bavail.saturating_mul(s.f_frsize));
        self.writable().filter_map(free).min()
    }

    /// Fails unless `path` may be used so. Nothing of a path outside is looked at but whether its parts are links.
    ///
    /// # Errors
    /// [`Error::Refused`] with the option that would allow it.
    pub fn allow(&self, path: &Path, path_use: PathUse) -> Result<()> {
        let is_allowed = |resolved: &Path| match path_use {
            PathUse::Text => true,
            PathUse::Read | PathUse::ReadTree => self.readable().any(|root| resolved.starts_with(root)),
            PathUse::Write => self.writable().any(|root| resolved.starts_with(root) && resolved != root),
            PathUse::WriteInside => self.writable().any(|root| resolved.starts_with(root)),
        };
        if path_use == PathUse::Text {
            return Ok(());
        }
        // A name of the Hugging Face Hub is allowed by where its model lies, and says nothing of whether it is there.
        let place = if path_use == PathUse::ReadTree { &hub::reads(path) } else { path };
        let resolved = self.resolve(place).filter(|resolved| is_allowed(resolved));
        let Some(resolved) = resolved else { return Err(refused(path, path_use)) };
        if path_use != PathUse::Read && resolved.is_dir() {
            return self.require_no_way_out(&resolved, &is_allowed).map_err(|link| {
                let inside = refused(&link, path_use);
                match (inside.to_string(), inside.hint()) {
                    (text, Some(hint)) => Error::refused(format!("{text}: it is a link")).with_hint(hint),
                    (text, None) => Error::refused(text),
                }
            });
        }
        Ok(())
    }

    /// Whether `path` may be read.
    pub fn may_read(&self, path: &Path) -> bool {
        self.resolve(path).is_some_and(|resolved| self.readable().any(|root| resolved.starts_with(root)))
    }

    /// Fails unless `path`, of which it is not known what for it is used, may be read or written in.
    ///
    /// # Errors
    /// [`Error::Refused`] with the options that would allow it.
    pub fn allow_any(&self, path: &Path) -> Result<()> {
        if self.may_read(path) {
            return Ok(());
        }
        let problem = format!("`{}` lies outside of what this sandbox may read and write", path.display());
        Err(Error::refused(problem).with_hint(
            "`--read DIR` or `--write DIR` before the script allows a directory and what is in it",
        ))
    }

    /// The absolute path, links resolved as far as it exists. Nothing for a link that leads nowhere: what is written there would
    /// appear where it leads. Nothing for a `..` after what is not there, as the kernel has it, nor after what lies outside: whether
    /// that is there is not for the script to learn.
    fn resolve(&self, path: &Path) -> Option<PathBuf> {
        let current = std::env::current_dir().and_then(|current| current.canonicalize()).ok()?;
        let absolute = if path.is_absolute() { path.to_path_buf() } else { current.join(path) };
        let mut resolved = PathBuf::new();
        for component in absolute.components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    let above = self.readable().chain([&*current]).any(|known| known.starts_with(&resolved));
                    let inside = || self.readable().any(|root| resolved.starts_with(root));
                    if !(above || inside() && resolved.is_dir()) {
                        return None;
                    }
                    resolved.pop();
                }
                other => resolved.push(other),
            }
            match resolved.canonicalize() {
                Ok(real) => resolved = real,
                Err(_) if resolved.is_symlink() => return None,
                Err(_) => {}
            }
        }
        Some(resolved)
    }

    /// Fails with a link below `directory` that leads to where `is_allowed` says no.
    fn require_no_way_out(
        &self,
        directory: &Path,
        is_allowed: &impl Fn(&Path) -> bool,
    ) -> Result<(), PathBuf> {
        let mut left = MOST_ENTRIES;
        let mut directories = vec![directory.to_path_buf()];
        while let Some(directory) = directories.pop() {
            // What cannot be listed nobody else will read.
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let (path, kind) = (entry.path(), entry.file_type());
                left = left.checked_sub(1).ok_or_else(|| directory.clone())?;
                if kind.as_ref().is_ok_and(|kind| kind.is_symlink()) {
                    self.resolve(&path).filter(|resolved| is_allowed(resolved)).ok_or(path)?;
                } else if kind.is_ok_and(|kind| kind.is_dir()) {
                    directories.push(path);
                }
            }
        }
        Ok(())
    }
}

fn refused(path: &Path, path_use: PathUse) -> Error {
    let (verb, flag) = match path_use {
        PathUse::Write | PathUse::WriteInside => ("write", "--write"),
        _ => ("read", "--read"),
    };
    let problem = format!("`{}` lies outside of what this sandbox may {verb}", path.display());
    Error::refused(problem)
        .with_hint(format!("`{flag} DIR` before the script allows a directory and what is in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_allowed_by_where_it_leads() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        for name in ["in", "in/deep", "out", "write"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("out/file"), "").unwrap();
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(at(to), at(from)).unwrap();
        link("out/file", "in/deep/link");
        link("in/deep", "out/back");
        link("out/nothing", "write/dangling");
        let roots = Roots::new(&[at("in")], &[at("write")]).unwrap();
        let allows = |name: &str, path_use| roots.allow(&at(name), path_use).is_ok();
        for (name, path_use, expected) in [
            ("in", PathUse::Read, true),
            ("in/deep/none", PathUse::Read, true),
            ("in/../out/file", PathUse::Read, false),
            ("out/../in/deep", PathUse::Read, false),
            ("none/../in/deep", PathUse::Read, false),
            ("in/none/../deep", PathUse::Read, false),
            ("in/deep/../deep", PathUse::Read, true),
            ("out/back", PathUse::Read, true),
            ("in/deep/link", PathUse::Read, false),
            ("in", PathUse::ReadTree, false),
            ("inside", PathUse::Read, false),
            ("in/new", PathUse::Write, false),
            ("write/new", PathUse::Write, true),
            ("write/new/../../out/x", PathUse::Write, false),
            ("write/dangling", PathUse::Write, false),
            ("write", PathUse::Write, false),
            ("write", PathUse::WriteInside, false),
            ("write/new", PathUse::Read, true),
            ("out", PathUse::Text, true),
        ] {
            assert_eq!(allows(name, path_use), expected, "{name} {path_use:?}");
        }
        std::fs::remove_file(at("write/dangling")).unwrap();
        assert!(allows("write", PathUse::WriteInside));
        let nothing = Roots::default().allow(Path::new("/etc/passwd"), PathUse::Read).unwrap_err();
        assert_eq!(nothing.to_string(), "`/etc/passwd` lies outside of what this sandbox may read");
        assert!(nothing.hint().unwrap().contains("--read DIR"));
    }
}
