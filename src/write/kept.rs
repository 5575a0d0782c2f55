//! What lies in a directory that qlua did not write as it is: when the directory is replaced it is moved aside.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::held::LOCK_FILE;
use crate::checkpoint::{HF_QUANT_CONFIG, INDEX_FILE, RECORDS};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::record::{PROVENANCE, ProvenanceRecord, WEIGHT_ERROR, name_in_record, record_path};
use crate::units::counted;

/// What was moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAside {
    /// Where it is now.
    pub directory: PathBuf,
    /// How many files, links and empty folders qlua did not write.
    pub foreign: usize,
    /// How many files qlua wrote with other content.
    pub changed: usize,
}

impl KeptAside {
    /// A sentence for people; `target` is where it was.
    pub fn note(&self, target: &Path) -> String {
        let was = |count: usize| if count == 1 { "was" } else { "were" };
        let foreign = format!("{} that qlua did not write", counted(self.foreign, "file"));
        let (what, were) = match (self.foreign, self.changed) {
            (count, 0) => (foreign, was(count)),
            (0, count) => (
                format!(
                    "{} that {} changed since qlua wrote {}",
                    counted(count, "file"),
                    was(count),
                    it(count)
                ),
                was(count),
            ),
            (_, count) => (
                format!("{foreign} and {count} that {} changed since qlua wrote {}", was(count), it(count)),
                "were",
            ),
        };
        format!("{what} {were} moved from `{}` to `{}`", target.display(), self.directory.display())
    }
}

fn it(count: usize) -> &'static str {
    if count == 1 { "it" } else { "them" }
}

/// Moves all that qlua did not write as it is from `old`, which was called `target` and has been replaced there, into a new
/// directory beside `target`. The record of `old` says what qlua wrote: a weight file is told by its name, any other by its name
/// and its content. Without a record that names all files it is told by names alone, and what has the path of a file of the new
/// directory counts as written by qlua.
///
/// # Errors
/// [`Error::Io`]; what was not moved by then is still in `old`.
pub(super) fn keep_foreign(old: &Path, target: &Path) -> Result<Option<KeptAside>> {
    if !is_folder(old) {
        return Ok(None);
    }
    let record = ProvenanceRecord::read(old).filter(|record| record.files.is_some());
    let mut kept = Vec::new();
    match record {
        Some(record) => {
            let recorded = Recorded::of(&record);
            collect(old, Path::new(""), &|path| recorded.origin(old, path), &mut kept)?;
        }
        None => {
            let manifest = recorded_manifest(old);
            let origin = |path: &Path| {
                let is_replaced = target.join(path).symlink_metadata().is_ok();
                match is_replaced || is_written_here(path, manifest.as_deref()) {
                    true => Origin::Own,
                    false => Origin::Foreign,
                }
            };
            collect(old, Path::new(""), &origin, &mut kept)?;
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    let directory = make_beside(target)?;
    for (path, _) in &kept {
        let to = directory.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        fs::rename(old.join(path), &to).map_err(|e| Error::io("rename", &to, e))?;
    }
    let count = |origin: Origin| kept.iter().filter(|(_, found)| *found == origin).count();
    let (foreign, changed) = (count(Origin::Foreign), count(Origin::Changed));
    Ok(Some(KeptAside { directory, foreign, changed }))
}

/// Where what lies in a directory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// qlua wrote it, as it is.
    Own,
    /// qlua wrote it, and it was changed.
    Changed,
    /// Somebody else put it there.
    Foreign,
}

/// What a directory has on record of itself, by name.
struct Recorded<'a> {
    weights: HashSet<&'a str>,
    /// Sizes and hashes.
    others: HashMap<&'a str, (u64, &'a str)>,
}

impl<'a> Recorded<'a> {
    fn of(record: &'a ProvenanceRecord) -> Self {
        let others = record.files.iter().flatten();
        Recorded {
            weights: record.weights.iter().map(|weight| weight.file.as_str()).collect(),
            others: others.map(|file| (file.file.as_str(), (file.bytes, file.blake3.as_str()))).collect(),
        }
    }

    /// Where `path` in `directory` comes from.
    fn origin(&self, directory: &Path, path: &Path) -> Origin {
        let name = name_in_record(path);
        let is_of_every_scheme = name == record_path() || name == LOCK_FILE;
        if is_of_every_scheme || self.weights.contains(name.as_str()) {
            return Origin::Own;
        }
        let full = directory.join(path);
        match self.others.get(name.as_str()) {
            Some((bytes, blake3)) if has_content(&full, *bytes, blake3) => Origin::Own,
            Some(_) => Origin::Changed,
            None if is_folder(&full) && self.others.keys().any(|file| Path::new(file).starts_with(&name)) => {
                Origin::Own
            }
            None => Origin::Foreign,
        }
    }
}

