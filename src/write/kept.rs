//! What lies in a directory that qlua did not write: before the directory is replaced it is moved aside.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::checkpoint::{HF_QUANT_CONFIG, INDEX_FILE, RECORDS};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::record::{PROVENANCE, WEIGHT_ERROR};
use crate::units::counted;

/// What was moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAside {
    /// Where it is now.
    pub directory: PathBuf,
    /// How many files, links and empty folders.
    pub count: usize,
}

impl KeptAside {
    /// A sentence for people; `target` is where it was.
    pub fn note(&self, target: &Path) -> String {
        let what = match self.count {
            1 => "1 file that qlua did not write was".to_string(),
            count => format!("{} that qlua did not write were", counted(count, "file")),
        };
        format!("{what} in `{}` and lies in `{}` now", target.display(), self.directory.display())
    }
}

/// Moves all that qlua did not write from `old`, which was called `target` and has been replaced there, into a new directory
/// beside `target`. What has the path of a file of the new directory counts as written by qlua.
///
/// # Errors
/// [`Error::Io`]; what was not moved by then is still in `old`.
pub(super) fn keep_foreign(old: &Path, target: &Path) -> Result<Option<KeptAside>> {
    if !old.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        return Ok(None);
    }
    let mut foreign = Vec::new();
    let manifest = recorded_manifest(old);
    let is_ours = |path: &Path| {
        target.join(path).symlink_metadata().is_ok() || is_written_here(path, manifest.as_deref())
    };
    collect(old, Path::new(""), &is_ours, &mut foreign)?;
    if foreign.is_empty() {
        return Ok(None);
    }
    let directory = make_beside(target)?;
    for path in &foreign {
        let to = directory.join(path);
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        }
        fs::rename(old.join(path), &to).map_err(|e| Error::io("rename", &to, e))?;
    }
    Ok(Some(KeptAside { directory, count: foreign.len() }))
}

/// The paths below `folder` of `root` that are not ours: files, links, and folders that are empty.
fn collect(
    root: &Path,
    folder: &Path,
    is_ours: &impl Fn(&Path) -> bool,
    foreign: &mut Vec<PathBuf>,
) -> Result<()> {
    let path = root.join(folder);
    let mut is_empty = true;
    for entry in fs::read_dir(&path).map_err(|e| Error::io("read", &path, e))? {
        let entry = entry.map_err(|e| Error::io("read", &path, e))?;
        is_empty = false;
        let relative = folder.join(entry.file_name());
        if entry.file_type().map_err(|e| Error::io("read", entry.path(), e))?.is_dir() {
            collect(root, &relative, is_ours, foreign)?;
        } else if !is_ours(&relative) {
            foreign.push(relative);
        }
    }
    if is_empty && folder != Path::new("") && !is_ours(folder) {
        foreign.push(folder.into());
    }
    Ok(())
}

/// Whether qlua writes files of this path into every scheme; `manifest` is the file name of the one that it was made from.
fn is_written_here(path: &Path, manifest: Option<&OsStr>) -> bool {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return false };
    match path.parent() {
        Some(folder) if folder == Path::new("") => {
            ["config.json", HF_QUANT_CONFIG, INDEX_FILE].contains(&name)
                || name.starts_with(".qlua-")
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
