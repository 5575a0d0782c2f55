//! A family: the schemes of one sweep, over a base checkpoint or over a manifest alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::basis::Basis;
use super::decision::largest_layout;
use super::options::FamilyOptions;
use super::planned::Planned;
use super::report::write_report;
use super::run::{Foreseen, Outcome, Run};
use super::scheme::{Scheme, require_name, require_selected};
use super::sweeps::gather;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Ranking, Selection};
use crate::model::Model;
use crate::plan::{CostModel, Plan};
use crate::report::directory::DirectoryReport;
use crate::write::Progress;

/// The schemes of one sweep, gathered before anything is written.
pub struct Family {
    options: FamilyOptions,
    basis: Basis,
    schemes: Vec<Scheme>,
    /// Worked out when it is first asked for, and anew after a scheme was added.
    planned: OnceLock<Arc<Planned>>,
}

impl Family {
    /// Opens the base checkpoint where there is one, the manifest, and the source of input scales.
    ///
    /// # Errors
    /// Those of [`Model::open`], [`Manifest::open`] and [`InputScales`](crate::plan::InputScales); [`Error::Refused`] when
    /// the checkpoint is quantised already; [`Error::NotFound`] when the manifest names modules that it does not hold;
    /// [`Error::Argument`] for both a baseline and an amax file.
    pub fn open(options: FamilyOptions) -> Result<Self> {
        Self::with(options, None)
    }

    /// The same with a manifest that is open already; `options.manifest` only says where it came from.
    ///
    /// # Errors
    /// As for [`Family::open`].
    pub fn with_manifest(options: FamilyOptions, manifest: Arc<Manifest>) -> Result<Self> {
        Self::with(options, Some(manifest))
    }

    fn with(options: FamilyOptions, manifest: Option<Arc<Manifest>>) -> Result<Self> {
        let basis = Basis::open(&options, manifest)?;
        Ok(Family { options, basis, schemes: Vec::new(), planned: OnceLock::new() })
    }

    /// The manifest that the family was opened with.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.basis.manifest
    }

    /// The base checkpoint; nothing when the family is planned from the manifest alone.
    pub fn model(&self) -> Option<&Arc<Model>> {
        self.basis.model.as_ref()
    }

    /// What it was opened with.
    pub fn options(&self) -> &FamilyOptions {
        &self.options
    }

    /// Where the scheme directories go.
    pub fn out(&self) -> &Path {
        &self.options.out
    }

    /// Adds a scheme called `name` that quantises the groups of `selection`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the name is used already or is no plain directory name, or nothing is selected; those of
    /// [`Plan::resolve`].
    pub fn add(&mut self, name: &str, selection: Selection) -> Result<()> {
        require_name(name, self.schemes.iter().map(|s| s.name.as_str()))?;
        require_selected(name, &selection)?;
        let format = self.options.dialect.format();
        let plan = Plan::resolve(&self.basis.located, selection.selected(), format)?;
        self.schemes.push(Scheme { name: name.into(), selection, plan });
        self.planned = OnceLock::new();
        Ok(())
    }

    /// What every group of the manifest costs, for decisions before any scheme is added. Where `auto` would choose the
    /// activations, they are static when all of `ranking` have input scales: no selection of it takes more bytes than this
    /// says.
    ///
    /// # Errors
    /// [`Error::Refused`] for a combination that loaders misread.
    pub fn costs(&self, ranking: &Ranking) -> Result<CostModel> {
        let Basis { manifest, located, .. } = &self.basis;
        Ok(match &self.basis.model {
            Some(model) => {
                let layout = largest_layout(&self.options, &self.basis, ranking)?;
                CostModel::of_model(manifest, located, model, &layout)?
            }
            None => CostModel::of_manifest(manifest, located),
        })
    }

    /// What the family will be.
    ///
    /// # Errors
    /// [`Error::Refused`] when `static` was asked for and layers lack an input scale, or the layout is one that loaders
    /// misread; [`Error::Argument`] when a file would need too long a header.
    pub fn planned(&self) -> Result<Arc<Planned>> {
        if let Some(planned) = self.planned.get() {
            return Ok(Arc::clone(planned));
        }
        let planned = Arc::new(Planned::of(&self.options, &self.basis, &self.schemes)?);
        Ok(Arc::clone(self.planned.get_or_init(|| planned)))
    }

    /// The name of the format of every module in the scheme `name`, in file order: that of a quantised format, or the dtype
    /// that it keeps; from a manifest alone `BF16`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such scheme.
    pub fn formats(&self, name: &str) -> Result<Vec<(String, String)>> {
        let scheme = self.schemes.iter().find(|scheme| scheme.name == name);
        let scheme = scheme.ok_or_else(|| Error::not_found(format!("the family has no scheme `{name}`")))?;
        Ok(match &self.basis.model {
            Some(model) => {
                scheme.plan.named_formats(model).map(|(module, format)| (module.into(), format)).collect()
            }
            None => {
                let format = |module: &String| scheme.plan.format(module).map(|format| format.to_string());
                let modules = self.basis.located.linears().iter();
                modules.map(|m| (m.clone(), format(m).unwrap_or_else(|| "BF16".into()))).collect()
            }
        })
    }

    /// Looks for whatever would stop [`Family::run`] before it writes a byte, and in the values of weights where they are read in
    /// no time.
    ///
    /// # Errors
    /// As for [`Family::run`], as far as they can be foreseen.
    pub fn check(&self) -> Result<Foreseen> {
        Run::prepare(&self.options, &self.basis, &*self.planned()?)?.foresee()
    }

    /// Writes every scheme that is not up to date, each checked before it takes its name. Every tensor is read, quantised
    /// and written once, whatever the number of schemes; shards of finished schemes below the same directory are reused.
    ///
    /// # Errors
    /// Nothing is written when there is no scheme or no base checkpoint, a target of other inputs exists and `overwrite` is
    /// not set, a report of somebody else lies in the way, an output would touch the sources, the disk has too little room,
    /// or the device cannot be used ([`Error::Device`], which a device that fails later gives too). Later:
    /// [`Error::Tensor`], [`Error::Io`], [`Error::Verification`], with nothing left behind, and [`Error::Interrupted`],
    /// after which what was written of the shards stays in `.qlua.partial` for the next run.
    pub fn run(&self, progress: &dyn Progress) -> Result<Outcome> {
        let planned = self.planned()?;
        Run::prepare(&self.options, &self.basis, &planned)?.write(progress)
    }

    /// What the report of the family shows, as plain data: every scheme that is on record where it goes, whatever run wrote it,
    /// and those of the family that are not there yet, as they are planned.
    ///
    /// # Errors
    /// Those of [`Family::planned`], [`Error::Io`], [`Error::Interrupted`].
    pub fn report(&self) -> Result<DirectoryReport> {
        gather(&self.options, &self.basis, &*self.planned()?)
    }

    /// Writes `report` beside the schemes and returns the paths of the page and of the Markdown. A report of qlua that lies
    /// there is replaced.
    ///
    /// # Errors
    /// [`Error::Exists`] when a file of that name was not written by qlua, [`Error::Io`].
    pub fn write_report(&self, report: &DirectoryReport) -> Result<[PathBuf; 2]> {
        write_report(self.out(), report)
    }
}
