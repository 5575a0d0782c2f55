//! Dynamic programming over the core: the groups whose choice the relaxation leaves open.

use super::relaxation::{Point, Ratio, Relaxation};

/// How large the core may become before the solver settles for a bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct CoreLimits {
    /// Partial solutions that are compared at a time.
    pub states: usize,
    /// Decisions that are remembered, 12 bytes each.
    pub decisions: usize,
}

impl CoreLimits {
    /// What an ordinary machine has room for.
    pub const DEFAULT: CoreLimits = CoreLimits { states: 1 << 20, decisions: 1 << 23 };
}

/// The best solution found, and by how much its score may exceed the optimum.
pub(super) struct CoreSolution {
    pub choices: Vec<usize>,
    pub excess: i128,
}

/// A partial solution: the classes of the core so far decided, all others as in the break solution.
#[derive(Clone, Copy)]
struct PartialSolution {
    cost: i64,
    score: i128,
    /// The last decision that differs from the break solution.
    decision: u32,
}

#[derive(Clone, Copy)]
struct CoreDecision {
    before: u32,
    class: u32,
    point: u32,
}

/// No decision: the break solution.
const BREAK: u32 = u32::MAX;

/// A class of the core.
struct Open {
    class: usize,
    /// Indices of the points other than the break solution's that may still lead to something better, with their penalty.
    points: Vec<(usize, i128)>,
    /// The least penalty.
    penalty: i128,
}

/// What the classes from here on can do at best.
#[derive(Clone, Copy, Default)]
struct Rest {
    /// The largest fall of the score for a rise of the cost.
    up: Option<Ratio>,
    /// The smallest rise of the score for a fall of the cost.
    down: Option<Ratio>,
}

/// Finds the least summed score with a summed cost of at most `room` above the cheapest choices.
pub(super) fn solve(relaxation: &Relaxation, room: i64, limits: CoreLimits) -> CoreSolution {
    let taken = relaxation.costs.partition_point(|&cost| cost <= room) - 1;
    // The break solution: the rises in their order until one no longer fits.
    let mut positions = vec![0; relaxation.classes.len()];
    for rise in &relaxation.rises[..taken] {
        positions[rise.class] = rise.position;
    }
    let Some(&breaking) = relaxation.rises.get(taken) else {
        return CoreSolution { choices: relaxation.best(), excess: 0 };
    };
    let at_break: Vec<usize> = relaxation.classes.iter().zip(&positions).map(|(c, &p)| c.hull[p]).collect();
    let start = PartialSolution {
        cost: relaxation.costs[taken],
        score: relaxation.classes.iter().zip(&at_break).map(|(c, &p)| c.points[p].score).sum(),
        decision: BREAK,
    };
    let mut search = Search {
        relaxation,
        room,
        limits,
        multiplier: breaking.ratio(),
        start,
        at_break,
        best: start,
        decisions: Vec::new(),
    };
    search.fill(taken, positions);
    let excess = search.run();
    CoreSolution { choices: search.choices(), excess }
}

struct Search<'a> {
    relaxation: &'a Relaxation,
    room: i64,
    limits: CoreLimits,
    /// The Lagrange multiplier of the budget: what the breaking rise gains for its cost.
    multiplier: Ratio,
    start: PartialSolution,
    at_break: Vec<usize>,
    best: PartialSolution,
    decisions: Vec<CoreDecision>,
}

