//! Calibration: what goes into each linear layer, over all samples.

use std::fs;
use std::ops::Range;

use super::backend::Backend;
use super::borders::Forgotten;
use super::layer_score::{LayerScore, Sensitivity};
use super::layout::SampleChunk;
use super::network::NetworkRun;
use super::scoring::Scoring;
use super::scoring_record::ScoringRecord;
use super::spill::BORDER_MEMORY;
use super::step_file::{StepFile, StepFindings, write_step};
use crate::error::{Error, Result};
use crate::free_memory::KeptMemory;

/// The directory of its own in a record, and the file in it.
const DIRECTORY: &str = "calibration";
const CHUNKS: &str = "chunks";

/// What is known after some chunks of samples.
#[derive(Default)]
struct Calibrated {
    chunks: usize,
    layers: Vec<LayerScore>,
    losses: Vec<f64>,
}

impl<B: Backend> NetworkRun<'_, B> {
    /// The amax of every linear layer's inputs over all samples, unquantised; scores stay 0. As many samples go through the model
    /// together as fit into [`BORDER_MEMORY`] between two blocks.
    ///
    /// # Errors
    /// [`Error::Tensor`] when weights or inputs are not finite.
    pub fn calibrate(&self, done: &mut dyn FnMut()) -> Result<Sensitivity> {
        self.calibrate_batches(Calibrated::default(), BORDER_MEMORY, &|_| Ok(()), done)
    }

    /// [`NetworkRun::calibrate`], with what is finished on record: a run that was killed goes on after its last finished batch,
    /// with the same results.
    ///
    /// # Errors
    /// As [`NetworkRun::calibrate`], and those of the record.
    pub fn calibrate_recorded(&self, record: &ScoringRecord, done: &mut dyn FnMut()) -> Result<Sensitivity> {
        let made_from = self.identity("calibration", &[], &str::to_owned)?.to_hex().to_string();
        let directory = record.directory.join(DIRECTORY);
        fs::create_dir_all(&directory).map_err(|e| Error::io("create", &directory, e))?;
        let known = match StepFile::find(&directory, CHUNKS)? {
            None => Calibrated::default(),
            Some(Some(file)) if file.made_from == made_from => {
                let StepFindings { layers, losses, groups: chunks, .. } = file.findings;
                (record.note)(&format!(
                    "`{}`: calibration goes on after {} of {} samples",
                    record.directory.display(),
                    losses.len(),
                    self.samples.len()
                ));
                Calibrated { chunks, layers, losses }
            }
            Some(found) => {
                let why = if found.is_some() {
                    "of another run: of other weights, samples or options"
                } else {
                    "damaged"
                };
                let place = directory.display();
                (record.note)(&format!("the record in `{place}` is {why}; it is not used, and replaced"));
                Calibrated::default()
            }
        };
        let put = |known: &Calibrated| {
            let findings = StepFindings {
                at: CHUNKS.into(),
                layers: known.layers.clone(),
                losses: known.losses.clone(),
                groups: known.chunks,
            };
            write_step(&directory, CHUNKS, &made_from, &findings, self.backend, &[], true)
        };
        self.calibrate_batches(known, record.memory, &put, done)
    }

    /// How often [`NetworkRun::calibrate`] says that a block is done.
    pub fn calibration_steps(&self) -> usize {
        self.batches(0, BORDER_MEMORY).into_iter().map(|batch| self.blocks(&self.chunks[batch])).sum()
    }

    fn blocks(&self, batch: &[SampleChunk]) -> usize {
        let sees = batch.iter().any(|chunk| chunk.vision.is_some());
        self.network.text_blocks() + if sees { self.network.vision_blocks() } else { 0 }
    }

    /// The chunks from `start` on that go through the model together, where `memory` holds what is between two blocks.
    fn batches(&self, mut start: usize, memory: u64) -> Vec<Range<usize>> {
        let blueprint = &self.network.blueprint;
        let vision_width = blueprint.vision.as_ref().map_or(0, |vision| vision.hidden);
        let bytes = |chunk: &SampleChunk| {
            let patches = chunk.vision.as_ref().map_or(0, |rows| rows.places.len());
            4 * (chunk.tokens.len() * blueprint.text.hidden).max(patches * vision_width) as u64
        };
        let mut batches = vec![];
        while start < self.chunks.len() {
            let (mut end, mut held) = (start, 0);
            while end < self.chunks.len() && (end == start || held + bytes(&self.chunks[end]) <= memory) {
                held += bytes(&self.chunks[end]);
                end += 1;
            }
            batches.push(start..end);
            start = end;
        }
        batches
    }

    fn calibrate_batches(
        &self,
        mut known: Calibrated,
        memory: u64,
        put: &dyn Fn(&Calibrated) -> Result<()>,
        done: &mut dyn FnMut(),
    ) -> Result<Sensitivity> {
        for batch in self.batches(0, memory).into_iter().filter(|batch| batch.end <= known.chunks) {
            (0..self.blocks(&self.chunks[batch])).for_each(|_| done());
        }
        for batch in self.batches(known.chunks, memory) {
            let run = NetworkRun {
                network: self.network,
                backend: self.backend,
                samples: self.samples,
                chunks: self.chunks[batch.clone()].to_vec(),
                calibration: None,
                _kept: KeptMemory::begin(),
            };
            let mut scoring = Scoring::new(&[], done, None);
            // Sums go on where the batch before left them: the same as if all went together.
            scoring.restore(std::mem::take(&mut known.layers), 0);
            let hidden = run.forward(&mut scoring, &mut Forgotten)?;
            scoring.check()?;
            let losses = run.losses(&hidden, &mut scoring)?;
            scoring.check()?;
            known.layers = scoring.layers;
            known.losses.extend(losses.iter().map(|loss| loss.mean));
            known.chunks = batch.end;
            put(&known)?;
        }
        // The tower runs before the language model, also where a batch without pictures came first.
        known.layers.sort_by_key(|layer| !layer.name.starts_with("vision."));
        Ok(Sensitivity { layers: known.layers, losses: known.losses })
    }
}
