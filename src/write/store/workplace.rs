//! Where the shards of a family are written: a hidden directory beside its schemes that survives a kill, so that the next
//! run goes on where this one stopped.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use super::block_journal::{BlockJournal, begin_line, intact_blocks};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::interrupt::Cleanup;
use crate::record::hash_file;
use crate::write::WeightErrors;
use crate::write::held::{HeldDirectory, remove_held, require_takable};
use crate::write::pass::MadeBlock;
use crate::write::transaction::missing_parents;

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
    /// Nothing once it was given up.
    held: Option<HeldDirectory>,
    cleanup: Option<Cleanup>,
    journal: Mutex<File>,
    /// What a stopped run had finished, and this one.
    finished: Mutex<HashMap<String, Finished>>,
    /// Whether something in it is of use to a later run.
    has_work: Arc<AtomicBool>,
    /// Parents that were made for it, deepest first.
    created: Vec<PathBuf>,
    keep: bool,
}

impl Workplace {
    /// Opens the workplace below `out` for work on `inputs`, a hash of them. What a stopped run on the same inputs left is
    /// taken over; what one on other inputs left is refused, or dropped with `overwrite`.
    ///
    /// # Errors
    /// [`Error::Exists`] when another process works there, other inputs were worked on, or a link is in its place;
    /// [`Error::Io`].
    pub fn open(out: &Path, inputs: &str, overwrite: bool) -> Result<Self> {
        let path = out.join(DIRECTORY);
        let created = missing_parents(&path);
        let held = HeldDirectory::take(&path, out).inspect_err(|_| remove_empty(&created))?;
        let (journal, finished) = match open_journal(&path, &held, inputs, overwrite) {
            Ok(opened) => opened,
            Err(error) => {
                if !holds_work(&path, &read_journal(&path).1) {
                    let _ = held.remove();
                    remove_empty(&created);
                }
                return Err(error);
            }
        };
        let has_work = Arc::new(AtomicBool::new(holds_work(&path, &finished)));
        let (at, has, parents) = (path.clone(), Arc::clone(&has_work), created.clone());
        let cleanup = Cleanup::register(move || {
            if !has.load(Ordering::Relaxed) {
                let _ = remove_held(&at);
                remove_empty(&parents);
            }
        });
        Ok(Workplace {
            path,
            held: Some(held),
            cleanup: Some(cleanup),
            journal: Mutex::new(journal),
            finished: Mutex::new(finished),
            has_work,
            created,
            keep: false,
        })
    }

    /// Fails when [`Workplace::open`] would refuse what lies below `out`; nothing is touched.
    ///
    /// # Errors
    /// [`Error::Exists`] when a run on other inputs left work there.
    pub fn require_usable(out: &Path, inputs: &str) -> Result<()> {
        let path = out.join(DIRECTORY);
        let (left, finished) = read_journal(&path);
        if left.as_deref() == Some(inputs) || !holds_work(&path, &finished) {
            Ok(())
        } else {
            Err(of_other_inputs(&path))
        }
    }

    /// Fails when something else than a workplace lies where that of `out` goes; nothing is touched.
    ///
    /// # Errors
    /// [`Error::Exists`].
    pub fn require_place(out: &Path) -> Result<()> {
        require_takable(&out.join(DIRECTORY))
    }

    /// How many bytes of shards a run has left below `out`, as far as they take room on the disk.
    pub fn left_bytes(out: &Path) -> u64 {
        shards_in(&out.join(DIRECTORY)).map(|shard| shard.bytes).sum()
    }

