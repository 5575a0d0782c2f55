//! The way back: from the gradients by what the head takes to every linear layer, block by block.

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

impl<B: Backend> NetworkRun<'_, B> {
    /// All samples back, from the gradients by what [`NetworkRun::forward`] gives. `borders` holds what went into each block.
    pub fn reverse(
        &self,
        mut gradients: Vec<B::Buffer>,
        observer: &mut dyn Observer<B>,
        borders: &mut dyn Borders<B>,
    ) -> Result<()> {
        let text = &self.network.blueprint.text;
        let tensors = &self.network.tensors;
        let vision = self.network.blueprint.vision.as_ref().filter(|_| self.has_pictures());
        let deepstack = vision.map_or(0, |vision| vision.deepstack.len());
        // The gradients by the features of DeepStack, of each chunk.
        let mut deep: Vec<Vec<B::Buffer>> = self.chunks.iter().map(|_| vec![]).collect();
        for number in (0..text.layers).rev() {
            interrupt::check()?;
            let block = DecoderBlock::load(tensors, text, number)?;
            for (at, chunk) in self.chunks.iter().enumerate() {
                if number < deepstack {
                    deep[at].push(self.backend.gather(&gradients[at], text.hidden, &chunk.picture_rows));
                }
                let x = borders.take(self.backend, Border::Text(number), at)?;
                let mut pass = self.pass(observer, chunk.tokens.len(), &chunk.segments, &chunk.rotation);
                gradients[at] = block.reverse(&mut pass, &x, &gradients[at]);
            }
            observer.block_done();
        }
        let Some(vision) = vision else { return Ok(()) };
        deep.iter_mut().for_each(|deep| deep.reverse());
        let merger = Merger::load(tensors, vision, &vision.merger)?;
        let mut hidden: Vec<Option<B::Buffer>> = vec![];
        for (at, chunk) in self.chunks.iter().enumerate() {
            let Some(rows) = &chunk.vision else {
                hidden.push(None);
                continue;
            };
            let by_tokens = self.backend.gather(&gradients[at], text.hidden, &chunk.picture_rows);
            let by_merged = self.backend.gather(&by_tokens, text.hidden, &rows.tokens_forth);
            let x = borders.take(self.backend, Border::Vision(vision.depth), at)?;
            let mut pass = self.pass(observer, rows.places.len(), &rows.whole, &rows.rotation);
            hidden.push(Some(merger.reverse(&mut pass, &x, &by_merged)));
        }
        drop(gradients);
        for number in (0..vision.depth).rev() {
            interrupt::check()?;
            let block = VisionBlock::load(tensors, vision, number)?;
            let merger = vision.deepstack.iter().position(|(block, _)| *block == number);
            let merger = merger
                .map(|at| Merger::load(tensors, vision, &vision.deepstack[at].1).map(|merger| (at, merger)))
                .transpose()?;
            for (at, chunk) in self.chunks.iter().enumerate() {
                let (Some(rows), Some(mut g)) = (&chunk.vision, hidden[at].take()) else { continue };
                let x = borders.take(self.backend, Border::Vision(number), at)?;
                let mut pass =
                    self.pass(observer, rows.places.len(), rows.segments(vision, number), &rows.rotation);
                if let Some((which, merger)) = &merger {
                    let y = block.forward(&mut BlockPass { observer: &mut Unobserved, ..pass.again() }, &x);
                    let by_deep = self.backend.gather(&deep[at][*which], text.hidden, &rows.tokens_forth);
                    let by_y = merger.reverse(&mut pass, &y, &by_deep);
                    self.backend.add(&mut g, &by_y);
                }
                hidden[at] = Some(block.reverse(&mut pass, &x, &g));
            }
            observer.block_done();
        }
        self.patches_reverse(vision, hidden, observer)
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
