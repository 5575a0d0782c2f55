//! What is on disk for every linear layer, whatever the configuration claims.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Code, Problem};
use crate::checkpoint::{Checkpoint, fused_group};
use crate::error::Result;
use crate::interrupt;
use crate::tensor::{Dtype, Tensor};

/// Leaves that an FP8 module may have.
const LEAVES: [&str; 5] = ["weight", "bias", "weight_scale", "weight_scale_inv", "input_scale"];
const SCALES: [&str; 3] = ["weight_scale", "weight_scale_inv", "input_scale"];

/// One linear layer as it is stored.
pub(super) struct Layer<'a> {
    /// On-disk name.
    pub name: &'a str,
    pub weight: &'a Tensor,
    pub weight_scale: Option<&'a Tensor>,
    pub input_scale: Option<&'a Tensor>,
}

impl Layer<'_> {
    pub fn is_fp8(&self) -> bool {
        self.weight.dtype() == Dtype::F8E4M3
    }
}

/// Every linear layer of a checkpoint, in file order.
pub(super) struct Layers<'a> {
    checkpoint: &'a Checkpoint,
    pub layers: Vec<Layer<'a>>,
}

impl<'a> Layers<'a> {
    pub fn of(checkpoint: &'a Checkpoint) -> Self {
        let layers = checkpoint.modules().linears().filter_map(|name| {
            let tensor = |leaf: &str| checkpoint.tensor(&format!("{name}.{leaf}"));
            Some(Layer {
                name,
                weight: tensor("weight")?,
                weight_scale: tensor("weight_scale").or_else(|| tensor("weight_scale_inv")),
                input_scale: tensor("input_scale"),
            })
        });
        Layers { checkpoint, layers: layers.collect() }
    }

    /// The FP8 layers.
    pub fn fp8(&self) -> impl Iterator<Item = &Layer<'a>> {
        self.layers.iter().filter(|layer| layer.is_fp8())
    }

    /// Checks that hold for every format: scales are there, usable, and belong to something; fused groups are whole.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for layer in self.fp8() {
            if layer.weight_scale.is_none() {
                let message = format!(
                    "`{}` is FP8 without a weight_scale: its codes would be taken for weights",
                    layer.name
                );
                problems.push(Problem::new(Code::WeightScale, layer.name, message));
            }
        }
        for (name, tensor) in self.checkpoint.tensors() {
            let Some((module, leaf)) = name.rsplit_once('.') else { continue };
            let owner = self.checkpoint.tensor(&format!("{module}.weight"));
            let owner_is_fp8 = owner.is_some_and(|w| w.dtype() == Dtype::F8E4M3);
            if SCALES.contains(&leaf) {
                if !owner_is_fp8 {
                    let message =
                        format!("`{name}` is a scale of something that is not FP8; loaders reject it");
                    problems.push(Problem::new(Code::WeightScale, name, message));
                }
                if let Some(value) = scale_values(tensor).into_iter().find(|v| !(v.is_finite() && *v > 0.0)) {
                    let message = format!("`{name}` holds {value}, which is no usable scale");
                    problems.push(Problem::new(Code::ScaleValue, name, message));
                }
            } else if owner_is_fp8 && !LEAVES.contains(&leaf) {
                let message = format!("`{name}` is an extra tensor of an FP8 layer; loaders reject it");
                problems.push(Problem::new(Code::ExtraTensor, name, message));
            }
        }
        problems.extend(self.check_fused_groups());
        problems
    }

    fn check_fused_groups(&self) -> Vec<Problem> {
        let mut groups = BTreeMap::<(&str, &str), (Vec<&str>, Vec<&str>)>::new();
        for layer in &self.layers {
            if let Some(key) = fused_group(layer.name) {
                let (fp8, bf16) = groups.entry(key).or_default();
                if layer.is_fp8() { fp8 } else { bf16 }.push(layer.name);
            }
        }
        let split = groups.into_iter().filter(|(_, (fp8, bf16))| !fp8.is_empty() && !bf16.is_empty());
        split
            .map(|((prefix, fused), (fp8, bf16))| {
                let message = format!(
                    "`{prefix}.{fused}` is split: {} FP8, {} not; vLLM fuses them and rejects or garbles the mixture",
                    fp8.join(", "),
                    bf16.join(", ")
                );
                Problem::new(Code::SplitGroup, format!("{prefix}.{fused}"), message)
            })
            .collect()
    }

    /// Looks for NaN among the codes of every FP8 layer.
    ///
    /// # Errors
    /// [`crate::Error::Interrupted`].
    pub fn check_codes(&self) -> Result<Vec<Problem>> {
        let fp8: Vec<&Layer> = self.fp8().collect();
        let found: Result<Vec<Option<Problem>>> = fp8
            .into_par_iter()
            .map(|layer| {
                interrupt::check()?;
                let nan = layer.weight.bytes().iter().filter(|code| **code & 0x7f == 0x7f).count();
                let message = || format!("`{}.weight` holds {nan} NaN codes", layer.name);
                Ok((nan > 0).then(|| Problem::new(Code::NanCodes, layer.name, message())))
            })
            .collect();
        Ok(found?.into_iter().flatten().collect())
    }
}

/// The values of a scale tensor; scales are BF16 or F32 in every format that is checked.
fn scale_values(tensor: &Tensor) -> Vec<f32> {
    match tensor.dtype() {
        Dtype::BF16 | Dtype::F16 | Dtype::F32 => tensor.to_f64_iter().map(|v| v as f32).collect(),
        _ => vec![],
    }
}
