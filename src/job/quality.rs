//! What was measured of the schemes of a family, read back for its report.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;

use super::beside::QUALITY;
use crate::error::Error;
use crate::input::{self, InputKind};
use crate::json::{self, Number};
use crate::report::sweep::{MeasuredQuality, QualityKind};
use crate::seal;
use crate::units;

/// The content of [`QUALITY`].
#[derive(Debug, Deserialize)]
struct QualityFile {
    rows: Vec<QualityRow>,
}

/// What was measured of one scheme on one kind of samples.
#[derive(Debug, Deserialize)]
struct QualityRow {
    scheme: String,
    kind: QualityKind,
    bytes: u64,
    kl: Number,
    kl_error: Number,
    perplexity: Number,
    base_perplexity: Number,
    agreement: Number,
    samples: u64,
    tokens: u64,
    /// The key of what the scheme was made from, where it was on record when the scheme was measured.
    #[serde(default)]
    inputs: Option<String>,
    /// A hash of base and samples; rows of releases that did not write it are taken for rows of the same ones.
    #[serde(default)]
    measured_on: Option<String>,
}

/// What a report shows of [`QUALITY`], and what it says of the rest.
#[derive(Debug, Default)]
pub(super) struct QualityFound {
    pub rows: Vec<MeasuredQuality>,
    pub note: Option<String>,
}

/// A scheme that the report shows.
pub(super) struct ShownScheme<'a> {
    pub name: &'a str,
    /// Bytes of its tensors.
    pub bytes: u64,
    /// The key of what it was made from, where it is on record: equal keys, equal schemes.
    pub inputs: Option<&'a str>,
}

/// What was measured of `schemes`, by the file in `out`. One that cannot be read is no reason to go without a report.
/// Rows of other schemes are nobody's business here; those of another checkpoint that bore the name of one are left out.
pub(super) fn read_quality(out: &Path, schemes: &[ShownScheme]) -> QualityFound {
    let path = out.join(QUALITY);
    let text = match input::read(&path, InputKind::Record) {
        Ok(text) => text,
        Err(error) if input::is_missing(&error) => return QualityFound::default(),
        Err(error) => return QualityFound::unread(&path, &error),
    };
    if seal::is_sealed(&text) == Some(false) {
        return QualityFound::unread(&path, &Error::format(&path, seal::BROKEN));
    }
    match json::parse(&path, &text) {
        Ok(file) => sort_out(schemes, file),
        Err(error) => QualityFound::unread(&path, &error),
    }
}

fn sort_out(schemes: &[ShownScheme], file: QualityFile) -> QualityFound {
    let mut rows = vec![];
    let mut others = 0;
    for row in file.rows {
        let Some(scheme) = schemes.iter().find(|scheme| scheme.name == row.scheme) else { continue };
        let is_other = |inputs: &String| scheme.inputs != Some(inputs);
        if row.bytes != scheme.bytes || row.inputs.as_ref().is_some_and(is_other) {
            others += 1;
            continue;
        }
        rows.push(row);
    }
    let mut notes = vec![];
    if others > 0 {
        notes.push(format!(
            "{} of {QUALITY} left out: measured on other checkpoints of the same names",
            units::counted(others, "row")
        ));
    }
    let (shown, beside): (Vec<QualityRow>, Vec<QualityRow>) = {
        let chosen = QualityKind::ALL.iter().map(|kind| shown_samples(&rows, *kind)).collect::<Vec<_>>();
        rows.into_iter().partition(|row| chosen.contains(&Some((row.kind, row.measured_on.clone()))))
    };
    if !beside.is_empty() {
        notes.push(format!(
            "{} of {QUALITY} left out: measured on other samples, or against another base, than the rows that are shown",
            units::counted(beside.len(), "row")
        ));
    }
    let note = (!notes.is_empty()).then(|| notes.join("; "));
    QualityFound { rows: shown.into_iter().map(QualityRow::shown).collect(), note }
}

/// Of which base and samples the rows of this kind are shown: figures of others cannot be compared with them. Those that most schemes
/// were measured on, the last among equals.
fn shown_samples(rows: &[QualityRow], kind: QualityKind) -> Option<(QualityKind, Option<String>)> {
    let of_kind = || rows.iter().filter(|row| row.kind == kind);
    let count = |on: &Option<String>| {
        of_kind().filter(|row| row.measured_on == *on).map(|row| &row.scheme).collect::<HashSet<_>>().len()
    };
    of_kind().max_by_key(|row| count(&row.measured_on)).map(|row| (row.kind, row.measured_on.clone()))
}

impl QualityRow {
    fn shown(self) -> MeasuredQuality {
        MeasuredQuality {
            kind: self.kind,
            scheme: self.scheme,
            kl: self.kl.0,
            kl_error: self.kl_error.0,
            perplexity: self.perplexity.0,
            base_perplexity: self.base_perplexity.0,
            agreement: self.agreement.0,
            samples: self.samples,
            tokens: self.tokens,
        }
    }
}

impl QualityFound {
    /// Nothing but the reason, without the folder: reports are the same wherever they are made.
    fn unread(path: &Path, error: &Error) -> Self {
        let reason = error.to_string().replace(&path.display().to_string(), QUALITY);
        QualityFound { rows: Vec::new(), note: Some(format!("none: {reason}")) }
    }
}
