//! Quantised checkpoints of any tool: which tensors hold codes, which of them can be turned back into weights and how, and
//! which are there for the quantiser alone.

mod blocks;
mod names;

use super::claims::{CONFIG, Claims};
use crate::checkpoint::quantisation;
use crate::error::{Error, Result};
use crate::format::Scales;
use crate::model::Model;
use crate::tensor::{Dtype, Tensor};
use crate::words::words;

pub(super) use blocks::block_structure;
pub(crate) use names::is_calibration_state;

words! {
    /// What a tensor of a checkpoint is there for.
    pub enum TensorRole: "role" {
        /// A weight, or anything else that the model has of its own.
        Plain = "plain",
        /// What stands for a weight: codes that scales belong to, or packed ones.
        Codes = "codes",
        /// What a quantiser has added: scales, ranges, markers.
        Quantiser = "quantiser",
    }
}

/// How the values of codes are found.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoding {
    /// Each code is multiplied by its scale.
    Scaled(Scales),
    /// Codes are the values: nothing was scaled when they were made.
    Unscaled,
}

/// How a checkpoint is quantised, by whatever tool.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// The sizes of blocks that the configuration has, or what is wrong with them.
    blocks: Result<Vec<[usize; 2]>, String>,
    /// What the configuration calls the method; nothing where nothing is said of quantisation.
    method: Option<String>,
    /// Whether there are codes at all.
    has_codes: bool,
    /// Whether anything is scaled.
    has_scales: bool,
}

impl Foreign {
    /// Looks at the configurations and the names and dtypes of all tensors of `model`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(model: &Model) -> Result<Self> {
        let configuration = model.quantization_config();
        let blocks = configuration.map_or(Ok(Vec::new()), blocks::sizes);
        let named = configuration.map(|c| quantisation::method(c).unwrap_or("unknown").to_string());
        // What does not parse says for certain that something is quantised.
        let of_modelopt = match Claims::read(model) {
            Ok(claims) => claims.modelopt.first().map(|claim| {
                let algorithm = claim.config["quantization"]["quant_algo"].as_str();
                format!("modelopt {}", algorithm.unwrap_or("unknown"))
            }),
            Err(Error::Format { .. }) => Some("modelopt unknown".into()),
            Err(error) => return Err(error),
        };
        let method = named.or(of_modelopt);
        let has_codes = model.tensors().any(|(name, tensor)| what_codes(model, name, tensor).is_some());
        let has_scales = model.tensors().any(|(name, _)| {
            names::is_left_by_quantiser(name) && name.contains("scale") && !name.ends_with("scaled_fp8")
        });
        let mut foreign = Foreign { blocks, method, has_codes, has_scales };
        foreign.has_scales |= model.tensors().any(|(name, tensor)| {
            what_codes(model, name, tensor).is_some() && scales_of(model, name).next().is_some()
        });
        Ok(foreign)
    }

    /// What the tensor `name` of `model` is there for.
    pub fn role(&self, model: &Model, name: &str) -> TensorRole {
        let Some(tensor) = model.tensor(name).filter(|_| self.has_codes) else { return TensorRole::Plain };
        if names::is_left_by_quantiser(name) || is_scale_of_codes(model, name) {
            TensorRole::Quantiser
        } else if what_codes(model, name, tensor).is_some() {
            TensorRole::Codes
        } else {
            TensorRole::Plain
        }
    }

    /// How the codes `name` of `model` are turned back into weights.
    ///
    /// # Errors
    /// [`Error::Tensor`] when they cannot be: it is another kind of codes, scales are missing, or do not fit;
    /// [`Error::Format`] when the configuration has sizes of blocks that are none.
    pub fn decoding(&self, model: &Model, name: &str) -> Result<Decoding> {
        let tensor = model
            .tensor(name)
            .ok_or_else(|| Error::not_found(format!("there is no tensor `{name}` to turn back")))?;
        let Some(what) = what_codes(model, name, tensor) else {
            return Err(Error::tensor(name, format!("is {}, not F8_E4M3", tensor.dtype())));
        };
        let mut scales = scales_of(model, name);
        let scale = scales.next();
        let is_unscaled = scale.is_none() && !self.has_scales && self.method.is_none();
        if tensor.dtype() != Dtype::F8E4M3 && !(tensor.dtype() == Dtype::F8E5M2 && is_unscaled) {
            let of =
                self.method.as_ref().map(|method| format!(" (quant_method {method})")).unwrap_or_default();
            return Err(Error::tensor(name, format!("holds {what}{of}, which are not read here")).with_hint(
                "F8_E4M3 codes with scales are: take the checkpoint from before it was quantised",
            ));
        }
        let Some((scale_name, scale)) = scale else {
            if is_unscaled {
                return Ok(Decoding::Unscaled);
            }
            return Err(Error::tensor(name, "is FP8 and has no weight_scale, so its values are lost"));
        };
        if let Some((other, _)) = scales.next() {
            let problem = format!("has two tensors of scales, `{scale_name}` and `{other}`");
            return Err(Error::tensor(name, problem));
        }
        let are_blocks = names::BLOCKS.iter().any(|ending| scale_name.ends_with(ending));
        let blocks = self.blocks.as_ref();
        let blocks = blocks.map_err(|problem| Error::format(model.directory().join(CONFIG), problem))?;
        Scales::stored(scale, tensor.shape(), blocks, are_blocks)
            .map(Decoding::Scaled)
            .map_err(|e| Error::tensor(name, format!("cannot be dequantised: {e}")))
    }
}

