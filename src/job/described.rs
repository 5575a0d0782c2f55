//! The configuration that a directory needs whose FP8 layers were put together one by one.

use std::collections::HashMap;

use crate::dialect::{ClaimPlace, Dialect, DialectId, QuantisationFiles};
use crate::error::{Error, Result};
use crate::format::{BLOCK, Granularity, Rounding};
use crate::model::Model;
use crate::plan::{Activations, Plan, ScaleSharing};
use crate::tensor::{Dtype, TensorSpec};

/// What a configuration says of all FP8 layers alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Described {
    granularity: Granularity,
    activations: Activations,
}

impl std::fmt::Display for Described {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} scales and {} activations", self.granularity, self.activations)
    }
}

/// The dialects in which a writer describes its layers: those that say all in the `config.json` that it writes anyway.
fn dialects() -> impl Iterator<Item = &'static dyn Dialect> {
    let all = DialectId::ALL.iter().map(|id| id.dialect());
    all.filter(|dialect| dialect.claim_places() == [ClaimPlace::Configuration])
}

impl Described {
    /// What the tensors beside the codes of `module` say; nothing without scales, which the checks find.
    ///
    /// # Errors
    /// [`Error::Refused`] when no dialect describes it.
    fn of(module: &str, specs: &HashMap<&str, &TensorSpec>) -> Result<Option<Described>> {
        let tensor = |leaf: &str| specs.get(format!("{module}.{leaf}").as_str()).copied();
        let activations =
            if tensor("input_scale").is_some() { Activations::Static } else { Activations::Dynamic };
        let scaled = dialects().map(|dialect| dialect.format().format()).find_map(|format| {
            let scale = tensor(format.scale_leaf())?;
            Some((format.granularities() == [Granularity::Block], scale))
        });
        let granularity = match scaled {
            Some((true, scale)) => {
                let codes = tensor("weight").map(|codes| codes.shape.as_slice()).unwrap_or_default();
                if Granularity::Block.scale_shape(codes)? != scale.shape {
                    let problem = format!("`{module}` has scales for other blocks than {BLOCK}×{BLOCK}");
                    return Err(Error::refused(problem).with_hint(
                        "dequantise it, or add a config.json that says how large its blocks are",
                    ));
                }
                Granularity::Block
            }
            Some((false, scale)) if scale.shape.iter().product::<usize>() == 1 => Granularity::Tensor,
            Some((false, _)) => Granularity::Channel,
            None => return Ok(None),
        };
        let described = Described { granularity, activations };
        match described.dialect() {
            Some(_) => Ok(Some(described)),
            None => Err(Error::refused(format!("`{module}` has {described}, which no configuration says"))
                .with_hint(
                    "scales per tensor go with an input_scale, scales per channel or block without one",
                )),
        }
    }

    fn dialect(self) -> Option<&'static dyn Dialect> {
        let pair = (self.activations, self.granularity);
        dialects().find(|dialect| dialect.activations().contains(&pair))
    }
}

/// That one configuration describes all FP8 layers among `specs`.
///
/// # Errors
/// [`Error::Refused`] naming two layers that differ, or one that no dialect describes.
pub(super) fn require_describable<'a>(all: impl Iterator<Item = &'a TensorSpec>) -> Result<()> {
    let all: Vec<&TensorSpec> = all.collect();
    let specs: HashMap<&str, &TensorSpec> = all.iter().map(|spec| (spec.name.as_str(), *spec)).collect();
    let mut first: Option<(&str, Described)> = None;
    for spec in all.iter().filter(|spec| spec.dtype == Dtype::F8E4M3 && spec.shape.len() == 2) {
        let Some(module) = spec.name.strip_suffix(".weight") else { continue };
        let Some(described) = Described::of(module, &specs)? else { continue };
        match &first {
            None => first = Some((module, described)),
            Some((other, known)) if *known != described => {
                let problem = format!(
                    "`{other}` has {known} and `{module}` has {described}, and no configuration says both"
                );
                return Err(Error::refused(problem).with_hint(
                    "quantise all layers in one way, or add a config.json that says what is what",
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The configuration that the FP8 layers of a written directory need; nothing when there are none.
pub(super) fn describe(output: &Model) -> Result<Option<QuantisationFiles>> {
    let specs: Vec<TensorSpec> = output
        .tensors()
        .map(|(name, tensor)| TensorSpec::new(name, tensor.dtype(), tensor.shape()))
        .collect();
    let specs: HashMap<&str, &TensorSpec> = specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
    let is_fp8 = |module: &&str| output.weight(module).is_some_and(|w| w.dtype() == Dtype::F8E4M3);
    let modules: Vec<&str> = output.modules().linears().filter(is_fp8).collect();
    let mut described = modules.iter().filter_map(|module| Described::of(module, &specs).transpose());
    let Some(described) = described.next().transpose()? else { return Ok(None) };
    let Some(dialect) = described.dialect() else { return Ok(None) };
    let formats = modules.into_iter().map(|module| (module.into(), dialect.format())).collect();
    let plan = Plan { formats, kept: Vec::new() };
    dialect.require_expressible(output, &plan)?;
    let layout = dialect.layout(described.activations, Rounding::Exact, ScaleSharing::None)?;
    Ok(Some(dialect.files(output, &plan, &layout)))
}
