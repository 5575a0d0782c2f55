//! The tables of a sweep, for the page and for Markdown alike.

use super::data::{GroupForm, GroupRow, LayerError, QualityKind, SweepReport};
use super::quality;
use crate::manifest::compare_scores;
use crate::model::Tower;
use crate::report::table::{Align, Cell, Column, Table, Unit};
use crate::units::{self, ByteUnit};

/// How many of the worst groups, and of the lowest signals to noise, are listed.
const WORST: usize = 10;
/// How many groups that are kept are named.
const MOST_KEPT: usize = 20;

/// One row per scheme, what decides first. Columns that would be empty are left out.
pub(in crate::report) fn schemes(sweep: &SweepReport) -> Table {
    let sizes = sweep.schemes.iter().map(|s| s.figures.bytes).chain(sweep.base_bytes);
    let unit = ByteUnit::for_largest(sizes.max().unwrap_or(0));
    let kl = |kind: QualityKind| {
        let title = format!("KL, {}", kind);
        (Column::of(title, Unit::Score).main(), quality::is_measured_on(sweep, kind))
    };
    let [kl_text, kl_image] = [QualityKind::Text, QualityKind::ImageText].map(kl);
    let has_base = sweep.base_bytes.is_some();
    let has_best = !sweep.frontier.points.is_empty();
    let columns = [
        (Column::new("scheme").main(), true),
        (Column::of("size", Unit::BytesIn(unit)).main(), true),
        (Column::of("saved", Unit::Share).main(), has_base),
        (Column::of("score share", Unit::Share).decimals(2).align(Align::Right).main(), true),
        kl_text,
        kl_image,
        (Column::of("best share", Unit::Share).decimals(2).align(Align::Right), has_best),
        (Column::of("score per GB", Unit::Score), has_base),
        (Column::new("coverage").align(Align::Right), sweep.schemes.iter().any(|s| s.percent.is_some())),
        (Column::new("FP8 groups"), true),
        (Column::new("kept BF16"), sweep.schemes.iter().any(|s| s.figures.kept > 0)),
        (Column::new("FP8 layers"), true),
        (Column::of("bits", Unit::Bits).decimals(2), true),
        (Column::of("Σ score", Unit::Score).align(Align::Right), true),
        (Column::of("least Σ", Unit::Score), has_best),
    ];
    let shown = columns.each_ref().map(|(_, shown)| *shown);
    let mut table = Table::new(columns.map(|(column, _)| column));

    for (scheme, name) in sweep.schemes.iter().zip(sweep.short_names()) {
        let figures = &scheme.figures;
        let kl = |kind| quality::of_scheme(sweep, scheme, kind).map(|measured| measured.kl);
        let [kl_text, kl_image] = [QualityKind::Text, QualityKind::ImageText].map(kl);
        let least = figures.effective_bits.and_then(|bits| sweep.frontier.least_within(bits));
        let share = |share: Option<f64>| share.map_or(units::NOT_FINITE.into(), Cell::from);
        table.push([
            name.into(),
            figures.bytes.into(),
            sweep.saved(scheme).into(),
            share(sweep.share_of(scheme)),
            kl_text.into(),
            kl_image.into(),
            least.map_or(Cell::Empty, |least| share(sweep.share(least))),
            sweep.score_per_gigabyte(scheme).into(),
            scheme.percent.map(|percent| format!("{percent} %")).into(),
            scheme.fp8_groups().into(),
            figures.kept.into(),
            figures.quantised_layers.into(),
            figures.effective_bits.into(),
            figures.score.unwrap_or(f64::NAN).into(),
            least.into(),
        ]);
    }
    table.retain_columns(&shown);
    table
}

/// The groups that stay in BF16 when they are selected, and why.
pub(super) fn kept(sweep: &SweepReport) -> Table {
    let mut table = Table::new([Column::new("kept group"), Column::new("selected in"), Column::new("why")]);
    let kept = sweep.kept_groups();
    for (at, reason, selected) in kept.iter().copied().take(MOST_KEPT) {
        let schemes = match selected {
            0 => "no scheme".to_string(),
            count => units::counted(count, "scheme"),
        };
        table.push([sweep.groups[at].name.as_str().into(), schemes.into(), reason.into()]);
    }
    if kept.len() > MOST_KEPT {
        table.push([format!("and {} more", kept.len() - MOST_KEPT).into(), Cell::Empty, Cell::Empty]);
    }
    table
}

/// How many groups of each part of the model are in FP8, one row per scheme; the headings say of how many.
pub(super) fn parts(sweep: &SweepReport) -> Table {
    let mut parts: Vec<(String, Vec<usize>)> = Vec::new();
    for (at, group) in sweep.groups.iter().enumerate().filter(|(_, g)| g.is_candidate) {
        let part = part_of(group);
        match parts.iter_mut().find(|(name, _)| *name == part) {
            Some((_, groups)) => groups.push(at),
            None => parts.push((part, vec![at])),
        }
    }
    parts.sort_by_key(|(_, groups)| (sweep.groups[groups[0]].tower, sweep.groups[groups[0]].block.is_none()));
    let columns = parts.iter().map(|(name, groups)| Column::new(format!("{name} ({})", groups.len())));
    let mut table = Table::new([Column::new("scheme")].into_iter().chain(columns).collect::<Vec<_>>());
    for (scheme, name) in sweep.schemes.iter().zip(sweep.short_names()) {
        let fp8 = |groups: &[usize]| groups.iter().filter(|at| scheme.stored[**at] == GroupForm::Fp8).count();
        let counts = parts.iter().map(|(_, groups)| Cell::from(fp8(groups)));
        table.push([Cell::from(name)].into_iter().chain(counts).collect::<Vec<_>>());
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
pub(super) fn most_sensitive(sweep: &SweepReport) -> Table {
    let mut groups: Vec<&GroupRow> = sweep.groups.iter().filter(|g| g.is_candidate && g.is_scored).collect();
    groups.sort_by(|a, b| compare_scores(b.score, a.score));
    let columns =
        [Column::new("group"), Column::of("score", Unit::Score), Column::of("weights", Unit::Count)];
    let mut table = Table::new(columns);
    for group in groups.into_iter().take(WORST) {
        table.push([group.name.as_str().into(), group.score.into(), group.parameters.into()]);
    }
    table
}

/// The layers that lose most: one row for all whose signal to noise is written the same, with the worst of them.
pub(super) fn worst_layers(layers: &[LayerError]) -> Table {
    let mut layers: Vec<&LayerError> = layers.iter().collect();
    layers.sort_by(|a, b| a.sqnr_db.total_cmp(&b.sqnr_db));
    let mut table = Table::new([
        Column::of("SQNR", Unit::Decibels),
        Column::new("layers"),
        Column::new("the worst of them"),
        Column::of("mean squared error", Unit::Score),
        Column::of("saturated", Unit::Share),
        Column::of("become 0", Unit::Share),
    ]);
    let alike = layers.chunk_by(|a, b| units::decibels(a.sqnr_db) == units::decibels(b.sqnr_db));
    for layers in alike.take(WORST) {
        let worst = layers[0];
        table.push([
            worst.sqnr_db.into(),
            layers.len().into(),
            worst.module.as_str().into(),
            worst.mse.into(),
            worst.saturated.into(),
            worst.zeroed.into(),
        ]);
    }
    table
}
