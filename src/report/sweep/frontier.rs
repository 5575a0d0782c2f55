//! A frontier for when no solver was asked.

use std::cmp::Ordering;

use super::{Frontier, FrontierPoint, GroupRow, effective_bits};

/// The choices that taking groups by rising score per bit saved leads to. Each is attainable and none is better for its
/// bits; between two of them a solver may find choices below the staircase. Groups that were never scored, have no finite
/// score or stay in BF16 take no part.
pub(super) fn greedy(groups: &[GroupRow]) -> Frontier {
    let saved = |g: &GroupRow| g.parameters as f64 * (16.0 - g.candidate_bits.unwrap_or(16.0));
    let mut choices: Vec<&GroupRow> =
        groups.iter().filter(|g| g.is_choice() && g.score.is_finite() && saved(g) > 0.0).collect();
    let ratio = |g: &GroupRow| g.score / saved(g);
    choices.sort_by(|a, b| ratio(a).partial_cmp(&ratio(b)).unwrap_or(Ordering::Equal));
    let parameters: f64 = groups.iter().map(|g| g.parameters as f64).sum();
    let mut at =
        FrontierPoint { effective_bits: effective_bits(groups.iter().map(|g| (g, false))), score: 0.0 };
    let mut points = vec![at];
    for group in choices {
        at.effective_bits -= saved(group) / parameters;
        at.score += group.score;
        points.push(at);
    }
    points.reverse();
    Frontier { name: "greedy frontier".into(), points }
}
