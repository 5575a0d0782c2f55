//! The Pareto frontier of a ranking at a set of sizes: the least that is lost there, found by the exact solver.

use std::collections::HashSet;

use super::CostModel;
use super::budget::{Budget, BudgetSolver, Measure};
use crate::error::Result;
use crate::manifest::{Ranking, Selection};

/// Sums of the same weights in another order differ by less than this share.
const ROUNDING: f64 = 1e-12;

/// A choice of groups that loses the least that its size allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontierPoint {
    /// Effective bits by ModelOpt's cost model.
    pub effective_bits: f64,
    /// The summed score.
    pub score: f64,
}

/// Points of the Pareto frontier, by rising effective bits and falling score.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frontier {
    /// The points.
    pub points: Vec<FrontierPoint>,
    /// How far a score may lie above the least possible one, as a share of it: 0 where all are proven to be the least.
    pub gap: f64,
}

impl Frontier {
    /// The least summed score of a point with at most `effective_bits`; `None` below the first.
    pub fn least_within(&self, effective_bits: f64) -> Option<f64> {
        let within = |p: &&FrontierPoint| p.effective_bits <= effective_bits * (1.0 + ROUNDING);
        self.points.iter().take_while(within).last().map(|p| p.score)
    }
}

/// Solves for the least summed score that groups of `ranking` can have at the size of each of `selections`, and at sizes
/// between the smallest and the largest. None of the points lies above one of `selections` whose groups are ranked: where the
/// solver gave up before it had a proof, a selection that is better than what it found takes its place.
///
/// # Errors
/// Those of [`BudgetSolver::new`].
pub fn frontier(costs: &CostModel, ranking: &Ranking, selections: &[&Selection]) -> Result<Frontier> {
    let solver = BudgetSolver::new(costs, ranking, Measure::EffectiveBits, None)?;
    let point = |selection: &Selection| {
        let figures = costs.figures(selection.selected());
        Some(FrontierPoint { effective_bits: figures.effective_bits?, score: figures.score? })
    };
    let ranked: HashSet<&str> = ranking.groups().map(|g| g.name.as_str()).collect();
    let can_be_chosen = |s: &&&Selection| s.selected().all(|g| ranked.contains(g.name.as_str()));
    let mut points: Vec<FrontierPoint> =
        selections.iter().filter(can_be_chosen).filter_map(|s| point(s)).collect();
    let given: Vec<f64> = selections.iter().filter_map(|s| point(s)).map(|p| p.effective_bits).collect();
    let mut gap = 0f64;
    for size in given.into_iter().chain(solver.sizes(sizes(ranking.len()))) {
        // Below the floor nothing fits.
        if let Ok(fit) = solver.fit(Budget::EffectiveBits(size)) {
            gap = gap.max(fit.gap);
            points.extend(point(&fit.selection));
        }
    }
    points.sort_by(|a, b| a.effective_bits.total_cmp(&b.effective_bits).then(a.score.total_cmp(&b.score)));
    let mut least = f64::INFINITY;
    points.retain(|point| {
        let is_better = point.score < least;
        least = least.min(point.score);
        is_better
    });
    Ok(Frontier { points, gap })
}

