//! What sets two checkpoint directories apart.

use serde_json::Value;

use super::files::{FilesDiff, diff_files};
use super::keys::{KeyChange, changes};
use super::modules::{ModuleDiff, by_module};
use super::pairs::{QuantisedModel, TensorDiff, TensorOutcome, diff_tensors};
use super::values::ValueDifference;
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::json;
use crate::model::Model;

/// A key of a configuration that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfigurationChange {
    /// The file, such as `config.json`.
    pub file: String,
    /// The place in it.
    pub change: KeyChange,
}

/// How many tensors compare how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TensorCounts {
    /// The same bytes, under the same scales.
    pub same: usize,
    /// Stored differently, and the same numbers.
    pub same_values: usize,
    /// Other numbers.
    pub other_values: usize,
    /// Other shapes.
    pub shape: usize,
    /// Stored differently, and not understood.
    pub unread: usize,
    /// In the first alone.
    pub only_in_a: usize,
    /// In the second alone.
    pub only_in_b: usize,
}

/// What sets two checkpoint directories apart.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointDiff {
    /// The first directory, as it was named.
    pub a: String,
    /// The second.
    pub b: String,
    /// Bytes of all tensors of each.
    pub bytes: [u64; 2],
    /// Keys of configurations that are in both and differ.
    pub configuration: Vec<ConfigurationChange>,
    /// The other files.
    pub files: FilesDiff,
    /// How the weights compare.
    pub weights: TensorCounts,
    /// How scales and other tensors of quantisers compare.
    pub quantisers: TensorCounts,
    /// How far all weights that are stored differently lie apart together, of those that can be compared.
    pub values: ValueDifference,
    /// Modules of which some tensor differs, the worst first.
    pub modules: Vec<ModuleDiff>,
}

impl CheckpointDiff {
    /// Whether nothing differs. How weights are spread over files is no difference, nor is the layout of a configuration.
    pub fn is_same(&self) -> bool {
        self.configuration.is_empty() && self.files.is_empty() && self.modules.is_empty()
    }

    /// Every tensor that differs, the worst module first.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorDiff> {
        self.modules.iter().flat_map(|module| &module.tensors)
    }
}

impl TensorCounts {
    fn of<'a>(tensors: impl Iterator<Item = &'a TensorDiff>) -> Self {
        let mut counts = TensorCounts::default();
        for tensor in tensors {
            let count = match &tensor.outcome {
                TensorOutcome::Same => &mut counts.same,
                TensorOutcome::OnlyInA => &mut counts.only_in_a,
                TensorOutcome::OnlyInB => &mut counts.only_in_b,
                TensorOutcome::Shape => &mut counts.shape,
                TensorOutcome::Unread(_) => &mut counts.unread,
                TensorOutcome::Values(values) if values.differing == 0 => &mut counts.same_values,
                TensorOutcome::Values(_) => &mut counts.other_values,
            };
            *count += 1;
        }
        counts
    }

    /// Tensors that differ in whatever way.
    pub fn differing(&self) -> usize {
        let TensorCounts { same: _, same_values, other_values, shape, unread, only_in_a, only_in_b } = self;
        same_values + other_values + shape + unread + only_in_a + only_in_b
    }
}

/// Compares the checkpoints `a` and `b`, with all threads of the current pool. Memory does not grow with their tensors.
///
/// # Errors
/// [`Error::Io`] when something cannot be read, [`Error::Interrupted`].
pub fn diff_checkpoints(a: &Model, b: &Model) -> Result<CheckpointDiff> {
    let mut files = diff_files(a, b)?;
    let configuration = diff_configurations(a, b, &mut files)?;
    let tensors = diff_tensors(&QuantisedModel::of(a)?, &QuantisedModel::of(b)?)?;
    let counts = |of_quantisers| {
        TensorCounts::of(tensors.iter().filter(|tensor| tensor.is_of_quantiser() == of_quantisers))
    };
    let (weights, quantisers) = (counts(false), counts(true));
    let values = tensors.iter().filter(|tensor| !tensor.is_of_quantiser()).filter_map(TensorDiff::values);
    let values = values.copied().fold(ValueDifference::default(), ValueDifference::merge);
    Ok(CheckpointDiff {
        a: a.directory().display().to_string(),
        b: b.directory().display().to_string(),
        bytes: [a.bytes(), b.bytes()],
        configuration,
        files,
        weights,
        quantisers,
        values,
        modules: by_module(tensors),
    })
}

/// The keys of configurations that differ. A file of the same content in another layout is no longer counted as differing.
fn diff_configurations(a: &Model, b: &Model, files: &mut FilesDiff) -> Result<Vec<ConfigurationChange>> {
    let mut found = Vec::new();
    let mut other_text = Vec::new();
    for change in files.differing.iter().filter(|change| is_configuration(&change.file)) {
        let sides = [read(a, &change.file)?, read(b, &change.file)?];
        let [Some(a), Some(b)] = sides else { continue };
        let keys = changes(&a, &b);
        if keys.is_empty() {
            other_text.push(change.file.clone());
        }
        found.extend(
            keys.into_iter().map(|key| ConfigurationChange { file: change.file.clone(), change: key }),
        );
    }
    files.differing.retain(|change| !other_text.contains(&change.file));
    files.other_text = other_text;
    Ok(found)
}

/// `config.json`, `hf_quant_config.json`, `generation_config.json`, `preprocessor_config.json` and their like.
fn is_configuration(file: &str) -> bool {
    !file.contains('/') && file.contains("config") && file.ends_with(".json")
}

/// The content of a configuration; nothing where it is none that can be read.
fn read(model: &Model, file: &str) -> Result<Option<Value>> {
    let path = model.directory().join(file);
    let parsed =
        input::read(&path, InputKind::Configuration).and_then(|text| json::parse_marked(&path, &text));
    match parsed {
        Ok(value) => Ok(Some(value)),
        Err(Error::Format { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
