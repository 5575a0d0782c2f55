//! Where the shards of a family are written: a hidden directory beside its schemes that survives a kill, so that the next
//! run goes on where this one stopped.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::record::hash_file;
use crate::write::WeightErrors;
use crate::write::transaction::{lock_directory, missing_parents};

pub(super) const DIRECTORY: &str = ".qlua.partial";
pub(super) const JOURNAL: &str = "journal.jsonl";

/// A shard that is complete and on the disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// See [`super::bucket::PlannedShard::key`].
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its content.
    pub blake3: String,
    /// What its codes lose.
    pub errors: WeightErrors,
    /// Hash of the blocks of the source that it was made from.
    pub source: String,
}

/// The first line of a journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Inputs {
    pub inputs: String,
}

/// The directory of unfinished work. Dropped before [`Workplace::close`], it goes away, unless it is to be kept.
pub(crate) struct Workplace {
    path: PathBuf,
    journal: Mutex<File>,
    /// What a killed run had finished, and this one.
    finished: Mutex<HashMap<String, Finished>>,
    /// Parents that were made for it, deepest first.
    created: Vec<PathBuf>,
    keep: bool,
    _lock: File,
}

impl Workplace {
    /// Opens the workplace below `out` for work on `inputs`, a hash of them. What a killed run on the same inputs left is
    /// taken over; what one on other inputs left is refused, or dropped with `overwrite`.
    ///
    /// # Errors
    /// [`Error::Exists`] when another process works there, or other inputs were worked on; [`Error::Io`].
    pub fn open(out: &Path, inputs: &str, overwrite: bool) -> Result<Self> {
        let path = out.join(DIRECTORY);
        let created = missing_parents(&path);
        fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
        if path.symlink_metadata().is_ok() {
            // Held while the leftover is looked at and, where it is dropped, until it is gone.
            let lock = lock_directory(&path, out)?;
            let (left, finished) = read_journal(&path.join(JOURNAL));
            if left.as_deref() == Some(inputs) {
                let journal = path.join(JOURNAL);
                let open = OpenOptions::new().append(true).open(&journal);
                let journal = Mutex::new(open.map_err(|e| Error::io("write", &journal, e))?);
                let finished = Mutex::new(finished);
                return Ok(Workplace { path, journal, finished, created, keep: false, _lock: lock });
            }
            if !finished.is_empty() && !overwrite {
                return Err(of_other_inputs(&path));
            }
            fs::remove_dir_all(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        fs::create_dir(&path).map_err(|e| Error::io("create", &path, e))?;
        let lock = lock_directory(&path, out)?;
        let journal_path = path.join(JOURNAL);
        let mut journal = File::create(&journal_path).map_err(|e| Error::io("create", &journal_path, e))?;
        append(&mut journal, &journal_path, &Inputs { inputs: inputs.into() })?;
        let finished = Mutex::new(HashMap::new());
        Ok(Workplace { path, journal: Mutex::new(journal), finished, created, keep: false, _lock: lock })
    }

    /// Fails when [`Workplace::open`] would refuse what lies below `out`; nothing is touched.
    ///
    /// # Errors
    /// [`Error::Exists`] when a run on other inputs left finished shards there.
    pub fn require_usable(out: &Path, inputs: &str) -> Result<()> {
        let path = out.join(DIRECTORY);
        let (left, finished) = read_journal(&path.join(JOURNAL));
        if finished.is_empty() || left.as_deref() == Some(inputs) {
            Ok(())
        } else {
            Err(of_other_inputs(&path))
        }
    }

    /// How many bytes of shards lie below `out` that a run has finished.
    pub fn finished_bytes(out: &Path) -> u64 {
        let (_, finished) = read_journal(&out.join(DIRECTORY).join(JOURNAL));
        finished.values().map(|shard| shard.bytes).sum()
    }

    /// Removes what a run left that was killed after it had given every scheme its name. What holds a finished shard that
    /// `is_used` does not know stays: another run may go on with it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(out: &Path, is_used: impl Fn(&str) -> bool) -> Result<()> {
        let path = out.join(DIRECTORY);
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let Ok(_lock) = lock_directory(&path, out) else { return Ok(()) };
        let (_, finished) = read_journal(&path.join(JOURNAL));
        if finished.keys().all(|key| is_used(key)) {
            fs::remove_dir_all(&path).map_err(|e| Error::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// Where the shard `key` is or will be.
    pub fn path_of(&self, key: &str) -> PathBuf {
        self.path.join(format!("{key}.safetensors"))
    }

    /// The shard `key` if a run had finished it and it still is as it was: size and hash decide. Whatever else lies at its
    /// place is removed.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub fn finished(&self, key: &str) -> Result<Option<Finished>> {
        let path = self.path_of(key);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let record = lock(&self.finished).get(key).cloned();
        if let Some(record) = record
            && path.metadata().is_ok_and(|m| m.len() == record.bytes)
            && hash_file(&path)? == (record.bytes, record.blake3.clone())
        {
            return Ok(Some(record));
        }
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        Ok(None)
    }

    /// The record of the shard `key`, which is complete.
    pub fn record_of(&self, key: &str) -> Option<Finished> {
        lock(&self.finished).get(key).cloned()
    }

    /// Records that the shard of `record` is complete and on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn record(&self, record: Finished) -> Result<()> {
        append(&mut lock(&self.journal), &self.path.join(JOURNAL), &record)?;
        lock(&self.finished).insert(record.key.clone(), record);
        Ok(())
    }

    /// Leaves the directory for the next run, if anything in it is worth that.
    pub fn keep_finished(&mut self) {
        self.keep = !lock(&self.finished).is_empty();
    }

    /// Removes the directory: every scheme has its shards.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(mut self) -> Result<()> {
        self.keep = true;
        fs::remove_dir_all(&self.path).map_err(|e| Error::io("remove", &self.path, e))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
            for parent in &self.created {
                // Fails, as it should, when something else is there.
                let _ = fs::remove_dir(parent);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

pub(super) fn append(journal: &mut File, path: &Path, line: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(line).map_err(|e| Error::io("write", path, e.into()))?;
    text.push(b'\n');
    journal.write_all(&text).and_then(|()| journal.sync_data()).map_err(|e| Error::io("write", path, e))
}

/// The inputs and the finished shards of a journal, as far as it can be read: a kill may have cut its last line.
fn of_other_inputs(path: &Path) -> Error {
    Error::exists(path, "was left by a run on other inputs that was stopped")
        .with_hint("repeat that run to finish it, or pass --overwrite, which drops what it had written")
}

pub(super) fn read_journal(path: &Path) -> (Option<String>, HashMap<String, Finished>) {
    let text = input::read(path, InputKind::Record).unwrap_or_default();
    let mut lines = text.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
    let inputs = lines.next().and_then(|line| serde_json::from_slice::<Inputs>(line).ok());
    let records = lines.filter_map(|line| serde_json::from_slice::<Finished>(line).ok());
    (inputs.map(|i| i.inputs), records.map(|r| (r.key.clone(), r)).collect())
}
