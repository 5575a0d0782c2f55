//! All samples forward, one block after the other.

use super::backend::Backend;
use super::borders::{Border, Borders};
use super::configuration::VisionConfiguration;
use super::decoder::DecoderBlock;
use super::linear::Observer;
use super::network::{Features, NetworkRun};
use super::vision::{Merger, VisionBlock};
use crate::error::Result;
use crate::interrupt;

/// Where all samples stand on their way forward.
pub(super) struct ForwardState<B: Backend> {
    /// The border that they have come to.
    pub at: Border,
    /// What goes into the block behind it, a buffer a chunk; nothing in the vision tower for a chunk without pictures.
    pub hidden: Vec<Option<B::Buffer>>,
    /// What pictures add to the language model, as far as it is known; a chunk each.
    pub features: Vec<Features<B>>,
}

impl<B: Backend> NetworkRun<'_, B> {
    /// All samples forward to what the head takes, before its normalisation: one buffer a chunk. What goes into each block is
    /// left in `borders`.
    pub fn forward(
        &self,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<Vec<B::Buffer>> {
        let state = self.begin(observer)?;
        self.forward_from(state, observer, borders)
    }

    /// [`NetworkRun::forward`] from where `state` is.
    pub(super) fn forward_from(
        &self,
        mut state: ForwardState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<Vec<B::Buffer>> {
        while state.at != self.last_border() {
            state = self.advance(state, observer, borders)?;
        }
        Ok(state.hidden.into_iter().flatten().collect())
    }

    /// Before the head.
    pub(super) fn last_border(&self) -> Border {
        Border::Text(self.network.text_blocks())
    }

    /// All samples before the first block.
    pub(super) fn begin(&self, observer: &mut dyn Observer<B>) -> Result<ForwardState<B>> {
        let features: Vec<Features<B>> = self.chunks.iter().map(|_| Features::none()).collect();
        Ok(match self.tower() {
            Some(vision) => {
                ForwardState { at: Border::Vision(0), hidden: self.patches(vision, observer)?, features }
            }
            None => {
                let hidden = self.embed(&features)?.into_iter().map(Some).collect();
                ForwardState { at: Border::Text(0), hidden, features }
            }
        })
    }

    /// From one border to the next.
    pub(super) fn advance(
        &self,
        mut state: ForwardState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<ForwardState<B>> {
        interrupt::check()?;
        match (state.at, self.tower()) {
            (Border::Vision(number), Some(vision)) if number < vision.depth => {
                self.through_vision_block(vision, number, &mut state, observer, borders)?;
                state.at = Border::Vision(number + 1);
            }
            (Border::Vision(_), vision) => {
                if let Some(vision) = vision {
                    self.through_merger(vision, &mut state, observer, borders)?;
                }
                state.hidden = self.embed(&state.features)?.into_iter().map(Some).collect();
                state.features.iter_mut().for_each(|features| features.tokens = None);
                state.at = Border::Text(0);
            }
            (Border::Text(number), _) => {
                self.through_text_block(number, &mut state, observer, borders)?;
                state.at = Border::Text(number + 1);
            }
        }
        Ok(state)
    }

    /// The pictures' features, a chunk each.
    pub(super) fn vision_forward(
        &self,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<Vec<Features<B>>> {
        let Some(vision) = self.tower() else {
            return Ok(self.chunks.iter().map(|_| Features::none()).collect());
        };
        let mut state = self.begin(observer)?;
        while state.at != Border::Vision(vision.depth) {
            state = self.advance(state, observer, borders)?;
        }
        self.through_merger(vision, &mut state, observer, borders)?;
        Ok(state.features)
    }

    fn through_text_block(
        &self,
        number: usize,
        state: &mut ForwardState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let text = &self.network.blueprint.text;
        let block = DecoderBlock::load(&self.network.tensors, text, number)?;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let Some(x) = state.hidden[at].take() else { continue };
            let mut pass = self.pass(observer, chunk.tokens.len(), &chunk.segments, &chunk.rotation);
            let mut y = block.forward(&mut pass, &x);
            if let Some(deep) = state.features[at].deep.get(number) {
                self.backend.scatter_add(&mut y, deep, text.hidden, &chunk.picture_rows);
            }
            borders.put(self.backend, Border::Text(number), at, x)?;
            state.hidden[at] = Some(y);
        }
        observer.block_done();
        Ok(())
    }

    fn through_vision_block(
        &self,
        vision: &VisionConfiguration,
        number: usize,
        state: &mut ForwardState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let tensors = &self.network.tensors;
        let block = VisionBlock::load(tensors, vision, number)?;
        let merger = vision.deepstack.iter().find(|(block, _)| *block == number);
        let merger = merger.map(|(_, merger)| Merger::load(tensors, vision, merger)).transpose()?;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let (Some(rows), Some(x)) = (&chunk.vision, state.hidden[at].take()) else { continue };
            let mut pass =
                self.pass(observer, rows.places.len(), rows.segments(vision, number), &rows.rotation);
            let y = block.forward(&mut pass, &x);
            if let Some(merger) = &merger {
                let deep = merger.forward(&mut pass, &y);
                let deep = self.backend.gather(&deep, vision.output, &rows.tokens_back);
                state.features[at].deep.push(deep);
            }
            borders.put(self.backend, Border::Vision(number), at, x)?;
            state.hidden[at] = Some(y);
        }
        observer.block_done();
        Ok(())
    }

    /// From patches to tokens.
    fn through_merger(
        &self,
        vision: &VisionConfiguration,
        state: &mut ForwardState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let merger = Merger::load(&self.network.tensors, vision, &vision.merger)?;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let (Some(rows), Some(x)) = (&chunk.vision, state.hidden[at].take()) else { continue };
            let mut pass = self.pass(observer, rows.places.len(), &rows.whole, &rows.rotation);
            let merged = merger.forward(&mut pass, &x);
            state.features[at].tokens = Some(self.backend.gather(&merged, vision.output, &rows.tokens_back));
            borders.put(self.backend, Border::Vision(vision.depth), at, x)?;
        }
        Ok(())
    }
}
