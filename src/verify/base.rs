//! A checkpoint against the one that it was made from: what was not touched is the same bit for bit, and codes are what the
//! weights are under the scales that are stored.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

use super::found::FoundTensors;
use super::{Code, Problem};
use crate::checkpoint::quantisation::places;
use crate::dialect::{CONFIG, Decoding, Foreign, TensorRole};
use crate::error::Result;
use crate::format::scale_grid::row_length;
use crate::format::{Encoder, QuantisationError, Rounding, Scales};
use crate::model::Model;
use crate::tensor::Tensor;
use crate::units::counted;

/// Opens the checkpoint in `directory`, which others were made from.
///
/// # Errors
/// Those of [`Model::open`]; [`crate::Error::Refused`] when it is quantised itself.
pub fn open_base(directory: &Path) -> Result<Model> {
    let base = Model::open(directory)?;
    base.require_unquantised()
        .map_err(|error| error.with_hint("name the checkpoint that was not quantised yet, in BF16"))?;
    Ok(base)
}

/// What the comparison with a base checkpoint has shown.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseComparison {
    /// Tensors that are those of the base, bit for bit.
    pub identical: usize,
    /// Tensors whose codes are the exact encoding of the base's weights.
    pub exact: usize,
    /// Tensors that are neither, each a finding.
    pub different: usize,
    /// What all codes together lose.
    pub error: QuantisationError,
    /// The tensor whose codes lose most, and its signal to quantisation noise in decibels.
    pub worst: Option<(String, f64)>,
}

/// What a tensor is compared with.
pub(super) enum Counterpart<'a> {
    /// The same tensor.
    Same(&'a Tensor),
    /// The weights that its codes stand for.
    Encoded {
        weights: &'a Tensor,
        scales: Scales,
        /// One for each way of rounding that may have been meant.
        encoders: Vec<Encoder>,
    },
}

/// How part of a tensor, or all of it, differs from its counterpart.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Difference {
    /// Elements that differ, under each way of rounding.
    pub elements: [u64; 2],
    /// What codes lose.
    pub error: QuantisationError,
}

impl Difference {
    /// This and what comes after it.
    pub fn merge(self, next: Difference) -> Difference {
        let [one, other] = self.elements;
        Difference {
            elements: [one + next.elements[0], other + next.elements[1]],
            error: self.error.merge(next.error),
        }
    }
}

impl Counterpart<'_> {
    /// Compares `stored`, the bytes of `elements`; `codes` is room to work in.
    ///
    /// # Errors
    /// None for the tensors that this was made for.
    pub fn compare(&self, elements: Range<usize>, stored: &[u8], codes: &mut Vec<u8>) -> Result<Difference> {
        let mut difference = Difference::default();
        match self {
            Counterpart::Same(tensor) => {
                let size = tensor.dtype().size().max(1);
                let expected = &tensor.bytes()[elements.start * size..elements.end * size];
                if stored != expected {
                    let pairs = stored.chunks(size).zip(expected.chunks(size));
                    difference.elements = [pairs.filter(|(a, b)| a != b).count() as u64; 2];
                }
            }
            Counterpart::Encoded { weights, scales, encoders } => {
                let size = weights.dtype().size();
                let source = &weights.bytes()[elements.start * size..elements.end * size];
                codes.resize(elements.len(), 0);
                let mut differing = |encoder: &Encoder| {
                    encoder.encode(elements.start, source, codes);
                    codes.iter().zip(stored).filter(|(a, b)| a != b).count() as u64
                };
                let counts: Vec<u64> = encoders.iter().map(&mut differing).collect();
                if let (Some(first), Some(last)) = (counts.first(), counts.last()) {
                    difference.elements = [*first, *last];
                }
                let row = row_length(weights.shape());
                difference.error = QuantisationError::of_chunk(
                    weights.dtype(),
                    scales,
                    row,
                    elements.start,
                    source,
                    stored,
                )?;
            }
        }
        Ok(difference)
    }
}

/// The base's tensor that `name` of a directory is made from: of the same name, or of another spelling of it.
fn source_of<'a>(
    base: &Model,
    sources: &HashMap<&'a str, &'a Tensor>,
    name: &str,
) -> Option<(&'a str, &'a Tensor)> {
    let found = sources.get_key_value(name).or_else(|| {
        let (module, leaf) = name.rsplit_once('.')?;
        sources.get_key_value(format!("{}.{leaf}", base.modules().on_disk(module)?).as_str())
    });
    found.map(|(name, tensor)| (*name, *tensor))
}

/// What the tensors of `model` are compared with, and what of them cannot be.
pub(super) struct Counterparts<'a> {
    pub by_name: HashMap<&'a str, Counterpart<'a>>,
    pub problems: Vec<Problem>,
}

