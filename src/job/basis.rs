//! What the schemes of a family are made from: a manifest, and the model that it speaks of where that is there.

use std::sync::Arc;

use super::options::FamilyOptions;
use crate::error::{Error, Result};
use crate::manifest::{Amax, Manifest};
use crate::model::Model;
use crate::plan::{InputScales, Located};

/// A manifest, its groups in the model, and what activations are scaled by.
pub(super) struct Basis {
    /// The manifest; candidates are those of the format that is written.
    pub manifest: Arc<Manifest>,
    /// Its groups in the model, or in itself.
    pub located: Located,
    /// The base checkpoint; nothing when the family is planned from the manifest alone.
    pub model: Option<Arc<Model>>,
    /// Where static activations take their scales from.
    pub input_scales: Option<InputScales>,
}

impl Basis {
    /// Opens what `options` name; `manifest` is the one at their path where it is open already.
    ///
    /// # Errors
    /// Those of [`Model::open`], [`Manifest::open`], [`InputScales`] and [`Located`]; [`Error::Refused`] when the
    /// checkpoint is quantised already; [`Error::Argument`] for both a baseline and an amax file.
    pub fn open(options: &FamilyOptions, manifest: Option<Arc<Manifest>>) -> Result<Self> {
        let model = options.model.as_ref().map(Model::open).transpose()?.map(Arc::new);
        if let Some(model) = &model {
            model.require_unquantised()?;
        }
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => Arc::new(Manifest::open(&options.manifest)?),
        };
        let located = match &model {
            Some(model) => Located::in_model(&manifest, model, options.dialect.format())?,
            None => Located::in_manifest(&manifest),
        };
        let input_scales = match (&options.baseline, &options.amax) {
            (Some(_), Some(_)) => {
                return Err(Error::argument(
                    "both a baseline and an amax file were given for the input scales",
                )
                .with_hint("pass --baseline or --amax, not both"));
            }
            (Some(directory), None) => Some(InputScales::from_baseline(directory)?),
            (None, Some(path)) => Some(InputScales::from_amax(path, &Amax::open(path)?)?),
            (None, None) => {
                manifest.amax().map(|amax| InputScales::from_amax(manifest.path(), amax)).transpose()?
            }
        };
        Ok(Basis { manifest, located, model, input_scales })
    }

    /// Whether `module`, in any spelling, has an input scale.
    pub fn has_input_scale(&self, module: &str) -> bool {
        self.input_scales.as_ref().is_some_and(|scales| scales.get(module).is_some())
    }

    /// The base checkpoint.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is none.
    pub fn require_model(&self) -> Result<&Arc<Model>> {
        self.model.as_ref().ok_or_else(|| {
            Error::refused(format!(
                "a family over `{}` alone can be planned, but not written",
                self.manifest.path().display()
            ))
            .with_hint("give the base checkpoint as `model`")
        })
    }
}
