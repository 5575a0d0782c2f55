//! A family: the schemes of one sweep over one base checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::progress::Progress;
use super::provenance::{HashedFile, Model, Request};
use super::scheme::{SchemeWriter, Written};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::fp8::Rounding;
use crate::manifest::{Amax, Manifest, Selection};
use crate::plan::{
    Activations, ActivationsChoice, Dialect, DialectChoice, InputScales, Layout, Plan, ScaleSharing,
    planned_tensors,
};

/// How many names an error or a note lists before it only counts.
const LISTED: usize = 5;

/// What a sweep is made from and how.
#[derive(Debug, Clone)]
pub struct FamilyOptions {
    /// The base checkpoint.
    pub model: PathBuf,
    /// The sensitivity manifest.
    pub manifest: PathBuf,
    /// Where the scheme directories go.
    pub out: PathBuf,
    /// An FP8 baseline whose `input_scale` tensors are used.
    pub baseline: Option<PathBuf>,
    /// An amax file that input scales are made from; without either, the manifest's own `amax` is.
    pub amax: Option<PathBuf>,
    /// An AutoQuant state that is copied into every directory as it is.
    pub state: Option<PathBuf>,
    /// The dialect, or the choice of one.
    pub dialect: DialectChoice,
    /// The kind of activations, or the choice of one.
    pub activations: ActivationsChoice,
    /// How quotients are rounded to codes.
    pub rounding: Rounding,
    /// Whether fused modules share their scales.
    pub scale_sharing: ScaleSharing,
    /// Whether existing directories are replaced.
    pub overwrite: bool,
    /// Tensor bytes that a shard holds at most.
    pub max_shard_size: u64,
    /// Threads that read, convert and write.
    pub threads: usize,
    /// Recorded in `provenance.json`.
    pub request: Request,
}

/// The schemes of one sweep, gathered before anything is written.
pub struct Family {
    options: FamilyOptions,
    checkpoint: Arc<Checkpoint>,
    manifest: Arc<Manifest>,
    input_scales: Option<InputScales>,
    schemes: Vec<Scheme>,
}

/// One scheme of a family: a name and what was selected for it.
struct Scheme {
    name: String,
    selection: Selection,
    plan: Plan,
}

/// The layout of a family and why it is so.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The layout of every scheme.
    pub layout: Layout,
    /// One sentence for each choice that `auto` made.
    pub notes: Vec<String>,
}

/// One scheme as planned: numbers only, nothing is written.
#[derive(Debug, Clone)]
pub struct PlannedScheme {
    /// The name, which is its directory's.
    pub name: String,
    /// The directory that it is or will be written to.
    pub directory: PathBuf,
    /// The coverage point in percent.
    pub percent: f64,
    /// Selected groups.
    pub groups: usize,
    /// Ranked groups.
    pub groups_total: usize,
    /// Linear layers in FP8.
    pub fp8_layers: usize,
    /// Weights in FP8.
    pub fp8_parameters: u64,
    /// Selected groups that stay in BF16.
    pub kept: usize,
    /// Sum of all tensor bytes: `total_size` of the index.
    pub bytes: u64,
}

impl Family {
    /// Opens the base checkpoint, the manifest and the source of input scales.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`], [`Manifest::open`] and [`InputScales`]; [`Error::Refused`] when the checkpoint is
    /// quantised already; [`Error::NotFound`] when the manifest names modules that it does not hold; [`Error::Argument`]
    /// for both a baseline and an amax file.
    pub fn open(options: FamilyOptions) -> Result<Self> {
        let checkpoint = Checkpoint::open(&options.model)?;
        checkpoint.require_unquantised()?;
        let manifest = Manifest::open(&options.manifest)?;
        let candidates = manifest.groups().iter().filter(|g| g.is_candidate());
        Plan::require_members(&checkpoint, candidates.flat_map(|g| g.members.iter().map(String::as_str)))?;
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
        Ok(Family {
            options,
            checkpoint: Arc::new(checkpoint),
            manifest: Arc::new(manifest),
            input_scales,
            schemes: Vec::new(),
        })
    }

