//! Generation: a prompt goes through all blocks at once, then each further token alone, with the keys and values of what was before it.

use super::backend::Backend;
use super::borders::Forgotten;
use super::decoder::DecoderBlock;
use super::head::Head;
use super::layout::token_positions;
use super::linear::Unobserved;
use super::network::{Network, NetworkRun};
use super::pass::{BlockPass, Past};
use super::sample::Sample;
use crate::error::{Error, Result};
use crate::interrupt;

/// A sequence that grows token by token.
///
/// A token after the prompt stands one further than any before it in time, row and column (`rope_deltas` of Transformers).
pub struct Generation<'a, B: Backend> {
    run: NetworkRun<'a, B>,
    blocks: Vec<(DecoderBlock, Past<B>)>,
    head: Head,
    /// Where the next token stands.
    position: u32,
    /// Tokens that were read.
    tokens: usize,
    /// Of the token after those.
    logits: B::Buffer,
}

impl<'a, B: Backend> Generation<'a, B> {
    /// Reads `prompt`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the prompt does not fit the model; [`Error::Interrupted`]; those of tensors that are missing or of
    /// other shapes.
    pub fn begin(network: &'a Network<'a>, backend: &'a B, prompt: &'a Sample) -> Result<Self> {
        let run = NetworkRun::new(network, backend, std::slice::from_ref(prompt))?;
        let (text, tensors) = (&network.blueprint.text, &network.tensors);
        let merge = network.blueprint.vision.as_ref().map_or(1, |vision| vision.merge);
        let positions = token_positions(0, prompt, network.blueprint.image_token, merge)?;
        let mut generation = Generation {
            blocks: (0..text.layers)
                .map(|number| Ok((DecoderBlock::load(tensors, text, number)?, Past::default())))
                .collect::<Result<_>>()?,
            head: run.head()?,
            position: positions.iter().flatten().max().map_or(0, |last| last + 1),
            tokens: prompt.tokens.len(),
            logits: backend.upload(vec![]),
            run,
        };
        generation.read_prompt()?;
        Ok(generation)
    }

    fn read_prompt(&mut self) -> Result<()> {
        let features = self.run.vision_forward(&mut Unobserved, &mut Forgotten)?;
        let hidden = self.run.embed(&features)?;
        let width = self.run.network.blueprint.text.hidden;
        let backend = self.run.backend;
        // One sample is one chunk.
        for ((chunk, features), mut x) in self.run.chunks.iter().zip(&features).zip(hidden) {
            let rows = chunk.tokens.len();
            for (number, (block, past)) in self.blocks.iter_mut().enumerate() {
                interrupt::check()?;
                let mut observer = Unobserved;
                let pass = self.run.pass(&mut observer, rows, &chunk.segments, &chunk.rotation);
                x = block.forward(&mut BlockPass { past: Some(past), ..pass }, &x);
                if let Some(deep) = features.deep.get(number) {
                    backend.scatter_add(&mut x, deep, width, &chunk.picture_rows);
                }
            }
            self.logits = self.run.head_piece(&self.head, &x, &[rows - 1], &mut Unobserved).logits;
        }
        Ok(())
    }

    /// The logits of the token after those that were read.
    pub fn logits(&self) -> Vec<f32> {
        self.run.backend.download(&self.logits)
    }

    /// The likeliest token after those that were read; the first of several.
    ///
    /// # Errors
    /// [`Error::Refused`] when the logits are not finite.
    pub fn likeliest(&self) -> Result<u32> {
        if !self.run.backend.amax(&self.logits).is_finite() {
            let problem = format!("the model's logits after {} tokens are not finite", self.tokens);
            return Err(Error::refused(problem).with_hint(
                "its weights or scales are damaged, or too large for F32; `qlua verify` looks at each",
            ));
        }
        let largest = self.run.backend.largest(&self.logits, self.run.network.vocabulary());
        Ok(largest.first().copied().unwrap_or(0))
    }

    /// Reads one token more.
    ///
    /// # Errors
    /// [`Error::Argument`] for one beyond the vocabulary; [`Error::Interrupted`].
    pub fn push(&mut self, token: u32) -> Result<()> {
        let (network, backend) = (self.run.network, self.run.backend);
        let vocabulary = network.vocabulary();
        if token as usize >= vocabulary {
            return Err(Error::argument(format!("the vocabulary of {vocabulary} has no token {token}")));
        }
        let mut x = backend.upload(network.embeddings(&[token])?);
        let rotation = network.blueprint.text.rotary.rotation(&[[self.position; 3]]);
        for (block, past) in &mut self.blocks {
            interrupt::check()?;
            let mut observer = Unobserved;
            let pass = self.run.pass(&mut observer, 1, &[], &rotation);
            x = block.forward(&mut BlockPass { past: Some(past), ..pass }, &x);
        }
        self.logits = self.run.head_piece(&self.head, &x, &[0], &mut Unobserved).logits;
        self.position += 1;
        self.tokens += 1;
        Ok(())
    }

    /// The likeliest token again and again: up to one of `ends`, which is the last then, or `most` of them.
    pub fn greedy<'g>(&'g mut self, ends: &'g [u32], most: usize) -> GreedyTokens<'g, 'a, B> {
        GreedyTokens { generation: self, ends, left: most, unread: None }
    }
}

/// Tokens of [`Generation::greedy`], each computed when it is asked for.
pub struct GreedyTokens<'g, 'a, B: Backend> {
    generation: &'g mut Generation<'a, B>,
    ends: &'g [u32],
    /// How many may still come.
    left: usize,
    /// The token that was given last.
    unread: Option<u32>,
}

impl<B: Backend> GreedyTokens<'_, '_, B> {
    fn advance(&mut self) -> Result<u32> {
        if let Some(token) = self.unread.take() {
            self.generation.push(token)?;
        }
        self.generation.likeliest()
    }
}

impl<B: Backend> Iterator for GreedyTokens<'_, '_, B> {
    type Item = Result<u32>;

    fn next(&mut self) -> Option<Result<u32>> {
        self.left = self.left.checked_sub(1)?;
        let token = self.advance();
        match token {
            Ok(token) if !self.ends.contains(&token) => self.unread = Some(token),
            _ => self.left = 0,
        }
        Some(token)
    }
}
