//! The lower convex hull of a ranking's Pareto frontier, and its knee.

use serde::Serialize;

use super::budget::{BudgetSolver, Measure};
use super::{CostModel, Figures, knee};
use crate::error::Result;
use crate::manifest::{Group, Ranking};

/// A supported point of the Pareto frontier: one on its lower convex hull.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HullPoint {
    /// Sum of all tensor bytes.
    pub bytes: u64,
    /// Effective bits by ModelOpt's cost model.
    pub effective_bits: f64,
    /// The summed score.
    pub score: f64,
    /// How many groups are in FP8.
    pub groups: usize,
    /// The names of the groups that are in FP8 here and were not at the point before.
    pub added: Vec<String>,
}

/// The lower convex hull of the Pareto frontier of `ranking`, from nothing in FP8 to everything that has a finite score: at
/// each of its points the summed score is the least that its cost, counted in `measure`, allows, and no selection lies below
/// the line through two neighbours. Between neighbours the frontier itself lies above that line, but below the staircase
/// through the points ([`super::frontier`] solves for it). Every point adds groups to the one before.
///
/// # Errors
/// Those of [`BudgetSolver::new`].
pub fn hull(costs: &CostModel, ranking: &Ranking, measure: Measure) -> Result<Vec<HullPoint>> {
    let solver = BudgetSolver::new(costs, ranking, measure, None)?;
    let (start, steps) = solver.problem().supported();
    let groups: Vec<&Group> = ranking.groups().collect();
    let first: Vec<&Group> = groups.iter().zip(&start).filter(|(_, c)| **c == 1).map(|(g, _)| *g).collect();
    let figures = costs.figures(first.iter().copied());
    let names = first.iter().map(|g| g.name.clone()).collect();
    let mut points = vec![point(&figures, first.len(), names)];
    let mut weights = figures.effective_bits.unwrap_or(f64::NAN) * costs.total_weights() / 16.0;
    for step in steps {
        let group = groups[step.group];
        let Some(cost) = costs.group(&group.name) else { continue };
        let last = &points[points.len() - 1];
        weights += cost.quantised.weights - cost.unquantised.weights;
        points.push(HullPoint {
            bytes: last.bytes + cost.quantised.bytes - cost.unquantised.bytes,
            effective_bits: costs.effective_bits(weights),
            score: last.score + cost.quantised.score - cost.unquantised.score,
            groups: last.groups + 1,
            added: vec![group.name.clone()],
        });
    }
    Ok(points)
}

fn point(figures: &Figures, groups: usize, added: Vec<String>) -> HullPoint {
    HullPoint {
        bytes: figures.bytes,
        effective_bits: figures.effective_bits.unwrap_or(f64::NAN),
        score: figures.score.unwrap_or(f64::NAN),
        groups,
        added,
    }
}

/// The index of the [`knee`] of the summed score against the bytes of all tensors; `None` when there are fewer than three points.
pub fn hull_knee(points: &[HullPoint]) -> Option<usize> {
    let by_size: Vec<(f64, f64)> = points.iter().rev().map(|p| (p.bytes as f64, p.score)).collect();
    knee(&by_size).map(|at| points.len() - 1 - at)
}
