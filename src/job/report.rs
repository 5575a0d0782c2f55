//! The report of a family, beside its schemes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::basis::Basis;
use super::options::FamilyOptions;
use super::planned::Planned;
use crate::error::{Error, Result};
use crate::manifest::{Group, RankingOptions, Selection};
use crate::plan::{self, Measure, Plan, frontier};
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

/// What the report shows, as plain data. Weight errors are those of the schemes that are written.
///
/// # Errors
/// [`Error::Argument`] when nothing of the manifest can be ranked.
pub(super) fn gather(options: &FamilyOptions, basis: &Basis, planned: &Planned) -> Result<Sweep> {
    let manifest = &basis.manifest;
    let kept = |group: &Group| planned.costs.group(&group.name).and_then(|cost| cost.kept).map(String::from);
    let mut sweep = Sweep::new(title(basis), manifest, kept);
    sweep.base_bytes = basis.model.as_ref().map(|model| model.bytes());
    if let (Some(dialect), Some(layout)) = (planned.dialect, &planned.layout) {
        let words = [
            ("Dialect", dialect.to_string()),
            ("Activations", layout.activations.to_string()),
            ("Rounding", layout.encoding.rounding.to_string()),
        ];
        sweep.facts.extend(words.map(|(label, value)| (label.to_string(), value)));
    }
    for scheme in &planned.schemes {
        let stored = stored(manifest.groups(), &scheme.selection, &scheme.plan);
        let (percent, figures) = (scheme.selection.percent.as_f64(), &scheme.figures);
        sweep.add(&scheme.name, Some(percent), stored, figures.quantised_layers, figures.bytes);
    }
    sweep.unique_bytes = planned.unique_bytes();
    let errors: WeightErrors =
        planned.schemes.iter().flat_map(|s| read_weight_errors(&options.out.join(&s.name))).collect();
    if !errors.is_empty() {
        sweep.layer_errors = Some(errors.iter().map(|(m, e)| LayerError::new(m.as_str(), e)).collect());
    }
    let ranking = manifest.ranking(&RankingOptions::default())?;
    let points = frontier(&planned.costs, &ranking, Measure::EffectiveBits)?;
    let point = |p: &plan::FrontierPoint| FrontierPoint { effective_bits: p.effective_bits, score: p.score };
    sweep.frontier =
        Frontier { name: "Pareto frontier".into(), points: points.iter().rev().map(point).collect() };
    Ok(sweep)
}

/// Writes `report` as [`REPORT_HTML`] and [`REPORT_MARKDOWN`] into `out` and returns both paths.
///
/// # Errors
/// [`Error::Exists`] when a file of that name was not written by qlua, [`Error::Io`].
pub(super) fn write_files(out: &Path, report: &Sweep) -> Result<[PathBuf; 2]> {
    require_ours(out)?;
    let files = [(REPORT_HTML, report.to_html()), (REPORT_MARKDOWN, report.to_markdown())];
    fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
    for (name, text) in &files {
        replace(&out.join(name), text)?;
    }
    Ok(files.map(|(name, _)| out.join(name)))
}

/// The last part of the model's name: paths differ from machine to machine.
fn title(basis: &Basis) -> String {
    let path = basis.model.as_ref().map_or(basis.manifest.path(), |model| model.directory());
    let path = path.display().to_string();
    let name = basis.manifest.model_id().unwrap_or(&path).trim_end_matches(['/', '\\']);
    name.rsplit(['/', '\\']).next().unwrap_or(name).to_string()
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

/// Refuses to replace reports in `out` that qlua did not write.
///
/// # Errors
/// [`Error::Exists`], [`Error::Io`].
pub(super) fn require_ours(out: &Path) -> Result<()> {
    for (name, mark) in OURS {
        let path = out.join(name);
        if path.symlink_metadata().is_err() {
            continue;
        }
        let text = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        if !text.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            return Err(Error::exists(&path, "is not a report that qlua wrote, so it is not replaced")
                .with_hint("move it away, or choose another --out"));
        }
    }
    Ok(())
}

/// Writes `text` beside `path` first, so that a reader never sees half of it.
fn replace(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let partial = path.with_file_name(format!(".{name}.partial"));
    fs::write(&partial, text).map_err(|e| Error::io("write", &partial, e))?;
    fs::rename(&partial, path).map_err(|e| Error::io("rename", &partial, e))
}
