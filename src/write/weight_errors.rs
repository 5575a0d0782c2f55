//! What quantising loses, module by module.

use std::collections::BTreeMap;
use std::path::Path;

use crate::checkpoint::RECORDS;
use crate::format::QuantisationError;
use crate::input::{self, InputKind};
use crate::record::WEIGHT_ERROR;

/// What quantising loses, by on-disk name of the module.
pub type WeightErrors = BTreeMap<String, QuantisationError>;

/// What the FP8 layers of the scheme in `directory` lose, as far as that was recorded.
pub(crate) fn read_weight_errors(directory: &Path) -> WeightErrors {
    let path = directory.join(RECORDS).join(WEIGHT_ERROR);
    let text = input::read(&path, InputKind::Record).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}
