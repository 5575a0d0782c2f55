//! The heat maps of a sweep: blocks × module kinds.

use std::collections::BTreeSet;

use super::data::{GroupForm, GroupRow, LayerError, SchemeRow, SweepReport};
use super::shades::Shades;
use crate::manifest::compare_scores;
use crate::model::{Tower, block_of, kind_of, order_in_block};
use crate::report::svg::{HeatMap, Section, Tile};
use crate::units;

/// A tower's blocks × kinds, and which items fall on each place.
pub(super) struct Grid {
    pub tower: Tower,
    rows: Vec<String>,
    blocks: Vec<u32>,
    /// Row, column, and indices of items.
    items: Vec<(usize, usize, Vec<usize>)>,
}

/// The grids of all towers that have blocks, and the items outside of blocks.
pub(super) struct Grids {
    pub towers: Vec<Grid>,
    pub outside: Vec<usize>,
}

impl Grids {
    /// Lays out items by tower, block and kind.
    fn of<'a>(items: impl Iterator<Item = (Tower, Option<u32>, &'a str)> + Clone) -> Self {
        let outside =
            items.clone().enumerate().filter(|(_, (_, block, _))| block.is_none()).map(|(at, _)| at);
        let grid = |tower: Tower| {
            let inside = || {
                items.clone().enumerate().filter_map(move |(at, (of, block, kind))| {
                    block.filter(|_| of == tower).map(|block| (at, block, kind))
                })
            };
            let blocks: BTreeSet<u32> = inside().map(|(_, block, _)| block).collect();
            let blocks: Vec<u32> = blocks.into_iter().collect();
            let mut rows: Vec<&str> = Vec::new();
            for (_, _, kind) in inside() {
                if !rows.contains(&kind) {
                    rows.push(kind);
                }
            }
            rows.sort_by_key(|kind| order_in_block(kind));
            let mut items_at = vec![Vec::new(); rows.len() * blocks.len()];
            for (at, block, kind) in inside() {
                let row = rows.iter().position(|r| *r == kind);
                if let (Some(row), Ok(column)) = (row, blocks.binary_search(&block)) {
                    items_at[row * blocks.len() + column].push(at);
                }
            }
            let columns = blocks.len();
            let filled = items_at.into_iter().enumerate().filter(|(_, items)| !items.is_empty());
            let items = filled.map(|(at, items)| (at / columns, at % columns, items)).collect();
            Grid { tower, rows: rows.into_iter().map(String::from).collect(), blocks, items }
        };
        let towers = Tower::ALL.iter().copied().map(grid).filter(|g| !g.items.is_empty()).collect();
        Grids { outside: outside.collect(), towers }
    }

    /// Lays out the groups of a manifest.
    pub fn of_groups(groups: &[GroupRow]) -> Self {
        Grids::of(groups.iter().map(|g| (g.tower, g.block, g.kind.as_str())))
    }

    /// Lays out layers by their names.
    pub fn of_layers(layers: &[LayerError]) -> Self {
        let of = |module| (Tower::of(module), block_of(module), kind_of(module));
        Grids::of(layers.iter().map(|l| of(&l.module)))
    }
}

impl Grid {
    /// The section that shows every tile by the class and the words that `look` gives its items.
    fn section(&self, heading: &str, look: impl Fn(&[usize]) -> (String, String)) -> Section {
        let tiles = self.items.iter().map(|(row, column, items)| {
            let (class, words) = look(items);
            let title = format!("{} {}, {}: {words}", self.tower, self.blocks[*column], self.rows[*row]);
            Tile { row: *row, column: *column, class, title }
        });
        Section {
            heading: heading.into(),
            rows: self.rows.clone(),
            columns: self.blocks.iter().map(u32::to_string).collect(),
            tiles: tiles.collect(),
        }
    }
}

fn large(section: Section) -> HeatMap {
    HeatMap { sections: vec![section], width: 460.0, row_height: 20.0, text_size: 11.0, text_class: "map" }
}

