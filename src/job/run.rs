//! Writing a family: what is there already stays, what fits is reused, the rest is written in one pass.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use super::family::{Family, PlannedScheme, Scheme};
use super::scheme::{Part, SchemeWriter, Written, require_sound};
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::plan::Layout;
use crate::tensor::TensorSpec;
use crate::write::WeightErrors;
use crate::write::content::{Content, OutputTensor};
use crate::write::outputs::scheme_outputs;
use crate::write::pass::{self, PassOptions, Target};
use crate::write::progress::Progress;
use crate::write::provenance::{HashedFile, Record, Source, WeightFile};
use crate::write::source_hashes::SourceHashes;
use crate::write::store::bucket::{PlannedShard, plan_shards};
use crate::write::store::items::Items;
use crate::write::store::key::content_key;
use crate::write::store::link::{self, Link};
use crate::write::store::reuse::{ReusedShard, Sibling, siblings, take_from_siblings};
use crate::write::store::workplace::{Finished, Workplace};
use crate::write::transaction::{PartialDirectory, clear_lock};
use crate::write::{require_apart, require_space};

/// What a run did. Bytes are those of weight files.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Every scheme, in the order in which they were added.
    pub schemes: Vec<Written>,
    /// Written by this run.
    pub written_bytes: u64,
    /// Taken over from a run that was stopped.
    pub resumed_bytes: u64,
    /// Taken from finished schemes.
    pub reused_bytes: u64,
    /// The worst way in which a shard was shared; nothing when none was.
    pub link: Option<Link>,
}

/// A scheme that is not there yet.
struct Pending<'a> {
    /// Its position in the family.
    position: usize,
    scheme: &'a Scheme,
    planned: &'a PlannedScheme,
    outputs: Vec<OutputTensor>,
    /// The key of its tensors.
    content: String,
}

impl Family {
    /// Writes every scheme that is not up to date, each checked before it takes its name. Every tensor is read, quantised
    /// and written once, whatever the number of schemes; shards of finished schemes below the same directory are reused.
    ///
    /// # Errors
    /// Nothing is written when there is no scheme, a file lies where the report goes and is none, a target of other inputs exists and `overwrite` is not set, an output
    /// would touch the sources, the disk has too little room, or the device cannot be used ([`Error::Device`], which a
    /// device that fails later gives too). Later: [`Error::Tensor`], [`Error::Io`],
    /// [`Error::Verification`], with nothing left behind, and [`Error::Interrupted`], after which finished shards stay in
    /// `.qlua.partial` for the next run.
    pub fn run(&self, progress: &dyn Progress) -> Result<Outcome> {
        if self.schemes().is_empty() {
            return Err(Error::argument("the family has no scheme to write"));
        }
        let layout = self.decide()?.layout;
        let planned = self.plan()?;
        self.require_apart(&planned)?;
        self.require_place_for_report()?;
        let sources = SourceHashes::new(self.model());
        let mut pending = Vec::new();
        for (position, (scheme, planned)) in self.schemes().iter().zip(&planned).enumerate() {
            let outputs = scheme_outputs(self.model(), &scheme.plan, &layout, self.input_scales())?;
            let content = content_key(&outputs, &layout);
            pending.push(Pending { position, scheme, planned, outputs, content });
        }
        let mut schemes: Vec<Option<Written>> = vec![None; pending.len()];
        if !self.options().overwrite && pending.iter().any(|p| p.planned.directory.symlink_metadata().is_ok())
        {
            let writer = self.scheme_writer(layout, &sources)?;
            for p in std::mem::take(&mut pending) {
                match up_to_date(&writer, &p)? {
                    Some(written) => schemes[p.position] = Some(written),
                    None => pending.push(p),
                }
            }
        }
        let mut outcome = Outcome::default();
        if pending.is_empty() {
            let siblings = siblings(&self.options().out);
            let is_used = |key: &str| siblings.iter().any(|s| s.weights().iter().any(|w| w.content == key));
            Workplace::clear(&self.options().out, is_used)?;
        } else {
            let written = Sweep { family: self, layout, sources, progress }.write(pending, &mut outcome)?;
            written.into_iter().for_each(|(position, written)| schemes[position] = Some(written));
        }
        outcome.schemes = schemes.into_iter().flatten().collect();
        Ok(outcome)
    }

