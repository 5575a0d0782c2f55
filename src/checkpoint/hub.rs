//! Models by their names on the Hugging Face Hub, found where `hf download` puts them. Nothing is ever fetched.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::units::counted;

/// The revision of a model that is meant when none is named.
const MAIN: &str = "main";
/// The Hub takes no longer names.
const LONGEST_NAME: usize = 96;
/// Hexadecimal digits of a whole commit.
const COMMIT_DIGITS: usize = 40;
/// How many commits an error lists.
const LISTED: usize = 4;

/// A model as it is named on the Hub: `ORG/NAME` or `ORG/NAME@REVISION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubName {
    /// `ORG/NAME`.
    repository: String,
    /// The name of a branch or tag, a commit, or the beginning of one.
    revision: Option<String>,
}

/// A model of the Hub and the commit that lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubOrigin {
    /// `ORG/NAME`.
    pub name: String,
    /// The commit, in hexadecimal.
    pub commit: String,
}

/// A snapshot of a model in the cache of the Hub.
#[derive(Debug, Clone)]
pub struct HubSnapshot {
    /// What it is a snapshot of.
    pub origin: HubOrigin,
    /// The directory that holds its files, as links.
    pub directory: PathBuf,
    asked: HubName,
}

impl HubName {
    /// Reads a name; nothing for what no name on the Hub looks like.
    pub fn parse(text: &str) -> Option<Self> {
        let (repository, revision) = match text.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (text, None),
        };
        let (organisation, name) = repository.split_once('/')?;
        let is_plain = |part: &str| {
            let of_words = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let is_edge = |c: char| "-.".contains(c);
            !part.is_empty()
                && part.len() <= LONGEST_NAME
                && part.chars().all(of_words)
                && !part.starts_with(is_edge)
                && !part.ends_with(is_edge)
                && !part.contains("--")
                && !part.contains("..")
        };
        let is_revision = |text: &str| {
            let of_words = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
            let is_part = |part: &str| !part.is_empty() && !part.starts_with('.');
            text.chars().all(of_words) && text.split('/').all(is_part) && !text.starts_with('-')
        };
        let is_name = is_plain(organisation) && is_plain(name) && revision.is_none_or(is_revision);
        is_name.then(|| HubName { repository: repository.into(), revision: revision.map(String::from) })
    }

    /// The command that brings the model into the cache.
    pub fn download(&self) -> String {
        match &self.revision {
            Some(revision) => format!("hf download {} --revision {revision}", self.repository),
            None => format!("hf download {}", self.repository),
        }
    }

    /// The folder of the model in `cache`.
    fn folder(&self, cache: &Path) -> PathBuf {
        cache.join(format!("models--{}", self.repository.replace('/', "--")))
    }

    /// The same name as a model in `cache` has it that differs in upper and lower case alone.
    fn in_other_case(&self, cache: &Path) -> Option<HubName> {
        let own = self.folder(cache);
        let names =
            fs::read_dir(cache).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut near: Vec<String> =
            names.filter(|name| own.file_name().is_some_and(|own| own.eq_ignore_ascii_case(name))).collect();
        near.sort();
        let repository = near.first()?.strip_prefix("models--")?.replacen("--", "/", 1);
        Some(HubName { repository, revision: self.revision.clone() })
    }

    /// The name in the address of a model's page, such as `https://huggingface.co/ORG/NAME/tree/main`.
    fn of_address(text: &str) -> Option<HubName> {
        let place = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let path = place.strip_prefix("huggingface.co/").or_else(|| place.strip_prefix("hf.co/"))?;
        let mut parts = path.split('/');
        HubName::parse(&format!("{}/{}", parts.next()?, parts.next()?))
    }

    /// The snapshot in `cache` that is meant.
    fn snapshot_in(&self, cache: &Path) -> Result<HubSnapshot> {
        let folder = self.folder(cache);
        let shown = cache.display();
        let absent = |problem: String| {
            Error::not_found(problem).with_hint(format!("`{}` fetches it", self.download()))
        };
        if !folder.is_dir() {
            let error = absent(format!(
                "there is no directory `{self}`, and no model of that name in the Hugging Face cache `{shown}`"
            ));
            return Err(match self.in_other_case(cache) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        let revision = self.revision.as_deref().unwrap_or(MAIN);
        let commit = match commit_of(&folder, revision) {
            FoundCommit::Commit(commit) => commit,
            FoundCommit::Several(commits) => {
                let some: Vec<String> = commits.iter().take(LISTED).map(|c| format!("`{c}`")).collect();
                let problem = format!(
                    "`{revision}` begins the names of {} of `{}` in the Hugging Face cache `{shown}`: {}",
                    counted(commits.len(), "commit"),
                    self.repository,
                    some.join(", ")
                );
                return Err(Error::not_found(problem).with_hint("give more digits"));
            }
            FoundCommit::Nothing => {
                return Err(absent(format!(
                    "the Hugging Face cache `{shown}` has `{}`, but not its revision `{revision}`",
                    self.repository
                )));
            }
        };
        let directory = folder.join("snapshots").join(&commit);
        if !directory.is_dir() {
            return Err(absent(format!(
                "the Hugging Face cache `{shown}` knows `{}`, but does not have its commit `{commit}`",
                self.repository
            )));
        }
        let origin = HubOrigin { name: self.repository.clone(), commit };
        Ok(HubSnapshot { origin, directory, asked: self.clone() })
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

impl HubSnapshot {
    /// `error` of a look at the snapshot: where it says that a file is missing, the download is not complete.
    pub(super) fn explained(&self, error: Error) -> Error {
        let Error::NotFound { problem, .. } = &error else { return error };
        let HubOrigin { name, commit } = &self.origin;
        Error::not_found(format!("the snapshot `{commit}` of `{name}` is not complete: {problem}"))
            .with_hint(format!("`{}` fetches what is missing", self.asked.download()))
    }
}

impl HubOrigin {
    /// What lies in `directory`, where that is a snapshot in a cache of the Hub.
    pub(super) fn of(directory: &Path) -> Option<Self> {
        let directory = directory.canonicalize().ok()?;
        let snapshots = directory.parent().filter(|parent| parent.ends_with("snapshots"))?;
        let model = snapshots.parent()?.file_name()?.to_str()?.strip_prefix("models--")?;
        let name = HubName::parse(&model.replacen("--", "/", 1))?;
        let commit = directory.file_name()?.to_str().filter(|commit| is_commit(commit))?;
        Some(HubOrigin { name: name.repository, commit: commit.into() })
    }
}

/// The snapshot that `place` names. Nothing for what is there on the disk, and for what is no name on the Hub: then it is a path.
///
/// # Errors
/// [`Error::NotFound`] for a name of the Hub whose model is not in the cache, with the command that fetches it, and for the
/// address of one.
pub fn find(place: &Path) -> Result<Option<HubSnapshot>> {
    if place.symlink_metadata().is_err()
        && let Some(name) = place.to_str().and_then(HubName::of_address)
    {
        let problem = format!("`{}` is the address of a model, and nothing is fetched", place.display());
        return Err(
            Error::not_found(problem).with_hint(format!("`{}`, then name it `{name}`", name.download()))
        );
    }
    match name_of(place) {
        Some(name) => name.snapshot_in(&cache()).map(Some),
        None => Ok(None),
    }
}

/// The directory that `place`, a path or a name of the Hub, stands for.
///
/// # Errors
/// Those of [`find`].
pub fn directory(place: &Path) -> Result<PathBuf> {
    Ok(find(place)?.map_or_else(|| place.into(), |snapshot| snapshot.directory))
}

/// Where files are read when `place` is opened, whether they are there or not.
pub fn reads(place: &Path) -> PathBuf {
    let Some(name) = name_of(place) else { return place.into() };
    let cache = cache();
    name.snapshot_in(&cache).map_or_else(|_| name.folder(&cache), |snapshot| snapshot.directory)
}

fn name_of(place: &Path) -> Option<HubName> {
    if place.symlink_metadata().is_ok() {
        return None;
    }
    HubName::parse(place.to_str()?)
}

enum FoundCommit {
    Commit(String),
    Several(Vec<String>),
    Nothing,
}

/// The commit that `revision` is in the `folder` of a model: a name comes before the beginning of a commit.
fn commit_of(folder: &Path, revision: &str) -> FoundCommit {
    if let Ok(text) = fs::read_to_string(folder.join("refs").join(revision)) {
        let commit = text.trim();
        return if is_commit(commit) { FoundCommit::Commit(commit.into()) } else { FoundCommit::Nothing };
    }
    let is_hexadecimal = revision.chars().all(|c| c.is_ascii_hexdigit());
    if !is_hexadecimal || revision.len() > COMMIT_DIGITS {
        return FoundCommit::Nothing;
    }
    let revision = revision.to_ascii_lowercase();
    let entries = fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut commits: Vec<String> =
        names.filter(|name| is_commit(name) && name.starts_with(&revision)).collect();
    commits.sort();
    match commits.len() {
        0 => FoundCommit::Nothing,
        1 => FoundCommit::Commit(commits.remove(0)),
        _ => FoundCommit::Several(commits),
    }
}

fn is_commit(text: &str) -> bool {
    text.len() == COMMIT_DIGITS && text.chars().all(|c| c.is_ascii_hexdigit() && !c.is_ascii_uppercase())
}

/// The cache of the Hub, by the rule of `huggingface_hub` (constants.py).
fn cache() -> PathBuf {
    cache_by(|name| env::var_os(name).filter(|value| !value.is_empty()), env::home_dir().as_deref())
}

fn cache_by(variable: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> PathBuf {
    let path = |name: &str| {
        let path = PathBuf::from(variable(name)?);
        Some(match (path.strip_prefix("~"), home) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        })
    };
    path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| {
        let caches = || {
            let of_user = || home.unwrap_or(Path::new("/")).join(".cache");
            path("XDG_CACHE_HOME").unwrap_or_else(of_user).join("huggingface")
        };
        path("HF_HOME").unwrap_or_else(caches).join("hub")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_told_from_paths() {
        for (text, repository, revision) in [
            ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct", None),
            ("a/b@main", "a/b", Some("main")),
            ("a/b@refs/pr/1", "a/b", Some("refs/pr/1")),
            ("a/b_c.d@0f1e2d", "a/b_c.d", Some("0f1e2d")),
        ] {
            let name = HubName::parse(text).unwrap();
            assert_eq!((name.repository.as_str(), name.revision.as_deref()), (repository, revision));
            assert_eq!(name.to_string(), text);
        }
        for text in [
            "nowhere", "/a/b", "./a/b", "../b", "a/b/c", "a/", "/b", "a/b@", "a/b@../c", "a/b@-x",
            "a/b@x//y", "a--b/c", "a/b..c", "a b/c", "a/b@x y", ".a/b", "a/b.", "",
        ] {
            assert_eq!(HubName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_cache_lies_where_the_variables_say_in_their_order() {
        let at = |given: &[(&str, &str)]| {
            let value = |name: &str| given.iter().find(|(known, _)| *known == name).map(|(_, v)| v.into());
            cache_by(value, Some(Path::new("/home/me"))).display().to_string()
        };
        let all = [
            ("HF_HUB_CACHE", "/1"),
            ("HUGGINGFACE_HUB_CACHE", "/2"),
            ("HF_HOME", "/3"),
            ("XDG_CACHE_HOME", "/4"),
        ];
        let expected = ["/1", "/2", "/3/hub", "/4/huggingface/hub", "/home/me/.cache/huggingface/hub"];
        for (from, expected) in expected.into_iter().enumerate() {
            assert_eq!(at(&all[from..]), expected);
        }
        assert_eq!(at(&[("HF_HOME", "~/models")]), "/home/me/models/hub");
    }
}
