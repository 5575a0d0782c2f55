//! What the schemes of a family are made from: a manifest, and the model that it speaks of where that is there.

use std::sync::Arc;

use super::candidates::with_candidates;
use super::fit::{left_out, require_same_shapes, require_same_weights};
use super::options::FamilyOptions;
use crate::error::{Error, Result};
use crate::input::Watched;
use crate::manifest::{Manifest, RecordedAmax};
use crate::model::{Model, ModuleClass, canonical, expert_group, fused_group};
use crate::plan::{InputScales, Located};
use crate::units::counted;

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
    /// What is to be said of the scores, of the model, and of what of it the manifest leaves out.
    pub notes: Vec<String>,
}

impl Basis {
    /// Opens what `options` name; `manifest` is the one at their path where it is open already. Groups that hold parts of one
    /// module of loaders are joined.
    ///
    /// # Errors
    /// Those of [`Model::open`], [`Manifest::open`], [`InputScales`] and [`Located`]; [`Error::Refused`] when the
    /// checkpoint is quantised already, the manifest has no candidate in the format that is written, or manifest or baseline
    /// are those of another model; [`Error::Argument`] for both a baseline and an amax file.
    pub fn open(options: &FamilyOptions, manifest: Option<Arc<Manifest>>) -> Result<Self> {
        let model = options.model.as_ref().map(Model::open).transpose()?.map(Arc::new);
        if let Some(model) = &model {
            model.require_unquantised()?;
        }
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => Arc::new(Manifest::open(&options.manifest)?),
        };
        let mut input_scales = input_scales(options, &manifest)?;
        if let (Some(scales), Some(model)) = (&mut input_scales, &model) {
            scales.resolve(model)?;
        }
        if let (Some(model), Some(baseline)) = (&model, &options.baseline) {
            require_same_shapes(baseline, model)?;
        }
        let (manifest, note) = with_candidates(options, &manifest, input_scales.is_some())?;
        let mut notes: Vec<String> = note.into_iter().collect();
        let (manifest, joined) = joined(&manifest, model.as_deref());
        let manifest = Arc::new(manifest);
        notes.extend(joined.map(|(before, after)| {
            format!(
                "{} of the manifest hold parts of what loaders fuse and became {after}: their scores are added",
                counted(before, "group")
            )
        }));
        let located = match &model {
            Some(model) => {
                let located = Located::in_model(&manifest, model, options.dialect.format())?;
                require_same_weights(&manifest, &located, model)?;
                notes.extend(left_out(&located, model));
                located
            }
            None => Located::in_manifest(&manifest),
        };
        Ok(Basis { manifest, located, model, input_scales, notes })
    }

    /// Whether `module`, in any spelling, has an input scale.
    pub fn has_input_scale(&self, module: &str) -> bool {
        self.input_scales.as_ref().is_some_and(|scales| scales.get(module).is_some())
    }

    /// Fails when a file that all this was read from is another one now. The weight files of which nothing but their content can
    /// tell are returned.
    ///
    /// # Errors
    /// Those of [`Watched::recheck`].
    pub fn require_unchanged(&self) -> Result<Vec<&Watched>> {
        let scales = self.input_scales.iter().flat_map(InputScales::watched);
        self.manifest.watched().iter().chain(scales).try_for_each(|file| file.recheck().map(drop))?;
        self.model.as_ref().map_or(Ok(vec![]), |model| model.require_unchanged())
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

/// `manifest` with those groups joined that hold parts of one module of loaders, and how many became how many.
pub(super) fn joined(manifest: &Manifest, model: Option<&Model>) -> (Manifest, Option<(usize, usize)>) {
    // Loaders fuse linear layers and nothing else.
    let is_fused = |member: &str| {
        model.is_none_or(|model| {
            let module = model.modules().on_disk(member);
            module.is_some_and(|module| {
                matches!(model.modules().class(module), None | Some(ModuleClass::Linear))
            })
        })
    };
    manifest.joined(|member| Some(member).filter(|member| is_fused(member)).into_iter().flat_map(wholes))
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

/// The modules of loaders that the module of this name is a part of, whatever its spelling.
fn wholes(module: &str) -> impl Iterator<Item = (String, &'static str)> {
    let parts = fused_group(module).into_iter().chain(expert_group(module));
    parts.map(|(parent, whole)| (canonical(parent), whole))
}
