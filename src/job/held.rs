//! What a writer reads from, as it was when it began.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::input::{MappedFile, Sameness, Watched};
use crate::model::Model;
use crate::record::hash_file;
use crate::write::{Companions, OutputTensor};

/// The base of a writer with what is copied from it, and the weight files that its tensors lie in.
pub(super) struct HeldSources<'a> {
    base: Option<&'a Model>,
    copied: Vec<Watched>,
    files: Vec<HeldWeightFile>,
}

/// A weight file, and its hash where its times do not tell of all changes.
struct HeldWeightFile {
    map: Arc<MappedFile>,
    hash: Option<String>,
}

impl<'a> HeldSources<'a> {
    /// Waits until every later change is seen.
    ///
    /// # Errors
    /// [`Error::Changed`] when a file was changed since it was opened; [`Error::Io`], [`Error::Interrupted`].
    pub fn of(
        base: Option<&'a Model>,
        companions: Option<&Companions>,
        tensors: &[OutputTensor],
    ) -> Result<Self> {
        let copied = companions.map_or(Ok(vec![]), Companions::watched)?;
        copied.iter().for_each(Watched::settle);
        let mut files: Vec<HeldWeightFile> = Vec::new();
        for map in tensors.iter().flat_map(|tensor| tensor.content.sources()).filter_map(|t| t.file()) {
            if files.iter().any(|known| Arc::ptr_eq(&known.map, map)) {
                continue;
            }
            map.watched().settle();
            let hash = match map.watched().recheck()? {
                Sameness::Same => None,
                Sameness::Doubtful => Some(hash_file(map.watched().path())?.1),
            };
            files.push(HeldWeightFile { map: Arc::clone(map), hash });
        }
        Ok(HeldSources { base, copied, files })
    }

    /// Fails when a file is another one now, as far as its times tell.
    ///
    /// # Errors
    /// [`Error::Changed`]; those of [`Watched::recheck`].
    pub fn require_unchanged(&self) -> Result<()> {
        self.base.map_or(Ok(()), |base| base.require_unchanged().map(drop))?;
        self.copied.iter().try_for_each(|file| file.recheck().map(drop))?;
        self.files.iter().try_for_each(|file| file.map.require_intact())
    }

    /// The same, and that files of which only their content can tell have the same content.
    ///
    /// # Errors
    /// As for [`HeldSources::require_unchanged`].
    pub fn require_same_content(&self) -> Result<()> {
        self.require_unchanged()?;
        for HeldWeightFile { map, hash } in &self.files {
            let watched = map.watched();
            if watched.recheck()? == Sameness::Doubtful
                && hash.as_ref() != Some(&hash_file(watched.path())?.1)
            {
                return Err(watched.changed("was changed"));
            }
        }
        Ok(())
    }

    /// `error`, unless a file is another one by now: then that is the reason of whatever else went wrong.
    pub fn explained(&self, error: Error) -> Error {
        match error {
            Error::Interrupted => error,
            _ => self.require_unchanged().err().unwrap_or(error),
        }
    }
}
