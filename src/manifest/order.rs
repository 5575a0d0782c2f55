//! The order of a ranking: which end comes first, and what groups are put in order by.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Group, compare_scores};
use crate::words::words;

words! {
    /// Which end of a ranking comes first.
    #[derive(Default, Hash)]
    pub enum Order: "order of a ranking" {
        /// The least sensitive group first: the order of the published ranking.
        #[default]
        Ascending = "ascending",
        /// The most sensitive group first.
        Descending = "descending",
    }
}

/// How groups are put in order: by their score, or by numbers that are given for them.
#[derive(Debug, Clone)]
pub(super) struct Sorting {
    /// Which end comes first.
    pub order: Order,
    /// A number for each group of the manifest; NaN for those that are not ranked.
    pub own: Option<Arc<[f64]>>,
}

impl Sorting {
    /// Sorts positions in `groups` stably: ties keep their order in either direction.
    pub fn sort(&self, groups: &[Group], positions: &mut [usize]) {
        // The numbers beside the positions: the groups themselves are too large to be looked up at each comparison.
        let number = |at: usize| self.own.as_ref().map_or(groups[at].score, |own| own[at]);
        let mut numbered: Vec<(f64, usize)> = positions.iter().map(|&at| (number(at), at)).collect();
        let compare = |a: f64, b: f64| match &self.own {
            None => compare_scores(a, b),
            Some(_) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        };
        match self.order {
            Order::Ascending => numbered.sort_by(|a, b| compare(a.0, b.0)),
            Order::Descending => numbered.sort_by(|a, b| compare(b.0, a.0)),
        }
        positions.iter_mut().zip(numbered).for_each(|(position, (_, at))| *position = at);
        // Those without a number come last; they have no order among themselves.
        if let Some(own) = &self.own {
            positions.sort_by_key(|&at| own[at].is_nan());
        }
    }
}