    /// Removes what a run left that was killed after it had given every scheme its name. What of the same `inputs` holds
    /// shards that `is_used` does not know stays, as does all that belongs to others: another run may go on with it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn clear(out: &Path, inputs: &str, is_used: impl Fn(&str) -> bool) -> Result<()> {
        let path = out.join(DIRECTORY);
        // What another process holds, and what is none, is not this run's.
        let Ok(Some(held)) = HeldDirectory::find(&path) else { return Ok(()) };
        let (left, finished) = read_journal(&path);
        if left.as_deref() == Some(inputs) {
            remove_used(&path, &finished, is_used)?;
        }
        let (_, finished) = read_journal(&path);
        if holds_work(&path, &finished) { Ok(()) } else { held.remove() }
    }

    /// Where the shard `key` is or will be.
    pub fn path_of(&self, key: &str) -> PathBuf {
        self.path.join(format!("{key}.safetensors"))
    }

    /// The shard `key` if a run had finished it and it still is as it was: size and hash decide. One that is not as it was is
    /// removed.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub fn finished(&self, key: &str) -> Result<Option<Finished>> {
        let path = self.path_of(key);
        let (Ok(metadata), Some(record)) = (path.symlink_metadata(), self.record_of(key)) else {
            return Ok(None);
        };
        let is_same = metadata.is_file() && metadata.len() == record.bytes;
        if is_same && hash_file(&path)? == (record.bytes, record.blake3.clone()) {
            return Ok(Some(record));
        }
        fs::remove_file(&path).map_err(|e| Error::io("remove", &path, e))?;
        Ok(None)
    }

    /// The blocks of the unfinished shard `key`, which will have `length` bytes, that a stopped run had made and that are as
    /// they were and made from what `is_of_source` knows by its hash. Where there is none, whatever lies at the place of the shard is removed.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub fn made_blocks(
        &self,
        key: &str,
        length: u64,
        is_of_source: impl Fn(usize, &str) -> bool + Sync,
    ) -> Result<Vec<MadeBlock>> {
        let (path, journal) = (self.path_of(key), blocks_path(&self.path, key));
        let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path);
        let is_own = |m: &fs::Metadata| m.is_file() && m.nlink() == 1 && m.len() == length;
        // A file with another name may belong to a finished directory, which is not written to.
        let blocks = match opened {
            Ok(file) if file.metadata().is_ok_and(|m| is_own(&m)) => {
                intact_blocks(&journal, &file, length, is_of_source)?
            }
            _ => vec![],
        };
        if blocks.is_empty() {
            for path in [&path, &journal] {
                if path.symlink_metadata().is_ok() {
                    fs::remove_file(path).map_err(|e| Error::io("remove", path, e))?;
                }
            }
        }
        Ok(blocks)
    }

    /// The journal of the blocks of the shard `key`.
    pub fn block_journal(&self, key: &str) -> BlockJournal {
        BlockJournal::at(blocks_path(&self.path, key))
    }

    /// From now on a later run has a use for what is here.
    pub fn has_work(&self) {
        self.has_work.store(true, Ordering::Relaxed);
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
        self.has_work();
        Ok(())
    }

    /// Leaves the directory for the next run, if anything in it is worth that, and says where it is.
    pub fn keep_work(&mut self) -> Option<&Path> {
        self.keep = self.has_work.load(Ordering::Relaxed);
        self.keep.then_some(self.path.as_path())
    }

    /// Every scheme has its shards: removes those that `is_used` knows, and the directory unless an earlier run on the same
    /// inputs left others in it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn close(mut self, is_used: impl Fn(&str) -> bool) -> Result<()> {
        let finished = std::mem::take(&mut *lock(&self.finished));
        remove_used(&self.path, &finished, is_used)?;
        self.keep = holds_work(&self.path, &finished);
        Ok(())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let keep = self.keep;
        let remove = || {
            if !keep {
                let _ = held.remove();
            }
        };
        match self.cleanup.take() {
            Some(cleanup) => cleanup.conclude(remove),
            None => remove(),
        }
        if !keep {
            remove_empty(&self.created);
        }
    }
}

/// A shard that lies in a workplace, whole or not.
struct LeftShard {
    key: String,
    path: PathBuf,
    /// That it takes on the disk, unless a finished directory has it too.
    bytes: u64,
    links: u64,
}

fn shards_in(workplace: &Path) -> impl Iterator<Item = LeftShard> {
    let entries = is_directory(workplace).then(|| fs::read_dir(workplace));
    entries.into_iter().flatten().flatten().flatten().filter_map(|entry| {
        let path = entry.path();
        let key = path.file_name()?.to_str()?.strip_suffix(".safetensors")?.to_string();
        let metadata = path.symlink_metadata().ok().filter(|m| m.is_file())?;
        Some(LeftShard { key, path, bytes: metadata.blocks() * 512, links: metadata.nlink() })
    })
}