/// How many sizes between the smallest and the largest are solved for, beside those of given selections: so many that a line
/// through them looks smooth, and fewer when so many groups would take long.
fn sizes(groups: usize) -> u32 {
    (1_000_000 / groups.max(1)).clamp(8, 64) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::Manifest;
    use crate::plan::Located;

    /// A manifest of groups with these scores and numbers of weights.
    fn manifest(groups: &[(f64, u32)]) -> Manifest {
        let entry = |(at, (score, weights)): (usize, &(f64, u32))| {
            format!(
                r#""l.{at}.o_proj.quant_recipe": {{"formats": ["NONE(effective-bits: 16.0)", "FP8(effective-bits: 8.0)"],
                   "scores": [0.0, {}], "costs": [{weights}.0, {}.0]}}"#,
                if score.is_finite() { score.to_string() } else { "Infinity".into() },
                weights / 2
            )
        };
        let entries: Vec<String> = groups.iter().enumerate().map(entry).collect();
        let text = format!(r#"{{"layer_sensitivity": {{{}}}}}"#, entries.join(", "));
        Manifest::parse("m.json", text.as_bytes()).unwrap()
    }

    /// Effective bits and summed score of every choice of the groups.
    fn all_choices(costs: &CostModel, ranking: &Ranking) -> Vec<(f64, f64)> {
        let choice = |chosen: u32| {
            let figures = costs.figures(ranking.pick(|rank| chosen >> rank & 1 == 1).selected());
            (figures.effective_bits.unwrap(), figures.score.unwrap_or(f64::INFINITY))
        };
        (0..1 << ranking.len()).map(choice).collect()
    }

    proptest! {
        /// Against all choices: at the size of each given selection the frontier is the least sum, and it lies nowhere
        /// below what can be attained.
        #[test]
        fn no_choice_lies_below_the_frontier_at_the_size_of_a_selection(
            groups in prop::collection::vec((1u32..1000, 1u32..60), 1..9),
            seeds in prop::collection::vec(any::<u32>(), 1..6),
        ) {
            let groups: Vec<(f64, u32)> =
                groups.iter().map(|&(score, size)| (f64::from(score) * 1e-3, 2 * size)).collect();
            let manifest = manifest(&groups);
            let (costs, ranking) = (CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest)), manifest.ranking(&Default::default()).unwrap());
            let selections: Vec<Selection> =
                seeds.iter().map(|seed| ranking.pick(|rank| seed >> rank & 1 == 1)).collect();
            let frontier = frontier(&costs, &ranking, &selections.iter().collect::<Vec<_>>()).unwrap();
            let choices = all_choices(&costs, &ranking);
            prop_assert_eq!(frontier.gap, 0.0);
            for selection in &selections {
                let own = costs.figures(selection.selected());
                let (bits, score) = (own.effective_bits.unwrap(), own.score.unwrap());
                let within = choices.iter().filter(|c| c.0 <= bits * (1.0 + 1e-12));
                let least = within.map(|c| c.1).fold(f64::INFINITY, f64::min);
                let found = frontier.least_within(bits).unwrap();
                prop_assert!(found <= score, "{} above the selection's own {}", found, score);
                prop_assert!((found - least).abs() <= 1e-12 * least, "{} instead of {}", found, least);
            }
            for point in &frontier.points {
                prop_assert!(choices.contains(&(point.effective_bits, point.score)), "{:?} is no choice", point);
            }
        }
    }

    /// By hand, group by group.
    #[test]
    fn points_are_those_of_the_best_choices_and_none_lies_within_less_than_the_floor() {
        let manifest = manifest(&[(1.0, 40), (1.5, 40), (1.5, 40), (9.0, 40)]);
        let (costs, ranking) = (
            CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest)),
            manifest.ranking(&Default::default()).unwrap(),
        );
        let half = ranking.lowest(50.0).unwrap();
        let frontier = frontier(&costs, &ranking, &[&half]).unwrap();
        let points: Vec<(f64, f64)> = frontier.points.iter().map(|p| (p.effective_bits, p.score)).collect();
        assert_eq!(points, [(8.0, 13.0), (10.0, 4.0), (12.0, 2.5), (14.0, 1.0), (16.0, 0.0)]);
        assert_eq!(frontier.least_within(13.9), Some(2.5));
        assert_eq!(frontier.least_within(7.9), None);
    }

    #[test]
    fn scores_that_are_all_infinite_leave_one_point() {
        let manifest = manifest(&[(f64::INFINITY, 40), (f64::INFINITY, 20)]);
        let (costs, ranking) = (
            CostModel::of_manifest(&manifest, &Located::in_manifest(&manifest)),
            manifest.ranking(&Default::default()).unwrap(),
        );
        let frontier = frontier(&costs, &ranking, &[&ranking.lowest(100.0).unwrap()]).unwrap();
        assert_eq!(frontier.points, [FrontierPoint { effective_bits: 16.0, score: 0.0 }]);
    }
}