    /// The manifest that the family was opened with.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The base checkpoint that the family was opened with.
    pub fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.checkpoint
    }

    /// The name, selection and plan of each scheme, in the order in which they were added.
    pub fn schemes(&self) -> impl ExactSizeIterator<Item = (&str, &Selection, &Plan)> {
        self.schemes.iter().map(|s| (s.name.as_str(), &s.selection, &s.plan))
    }

    /// Where the scheme directories go.
    pub fn out(&self) -> &Path {
        &self.options.out
    }

    /// Adds a scheme called `name` that stores the groups of `selection` in FP8.
    ///
    /// # Errors
    /// [`Error::Argument`] when the name is used already or is no plain directory name; those of [`Plan::resolve`].
    pub fn add(&mut self, name: &str, selection: Selection) -> Result<()> {
        let plain = Path::new(name).file_name().is_some_and(|n| n == name) && !name.starts_with('.');
        if !plain {
            return Err(Error::argument(format!("`{name}` is no plain directory name")));
        }
        if self.schemes.iter().any(|s| s.name == name) {
            return Err(Error::argument(format!("the family has a scheme `{name}` already")));
        }
        let plan = Plan::resolve(&self.checkpoint, selection.selected())?;
        self.schemes.push(Scheme { name: name.into(), selection, plan });
        Ok(())
    }

    /// Chooses dialect and activations for the whole family: one layout, so that its schemes can be compared.
    ///
    /// # Errors
    /// [`Error::Refused`] when `static` was asked for and layers lack an input scale (lists them), or the combination is
    /// one that loaders misread.
    pub fn decide(&self) -> Result<Decision> {
        let mut notes = Vec::new();
        let missing = self.layers_without_input_scale();
        let activations = match self.options.activations {
            ActivationsChoice::Dynamic => Activations::Dynamic,
            ActivationsChoice::Static if missing.is_empty() => Activations::Static,
            ActivationsChoice::Static => {
                return Err(Error::refused(format!(
                    "static activations need an input scale for every selected layer, and {} have none: {}",
                    missing.len(),
                    listed(&missing)
                ))
                .with_hint("give --baseline or --amax that covers them, or choose --activations dynamic"));
            }
            ActivationsChoice::Auto => {
                let (activations, why) = match &self.input_scales {
                    None => (Activations::Dynamic, "no input scales were given".to_string()),
                    Some(scales) if missing.is_empty() => (
                        Activations::Static,
                        format!("every selected layer has an input scale in `{}`", scales.origin().display()),
                    ),
                    Some(_) => (
                        Activations::Dynamic,
                        format!(
                            "{} selected layers have no input scale: {}",
                            missing.len(),
                            listed(&missing)
                        ),
                    ),
                };
                notes.push(format!("activations are {activations}: {why}"));
                activations
            }
        };
        let dialect = match self.options.dialect {
            DialectChoice::Universal => Dialect::Universal,
            DialectChoice::CompressedTensors => Dialect::CompressedTensors,
            DialectChoice::ModelOpt => Dialect::ModelOpt,
            DialectChoice::Auto => {
                let (dialect, why) = match activations {
                    Activations::Static => {
                        (Dialect::Universal, "static activations, which every loader reads")
                    }
                    Activations::Dynamic => {
                        (Dialect::CompressedTensors, "dynamic activations need no calibration")
                    }
                };
                notes.push(format!("the dialect is {dialect}: {why}"));
                dialect
            }
        };
        let layout = Layout::new(dialect, activations, self.options.rounding, self.options.scale_sharing)?;
        Ok(Decision { layout, notes })
    }

    /// What each scheme will be, in the order in which they were added.
    ///
    /// # Errors
    /// Those of [`Family::decide`].
    pub fn plan(&self) -> Result<Vec<PlannedScheme>> {
        let layout = self.decide()?.layout;
        Ok(self.schemes.iter().map(|scheme| self.planned(scheme, &layout)).collect())
    }

    /// Writes every scheme, each checked before it takes its name. Schemes that were complete before a failure stay.
    ///
    /// # Errors
    /// Nothing is written when there is no scheme, a target exists and `overwrite` is not set, an output would touch the
    /// sources, or the disk has too little room. Later: [`Error::Tensor`], [`Error::Io`], [`Error::Verification`],
    /// [`Error::Interrupted`].
    pub fn run(&self, progress: &dyn Progress) -> Result<Vec<Written>> {
        if self.schemes.is_empty() {
            return Err(Error::argument("the family has no scheme to write"));
        }
        let decision = self.decide()?;
        let planned: Vec<PlannedScheme> =
            self.schemes.iter().map(|scheme| self.planned(scheme, &decision.layout)).collect();
        self.check_targets(&planned)?;
        let writer = SchemeWriter {
            checkpoint: &self.checkpoint,
            manifest: &self.manifest,
            input_scales: self.input_scales.as_ref(),
            layout: decision.layout,
            options: &self.options,
            model: Model::of(&self.checkpoint)?,
            manifest_hash: HashedFile::of(self.manifest.path().display().to_string(), self.manifest.bytes()),
        };
        let write = |(scheme, planned): (&Scheme, &PlannedScheme)| {
            progress.begin(&scheme.name, planned.bytes);
            let written =
                writer.write(&planned.directory, &scheme.name, &scheme.selection, &scheme.plan, progress);
            progress.end();
            written
        };
        self.schemes.iter().zip(&planned).map(write).collect()
    }

    fn planned(&self, scheme: &Scheme, layout: &Layout) -> PlannedScheme {
        let tensors = planned_tensors(&self.checkpoint, &scheme.plan, layout);
        let fp8 = scheme.plan.fp8.iter().filter_map(|m| self.checkpoint.tensor(&format!("{m}.weight")));
        PlannedScheme {
            name: scheme.name.clone(),
            directory: self.options.out.join(&scheme.name),
            percent: scheme.selection.percent.as_f64(),
            groups: scheme.selection.selected().len(),
            groups_total: scheme.selection.total,
            fp8_layers: scheme.plan.fp8.len(),
            fp8_parameters: fp8.map(|t| t.elements() as u64).sum(),
            kept: scheme.plan.kept.len(),
            bytes: tensors.iter().map(|t| t.spec.bytes()).sum(),
        }
    }

    fn layers_without_input_scale(&self) -> Vec<&str> {
        let selected: std::collections::BTreeSet<&str> =
            self.schemes.iter().flat_map(|s| s.plan.fp8.iter().map(String::as_str)).collect();
        let has = |module: &str| self.input_scales.as_ref().is_some_and(|s| s.get(module).is_some());
        selected.into_iter().filter(|module| !has(module)).collect()
    }

    /// Everything about the targets that can be known before a byte is written.
    fn check_targets(&self, planned: &[PlannedScheme]) -> Result<()> {
        for scheme in planned {
            if !self.options.overwrite && scheme.directory.symlink_metadata().is_ok() {
                return Err(Error::exists(&scheme.directory, "exists already")
                    .with_hint("pass --overwrite to replace it, or choose another --out"));
            }
            let sources = [Some(&self.options.model), self.options.baseline.as_ref()];
            for source in sources.into_iter().flatten() {
                super::target::require_apart(&scheme.directory, source)?;
            }
        }
        super::target::require_space(&self.options.out, planned.iter().map(|s| s.bytes).sum())
    }
}

fn listed(names: &[&str]) -> String {
    let first = names.iter().take(LISTED).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{first}, …") } else { first }
}