/// The map of one scheme: FP8 or BF16.
pub(super) fn of_scheme(sweep: &SweepReport, grids: &Grids, scheme: &SchemeRow, name: &str) -> String {
    let look = |items: &[usize]| stored(items.iter().filter_map(|at| scheme.stored.get(*at).copied()));
    let mut sections: Vec<Section> = grids.towers.iter().map(|g| g.section(g.tower.word(), look)).collect();
    if !grids.outside.is_empty() {
        sections.push(outside(sweep, grids, look));
    }
    let map = HeatMap { sections, width: 340.0, row_height: 11.0, text_size: 9.0, text_class: "small" };
    map.draw(&format!("Which groups of {name} are in FP8"))
}

/// Groups outside of blocks, one after another in as many rows as it takes.
fn outside(sweep: &SweepReport, grids: &Grids, look: impl Fn(&[usize]) -> (String, String)) -> Section {
    let width = grids.towers.iter().map(|g| g.blocks.len()).max().unwrap_or(0).max(12);
    let tiles = grids.outside.iter().enumerate().map(|(at, group)| {
        let (class, words) = look(&[*group]);
        let title = format!("{}: {words}", sweep.groups[*group].name);
        Tile { row: at / width, column: at % width, class, title }
    });
    let mut rows = vec![String::new(); grids.outside.len().div_ceil(width)];
    rows[0] = "others".into();
    Section { heading: "outside of blocks".into(), rows, columns: Vec::new(), tiles: tiles.collect() }
}

fn stored(all: impl Iterator<Item = GroupForm> + Clone) -> (String, String) {
    let fp8 = all.clone().filter(|s| *s == GroupForm::Fp8).count();
    let count = all.clone().count();
    let (class, words) = match () {
        () if fp8 == count => ("fp8", "FP8".to_string()),
        () if fp8 > 0 => ("mixed", format!("FP8 in {fp8} of {count} groups")),
        () if all.clone().any(|s| s == GroupForm::Kept) => ("kept", "selected, kept in BF16".to_string()),
        () => ("bf16", "BF16".to_string()),
    };
    (class.into(), words)
}

/// The shades of all scores.
pub(super) fn score_shades(groups: &[GroupRow]) -> Shades {
    Shades::logarithmic(groups.iter().filter(|g| g.is_candidate).map(|g| g.score))
}

/// The class and the words of groups by the worst score among them.
pub(super) fn score_look(groups: &[GroupRow], shades: &Shades, items: &[usize]) -> (String, String) {
    let candidates = || items.iter().map(|at| &groups[*at]).filter(|g| g.is_candidate);
    let Some(worst) = candidates().filter(|g| g.is_scored).max_by(|a, b| compare_scores(a.score, b.score))
    else {
        return match candidates().next() {
            Some(_) => ("unscored".into(), "never scored".into()),
            None => ("disabled".into(), "not a candidate".into()),
        };
    };
    let more = if items.len() > 1 { format!(", the worst of {} groups", items.len()) } else { String::new() };
    let class = if worst.score.is_finite() { shades.class(worst.score) } else { "broken".into() };
    (class, format!("{}{more}", units::score(worst.score)))
}

/// The map of scores of one tower.
pub(super) fn of_scores(sweep: &SweepReport, grid: &Grid, shades: &Shades) -> String {
    let section = grid.section("", |items| score_look(&sweep.groups, shades, items));
    large(section)
        .draw(&format!("Sensitivity scores of the {} tower by block and kind of module", grid.tower))
}

/// The shades of all weight errors.
pub(super) fn error_shades(layers: &[LayerError]) -> Shades {
    Shades::decibels(layers.iter().map(|l| l.sqnr_db))
}

/// The map of weight errors of one tower.
pub(super) fn of_errors(layers: &[LayerError], grid: &Grid, shades: &Shades) -> String {
    let section = grid.section("", |items| {
        let errors = items.iter().map(|at| layers[*at].sqnr_db);
        let worst = errors.fold(f64::INFINITY, f64::min);
        let more =
            if items.len() > 1 { format!(", the worst of {} layers", items.len()) } else { String::new() };
        (shades.class(worst), format!("{}{more}", with_unit(worst)))
    });
    large(section).draw(&format!("Weight error of the {} tower by block and kind of module", grid.tower))
}

/// Decibels with their unit.
fn with_unit(decibels: f64) -> String {
    let text = units::decibels(decibels);
    if decibels.is_finite() { format!("{text} dB") } else { text }
}
