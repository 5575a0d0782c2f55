//! Where a scoring run keeps what it has finished: a hidden directory beside what it writes, held by one process. `qlua clean`
//! knows it by its name and its lock, as it does other unfinished work.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::write::held::HeldDirectory;

/// The directory `OUT/.NAME.scoring.partial` of a run that writes `OUT/NAME…`. Dropped, it stays for the next run, unless there is
/// nothing in it.
#[derive(Debug)]
pub struct ScoringPlace {
    directory: PathBuf,
    /// The directory that it is in, where that was not there before.
    made: Option<PathBuf>,
    /// There until it is dropped.
    held: Option<HeldDirectory>,
}

impl ScoringPlace {
    /// Makes the directory, or takes over that of a run that has ended.
    ///
    /// # Errors
    /// [`crate::Error::Exists`] when another process scores under this name; [`crate::Error::Io`].
    pub fn take(out: &Path, name: &str) -> Result<Self> {
        let directory = out.join(format!(".{name}.scoring.partial"));
        let made = (!out.as_os_str().is_empty() && !out.exists()).then(|| out.to_path_buf());
        let held = HeldDirectory::take(&directory, &out.join(name))?;
        Ok(ScoringPlace { directory, made, held: Some(held) })
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Removes it: the run is over.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn remove(mut self) -> Result<()> {
        self.held.take().map_or(Ok(()), |held| self.let_go(held))
    }

    fn let_go(&self, held: HeldDirectory) -> Result<()> {
        held.remove()?;
        if let Some(made) = &self.made {
            // Something else in it keeps it.
            let _ = fs::remove_dir(made);
        }
        Ok(())
    }
}

impl Drop for ScoringPlace {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        // The lock is always there.
        if fs::read_dir(&self.directory).is_ok_and(|entries| entries.count() <= 1) {
            let _ = self.let_go(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::leftovers;

    #[test]
    fn one_process_has_it_and_what_is_in_it_stays_until_the_run_is_over_or_it_is_cleaned() {
        let base = tempfile::tempdir().unwrap();
        let out = base.path().join("out");
        let take = || ScoringPlace::take(&out, "scores").unwrap();
        let place = take();
        assert_eq!(place.directory(), out.join(".scores.scoring.partial"));
        let error = ScoringPlace::take(&out, "scores").unwrap_err().to_string();
        assert_eq!(error, format!("`{}` is being written by another process", out.join("scores").display()));
        drop(place);
        assert!(!out.exists(), "an empty one goes, and so does what was made for it");
        fs::create_dir(&out).unwrap();
        drop(take());
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "what was there stays");

        let place = take();
        fs::write(place.directory().join("text-0000"), "1").unwrap();
        assert!(leftovers(&out).unwrap().is_empty(), "it is in use");
        drop(place);
        assert_eq!(leftovers(&out).unwrap()[0].path, out.join(".scores.scoring.partial"));
        let place = take();
        assert!(place.directory().join("text-0000").exists());
        place.remove().unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
        fs::write(take().directory().join("reverse"), "1").unwrap();
        leftovers(&out).unwrap()[0].remove().unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    }
}
