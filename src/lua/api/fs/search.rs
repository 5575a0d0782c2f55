//! What a glob matches among the files there are, and of these what a sandbox may know.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use glob::{Pattern, PatternError};

use crate::error::{Error, Result};
use crate::interrupt;
use crate::lua::sandbox::Roots;

/// One part of a glob, between slashes.
enum GlobPart {
    /// It stands for itself.
    Name(String),
    /// It matches names.
    Names(Pattern),
    /// Any number of directories, `**`.
    Directories,
}

/// The files and directories that `pattern` matches, in no order, some perhaps twice. Within `roots` a name is looked for only in
/// directories that may be read, wherever links lead: nobody learns what lies beside a root. Paths begin as the pattern does.
///
/// # Errors
/// The first that of a pattern which does not parse, the second [`Error::Io`] of a directory that cannot be read.
pub fn search(pattern: &str, roots: Option<&Roots>) -> Result<Result<Vec<PathBuf>>, PatternError> {
    Pattern::new(pattern)?;
    let is_alone = pattern.trim_matches('/') == ".";
    let names = pattern.split('/').filter(|part| !part.is_empty() && (is_alone || *part != "."));
    let part = |part: &str| match part {
        "**" => Ok(GlobPart::Directories),
        _ if part.contains(['*', '?', '[']) => Pattern::new(part).map(GlobPart::Names),
        _ => Ok(GlobPart::Name(part.into())),
    };
    let parts: Vec<GlobPart> = names.map(part).collect::<Result<_, _>>()?;
    let mut search = GlobSearch { roots, is_for_directories: pattern.ends_with('/'), found: Vec::new() };
    let begin = if pattern.starts_with('/') { Path::new("/") } else { Path::new("") };
    let done = match parts.is_empty() && !pattern.is_empty() {
        true => search.reached(begin.into(), &[], false),
        false => search.look_in(begin, &parts, false),
    };
    Ok(done.map(|()| search.found))
}

struct GlobSearch<'a> {
    roots: Option<&'a Roots>,
    is_for_directories: bool,
    found: Vec<PathBuf>,
}

impl GlobSearch<'_> {
    /// Finds what `parts` match below `directory`. `is_guessed` tells that a part before stood for more than itself.
    fn look_in(&mut self, directory: &Path, parts: &[GlobPart], is_guessed: bool) -> Result<()> {
        let Some((first, rest)) = parts.split_first() else { return Ok(()) };
        match first {
            GlobPart::Name(name) => self.reached(directory.join(name), rest, is_guessed),
            GlobPart::Names(pattern) => {
                for (name, _) in self.entries(directory)? {
                    if name.to_str().is_some_and(|name| pattern.matches(name)) {
                        self.reached(directory.join(name), rest, true)?;
                    }
                }
                Ok(())
            }
            GlobPart::Directories => {
                let first = directory;
                let mut directories = vec![first.to_path_buf()];
                while let Some(directory) = directories.pop() {
                    for (name, is_directory) in self.entries(&directory)? {
                        if is_directory && self.may_know(&directory.join(&name)) {
                            directories.push(directory.join(name));
                        }
                    }
                    match rest {
                        [] if directory == first => {}
                        [] => self.found.push(directory),
                        _ => self.look_in(&directory, rest, true)?,
                    }
                }
                Ok(())
            }
        }
    }

    /// Goes on from `path`, which may not be there, with the parts after it.
    fn reached(&mut self, path: PathBuf, rest: &[GlobPart], is_guessed: bool) -> Result<()> {
        // Who spells out the way into a root knows it.
        if (is_guessed || rest.is_empty()) && !self.may_know(&path) {
            return Ok(());
        }
        if !rest.is_empty() {
            return self.look_in(&path, rest, is_guessed);
        }
        let is_wanted = if self.is_for_directories { path.is_dir() } else { path.symlink_metadata().is_ok() };
        self.found.extend(is_wanted.then_some(path));
        Ok(())
    }

    /// The names in a directory, and whether each is a directory and no link; none for what is no directory.
    fn entries(&self, directory: &Path) -> Result<Vec<(OsString, bool)>> {
        interrupt::check()?;
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        if !self.may_know(directory) || !directory.is_dir() {
            return Ok(Vec::new());
        }
        let failed = |error| Error::io("read", directory, error);
        let entry = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.map_err(failed)?;
            Ok((entry.file_name(), entry.file_type().is_ok_and(|kind| kind.is_dir())))
        };
        std::fs::read_dir(directory).map_err(failed)?.map(entry).collect()
    }

    fn may_know(&self, path: &Path) -> bool {
        self.roots.is_none_or(|roots| roots.may_read(path))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Against the crate `glob`, which walks by itself.
    #[test]
    fn the_same_is_found_as_by_another_walk() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        for directory in ["a/b/c", "a/d", ".hidden", "e"] {
            std::fs::create_dir_all(at(directory)).unwrap();
        }
        for file in
            ["a/x.txt", "a/b/x.txt", "a/b/c/y.txt", "a/d/[z].txt", ".hidden/x.txt", "top.txt", "e/ä.txt"]
        {
            std::fs::write(at(file), "").unwrap();
        }
        std::os::unix::fs::symlink(at("a/x.txt"), at("e/link.txt")).unwrap();
        std::os::unix::fs::symlink(at("none"), at("e/dangling")).unwrap();
        for pattern in [
            "*",
            "*/",
            "**",
            "a/**",
            "**/",
            "**/*.txt",
            "**/b/*",
            "a/*/x.txt",
            "a/**/x.txt",
            "a/**/**/y*",
            "a/./x.txt",
            "a/b/../*",
            "a/?/*",
            "a/[bd]/*",
            "a/[!b]/*",
            "a/d/[[]z].txt",
            "none",
            "none/*",
            "top.txt/*",
            "top.txt",
            "top.txt/",
            "a/b/",
            "e/*",
            "*/x*",
            "**/c",
            "e/ä*",
            ".hidden/*",
            "**/d/**",
        ] {
            let pattern = at(pattern).display().to_string();
            let named = |path: PathBuf| path.components().collect::<PathBuf>();
            let expected: BTreeSet<PathBuf> =
                glob::glob(&pattern).unwrap().map(|path| named(path.unwrap())).collect();
            let found: BTreeSet<PathBuf> =
                search(&pattern, None).unwrap().unwrap().into_iter().map(named).collect();
            assert_eq!(found, expected, "{pattern}");
        }
        assert!(search("a[", None).is_err());
        assert!(search("a**", None).is_err());
    }
}
