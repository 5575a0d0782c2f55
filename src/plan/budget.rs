//! From a budget to a selection: the groups of a ranking that lose least for what they save.

use std::fmt;

use super::CostModel;
use super::solver::{Choice, Knapsack};
use crate::error::{Error, Result};
use crate::manifest::{Ranking, Selection};
use crate::units::{bytes_rounded_up, bytes_to};
use crate::words::words;

/// A limit on what a scheme may cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Budget {
    /// Effective bits by ModelOpt's cost model: Σ cost ≤ Σ cost unquantised × bits / 16, over all groups of the manifest.
    EffectiveBits(f64),
    /// Sum of all tensor bytes.
    Bytes(u64),
}

words! {
    /// What a budget is counted in.
    pub enum Measure: "measure" {
        /// ModelOpt's cost.
        EffectiveBits = "effective_bits",
        /// Tensor bytes.
        Bytes = "bytes",
    }
}

impl Budget {
    /// What it is counted in.
    pub fn measure(self) -> Measure {
        match self {
            Budget::EffectiveBits(_) => Measure::EffectiveBits,
            Budget::Bytes(_) => Measure::Bytes,
        }
    }

    /// With the three decimals that are shown, and no less: a floor that is named so can be met.
    fn rounded_up(self) -> Self {
        match self {
            Budget::EffectiveBits(bits) => Budget::EffectiveBits((bits * 1e3).ceil() / 1e3),
            Budget::Bytes(bytes) => Budget::Bytes(bytes_rounded_up(bytes, 3)),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            // Three decimals are what a plan shows.
            Budget::EffectiveBits(bits) => write!(f, "{} effective bits", (bits * 1e3).round() / 1e3),
            Budget::Bytes(bytes) => f.write_str(&bytes_to(*bytes, 3)),
        }
    }
}

/// A selection that fits a budget.
#[derive(Debug, Clone)]
pub struct Fit {
    /// The groups that go to FP8; none when the budget needs none.
    pub selection: Selection,
    /// How far the summed score may lie above the least possible one, as a share of it: 0 when it is proven to be the least.
    pub gap: f64,
    /// The least that this ranking can come down to.
    pub floor: Budget,
    /// What nothing in FP8 takes; a budget from here on changes nothing.
    pub ceiling: Budget,
    /// Whether the budget is at the ceiling or above.
    pub is_above_ceiling: bool,
}

/// A ranking and its costs, prepared for any number of budgets.
pub struct BudgetSolver<'a> {
    costs: &'a CostModel,
    ranking: &'a Ranking,
    measure: Measure,
    problem: Knapsack,
}

/// Whether a group is chosen to be quantised: the second of its choices where there are two.
const QUANTISED: usize = 1;

impl<'a> BudgetSolver<'a> {
    /// Prepares the groups of `ranking`. All others stay as they are, and so does a group whose score is not finite, unless
    /// it is in `always`, as whose groups go to FP8 whatever they lose.
    ///
    /// # Errors
    /// [`Error::Argument`] when a cost is no number or the ranking is of another manifest.
    pub fn new(
        costs: &'a CostModel,
        ranking: &'a Ranking,
        measure: Measure,
        always: Option<&Selection>,
    ) -> Result<Self> {
        let always: std::collections::HashSet<&str> =
            always.iter().flat_map(|s| s.selected_names()).collect();
        let total = match measure {
            Measure::EffectiveBits => costs.total_weights(),
            Measure::Bytes => costs.base_bytes() as f64,
        };
        let mut ranked = 0.0;
        let mut groups = Vec::with_capacity(ranking.len() + 1);
        for group in ranking.groups() {
            let cost = costs.group(&group.name).ok_or_else(|| {
                Error::argument(format!("the ranking holds `{}`, which is not in the manifest", group.name))
            })?;
            let choice = |cost: super::Cost| Choice {
                score: cost.score,
                cost: match measure {
                    Measure::EffectiveBits => cost.weights,
                    Measure::Bytes => cost.bytes as f64,
                },
            };
            let (unquantised, mut quantised) = (choice(cost.unquantised), choice(cost.quantised));
            if !unquantised.cost.is_finite() || !quantised.cost.is_finite() {
                return Err(Error::argument(format!(
                    "the group `{}` has a cost that is no number",
                    group.name
                )));
            }
            let is_forced = always.contains(group.name.as_str());
            let is_quantised = cost.quantisable_layers > 0 && quantised.score.is_finite();
            if !is_forced && !is_quantised && !unquantised.score.is_finite() {
                return Err(Error::argument(format!(
                    "the group `{}` has no finite score, whatever its format",
                    group.name
                ))
                .with_hint("leave such groups out of the ranking"));
            }
            ranked += unquantised.cost;
            groups.push(if is_forced {
                // Both choices are the same, so that the index of a choice keeps its meaning.
                quantised.score = 0.0;
                vec![Choice { score: f64::INFINITY, ..unquantised }, quantised]
            } else if cost.quantisable_layers == 0 {
                vec![unquantised]
            } else {
                vec![unquantised, quantised]
            });
        }
        // What is not ranked costs the same in every solution.
        groups.push(vec![Choice { score: 0.0, cost: total - ranked }]);
        Ok(BudgetSolver { costs, ranking, measure, problem: Knapsack::new(groups)? })
    }

    /// The selection of least summed score that fits `budget`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the budget is below the floor, which it names, or counted in another measure.
    pub fn fit(&self, budget: Budget) -> Result<Fit> {
        let limit = match budget {
            _ if budget.measure() != self.measure => {
                return Err(Error::argument(format!("the solver does not count what {budget} counts")));
            }
            Budget::EffectiveBits(bits) => self.costs.total_weights() * bits / 16.0,
            Budget::Bytes(bytes) => bytes as f64,
        };
        let (floor, ceiling) = (self.of_cost(self.problem.floor()), self.of_cost(self.problem.ceiling()));
        let Some(solution) = self.problem.solve(limit) else {
            let problem = format!(
                "{budget} are below the floor of {}, where every ranked group that can be quantised and has a finite score is",
                floor.rounded_up()
            );
            return Err(Error::argument(problem)
                .with_hint("raise the budget, or rank more groups: those that are left out stay in BF16"));
        };
        let selection = self.ranking.pick(|rank| solution.choices[rank] == QUANTISED);
        let is_above_ceiling = limit >= self.problem.ceiling();
        Ok(Fit { selection, gap: solution.gap, floor, ceiling, is_above_ceiling })
    }

    /// The problem, of which group n is the n-th of the ranking and choice 1 is FP8.
    pub(super) fn problem(&self) -> &Knapsack {
        &self.problem
    }

    /// Effective bits from the least that the ranking can come down to up to what nothing in FP8 takes, in `count` equal steps.
    pub(super) fn sizes(&self, count: u32) -> impl Iterator<Item = f64> {
        let bits = |cost: f64| self.costs.effective_bits(cost);
        let (low, high) = (bits(self.problem.floor()), bits(self.problem.ceiling()));
        (0..=count).map(move |at| low + (high - low) * f64::from(at) / f64::from(count))
    }

    fn of_cost(&self, cost: f64) -> Budget {
        match self.measure {
            Measure::EffectiveBits => Budget::EffectiveBits(self.costs.effective_bits(cost)),
            Measure::Bytes => Budget::Bytes(cost as u64),
        }
    }
}