    fn scheme_writer(&self, layout: Layout, sources: &SourceHashes) -> Result<SchemeWriter<'_>> {
        Ok(SchemeWriter {
            model: self.model(),
            manifest: self.manifest(),
            input_scales: self.input_scales(),
            layout,
            options: self.options(),
            source: Source::of(self.model(), sources)?,
            manifest_hash: HashedFile::of(
                self.manifest().path().display().to_string(),
                self.manifest().bytes(),
            ),
        })
    }

    /// No target touches a source.
    fn require_apart(&self, planned: &[PlannedScheme]) -> Result<()> {
        for scheme in planned {
            let sources = [Some(&self.options().model), self.options().baseline.as_ref()];
            for source in sources.into_iter().flatten() {
                require_apart(&scheme.directory, source)?;
            }
        }
        Ok(())
    }
}

/// The scheme as it is if its directory was made from the same inputs; nothing when there is no directory.
fn up_to_date(writer: &SchemeWriter, pending: &Pending) -> Result<Option<Written>> {
    let directory = &pending.planned.directory;
    if directory.symlink_metadata().is_err() {
        return Ok(None);
    }
    let exists = |problem: &str| {
        Error::exists(directory, problem).with_hint("pass --overwrite to replace it, or choose another --out")
    };
    let Some(record) = Record::read(directory) else { return Err(exists("exists already")) };
    if record.inputs != writer.inputs(pending.scheme, &pending.content)? {
        return Err(exists("exists already and was made from other inputs"));
    }
    let whole =
        |weight: &WeightFile| directory.join(&weight.file).metadata().is_ok_and(|m| m.len() == weight.bytes);
    if !record.weights.iter().all(whole) || require_sound(directory, directory).is_err() {
        return Err(exists("exists already and is damaged"));
    }
    clear_lock(directory)?;
    Ok(Some(Written {
        name: pending.scheme.name.clone(),
        directory: directory.clone(),
        bytes: pending.planned.bytes,
        up_to_date: true,
    }))
}

/// One pass over the source for all schemes that are not there yet.
struct Sweep<'a> {
    family: &'a Family,
    layout: Layout,
    sources: SourceHashes<'a>,
    progress: &'a dyn Progress,
}

/// A shard that is there, and who gets it.
struct Placeable<'a> {
    /// The position of its first tensor among the items: the order of files in a directory.
    first_item: usize,
    tensors: Vec<&'a TensorSpec>,
    weight: WeightFile,
    errors: &'a WeightErrors,
    schemes: &'a [usize],
    path: std::path::PathBuf,
    /// Whether it lies in the workplace, so that its last scheme can have the file itself.
    own: bool,
}

