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

/// Compares `files`, all that are in `directory`, with `record`. `read` are sizes and hashes that are known already.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Interrupted`].
pub(super) fn check(
    directory: &Path,
    record: &FoundRecord,
    files: &[FileInDirectory],
    read: &HashMap<String, (u64, String)>,
    depth: Depth,
) -> Result<(Vec<Problem>, RecordState)> {
    let own = record_path();
    let record = match record {
        FoundRecord::Absent => {
            // Nothing else writes such a file.
            let is_scheme = files.iter().any(|found| found.name == format!("{RECORDS}/{WEIGHT_ERROR}"));
            let message = || {
                format!("`{own}` is missing, so that nothing says what the files of this scheme should be")
            };
            let problem = is_scheme.then(|| Problem::new(Code::Record, own.clone(), message()));
            return Ok((problem.into_iter().collect(), RecordState::None));
        }
        FoundRecord::Damaged(how) => {
            let message = format!("`{own}` {how}, so that files are not compared with it");
            return Ok((vec![Problem::new(Code::Record, own, message)], RecordState::Damaged));
        }
        FoundRecord::Read(record) => record,
    };
    let there: HashMap<&str, &FileInDirectory> =
        files.iter().map(|found| (found.name.as_str(), found)).collect();
    let on_record: Vec<(&str, u64, &str)> = record.all_files().collect();
    let compare = |(file, bytes, blake3): (&str, u64, &str)| match there.get(file) {
        None => Ok(Some(missing(file))),
        Some(found) => changed(directory, (bytes, blake3), found, read, depth),
    };
    let compared: Vec<Option<Problem>> = on_record.into_par_iter().map(compare).collect::<Result<_>>()?;
    let mut problems: Vec<Problem> = compared.into_iter().flatten().collect();
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
    Ok((problems, state))
}

fn missing(file: &str) -> Problem {
    Problem::new(Code::MissingFile, file, format!("`{file}` is on record and is not there"))
}

fn changed(
    directory: &Path,
    (expected_bytes, expected_hash): (u64, &str),
    found: &FileInDirectory,
    read: &HashMap<String, (u64, String)>,
    depth: Depth,
) -> Result<Option<Problem>> {
    let how = match found.kind {
        FileKind::Special => return Ok(None),
        FileKind::Dangling => return Ok(Some(missing(&found.name))),
        FileKind::Regular(bytes) if bytes != expected_bytes => {
            format!("has {bytes} bytes, and {expected_bytes} are on record")
        }
        FileKind::Regular(_) if depth == Depth::Headers => return Ok(None),
        FileKind::Regular(_) => {
            let known = read.get(&found.name).cloned();
            let (_, blake3) = known.map_or_else(|| hash_file(&directory.join(&found.path)), Ok)?;
            if blake3 == expected_hash {
                return Ok(None);
            }
            "is not what it was when it was written: its hash is another one than on record".into()
        }
    };
    Ok(Some(Problem::new(Code::ChangedFile, &found.name, format!("`{}` {how}", found.name))))
}
