//! The report of a family, beside its schemes.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::basis::Basis;
use super::beside::{REPORT_HTML, REPORT_MARKDOWN};
use super::options::FamilyOptions;
use super::planned::Planned;
use super::quality::read_quality;
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::manifest::{Group, RankingOptions, Selection};
use crate::plan::{Frontier, frontier};
use crate::report::sweep::{LayerError, Sharing, SweepReport};
use crate::write::WeightErrors;
use crate::write::weight_errors::read_weight_errors;

/// What both files hold when qlua wrote them: only such files are replaced.
const OURS: [(&str, &str); 2] =
    [(REPORT_HTML, "<meta name=\"generator\" content=\"qlua "), (REPORT_MARKDOWN, "# Sweep report: ")];

/// What the report shows, as plain data. Weight errors are those of the schemes that are written. A frontier that cannot be
/// solved for, such as for scores that are all infinite, is a fact among others: the rest of the report is worth having.
pub(super) fn gather(options: &FamilyOptions, basis: &Basis, planned: &Planned) -> SweepReport {
    let mut report = SweepReport::new(title(basis), &basis.manifest, &planned.costs);
    report.base_bytes = basis.model.as_ref().map(|model| model.bytes());
    if let (Some(dialect), Some(layout)) = (planned.dialect, &planned.layout) {
        let words = [
            ("Format written", dialect.dialect().format().to_string()),
            ("Dialect", dialect.to_string()),
            ("Activations", layout.activations.to_string()),
            ("Rounding", layout.encoding.rounding.to_string()),
        ];
        report.facts.extend(words.map(|(label, value)| (label.to_string(), value)));
    }
    for scheme in &planned.schemes {
        report.add(&scheme.name, &scheme.selection, scheme.figures);
    }
    if let (Some(unique_bytes), Some(copied_bytes)) = (planned.unique_bytes(), planned.copied_bytes()) {
        report.sharing = Some(Sharing { unique_bytes, copied_bytes });
    }
    let errors: WeightErrors =
        planned.schemes.iter().flat_map(|s| read_weight_errors(&options.out.join(&s.name))).collect();
    if !errors.is_empty() {
        report.layer_errors = Some(errors.iter().map(|(m, e)| LayerError::new(m.as_str(), e)).collect());
    }
    let quality = read_quality(&options.out, planned);
    report.quality = quality.rows;
    report.facts.extend(quality.note.map(|note| ("Quality".to_string(), note)));
    match least_scores(basis, planned) {
        Ok(frontier) => report.frontier = frontier,
        Err(error) => report.facts.push(("Pareto frontier".into(), format!("none: {error}"))),
    }
    report
}

/// Writes `report` as [`REPORT_HTML`] and [`REPORT_MARKDOWN`] into `out` and returns both paths.
///
/// # Errors
/// [`Error::Exists`] when a file of that name was not written by qlua, [`Error::Io`].
pub(super) fn write_files(out: &Path, report: &SweepReport) -> Result<[PathBuf; 2]> {
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

/// The least summed scores that the groups of the manifest can have, at the size of each scheme and between. A group that was
/// never scored may be chosen where some scheme has it.
fn least_scores(basis: &Basis, planned: &Planned) -> Result<Frontier> {
    let selections: Vec<&Selection> = planned.schemes.iter().map(|scheme| &scheme.selection).collect();
    let selected: HashSet<&str> = selections.iter().flat_map(|s| s.selected_names()).collect();
    let may_choose = |group: &Group| Ok(group.is_scored() || selected.contains(group.name.as_str()));
    let options =
        RankingOptions { include_unscored: true, predicate: Some(&may_choose), ..RankingOptions::default() };
    frontier(&planned.costs, &basis.manifest.ranking(&options)?, &selections)
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
        let text = input::read(&path, InputKind::Record)?;
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
    let failed = |e| Error::io("write", &partial, e);
    // Never through a link, never waiting for a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    let file =
        options.write(true).create(true).truncate(true).custom_flags(flags.bits() as i32).open(&partial);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    fs::rename(&partial, path).map_err(|e| Error::io("rename", &partial, e))
}