/// Whether there is a directory, and not a link to one.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.is_dir())
}

fn blocks_path(workplace: &Path, key: &str) -> PathBuf {
    workplace.join(format!("{key}.blocks"))
}

/// Whether a run that comes later can go on with a shard of `workplace`.
fn holds_work(workplace: &Path, finished: &HashMap<String, Finished>) -> bool {
    shards_in(workplace).any(|shard| is_of_use(workplace, finished, &shard))
}

fn is_of_use(workplace: &Path, finished: &HashMap<String, Finished>, shard: &LeftShard) -> bool {
    let has_blocks = || blocks_path(workplace, &shard.key).metadata().is_ok_and(|m| m.len() > 0);
    finished.contains_key(&shard.key) || has_blocks()
}

/// Removes the shards that `is_used` knows, that a finished directory has too, or that are of no use.
fn remove_used(
    workplace: &Path,
    finished: &HashMap<String, Finished>,
    is_used: impl Fn(&str) -> bool,
) -> Result<()> {
    for shard in shards_in(workplace) {
        if shard.links > 1 || is_used(&shard.key) || !is_of_use(workplace, finished, &shard) {
            fs::remove_file(&shard.path).map_err(|e| Error::io("remove", &shard.path, e))?;
            let _ = fs::remove_file(blocks_path(workplace, &shard.key));
        }
    }
    Ok(())
}

/// Removes those of the directories `parents`, deepest first, that are empty.
fn remove_empty(parents: &[PathBuf]) {
    for parent in parents {
        // Fails, as it should, when something else is there.
        let _ = fs::remove_dir(parent);
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

/// The journal of `workplace` for work on `inputs`, and what it says is finished; that of a run on other inputs goes away
/// with all that is there, if there is nothing of use or with `overwrite`.
fn open_journal(
    workplace: &Path,
    held: &HeldDirectory,
    inputs: &str,
    overwrite: bool,
) -> Result<(File, HashMap<String, Finished>)> {
    let path = workplace.join(JOURNAL);
    let failed = |e| Error::io("write", &path, e);
    let mut options = OpenOptions::new();
    options.read(true).append(true).custom_flags(libc::O_NOFOLLOW);
    let (left, finished) = read_journal(workplace);
    if left.as_deref() == Some(inputs) {
        let mut journal = options.open(&path).map_err(failed)?;
        begin_line(&mut journal).map_err(failed)?;
        return Ok((journal, finished));
    }
    if holds_work(workplace, &finished) && !overwrite {
        return Err(of_other_inputs(workplace));
    }
    held.clear()?;
    let mut journal = options.create_new(true).open(&path).map_err(failed)?;
    append(&mut journal, &path, &Inputs { inputs: inputs.into() })?;
    Ok((journal, HashMap::new()))
}

fn of_other_inputs(path: &Path) -> Error {
    let out = path.parent().unwrap_or(path).display();
    Error::exists(path, "was left by a run on other inputs that was stopped").with_hint(format!(
        "repeat that run to finish it, or drop what it had written with `qlua clean {out}` or --overwrite"
    ))
}

/// The inputs and the finished shards of the journal of `workplace`, as far as it can be read: a kill may have cut its last
/// line.
pub(super) fn read_journal(workplace: &Path) -> (Option<String>, HashMap<String, Finished>) {
    let path = workplace.join(JOURNAL);
    let is_own = is_directory(workplace) && path.symlink_metadata().is_ok_and(|m| m.is_file());
    let text = if is_own { input::read(&path, InputKind::Record).unwrap_or_default() } else { vec![] };
    let mut lines = text.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n"));
    let inputs = lines.next().and_then(|line| serde_json::from_slice::<Inputs>(line).ok());
    let records = lines.filter_map(|line| serde_json::from_slice::<Finished>(line).ok());
    (inputs.map(|i| i.inputs), records.map(|r| (r.key.clone(), r)).collect())
}
