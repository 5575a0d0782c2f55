//! Writing a family: what is there already stays, what fits is reused, the rest is written in one pass.

mod block_sources;
mod finding;
mod sources;
mod values;
mod work;
mod writing;

use std::path::Path;

use super::base_card::carried;
use super::basis::Basis;
use super::directory::{DirectoryWriter, Written};
use super::on_disk::OnDisk;
use super::options::FamilyOptions;
use super::planned::{Planned, PlannedFiles, PlannedScheme};
use super::report::require_ours;
use super::standing::{HashedFiles, Standing, standing};
use crate::checkpoint::hub;
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::input::Watched;
use crate::manifest::require_saved_state;
use crate::model::Model;
use crate::plan::Layout;
use crate::record::{HashedFile, Source};
use crate::units::bytes as bytes_with_unit;
use crate::write::destination::{require_apart, require_short, require_space, require_writable};
use crate::write::kept::require_own;
use crate::write::removable::require_removable;
use crate::write::source_hashes::SourceHashes;
use crate::write::store::items::Items;
use crate::write::store::key::content_key;
use crate::write::store::link::Link;
use crate::write::store::restored::{adopt, is_undecided};
use crate::write::store::reuse::siblings;
use crate::write::store::workplace::Workplace;
use crate::write::transaction::{require_place, require_replaceable, settle};
use crate::write::{Companions, Progress, leftovers};
use work::PendingWork;

/// What a run did. Bytes are those of weight files.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Every scheme, in the order in which they were added.
    pub schemes: Vec<Written>,
    /// Written by this run.
    pub written_bytes: u64,
    /// Taken over from a run that was stopped: shards, and blocks of shards that it had begun.
    pub resumed_bytes: u64,
    /// Taken from finished schemes.
    pub reused_bytes: u64,
    /// The worst way in which a shard was shared; nothing when none was.
    pub link: Option<Link>,
    /// What the weight files of all schemes take now, those included that were there.
    pub on_disk: OnDisk,
}

/// What nothing stops, and is still to be known before a run.
#[derive(Debug)]
pub struct Foreseen {
    /// Why the device that was named cannot be used here; nothing where it can. A plan needs none, and may be made for another
    /// machine.
    pub missing_device: Option<Error>,
    /// Bytes of weights whose values were not looked at: a run fails where one is NaN or infinite.
    pub unseen_bytes: u64,
    /// What the weight files of all schemes will take: what is there and stays, and what is made.
    pub on_disk: OnDisk,
}

/// A family that may be written: nothing stands in the way.
pub(super) struct Run<'a> {
    options: &'a FamilyOptions,
    basis: &'a Basis,
    model: &'a Model,
    /// What is copied: companions and the AutoQuant state.
    copied: Vec<Watched>,
    layout: Layout,
    items: &'a Items,
    directories: DirectoryWriter<'a>,
    sources: SourceHashes<'a>,
    schemes: Vec<Pending<'a>>,
    work: PendingWork,
}

/// A scheme of a run.
struct Pending<'a> {
    scheme: &'a PlannedScheme,
    directory: &'a Path,
    /// The key of its tensors.
    content: String,
    standing: Standing,
}

impl Pending<'_> {
    fn is_up_to_date(&self) -> bool {
        matches!(self.standing, Standing::UpToDate | Standing::UpToDateByWeights)
    }

    /// Whether what stands there is replaced.
    fn replaces(&self, options: &FamilyOptions) -> bool {
        options.overwrite || self.standing == Standing::Damaged
    }
}

