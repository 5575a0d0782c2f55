//! What is chosen from, and how a choice changes.

/// One format that a group may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// How much is lost by it; one that is infinite or NaN is never chosen.
    pub score: f64,
    /// What it takes of the budget; 0 or more.
    pub cost: f64,
}

/// One step from a supported solution to the next: the group whose choice changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HullStep {
    /// The index of the group.
    pub group: usize,
    /// The index of the choice that it changes to, which is cheaper and scores worse than the one before.
    pub choice: usize,
}
