//! What decides between schemes: their share of all sensitivity, what a gigabyte costs, how near the best they are, and the knee.

use super::data::{GroupForm, SchemeRow, SweepReport};
use crate::plan::knee;

/// Bytes of a gigabyte.
const GIGABYTE: f64 = 1e9;

impl SweepReport {
    /// The summed score of all groups that some scheme could store in FP8: what full coverage loses.
    pub fn total_score(&self) -> f64 {
        (0..self.groups.len()).filter(|&at| self.is_choice(at)).map(|at| self.groups[at].score).sum()
    }

    /// `score` as a share of the total, from 0 to 1.
    pub(super) fn share(&self, score: f64) -> Option<f64> {
        let total = Some(self.total_score()).filter(|total| total.is_finite());
        Some(score / total?).filter(|share| share.is_finite())
    }

    /// The share of the total score that `scheme` gives away.
    pub fn share_of(&self, scheme: &SchemeRow) -> Option<f64> {
        self.share(scheme.figures.score?)
    }

    /// The least share that any choice of groups no larger than `scheme` gives away, by the exact solver.
    pub fn least_share_of(&self, scheme: &SchemeRow) -> Option<f64> {
        self.share(self.frontier.least_within(scheme.figures.effective_bits?)?)
    }

    /// Bytes of the base checkpoint that `scheme` saves, as a share of it.
    pub fn saved(&self, scheme: &SchemeRow) -> Option<f64> {
        let base = self.base_bytes?;
        Some(1.0 - scheme.figures.bytes as f64 / base.max(1) as f64)
    }

    /// The summed score that `scheme` gives away for each gigabyte that it saves: not finite where the sum is none, or the quotient
    /// is too large. Nothing where nothing is saved.
    pub fn score_per_gigabyte(&self, scheme: &SchemeRow) -> Option<f64> {
        let saved = self.base_bytes?.checked_sub(scheme.figures.bytes).filter(|saved| *saved > 0)?;
        Some(scheme.figures.score.unwrap_or(f64::NAN) / (saved as f64 / GIGABYTE))
    }

    /// The knee of the summed score against size among `schemes`, places in [`SweepReport::schemes`]; see [`KNEE`](crate::plan::KNEE).
    pub fn score_knee(&self, schemes: &[usize]) -> Option<usize> {
        self.knee_of(schemes.iter().map(|&at| (at, self.schemes[at].figures.score.unwrap_or(f64::NAN))))
    }

    /// The knee of a loss against size among `schemes`, places in [`SweepReport::schemes`] with what each loses: the base checkpoint,
    /// which loses nothing, ends the curve. Schemes whose loss is not finite are left out of it.
    pub(super) fn knee_of(&self, schemes: impl Iterator<Item = (usize, f64)>) -> Option<usize> {
        let bytes = |at: usize| self.schemes[at].figures.bytes;
        let mut by_size: Vec<(usize, f64)> = schemes.filter(|(_, loss)| loss.is_finite()).collect();
        by_size.sort_by_key(|&(at, _)| bytes(at));
        let largest = by_size.last().map_or(u64::MAX, |&(at, _)| bytes(at));
        let base = self.base_bytes.filter(|base| *base > largest).map(|base| (base as f64, 0.0));
        let points = by_size.iter().map(|&(at, loss)| (bytes(at) as f64, loss)).chain(base);
        knee(&points.collect::<Vec<_>>()).map(|at| by_size[at].0)
    }

    /// The groups that stay in BF16 although some scheme selected them, or could: place, reason, and in how many schemes they
    /// were selected.
    pub fn kept_groups(&self) -> Vec<(usize, &str, usize)> {
        let kept = self.groups.iter().enumerate().filter(|(_, group)| group.is_candidate);
        kept.filter_map(|(at, group)| {
            let reason = group.kept.as_deref()?;
            let selected = self.schemes.iter().filter(|s| s.stored.get(at) == Some(&GroupForm::Kept)).count();
            Some((at, reason, selected))
        })
        .collect()
    }
}

/// Whether `value` has a place on a logarithmic axis.
pub(super) fn has_logarithm(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}
