//! Tensors that differ, by the modules that they belong to.

use std::collections::BTreeMap;

use super::pairs::{TensorDiff, TensorOutcome};
use super::values::ValueDifference;

/// A module of which some tensor differs.
#[derive(Debug, Clone, PartialEq)]
pub struct ModuleDiff {
    /// Its name; empty for tensors that belong to none.
    pub name: String,
    /// Its tensors that differ, weights before those of quantisers.
    pub tensors: Vec<TensorDiff>,
}

impl ModuleDiff {
    /// How far the numbers of its weights lie apart, of all that could be compared; nothing where none could.
    pub fn values(&self) -> Option<ValueDifference> {
        let weights = self.tensors.iter().filter(|tensor| !tensor.is_of_quantiser());
        weights.filter_map(TensorDiff::values).copied().reduce(ValueDifference::merge)
    }

    /// The least says most: weights that cannot be compared as numbers, or are none; then the least signal to noise; then
    /// quantisers alone.
    fn severity(&self) -> (u8, f64) {
        let weights = || self.tensors.iter().filter(|tensor| !tensor.is_of_quantiser());
        let is_lost = |tensor: &TensorDiff| match &tensor.outcome {
            TensorOutcome::OnlyInA
            | TensorOutcome::OnlyInB
            | TensorOutcome::Shape
            | TensorOutcome::Unread(_) => true,
            TensorOutcome::Values(values) => values.not_finite > 0,
            TensorOutcome::Same => false,
        };
        let sqnr = self.values().map_or(f64::INFINITY, |values| values.sqnr_db());
        // What cannot be told is the worst.
        let sqnr = if sqnr.is_nan() { f64::NEG_INFINITY } else { sqnr };
        match () {
            () if weights().any(is_lost) => (0, sqnr),
            () if weights().next().is_some() => (1, sqnr),
            () => (2, sqnr),
        }
    }
}

/// The modules of those of `tensors` that differ, the worst first.
pub(super) fn by_module(tensors: Vec<TensorDiff>) -> Vec<ModuleDiff> {
    let mut modules: BTreeMap<String, Vec<TensorDiff>> = BTreeMap::new();
    for tensor in tensors.into_iter().filter(|tensor| tensor.outcome != TensorOutcome::Same) {
        modules.entry(tensor.module().to_string()).or_default().push(tensor);
    }
    let mut modules: Vec<ModuleDiff> = modules
        .into_iter()
        .map(|(name, mut tensors)| {
            tensors.sort_by(|a, b| (a.is_of_quantiser(), a.name()).cmp(&(b.is_of_quantiser(), b.name())));
            ModuleDiff { name, tensors }
        })
        .collect();
    modules.sort_by(|a, b| {
        let ((class_a, sqnr_a), (class_b, sqnr_b)) = (a.severity(), b.severity());
        class_a.cmp(&class_b).then(sqnr_a.total_cmp(&sqnr_b))
    });
    modules
}
