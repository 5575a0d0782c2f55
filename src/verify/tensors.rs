//! The tensors of a checkpoint against those that its `config.json` implies.

use std::collections::HashSet;

use strsim::jaro_winkler;

use super::found::FoundTensors;
use super::weights::LeftOut;
use crate::dialect::{CONFIG, Code, Problem};
use crate::model::{ExpectedTensor, Model};
use crate::tensor::{Dtype, Tensor};
use crate::units::counted;

/// Up to how many surplus tensors are compared with how many missing ones.
const COMPARED: usize = 64;
/// How much alike two names are of which one may be the other, renamed.
const ALIKE: f64 = 0.8;
/// Names under which quantisers of other kinds keep a weight.
const PACKED: [&str; 2] = ["weight_packed", "qweight"];
/// What quantisers keep beside weights, where the name does not say that it is a scale.
const BESIDE: [&str; 6] = ["weight_packed", "weight_shape", "weight_g_idx", "qweight", "qzeros", "g_idx"];

/// Missing, surplus and misshapen tensors.
pub(super) fn check(model: &Model, expected: &[ExpectedTensor], left_out: &LeftOut) -> Vec<Problem> {
    let names: HashSet<&str> = expected.iter().map(|tensor| tensor.name.as_str()).collect();
    let surplus: Vec<(&str, &Tensor)> =
        model.tensors().filter(|(name, _)| !names.contains(name) && is_judged(model, name)).collect();
    let mut missing = FoundTensors::new(Code::MissingTensor, "that config.json asks for are missing");
    let mut sizeless: Vec<&str> = Vec::new();
    let mut misshapen =
        FoundTensors::new(Code::TensorShape, "do not have the shapes that config.json gives them");
    for tensor in expected {
        let Some(stored) = model.tensor(&tensor.name) else {
            if is_missing(model, tensor) && !left_out.is_reported(&tensor.name) {
                let is_compared = surplus.len() <= COMPARED && missing.count() <= COMPARED;
                let likely = || if is_compared { renamed(tensor, &surplus) } else { None };
                let how = left_out.of(&tensor.name).or_else(likely);
                missing.add(&tensor.name, format!("`{}` is missing{}", tensor.name, how.unwrap_or_default()));
            }
            continue;
        };
        let Some(shape) = tensor.shape.as_deref() else {
            sizeless.push(&tensor.name);
            continue;
        };
        if !is_plain(stored.dtype()) {
            continue;
        }
        if stored.shape() != shape {
            let is_transposed = shape.len() > 1 && stored.shape().iter().eq(shape.iter().rev());
            let how = if is_transposed { ": it is transposed" } else { "" };
            let message = format!(
                "`{}` has shape {:?}, and config.json makes it {shape:?}{how}",
                tensor.name,
                stored.shape()
            );
            misshapen.add(&tensor.name, message);
        }
    }
    let mut unknown = FoundTensors::new(Code::UnknownTensor, "are none of the model's");
    for (name, _) in surplus {
        unknown.add(name, format!("`{name}` is no tensor of the model that config.json describes"));
    }
    let found = [missing, misshapen, unknown].into_iter().flat_map(FoundTensors::into_problems);
    let not_checked = sizeless.first().map(|first| {
        let (count, verb) =
            (counted(sizeless.len(), "tensor"), if sizeless.len() == 1 { "is" } else { "are" });
        let message = format!(
            "the shape of {count}, such as `{first}`, {verb} not told by config.json and not checked"
        );
        Problem::new(Code::NotChecked, CONFIG, message)
    });
    found.chain(not_checked).collect()
}

/// Whether a tensor that is not there under its name is not there at all.
fn is_missing(model: &Model, tensor: &ExpectedTensor) -> bool {
    let packed = tensor
        .name
        .strip_suffix("weight")
        .is_some_and(|module| PACKED.iter().any(|leaf| model.tensor(&format!("{module}{leaf}")).is_some()));
    tensor.is_required && !packed
}

/// What a missing tensor may be called.
fn renamed(tensor: &ExpectedTensor, surplus: &[(&str, &Tensor)]) -> Option<String> {
    let shape = tensor.shape.as_deref()?;
    let likeness = |name: &str| jaro_winkler(name, &tensor.name);
    let candidates = surplus.iter().filter(|(_, stored)| stored.shape() == shape);
    let (name, likeness) = candidates
        .map(|(name, _)| (*name, likeness(name)))
        .reduce(|best, next| if next.1 > best.1 { next } else { best })?;
    (likeness > ALIKE).then(|| format!("; `{name}` has its shape and may be the same"))
}

/// Whether values of this type have the shape of the weight: packed ones have not.
fn is_plain(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64 | Dtype::F8E4M3 | Dtype::F8E5M2)
}

/// Whether a tensor that a model has no use for is a surplus one: what belongs to a quantiser is checked elsewhere, and tables
/// of positions that old releases stored are worked out anew.
pub(super) fn is_judged(model: &Model, name: &str) -> bool {
    let (module, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    let of_quantiser = name.contains("_quantizer.")
        || ["scale", "zero_point", "amax"].iter().any(|part| leaf.contains(part))
        || BESIDE.contains(&leaf);
    let of_fp8 = || {
        let owner = model.tensor(&format!("{module}.weight"));
        !["weight", "bias"].contains(&leaf) && owner.is_some_and(|weight| weight.dtype() == Dtype::F8E4M3)
    };
    let is_table = leaf == "inv_freq" || leaf == "position_ids" || name.contains("rotary_emb.");
    !of_quantiser && !is_table && !of_fp8()
}
