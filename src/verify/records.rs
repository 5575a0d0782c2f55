//! The files of a directory against what is on record of them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use rayon::prelude::*;

use super::{Code, Depth, Problem};
use crate::checkpoint::RECORDS;
use crate::error::Result;
use crate::record::{FileInDirectory, FileKind, FoundRecord, WEIGHT_ERROR, hash_file, record_path};

/// How far a directory was compared with its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// There is none.
    None,
    /// Names and sizes were compared.
    Sizes,
    /// Every file was hashed.
    Hashes,
    /// Weights were hashed, and of other files nothing is on record: it was written by an older release.
    WeightHashes,
    /// It cannot be trusted.
    Damaged,
}

/// Pipes and the like among `files`: loaders would wait for them, or read without an end.
pub(super) fn check_special(files: &[FileInDirectory]) -> Vec<Problem> {
    let special = files.iter().filter(|found| found.kind == FileKind::Special);
    let message = |found: &FileInDirectory| {
        format!("`{}` is a pipe, a socket, a device or a link in a circle, and no file", found.name)
    };
    special.map(|found| Problem::new(Code::StrangeFile, &found.name, message(found))).collect()
}

/// The hash of each of `files`, which are in `directory`, that can be what `record` says of it; but for those whose names `is_read`
/// knows, which are hashed with their values.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Interrupted`].
pub(super) fn hash(
    directory: &Path,
    record: &FoundRecord,
    files: &[FileInDirectory],
    is_read: &(dyn Fn(&str) -> bool + Sync),
) -> Result<HashMap<String, String>> {
    let FoundRecord::Read(record) = record else { return Ok(HashMap::new()) };
    let on_record: HashMap<&str, u64> = record.all_files().map(|(file, bytes, _)| (file, bytes)).collect();
    let is_wanted = |found: &&FileInDirectory| {
        let bytes = on_record.get(found.name.as_str());
        bytes.is_some_and(|bytes| found.kind == FileKind::Regular(*bytes)) && !is_read(&found.name)
    };
    let hash = |found: &FileInDirectory| Ok((found.name.clone(), hash_file(&directory.join(&found.path))?.1));
    files.par_iter().filter(is_wanted).map(hash).collect()
}

/// Compares `files`, all that are in a directory, with `record`; `has_card` says whether the card of that directory is one of
/// qlua's. `hashes` are those of all that can be what is on record.
pub(super) fn check(
    record: &FoundRecord,
    files: &[FileInDirectory],
    hashes: &HashMap<String, String>,
    has_card: bool,
    depth: Depth,
) -> (Vec<Problem>, RecordState) {
    let own = record_path();
    let record = match record {
        FoundRecord::Absent => {
            // Nothing else writes such files.
            let is_scheme =
                has_card || files.iter().any(|found| found.name == format!("{RECORDS}/{WEIGHT_ERROR}"));
            let message = || {
                format!("`{own}` is missing, so that nothing says what the files of this scheme should be")
            };
            let problem = is_scheme.then(|| Problem::new(Code::Record, own.clone(), message()));
            return (problem.into_iter().collect(), RecordState::None);
        }
        FoundRecord::Damaged(how) => {
            let message = format!("`{own}` {how}, so that files are not compared with it");
            return (vec![Problem::new(Code::Record, own, message)], RecordState::Damaged);
        }
        FoundRecord::Read(record) => record,
    };
    let there: HashMap<&str, &FileInDirectory> =
        files.iter().map(|found| (found.name.as_str(), found)).collect();
    let compare = |(file, bytes, blake3): (&str, u64, &str)| match there.get(file) {
        None => Some(missing(file)),
        Some(found) => changed((bytes, blake3), found, hashes, depth),
    };
    let mut problems: Vec<Problem> = record.all_files().filter_map(compare).collect();
    let known: HashSet<&str> = record.all_files().map(|(file, ..)| file).chain([own.as_str()]).collect();
    let is_judged = |found: &&FileInDirectory| {
        record.files.is_some() || found.name.ends_with(".safetensors") && !found.name.contains('/')
    };
    for found in files.iter().filter(is_judged).filter(|found| !known.contains(found.name.as_str())) {
        if found.kind != FileKind::Special {
            let message = format!("`{}` is not on record: nothing of this scheme is called so", found.name);
            problems.push(Problem::new(Code::StrangeFile, &found.name, message));
        }
    }
    if record.files.is_none() {
        let message = format!("`{own}` is of an older release and has no hashes of files beside the weights");
        problems.push(Problem::new(Code::NotChecked, own, message));
    }
    let state = match (depth, &record.files) {
        (Depth::Headers, _) => RecordState::Sizes,
        (Depth::Full, Some(_)) => RecordState::Hashes,
        (Depth::Full, None) => RecordState::WeightHashes,
    };
    (problems, state)
}

fn missing(file: &str) -> Problem {
    Problem::new(Code::MissingFile, file, format!("`{file}` is on record and is not there"))
}

fn changed(
    (expected_bytes, expected_hash): (u64, &str),
    found: &FileInDirectory,
    hashes: &HashMap<String, String>,
    depth: Depth,
) -> Option<Problem> {
    let how = match found.kind {
        FileKind::Special => return None,
        FileKind::Dangling => return Some(missing(&found.name)),
        FileKind::Regular(bytes) if bytes != expected_bytes => {
            format!("has {bytes} bytes, and {expected_bytes} are on record")
        }
        FileKind::Regular(_) if depth == Depth::Headers => return None,
        FileKind::Regular(_) if hashes.get(&found.name).is_some_and(|hash| hash == expected_hash) => {
            return None;
        }
        FileKind::Regular(_) => {
            "is not what it was when it was written: its hash is another one than on record".into()
        }
    };
    Some(Problem::new(Code::ChangedFile, &found.name, format!("`{}` {how}", found.name)))
}
