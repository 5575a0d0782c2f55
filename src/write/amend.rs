//! A text of a finished directory that is written anew, and its record with it.
//!
//! Two files change, and a process may be killed between the two. So the new record lies beside the old one before the text gets its
//! name: who comes next finds the text that this record has, and concludes what was begun. Until then `verify` names the text.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use super::held::is_held;
use super::held_file::HeldFile;
use crate::checkpoint::RECORDS;
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::interrupt::Cleanup;
use crate::record::{FoundRecord, PROVENANCE, RecordedFile, with_file};

/// The new record until it has its name.
const NEXT: &str = ".provenance.json.next";

/// What came of [`amend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amended {
    /// It is written anew.
    Written,
    /// There is nothing to change.
    Same,
    /// It is not what is on record: somebody has changed it.
    Changed,
    /// The directory has no such file on record.
    Absent,
}

/// Writes `change` of the text `file` of `directory` in its place, and the record that has its hash. A text that is not as it is on
/// record stays as it is, and so does one of which `change` makes nothing.
///
/// # Errors
/// [`Error::Exists`] when another process writes to the directory; [`Error::Io`].
pub fn amend(directory: &Path, file: &str, change: impl FnOnce(&str) -> Option<String>) -> Result<Amended> {
    let path = directory.join(file);
    let record_path = directory.join(RECORDS).join(PROVENANCE);
    let next_path = directory.join(RECORDS).join(NEXT);
    let read = |path: &Path| input::read(path, InputKind::Record);
    if !is_on_record(&FoundRecord::of(directory)?, file) {
        return Ok(Amended::Absent);
    }
    if is_held(directory) {
        return Err(Error::exists(directory, "is being written by another process")
            .with_hint("wait for it to finish, and run again"));
    }
    // From here on nobody else amends it.
    let partial = directory.join(format!(".{file}.partial"));
    let mut held = HeldFile::take(&partial, directory)?;
    let removals = [partial.clone(), next_path.clone()];
    let mut record = read(&record_path)?;
    let text = match read(&path) {
        Err(error) if input::is_missing(&error) => return Ok(Amended::Changed),
        text => text?,
    };
    let as_recorded = |text: &[u8]| RecordedFile {
        file: file.into(),
        bytes: text.len() as u64,
        blake3: blake3::hash(text).to_hex().to_string(),
    };
    let ours = with_file(&record, &as_recorded(&text)).ok_or_else(|| {
        Error::format(&record_path, format!("has no entry of `{file}` that can be written anew"))
    })?;
    if ours != record {
        // Either somebody has changed the text, or who was to conclude this was killed.
        match read(&next_path) {
            Ok(next) if next == ours => {
                rename(&next_path, &record_path)?;
                record = next;
            }
            _ => return Ok(Amended::Changed),
        }
    } else {
        // Who was to write the text was killed before that.
        let _ = fs::remove_file(&next_path);
    }
    let Some(new) = change(&String::from_utf8_lossy(&text)).filter(|new| new.as_bytes() != text) else {
        return Ok(Amended::Same);
    };
    let Some(new_record) = with_file(&record, &as_recorded(new.as_bytes())) else { return Ok(Amended::Same) };
    let cleanup = Cleanup::register(move || removals.iter().for_each(|path| drop(fs::remove_file(path))));
    let written = (|| {
        let permissions = path.metadata().map_err(|e| Error::io("read", &path, e))?.permissions();
        write_synced(held.file(), new.as_bytes()).map_err(|e| Error::io("write", &partial, e))?;
        held.file().set_permissions(permissions).map_err(|e| Error::io("write", &partial, e))?;
        let mut next = File::create_new(&next_path).map_err(|e| Error::io("write", &next_path, e))?;
        write_synced(&mut next, &new_record).map_err(|e| Error::io("write", &next_path, e))
    })();
    if let Err(error) = written {
        let _ = fs::remove_file(&next_path);
        return Err(error);
    }
    cleanup.conclude(|| {
        held.rename(&path)?;
        rename(&next_path, &record_path)
    })?;
    [directory.to_path_buf(), directory.join(RECORDS)].iter().try_for_each(|folder| sync(folder))?;
    Ok(Amended::Written)
}

fn is_on_record(record: &FoundRecord, file: &str) -> bool {
    match record {
        FoundRecord::Read(record) => record.files.iter().flatten().any(|found| found.file == file),
        _ => false,
    }
}

fn write_synced(file: &mut File, content: &[u8]) -> std::io::Result<()> {
    file.write_all(content)?;
    file.sync_all()
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::io("rename", from, e))
}

fn sync(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::io("write", folder, e))
}
