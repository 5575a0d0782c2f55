//! A family: the schemes of one sweep over one base checkpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dialect::require_expressible;
use super::engines::require_readable;
use super::provenance::Request;
use super::store::link::LinkChoice;
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::fp8::{DeviceChoice, Rounding};
use crate::manifest::{Amax, Manifest, Ranking, Selection};
use crate::plan::{
    Activations, ActivationsChoice, CostModel, Dialect, DialectChoice, Engine, Figures, InputScales, Layout,
    Plan, ScaleSharing, planned_tensors, require_scheme_name, require_selected,
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
    /// Engines that have to read every scheme: what one of them gets wrong is refused before anything is written.
    pub for_engines: Vec<Engine>,
    /// How quotients are rounded to codes.
    pub rounding: Rounding,
    /// Whether fused modules share their scales.
    pub scale_sharing: ScaleSharing,
    /// Whether existing directories are replaced, up to date or not.
    pub overwrite: bool,
    /// How shards are shared between directories.
    pub link: LinkChoice,
    /// Tensor bytes that a shard holds at most.
    pub max_shard_size: u64,
    /// Threads that read, convert and write.
    pub threads: usize,
    /// Where weights are quantised; opened before anything is written, and named to the listener of progress unless it is
    /// the CPU by choice. Scale groups of more than 1 GiB are quantised on the CPU, in small parts. Codes and scales, and so
    /// the weight files, are the same bits on every device; sums in `weight-error.json` are equal to 1e-6.
    pub device: DeviceChoice,
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
pub(super) struct Scheme {
    pub name: String,
    pub selection: Selection,
    pub plan: Plan,
}

/// The layout of a family and why it is so.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The layout of every scheme.
    pub layout: Layout,
    /// One sentence for each choice that `auto` made, and for each engine that cannot read some FP8 layer.
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
    /// What the selection amounts to otherwise: effective bits, bits on disk, summed score.
    pub figures: Figures,
}

impl Family {
    /// Opens the base checkpoint, the manifest and the source of input scales.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`], [`Manifest::open`] and [`InputScales`]; [`Error::Refused`] when the checkpoint is
    /// quantised already; [`Error::NotFound`] when the manifest names modules that it does not hold; [`Error::Argument`]
    /// for both a baseline and an amax file.
    pub fn open(options: FamilyOptions) -> Result<Self> {
        let checkpoint = base_checkpoint(&options)?;
        let manifest = Arc::new(Manifest::open(&options.manifest)?);
        Self::with(options, checkpoint, manifest)
    }

    /// The same with a manifest that is open already; `options.manifest` only says where it came from.
    ///
    /// # Errors
    /// As for [`Family::open`].
    pub fn with_manifest(options: FamilyOptions, manifest: Arc<Manifest>) -> Result<Self> {
        let checkpoint = base_checkpoint(&options)?;
        Self::with(options, checkpoint, manifest)
    }

    fn with(options: FamilyOptions, checkpoint: Checkpoint, manifest: Arc<Manifest>) -> Result<Self> {
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
        Ok(Family { options, checkpoint: Arc::new(checkpoint), manifest, input_scales, schemes: Vec::new() })
    }

    /// The manifest that the family was opened with.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// The base checkpoint that the family was opened with.
    pub fn checkpoint(&self) -> &Arc<Checkpoint> {
        &self.checkpoint
    }

    pub(super) fn options(&self) -> &FamilyOptions {
        &self.options
    }

    pub(super) fn input_scales(&self) -> Option<&InputScales> {
        self.input_scales.as_ref()
    }

    pub(super) fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    /// Where the scheme directories go.
    pub fn out(&self) -> &Path {
        &self.options.out
    }

    /// Adds a scheme called `name` that stores the groups of `selection` in FP8.
    ///
    /// # Errors
    /// [`Error::Argument`] when the name is used already or is no plain directory name, or nothing is selected; those of
    /// [`Plan::resolve`].
    pub fn add(&mut self, name: &str, selection: Selection) -> Result<()> {
        require_scheme_name(name, self.schemes.iter().map(|s| s.name.as_str()))?;
        require_selected(name, &selection)?;
        let plan = Plan::resolve(&self.checkpoint, selection.selected())?;
        self.schemes.push(Scheme { name: name.into(), selection, plan });
        Ok(())
    }

