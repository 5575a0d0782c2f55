//! A model and the samples that go through it, one block at a time.

use super::backend::{AttentionSegment, Backend, Norm, Rotation};
use super::borders::Border;
use super::configuration::{Blueprint, VisionConfiguration};
use super::families;
use super::layer_score::Sensitivity;
use super::layout::{SampleChunk, VisionRows, chunks};
use super::linear::{Linear, Observer};
use super::pass::BlockPass;
use super::sample::Sample;

use super::tensors::Tensors;
use super::vision::{Merger, VisionBlock, patch_embedding};
use super::weight::LinearWeight;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::free_memory::KeptMemory;
use crate::model::{Expectation, LM_HEAD, expected_tensors};

/// A model of a checkpoint.
pub struct Network<'a> {
    pub(super) tensors: Tensors<'a>,
    pub(super) blueprint: Blueprint,
}

impl<'a> Network<'a> {
    /// The model in `checkpoint`, quantised or not.
    ///
    /// # Errors
    /// [`Error::Refused`] when the engine does not compute its architecture.
    pub fn open(checkpoint: &'a Checkpoint) -> Result<Self> {
        let blueprint = families::blueprint(checkpoint)?;
        require_biases(checkpoint)?;
        Ok(Network { blueprint, tensors: Tensors::new(checkpoint)? })
    }

    /// Blocks of the language model.
    pub fn text_blocks(&self) -> usize {
        self.blueprint.text.layers
    }

    /// Blocks of the vision tower.
    pub fn vision_blocks(&self) -> usize {
        self.blueprint.vision.as_ref().map_or(0, |vision| vision.depth)
    }

    /// The size of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.blueprint.text.vocabulary
    }

    /// Every linear layer of the vision tower, in the order in which they run.
    ///
    /// # Errors
    /// Those of tensors that are missing or of other shapes.
    pub fn vision_layers(&self) -> Result<Vec<Linear>> {
        let Some(vision) = &self.blueprint.vision else { return Ok(vec![]) };
        let mut layers = vec![patch_embedding(&self.tensors, vision)?];
        for number in 0..vision.depth {
            layers.extend(VisionBlock::load(&self.tensors, vision, number)?.linears().into_iter().cloned());
            for (_, merger) in vision.deepstack.iter().filter(|(block, _)| *block == number) {
                layers.extend(Merger::load(&self.tensors, vision, merger)?.linears().into_iter().cloned());
            }
        }
        layers.extend(Merger::load(&self.tensors, vision, &vision.merger)?.linears().into_iter().cloned());
        Ok(layers)
    }

    /// The linear layer called `name`, whatever its size.
    pub(super) fn linear(&self, name: &str) -> Result<Linear> {
        if name == LM_HEAD {
            return self.head();
        }
        let weight = self.tensors.require(&format!("{name}.weight"))?;
        let outputs = weight.shape().first().copied().unwrap_or(1);
        self.tensors.linear(name, [outputs, weight.elements() / outputs.max(1)])
    }

    /// The output head: a layer of its own, or the embedding.
    pub(super) fn head(&self) -> Result<Linear> {
        let text = &self.blueprint.text;
        let shape = [text.vocabulary, text.hidden];
        let own = self.tensors.find(&format!("{LM_HEAD}.weight"));
        if let (true, Some(own)) = (text.tied, own)
            && !own.equal(self.tensors.require("embed_tokens.weight")?)
        {
            return Err(Error::refused("the head is tied to the embedding by the configuration, and another one in the weights")
                .with_hint("loaders disagree which one counts: remove lm_head.weight, or set tie_word_embeddings to false"));
        }
        if own.is_some() || !text.tied {
            return self.tensors.linear(LM_HEAD, shape);
        }
        let mut head = self.tensors.linear("embed_tokens", shape)?;
        head.name = LM_HEAD.into();
        Ok(head)
    }

    /// The normalisation before the head.
    pub(super) fn last_norm(&self) -> Result<Norm> {
        self.tensors.rms("norm", self.blueprint.text.hidden, self.blueprint.text.epsilon)
    }

    /// The embeddings of tokens, [tokens, hidden].
    pub(super) fn embeddings(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let hidden = self.blueprint.text.hidden;
        let table =
            LinearWeight::plain("embed_tokens", self.tensors.require("embed_tokens.weight")?.clone())?;
        if table.inputs() != hidden || table.outputs() < self.blueprint.text.vocabulary {
            return Err(Error::refused(format!(
                "the embedding has the shape {:?}, which its configuration does not say",
                table.values().shape()
            )));
        }
        let mut values = vec![0.0; tokens.len() * hidden];
        for (values, token) in values.chunks_exact_mut(hidden).zip(tokens) {
            super::cpu::read_elements(table.values(), *token as usize * hidden, values);
        }
        Ok(values)
    }

    /// Learned positions of patches, resampled to their pictures; nothing where there are none.
    fn positions(&self, vision: &VisionConfiguration, rows: &VisionRows) -> Result<Option<Vec<f32>>> {
        let Some(side) = vision.positions else { return Ok(None) };
        let table = self.tensors.vector("vision.pos_embed.weight", side * side * vision.hidden)?;
        let mut values = vec![0.0; rows.places.len() * vision.hidden];
        // Bilinear, corners aligned (`fast_pos_embed_interpolate`).
        let taps = |place: usize, size: usize| {
            let at = place as f32 * (side - 1) as f32 / (size.max(2) - 1) as f32;
            let low = at as usize;
            [(low, 1.0 - (at - low as f32)), ((low + 1).min(side - 1), at - low as f32)]
        };
        for (values, place) in values.chunks_exact_mut(vision.hidden).zip(&rows.places) {
            for (row, by_row) in taps(place.row, place.sides[0]) {
                for (column, by_column) in taps(place.column, place.sides[1]) {
                    let from = &table[(row * side + column) * vision.hidden..][..vision.hidden];
                    values.iter_mut().zip(from).for_each(|(value, from)| *value += by_row * by_column * from);
                }
            }
        }
        Ok(Some(values))
    }
}

