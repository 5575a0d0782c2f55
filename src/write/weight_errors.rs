//! What quantising loses, module by module.

use std::collections::BTreeMap;

use crate::format::QuantisationError;

/// What quantising loses, by on-disk name of the module.
pub type WeightErrors = BTreeMap<String, QuantisationError>;
