//! What decides between schemes: their share of all sensitivity, what a gigabyte costs, how near the best they are, and the knee.

use super::data::{GroupForm, SchemeRow, SweepReport};

/// Bytes of a gigabyte.
const GIGABYTE: f64 = 1e9;

impl SweepReport {
    /// The summed score of all groups that some scheme could store in FP8: what full coverage loses.
    pub fn total_score(&self) -> f64 {
        (0..self.groups.len()).filter(|&at| self.is_choice(at)).map(|at| self.groups[at].score).sum()
    }

    /// `score` as a share of the total, from 0 to 1.
    pub(super) fn share(&self, score: f64) -> Option<f64> {
        Some(score / self.total_score()).filter(|share| share.is_finite())
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

    /// The summed score that `scheme` gives away for each gigabyte that it saves.
    pub fn score_per_gigabyte(&self, scheme: &SchemeRow) -> Option<f64> {
        let saved = self.base_bytes?.checked_sub(scheme.figures.bytes)?;
        Some(scheme.figures.score? / (saved as f64 / GIGABYTE)).filter(|score| score.is_finite())
    }

    /// The knee of the summed score against size among `schemes`, places in [`SweepReport::schemes`].
    pub fn score_knee(&self, schemes: &[usize]) -> Option<usize> {
        let mut by_size: Vec<usize> = schemes.to_vec();
        by_size.sort_by_key(|&at| self.schemes[at].figures.bytes);
        by_size.retain(|&at| self.schemes[at].figures.score.is_some_and(has_logarithm));
        let point = |&at: &usize| {
            let figures = &self.schemes[at].figures;
            (figures.bytes as f64, figures.score.unwrap_or(f64::NAN))
        };
        knee(&by_size.iter().map(point).collect::<Vec<_>>()).map(|at| by_size[at])
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

/// The knee of the curve through `points`, size and loss by rising size: the point of the greatest distance below the straight
/// line from the first to the last, with size and the logarithm of the loss scaled to run from 0 to 1 between these two. The
/// vertical distance is compared, which is the perpendicular one times the same factor for all. Nothing where no point lies below
/// the line, or the loss does not fall from the first point to the last.
pub(super) fn knee(points: &[(f64, f64)]) -> Option<usize> {
    let [first, .., last] = points else { return None };
    let (width, fall) = (last.0 - first.0, first.1.ln() - last.1.ln());
    if !(width > 0.0 && fall > 0.0 && fall.is_finite()) {
        return None;
    }
    let below = |(size, loss): &(f64, f64)| 1.0 - (size - first.0) / width - (loss.ln() - last.1.ln()) / fall;
    let between = points.iter().map(below).enumerate().filter(|(_, distance)| *distance > 1e-9);
    between.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

/// How a knee is found, for those who ask.
pub(super) const KNEE: &str = "The knee is the scheme farthest below the straight line from the smallest scheme to the \
     largest, with size and log KL scaled to 1.";

#[cfg(test)]
mod tests {
    use super::knee;

    /// In normalised log KL and size, the points lie at (0, 1), (0.25, 0.2), (0.5, 0.4), (1, 0).
    #[test]
    fn the_knee_lies_farthest_below_the_line_in_log_kl() {
        let kl = |share: f64| 1e-5 * 1e5f64.powf(share);
        assert_eq!(knee(&[(2.0, kl(1.0)), (3.0, kl(0.2)), (4.0, kl(0.4)), (6.0, kl(0.0))]), Some(1));
    }

    #[test]
    fn a_curve_without_a_bend_has_no_knee() {
        assert_eq!(knee(&[(1.0, 1.0), (2.0, 0.1), (3.0, 0.01)]), None, "a straight line");
        assert_eq!(knee(&[(1.0, 1.0), (2.0, 0.9), (3.0, 0.01)]), None, "above the line");
        assert_eq!(knee(&[(1.0, 0.1), (2.0, 0.01), (3.0, 0.2)]), None, "KL rises with size");
        assert_eq!(knee(&[(1.0, 0.1), (1.0, 0.01), (1.0, 0.001)]), None, "all are of one size");
        assert_eq!((knee(&[]), knee(&[(1.0, 1.0)]), knee(&[(1.0, 1.0), (2.0, 0.1)])), (None, None, None));
    }
}