impl Sweep<'_> {
    fn write(&self, mut pending: Vec<Pending>, outcome: &mut Outcome) -> Result<Vec<(usize, Written)>> {
        let options = self.family.options();
        let outputs = pending.iter_mut().map(|p| std::mem::take(&mut p.outputs)).collect();
        let items = Items::collect(outputs);
        let mut needs = items.of_scheme.clone();
        let reused = self.reused(&pending, &items, &mut needs)?;
        let shards = plan_shards(&items, &needs, options.max_shard_size, &self.layout);
        require_space(&options.out, shards.iter().map(|s| s.bytes * self.copies(s)).sum())?;
        let device = self.device(&shards)?;

        // Dropped in reverse: the directories first, then the workplace, which may have made the parents of all.
        let mut workplace = Workplace::open(&options.out, &self.inputs()?, options.overwrite)?;
        let begin = |p: &Pending| PartialDirectory::begin(&p.planned.directory, options.overwrite);
        let partials = pending.iter().map(begin).collect::<Result<Vec<_>>>()?;
        let finished = match self.write_shards(&pending, &shards, &device, &workplace, outcome) {
            Err(Error::Interrupted) => {
                workplace.keep_finished();
                return Err(Error::Interrupted);
            }
            other => other?,
        };
        outcome.reused_bytes = reused.iter().map(|r| r.weight.bytes).sum();

        let placeables = placeables(&items, &shards, &finished, &reused, &workplace);
        let writer = self.family.scheme_writer(self.layout, &self.sources)?;
        let mut written = Vec::new();
        for (number, (p, partial)) in pending.iter().zip(partials).enumerate() {
            let mut mine: Vec<&Placeable> =
                placeables.iter().filter(|placeable| placeable.schemes.contains(&number)).collect();
            mine.sort_by(|a, b| (a.first_item, &a.weight.content).cmp(&(b.first_item, &b.weight.content)));
            let worst = Mutex::new(outcome.link);
            let place = |placeable: &Placeable, to: &Path| -> Result<()> {
                if placeable.own && placeable.schemes.last() == Some(&number) {
                    return move_or_link(&placeable.path, to);
                }
                let link = link::share(&placeable.path, to, options.link)?;
                let mut worst = worst.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                *worst = worst.max(Some(link));
                Ok(())
            };
            let placers: Vec<_> =
                mine.iter().map(|placeable| move |to: &Path| place(placeable, to)).collect();
            let parts: Vec<Part> = mine
                .iter()
                .zip(&placers)
                .map(|(placeable, place)| Part {
                    tensors: placeable.tensors.clone(),
                    weight: placeable.weight.clone(),
                    errors: placeable.errors,
                    place,
                })
                .collect();
            let inputs = writer.inputs(p.scheme, &p.content)?;
            let directory = &p.planned.directory;
            let bytes = writer.write(partial.path(), directory, p.scheme, &inputs, &parts)?;
            partial.commit()?;
            outcome.link = worst.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            let (name, directory) = (p.scheme.name.clone(), directory.clone());
            written.push((p.position, Written { name, directory, bytes, up_to_date: false }));
        }
        workplace.close()?;
        Ok(written)
    }

    /// Takes from `needs` what finished schemes hold; those that this run replaces are not asked.
    fn reused(
        &self,
        pending: &[Pending],
        items: &Items,
        needs: &mut [Vec<usize>],
    ) -> Result<Vec<ReusedShard>> {
        let replaced = |sibling: &Sibling| pending.iter().any(|p| p.planned.directory == sibling.directory());
        let siblings: Vec<Sibling> = siblings(&self.family.options().out)
            .into_iter()
            .filter(|sibling| !replaced(sibling) && self.sources.may_be(sibling.source()))
            .collect();
        if siblings.is_empty() {
            return Ok(vec![]);
        }
        take_from_siblings(&siblings, &self.sources.finish()?, items, needs, &self.layout)
    }

    /// Opens the device that quantises, and says which it is unless it was named: the CPU when nothing is quantised.
    fn device(&self, shards: &[PlannedShard]) -> Result<Device> {
        let is_quantised = |t: &OutputTensor| matches!(t.content, Content::Codes(_));
        if !shards.iter().flat_map(|shard| &shard.tensors).any(is_quantised) {
            return Ok(Device::Cpu(None));
        }
        let choice = self.family.options().device;
        let device = Device::shared(choice)?;
        if choice != DeviceChoice::Cpu {
            self.progress.note(&format!("weights are quantised on {device}"));
        }
        Ok(device)
    }

    /// Into how many files `shard` goes for certain.
    fn copies(&self, shard: &PlannedShard) -> u64 {
        match self.family.options().link {
            link::LinkChoice::Copy => shard.schemes.len() as u64,
            _ => 1,
        }
    }

    /// Writes the shards that no earlier run had finished, and gives the records of all.
    fn write_shards(
        &self,
        pending: &[Pending],
        shards: &[PlannedShard],
        device: &Device,
        workplace: &Workplace,
        outcome: &mut Outcome,
    ) -> Result<HashMap<String, Finished>> {
        let mut finished = HashMap::new();
        let mut targets = Vec::new();
        let mut keys = Vec::new();
        for shard in shards {
            match workplace.finished(&shard.key)? {
                Some(record) => {
                    outcome.resumed_bytes += record.bytes;
                    finished.insert(shard.key.clone(), record);
                }
                None => {
                    targets.push(Target::new(&workplace.path_of(&shard.key), &shard.tensors)?);
                    keys.push(shard.key.clone());
                }
            }
        }
        let bytes: u64 = targets.iter().map(|t| t.layout().length()).sum();
        let written = Mutex::new(HashMap::new());
        let record = |index: usize, hash: &str, errors: WeightErrors| {
            let (key, bytes): (&String, u64) = (&keys[index], targets[index].layout().length());
            let record = Finished { key: key.clone(), bytes, blake3: hash.into(), errors };
            workplace.record(record.clone())?;
            let mut written = written.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            written.insert(key.clone(), record);
            Ok(())
        };
        let label = match pending {
            [only] => only.scheme.name.clone(),
            _ => format!("{} schemes", pending.len()),
        };
        self.progress.begin(&label, bytes);
        let options = PassOptions {
            threads: self.family.options().threads,
            progress: self.progress,
            sources: Some(&self.sources),
            errors: true,
            accelerator: device.accelerator(),
            finished: &record,
        };
        let passed = pass::run(&targets, &options);
        self.progress.end();
        passed?;
        outcome.written_bytes = bytes;
        finished.extend(written.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()));
        Ok(finished)
    }

    /// What the workplace of a run must have in common with that of a run that was stopped. Shards have keys of their own;
    /// this says that the source is the same file by file, down to the time of its last change, without reading it.
    fn inputs(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        let model: &Model = self.family.model();
        for (name, path, _) in model.shards() {
            let m = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
            let (modified, changed) = ((m.mtime(), m.mtime_nsec()), (m.ctime(), m.ctime_nsec()));
            hasher.update(format!("{name} {} {modified:?} {changed:?}\n", m.len()).as_bytes());
        }
        hasher.update(model.config_text());
        hasher.update(self.family.manifest().bytes());
        hasher.update(format!("{:?}", self.layout).as_bytes());
        Ok(hasher.finalize().to_hex().to_string())
    }
}

