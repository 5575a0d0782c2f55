//! The tensors of a scheme, one by one: what is copied, what becomes codes, and which scales come with it.

use super::{Layout, Plan};
use crate::Result;
use crate::format::ModuleTensorKind;
use crate::model::Model;
use crate::tensor::{Tensor, TensorSpec};

/// Where the bytes of a planned tensor come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Byte for byte from the base checkpoint.
    Copy,
    /// The FP8 codes of the module's weight.
    Codes {
        /// On-disk name of the module.
        module: String,
    },
    /// The weight scale of the module.
    WeightScale {
        /// On-disk name of the module.
        module: String,
    },
    /// The input scale of the module.
    InputScale {
        /// On-disk name of the module.
        module: String,
    },
}

impl Role {
    /// The module in FP8 that the tensor belongs to.
    pub fn module(&self) -> Option<&str> {
        match self {
            Role::Copy => None,
            Role::Codes { module } | Role::WeightScale { module } | Role::InputScale { module } => {
                Some(module)
            }
        }
    }
}

/// One tensor of a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedTensor {
    /// Name, dtype and shape as they will be on disk.
    pub spec: TensorSpec,
    /// Where its bytes come from.
    pub role: Role,
}

/// The tensors of `module` once its `weight` is quantised as `layout` says: its codes and the scales that come with them.
///
/// # Errors
/// As [`crate::format::Format::tensors`].
pub fn module_tensors(module: &str, weight: &Tensor, layout: &Layout) -> Result<Vec<PlannedTensor>> {
    let encoding = layout.encoding;
    let tensors = encoding.format.format().tensors(weight.shape(), &encoding, &layout.storage)?;
    let planned = tensors.into_iter().map(|tensor| PlannedTensor {
        spec: tensor.spec(module),
        role: match tensor.kind {
            ModuleTensorKind::Codes => Role::Codes { module: module.into() },
            ModuleTensorKind::WeightScale => Role::WeightScale { module: module.into() },
            ModuleTensorKind::InputScale => Role::InputScale { module: module.into() },
        },
    });
    Ok(planned.collect())
}

/// Every tensor of the scheme that `plan` and `layout` describe, in the order of the base checkpoint; the scales of a
/// module follow its codes. Exact: sizes on disk follow from it before a byte is written.
///
/// # Errors
/// As [`crate::format::Format::tensors`].
pub fn planned_tensors(model: &Model, plan: &Plan, layout: &Layout) -> Result<Vec<PlannedTensor>> {
    let mut planned = Vec::new();
    for (name, tensor) in model.tensors() {
        match name.strip_suffix(".weight").filter(|module| plan.format(module).is_some()) {
            Some(module) => planned.extend(module_tensors(module, tensor, layout)?),
            None => {
                let spec = TensorSpec::new(name, tensor.dtype(), tensor.shape());
                planned.push(PlannedTensor { spec, role: Role::Copy });
            }
        }
    }
    Ok(planned)
}
