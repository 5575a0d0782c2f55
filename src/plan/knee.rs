//! The knee of a curve of loss against size: one rule for frontiers, summed scores and measured quality.

/// The rule of [`knee`] among the schemes of a family, in a sentence.
pub const KNEE: &str = "The knee is the scheme farthest below the straight line from the smallest scheme to the base checkpoint \
     (or to the largest scheme where its size is not known), with size and loss scaled to run from 0 to 1 (Satopää et al. 2011).";

/// The place of the knee of the curve through `points`, size and loss by rising size: the point of the greatest distance below the
/// straight line from the first to the last, with both scaled to run from 0 to 1 between these two (Satopää, Albrecht, Irwin and
/// Raghavan, "Finding a Kneedle in a Haystack", 2011). The vertical distance is compared, which is the perpendicular one times the
/// same factor for all; of equal ones the larger size counts. Nothing where no point lies below the line, or the loss does not
/// fall from the first point to the last.
pub fn knee(points: &[(f64, f64)]) -> Option<usize> {
    let [first, .., last] = points else { return None };
    let (width, fall) = (last.0 - first.0, first.1 - last.1);
    if !(width > 0.0 && fall > 0.0 && fall.is_finite()) {
        return None;
    }
    let below = |(size, loss): &(f64, f64)| 1.0 - (size - first.0) / width - (loss - last.1) / fall;
    let between = points.iter().map(below).enumerate().filter(|(_, distance)| *distance > 1e-9);
    between.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::knee;

    /// Scaled, the points lie at (0, 1), (0.25, 0.2), (0.5, 0.4), (1, 0).
    #[test]
    fn the_knee_lies_farthest_below_the_line() {
        let loss = |share: f64| 3.0 + 20.0 * share;
        assert_eq!(knee(&[(2.0, loss(1.0)), (3.0, loss(0.2)), (4.0, loss(0.4)), (6.0, loss(0.0))]), Some(1));
    }

    #[test]
    fn a_curve_without_a_bend_has_no_knee() {
        assert_eq!(knee(&[(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]), None, "a straight line");
        assert_eq!(knee(&[(1.0, 1.0), (2.0, 0.9), (3.0, 0.01)]), None, "above the line");
        assert_eq!(knee(&[(1.0, 0.1), (2.0, 0.01), (3.0, 0.2)]), None, "the loss rises with size");
        assert_eq!(knee(&[(1.0, 0.1), (1.0, 0.01), (1.0, 0.001)]), None, "all are of one size");
        assert_eq!(knee(&[(1.0, f64::INFINITY), (2.0, 1.0), (3.0, 0.0)]), None, "the loss has no bounds");
        assert_eq!((knee(&[]), knee(&[(1.0, 1.0)]), knee(&[(1.0, 1.0), (2.0, 0.1)])), (None, None, None));
    }
}