/// The names that scales of the tensor `name` may have.
fn scale_names(name: &str) -> Vec<String> {
    match name.strip_suffix(".weight") {
        Some(module) => names::WEIGHT_SCALES.iter().map(|leaf| format!("{module}.{leaf}")).collect(),
        None => names::PARAMETER_SCALES.iter().map(|ending| format!("{name}{ending}")).collect(),
    }
}

/// The scales of the tensor `name`.
fn scales_of<'a>(model: &'a Model, name: &str) -> impl Iterator<Item = (String, &'a Tensor)> + use<'a> {
    scale_names(name).into_iter().filter_map(|name| model.tensor(&name).map(|tensor| (name, tensor)))
}

/// Whether `name` is that of a scale of the codes of another name.
fn is_scale_of_codes(model: &Model, name: &str) -> bool {
    let is_codes = |owner: &str| model.tensor(owner).is_some_and(|t| what_codes(model, owner, t).is_some());
    let of_weight = name.rsplit_once('.').is_some_and(|(module, leaf)| {
        names::WEIGHT_SCALES.contains(&leaf) && is_codes(&format!("{module}.weight"))
    });
    let endings = names::PARAMETER_SCALES.iter().chain(&names::PARAMETER_INPUT_SCALES);
    of_weight || endings.filter_map(|ending| name.strip_suffix(ending)).any(is_codes)
}

/// What codes the tensor holds; nothing for a plain one and for a scale.
fn what_codes(model: &Model, name: &str, tensor: &Tensor) -> Option<String> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if names::is_left_by_quantiser(name) || leaf.starts_with("scale") {
        return None;
    }
    let exists = |name: &str| model.tensor(name).is_some();
    match tensor.dtype() {
        Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::F64 | Dtype::C64 | Dtype::Bool => None,
        dtype @ (Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz) => {
            Some(format!("{dtype} codes"))
        }
        // Exponents alone are scales.
        Dtype::F8E8M0 => None,
        dtype => names::packed(name, exists).map(str::to_string).or_else(|| {
            scales_of(model, name).next().map(|_| match dtype {
                Dtype::I8 => "I8 codes, integers or packed FP4".to_string(),
                other => format!("{other} codes"),
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_scales_follow_from_the_name_of_the_codes() {
        assert!(scale_names("a.weight").contains(&"a.weight_scale_inv".to_string()));
        assert!(
            scale_names("a.experts.gate_up_proj").contains(&"a.experts.gate_up_proj_scale_inv".to_string())
        );
        assert!(names::is_left_by_quantiser("m.k_proj.k_scale") && names::is_left_by_quantiser("scaled_fp8"));
        assert!(names::is_left_by_quantiser("m.input_quantizer._amax"));
        assert!(!names::is_left_by_quantiser("m.norm.scale") && !names::is_left_by_quantiser("logit_scale"));
        assert_eq!(names::packed("e.down_proj_blocks", |n| n == "e.down_proj_scales"), Some("MXFP4 codes"));
        assert_eq!(names::packed("m.weight", |n| n == "m.SCB"), Some("8-bit integers of bitsandbytes"));
        assert_eq!(names::packed("m.position_ids", |_| false), None);
    }
}
