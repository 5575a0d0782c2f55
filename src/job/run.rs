//! Writing a family: what is there already stays, what fits is reused, the rest is written in one pass.

use std::collections::HashMap;
use std::path::Path;

use super::basis::Basis;
use super::directory::{Contents, DirectoryWriter, Written};
use super::options::FamilyOptions;
use super::planned::{Planned, PlannedFiles, PlannedScheme};
use super::ready::ReadyShard;
use super::report::require_ours;
use super::standing::{HashedFiles, Standing, standing};
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::input::Watched;
use crate::manifest::require_saved_state;
use crate::model::Model;
use crate::plan::Layout;
use crate::record::{HashedFile, Source, WeightFile, hash_file};
use crate::units::{bytes as bytes_with_unit, counted};
use crate::write::content::{Content, OutputTensor};
use crate::write::destination::{require_apart, require_space, require_writable};
use crate::write::kept::require_own;
use crate::write::pass::{self, MadeBlock, OutputFile, PassOptions};
use crate::write::progress::during;
use crate::write::source_hashes::SourceHashes;
use crate::write::store::bucket::{FileOrder, PlannedShard, plan_shards};
use crate::write::store::items::Items;
use crate::write::store::key::content_key;
use crate::write::store::link::{Link, LinkChoice};
use crate::write::store::restored::{WorkInputs, adopt, is_undecided};
use crate::write::store::reuse::{ReusedShard, Sibling, siblings, take_from_siblings};
use crate::write::store::workplace::{Finished, Workplace};
use crate::write::transaction::{PartialDirectory, require_replaceable, settle};
use crate::write::{Companions, Progress, WeightErrors, leftovers, shard_name};

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
            for source in [options.model.as_ref(), options.baseline.as_ref()].into_iter().flatten() {
                require_apart(directory, source)?;
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
        copied.extend(options.state.iter().map(|state| Watched::at(state)).collect::<Result<Vec<_>>>()?);
        copied.iter().for_each(Watched::settle);
        model.settle();
        let directories = DirectoryWriter {
            model,
            companions,
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
        let mut run = Run { options, basis, model, copied, layout, items, directories, sources, schemes };
        let prepared = run.find_up_to_date().and_then(|()| run.require_workplace(planned));
        match prepared {
            Ok(()) => Ok(run),
            Err(error) => Err(run.explained(error)),
        }
    }

    /// Fails when the workplace belongs to a run on other inputs, or the disk has too little room. What finished schemes
    /// have in common with these is known only once the source is hashed: where there are any, the run itself looks for
    /// room.
    fn require_workplace(&self, planned: &Planned) -> Result<()> {
        let pending = self.schemes.iter().filter(|scheme| !scheme.is_up_to_date()).count();
        if pending == 0 {
            return Ok(());
        }
        if !self.options.overwrite {
            let inputs = self.inputs();
            if !is_undecided(&self.options.out, &inputs) {
                Workplace::require_usable(&self.options.out, &inputs.word())?;
            }
        }
        if !siblings(&self.options.out).is_empty() {
            return Ok(());
        }
        let bytes = match self.options.link {
            LinkChoice::Copy => planned.copied_bytes(),
            _ => planned.unique_bytes(),
        };
        self.require_room(bytes.unwrap_or(0), pending)
    }

    /// Fails unless there is room for `weights` bytes of weight files, less what a stopped run has left, and for the
    /// other files of `schemes` directories.
    fn require_room(&self, weights: u64, schemes: usize) -> Result<()> {
        let out = &self.options.out;
        let others = schemes as u64 * self.directories.other_bytes()?;
        require_space(out, weights.saturating_sub(Workplace::left_bytes(out)) + others)
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
    pub fn write(&self, progress: &dyn Progress) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        self.note_standing(progress);
        let pending: Vec<usize> =
            (0..self.schemes.len()).filter(|&at| !self.schemes[at].is_up_to_date()).collect();
        if pending.is_empty() {
            let siblings = siblings(&self.options.out);
            let is_used = |key: &str| siblings.iter().any(|s| s.weights().iter().any(|w| w.content == key));
            Workplace::clear(&self.options.out, &self.inputs().word(), is_used)?;
        } else {
            self.write_pending(&pending, progress, &mut outcome).map_err(|error| self.explained(error))?;
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

    /// One pass over the source for the schemes at these positions, and then a directory for each.
    fn write_pending(&self, pending: &[usize], progress: &dyn Progress, outcome: &mut Outcome) -> Result<()> {
        let mut needs: Vec<Vec<usize>> =
            pending.iter().map(|&scheme| self.items.of_scheme[scheme].clone()).collect();
        let reused = self.reused(pending, &mut needs)?;
        let shards = plan_shards(self.items, &needs, self.options.max_shard_size);
        self.require_room(shards.iter().map(|s| s.bytes * self.copies(s)).sum(), pending.len())?;
        let device = self.device(&shards, progress)?;

        // Dropped in reverse: the directories first, then the workplace, which may have made the parents of all.
        let inputs = self.inputs();
        adopt(&self.options.out, &inputs, |finished| Ok(self.is_made_of_source(&shards, finished)))?;
        let mut workplace = Workplace::open(&self.options.out, &inputs.word(), self.options.overwrite)?;
        let done = self.write_into(&workplace, pending, &shards, reused, &device, progress, outcome);
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

    /// Writes the `shards` of the schemes at the positions `pending`, and a directory for each.
    #[expect(clippy::too_many_arguments, reason = "all that a run has found out by then")]
    fn write_into(
        &self,
        workplace: &Workplace,
        pending: &[usize],
        shards: &[PlannedShard],
        reused: Vec<ReusedShard>,
        device: &Device,
        progress: &dyn Progress,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let begin = |&at: &usize| {
            let scheme = &self.schemes[at];
            let replaces = scheme.replaces(self.options);
            if !replaces && scheme.directory.symlink_metadata().is_ok() {
                return Err(Error::exists(scheme.directory, "was written by another run in the meantime")
                    .with_hint("run again: what is up to date is not written twice"));
            }
            PartialDirectory::begin(scheme.directory, replaces)
        };
        let partials = pending.iter().map(begin).collect::<Result<Vec<_>>>()?;
        let label = match pending {
            [only] => self.schemes[*only].scheme.name.clone(),
            _ => counted(pending.len(), "scheme"),
        };
        self.write_shards(&label, shards, device, workplace, progress, outcome)?;
        outcome.reused_bytes = reused.iter().map(|shard| shard.weight.bytes).sum();

        let reused_files: Vec<Watched> = reused.iter().map(|shard| shard.watched.clone()).collect();
        let ready = self.ready(shards, reused, workplace);
        let source = Source::of(self.model, self.sources.finish()?);
        for ((number, &at), partial) in pending.iter().enumerate().zip(&partials) {
            let Pending { scheme, directory, content, .. } = &self.schemes[at];
            let mine: Vec<&ReadyShard> = ready.iter().filter(|s| s.schemes.contains(&number)).collect();
            let mut weights = Vec::new();
            for (index, shard) in mine.iter().enumerate() {
                let file = shard_name(index, mine.len());
                let link = shard.place(&partial.path().join(&file), number, self.options.link)?;
                outcome.link = outcome.link.max(link);
                weights.push(WeightFile { file, ..shard.weight.clone() });
            }
            let tensors: Vec<_> = mine.iter().map(|shard| shard.tensors.clone()).collect();
            let errors = mine.iter().flat_map(|shard| shard.errors.clone()).collect();
            let inputs = &self.directories.inputs(&source, scheme, content)?;
            let contents = Contents {
                scheme,
                source: &source,
                inputs,
                weights: &weights,
                tensors: &tensors,
                errors: &errors,
            };
            self.directories.fill(partial.path(), directory, &contents)?;
        }
        self.require_same_content(&source)?;
        for (&at, partial) in pending.iter().zip(partials) {
            let check = || {
                self.require_unchanged()?;
                reused_files.iter().try_for_each(Watched::recheck_shared)
            };
            if let Some(kept) = partial.commit_if(check)? {
                progress.note(&kept.note(self.schemes[at].directory));
            }
        }
        Ok(())
    }

    /// Fails when a file that the schemes are made from is another one now. The weight files of which nothing but their content
    /// can tell are returned.
    fn require_unchanged(&self) -> Result<Vec<&Watched>> {
        let doubtful = self.basis.require_unchanged()?;
        self.copied.iter().try_for_each(|file| file.recheck().map(drop))?;
        Ok(doubtful)
    }

    /// The same, and that those weight files have the hashes that go on record.
    fn require_same_content(&self, source: &Source) -> Result<()> {
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
    fn explained(&self, error: Error) -> Error {
        match error {
            Error::Interrupted => error,
            _ => self.require_unchanged().err().unwrap_or(error),
        }
    }

    /// Whether a shard that a run has finished was made from the same weights as this run would make it from.
    fn is_made_of_source(&self, shards: &[PlannedShard], finished: &Finished) -> bool {
        let shard = shards.iter().find(|shard| shard.key == finished.key);
        shard.is_some_and(|shard| self.hash_of_source(shard) == finished.source)
    }

    /// Hash of the weights that `shard` is made from.
    fn hash_of_source(&self, shard: &PlannedShard) -> String {
        let tensors = shard.tensors.iter().flat_map(|tensor| tensor.content.sources());
        self.sources.of_parts(tensors.map(|tensor| tensor.bytes()))
    }

    /// Takes from `needs` what finished schemes hold; those that this run replaces are not asked.
    fn reused(&self, pending: &[usize], needs: &mut [Vec<usize>]) -> Result<Vec<ReusedShard>> {
        let replaced = |s: &Sibling| pending.iter().any(|&at| self.schemes[at].directory == s.directory());
        let siblings: Vec<Sibling> = siblings(&self.options.out)
            .into_iter()
            .filter(|sibling| !replaced(sibling) && self.sources.may_be(sibling.source()))
            .collect();
        if siblings.is_empty() {
            return Ok(vec![]);
        }
        take_from_siblings(&siblings, &self.sources.finish()?, self.items, needs)
    }

    /// Opens the device that quantises, and says which it is unless it was named: the CPU when nothing is quantised.
    fn device(&self, shards: &[PlannedShard], progress: &dyn Progress) -> Result<Device> {
        let is_quantised = |t: &OutputTensor| matches!(t.content, Content::Codes(_));
        if !shards.iter().flat_map(|shard| &shard.tensors).any(is_quantised) {
            return Ok(Device::Cpu(None));
        }
        let choice = self.options.device;
        let device = Device::shared(choice)?;
        if choice != DeviceChoice::Cpu {
            progress.note(&format!("weights are quantised on {device}"));
        }
        Ok(device)
    }

    /// Into how many files `shard` goes for certain.
    fn copies(&self, shard: &PlannedShard) -> u64 {
        match self.options.link {
            LinkChoice::Copy => shard.schemes.len() as u64,
            _ => 1,
        }
    }

    /// Writes the shards that no earlier run had finished, as far as it had not; the workplace keeps the records of all.
    fn write_shards(
        &self,
        label: &str,
        shards: &[PlannedShard],
        device: &Device,
        workplace: &Workplace,
        progress: &dyn Progress,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let mut targets = Vec::new();
        let mut planned = Vec::new();
        let mut journals = Vec::new();
        let mut bytes = 0;
        for shard in shards {
            if let Some(record) = workplace.finished(&shard.key)?
                && record.source == self.hash_of_source(shard)
            {
                outcome.resumed_bytes += record.bytes;
                continue;
            }
            let mut target = OutputFile::new(&workplace.path_of(&shard.key), &shard.tensors)?;
            let length = target.layout().length();
            let resumed = target.resume(workplace.made_blocks(&shard.key, length)?);
            outcome.resumed_bytes += resumed;
            bytes += length - resumed;
            targets.push(target);
            planned.push(shard);
            journals.push(workplace.block_journal(&shard.key));
        }
        let made = |index: usize, block: &MadeBlock| {
            // Blocks on record are gone on with, so they must have come from one and the same source.
            self.model.require_unchanged()?;
            journals[index].add(block)?;
            workplace.has_work();
            Ok(())
        };
        let record = |index: usize, hash: &str, errors: WeightErrors| {
            let (shard, bytes) = (planned[index], targets[index].layout().length());
            let source = self.hash_of_source(shard);
            // What is on record is believed by later runs, so it must have come from one and the same source.
            self.model.require_unchanged()?;
            workplace.record(Finished { key: shard.key.clone(), bytes, blake3: hash.into(), errors, source })?;
            journals[index].close();
            Ok(())
        };
        let options = PassOptions {
            threads: self.options.threads,
            progress,
            sources: Some(&self.sources),
            errors: true,
            accelerator: device.accelerator(),
            made: &made,
            finished: &record,
        };
        during(progress, label, bytes, || pass::run(&targets, &options))?;
        outcome.written_bytes = bytes;
        Ok(())
    }

    /// Every shard that is there, those of the workplace and those of finished schemes, in the order in which directories
    /// number them.
    fn ready(
        &self,
        shards: &'a [PlannedShard],
        reused: Vec<ReusedShard>,
        workplace: &Workplace,
    ) -> Vec<ReadyShard<'a>> {
        let mut ready = Vec::new();
        for shard in shards {
            let Some(record) = workplace.record_of(&shard.key) else { continue };
            ready.push(ReadyShard {
                order: shard.order.clone(),
                tensors: shard.tensors.iter().map(|t| &t.spec).collect(),
                weight: WeightFile {
                    file: String::new(),
                    bytes: record.bytes,
                    blake3: record.blake3,
                    content: shard.key.clone(),
                },
                errors: record.errors,
                schemes: shard.schemes.clone(),
                path: workplace.path_of(&shard.key),
                own: true,
            });
        }
        for shard in reused {
            ready.push(ReadyShard {
                order: FileOrder::of(&shard.items, &shard.weight.content),
                tensors: shard.items.iter().map(|&item| &self.items.tensors[item].spec).collect(),
                weight: shard.weight,
                errors: shard.errors,
                schemes: shard.schemes,
                path: shard.path,
                own: false,
            });
        }
        ready.sort_by(|a, b| a.order.cmp(&b.order));
        ready
    }

    /// What the workplace of a run must have in common with that of a run that was stopped. Shards have keys of their own;
    /// this says that the source is the same file by file, down to the time of its last change, without reading it.
    fn inputs(&self) -> WorkInputs {
        let (mut content, mut times) = (blake3::Hasher::new(), blake3::Hasher::new());
        for (name, bytes, watched) in self.model.shards_watched() {
            content.update(format!("{name} {}\n", bytes.len()).as_bytes());
            times.update(format!("{name} {:?}\n", watched.identity().times()).as_bytes());
        }
        content.update(self.model.config_text());
        content.update(self.directories.manifest.bytes());
        content.update(format!("{:?}", self.layout).as_bytes());
        WorkInputs::new(&content.finalize(), &times.finalize())
    }
}
