//! Which blocks of an unfinished shard are there: a file beside it with the hash of each, so that a run that was stopped in a
//! large shard goes on in the middle of it.
//!
//! A line is written after its block. Nothing forces either to the disk, since a line proves nothing: blocks count when they
//! still have the hash that is on record.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::interrupt;
use crate::record::tree_hash::{BLOCK, BlockHash, block_count};
use crate::write::pass::{BlockError, MadeBlock};

/// A line, after the hash of itself.
#[derive(Serialize, Deserialize)]
struct BlockLine {
    block: usize,
    blake3: String,
    /// Hash of what it was made from.
    source: String,
    errors: Vec<BlockError>,
}

/// Takes the blocks of a shard down as they are made.
pub(crate) struct BlockJournal {
    path: PathBuf,
    /// Open from the first block on.
    file: Mutex<Option<File>>,
}

impl BlockJournal {
    /// The journal at `path`, which may hold the blocks of an earlier run.
    pub fn at(path: PathBuf) -> Self {
        BlockJournal { path, file: Mutex::new(None) }
    }

    /// Adds a block that is written, made from what has the hash `source`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn add(&self, made: &MadeBlock, source: &str) -> Result<()> {
        let failed = |e| Error::io("write", &self.path, e);
        let line = BlockLine {
            block: made.block,
            blake3: made.hash.to_hex(),
            source: source.into(),
            errors: made.errors.clone(),
        };
        let text = serde_json::to_string(&line).map_err(|e| failed(e.into()))?;
        let line = format!("{} {text}\n", blake3::hash(text.as_bytes()).to_hex());
        let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if file.is_none() {
            let mut options = File::options();
            options.create(true).append(true).read(true).custom_flags(libc::O_NOFOLLOW);
            let mut opened = options.open(&self.path).map_err(failed)?;
            begin_line(&mut opened).map_err(failed)?;
            *file = Some(opened);
        }
        match &mut *file {
            Some(file) => file.write_all(line.as_bytes()).map_err(failed),
            None => Ok(()),
        }
    }

    /// Removes the journal: the shard is complete.
    pub fn close(&self) {
        self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        // One that stays is in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}

/// The blocks of the file `shard`, `length` bytes long, that are as the journal at `path` has them and made from what
/// `is_of_source` knows by block and hash, ascending.
///
/// # Errors
/// [`Error::Io`] when the shard cannot be read; [`Error::Interrupted`].
pub(super) fn intact_blocks(
    path: &Path,
    shard: &File,
    length: u64,
    is_of_source: impl Fn(usize, &str) -> bool + Sync,
) -> Result<Vec<MadeBlock>> {
    let count = block_count(length);
    let text = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => input::read(path, InputKind::Record)?,
        _ => return Ok(vec![]),
    };
    let lines = text.split(|b| *b == b'\n').filter_map(read_line);
    // Of a block that was made twice the later one counts.
    let lines: BTreeMap<usize, BlockLine> =
        lines.filter(|line| line.block < count).map(|line| (line.block, line)).collect();
    let intact = |buffer: &mut Vec<u8>, line: BlockLine| {
        interrupt::check()?;
        if !is_of_source(line.block, &line.source) {
            return Ok(None);
        }
        let start = (line.block * BLOCK) as u64;
        buffer.resize((length - start).min(BLOCK as u64) as usize, 0);
        shard.read_exact_at(buffer, start).map_err(|e| Error::io("read", path, e))?;
        let hash = BlockHash::of(line.block, count, buffer);
        let is_same = hash.to_hex() == line.blake3;
        Ok(is_same.then_some(MadeBlock { block: line.block, hash, errors: line.errors }))
    };
    let lines: Vec<BlockLine> = lines.into_values().collect();
    let blocks: Vec<Option<MadeBlock>> =
        lines.into_par_iter().map_init(Vec::new, intact).collect::<Result<_>>()?;
    Ok(blocks.into_iter().flatten().collect())
}

fn read_line(line: &[u8]) -> Option<BlockLine> {
    let (hash, text) = line.split_at_checked(64)?;
    let text = text.strip_prefix(b" ")?;
    if blake3::hash(text).to_hex().as_bytes() != hash {
        return None;
    }
    serde_json::from_slice(text).ok()
}

/// Ends a last line of `file` that a kill cut.
pub(super) fn begin_line(file: &mut File) -> io::Result<()> {
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::QuantisationError;

    #[test]
    fn blocks_count_that_are_as_they_were_and_nothing_else_does() {
        let place = tempfile::tempdir().unwrap();
        let (path, shard) = (place.path().join("a.blocks"), place.path().join("a.safetensors"));
        let length = 4 * BLOCK + 10;
        let mut bytes: Vec<u8> = (0..length).map(|i| (i * 31 % 251) as u8).collect();
        let error = QuantisationError { elements: 3, sum_squares: 0.1 + 0.2, ..Default::default() };
        let part = BlockError { entry: 2, whole: false, error };
        let block = |block: usize| {
            let end = length.min((block + 1) * BLOCK);
            let hash = BlockHash::of(block, 5, &bytes[block * BLOCK..end]);
            MadeBlock { block, hash, errors: vec![part.clone()] }
        };
        let journal = BlockJournal::at(path.clone());
        for made in [0, 1, 3, 4].map(block) {
            journal.add(&made, "s").unwrap();
        }
        // Cut by a kill, and gone on with.
        let cut = fs::read(&path).unwrap();
        fs::write(&path, &cut[..cut.len() - 20]).unwrap();
        BlockJournal::at(path.clone()).add(&block(2), "s").unwrap();
        bytes[BLOCK + 7] ^= 1;
        fs::write(&shard, &bytes).unwrap();
        let intact = |is_of_source: fn(usize, &str) -> bool| {
            intact_blocks(&path, &File::open(&shard).unwrap(), length as u64, is_of_source).unwrap()
        };
        assert!(intact(|_, source| source != "s").is_empty());
        let found = intact(|_, source| source == "s");
        assert_eq!(found.iter().map(|made| made.block).collect::<Vec<_>>(), [0, 2, 3]);
        assert!(found.iter().all(|made| made.errors == [part.clone()]));
        assert_eq!(intact(|block, _| block == 2).iter().map(|made| made.block).collect::<Vec<_>>(), [2]);
        journal.close();
        assert!(!path.exists());
    }
}
