//! The tensors of two checkpoints, each with its counterpart in the other.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::stored::{Compared, ElementBuffers, ElementReading, StoredElements};
use super::values::ValueDifference;
use crate::dialect::{Foreign, TensorRole};
use crate::error::Result;
use crate::model::Model;
use crate::tensor::{Tensor, TensorSpec};

/// A tensor of one checkpoint and its counterpart in another.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorDiff {
    /// The tensor in the first; nothing where it is in the second alone.
    pub a: Option<TensorSpec>,
    /// The tensor in the second.
    pub b: Option<TensorSpec>,
    /// What it is there for: codes where it is so on one side, of a quantiser where it is on one.
    pub role: TensorRole,
    /// How they compare.
    pub outcome: TensorOutcome,
}

/// How a tensor and its counterpart compare.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorOutcome {
    /// The same type, shape and bytes, under the same scales.
    Same,
    /// It has no counterpart in the second.
    OnlyInA,
    /// It has no counterpart in the first.
    OnlyInB,
    /// Their shapes differ.
    Shape,
    /// They are stored differently; this far their numbers lie apart.
    Values(ValueDifference),
    /// They are stored differently, and it is not known what they stand for: the rest of a sentence says why.
    Unread(String),
}

impl TensorOutcome {
    /// The words for all outcomes.
    pub const WORDS: &'static [&'static str] =
        &["same", "only_in_a", "only_in_b", "shape", "same_values", "other_values", "unread"];

    /// Its word, one of [`TensorOutcome::WORDS`].
    pub fn word(&self) -> &'static str {
        match self {
            TensorOutcome::Same => "same",
            TensorOutcome::OnlyInA => "only_in_a",
            TensorOutcome::OnlyInB => "only_in_b",
            TensorOutcome::Shape => "shape",
            TensorOutcome::Values(values) if values.differing == 0 => "same_values",
            TensorOutcome::Values(_) => "other_values",
            TensorOutcome::Unread(_) => "unread",
        }
    }
}

impl TensorDiff {
    /// Its name in the first, or in the second where it is there alone.
    pub fn name(&self) -> &str {
        self.a.as_ref().or(self.b.as_ref()).map_or("", |spec| &spec.name)
    }

    /// The name without its last part.
    pub fn module(&self) -> &str {
        self.name().rsplit_once('.').map_or("", |(module, _)| module)
    }

    /// Whether it holds scales and the like, not weights.
    pub fn is_of_quantiser(&self) -> bool {
        self.role == TensorRole::Quantiser
    }

    /// How far the numbers lie apart, where that is known.
    pub fn values(&self) -> Option<&ValueDifference> {
        match &self.outcome {
            TensorOutcome::Values(values) => Some(values),
            _ => None,
        }
    }
}

/// A model and how it is quantised.
pub(super) struct QuantisedModel<'a> {
    pub model: &'a Model,
    foreign: Foreign,
}

impl<'a> QuantisedModel<'a> {
    /// Looks at `model`.
    ///
    /// # Errors
    /// Those of [`Foreign::of`].
    pub fn of(model: &'a Model) -> Result<Self> {
        Ok(QuantisedModel { model, foreign: Foreign::of(model)? })
    }
}

/// The names under which one tensor is found on both sides.
type NamePair<'a> = (Option<&'a str>, Option<&'a str>);

/// Names that are spelled alike on both sides belong together, then those of modules that are called differently.
fn pair<'a>(a: &'a Model, b: &'a Model) -> Vec<NamePair<'a>> {
    let names: HashMap<&str, &str> = a.tensors().map(|(name, _)| (name, name)).collect();
    let mut other_names: HashMap<&str, &str> = HashMap::new();
    for (name, _) in b.tensors() {
        let in_other_words = || {
            let (module, leaf) = name.rsplit_once('.')?;
            let spelled = format!("{}.{leaf}", a.modules().on_disk(module)?);
            names.get(spelled.as_str()).copied().filter(|spelled| b.tensor(spelled).is_none())
        };
        if let Some(found) = names.get(name).copied().or_else(in_other_words) {
            other_names.entry(found).or_insert(name);
        }
    }
    let found: HashSet<&str> = other_names.values().copied().collect();
    let of_a = a.tensors().map(|(name, _)| (Some(name), other_names.get(name).copied()));
    let of_b = b.tensors().map(|(name, _)| name).filter(|name| !found.contains(name));
    of_a.chain(of_b.map(|name| (None, Some(name)))).collect()
}

/// Compares all tensors, in the order of the first checkpoint, those of the second alone last.
///
/// Threads of the current pool take a tensor at a time, and each reads it part by part.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Interrupted`].
pub(super) fn diff_tensors(a: &QuantisedModel, b: &QuantisedModel) -> Result<Vec<TensorDiff>> {
    let pairs = pair(a.model, b.model);
    let compared =
        pairs.par_iter().map_init(ElementBuffers::default, |buffers, pair| compare(a, b, *pair, buffers));
    compared.collect()
}

fn compare(
    a: &QuantisedModel,
    b: &QuantisedModel,
    (name_a, name_b): NamePair,
    buffers: &mut ElementBuffers,
) -> Result<TensorDiff> {
    let stored = |of: &'_ QuantisedModel, name: Option<&str>| {
        let tensor = of.model.tensor(name?)?;
        Some((spec(name?, tensor), of.foreign.role(name?)))
    };
    let (side_a, side_b) = (stored(a, name_a), stored(b, name_b));
    let roles = [&side_a, &side_b].map(|side| side.as_ref().map(|(_, role)| *role));
    let role =
        [TensorRole::Quantiser, TensorRole::Codes].into_iter().find(|role| roles.contains(&Some(*role)));
    let outcome = match (name_a.zip(side_a.as_ref()), name_b.zip(side_b.as_ref())) {
        (Some((name_a, (spec_a, _))), Some((name_b, (spec_b, _)))) => {
            if spec_a.shape == spec_b.shape {
                compare_elements(a, name_a, b, name_b, buffers)?
            } else {
                TensorOutcome::Shape
            }
        }
        (Some(_), _) => TensorOutcome::OnlyInA,
        _ => TensorOutcome::OnlyInB,
    };
    let spec = |side: Option<(TensorSpec, TensorRole)>| side.map(|(spec, _)| spec);
    Ok(TensorDiff { a: spec(side_a), b: spec(side_b), role: role.unwrap_or(TensorRole::Plain), outcome })
}

fn spec(name: &str, tensor: &Tensor) -> TensorSpec {
    TensorSpec::new(name, tensor.dtype(), tensor.shape())
}

fn compare_elements(
    a: &QuantisedModel,
    name_a: &str,
    b: &QuantisedModel,
    name_b: &str,
    buffers: &mut ElementBuffers,
) -> Result<TensorOutcome> {
    let reading = |of: &QuantisedModel, name: &str| match of.model.tensor(name) {
        Some(tensor) => ElementReading::of(of.model, &of.foreign, name, tensor),
        None => Ok(ElementReading::Unknown("is not there".into())),
    };
    let (reading_a, reading_b) = (reading(a, name_a)?, reading(b, name_b)?);
    let stored_a = StoredElements::open(a.model, name_a, &reading_a)?;
    let stored_b = StoredElements::open(b.model, name_b, &reading_b)?;
    Ok(match stored_a.compare(&stored_b, buffers)? {
        Compared::Same => TensorOutcome::Same,
        Compared::Values(values) => TensorOutcome::Values(values),
        Compared::Unread(why) => TensorOutcome::Unread(why),
    })
}
