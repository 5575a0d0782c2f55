//! Mapped files that may be cut short at any time.

use std::ops::{Deref, Range};
use std::path::Path;

use super::bus_error::Region;
use super::regular::open;
use super::watched::Watched;
use crate::error::{Error, Result};

/// A file mapped for reading. Where it is cut short meanwhile, its lost bytes read as zeros and [`MappedFile::require_intact`] fails:
/// ask for that before anything that was made of the bytes is given away.
#[derive(Debug)]
pub struct MappedFile {
    // Dropped first: an address counts as the region's only while it is the map's.
    region: Region,
    map: memmap2::Mmap,
    watched: Watched,
}

impl MappedFile {
    /// Maps the regular file at `path`, links followed.
    ///
    /// # Errors
    /// Those of [`open`]; [`Error::Io`] when it cannot be mapped.
    pub fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let watched = Watched::new(path, &file)?;
        let failed = |e| Error::io("map", path, e);
        let length =
            usize::try_from(watched.identity().length()).map_err(|e| failed(std::io::Error::other(e)))?;
        // SAFETY: the map is read-only, and as long as the file was. Others may write to the file: plain numbers are made of
        // the bytes, for which every value is valid, and a change is found before they are of use. Others may cut the file
        // short: what is read behind its end then raises SIGBUS, which the region turns into zeros and a mark.
        let map = unsafe { memmap2::MmapOptions::new().len(length).map(&file) }.map_err(failed)?;
        let region = Region::register(map.as_ptr().addr(), map.len());
        Ok(MappedFile { region, map, watched })
    }

    /// Says that `start`, the beginning, was read and must stay as it is.
    pub fn note_start(&mut self, start: Range<usize>) {
        if self.watched.is_young() {
            self.watched = self.watched.clone().with_start(&self.map[start]);
        }
    }

    /// The file as it was when it was mapped.
    pub fn watched(&self) -> &Watched {
        &self.watched
    }

    /// Fails when bytes that were read from the map were not there, as far as is known up to now.
    ///
    /// # Errors
    /// [`Error::Changed`].
    pub fn require_readable(&self) -> Result<()> {
        match self.region.is_lost() {
            true => Err(self.watched.changed("was cut short, or its disk failed,")),
            false => Ok(()),
        }
    }

    /// Fails when the file is another than when it was mapped.
    ///
    /// # Errors
    /// [`Error::Changed`]; those of [`Watched::recheck`].
    pub fn require_intact(&self) -> Result<()> {
        self.watched.recheck()?;
        self.require_readable()
    }

    /// Tells the system that a range of the bytes will be read soon.
    pub fn will_need(&self, bytes: Range<usize>) {
        // Advice only: reading works without it.
        let _ = self.map.advise_range(memmap2::Advice::WillNeed, bytes.start, bytes.len());
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_file_that_is_cut_short_reads_as_zeros_and_is_not_intact() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, vec![7; 1 << 16]).unwrap();
        // More than one link of the chain has room for.
        let maps: Vec<MappedFile> = (0..300).map(|_| MappedFile::open(&path).unwrap()).collect();
        maps[0].require_intact().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(5000).unwrap();
        std::thread::scope(|scope| {
            for map in &maps {
                scope.spawn(|| {
                    // Back to front, so that the lost part grows.
                    let sum: u64 = map.iter().rev().map(|byte| u64::from(*byte)).sum();
                    assert_eq!(sum, 7 * 5000);
                    assert_eq!(map.require_readable().unwrap_err().kind(), "changed");
                });
            }
        });
        let error = maps[0].require_intact().unwrap_err();
        assert!(error.to_string().contains("was cut short"), "{error}");
    }

    #[test]
    fn an_empty_file_can_be_mapped() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "").unwrap();
        let map = MappedFile::open(&path).unwrap();
        assert!(map.is_empty());
        map.require_intact().unwrap();
    }
}
