//! One pass over the source into the workplace, and a directory for each scheme from what is there then.

use super::block_sources::BlockSources;
use super::{Outcome, Pending, Run};
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::input::Watched;
use crate::job::directory::Contents;
use crate::job::ready::ReadyShard;
use crate::record::{Source, WeightFile};
use crate::units::counted;
use crate::write::content::{Content, OutputTensor};
use crate::write::pass::{self, MadeBlock, OutputFile, PassOptions};
use crate::write::progress::during;
use crate::write::store::bucket::{FileOrder, PlannedShard};
use crate::write::store::reuse::ReusedShard;
use crate::write::store::workplace::{Finished, Workplace};
use crate::write::transaction::PartialDirectory;
use crate::write::{Progress, WeightErrors, shard_name};

impl<'a> Run<'a> {
    /// Writes the `shards` of the schemes at the positions `pending`, and a directory for each.
    #[expect(clippy::too_many_arguments, reason = "all that a run has found out by then")]
    pub(super) fn write_into(
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
            let inherited = self.directories.fill(partial.path(), directory, &contents)?;
            if let (0, Some(first)) = (number, inherited.first()) {
                progress.note(&format!(
                    "the schemes have {} of their base checkpoint: {first}{}",
                    counted(inherited.len(), "problem"),
                    if inherited.len() > 1 { "; `qlua verify` lists all" } else { "" }
                ));
            }
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

    /// Opens the device that quantises, and says which it is unless it was named: the CPU when nothing is quantised.
    pub(super) fn device(&self, shards: &[PlannedShard], progress: &dyn Progress) -> Result<Device> {
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

    /// Writes the shards that no earlier run had finished, as far as it had not; the workplace keeps the records of all.
    pub(super) fn write_shards(
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
        let mut files = Vec::new();
        let mut block_sources = Vec::new();
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
            let made_from = BlockSources::new(&self.sources, &target);
            let is_of_source = |block: usize, source: &str| made_from.of(&target, block) == source;
            let made = workplace.made_blocks(&shard.key, length, is_of_source)?;
            let resumed = target.resume(made);
            outcome.resumed_bytes += resumed;
            bytes += length - resumed;
            targets.push(target);
            planned.push(shard);
            files.push(self.files_of(shard));
            block_sources.push(made_from);
            journals.push(workplace.block_journal(&shard.key));
        }
        let made = |index: usize, block: &MadeBlock| {
            // Blocks on record are gone on with, so they must have come from one and the same source.
            files[index].iter().try_for_each(|file| file.recheck().map(drop))?;
            journals[index].add(block, &block_sources[index].of(&targets[index], block.block))?;
            workplace.has_work();
            Ok(())
        };
        let record = |index: usize, hash: &str, errors: WeightErrors| {
            let (shard, bytes) = (planned[index], targets[index].layout().length());
            let source = self.hash_of_source(shard);
            // What is on record is believed by later runs, so it must have come from one and the same source.
            self.model.require_unchanged()?;
            workplace.record(Finished {
                key: shard.key.clone(),
                bytes,
                blake3: hash.into(),
                errors,
                source,
            })?;
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
    pub(super) fn ready(
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
}
