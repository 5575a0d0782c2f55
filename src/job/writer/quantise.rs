//! Layers of a writer's base as FP8 codes and scales, and back.

use std::sync::Arc;

use super::Writer;
use crate::dialect::{CONFIG, weight_block_size};
use crate::error::{Error, Result};
use crate::format::{
    Encoding, Granularity, ModuleTensorKind, Rounding, ScaleRule, ScaleShape, ScaleStorage, Scales,
};
use crate::tensor::{Dtype, Tensor, TensorSpec};
use crate::write::content::{Content, Member, OutputTensor, ScaleGroup};

/// How [`Writer::quantize`] makes codes.
#[derive(Debug, Clone, Copy)]
pub struct QuantizeOptions {
    /// One scale per tensor, per output channel, or per block.
    pub granularity: Granularity,
    /// From quotient to code.
    pub rounding: Rounding,
    /// The activation scale that is stored beside it, for static activations.
    pub input_scale: Option<f32>,
}

impl QuantizeOptions {
    /// From amax to scale: as dialects store it, F32 for blocks and BF16 otherwise.
    fn rule(&self) -> ScaleRule {
        match self.granularity {
            Granularity::Block => ScaleRule::F32,
            Granularity::Tensor | Granularity::Channel => ScaleRule::Bf16Up,
        }
    }
}

impl Writer {
    /// Adds the E4M3 codes of `module`'s weight under the weight's name, and its scales beside it: BF16 of shape `[1]` or
    /// `[out, 1]`, or for blocks F32.
    ///
    /// # Errors
    /// As for [`Writer::copy`]; [`Error::Tensor`] when the weight is not two-dimensional BF16, F16 or F32.
    pub fn quantize(&mut self, module: &str, options: &QuantizeOptions) -> Result<()> {
        let name = format!("{module}.weight");
        let weight = self.source(&name)?;
        if weight.shape().len() != 2 {
            return Err(Error::tensor(name, "has not two dimensions, so it is no linear layer"));
        }
        if !weight.dtype().is_quantisable() {
            return Err(Error::tensor(
                name,
                format!("is {}, and FP8 codes are made from BF16, F16 or F32", weight.dtype()),
            ));
        }
        let encoding = Encoding::e4m3(options.granularity, options.rule(), options.rounding);
        if let Some(reason) = encoding.format.format().refuses(weight.dtype(), weight.shape()) {
            return Err(Error::tensor(name, format!("has {reason}")));
        }
        if options.input_scale.is_some() && options.granularity == Granularity::Block {
            return Err(Error::argument(format!(
                "{} has no input scale: inputs are scaled while running",
                encoding.format
            ))
            .with_hint("leave input_scale out, or use the granularity `tensor`"));
        }
        let group = Arc::new(ScaleGroup { weights: vec![(name, weight.clone())], encoding });
        let storage = ScaleStorage { shape: ScaleShape::WithOnes, input_scale: false };
        for tensor in encoding.format.format().tensors(weight.shape(), &encoding, &storage)? {
            let member = Member { group: group.clone(), index: 0 };
            let content = match tensor.kind {
                ModuleTensorKind::Codes => Content::Codes(member),
                ModuleTensorKind::WeightScale | ModuleTensorKind::InputScale => Content::WeightScale(member),
            };
            self.push(OutputTensor { spec: tensor.spec(module), content })?;
        }
        if let Some(scale) = options.input_scale {
            let scale = half::bf16::from_f32(ScaleRule::Bf16Up.round(scale));
            let tensor = Tensor::owned(Dtype::BF16, vec![1], scale.to_le_bytes().to_vec());
            self.add(&format!("{module}.input_scale"), tensor)?;
        }
        Ok(())
    }

    /// Adds the weight of `module` of the base as `code × scale`, rounded to `target`; the scales are read from its
    /// `weight_scale` or `weight_scale_inv`, the latter in blocks of the base's `weight_block_size` where it says so.
    ///
    /// # Errors
    /// As for [`Writer::copy`]; [`Error::Tensor`] when the weight is not E4M3 or its scales do not fit.
    pub fn dequantize(&mut self, module: &str, target: Dtype) -> Result<()> {
        let name = format!("{module}.weight");
        let codes = self.source(&name)?;
        if codes.dtype() != Dtype::F8E4M3 {
            return Err(Error::tensor(name, format!("is {}, not F8_E4M3", codes.dtype())));
        }
        if !target.is_quantisable() {
            return Err(Error::argument(format!(
                "weights can be dequantised to BF16, F16 or F32, not to {target}"
            )));
        }
        let scales = ["weight_scale", "weight_scale_inv"]
            .iter()
            .find_map(|leaf| Some((*leaf, self.source(&format!("{module}.{leaf}")).ok()?)));
        let (leaf, scale) = scales
            .ok_or_else(|| Error::tensor(&name, "is FP8 and has no weight_scale, so its values are lost"))?;
        let block = self.block_size()?.filter(|_| leaf == "weight_scale_inv");
        let scales = block
            .map_or_else(
                || Scales::from_tensor(&scale, codes.shape()),
                |block| Scales::of_blocks(&scale, codes.shape(), block),
            )
            .map_err(|e| Error::tensor(&name, format!("cannot be dequantised: {e}")))?;
        let spec = TensorSpec::new(name, target, codes.shape());
        self.push(OutputTensor { spec, content: Content::Dequantised { codes, scales: Arc::new(scales) } })
    }

    /// Rows and columns of the blocks of the base, where its configuration has them.
    ///
    /// # Errors
    /// [`Error::Format`] when they are not two positive sizes.
    fn block_size(&self) -> Result<Option<[usize; 2]>> {
        let Some(base) = &self.base else { return Ok(None) };
        let config = &base.config()["quantization_config"];
        let size = weight_block_size(config);
        if size.is_none() && !config["weight_block_size"].is_null() {
            let problem =
                format!("has the weight_block_size {}, not two positive sizes", config["weight_block_size"]);
            return Err(Error::format(base.directory().join(CONFIG), problem));
        }
        Ok(size)
    }
}