impl Search<'_> {
    /// Takes later rises that still fit into the room.
    fn fill(&mut self, taken: usize, mut positions: Vec<usize>) {
        for rise in &self.relaxation.rises[taken..] {
            if self.best.cost + rise.cost <= self.room && positions[rise.class] + 1 == rise.position {
                positions[rise.class] = rise.position;
                let point = self.relaxation.classes[rise.class].hull[rise.position];
                let decision = self.decide(self.best.decision, rise.class, point);
                self.best = PartialSolution {
                    cost: self.best.cost + rise.cost,
                    score: self.best.score - rise.gain,
                    decision,
                };
            }
        }
    }

    /// By how much the best solution exceeds the bound of the relaxation, times the multiplier's cost.
    fn gap(&self) -> i128 {
        (self.best.score - self.start.score) * i128::from(self.multiplier.cost)
            + i128::from(self.room - self.start.cost) * self.multiplier.score
    }

    /// Decides the open classes one after the other; returns by how much the best score may exceed the optimum.
    fn run(&mut self) -> i128 {
        let open = self.open();
        let rests = self.rests(&open);
        let (mut states, mut next, mut merged) = (vec![self.start], Vec::new(), Vec::new());
        for (at, class) in open.iter().enumerate() {
            // Penalties rise, so no later class can improve on the best solution either.
            if states.is_empty() || class.penalty >= self.gap() {
                return 0;
            }
            if states.len() > self.limits.states || self.decisions.len() > self.limits.decisions {
                return self.excess(&states, rests[at]);
            }
            let rest = rests[at + 1];
            let from = self.relaxation.classes[class.class].points[self.at_break[class.class]];
            next.clear();
            next.extend_from_slice(&states);
            for &(point, penalty) in &class.points {
                if penalty < self.gap() {
                    let to = self.relaxation.classes[class.class].points[point];
                    self.merge(&states, &next, &mut merged, rest, (class.class, point), (from, to));
                    std::mem::swap(&mut next, &mut merged);
                }
            }
            states.clear();
            states.extend(next.iter().filter(|state| self.may_improve(state, rest)));
        }
        0
    }

    /// The classes that the relaxation leaves open, those that are cheapest to change first.
    fn open(&self) -> Vec<Open> {
        let gap = self.gap();
        let mut open = Vec::new();
        for (at, class) in self.relaxation.classes.iter().enumerate() {
            let from = class.points[self.at_break[at]];
            let penalty = |point: &Point| {
                (point.score - from.score) * i128::from(self.multiplier.cost)
                    + i128::from(point.cost - from.cost) * self.multiplier.score
            };
            let others = class.points.iter().enumerate().filter(|(index, _)| *index != self.at_break[at]);
            let points: Vec<(usize, i128)> = others
                .map(|(index, point)| (index, penalty(point)))
                .filter(|(_, penalty)| *penalty < gap)
                .collect();
            if let Some(penalty) = points.iter().map(|(_, penalty)| *penalty).min() {
                open.push(Open { class: at, points, penalty });
            }
        }
        open.sort_by_key(|class| class.penalty);
        open
    }

    /// For every number of decided classes, what the others can do.
    fn rests(&self, open: &[Open]) -> Vec<Rest> {
        let mut rests = vec![Rest::default(); open.len() + 1];
        for (at, class) in open.iter().enumerate().rev() {
            let mut rest = rests[at + 1];
            let points = &self.relaxation.classes[class.class].points;
            let from = points[self.at_break[class.class]];
            for &(index, _) in &class.points {
                let to = points[index];
                if to.cost > from.cost {
                    let ratio = Ratio { score: from.score - to.score, cost: to.cost - from.cost };
                    if rest.up.is_none_or(|up| ratio.compare(up).is_gt()) {
                        rest.up = Some(ratio);
                    }
                } else {
                    let ratio = Ratio { score: to.score - from.score, cost: from.cost - to.cost };
                    if rest.down.is_none_or(|down| ratio.compare(down).is_lt()) {
                        rest.down = Some(ratio);
                    }
                }
            }
            rests[at] = rest;
        }
        rests
    }

    /// Merges `into` with `states` changed from one point to another, keeping what is not dominated and may still improve.
    fn merge(
        &mut self,
        states: &[PartialSolution],
        into: &[PartialSolution],
        merged: &mut Vec<PartialSolution>,
        rest: Rest,
        (class, point): (usize, usize),
        (from, to): (Point, Point),
    ) {
        merged.clear();
        let (cost, score) = (to.cost - from.cost, to.score - from.score);
        let (mut old, mut new) = (into.iter().peekable(), states.iter().peekable());
        loop {
            let changed = new.peek().map(|s| (s.cost + cost, s.score + score));
            let (state, decided) = match (old.peek(), changed) {
                (Some(&&old_state), changed)
                    if changed.is_none_or(|c| (old_state.cost, old_state.score) <= c) =>
                {
                    old.next();
                    (old_state, false)
                }
                (_, Some((cost, score))) => {
                    let before = new.next().map_or(BREAK, |s| s.decision);
                    (PartialSolution { cost, score, decision: before }, true)
                }
                (_, None) => break,
            };
            if merged.last().is_some_and(|last| state.score >= last.score) {
                continue;
            }
            if !decided {
                merged.push(state);
                continue;
            }
            let improves = state.cost <= self.room && state.score < self.best.score;
            if improves || self.may_improve(&state, rest) {
                let state = PartialSolution { decision: self.decide(state.decision, class, point), ..state };
                if improves {
                    self.best = state;
                }
                merged.push(state);
            }
        }
    }

    /// Whether the classes that are still open could make `state` better than the best solution.
    fn may_improve(&self, state: &PartialSolution, rest: Rest) -> bool {
        let (room, needed) = (self.room - state.cost, self.best.score - state.score);
        if room >= 0 {
            rest.up.is_some_and(|up| -needed * i128::from(up.cost) < i128::from(room) * up.score)
        } else {
            rest.down.is_some_and(|down| i128::from(-room) * down.score < needed * i128::from(down.cost))
        }
    }

    /// By how much the best score may exceed that of anything that `states` can still become.
    fn excess(&self, states: &[PartialSolution], rest: Rest) -> i128 {
        let gain = |state: &PartialSolution| {
            let room = i128::from(self.room - state.cost);
            let bound = match (room >= 0, rest.up, rest.down) {
                (true, Some(up), _) => state.score - divide_up(room * up.score, up.cost),
                (false, _, Some(down)) => state.score + (-room * down.score) / i128::from(down.cost),
                _ => state.score,
            };
            self.best.score - bound
        };
        let relaxed = divide_up(self.gap(), self.multiplier.cost);
        states.iter().map(gain).max().unwrap_or(0).clamp(0, relaxed)
    }

    fn decide(&mut self, before: u32, class: usize, point: usize) -> u32 {
        // The limits keep the number of decisions far below that of an index.
        self.decisions.push(CoreDecision { before, class: class as u32, point: point as u32 });
        (self.decisions.len() - 1) as u32
    }

    fn choices(&self) -> Vec<usize> {
        let mut points = self.at_break.clone();
        let mut at = self.best.decision;
        let mut decided = vec![false; points.len()];
        while at != BREAK {
            let decision = self.decisions[at as usize];
            // A class with several rises was filled more than once: the last one counts.
            if !std::mem::replace(&mut decided[decision.class as usize], true) {
                points[decision.class as usize] = decision.point as usize;
            }
            at = decision.before;
        }
        self.relaxation.classes.iter().zip(points).map(|(class, point)| class.points[point].choice).collect()
    }
}

fn divide_up(value: i128, by: i64) -> i128 {
    let by = i128::from(by);
    value.div_euclid(by) + i128::from(value.rem_euclid(by) > 0)
}
