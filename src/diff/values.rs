//! How far the numbers of two tensors lie apart.

/// The difference between two tensors of one shape, or of parts of them, as numbers; parts and tensors [`merge`](Self::merge).
///
/// Elements of which one is NaN or infinite, and the other is not the same, are counted and left out of all else.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ValueDifference {
    /// Number of elements.
    pub elements: u64,
    /// Elements that are not the same number. 0 and -0 are; NaN and NaN as well.
    pub differing: u64,
    /// Those of them that are NaN or infinite on one side or both.
    pub not_finite: u64,
    /// Largest |a - b|.
    pub max_difference: f64,
    /// Largest |a|.
    pub max_magnitude: f64,
    /// Sum of a².
    pub sum_squares: f64,
    /// Sum of (a - b)².
    pub sum_squared_difference: f64,
}

impl ValueDifference {
    /// The difference between the elements `a` and `b`, summed in their order.
    pub fn of(a: &[f64], b: &[f64]) -> Self {
        let mut found = ValueDifference { elements: a.len() as u64, ..Self::default() };
        for (&a, &b) in a.iter().zip(b) {
            if a.is_finite() && b.is_finite() {
                let difference = (a - b).abs();
                found.differing += u64::from(difference != 0.0);
                found.max_difference = found.max_difference.max(difference);
                found.max_magnitude = found.max_magnitude.max(a.abs());
                found.sum_squares += a * a;
                found.sum_squared_difference += difference * difference;
            } else if a != b && !(a.is_nan() && b.is_nan()) {
                found.differing += 1;
                found.not_finite += 1;
            }
        }
        found
    }

    /// Counts the elements `a` and `b`, integers that [`Self::of`] took for the same since they are the same once rounded to F64.
    pub(super) fn note_integers(&mut self, a: i128, b: i128) {
        if a != b {
            let difference = a.abs_diff(b) as f64;
            self.differing += 1;
            self.max_difference = self.max_difference.max(difference);
            self.sum_squared_difference += difference * difference;
        }
    }

    /// This and `next` together.
    pub fn merge(self, next: Self) -> Self {
        ValueDifference {
            elements: self.elements + next.elements,
            differing: self.differing + next.differing,
            not_finite: self.not_finite + next.not_finite,
            max_difference: self.max_difference.max(next.max_difference),
            max_magnitude: self.max_magnitude.max(next.max_magnitude),
            sum_squares: self.sum_squares + next.sum_squares,
            sum_squared_difference: self.sum_squared_difference + next.sum_squared_difference,
        }
    }

    /// The largest difference as a share of the largest magnitude in the first; infinite where that is 0 and the other is not.
    pub fn relative(&self) -> f64 {
        if self.max_difference == 0.0 { 0.0 } else { self.max_difference / self.max_magnitude }
    }

    /// Signal to noise in decibels, 10 × log10(Σ a² / Σ (a - b)²); infinite where nothing differs, minus infinite where the
    /// first is all zeros. NaN where it cannot be told: all that differs is NaN or infinite on a side, or the squares leave the
    /// range of F64.
    pub fn sqnr_db(&self) -> f64 {
        if self.differing == 0 {
            return f64::INFINITY;
        }
        let sums = [self.sum_squares, self.sum_squared_difference];
        let has_vanished = self.sum_squares == 0.0 && self.max_magnitude > 0.0;
        if has_vanished || self.sum_squared_difference == 0.0 || sums.iter().any(|sum| !sum.is_finite()) {
            return f64::NAN;
        }
        10.0 * (self.sum_squares / self.sum_squared_difference).log10()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handful_of_numbers_is_compared_as_by_hand() {
        let a = [1.0, -4.0, 0.0, f64::NAN, f64::INFINITY, 2.0, f64::NAN];
        let b = [1.5, -4.0, -0.0, f64::NAN, f64::INFINITY, f64::INFINITY, 0.0];
        let found = ValueDifference::of(&a, &b);
        assert_eq!((found.elements, found.differing, found.not_finite), (7, 3, 2));
        assert_eq!((found.max_difference, found.max_magnitude), (0.5, 4.0));
        assert_eq!((found.sum_squares, found.sum_squared_difference), (17.0, 0.25));
        assert_eq!(found.relative(), 0.125);
        assert!((found.sqnr_db() - 18.325_089_127_062_36).abs() < 1e-12, "{}", found.sqnr_db());
        let (first, second) = (ValueDifference::of(&a[..3], &b[..3]), ValueDifference::of(&a[3..], &b[3..]));
        assert_eq!(first.merge(second), found);
    }

    #[test]
    fn ends_of_the_scale_are_infinite() {
        assert_eq!(ValueDifference::of(&[1.0], &[1.0]).sqnr_db(), f64::INFINITY);
        let from_nothing = ValueDifference::of(&[0.0], &[1.0]);
        assert_eq!((from_nothing.sqnr_db(), from_nothing.relative()), (f64::NEG_INFINITY, f64::INFINITY));
        assert_eq!(ValueDifference::default().relative(), 0.0);
    }

    #[test]
    fn what_differs_is_never_lossless() {
        for (a, b) in [
            ([f64::NAN, 1.0], [0.0, 1.0]),
            ([1e308, 1.0], [-1e308, 1.0]),
            ([1.0, 0.0], [1.0, 1e-200]),
            ([1e-200, 0.0], [0.0, 0.0]),
        ] {
            let found = ValueDifference::of(&a, &b);
            assert!(found.differing == 1 && found.sqnr_db().is_nan(), "{a:?} {b:?}: {}", found.sqnr_db());
        }
    }
}
