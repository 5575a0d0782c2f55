//! What stands already where a scheme goes: that very scheme, the same with damage, or something else.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::directory::{DirectoryWriter, require_sound};
use super::planned::PlannedScheme;
use crate::checkpoint::read_header;
use crate::error::{Error, Result};
use crate::input::MappedFile;
use crate::record::{FileKind, ProvenanceRecord, Source, WeightFile, files_below, hash_file, record_path};
use crate::units::bytes as bytes_with_unit;
use crate::write::transaction::{require_replaceable, way_out};
use crate::write::weights::fits_into_shard;

/// What stands where a scheme goes, as far as this run is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing that stays.
    Open,
    /// The scheme, every file of it as it is on record.
    UpToDate,
    /// The scheme with the weights that are on record: it was written by a release that recorded nothing else.
    UpToDateByWeights,
    /// The scheme, with files that are missing or changed: it is written anew.
    Damaged,
}

/// What stands at `directory`, where `scheme` goes, whose tensors have the key `content`. `hashes` are those of weight files that were read before, by the file that
/// a name stands for.
///
/// # Errors
/// [`Error::Exists`] when it was made from other inputs, or is damaged and holds files of somebody else or is a
/// link, or has larger weight files than this run would write.
pub(super) fn standing(
    directories: &DirectoryWriter,
    source: &Source,
    scheme: &PlannedScheme,
    directory: &Path,
    content: &str,
    hashes: &mut HashedFiles,
) -> Result<Standing> {
    if directory.symlink_metadata().is_err() {
        return Ok(Standing::Open);
    }
    let exists = |problem: &str| Error::exists(directory, problem).with_hint(way_out(directory));
    let Some(record) = ProvenanceRecord::read(directory) else { return Err(exists("exists already")) };
    if record.inputs != directories.inputs(source, scheme, content)? {
        return Err(exists("exists already and was made from other inputs"));
    }
    let there = files_below(directory)?;
    let mut is_whole = require_sound(directory, directory).is_ok();
    for (file, bytes, blake3) in record.all_files() {
        let found = there.iter().find(|found| found.name == file && found.kind == FileKind::Regular(bytes));
        is_whole = match found {
            Some(found) if is_whole => hashes.of(&directory.join(&found.path))? == blake3,
            _ => false,
        };
    }
    if is_whole {
        let max_shard_size = directories.options.max_shard_size;
        if let Some(larger) = larger_shard(directory, &record.weights, max_shard_size)? {
            let largest = bytes_with_unit(max_shard_size);
            let problem = format!("exists already, with a weight file larger than {largest}: `{larger}`");
            return Err(Error::exists(directory, problem).with_hint(
                "pass --overwrite to write it anew, or the --max-shard-size that it was made with",
            ));
        }
        return Ok(match record.files {
            Some(_) => Standing::UpToDate,
            None => Standing::UpToDateByWeights,
        });
    }
    // What is damaged is replaced, and with it nothing that this scheme does not consist of.
    let is_own = |name: &str| name == record_path() || record.all_files().any(|(file, ..)| file == name);
    match there.iter().find(|found| record.files.is_none() || !is_own(&found.name)) {
        Some(_) if record.files.is_none() => Err(exists("exists already and is damaged")),
        Some(other) => Err(exists(&format!(
            "exists already, is damaged, and holds `{}`, which is no file of the scheme",
            other.name
        ))),
        None => {
            require_replaceable(directory)?;
            Ok(Standing::Damaged)
        }
    }
}

/// The first of `weights` in `directory` that a run with this `max_shard_size` would have cut.
fn larger_shard(directory: &Path, weights: &[WeightFile], max_shard_size: u64) -> Result<Option<String>> {
    for weight in weights.iter().filter(|weight| weight.bytes > max_shard_size) {
        let path = directory.join(&weight.file);
        let entries = read_header(&path, &MappedFile::open(&path)?)?;
        let bytes = entries.iter().map(|entry| entry.range.len() as u64);
        if !fits_into_shard(bytes, max_shard_size) {
            return Ok(Some(weight.file.clone()));
        }
    }
    Ok(None)
}

/// Hashes of files, each read once however many names it has.
#[derive(Default)]
pub(super) struct HashedFiles(HashMap<(u64, u64), String>);

impl HashedFiles {
    fn of(&mut self, path: &Path) -> Result<String> {
        let metadata = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
        let identity = (metadata.dev(), metadata.ino());
        if let Some(hash) = self.0.get(&identity) {
            return Ok(hash.clone());
        }
        let (_, hash) = hash_file(path)?;
        self.0.insert(identity, hash.clone());
        Ok(hash)
    }
}
