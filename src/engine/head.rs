//! From the last block to logits, losses and gradients, some rows at a time: all logits never stand in memory at once.

use super::backend::{Agreement, Backend, Norm};
use super::layout::SampleChunk;
use super::linear::{Linear, Observer, Seen};
use super::network::NetworkRun;
use crate::error::Result;
use crate::interrupt;

/// Rows whose logits are computed together.
pub(super) const ROWS: usize = 256;
/// The same where their losses are all that is asked for, so that logits are never in memory all at once.
const ROWS_OF_LOSSES: usize = 1024;

/// The normalisation before the head, and the head.
pub(super) struct Head {
    norm: Norm,
    linear: Linear,
}

/// The loss of a sample: the mean over its tokens, of which the first has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    /// Nats a token.
    pub mean: f64,
    /// Tokens that were predicted.
    pub tokens: usize,
}

impl<B: Backend> NetworkRun<'_, B> {
    pub(super) fn head(&self) -> Result<Head> {
        Ok(Head { norm: self.network.last_norm()?, linear: self.network.head()? })
    }

    /// The logits of all tokens of each sample, [tokens, vocabulary].
    pub fn logits(&self, hidden: &[B::Buffer], observer: &mut dyn Observer<B>) -> Result<Vec<Vec<f32>>> {
        let head = self.head()?;
        let vocabulary = self.network.vocabulary();
        let mut logits = vec![];
        for (chunk, hidden) in self.chunks.iter().zip(hidden) {
            let mut all = Vec::with_capacity(chunk.tokens.len() * vocabulary);
            pieces(chunk.tokens.len(), ROWS, |rows| {
                let piece = self.head_piece(&head, hidden, &rows, observer);
                all.extend(self.backend.download(&piece.logits));
                Ok(())
            })?;
            for segment in &chunk.segments {
                let rows = &segment.queries;
                logits.push(all[rows.start * vocabulary..rows.end * vocabulary].to_vec());
            }
        }
        Ok(logits)
    }

    /// The loss of each sample.
    pub fn losses(&self, hidden: &[B::Buffer], observer: &mut dyn Observer<B>) -> Result<Vec<Loss>> {
        let head = self.head()?;
        let mut losses = vec![];
        for (chunk, hidden) in self.chunks.iter().zip(hidden) {
            let labels = chunk.labels();
            let mut of_rows = vec![];
            pieces(chunk.tokens.len(), ROWS_OF_LOSSES, |rows| {
                let (_, input) = self.head_input(&head, hidden, &rows, observer);
                let linear = observer.replacement(&head.linear).unwrap_or(&head.linear);
                let labels = &labels[rows[0]..rows[0] + rows.len()];
                of_rows.extend(linear.cross_entropy(self.backend, rows.len(), &input, labels));
                Ok(())
            })?;
            losses.extend(chunk.mean_losses(&of_rows));
        }
        Ok(losses)
    }

    /// The loss of each sample, and the gradient of the mean loss of each sample by what goes into the head, which is let go chunk by
    /// chunk: both are never there at once.
    pub fn losses_and_gradients(
        &self,
        hidden: Vec<B::Buffer>,
        observer: &mut dyn Observer<B>,
    ) -> Result<(Vec<Loss>, Vec<B::Buffer>)> {
        let head = self.head()?;
        let vocabulary = self.network.vocabulary();
        let (mut losses, mut by_hidden) = (vec![], vec![]);
        for (chunk, hidden) in self.chunks.iter().zip(hidden) {
            let labels = chunk.labels();
            let (mut of_rows, mut by_chunk) = (vec![], vec![]);
            pieces(chunk.tokens.len(), ROWS, |rows| {
                let piece = self.head_piece(&head, &hidden, &rows, observer);
                let labels = &labels[rows[0]..rows[0] + rows.len()];
                let (losses, by_logits) =
                    self.backend.cross_entropy_and_gradient(&piece.logits, vocabulary, labels);
                of_rows.extend(losses);
                let seen = Seen { rows: rows.len(), x: &piece.input, y: &piece.logits, g: &by_logits };
                observer.gradient(self.backend, &head.linear, seen);
                let by_input = self.backend.linear_reverse(rows.len(), &by_logits, &head.linear.weight);
                let by_rows = self.backend.norm_reverse(&piece.hidden, &by_input, &head.norm);
                by_chunk.extend(self.backend.download(&by_rows));
                Ok(())
            })?;
            drop(hidden);
            by_hidden.push(self.backend.upload(by_chunk));
            losses.extend(chunk.mean_losses(&of_rows));
        }
        Ok((losses, by_hidden))
    }

    /// Shows what goes into the head to the observer, without its outputs, which would take the longest.
    pub(super) fn head_inputs(&self, hidden: &[B::Buffer], observer: &mut dyn Observer<B>) -> Result<()> {
        let head = self.head()?;
        for (chunk, hidden) in self.chunks.iter().zip(hidden) {
            interrupt::check()?;
            let input = self.backend.norm(hidden, &head.norm);
            observer.input(self.backend, &head.linear, chunk.tokens.len(), &input);
        }
        Ok(())
    }

    /// How the rows of another run agree with those of this: for each sample, one for each token.
    pub fn agreement(
        &self,
        hidden: &[B::Buffer],
        other: &NetworkRun<B>,
        other_hidden: &[B::Buffer],
        observer: &mut dyn Observer<B>,
    ) -> Result<Vec<Vec<Agreement>>> {
        let (head, other_head) = (self.head()?, other.head()?);
        let vocabulary = self.network.vocabulary();
        let mut found = vec![];
        for (at, chunk) in self.chunks.iter().enumerate() {
            let mut of_rows = vec![];
            pieces(chunk.tokens.len(), ROWS, |rows| {
                let base = self.head_piece(&head, &hidden[at], &rows, &mut super::linear::Unobserved);
                let piece = other.head_piece(&other_head, &other_hidden[at], &rows, observer);
                of_rows.extend(self.backend.agreement(&base.logits, &piece.logits, vocabulary));
                Ok(())
            })?;
            found.extend(chunk.segments.iter().map(|segment| of_rows[segment.queries.clone()].to_vec()));
        }
        Ok(found)
    }

    pub(super) fn head_piece(
        &self,
        head: &Head,
        hidden: &B::Buffer,
        rows: &[usize],
        observer: &mut dyn Observer<B>,
    ) -> HeadPiece<B> {
        let (hidden, input) = self.head_input(head, hidden, rows, observer);
        let linear = observer.replacement(&head.linear).unwrap_or(&head.linear);
        let logits = linear.apply(self.backend, rows.len(), &input);
        HeadPiece { hidden, input, logits }
    }

    /// Some rows before and after the normalisation, of which the observer is told.
    fn head_input(
        &self,
        head: &Head,
        hidden: &B::Buffer,
        rows: &[usize],
        observer: &mut dyn Observer<B>,
    ) -> (B::Buffer, B::Buffer) {
        let hidden = self.backend.gather(hidden, head.norm.width(), rows);
        let input = self.backend.norm(&hidden, &head.norm);
        observer.input(self.backend, &head.linear, rows.len(), &input);
        (hidden, input)
    }
}

