//! What the schemes of a family are made from: a manifest, and the model that it speaks of where that is there.

use std::sync::Arc;

use super::options::FamilyOptions;
use crate::error::{Error, Result};
use crate::format::FormatId;
use crate::manifest::{Manifest, RecordedAmax};
use crate::model::Model;
use crate::plan::{Activations, InputScales, Located};

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
    /// What is to be said of the scores.
    pub note: Option<String>,
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
        let input_scales = input_scales(options, &manifest)?;
        let (manifest, note) = with_candidates(options, manifest, input_scales.is_some());
        let located = match &model {
            Some(model) => Located::in_model(&manifest, model, options.dialect.format())?,
            None => Located::in_manifest(&manifest),
        };
        Ok(Basis { manifest, located, model, input_scales, note })
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

fn input_scales(options: &FamilyOptions, manifest: &Manifest) -> Result<Option<InputScales>> {
    Ok(match (&options.baseline, &options.amax) {
        (Some(_), Some(_)) => {
            return Err(Error::argument("both a baseline and an amax file were given for the input scales")
                .with_hint("pass --baseline or --amax, not both"));
        }
        (Some(directory), None) => Some(InputScales::from_baseline(directory)?),
        (None, Some(path)) => Some(InputScales::from_amax(path, &RecordedAmax::open(path)?)?),
        (None, None) => {
            manifest.amax().map(|amax| InputScales::from_amax(manifest.path(), amax)).transpose()?
        }
    })
}

/// The manifest with the candidates of the format that will be written, as far as it is known before any scheme is there,
/// and what is to be said where it has none.
fn with_candidates(
    options: &FamilyOptions,
    manifest: Arc<Manifest>,
    has_input_scales: bool,
) -> (Arc<Manifest>, Option<String>) {
    let expected = if has_input_scales { Activations::Static } else { Activations::Dynamic };
    let activations = options.activations.named().or(options.dialect.only_activations()).unwrap_or(expected);
    let dialect = options.dialect.with(activations).dialect();
    let format = dialect.format();
    let granularity = dialect.activations().iter().find(|(known, _)| *known == activations).map(|(_, g)| *g);
    let rank = |name: &str| match FormatId::of_manifest(name) {
        Some((id, scales)) if id == format && Some(scales) == granularity => 0,
        Some((id, _)) if id == format => 1,
        Some(_) => 2,
        None if name.starts_with(&format.to_string()) => 3,
        None => 4,
    };
    let formats = manifest.formats();
    let best = formats.iter().map(|name| rank(name)).min();
    let note = best.filter(|best| matches!(best, 2 | 4)).map(|_| {
        let known = formats.iter().copied().collect::<Vec<_>>().join(", ");
        format!("no group was scored in {format}: the scores are those of {known}")
    });
    (Arc::new(manifest.with_candidates(rank)), note)
}
