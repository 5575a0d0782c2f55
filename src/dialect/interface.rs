//! What every dialect says of itself.

use serde_json::Value;

use super::claims::Claims;
use super::id::DialectId;
use super::problem::Problem;
use super::stored::StoredLayers;
use crate::error::{Error, Result};
use crate::format::{Encoding, FormatId, Granularity, Rounding, ScaleRule, ScaleShape, ScaleStorage};
use crate::model::Model;
use crate::plan::{Activations, Layout, Plan, ScaleSharing};

/// The conventions of a scheme directory: what is written beside the weights, and how a directory that follows them is
/// checked.
pub trait Dialect: Sync {
    /// What it is called here.
    fn id(&self) -> DialectId;

    /// The format of its quantised layers.
    fn format(&self) -> FormatId;

    /// The kinds of activations that it can truthfully say, each with the scales of weights that go with it.
    fn activations(&self) -> &'static [(Activations, Granularity)];

    /// From amax to scale: representable in BF16 wherever scales are stored in BF16.
    fn scale_rule(&self) -> ScaleRule;

    /// Whether scales are written with their sizes of one.
    fn scale_shape(&self) -> ScaleShape;

    /// The methods of `quantization_config` in `config.json` that this dialect writes or reads.
    fn methods(&self) -> &'static [&'static str];

    /// Where a directory of it says that it is quantised, each of them in every directory.
    fn claim_places(&self) -> &'static [ClaimPlace];

    /// The configuration that makes loaders read `plan` as it is meant.
    fn files(&self, model: &Model, plan: &Plan, layout: &Layout) -> QuantisationFiles;

    /// Fails when the dialect cannot say what `plan` means.
    ///
    /// # Errors
    /// [`Error::Refused`] when a layer that stays as it is and a quantised one have names that engines cannot keep apart.
    fn require_expressible(&self, _model: &Model, _plan: &Plan) -> Result<()> {
        Ok(())
    }

    /// What loaders would reject or get wrong of a directory that claims to follow this dialect; nothing for one that does
    /// not.
    fn check(&self, claims: &Claims, stored: &StoredLayers) -> Vec<Problem>;
}

impl dyn Dialect {
    /// The only kind of activations that it has; nothing where it has several.
    pub fn only_activations(&self) -> Option<Activations> {
        match self.activations() {
            [(only, _)] => Some(*only),
            _ => None,
        }
    }

    /// The granularity of weight scales that goes with `activations`.
    ///
    /// # Errors
    /// [`Error::Refused`] for activations that the dialect cannot say.
    pub fn require_activations(&self, activations: Activations) -> Result<Granularity> {
        let known = self.activations().iter().find(|(known, _)| *known == activations);
        let Some((_, granularity)) = known else {
            let only = self.only_activations().map_or("otherwise", Activations::word);
            let problem = format!(
                "the dialect {} is always {only}, and {activations} activations were chosen",
                self.id()
            );
            return Err(Error::refused(problem).with_hint(match activations {
                Activations::Static => "leave --activations out, or choose --dialect universal",
                Activations::Dynamic => {
                    "give --baseline or --amax for input scales, or choose --dialect compressed-tensors"
                }
            }));
        };
        Ok(*granularity)
    }

    /// The layout of quantised layers, if it is one that loaders read as it is meant.
    ///
    /// # Errors
    /// [`Error::Refused`] for activations that the dialect cannot say.
    pub fn layout(
        &self,
        activations: Activations,
        rounding: Rounding,
        scale_sharing: ScaleSharing,
    ) -> Result<Layout> {
        let granularity = self.require_activations(activations)?;
        Ok(Layout {
            encoding: Encoding { format: self.format(), granularity, rule: self.scale_rule(), rounding },
            storage: ScaleStorage {
                shape: self.scale_shape(),
                input_scale: activations == Activations::Static,
            },
            activations,
            scale_sharing,
        })
    }
}

/// A place where a directory says that it is quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimPlace {
    /// `quantization_config` in `config.json`.
    Configuration,
    /// `hf_quant_config.json`.
    HfQuantConfig,
}

/// The configuration that makes loaders read a scheme as its plan says.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisationFiles {
    /// `quantization_config` of `config.json`, where the dialect has one.
    pub quantization_config: Option<Value>,
    /// The content of `hf_quant_config.json`, where the dialect has a truthful one.
    pub hf_quant_config: Option<Value>,
}
