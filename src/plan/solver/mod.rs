//! The budget solver: one choice per group, the least summed score that a budget allows.
//!
//! This is the multiple-choice knapsack problem. It is solved exactly: the linear relaxation (Sinha and Zoltners 1979)
//! bounds the optimum, choices whose reduced cost closes the gap are fixed, and dynamic programming over the core of groups
//! that remain (Pisinger 1995) finds the optimum. All comparisons are between integers, so that the result depends neither
//! on rounding nor on the order of summation. Where the core outgrows its limits, the best solution so far comes with a
//! proven bound.

mod choice;
mod core;
mod integers;
mod relaxation;

pub use choice::{Choice, HullStep};

use self::core::CoreLimits;
use integers::Integers;
use relaxation::Relaxation;

use crate::error::{Error, Result};

/// Groups of choices, prepared for any number of budgets.
#[derive(Debug)]
pub struct Knapsack {
    groups: Vec<Vec<Choice>>,
    integers: Integers,
    relaxation: Relaxation,
}

/// What was chosen for a budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Solution {
    /// The index of each group's choice.
    pub choices: Vec<usize>,
    /// The summed score.
    pub score: f64,
    /// The summed cost.
    pub cost: f64,
    /// How far the score may lie above the least possible one, as a share of it: 0 when it is proven to be the least.
    pub gap: f64,
}

impl Knapsack {
    /// Prepares `groups`, each a list of choices.
    ///
    /// # Errors
    /// [`Error::Argument`] when a cost is negative or not finite, or a group has no choice with a finite score.
    pub fn new(groups: Vec<Vec<Choice>>) -> Result<Self> {
        for (at, group) in groups.iter().enumerate() {
            if let Some(choice) = group.iter().find(|c| !(c.cost.is_finite() && c.cost >= 0.0)) {
                return Err(Error::argument(format!(
                    "group {at} has a choice of cost {}, and a cost must be a number from 0 on",
                    choice.cost
                )));
            }
            if !group.iter().any(|c| c.score.is_finite()) {
                return Err(Error::argument(format!("group {at} has no choice with a finite score")));
            }
        }
        let integers = Integers::new(&groups);
        let relaxation = Relaxation::new(&groups, &integers);
        Ok(Knapsack { groups, integers, relaxation })
    }

    /// The least summed cost that there is.
    pub fn floor(&self) -> f64 {
        self.summed(&self.relaxation.cheapest(), |c| c.cost)
    }

    /// The summed cost beyond which a budget changes nothing: every group has its best score.
    pub fn ceiling(&self) -> f64 {
        self.summed(&self.relaxation.best(), |c| c.cost)
    }

    /// The choices of least summed score whose summed cost is at most `budget`; `None` when `budget` is below
    /// [`Knapsack::floor`]. A budget that only rounding keeps below a sum of costs counts as that sum. Among solutions of equal score the same one is found every time.
    pub fn solve(&self, budget: f64) -> Option<Solution> {
        self.solve_within(budget, CoreLimits::DEFAULT)
    }

    fn solve_within(&self, budget: f64, limits: CoreLimits) -> Option<Solution> {
        let room = self.integers.room(budget)?;
        let solved = core::solve(&self.relaxation, room, limits);
        let score = self.summed(&solved.choices, |c| c.score);
        let excess = self.integers.score(solved.excess) + self.integers.score_error;
        let gap = if excess > 0.0 { excess / (score - excess).abs() } else { 0.0 };
        Some(Solution { score, cost: self.summed(&solved.choices, |c| c.cost), gap, choices: solved.choices })
    }

    /// The supported efficient solutions: where every group starts, its best score, and the steps from there to the cheapest
    /// solution, one group at a time. After every step the score is the least that the cost allows; what lies between two
    /// neighbours is above the line through them.
    pub fn supported(&self) -> (Vec<usize>, Vec<HullStep>) {
        (self.relaxation.best(), self.relaxation.steps_down())
    }

    fn summed(&self, choices: &[usize], of: impl Fn(&Choice) -> f64) -> f64 {
        self.groups.iter().zip(choices).map(|(group, &choice)| of(&group[choice])).sum()
    }
}

#[cfg(test)]
mod tests;