/// Samples in a model on a backend.
pub struct NetworkRun<'a, B: Backend> {
    pub(super) network: &'a Network<'a>,
    pub(super) backend: &'a B,
    pub(super) samples: &'a [Sample],
    pub(super) chunks: Vec<SampleChunk>,
    /// What other samples were calibrated to, where scores go by that.
    pub(super) calibration: Option<Sensitivity>,
    pub(super) _kept: KeptMemory,
}

/// A bias that the architecture has and the checkpoint has lost would count as zeros.
fn require_biases(checkpoint: &Checkpoint) -> Result<()> {
    let is_there = |name: &str| checkpoint.tensor(name).is_some();
    let count = checkpoint.tensors().count();
    let Expectation::Tensors(expected) = expected_tensors(checkpoint.config(), count, &is_there) else {
        return Ok(());
    };
    match expected.iter().find(|tensor| tensor.name.ends_with(".bias") && !is_there(&tensor.name)) {
        None => Ok(()),
        Some(missing) => {
            let place = checkpoint.directory().display();
            let name = &missing.name;
            Err(Error::not_found(format!("`{place}` has no tensor `{name}`, which its architecture needs")))
        }
    }
}

/// The features that a chunk's pictures add to the language model: merged patches, and those of DeepStack.
pub(super) struct Features<B: Backend> {
    pub tokens: Option<B::Buffer>,
    pub deep: Vec<B::Buffer>,
}

impl<B: Backend> Features<B> {
    /// None yet.
    pub fn none() -> Self {
        Features { tokens: None, deep: vec![] }
    }

    /// Those of DeepStack that the first `count` mergers gave.
    pub fn of_deepstack(&self, backend: &B, count: usize) -> Self {
        Features { tokens: None, deep: self.deep.iter().take(count).map(|deep| backend.copy(deep)).collect() }
    }
}

impl<'a, B: Backend> NetworkRun<'a, B> {
    /// `samples` in `network`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a sample does not fit the model.
    pub fn new(network: &'a Network<'a>, backend: &'a B, samples: &'a [Sample]) -> Result<Self> {
        let chunks = chunks(samples, &network.blueprint)?;
        Ok(NetworkRun { network, backend, samples, chunks, calibration: None, _kept: KeptMemory::begin() })
    }

