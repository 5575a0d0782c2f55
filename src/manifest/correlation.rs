//! How far two manifests agree on the order of the groups.

use std::collections::HashMap;

use super::Manifest;
use crate::error::{Error, Result};
use crate::model::bare_name;

/// The rank correlation of two manifests, over the groups that both scored with a finite number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Correlation {
    /// The number of such groups.
    pub groups: usize,
    /// Spearman's ρ: 1 for the same order, -1 for the reverse; `None` when one of the two has only ties.
    pub spearman: Option<f64>,
    /// Kendall's τ-b, likewise.
    pub kendall: Option<f64>,
}

impl Correlation {
    /// Compares the scores of `a` and `b`; groups are found by their names, whatever the spelling.
    ///
    /// # Errors
    /// [`Error::Argument`] when fewer than two groups were scored in both.
    pub fn of(a: &Manifest, b: &Manifest) -> Result<Self> {
        let scored = |m: &Manifest| -> Vec<(String, f64)> {
            let groups =
                m.groups().iter().filter(|g| g.is_candidate() && g.is_scored() && g.score.is_finite());
            groups.map(|g| (bare_name(&g.name).to_string(), g.score)).collect()
        };
        let others: HashMap<String, f64> = scored(b).into_iter().collect();
        let pairs: Vec<(f64, f64)> =
            scored(a).iter().filter_map(|(name, score)| Some((*score, *others.get(name)?))).collect();
        if pairs.len() < 2 {
            return Err(Error::argument(format!(
                "`{}` and `{}` have too few scored groups in common to be compared: {}",
                a.path().display(),
                b.path().display(),
                pairs.len()
            )));
        }
        let defined = |value: f64| Some(value).filter(|v| v.is_finite());
        Ok(Correlation {
            groups: pairs.len(),
            spearman: defined(spearman(&pairs)),
            kendall: defined(kendall(&pairs)),
        })
    }
}

/// Pearson's correlation of the ranks; ties share the mean of their ranks. NaN when there are only ties.
fn spearman(pairs: &[(f64, f64)]) -> f64 {
    let (x, y) = (ranks(pairs.iter().map(|p| p.0)), ranks(pairs.iter().map(|p| p.1)));
    let mean = (pairs.len() as f64 + 1.0) / 2.0;
    let product =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt()
}

/// Ranks from 1 on; ties share the mean of their ranks.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let values: Vec<f64> = values.collect();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &at in tied {
            ranks[at] = first as f64 + (tied.len() as f64 + 1.0) / 2.0;
        }
        first += tied.len();
    }
    ranks
}

/// Kendall's τ-b by counting inversions (Knight 1966), in n log n.
fn kendall(pairs: &[(f64, f64)]) -> f64 {
    let mut sorted = pairs.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let pairs_of = |n: usize| (n * n.saturating_sub(1) / 2) as f64;
    let tied = |groups: &mut dyn Iterator<Item = usize>| -> f64 { groups.map(pairs_of).sum() };
    let both = tied(&mut sorted.chunk_by(|a, b| a == b).map(<[_]>::len));
    let first = tied(&mut sorted.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len));
    let mut second: Vec<f64> = sorted.iter().map(|p| p.1).collect();
    let discordant = inversions(&mut second) as f64;
    // Sorted by the merge sort that counted.
    let ties = tied(&mut second.chunk_by(|a, b| a == b).map(<[_]>::len));
    let all = pairs_of(pairs.len());
    let concordant = all - first - ties + both - discordant;
    (concordant - discordant) / ((all - first) * (all - ties)).sqrt()
}

/// Sorts `values` and counts the pairs that stood in falling order.
fn inversions(values: &mut [f64]) -> u64 {
    if values.len() < 2 {
        return 0;
    }
    let middle = values.len() / 2;
    let (left, right) = values.split_at_mut(middle);
    let mut count = inversions(left) + inversions(right);
    let (left, right) = (left.to_vec(), right.to_vec());
    let (mut l, mut r) = (0, 0);
    for value in values {
        if r == right.len() || l < left.len() && left[l] <= right[r] {
            *value = left[l];
            l += 1;
        } else {
            *value = right[r];
            r += 1;
            count += (left.len() - l) as u64;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, pair by pair.
    fn kendall_by_pairs(pairs: &[(f64, f64)]) -> f64 {
        let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
        for (at, a) in pairs.iter().enumerate() {
            for b in &pairs[..at] {
                let sign = |a: f64, b: f64| if a == b { 0.0 } else { (a - b).signum() };
                let (dx, dy) = (sign(a.0, b.0), sign(a.1, b.1));
                sum += dx * dy;
                x += dx * dx;
                y += dy * dy;
            }
        }
        sum / (x * y).sqrt()
    }

    /// The examples of SciPy's manual for `spearmanr` and `kendalltau`.
    #[test]
    fn correlations_are_those_of_scipys_manual() {
        let x = [12.0, 2.0, 1.0, 12.0, 2.0];
        let y = [1.0, 4.0, 7.0, 1.0, 0.0];
        let pairs: Vec<(f64, f64)> = x.into_iter().zip(y).collect();
        assert!((kendall(&pairs) + 0.4714045207910316).abs() < 1e-15, "{}", kendall(&pairs));
        let pairs = [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (4.0, 8.0), (5.0, 7.0)];
        assert!((spearman(&pairs) - 0.8207826816681233).abs() < 1e-15, "{}", spearman(&pairs));
    }

    proptest! {
        #[test]
        fn kendalls_tau_equals_its_definition(pairs in prop::collection::vec((0u8..9, 0u8..9), 2..60)) {
            let pairs: Vec<(f64, f64)> = pairs.iter().map(|&(x, y)| (x.into(), y.into())).collect();
            let (fast, slow) = (kendall(&pairs), kendall_by_pairs(&pairs));
            prop_assert!((fast - slow).abs() < 1e-12 || fast.is_nan() && slow.is_nan(), "{fast} {slow}");
        }
    }
}