    /// Chooses dialect and activations for the whole family: one layout, so that its schemes can be compared.
    ///
    /// # Errors
    /// [`Error::Refused`] when `static` was asked for and layers lack an input scale (lists them), the combination is
    /// one that loaders misread, a BF16 and an FP8 layer have names that they cannot keep apart, or one of
    /// [`FamilyOptions::for_engines`] cannot read what a scheme has.
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
        let layout = self.layout(activations)?;
        self.schemes.iter().try_for_each(|s| require_expressible(&self.checkpoint, &s.plan, &layout))?;
        if self.options.dialect == DialectChoice::Auto {
            let why = match activations {
                Activations::Static => "static activations, which every loader reads",
                Activations::Dynamic => "dynamic activations need no calibration",
            };
            notes.push(format!("the dialect is {}: {why}", layout.dialect));
        }
        let wanted = &self.options.for_engines;
        notes.extend(require_readable(&self.checkpoint, &self.schemes, &layout, wanted)?);
        Ok(Decision { layout, notes })
    }

    /// The layout for these activations, in the dialect that was asked for.
    fn layout(&self, activations: Activations) -> Result<Layout> {
        let dialect = match (self.options.dialect, activations) {
            (DialectChoice::Universal, _) => Dialect::Universal,
            (DialectChoice::CompressedTensors, _) => Dialect::CompressedTensors,
            (DialectChoice::ModelOpt, _) => Dialect::ModelOpt,
            (DialectChoice::Auto, Activations::Static) => Dialect::Universal,
            (DialectChoice::Auto, Activations::Dynamic) => Dialect::CompressedTensors,
        };
        Layout::new(dialect, activations, self.options.rounding, self.options.scale_sharing)
    }

    /// What every group of the manifest costs on disk, for decisions before any scheme is added. Where `auto` would choose
    /// the activations, they are static when all of `ranking` have input scales: no selection of it takes more bytes than this
    /// says.
    ///
    /// # Errors
    /// [`Error::Refused`] for a combination that loaders misread; those of [`CostModel::of_checkpoint`].
    pub fn costs(&self, ranking: &Ranking) -> Result<CostModel> {
        let mut members = ranking.groups().flat_map(|g| &g.members);
        let has = |module: &str| self.input_scales.as_ref().is_some_and(|s| s.get(module).is_some());
        let is_linear = |member: &str| {
            let modules = self.checkpoint.modules();
            modules.on_disk(member).is_some_and(|m| m != "lm_head" && modules.is_linear(m))
        };
        let activations = match self.options.activations {
            ActivationsChoice::Static => Activations::Static,
            ActivationsChoice::Dynamic => Activations::Dynamic,
            ActivationsChoice::Auto if members.all(|m| has(m) || !is_linear(m)) => Activations::Static,
            ActivationsChoice::Auto => Activations::Dynamic,
        };
        CostModel::of_checkpoint(&self.manifest, &self.checkpoint, &self.layout(activations)?)
    }

    /// Every module that owns a weight, by its on-disk name in file order, with its format in the scheme `name`: `FP8`, or the
    /// dtype that it keeps.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such scheme.
    pub fn formats(&self, name: &str) -> Result<Vec<(String, String)>> {
        let scheme = self.schemes.iter().find(|s| s.name == name);
        let scheme = scheme.ok_or_else(|| Error::not_found(format!("the family has no scheme `{name}`")))?;
        let formats = scheme.plan.formats(&self.checkpoint);
        Ok(formats.map(|(module, format)| (module.to_string(), format)).collect())
    }

    /// What each scheme will be, in the order in which they were added.
    ///
    /// # Errors
    /// Those of [`Family::decide`].
    pub fn plan(&self) -> Result<Vec<PlannedScheme>> {
        self.planned_with(&self.decide()?.layout)
    }

    fn planned_with(&self, layout: &Layout) -> Result<Vec<PlannedScheme>> {
        let costs = CostModel::of_checkpoint(&self.manifest, &self.checkpoint, layout)?;
        Ok(self.schemes.iter().map(|scheme| self.planned(scheme, layout, &costs)).collect())
    }

    fn planned(&self, scheme: &Scheme, layout: &Layout, costs: &CostModel) -> PlannedScheme {
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
            figures: costs.figures(scheme.selection.selected()),
        }
    }

    fn layers_without_input_scale(&self) -> Vec<&str> {
        let selected: std::collections::BTreeSet<&str> =
            self.schemes.iter().flat_map(|s| s.plan.fp8.iter().map(String::as_str)).collect();
        let has = |module: &str| self.input_scales.as_ref().is_some_and(|s| s.get(module).is_some());
        selected.into_iter().filter(|module| !has(module)).collect()
    }
}

fn base_checkpoint(options: &FamilyOptions) -> Result<Checkpoint> {
    let checkpoint = Checkpoint::open(&options.model)?;
    checkpoint.require_unquantised()?;
    Ok(checkpoint)
}

fn listed(names: &[&str]) -> String {
    let first = names.iter().take(LISTED).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{first}, …") } else { first }
}
