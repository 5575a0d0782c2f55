//! What the schemes of a run are made from: that it stays as it was from the first look to the last.

use std::collections::HashMap;

use super::Run;
use crate::error::{Error, Result};
use crate::input::Watched;
use crate::record::{Source, hash_file};
use crate::write::store::bucket::PlannedShard;
use crate::write::store::restored::WorkInputs;
use crate::write::store::workplace::Finished;

impl<'a> Run<'a> {
    /// Fails when a file that the schemes are made from is another one now. The weight files of which nothing but their content
    /// can tell are returned.
    pub(super) fn require_unchanged(&self) -> Result<Vec<&Watched>> {
        let doubtful = self.basis.require_unchanged()?;
        self.copied.iter().try_for_each(|file| file.recheck().map(drop))?;
        Ok(doubtful)
    }

    /// The same, and that those weight files have the hashes that go on record.
    pub(super) fn require_same_content(&self, source: &Source) -> Result<()> {
        let doubtful = self.require_unchanged()?;
        let hashes: HashMap<&str, &str> =
            source.shards.iter().map(|shard| (shard.file.as_str(), shard.blake3.as_str())).collect();
        for (name, path, _) in self.model.shards() {
            if let Some(file) = doubtful.iter().find(|file| file.path() == path)
                && hashes.get(name) != Some(&hash_file(path)?.1.as_str())
            {
                return Err(file.changed("was written to"));
            }
        }
        Ok(())
    }

    /// `error`, unless a file is another one by now: then that is the reason of whatever else went wrong.
    pub(super) fn explained(&self, error: Error) -> Error {
        match error {
            Error::Interrupted => error,
            _ => self.require_unchanged().err().unwrap_or(error),
        }
    }

    /// Whether a shard that a run has finished was made from the same weights as this run would make it from.
    pub(super) fn is_made_of_source(&self, shards: &[PlannedShard], finished: &Finished) -> bool {
        let shard = shards.iter().find(|shard| shard.key == finished.key);
        shard.is_some_and(|shard| self.hash_of_source(shard) == finished.source)
    }

    /// Hash of the weights that `shard` is made from.
    pub(super) fn hash_of_source(&self, shard: &PlannedShard) -> String {
        let tensors = shard.tensors.iter().flat_map(|tensor| tensor.content.sources());
        self.sources.of_parts(tensors.map(|tensor| tensor.bytes()))
    }

    /// The weight files that `shard` is made from.
    pub(super) fn files_of(&self, shard: &PlannedShard) -> Vec<&Watched> {
        let sources = || shard.tensors.iter().flat_map(|tensor| tensor.content.sources());
        let mut starts: Vec<usize> = sources().map(|tensor| tensor.bytes().as_ptr() as usize).collect();
        starts.sort_unstable();
        let holds_one = |bytes: &[u8]| {
            let file = bytes.as_ptr_range();
            let first = starts.partition_point(|start| *start < file.start as usize);
            starts.get(first).is_some_and(|start| *start < file.end as usize)
        };
        let files = self.model.shards_watched().filter(|(_, bytes, _)| holds_one(bytes));
        files.map(|(_, _, watched)| watched).collect()
    }

    /// What the workplace of a run must have in common with that of a run that was stopped. Shards have keys of their own;
    /// this says that the source is the same file by file, down to inode and time of its last change, without reading it.
    pub(super) fn inputs(&self) -> WorkInputs {
        let (mut content, mut times) = (blake3::Hasher::new(), blake3::Hasher::new());
        for (name, bytes, watched) in self.model.shards_watched() {
            content.update(format!("{name} {}\n", bytes.len()).as_bytes());
            let identity = watched.identity();
            times.update(format!("{name} {:?} {:?}\n", identity.file(), identity.times()).as_bytes());
        }
        content.update(self.model.config_text());
        content.update(self.directories.manifest.bytes());
        content.update(format!("{:?}", self.layout).as_bytes());
        WorkInputs::new(&content.finalize(), &times.finalize())
    }
}
