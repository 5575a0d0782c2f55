//! The tensors of a scheme, one by one: what is copied, what becomes codes, and which scales come with it.

use super::{Layout, Plan};
use crate::model::Model;
use crate::tensor::{Dtype, Tensor, TensorSpec};

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
pub fn module_tensors(module: &str, weight: &Tensor, layout: &Layout) -> Vec<PlannedTensor> {
    let scale = |leaf: &str, shape: Vec<usize>| {
        TensorSpec::new(format!("{module}.{leaf}"), layout.scale_dtype(), shape)
    };
    let mut tensors = vec![
        PlannedTensor {
            spec: TensorSpec::new(format!("{module}.weight"), Dtype::F8E4M3, weight.shape()),
            role: Role::Codes { module: module.into() },
        },
        PlannedTensor {
            spec: scale("weight_scale", layout.weight_scale_shape(weight.shape()[0])),
            role: Role::WeightScale { module: module.into() },
        },
    ];
    if let Some(shape) = layout.input_scale_shape() {
        tensors.push(PlannedTensor {
            spec: scale("input_scale", shape),
            role: Role::InputScale { module: module.into() },
        });
    }
    tensors
}

/// Every tensor of the scheme that `plan` and `layout` describe, in the order of the base checkpoint; the scales of a
/// module follow its codes. Exact: sizes on disk follow from it before a byte is written.
pub fn planned_tensors(model: &Model, plan: &Plan, layout: &Layout) -> Vec<PlannedTensor> {
    let mut planned = Vec::new();
    for (name, tensor) in model.tensors() {
        match name.strip_suffix(".weight").filter(|module| plan.format(module).is_some()) {
            Some(module) => planned.extend(module_tensors(module, tensor, layout)),
            None => {
                let spec = TensorSpec::new(name, tensor.dtype(), tensor.shape());
                planned.push(PlannedTensor { spec, role: Role::Copy });
            }
        }
    }
    planned
}
