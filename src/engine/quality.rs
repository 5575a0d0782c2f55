//! What a scheme costs in quality: how its predictions differ from those of the checkpoint that it was made from.

use super::backend::Backend;
use super::head::{ROWS, pieces};
use super::linear::Unobserved;
use super::network::NetworkRun;
use crate::error::{Error, Result};

/// A mean with its standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error: the standard deviation of the values over the root of their number; 0 for fewer than two.
    pub standard_error: f64,
}

impl Estimate {
    /// The mean of `values`.
    pub fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        if values.is_empty() {
            return Estimate::default();
        }
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = if count > 1.0 { (squares / (count - 1.0) / count).sqrt() } else { 0.0 };
        Estimate { mean, standard_error }
    }
}

/// What was measured over the tokens of some samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Quality {
    /// Samples.
    pub samples: usize,
    /// Positions at which predictions were compared.
    pub tokens: usize,
    /// KL(base ‖ scheme) in nats a position.
    pub divergence: Estimate,
    /// Perplexity of the scheme: e to the mean negative logarithm of the probabilities of the tokens that were predicted. Its
    /// standard error is that of the mean times the perplexity, as llama.cpp has it.
    pub perplexity: Estimate,
    /// Perplexity of the base.
    pub base_perplexity: Estimate,
    /// The share of positions at which both find the same token likeliest, 0 to 1.
    pub agreement: Estimate,
}

impl<B: Backend> NetworkRun<'_, B> {
    /// How `scheme`, the same samples in another network, differs from this; from the position before token `counted_from` of
    /// each sample on. `hidden` is what [`NetworkRun::forward`] gave for this one.
    ///
    /// # Errors
    /// [`Error::Refused`] when both have not the same vocabulary; those of a forward pass.
    pub fn quality(
        &self,
        hidden: &[B::Buffer],
        scheme: &NetworkRun<B>,
        scheme_hidden: &[B::Buffer],
        counted_from: usize,
    ) -> Result<Quality> {
        let vocabulary = self.network.vocabulary();
        if scheme.network.vocabulary() != vocabulary {
            return Err(Error::refused(format!(
                "the base has a vocabulary of {vocabulary}, the scheme one of {}: they are not one model",
                scheme.network.vocabulary()
            )));
        }
        let (head, scheme_head) = (self.head()?, scheme.head()?);
        let (mut divergences, mut same) = (vec![], vec![]);
        let (mut losses, mut base_losses) = (vec![], vec![]);
        for (at, chunk) in self.chunks.iter().enumerate() {
            let labels = chunk.labels();
            let mut counts = vec![false; chunk.tokens.len()];
            for rows in chunk.segments.iter().map(|segment| &segment.queries) {
                counts[rows.start + (counted_from - 1).min(rows.len())..rows.end].fill(true);
            }
            pieces(chunk.tokens.len(), ROWS, |rows| {
                let base = self.head_piece(&head, &hidden[at], &rows, &mut Unobserved);
                let other = scheme.head_piece(&scheme_head, &scheme_hidden[at], &rows, &mut Unobserved);
                let labels = &labels[rows[0]..rows[0] + rows.len()];
                let agreement = self.backend.agreement(&base.logits, &other.logits, vocabulary);
                let base_loss = self.backend.cross_entropy(&base.logits, vocabulary, labels);
                let loss = self.backend.cross_entropy(&other.logits, vocabulary, labels);
                for (index, row) in rows.iter().enumerate().filter(|(_, row)| counts[**row]) {
                    divergences.push(agreement[index].divergence);
                    same.push(f64::from(u8::from(agreement[index].same_top)));
                    if labels[index].is_some() {
                        losses.push(loss[index]);
                        base_losses.push(base_loss[index]);
                    }
                    debug_assert!(*row < chunk.tokens.len());
                }
                Ok(())
            })?;
        }
        Ok(Quality {
            samples: self.samples.len(),
            tokens: divergences.len(),
            divergence: Estimate::of(&divergences),
            perplexity: perplexity(&losses),
            base_perplexity: perplexity(&base_losses),
            agreement: Estimate::of(&same),
        })
    }
}

fn perplexity(losses: &[f64]) -> Estimate {
    let Estimate { mean, standard_error } = Estimate::of(losses);
    Estimate { mean: mean.exp(), standard_error: mean.exp() * standard_error }
}
