//! The report of a family, beside its schemes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::family::Family;
use crate::error::{Error, Result};
use crate::manifest::{Group, RankingOptions, Selection};
use crate::plan::{self, CostModel, Measure, Plan, frontier};
use crate::report::Sweep;
use crate::report::sweep::{Frontier, FrontierPoint, LayerError, Stored};
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
    pub fn sweep(&self) -> Result<Sweep> {
        let (model, manifest) = (self.model(), self.manifest());
        let kept = |group: &Group| Plan::reason_to_keep(model, group).map(String::from);
        let mut sweep = Sweep::new(self.title(), manifest, kept);
        sweep.base_bytes = Some(model.bytes());
        let layout = self.decide()?.layout;
        let words = [
            ("Dialect", layout.dialect.to_string()),
            ("Activations", layout.activations.to_string()),
            ("Rounding", layout.rounding.to_string()),
        ];
        sweep.facts.extend(words.map(|(label, value)| (label.to_string(), value)));
        for (planned, scheme) in self.plan()?.iter().zip(self.schemes()) {
            let stored = stored(manifest.groups(), &scheme.selection, &scheme.plan);
            sweep.add(&scheme.name, Some(planned.percent), stored, planned.fp8_layers, planned.bytes);
        }
        sweep.unique_bytes = Some(self.unique_bytes()?);
        let errors: WeightErrors =
            self.schemes().iter().flat_map(|s| read_weight_errors(&self.out().join(&s.name))).collect();
        if !errors.is_empty() {
            sweep.layer_errors = Some(errors.iter().map(|(m, e)| LayerError::new(m.as_str(), e)).collect());
        }
        let costs = CostModel::of_checkpoint(manifest, model, &layout)?;
        let ranking = manifest.ranking(&RankingOptions::default())?;
        let points = frontier(&costs, &ranking, Measure::EffectiveBits)?;
        let point =
            |p: &plan::FrontierPoint| FrontierPoint { effective_bits: p.effective_bits, score: p.score };
        sweep.frontier =
            Frontier { name: "Pareto frontier".into(), points: points.iter().rev().map(point).collect() };
        Ok(sweep)
    }

    /// Writes `sweep` as [`REPORT_HTML`] and [`REPORT_MARKDOWN`] beside the schemes and returns both paths. A report that
    /// lies there is replaced.
    ///
    /// # Errors
    /// [`Error::Exists`] when a file of that name was not written by qlua, [`Error::Io`].
    pub fn write_report(&self, sweep: &Sweep) -> Result<[PathBuf; 2]> {
        for (name, mark) in OURS {
            require_ours(&self.out().join(name), mark)?;
        }
        let files = [(REPORT_HTML, sweep.to_html()), (REPORT_MARKDOWN, sweep.to_markdown())];
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

/// How a scheme stores each of `groups`.
fn stored(groups: &[Group], selection: &Selection, plan: &Plan) -> Vec<Stored> {
    let selected: HashSet<&str> = selection.selected().map(|g| g.key.as_str()).collect();
    let kept: HashSet<&str> = plan.kept.iter().map(|k| k.layer.as_str()).collect();
    let of = |group: &Group| match (selected.contains(&*group.key), kept.contains(&*group.key)) {
        (true, true) => Stored::Kept,
        (true, false) => Stored::Fp8,
        (false, _) => Stored::Bf16,
    };
    groups.iter().map(of).collect()
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
