//! What was measured of the schemes of a family, read back for its report.

use std::path::Path;

use serde::Deserialize;

use super::beside::QUALITY;
use crate::error::{Error, Result};
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
    kind: String,
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
        let how = "was changed after it was written: its seal is that of another text";
        return QualityFound::unread(&path, &Error::format(&path, how));
    }
    match parse(&path, &text) {
        Ok(file) => sort_out(schemes, file),
        Err(error) => QualityFound::unread(&path, &error),
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<QualityFile> {
    let file: QualityFile = json::parse(path, text)?;
    match file.rows.iter().find(|row| kind(&row.kind).is_none()) {
        Some(row) => Err(Error::format(path, format!("has a row of the kind `{}`", row.kind))),
        None => Ok(file),
    }
}

fn kind(word: &str) -> Option<QualityKind> {
    match word {
        "text" => Some(QualityKind::Text),
        "image_text" => Some(QualityKind::ImageText),
        _ => None,
    }
}

fn sort_out(schemes: &[ShownScheme], file: QualityFile) -> QualityFound {
    let mut found = QualityFound::default();
    let mut others = 0;
    for row in file.rows {
        let Some(scheme) = schemes.iter().find(|scheme| scheme.name == row.scheme) else { continue };
        let is_other = |inputs: &String| scheme.inputs != Some(inputs);
        if row.bytes != scheme.bytes || row.inputs.as_ref().is_some_and(is_other) {
            others += 1;
            continue;
        }
        found.rows.extend(row.shown());
    }
    if others > 0 {
        found.note = Some(format!(
            "{} of {QUALITY} left out: measured on other checkpoints of the same names",
            units::counted(others, "row")
        ));
    }
    found
}

impl QualityRow {
    fn shown(self) -> Option<MeasuredQuality> {
        Some(MeasuredQuality {
            kind: kind(&self.kind)?,
            scheme: self.scheme,
            kl: self.kl.0,
            kl_error: self.kl_error.0,
            perplexity: self.perplexity.0,
            base_perplexity: self.base_perplexity.0,
            agreement: self.agreement.0,
            samples: self.samples,
            tokens: self.tokens,
        })
    }
}

impl QualityFound {
    /// Nothing but the reason, without the folder: reports are the same wherever they are made.
    fn unread(path: &Path, error: &Error) -> Self {
        let reason = error.to_string().replace(&path.display().to_string(), QUALITY);
        QualityFound { rows: Vec::new(), note: Some(format!("none: {reason}")) }
    }
}