/// Calls `each` for all rows, `most` at a time.
pub(super) fn pieces(rows: usize, most: usize, mut each: impl FnMut(Vec<usize>) -> Result<()>) -> Result<()> {
    for first in (0..rows).step_by(most) {
        interrupt::check()?;
        each((first..rows.min(first + most)).collect())?;
    }
    Ok(())
}

/// Some rows in the head.
pub(super) struct HeadPiece<B: Backend> {
    hidden: B::Buffer,
    input: B::Buffer,
    pub logits: B::Buffer,
}

impl SampleChunk {
    /// The label of each row, the token after it, and the factor of its loss in the mean of its sample.
    pub(super) fn labels(&self) -> Vec<Option<(u32, f32)>> {
        let mut labels = vec![None; self.tokens.len()];
        for rows in self.segments.iter().map(|segment| &segment.queries) {
            let factor = 1.0 / (rows.len() - 1).max(1) as f32;
            let next = &self.tokens[rows.start + 1..rows.end];
            for (label, next) in labels[rows.clone()].iter_mut().zip(next) {
                *label = Some((*next, factor));
            }
        }
        labels
    }

    /// The loss of each sample from those of all rows.
    fn mean_losses(&self, of_rows: &[f64]) -> impl Iterator<Item = Loss> {
        self.segments.iter().map(|segment| {
            let tokens = segment.queries.len() - 1;
            let sum: f64 = of_rows[segment.queries.clone()].iter().sum();
            Loss { mean: sum / tokens.max(1) as f64, tokens }
        })
    }
}
