//! The report of a family, beside its schemes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::family::Family;
use crate::error::{Error, Result};
use crate::manifest::{Group, Manifest, RankingOptions, Selection};
use crate::plan::{CostModel, Frontier, frontier};
use crate::report::sweep::{LayerError, Sharing, SweepReport};
use crate::write::WeightErrors;
use crate::write::provenance::read_weight_errors;

/// The page's file name.
pub const REPORT_HTML: &str = "report.html";
/// The Markdown's file name.
pub const REPORT_MARKDOWN: &str = "report.md";

/// What both files hold when qlua wrote them: only such files are replaced.
const OURS: [(&str, &str); 2] =
    [(REPORT_HTML, "<meta name=\"generator\" content=\"qlua "), (REPORT_MARKDOWN, "# Sweep report: ")];

impl Family {
    /// What the report of the family shows, as plain data. Weight errors are those of the schemes that are written.
    ///
    /// # Errors
    /// Those of [`Family::decide`].
    pub fn report(&self) -> Result<SweepReport> {
        let (model, manifest) = (self.model(), self.manifest());
        let layout = self.decide()?.layout;
        let costs = CostModel::of_checkpoint(manifest, model, &layout)?;
        let mut report = SweepReport::new(self.title(), manifest, &costs);
        report.base_bytes = Some(model.bytes());
        let words = [
            ("Dialect", layout.dialect.to_string()),
            ("Activations", layout.activations.to_string()),
            ("Rounding", layout.rounding.to_string()),
        ];
        report.facts.extend(words.map(|(label, value)| (label.to_string(), value)));
        for (planned, scheme) in self.plan()?.into_iter().zip(self.schemes()) {
            report.add(&scheme.name, &scheme.selection, planned.figures);
        }
        report.sharing =
            Some(Sharing { unique_bytes: self.unique_bytes()?, copied_bytes: self.copied_bytes()? });
        let errors: WeightErrors =
            self.schemes().iter().flat_map(|s| read_weight_errors(&self.out().join(&s.name))).collect();
        if !errors.is_empty() {
            report.layer_errors = Some(errors.iter().map(|(m, e)| LayerError::new(m.as_str(), e)).collect());
        }
        let selections: Vec<&Selection> = self.schemes().iter().map(|s| &s.selection).collect();
        match least_scores(manifest, &costs, &selections) {
            Ok(frontier) => report.frontier = frontier,
            // Such as for scores that are all infinite: the rest of the report is worth having.
            Err(error) => report.facts.push(("Pareto frontier".into(), format!("none: {error}"))),
        }
        Ok(report)
    }

    /// Fails when a file that is no report of qlua lies where the report will go.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Io`].
    pub fn require_place_for_report(&self) -> Result<()> {
        OURS.into_iter().try_for_each(|(name, mark)| require_ours(&self.out().join(name), mark))
    }

    /// Writes `report` as [`REPORT_HTML`] and [`REPORT_MARKDOWN`] beside the schemes and returns both paths. A report that
    /// lies there is replaced.
    ///
    /// # Errors
    /// [`Error::Exists`] when a file of that name was not written by qlua, [`Error::Io`].
    pub fn write_report(&self, report: &SweepReport) -> Result<[PathBuf; 2]> {
        self.require_place_for_report()?;
        let files = [(REPORT_HTML, report.to_html()), (REPORT_MARKDOWN, report.to_markdown())];
        fs::create_dir_all(self.out()).map_err(|e| Error::io("create", self.out(), e))?;
        for (name, text) in &files {
            replace(&self.out().join(name), text)?;
        }
        Ok(files.map(|(name, _)| self.out().join(name)))
    }

    /// The last part of the model's name: paths differ from machine to machine.
    fn title(&self) -> String {
        let directory = self.model().directory().display().to_string();
        let name = self.manifest().model_id().unwrap_or(&directory).trim_end_matches(['/', '\\']);
        name.rsplit(['/', '\\']).next().unwrap_or(name).to_string()
    }
}

/// The least summed scores that the groups of `manifest` can have, at the size of each of `selections` and between. A group
/// that was never scored may be chosen where some selection has it.
fn least_scores(manifest: &Manifest, costs: &CostModel, selections: &[&Selection]) -> Result<Frontier> {
    let selected: HashSet<&str> =
        selections.iter().flat_map(|s| s.selected()).map(|g| g.name.as_str()).collect();
    let may_choose = |group: &Group| Ok(group.is_scored() || selected.contains(group.name.as_str()));
    let options =
        RankingOptions { include_unscored: true, predicate: Some(&may_choose), ..RankingOptions::default() };
    frontier(costs, &manifest.ranking(&options)?, selections)
}

/// Refuses to replace a file without `mark` in it.
fn require_ours(path: &Path, mark: &str) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let text = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    if text.windows(mark.len()).any(|window| window == mark.as_bytes()) {
        return Ok(());
    }
    Err(Error::exists(path, "is not a report that qlua wrote, so it is not replaced")
        .with_hint("move it away, or choose another --out"))
}

/// Writes `text` beside `path` first, so that a reader never sees half of it.
fn replace(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let partial = path.with_file_name(format!(".{name}.partial"));
    fs::write(&partial, text).map_err(|e| Error::io("write", &partial, e))?;
    fs::rename(&partial, path).map_err(|e| Error::io("rename", &partial, e))
}