fn is_folder(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}

/// Whether `path` is a file of `bytes` bytes with the hash `blake3`; not where that cannot be told. It is not interrupted: what is
/// replaced has its new name by then.
fn has_content(path: &Path, bytes: u64, blake3: &str) -> bool {
    let has = || {
        let file = input::open(path).ok()?;
        let is_as_long = file.metadata().ok()?.len() == bytes;
        let hash = || Some(blake3::Hasher::new().update_reader(file).ok()?.finalize().to_hex());
        Some(is_as_long && hash()?.as_str() == blake3)
    };
    has().unwrap_or(false)
}

/// The paths below `folder` of `root` that qlua did not write as they are: files, links, and folders that are empty.
fn collect(
    root: &Path,
    folder: &Path,
    origin: &impl Fn(&Path) -> Origin,
    kept: &mut Vec<(PathBuf, Origin)>,
) -> Result<()> {
    let path = root.join(folder);
    let mut found = Vec::new();
    let mut is_empty = true;
    for entry in fs::read_dir(&path).map_err(|e| Error::io("read", &path, e))? {
        let entry = entry.map_err(|e| Error::io("read", &path, e))?;
        is_empty = false;
        let relative = folder.join(entry.file_name());
        if entry.file_type().map_err(|e| Error::io("read", entry.path(), e))?.is_dir() {
            collect(root, &relative, origin, kept)?;
        } else {
            found.push(relative);
        }
    }
    if is_empty && folder != Path::new("") {
        found.push(folder.into());
    }
    let found = found.into_iter().map(|path| (origin(&path), path));
    kept.extend(found.filter(|(origin, _)| *origin != Origin::Own).map(|(origin, path)| (path, origin)));
    Ok(())
}

/// Whether qlua writes files of this path into every scheme; `manifest` is the file name of the one that it was made from.
fn is_written_here(path: &Path, manifest: Option<&OsStr>) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    match path.parent() {
        Some(folder) if folder == Path::new("") => {
            ["config.json", HF_QUANT_CONFIG, INDEX_FILE].contains(&name)
                || name == LOCK_FILE
                || is_shard(name)
        }
        Some(folder) if folder == Path::new(RECORDS) => {
            [PROVENANCE, WEIGHT_ERROR, "per-layer-sensitivity.md", "per-layer-sensitivity.json"]
                .contains(&name)
                || name.ends_with("_coverage_from_baseline.json")
                || manifest.is_some_and(|own| own.to_str() == Some(name.trim_start_matches("source_")))
        }
        _ => false,
    }
}

/// Whether `name` is one that weights are written under.
fn is_shard(name: &str) -> bool {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit());
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    let is_numbered = numbers.and_then(|rest| rest.split_once("-of-"));
    name == "model.safetensors" || is_numbered.is_some_and(|(at, of)| is_number(at) && is_number(of))
}

/// The file name of the manifest that the scheme in `directory` was made from, where that is on record.
fn recorded_manifest(directory: &Path) -> Option<std::ffi::OsString> {
    let text = input::read(&directory.join(RECORDS).join(PROVENANCE), InputKind::Record).ok()?;
    let record: Value = serde_json::from_slice(&text).ok()?;
    Path::new(record["manifest"]["file"].as_str()?).file_name().map(OsStr::to_os_string)
}

/// Makes a directory beside `target` for what is kept.
fn make_beside(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for number in 1..10_000 {
        let ending = if number == 1 { String::new() } else { format!("-{number}") };
        let directory = target.with_file_name(format!("{name}.kept{ending}"));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io("create", directory, e)),
        }
    }
    Err(Error::exists(target, "has ten thousand directories beside it that hold what was kept"))
}

/// Fails when `target` is there and is no scheme of qlua's: only those and empty directories are ever replaced by a scheme.
///
/// # Errors
/// [`Error::Exists`].
pub(crate) fn require_own(target: &Path) -> Result<()> {
    let is_empty = || fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_none());
    let is_ours = || input::open(&target.join(RECORDS).join(PROVENANCE)).is_ok();
    if target.symlink_metadata().is_err() || is_empty() || is_ours() {
        return Ok(());
    }
    Err(Error::exists(target, "is no scheme that qlua wrote, so it is not replaced")
        .with_hint("move it away, or choose another --out or --suffix"))
}
