//! Borders in memory up to a limit, and beyond it in a temporary file.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::backend::Backend;
use super::borders::{Border, Borders, missing};
use crate::error::{Error, Result};

/// Bytes of borders in memory when nobody says.
pub const BORDER_MEMORY: u64 = 256 << 20;

/// Bytes that are converted at a time.
const PIECE: usize = 1 << 20;

/// Keeps borders on the device up to a limit, and beyond it in a file without a name, which the operating system removes when the
/// process ends, however it ends.
pub struct SpilledBorders<B: Backend> {
    limit: u64,
    held: u64,
    directory: PathBuf,
    places: HashMap<(Border, usize), BorderPlace<B>>,
    file: Option<File>,
    /// Bytes in the file.
    length: u64,
}

enum BorderPlace<B: Backend> {
    Device(B::Buffer),
    File { start: u64, values: usize },
}

impl<B: Backend> SpilledBorders<B> {
    /// At most `limit` bytes in memory, the others in a file in `directory`.
    pub fn new(limit: u64, directory: impl Into<PathBuf>) -> Self {
        SpilledBorders {
            limit,
            held: 0,
            directory: directory.into(),
            places: HashMap::new(),
            file: None,
            length: 0,
        }
    }

    /// Bytes that went to the file.
    pub fn spilled(&self) -> u64 {
        self.length
    }

    fn read(&self, backend: &B, start: u64, values: usize) -> Result<B::Buffer> {
        let file = self.file.as_ref().ok_or_else(|| Error::argument("the temporary file is gone"))?;
        Ok(backend.upload(read_values(file, &self.directory, start, values)?))
    }
}

impl<B: Backend> Default for SpilledBorders<B> {
    /// [`BORDER_MEMORY`], and the system's directory for temporary files.
    fn default() -> Self {
        SpilledBorders::new(BORDER_MEMORY, std::env::temp_dir())
    }
}

impl<B: Backend> Borders<B> for SpilledBorders<B> {
    fn put(&mut self, backend: &B, border: Border, chunk: usize, values: B::Buffer) -> Result<()> {
        let count = backend.length(&values);
        let bytes = count as u64 * 4;
        let place = if self.held + bytes <= self.limit {
            self.held += bytes;
            BorderPlace::Device(values)
        } else {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(
                    tempfile::tempfile_in(&self.directory)
                        .map_err(|e| Error::io("write a temporary file to", &self.directory, e))?,
                ),
            };
            let start = self.length;
            write_values(file, &self.directory, start, &backend.download(&values))?;
            self.length += bytes;
            BorderPlace::File { start, values: count }
        };
        self.places.insert((border, chunk), place);
        Ok(())
    }

    fn take(&mut self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer> {
        match self.places.remove(&(border, chunk)) {
            Some(BorderPlace::Device(values)) => {
                self.held -= backend.length(&values) as u64 * 4;
                Ok(values)
            }
            Some(BorderPlace::File { start, values }) => self.read(backend, start, values),
            None => Err(missing(border)),
        }
    }

    fn copy(&self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer> {
        match self.places.get(&(border, chunk)) {
            Some(BorderPlace::Device(values)) => Ok(backend.copy(values)),
            Some(BorderPlace::File { start, values }) => self.read(backend, *start, *values),
            None => Err(missing(border)),
        }
    }
}

/// Writes `values` at `start`; `directory` is named in errors, as the file has no name.
fn write_values(file: &File, directory: &Path, mut start: u64, values: &[f32]) -> Result<()> {
    let mut bytes = Vec::with_capacity(PIECE);
    for piece in values.chunks(PIECE / 4) {
        bytes.clear();
        piece.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        file.write_all_at(&bytes, start).map_err(|e| Error::io("write a temporary file to", directory, e))?;
        start += bytes.len() as u64;
    }
    Ok(())
}

/// `count` values at `start`.
fn read_values(file: &File, directory: &Path, mut start: u64, count: usize) -> Result<Vec<f32>> {
    let mut values = Vec::with_capacity(count);
    let mut bytes = vec![0; PIECE.min(count * 4)];
    while values.len() < count {
        let part = (count - values.len()).min(PIECE / 4) * 4;
        let bytes = &mut bytes[..part];
        file.read_exact_at(bytes, start).map_err(|e| Error::io("read a temporary file in", directory, e))?;
        values.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        start += part as u64;
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::super::cpu::Cpu;
    use super::*;

    fn values(seed: usize) -> Vec<f32> {
        (0..1000).map(|at| (at * seed) as f32 - 0.5).collect()
    }

    #[test]
    fn beyond_the_limit_values_come_back_from_a_file_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let mut borders: SpilledBorders<Cpu> = SpilledBorders::new(4500, directory.path());
        for number in 0..4 {
            borders.put(&Cpu, Border::Text(number), 0, values(number)).unwrap();
        }
        assert_eq!(borders.spilled(), 12000);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "the file has no name");
        for number in (0..4).rev() {
            assert_eq!(borders.copy(&Cpu, Border::Text(number), 0).unwrap(), values(number));
            assert_eq!(borders.take(&Cpu, Border::Text(number), 0).unwrap(), values(number));
            assert!(borders.take(&Cpu, Border::Text(number), 0).is_err(), "taken once");
        }
        // What was taken makes room.
        borders.put(&Cpu, Border::Text(9), 0, values(9)).unwrap();
        assert_eq!(borders.spilled(), 12000);
    }

    #[test]
    fn a_full_disk_and_a_missing_directory_are_one_sentence() {
        let mut borders: SpilledBorders<Cpu> = SpilledBorders::new(0, "/dev");
        borders.file = File::options().write(true).open("/dev/full").ok();
        if borders.file.is_some() {
            let error = borders.put(&Cpu, Border::Text(0), 0, values(1)).unwrap_err();
            let said = "cannot write a temporary file to `/dev`: No space left on device (os error 28)";
            assert_eq!(error.to_string(), said);
            assert!(error.hint().is_some_and(|hint| hint.contains("free some space")));
        }
        let mut borders: SpilledBorders<Cpu> = SpilledBorders::new(0, "/nowhere/at/all");
        let error = borders.put(&Cpu, Border::Text(0), 0, values(1)).unwrap_err().to_string();
        assert!(error.starts_with("cannot write a temporary file to `/nowhere/at/all`: "), "{error}");
    }
}