impl<'a> Counterparts<'a> {
    /// Finds them. Codes were rounded as `rounding` says; in any way where that is not known.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub fn find(model: &'a Model, base: &'a Model, rounding: Option<Rounding>) -> Result<Self> {
        let foreign = Foreign::of(model)?;
        let sources: HashMap<&str, &Tensor> = base.tensors().collect();
        let mut by_name = HashMap::new();
        let mut used: HashSet<&str> = HashSet::new();
        let mut problems = Vec::new();
        let mut unknown = FoundTensors::new(Code::Base, "are not in the base checkpoint");
        let mut shapes = FoundTensors::new(Code::Base, "have other shapes than in the base checkpoint");
        let mut dtypes = FoundTensors::new(Code::Base, "are of other types than in the base checkpoint");
        let mut undecodable =
            FoundTensors::new(Code::NotChecked, "cannot be compared with the base checkpoint");
        for (name, tensor) in model.tensors() {
            let role = foreign.role(name);
            if role == TensorRole::Quantiser {
                continue;
            }
            let Some((source, weights)) = source_of(base, &sources, name) else {
                unknown.add(name, format!("`{name}` is not in the base checkpoint"));
                continue;
            };
            used.insert(source);
            if tensor.shape() != weights.shape() && role == TensorRole::Plain {
                let (here, there) = (tensor.shape(), weights.shape());
                shapes
                    .add(name, format!("`{name}` has shape {here:?}, and {there:?} in the base checkpoint"));
                continue;
            }
            if tensor.dtype() == weights.dtype() && tensor.shape() == weights.shape() {
                by_name.insert(name, Counterpart::Same(weights));
            } else if role == TensorRole::Plain {
                let (here, there) = (tensor.dtype(), weights.dtype());
                dtypes.add(name, format!("`{name}` is {here}, and {there} in the base checkpoint"));
            } else {
                match encoded(model, &foreign, name, weights, rounding) {
                    Ok(counterpart) => {
                        by_name.insert(name, counterpart);
                    }
                    Err(why) => {
                        undecodable.add(name, format!("`{name}` is not compared with the base: {why}"))
                    }
                }
            }
        }
        let mut missing = FoundTensors::new(Code::Base, "of the base checkpoint are missing");
        for (name, _) in base.tensors().filter(|(name, _)| !used.contains(name)) {
            missing.add(name, format!("`{name}` of the base checkpoint is missing"));
        }
        for found in [missing, unknown, shapes, dtypes, undecodable] {
            problems.extend(found.into_problems());
        }
        Ok(Counterparts { by_name, problems })
    }

    /// What the comparison has shown, by the differences of the tensors.
    pub fn judge(
        &self,
        model: &Model,
        difference: &dyn Fn(&str) -> Difference,
    ) -> (Vec<Problem>, BaseComparison) {
        let mut comparison = BaseComparison {
            identical: 0,
            exact: 0,
            different: 0,
            error: QuantisationError::default(),
            worst: None,
        };
        let mut copies = FoundTensors::new(Code::Base, "are not what they are in the base checkpoint");
        let mut codes = FoundTensors::new(Code::Base, "are not the codes of the base checkpoint's weights");
        for (name, tensor) in model.tensors() {
            let Some(counterpart) = self.by_name.get(name) else { continue };
            let difference = difference(name);
            let differing = difference.elements.into_iter().min().unwrap_or(0);
            let of = counted(tensor.elements(), "value");
            match counterpart {
                Counterpart::Same(_) if differing == 0 => comparison.identical += 1,
                Counterpart::Same(_) => {
                    let message = format!("`{name}` differs from the base checkpoint in {differing} of {of}");
                    copies.add(name, message);
                }
                Counterpart::Encoded { .. } => {
                    let error = difference.error;
                    comparison.error = comparison.error.merge(error);
                    let sqnr = error.sqnr_db();
                    if error.elements > 0 && comparison.worst.as_ref().is_none_or(|(_, worst)| sqnr < *worst)
                    {
                        comparison.worst = Some((name.to_string(), sqnr));
                    }
                    if differing == 0 {
                        comparison.exact += 1;
                    } else {
                        let message = format!(
                            "`{name}` has {differing} of {of} that are not the codes of the base's weights under its scales (SQNR {sqnr:.2} dB)"
                        );
                        codes.add(name, message);
                    }
                }
            }
        }
        comparison.different = copies.count() + codes.count();
        let mut problems = copies.into_problems();
        problems.extend(codes.into_problems());
        (problems, comparison)
    }
}

/// The codes that `weights` have under the scales of `name`.
fn encoded<'a>(
    model: &Model,
    foreign: &Foreign,
    name: &str,
    weights: &'a Tensor,
    rounding: Option<Rounding>,
) -> Result<Counterpart<'a>, String> {
    let scales = match foreign.decoding(model, name).map_err(|e| e.to_string())? {
        Decoding::Scaled(scales) => scales,
        Decoding::Unscaled => Scales::tensor(1.0),
    };
    if model.tensor(name).map(Tensor::shape) != Some(weights.shape()) || weights.shape().len() != 2 {
        return Err("its codes are not laid out as the weights are".into());
    }
    let roundings = rounding.map_or(vec![Rounding::Exact, Rounding::ModelOpt], |one| vec![one]);
    let encoder = |rounding| Encoder::new(weights.dtype(), rounding, &scales, row_length(weights.shape()));
    let encoders = roundings.into_iter().map(encoder).collect::<Result<_>>().map_err(|e| e.to_string())?;
    Ok(Counterpart::Encoded { weights, scales, encoders })
}

/// `config.json` says what that of the base says, but for what is quantised.
pub(super) fn check_config(model: &Model, base: &Model) -> Option<Problem> {
    let plain = |config: &Value| {
        let mut plain = config.clone();
        for place in places(config) {
            let Some((last, parents)) = place.split_last() else { continue };
            let parent = parents.iter().try_fold(&mut plain, |value, key| value.get_mut(*key));
            if let Some(fields) = parent.and_then(Value::as_object_mut) {
                fields.remove(*last);
            }
        }
        plain
    };
    let (ours, theirs) = (plain(model.config()), plain(base.config()));
    if ours == theirs {
        return None;
    }
    let (Value::Object(ours), Value::Object(theirs)) = (&ours, &theirs) else { return None };
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| ours.get(*key) != theirs.get(*key))
        .map(|key| format!("`{key}`"))
        .collect();
    let message = format!("config.json differs from that of the base checkpoint in {}", differing.join(", "));
    Some(Problem::new(Code::Base, CONFIG, message))
}
