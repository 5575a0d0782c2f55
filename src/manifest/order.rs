//! The order of a ranking: which end comes first, and what groups are put in order by.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Group, compare_scores};
use crate::error::{Error, Result};

/// Which end of a ranking comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The least sensitive group first: the order of the published ranking.
    #[default]
    Ascending,
    /// The most sensitive group first.
    Descending,
}

impl Order {
    /// `ascending` or `descending`.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Ascending => "ascending",
            Order::Descending => "descending",
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "ascending" => Ok(Order::Ascending),
            "descending" => Ok(Order::Descending),
            _ => Err(Error::argument(format!("`{text}` is no order of a ranking")).with_hint(
                "`ascending` has the least sensitive group first, `descending` the most sensitive",
            )),
        }
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
        let compare = |a: usize, b: usize| match &self.own {
            None => compare_scores(groups[a].score, groups[b].score),
            Some(own) => own[a].partial_cmp(&own[b]).unwrap_or(Ordering::Equal),
        };
        match self.order {
            Order::Ascending => positions.sort_by(|&a, &b| compare(a, b)),
            Order::Descending => positions.sort_by(|&a, &b| compare(b, a)),
        }
        // Those without a number come last; they have no order among themselves.
        if let Some(own) = &self.own {
            positions.sort_by_key(|&at| own[at].is_nan());
        }
    }
}
