//! All samples back, one block before the other.

use super::backend::Backend;
use super::borders::{Border, Borders};
use super::configuration::VisionConfiguration;
use super::decoder::DecoderBlock;
use super::linear::{Observer, Seen, Unobserved};
use super::network::NetworkRun;
use super::pass::BlockPass;
use super::vision::{Merger, VisionBlock, patch_embedding};
use crate::error::Result;
use crate::interrupt;

/// Where all samples stand on their way back.
pub(super) struct ReverseState<B: Backend> {
    /// The border that they have come to.
    pub at: Border,
    /// The gradients by what goes over it, a buffer a chunk; nothing in the vision tower for a chunk without pictures.
    pub gradients: Vec<Option<B::Buffer>>,
    /// The gradients by the features of DeepStack, of each chunk, those of its last merger first.
    pub deep: Vec<Vec<B::Buffer>>,
}

impl<B: Backend> NetworkRun<'_, B> {
    /// All samples back, from the gradients by what [`NetworkRun::forward`] gives. `borders` holds what went into each block.
    pub fn reverse(
        &self,
        gradients: Vec<B::Buffer>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let mut state = self.begin_reverse(gradients);
        while state.at != self.first_border() {
            state = self.go_back(state, observer, borders)?;
        }
        self.end_reverse(state, observer)
    }

    /// Before the first block.
    pub(super) fn first_border(&self) -> Border {
        if self.tower().is_some() { Border::Vision(0) } else { Border::Text(0) }
    }

    /// All samples before the head, on their way back.
    pub(super) fn begin_reverse(&self, gradients: Vec<B::Buffer>) -> ReverseState<B> {
        ReverseState {
            at: self.last_border(),
            gradients: gradients.into_iter().map(Some).collect(),
            deep: self.chunks.iter().map(|_| vec![]).collect(),
        }
    }

    /// From one border to that before it.
    pub(super) fn go_back(
        &self,
        mut state: ReverseState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<ReverseState<B>> {
        interrupt::check()?;
        match (state.at, self.tower()) {
            (Border::Text(0), Some(vision)) => {
                self.back_through_merger(vision, &mut state, observer, borders)?;
                state.at = Border::Vision(vision.depth);
            }
            (Border::Text(number), _) if number > 0 => {
                self.back_through_text_block(number - 1, &mut state, observer, borders)?;
                state.at = Border::Text(number - 1);
            }
            (Border::Vision(number), Some(vision)) if number > 0 => {
                self.back_through_vision_block(vision, number - 1, &mut state, observer, borders)?;
                state.at = Border::Vision(number - 1);
            }
            // There is nothing before the first border.
            _ => {}
        }
        Ok(state)
    }

    /// What is left to look at before the first block.
    pub(super) fn end_reverse(&self, state: ReverseState<B>, observer: &mut dyn Observer<B>) -> Result<()> {
        match self.tower() {
            Some(vision) => self.patches_reverse(vision, state.gradients, observer),
            None => Ok(()),
        }
    }

    fn back_through_text_block(
        &self,
        number: usize,
        state: &mut ReverseState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let text = &self.network.blueprint.text;
        let deepstack = self.tower().map_or(0, |vision| vision.deepstack.len());
        let block = DecoderBlock::load(&self.network.tensors, text, number)?;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let Some(g) = state.gradients[at].take() else { continue };
            if number < deepstack {
                state.deep[at].push(self.backend.gather(&g, text.hidden, &chunk.picture_rows));
            }
            let x = borders.take(self.backend, Border::Text(number), at)?;
            let mut pass = self.pass(observer, chunk.tokens.len(), &chunk.segments, &chunk.rotation);
            state.gradients[at] = Some(block.reverse(&mut pass, &x, &g));
        }
        observer.block_done();
        Ok(())
    }

    /// From tokens to patches.
    fn back_through_merger(
        &self,
        vision: &VisionConfiguration,
        state: &mut ReverseState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let width = self.network.blueprint.text.hidden;
        let merger = Merger::load(&self.network.tensors, vision, &vision.merger)?;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let (Some(rows), Some(g)) = (&chunk.vision, state.gradients[at].take()) else { continue };
            let by_tokens = self.backend.gather(&g, width, &chunk.picture_rows);
            let by_merged = self.backend.gather(&by_tokens, width, &rows.tokens_forth);
            let x = borders.take(self.backend, Border::Vision(vision.depth), at)?;
            let mut pass = self.pass(observer, rows.places.len(), &rows.whole, &rows.rotation);
            state.gradients[at] = Some(merger.reverse(&mut pass, &x, &by_merged));
        }
        Ok(())
    }

    fn back_through_vision_block(
        &self,
        vision: &VisionConfiguration,
        number: usize,
        state: &mut ReverseState<B>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let (tensors, width) = (&self.network.tensors, self.network.blueprint.text.hidden);
        let block = VisionBlock::load(tensors, vision, number)?;
        let merger = vision.deepstack.iter().position(|(block, _)| *block == number);
        let merger = merger
            .map(|at| Merger::load(tensors, vision, &vision.deepstack[at].1).map(|merger| (at, merger)))
            .transpose()?;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let (Some(rows), Some(mut g)) = (&chunk.vision, state.gradients[at].take()) else { continue };
            let x = borders.take(self.backend, Border::Vision(number), at)?;
            let mut pass =
                self.pass(observer, rows.places.len(), rows.segments(vision, number), &rows.rotation);
            if let Some((which, merger)) = &merger {
                let y = block.forward(&mut BlockPass { observer: &mut Unobserved, ..pass.again() }, &x);
                let by_features = &state.deep[at][vision.deepstack.len() - 1 - which];
                let by_deep = self.backend.gather(by_features, width, &rows.tokens_forth);
                let by_y = merger.reverse(&mut pass, &y, &by_deep);
                self.backend.add(&mut g, &by_y);
            }
            state.gradients[at] = Some(block.reverse(&mut pass, &x, &g));
        }
        observer.block_done();
        Ok(())
    }

    /// Shows the patch embedding to the observer; nothing is needed of what comes before it.
    fn patches_reverse(
        &self,
        vision: &VisionConfiguration,
        mut gradients: Vec<Option<B::Buffer>>,
        observer: &mut dyn Observer<B>,
    ) -> Result<()> {
        let embedding = patch_embedding(&self.network.tensors, vision)?;
        for (at, chunk) in self.chunks.iter().enumerate() {
            let (Some(rows), Some(g)) = (&chunk.vision, gradients[at].take()) else { continue };
            let x = self.backend.upload(self.patch_values(chunk, rows, vision));
            let y = embedding.apply(self.backend, rows.places.len(), &x);
            let seen = Seen { rows: rows.places.len(), x: &x, y: &y, g: &g };
            observer.gradient(self.backend, &embedding, seen);
        }
        Ok(())
    }
}
