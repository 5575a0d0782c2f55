//! Sentences that the page and the Markdown share.

use super::data::SweepReport;
use super::families::FamilyRow;
use crate::units::ByteUnit;

/// What the sweep is, in a sentence or two.
pub(in crate::report) fn summary(sweep: &SweepReport) -> String {
    let bytes = || sweep.schemes.iter().map(|s| s.figures.bytes);
    let (Some(smallest), Some(largest)) = (bytes().min(), bytes().max()) else {
        return "No schemes: the manifest alone.".into();
    };
    let unit = ByteUnit::for_largest(sweep.base_bytes.unwrap_or(0).max(largest));
    let count = sweep.schemes.len();
    let mut text = match count {
        1 => format!("One scheme of {}", unit.text(largest)),
        _ => format!("{count} schemes from {} to {}", unit.text(largest), unit.text(smallest)),
    };
    if let Some(base) = sweep.base_bytes {
        text.push_str(&format!("; the base checkpoint has {}", unit.text(base)));
    }
    text.push('.');
    if let Some(sharing) = sweep.sharing.filter(|sharing| sharing.unique_bytes < sharing.copied_bytes) {
        text.push_str(&format!(
            " Their weight files take {} on disk, because they are shared ({} without).",
            unit.text(sharing.unique_bytes),
            unit.text(sharing.copied_bytes)
        ));
    }
    text
}

/// What the short names of schemes stand for, where they are short.
pub(super) fn naming(sweep: &SweepReport) -> Option<String> {
    let (scheme, short) = (sweep.schemes.first()?, sweep.short_names().into_iter().next()?);
    (short != scheme.name).then(|| format!("{short} is {}, and so on.", scheme.name))
}

/// What the columns of the table of schemes mean.
pub(super) fn columns(sweep: &SweepReport) -> String {
    let mut text = String::from(
        "Score share is the summed sensitivity of the groups in FP8 (Σ score) as a share of that of all groups that can be; \
         bits are effective bits per weight of all groups by ModelOpt’s cost model.",
    );
    if !sweep.frontier.points.is_empty() {
        text.push_str(
            " Best share and least Σ are the exact best at equal size: the smallest that any choice of groups has with no more bits.",
        );
    }
    if sweep.base_bytes.is_some() {
        text.push_str(" Score per GB is Σ score for each gigabyte that is saved.");
    }
    let gap = sweep.frontier.gap;
    if gap > 0.0 {
        text.push_str(&format!(
            " The solver stopped before all proofs: a least sum may lie above the true one by {gap:.1e} of it."
        ));
    }
    text
}

/// Where the knees of the summed score are.
pub(in crate::report) fn knees(sweep: &SweepReport) -> Option<String> {
    let names = sweep.short_names();
    let knee = |family: &FamilyRow| {
        let at = sweep.score_knee(&family.schemes)?;
        let share = sweep.share_of(&sweep.schemes[at])?;
        Some(format!("{} ({:.2} % of all score)", names[at], share * 100.0))
    };
    let knees: Vec<String> = sweep.families().iter().filter_map(knee).collect();
    match &knees[..] {
        [] => None,
        [only] => Some(format!("The knee of the score against size is {only}.")),
        several => Some(format!("The knees of the score against size are {}.", several.join(", "))),
    }
}

/// About weight error that nobody measured.
pub(super) const NOT_MEASURED: &str = "Not measured in this sweep.";

/// What weight error is.
pub(super) const WEIGHT_ERROR: &str = "Signal to quantisation noise (SQNR) of each layer that was stored in FP8: \
     10 log₁₀(Σ weight² ÷ Σ error²). Lower is worse; where schemes store a layer in different ways, the worst of them counts.";

/// The units, once and for all.
pub(in crate::report) const UNITS: &str = "Sizes are decimal: 1 GB = 1000 MB = 10⁹ bytes.";

/// What of a commands' chapter holds for all schemes.
pub(in crate::report) const SERVING: &str = "From the folder of this report. Engines find the quantisation in the directory itself, so no option \
     names it; which releases read what, and what no check ran, is in docs/engines.md of qlua.";
