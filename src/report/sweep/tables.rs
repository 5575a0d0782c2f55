//! The tables of a sweep, for the page and for Markdown alike.

use super::figures::attainable;
use super::numbers::{self, Unit};
use super::{GroupRow, LayerError, Stored, Sweep};
use crate::manifest::compare_scores;
use crate::model::Tower;

/// How many of the worst groups and layers are listed.
pub(super) const WORST: usize = 10;

/// A table: headings, which of them head numbers, and cells.
pub(super) struct Table {
    pub header: Vec<String>,
    pub right: Vec<bool>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// `columns`: the headings; those that begin with `>` head numbers.
    fn new(columns: &[&str]) -> Self {
        Table {
            header: columns.iter().map(|c| c.trim_start_matches('>').to_string()).collect(),
            right: columns.iter().map(|c| c.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }
}

/// One row per scheme. Columns that would be empty are left out.
pub(super) fn schemes(sweep: &Sweep) -> Table {
    let unit =
        Unit::for_largest(sweep.schemes.iter().map(|s| s.bytes).chain(sweep.base_bytes).max().unwrap_or(0));
    let size = format!(">size ({})", unit.name);
    let has_percent = sweep.schemes.iter().any(|s| s.percent.is_some());
    let has_kept = sweep.schemes.iter().any(|s| s.stored.contains(&Stored::Kept));
    let has_frontier = !sweep.frontier.points.is_empty();
    let columns = [
        ("scheme", true),
        (">coverage", has_percent),
        (">FP8 groups", true),
        (">kept BF16", has_kept),
        (">FP8 layers", true),
        (">bits", true),
        (size.as_str(), true),
        (">saved", sweep.base_bytes.is_some()),
        (">Σ score", true),
        (">frontier Σ", has_frontier),
    ];
    let shown: Vec<&str> = columns.iter().filter(|(_, shown)| *shown).map(|(name, _)| *name).collect();
    let mut table = Table::new(&shown);
    for (scheme, name) in sweep.schemes.iter().zip(sweep.short_names()) {
        let saved = sweep.base_bytes.map(|base| 1.0 - scheme.bytes as f64 / base.max(1) as f64);
        let least = attainable(sweep, scheme.effective_bits);
        let cells = [
            name,
            scheme.percent.map(numbers::coverage).unwrap_or_default(),
            scheme.fp8_groups().to_string(),
            scheme.kept_groups().to_string(),
            scheme.fp8_layers.to_string(),
            format!("{:.2}", scheme.effective_bits),
            unit.number(scheme.bytes),
            saved.map(numbers::percent).unwrap_or_default(),
            numbers::score(scheme.score),
            least.map(numbers::score).unwrap_or_default(),
        ];
        let cells = cells.into_iter().zip(&columns).filter(|(_, (_, shown))| *shown);
        table.rows.push(cells.map(|(cell, _)| cell).collect());
    }
    table
}

/// How many groups of each part of the model are in FP8, one row per scheme; the headings say of how many.
pub(super) fn parts(sweep: &Sweep) -> Table {
    let mut parts: Vec<(String, Vec<usize>)> = Vec::new();
    for (at, group) in sweep.groups.iter().enumerate().filter(|(_, g)| g.candidate_bits.is_some()) {
        let part = part_of(group);
        match parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, groups)) => groups.push(at),
            None => parts.push((part, vec![at])),
        }
    }
    parts.sort_by_key(|(_, groups)| (sweep.groups[groups[0]].tower, sweep.groups[groups[0]].block.is_none()));
    let columns: Vec<String> = parts.iter().map(|(name, g)| format!(">{name} ({})", g.len())).collect();
    let columns: Vec<&str> = std::iter::once("scheme").chain(columns.iter().map(String::as_str)).collect();
    let mut table = Table::new(&columns);
    for (scheme, name) in sweep.schemes.iter().zip(sweep.short_names()) {
        let fp8 = |groups: &[usize]| groups.iter().filter(|at| scheme.stored[**at] == Stored::Fp8).count();
        let counts = parts.iter().map(|(_, groups)| fp8(groups).to_string());
        table.rows.push(std::iter::once(name).chain(counts).collect());
    }
    table
}

/// The tower of a group; vision and language modules outside of blocks, such as `patch_embed`, are a part of their own.
fn part_of(group: &GroupRow) -> String {
    match (group.tower, group.block) {
        (Tower::Language | Tower::Vision, None) => format!("{}, outside of blocks", group.tower),
        (tower, _) => tower.to_string(),
    }
}

/// The groups with the highest scores.
pub(super) fn most_sensitive(sweep: &Sweep) -> Table {
    let mut groups: Vec<&GroupRow> =
        sweep.groups.iter().filter(|g| g.candidate_bits.is_some() && g.scored).collect();
    groups.sort_by(|a, b| compare_scores(b.score, a.score));
    let mut table = Table::new(&["group", ">score", ">weights"]);
    for group in groups.into_iter().take(WORST) {
        table.rows.push(vec![
            group.name.clone(),
            numbers::score(group.score),
            numbers::count(group.parameters),
        ]);
    }
    table
}

/// The layers that lose most.
pub(super) fn worst_layers(layers: &[LayerError]) -> Table {
    let mut layers: Vec<&LayerError> = layers.iter().collect();
    layers.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    let mut table = Table::new(&["layer", ">SQNR (dB)", ">mean squared error", ">saturated", ">become 0"]);
    for layer in layers.into_iter().take(WORST) {
        table.rows.push(vec![
            layer.module.clone(),
            numbers::decibels(layer.sqnr_db),
            numbers::score(layer.mse),
            numbers::percent(layer.saturated),
            numbers::percent(layer.zeroed),
        ]);
    }
    table
}