    /// The same, with scores that go by the amax values of `calibration` instead of those of these samples.
    pub fn with_calibration(self, calibration: Sensitivity) -> Self {
        NetworkRun { calibration: Some(calibration), ..self }
    }

    /// A pass over some rows.
    pub(super) fn pass<'p>(
        &'p self,
        observer: &'p mut dyn Observer<B>,
        rows: usize,
        segments: &'p [AttentionSegment],
        rotation: &'p Rotation,
    ) -> BlockPass<'p, B> {
        BlockPass { backend: self.backend, observer, rows, segments, rotation, past: None }
    }

    /// Tokens and merged patches as the first block takes them.
    pub(super) fn embed(&self, features: &[Features<B>]) -> Result<Vec<B::Buffer>> {
        let hidden = self.network.blueprint.text.hidden;
        let embed = |(chunk, features): (&SampleChunk, &Features<B>)| {
            let mut values = self.network.embeddings(&chunk.tokens)?;
            if let Some(tokens) = &features.tokens {
                let tokens = self.backend.download(tokens);
                for (row, token) in chunk.picture_rows.iter().zip(tokens.chunks_exact(hidden)) {
                    values[row * hidden..][..hidden].copy_from_slice(token);
                }
            }
            Ok(self.backend.upload(values))
        };
        self.chunks.iter().zip(features).map(embed).collect()
    }

    /// The vision tower, where any sample has a picture.
    pub(super) fn tower(&self) -> Option<&'a VisionConfiguration> {
        self.network.blueprint.vision.as_ref().filter(|_| self.has_pictures())
    }

    /// How many blocks the samples go through, which is how often an observer of [`NetworkRun::forward`] hears that one is done.
    pub fn forward_steps(&self) -> usize {
        self.network.text_blocks() + self.tower().map_or(0, |vision| vision.depth)
    }

    /// Every border that the samples come by, in order: the first is what the first block takes, the last what the head takes.
    pub(super) fn all_borders(&self) -> Vec<Border> {
        let vision = self.tower().into_iter().flat_map(|vision| (0..=vision.depth).map(Border::Vision));
        vision.chain((0..=self.network.text_blocks()).map(Border::Text)).collect()
    }

    /// Whether any sample has a picture.
    pub(super) fn has_pictures(&self) -> bool {
        self.chunks.iter().any(|chunk| chunk.vision.is_some())
    }

    /// The patches as the tower's first block takes them.
    pub(super) fn patches(
        &self,
        vision: &VisionConfiguration,
        observer: &mut dyn Observer<B>,
    ) -> Result<Vec<Option<B::Buffer>>> {
        let embedding = patch_embedding(&self.network.tensors, vision)?;
        let mut hidden = vec![];
        for chunk in &self.chunks {
            let Some(rows) = &chunk.vision else {
                hidden.push(None);
                continue;
            };
            let values = self.patch_values(chunk, rows, vision);
            let mut pass = self.pass(observer, rows.places.len(), &rows.whole, &rows.rotation);
            let mut x = pass.forward(&embedding, &self.backend.upload(values));
            if let Some(positions) = self.network.positions(vision, rows)? {
                self.backend.add(&mut x, &self.backend.upload(positions));
            }
            hidden.push(Some(x));
        }
        Ok(hidden)
    }

    /// The patches of a chunk in the tower's order.
    pub(super) fn patch_values(
        &self,
        chunk: &SampleChunk,
        rows: &VisionRows,
        vision: &VisionConfiguration,
    ) -> Vec<f32> {
        let samples = &self.samples[chunk.samples.clone()];
        let all: Vec<&[f32]> = samples
            .iter()
            .flat_map(|sample| &sample.pictures)
            .flat_map(|picture| picture.patches.chunks_exact(vision.patch_values))
            .collect();
        rows.order.iter().flat_map(|at| all[*at].iter().copied()).collect()
    }
}
