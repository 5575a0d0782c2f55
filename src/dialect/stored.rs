//! What is on disk for every layer that loaders build as a linear one, whatever the configuration claims.

use crate::format::FormatId;
use crate::model::{LM_HEAD, Model, is_head};
use crate::tensor::{Dtype, Tensor};

/// One linear layer as it is stored.
pub struct Layer<'a> {
    /// On-disk name.
    pub name: &'a str,
    /// `weight`.
    pub weight: &'a Tensor,
    /// Its scales, under the name that some format has for them.
    pub weight_scale: Option<&'a Tensor>,
    /// `input_scale`.
    pub input_scale: Option<&'a Tensor>,
}

impl Layer<'_> {
    /// Whether the weight is E4M3.
    pub fn is_fp8(&self) -> bool {
        self.weight.dtype() == Dtype::F8E4M3
    }

    /// Whether this is the output head, which every configuration treats apart.
    pub fn is_head(&self) -> bool {
        is_head(self.name)
    }
}

/// The linear layers of a checkpoint as they are stored.
pub struct StoredLayers<'a> {
    /// The model whose checkpoint it is.
    pub model: &'a Model,
    /// Every linear layer, in file order.
    pub layers: Vec<Layer<'a>>,
}

impl<'a> StoredLayers<'a> {
    /// The linear layers of `model`.
    pub fn of(model: &'a Model) -> Self {
        let layers = model.modules().built_as_linears().filter_map(|name| {
            let tensor = |leaf: &str| model.tensor(&format!("{name}.{leaf}"));
            Some(Layer {
                name,
                weight: tensor("weight")?,
                weight_scale: FormatId::ALL.iter().find_map(|id| tensor(id.format().scale_leaf())),
                input_scale: tensor("input_scale"),
            })
        });
        StoredLayers { model, layers: layers.collect() }
    }

    /// The FP8 layers.
    pub fn fp8(&self) -> impl Iterator<Item = &Layer<'a>> {
        self.layers.iter().filter(|layer| layer.is_fp8())
    }

    /// The name of the output head: `lm_head` where it is tied and not stored.
    pub fn head(&self) -> &'a str {
        self.layers.iter().find(|layer| layer.is_head()).map_or(LM_HEAD, |layer| layer.name)
    }
}