/// Every shard that is there: those of the workplace, and those of finished schemes.
fn placeables<'a>(
    items: &'a Items,
    shards: &'a [PlannedShard],
    finished: &'a HashMap<String, Finished>,
    reused: &'a [ReusedShard],
    workplace: &Workplace,
) -> Vec<Placeable<'a>> {
    let index = items.index();
    let written = shards.iter().filter_map(|shard| {
        let record = finished.get(&shard.key)?;
        let position = |t: &OutputTensor| index.get(&(t.spec.name.as_str(), t.spec.dtype)).copied();
        Some(Placeable {
            first_item: shard.tensors.iter().filter_map(position).min().unwrap_or(0),
            tensors: shard.tensors.iter().map(|t| &t.spec).collect(),
            weight: WeightFile {
                file: String::new(),
                bytes: record.bytes,
                blake3: record.blake3.clone(),
                content: shard.key.clone(),
            },
            errors: &record.errors,
            schemes: &shard.schemes,
            path: workplace.path_of(&shard.key),
            own: true,
        })
    });
    let taken = reused.iter().map(|shard| Placeable {
        first_item: shard.items.first().copied().unwrap_or(0),
        tensors: shard.items.iter().map(|&i| &items.tensors[i].spec).collect(),
        weight: shard.weight.clone(),
        errors: &shard.errors,
        schemes: &shard.schemes,
        path: shard.path.clone(),
        own: false,
    });
    written.chain(taken).collect()
}

/// Gives a file of the workplace to the last directory that needs it. It keeps its old name for as long as the workplace
/// is there, so that a run that is stopped now need not write it again.
fn move_or_link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::rename(from, to)).map_err(|e| Error::io("rename", from, e))
}