impl<'a> Run<'a> {
    /// Looks for whatever stands in the way, and which schemes are there already.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no scheme; [`Error::Refused`] without a base checkpoint, and when an output would
    /// touch the sources; [`Error::Exists`] when a directory of other inputs, one that qlua did not write, or somebody else's
    /// report is in the way; [`Error::Format`] when the AutoQuant state is none; [`Error::Changed`].
    pub fn prepare(options: &'a FamilyOptions, basis: &'a Basis, planned: &'a Planned) -> Result<Self> {
        let model = &**basis.require_model()?;
        let Planned {
            dialect: Some(dialect),
            layout: Some(layout),
            files: Some(PlannedFiles { items, .. }),
            ..
        } = planned
        else {
            return Err(Error::argument("the family was planned without its base checkpoint"));
        };
        if planned.schemes.is_empty() {
            return Err(Error::argument("the family has no scheme to write"));
        }
        planned.require_quantised()?;
        let sources = SourceHashes::new(model);
        let mut schemes = Vec::new();
        for (number, scheme) in planned.schemes.iter().enumerate() {
            let Some(directory) = scheme.directory.as_deref() else { continue };
            require_short(directory)?;
            require_apart(directory, model.directory())?;
            if let Some(baseline) = &options.baseline {
                require_apart(directory, &hub::directory(baseline)?)?;
            }
            if options.overwrite {
                require_replaceable(directory)?;
                require_own(directory)?;
            }
            let content = content_key(items.tensors_of(number));
            schemes.push(Pending { scheme, directory, content, standing: Standing::Open });
        }
        require_ours(&options.out)?;
        require_writable(&options.out)?;
        if let Some(state) = &options.state {
            require_saved_state(state)?;
        }
        let companions = Companions::beside(model)?;
        companions.require_copyable()?;
        let mut copied = companions.watched()?;
        let carried = options.card.then(|| carried(model)).transpose()?;
        copied.extend(options.state.iter().map(|state| Watched::at(state)).collect::<Result<Vec<_>>>()?);
        copied.iter().for_each(Watched::settle);
        model.settle();
        let directories = DirectoryWriter {
            model,
            companions,
            carried,
            manifest: &basis.manifest,
            input_scales: basis.input_scales.as_ref(),
            dialect: *dialect,
            layout: *layout,
            options,
            manifest_hash: HashedFile::of(
                basis.manifest.path().display().to_string(),
                basis.manifest.bytes(),
            ),
        };
        let layout = *layout;
        let work = PendingWork::default();
        let mut run =
            Run { options, basis, model, copied, layout, items, directories, sources, schemes, work };
        let prepared = run.find_up_to_date().and_then(|()| run.find_work());
        match prepared {
            Ok(()) => Ok(run),
            Err(error) => Err(run.explained(error)),
        }
    }

    /// What can be foreseen of [`Self::write`].
    ///
    /// # Errors
    /// Those of [`Self::require_finite_weights`].
    pub fn foresee(&self) -> Result<Foreseen> {
        Ok(Foreseen {
            missing_device: self.missing_device(),
            unseen_bytes: self.require_finite_weights()?,
            on_disk: self.foreseen_on_disk()?,
        })
    }

    /// Why the device that was named cannot be used; nothing where it can, or nothing is to be written.
    fn missing_device(&self) -> Option<Error> {
        let is_needed = self.schemes.iter().any(|scheme| !scheme.is_up_to_date());
        match self.options.device {
            choice @ DeviceChoice::Cuda(_) if is_needed => Device::shared(choice).err(),
            _ => None,
        }
    }

    /// Finds out what is to be done. Fails when the workplace belongs to a run on other inputs, what is to be replaced cannot be
    /// removed, files cannot be shared as was asked for, or the disk has too little room.
    fn find_work(&mut self) -> Result<()> {
        let pending: Vec<usize> =
            (0..self.schemes.len()).filter(|&at| !self.schemes[at].is_up_to_date()).collect();
        if pending.is_empty() {
            return Ok(());
        }
        Workplace::require_place(&self.options.out)?;
        for scheme in pending.iter().map(|&at| &self.schemes[at]) {
            require_place(scheme.directory)?;
            if scheme.replaces(self.options) {
                require_removable(scheme.directory)?;
            }
        }
        if !self.options.overwrite {
            let inputs = self.inputs();
            if !is_undecided(&self.options.out, &inputs) {
                Workplace::require_usable(&self.options.out, &inputs.word())?;
            }
        }
        self.work = self.work(pending)?;
        self.require_room()
    }

    /// Fails unless there is room for the weight files that are to be made, less what a stopped run has left, and for the other
    /// files of their directories.
    fn require_room(&self) -> Result<()> {
        let out = &self.options.out;
        let others = self.work.pending.len() as u64 * self.directories.other_bytes()?;
        require_space(out, self.work.bytes().saturating_sub(Workplace::left_bytes(out)) + others)
    }

