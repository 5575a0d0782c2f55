//! Quantised checkpoints of any tool: which tensors hold codes, which of them can be turned back into weights and how, and
//! which are there for the quantiser alone.

mod beside;
mod blocks;
mod names;

use super::claims::{CONFIG, Claims};
use crate::checkpoint::quantisation;
use crate::error::{Error, Result};
use crate::format::Scales;
use crate::model::Model;
use crate::tensor::Dtype;
use crate::words::words;
use names::TensorMeaning;

use beside::{Beside, FoundQuantisers, what_codes};
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
    /// Codes are the values: nothing says that anything was scaled when they were made.
    Unscaled,
}

/// How a checkpoint is quantised, by whatever tool.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// The sizes of blocks that the configuration has, or what is wrong with them.
    blocks: Result<Vec<[usize; 2]>, String>,
    /// What the configuration calls the method; nothing where nothing is said of quantisation.
    method: Option<String>,
    /// Codes, and what stands beside them.
    found: FoundQuantisers,
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
        Ok(Foreign { blocks, method, found: FoundQuantisers::in_model(model) })
    }

    /// What the tensor `name` is there for.
    pub fn role(&self, name: &str) -> TensorRole {
        if self.found.quantisers.contains(name) {
            TensorRole::Quantiser
        } else if self.found.codes.contains_key(name) {
            TensorRole::Codes
        } else {
            TensorRole::Plain
        }
    }

    /// How the codes `name` of `model` are turned back into weights.
    ///
    /// # Errors
    /// [`Error::Tensor`] when they cannot be: it is another kind of codes, scales are missing, or do not fit, or something
    /// stands beside them whose meaning for them is not read or not known; [`Error::Format`] when the configuration has sizes
    /// of blocks that are none.
    pub fn decoding(&self, model: &Model, name: &str) -> Result<Decoding> {
        let tensor = model
            .tensor(name)
            .ok_or_else(|| Error::not_found(format!("there is no tensor `{name}` to turn back")))?;
        let beside = self.found.codes.get(name).map(Vec::as_slice);
        let (Some(what), Some(beside)) = (what_codes(model, name, tensor), beside) else {
            return Err(Error::tensor(
                name,
                match self.role(name) {
                    TensorRole::Quantiser => "is a tensor of a quantiser, not codes".into(),
                    _ => format!("is {}, not F8_E4M3", tensor.dtype()),
                },
            ));
        };
        let is_unscaled = self.found.quantisers.is_empty() && self.method.is_none();
        if tensor.dtype() != Dtype::F8E4M3 && !(tensor.dtype() == Dtype::F8E5M2 && is_unscaled) {
            let of =
                self.method.as_ref().map(|method| format!(" (quant_method {method})")).unwrap_or_default();
            return Err(Error::tensor(name, format!("holds {what}{of}, which are not read here")).with_hint(
                "F8_E4M3 codes with scales are: take the checkpoint from before it was quantised",
            ));
        }
        if is_unscaled {
            return Ok(Decoding::Unscaled);
        }
        let problem = beside.iter().find_map(|one| unread(model, one)).or_else(|| {
            let smoothing = self.found.smoothing.as_ref()?;
            Some(format!("is of a checkpoint with `{smoothing}`, {SMOOTHING}"))
        });
        if let Some(problem) = problem {
            return Err(Error::tensor(name, problem).with_hint(BEFORE));
        }
        let is_scale =
            |one: &&Beside| matches!(one.meaning, TensorMeaning::Scale | TensorMeaning::BlockScale);
        let (scale, are_blocks) = match beside.iter().filter(is_scale).collect::<Vec<_>>()[..] {
            [scale] => (scale, scale.meaning == TensorMeaning::BlockScale),
            [] => return Err(Error::tensor(name, self.without_scale(beside)).with_hint(BEFORE)),
            [one, other, ..] => {
                let (one, other) = (&one.within, &other.within);
                return Err(Error::tensor(name, format!("has two tensors of scales, `{one}` and `{other}`")));
            }
        };
        let scale = model
            .tensor(&scale.name)
            .ok_or_else(|| Error::not_found(format!("there is no tensor `{}`", scale.name)))?;
        let blocks = self.blocks.as_ref();
        let blocks = blocks.map_err(|problem| Error::format(model.directory().join(CONFIG), problem))?;
        Scales::stored(scale, tensor.shape(), blocks, are_blocks)
            .map(Decoding::Scaled)
            .map_err(|e| Error::tensor(name, format!("cannot be dequantised: {e}")))
    }

    /// What says that there must have been a scale of the codes beside which there is none.
    fn without_scale(&self, beside: &[Beside]) -> String {
        if !beside.is_empty() {
            let names: Vec<String> = beside.iter().map(|one| format!("`{}`", one.within)).collect();
            return format!(
                "is FP8, and of what stands beside it nothing is its scale: {}",
                names.join(", ")
            );
        }
        let sign = match (&self.method, &self.found.first) {
            (Some(method), _) => format!("the configuration has the quant_method {method}"),
            (None, Some(first)) => format!("the checkpoint has tensors of a quantiser, such as `{first}`"),
            (None, None) => "the checkpoint is quantised".into(),
        };
        format!("is FP8 and has no scale, although {sign}")
    }
}

const BEFORE: &str = "take the checkpoint from before it was quantised";
const SMOOTHING: &str = "factors of inputs, which are not taken back into the weights here";

/// Why codes are not read that have this beside them; nothing where that does not stand in the way.
fn unread(model: &Model, beside: &Beside) -> Option<String> {
    let bytes = || model.tensor(&beside.name).map_or(&[][..], |tensor| tensor.bytes());
    let name = &beside.within;
    match beside.meaning {
        TensorMeaning::Scale | TensorMeaning::BlockScale | TensorMeaning::Aside => None,
        TensorMeaning::Smoothing => Some(format!("has `{name}` beside it, {SMOOTHING}")),
        TensorMeaning::Unread(what) => Some(format!("has `{name}` beside it, {what}")),
        TensorMeaning::ZeroPoint if bytes().iter().all(|byte| *byte == 0) => None,
        TensorMeaning::ZeroPoint => Some(format!("has `{name}` beside it, zero points that are not 0")),
        TensorMeaning::Layout if names::is_row_major(bytes()) => None,
        TensorMeaning::Layout => {
            Some(format!("has `{name}` beside it, which tells of a layout that is not known"))
        }
    }
}
