//! The linear relaxation: for each group the lower convex hull of its choices, and the steps along all hulls in the order of
//! what they gain.

use std::cmp::Ordering;

use super::choice::{Choice, HullStep};
use super::integers::Integers;

/// A choice that no other choice of its group dominates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// Cost above the cheapest choice of the group.
    pub cost: i64,
    pub score: i128,
    /// Its index among the choices as given.
    pub choice: usize,
}

/// The undominated choices of a group: costs rise, scores fall.
#[derive(Debug)]
pub(super) struct KnapsackClass {
    pub points: Vec<Point>,
    /// Indices of the points on the lower convex hull.
    pub hull: Vec<usize>,
}

/// A step along the hull of one class, to a dearer choice that scores better.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rise {
    pub class: usize,
    /// The position on the hull that it leads to.
    pub position: usize,
    /// How much dearer; above 0.
    pub cost: i64,
    /// By how much the score falls; above 0.
    pub gain: i128,
}

/// A ratio of scores to costs, with a denominator above 0.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ratio {
    pub score: i128,
    pub cost: i64,
}

impl Ratio {
    pub fn compare(self, other: Self) -> Ordering {
        (self.score * i128::from(other.cost)).cmp(&(other.score * i128::from(self.cost)))
    }
}

#[derive(Debug)]
pub(super) struct Relaxation {
    pub classes: Vec<KnapsackClass>,
    /// All steps, those that gain most for their cost first.
    pub rises: Vec<Rise>,
    /// The summed cost of the first n rises, for every n.
    pub costs: Vec<i64>,
}

impl Relaxation {
    pub fn new(groups: &[Vec<Choice>], integers: &Integers) -> Self {
        let classes: Vec<KnapsackClass> = groups.iter().map(|group| class(group, integers)).collect();
        let mut rises = Vec::new();
        for (at, class) in classes.iter().enumerate() {
            for (position, pair) in class.hull.windows(2).enumerate() {
                let (from, to) = (class.points[pair[0]], class.points[pair[1]]);
                let (cost, gain) = (to.cost - from.cost, from.score - to.score);
                rises.push(Rise { class: at, position: position + 1, cost, gain });
            }
        }
        // Stable, so that of equal gains the group that comes first in the model is first.
        rises.sort_by(|a, b| b.ratio().compare(a.ratio()));
        let mut costs = vec![0];
        costs.extend(rises.iter().scan(0, |sum, rise| {
            *sum += rise.cost;
            Some(*sum)
        }));
        Relaxation { classes, rises, costs }
    }

    pub fn cheapest(&self) -> Vec<usize> {
        self.classes.iter().map(|class| class.points[0].choice).collect()
    }

    pub fn best(&self) -> Vec<usize> {
        self.classes.iter().map(|class| class.points[class.points.len() - 1].choice).collect()
    }

    pub fn steps_down(&self) -> Vec<HullStep> {
        let step = |rise: &Rise| {
            let class = &self.classes[rise.class];
            HullStep { group: rise.class, choice: class.points[class.hull[rise.position - 1]].choice }
        };
        self.rises.iter().rev().map(step).collect()
    }
}

impl Rise {
    pub fn ratio(&self) -> Ratio {
        Ratio { score: self.gain, cost: self.cost }
    }
}

fn class(group: &[Choice], integers: &Integers) -> KnapsackClass {
    let usable = || group.iter().enumerate().filter(|(_, c)| c.score.is_finite());
    let least = usable().map(|(_, c)| c.cost).fold(f64::INFINITY, f64::min);
    let mut all: Vec<Point> = usable()
        .map(|(choice, c)| Point {
            cost: integers.cost(c.cost, least),
            score: integers.to_score(c.score),
            choice,
        })
        .collect();
    all.sort_by_key(|point| (point.cost, point.score));
    let mut points: Vec<Point> = Vec::with_capacity(all.len());
    for point in all {
        if points.last().is_none_or(|last| point.score < last.score) {
            points.push(point);
        }
    }
    let mut hull: Vec<usize> = Vec::with_capacity(points.len());
    for at in 0..points.len() {
        while let [.., a, b] = hull[..] {
            let ratio = |from: usize, to: usize| Ratio {
                score: points[from].score - points[to].score,
                cost: points[to].cost - points[from].cost,
            };
            // `b` is below the line from `a` to the new point only when the way to it gains more.
            if ratio(a, b).compare(ratio(b, at)) == Ordering::Greater {
                break;
            }
            hull.pop();
        }
        hull.push(at);
    }
    KnapsackClass { points, hull }
}
