//! A coverage point of a ranking: the groups to quantise, and the rest.

use std::sync::Arc;

use super::{Group, Order, Percent};

/// The groups of a ranking that a percentage selects, and those that it drops, both in ranking order.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The percentage that was asked for.
    pub percent: Percent,
    /// The order of the ranking.
    pub order: Order,
    /// The number of ranked groups: selected and dropped together.
    pub total: usize,
    /// Keys of the candidates that were never scored, in model order, whether ranked or not.
    pub unscored: Vec<String>,
    groups: Arc<[Group]>,
    selected: Vec<usize>,
    dropped: Vec<usize>,
}

impl Selection {
    pub(super) fn new(
        percent: Percent,
        order: Order,
        unscored: Vec<String>,
        groups: Arc<[Group]>,
        selected: Vec<usize>,
        dropped: Vec<usize>,
    ) -> Self {
        Selection {
            percent,
            order,
            total: selected.len() + dropped.len(),
            unscored,
            groups,
            selected,
            dropped,
        }
    }

    /// The selected groups in ranking order; at least one.
    pub fn selected(&self) -> impl ExactSizeIterator<Item = &Group> + DoubleEndedIterator + Clone {
        self.selected.iter().map(|&at| &self.groups[at])
    }

    /// The ranked groups that are not selected, in ranking order.
    pub fn dropped(&self) -> impl ExactSizeIterator<Item = &Group> + DoubleEndedIterator + Clone {
        self.dropped.iter().map(|&at| &self.groups[at])
    }

    /// The names of the selected groups in ranking order.
    pub fn selected_names(&self) -> Vec<&str> {
        self.selected().map(|g| g.name.as_str()).collect()
    }

    /// The names of the dropped groups in ranking order.
    pub fn dropped_names(&self) -> Vec<&str> {
        self.dropped().map(|g| g.name.as_str()).collect()
    }
}
