//! The tensors of a checkpoint by the names that all spellings share.

use std::collections::HashMap;

use super::backend::{InputScale, Norm};
use super::dynamic_inputs::DynamicInputs;
use super::linear::Linear;
use super::weight::LinearWeight;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::format::{BLOCK_SIZE, FormatId, Granularity, Scales};
use crate::model::canonical;
use crate::tensor::{Dtype, Tensor};

/// The tensors of a checkpoint, found by canonical names such as `layers.0.mlp.up_proj` or `vision.blocks.3.attn.qkv`.
pub(super) struct Tensors<'a> {
    checkpoint: &'a Checkpoint,
    /// Canonical name → name on disk.
    names: HashMap<String, &'a str>,
    /// The size of blocks that share a scale.
    block: [usize; 2],
    /// How inputs are rounded that have no scale.
    dynamic_inputs: DynamicInputs,
}

impl<'a> Tensors<'a> {
    /// The tensors of `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Refused`] when two tensors have one name in all but spelling; those of [`DynamicInputs::of`].
    pub fn new(checkpoint: &'a Checkpoint) -> Result<Self> {
        let mut names: HashMap<String, &str> = HashMap::new();
        for (name, _) in checkpoint.tensors() {
            if let Some(other) = names.insert(canonical(name), name) {
                return Err(Error::refused(format!("`{other}` and `{name}` are one tensor to the engine")));
            }
        }
        let stated = checkpoint.quantization_config().and_then(|said| said["weight_block_size"].as_array());
        let block = match stated.map(Vec::as_slice) {
            Some([rows, columns]) => {
                [rows, columns].map(|size| size.as_u64().map_or(0, |size| size as usize))
            }
            _ => BLOCK_SIZE,
        };
        let dynamic_inputs = DynamicInputs::of(checkpoint, block)?;
        Ok(Tensors { checkpoint, names, block, dynamic_inputs })
    }

    /// Whose tensors they are.
    pub fn checkpoint(&self) -> &'a Checkpoint {
        self.checkpoint
    }

    /// The canonical names of all tensors, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The tensor called `name`.
    pub fn find(&self, name: &str) -> Option<&'a Tensor> {
        self.names.get(name).and_then(|name| self.checkpoint.tensor(name))
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    pub fn require(&self, name: &str) -> Result<&'a Tensor> {
        self.find(name).ok_or_else(|| {
            let place = self.checkpoint.directory().display();
            Error::not_found(format!("`{place}` has no tensor `{name}`, which its architecture needs"))
        })
    }

    /// The values of the tensor called `name`, whose length is `length`.
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        let tensor = self.require(name)?;
        tensor.dtype().require_values()?;
        if tensor.elements() != length {
            let shape = tensor.shape();
            return Err(Error::refused(format!(
                "tensor `{name}` has the shape {shape:?}, not {length} values"
            )));
        }
        Ok(tensor.to_f64_iter().map(|value| value as f32).collect())
    }

    /// The RMS normalisation called `name`.
    pub fn rms(&self, name: &str, width: usize, epsilon: f32) -> Result<Norm> {
        Ok(Norm::Rms { weight: self.vector(&format!("{name}.weight"), width)?, epsilon })
    }

    /// The layer normalisation called `name`.
    pub fn layer_norm(&self, name: &str, width: usize, epsilon: f32) -> Result<Norm> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        Ok(Norm::Layer { weight, bias: self.vector(&format!("{name}.bias"), width)?, epsilon })
    }

    /// The linear layer called `name`, quantised or not, with its bias where it has one. `shape` is [out, in].
    pub fn linear(&self, name: &str, shape: [usize; 2]) -> Result<Linear> {
        let weight = format!("{name}.weight");
        let values = self.require(&weight)?;
        let tensor = self.names.get(&weight).map_or(weight.clone(), |on_disk| on_disk.to_string());
        let columns: usize = values.shape().iter().skip(1).product();
        if values.shape().first() != Some(&shape[0]) || columns != shape[1] {
            return Err(Error::refused(format!(
                "the weight of `{name}` has the shape {:?}, but the configuration says {shape:?}",
                values.shape()
            )));
        }
        let bias = match self.find(&format!("{name}.bias")) {
            Some(_) => Some(self.vector(&format!("{name}.bias"), shape[0])?),
            None => None,
        };
        if values.dtype() != Dtype::F8E4M3 {
            let weight = LinearWeight::plain(name, values.clone())?;
            return Ok(Linear { name: name.into(), tensor, weight, bias, input: None });
        }
        let leaf = |format: FormatId| format!("{name}.{}", format.format().scale_leaf());
        let found = FormatId::ALL.iter().copied().find(|format| self.find(&leaf(*format)).is_some());
        let format = found.unwrap_or(FormatId::with_scales(Granularity::Tensor));
        let scales = self.require(&leaf(format))?;
        let scales = match format.format().granularities() {
            [Granularity::Block] => Scales::of_blocks(scales, &shape, self.block)?,
            _ => Scales::from_tensor(scales, &shape)?,
        };
        let input = match self.find(&format!("{name}.input_scale")) {
            Some(scale) => {
                Some(InputScale::Static(scale.tolist(1).first().map_or(1.0, |scale| *scale as f32)))
            }
            None => self.dynamic_inputs.scale(name)?,
        };
        let weight = LinearWeight::scaled(values.clone(), scales, format)?;
        Ok(Linear { name: name.into(), tensor, weight, bias, input })
    }
}