    /// Marks the schemes whose directories are there, made from the same inputs.
    fn find_up_to_date(&mut self) -> Result<()> {
        let exists = |pending: &Pending| pending.directory.symlink_metadata().is_ok();
        if self.options.overwrite || !self.schemes.iter().any(exists) {
            return Ok(());
        }
        let source = Source::of(self.model, self.sources.finish()?);
        let mut hashes = HashedFiles::default();
        for pending in &mut self.schemes {
            pending.standing = standing(
                &self.directories,
                &source,
                pending.scheme,
                pending.directory,
                &pending.content,
                &mut hashes,
            )?;
        }
        Ok(())
    }

    /// Writes what is not up to date.
    ///
    /// # Errors
    /// See [`Family::run`](super::Family::run).
    pub fn write(mut self, progress: &dyn Progress) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        self.note_standing(progress);
        let work = std::mem::take(&mut self.work);
        if work.pending.is_empty() {
            let siblings = siblings(&self.options.out);
            let is_used = |key: &str| siblings.iter().any(|s| s.weights().iter().any(|w| w.content == key));
            Workplace::clear(&self.options.out, &self.inputs().word(), is_used)?;
        } else {
            self.write_pending(work, progress, &mut outcome).map_err(|error| self.explained(error))?;
        }
        for pending in &self.schemes {
            if pending.is_up_to_date() {
                // The scheme is whole, whatever lies beside it.
                if let Err(error) = settle(pending.directory) {
                    progress.note(&error.to_string());
                }
            }
            outcome.schemes.push(Written {
                name: pending.scheme.name.clone(),
                directory: pending.directory.to_path_buf(),
                bytes: pending.scheme.figures.bytes,
                up_to_date: pending.is_up_to_date(),
            });
        }
        self.note_leftovers(progress);
        outcome.on_disk = self.on_disk()?;
        Ok(outcome)
    }

    /// Says what other runs left that were stopped and never repeated.
    fn note_leftovers(&self, progress: &dyn Progress) {
        let out = &self.options.out;
        // Where it cannot be looked, there is nothing to say: the schemes are there.
        let left = leftovers(out).unwrap_or_default();
        let bytes = bytes_with_unit(left.iter().map(|leftover| leftover.bytes).sum());
        let what = match &left[..] {
            [] => return,
            [only] => format!("`{}` was left by an interrupted run", only.path.display()),
            several => {
                format!("{} directories in `{}` were left by interrupted runs", several.len(), out.display())
            }
        };
        let it = if left.len() == 1 { "it" } else { "them" };
        progress.note(&format!("{what}: {bytes}; `qlua clean {}` removes {it}", out.display()));
    }

    /// Says what is written anew although it is there, and of what "up to date" does not mean every file.
    fn note_standing(&self, progress: &dyn Progress) {
        for pending in &self.schemes {
            let directory = pending.directory.display();
            match pending.standing {
                Standing::Damaged => {
                    progress.note(&format!("`{directory}` has files that are not as they are on record: it is written anew"));
                }
                Standing::UpToDateByWeights => progress.note(&format!(
                    "`{directory}` is up to date by the hashes of its weights; an older release wrote it, and its other files are not on record"
                )),
                Standing::Open | Standing::UpToDate => {}
            }
        }
    }

    /// One pass over the source for the pending schemes, and then a directory for each.
    fn write_pending(&self, work: PendingWork, progress: &dyn Progress, outcome: &mut Outcome) -> Result<()> {
        let PendingWork { pending, reused, shards, .. } = work;
        let device = self.device(&shards, progress)?;

        // Dropped in reverse: the directories first, then the workplace, which may have made the parents of all.
        let inputs = self.inputs();
        adopt(&self.options.out, &inputs, |finished| Ok(self.is_made_of_source(&shards, finished)))?;
        let mut workplace = Workplace::open(&self.options.out, &inputs.word(), self.options.overwrite)?;
        let done = self.write_into(&workplace, &pending, &shards, reused, &device, progress, outcome);
        if matches!(done, Err(Error::Interrupted))
            && let Some(path) = workplace.keep_work()
        {
            progress.note(&format!(
                "what was written is kept in `{}`: the same command goes on there",
                path.display()
            ));
        }
        done?;
        let siblings = siblings(&self.options.out);
        workplace.close(|key| {
            shards.iter().any(|shard| shard.key == key)
                || siblings.iter().any(|sibling| sibling.weights().iter().any(|w| w.content == key))
        })
    }
}
