//! All families of a directory in one table and one picture.

use super::data::DirectoryReport;
use crate::report::svg::{Axis, Mark, Plot, Series, Shape};
use crate::report::sweep::{self, Figure, QualityKind, SchemeRow, SweepReport, colour, name_within};
use crate::report::table::{Column, Table, Unit};
use crate::units::{self, ByteUnit};

/// A family of some sweep, with the names that its schemes have among all of the directory.
pub(super) struct ShownFamily<'a> {
    pub label: String,
    pub sweep: &'a SweepReport,
    /// Places among the schemes of the sweep.
    places: Vec<usize>,
    names: Vec<String>,
}

impl<'a> ShownFamily<'a> {
    /// Short name and scheme, by rising coverage.
    fn schemes(&self) -> impl Iterator<Item = (&str, &'a SchemeRow)> {
        self.names.iter().map(String::as_str).zip(self.places.iter().map(|&at| &self.sweep.schemes[at]))
    }
}

/// Every family of every sweep.
pub(super) fn families(report: &DirectoryReport) -> Vec<ShownFamily<'_>> {
    let names = report.short_names();
    let mut from = 0;
    let mut families = Vec::new();
    for sweep in &report.sweeps {
        let own = &names[from..from + sweep.schemes.len()];
        let rows = sweep.families();
        for (label, family) in sweep.labels(&rows, own).into_iter().zip(rows) {
            let names: Vec<String> = family.schemes.iter().map(|&at| own[at].clone()).collect();
            families.push(ShownFamily { label, sweep, places: family.schemes, names });
        }
        from += sweep.schemes.len();
    }
    families
}

/// One row for each family.
pub(super) fn table(report: &DirectoryReport) -> Table {
    let families = families(report);
    let sizes =
        report.schemes().map(|(sweep, scheme)| scheme.figures.bytes.max(sweep.base_bytes.unwrap_or(0)));
    let unit = ByteUnit::for_largest(sizes.max().unwrap_or(0));
    let several_models = report.sweeps.iter().any(|sweep| sweep.title != report.sweeps[0].title);
    let columns = [
        (Column::new("family").main(), true),
        (Column::new("schemes").main(), true),
        (Column::of("smallest", Unit::BytesIn(unit)).main(), true),
        (Column::of("score share", Unit::Share).decimals(2).main(), true),
        (Column::new("knee of the score"), true),
        (Column::of("least KL, text", Unit::Score), is_measured(report, QualityKind::Text)),
        (Column::of("least KL, image + text", Unit::Score), is_measured(report, QualityKind::ImageText)),
        (Column::new("scored by"), true),
        (Column::new("model"), several_models),
    ];
    let shown = columns.each_ref().map(|(_, shown)| *shown);
    let mut table = Table::new(columns.map(|(column, _)| column));
    for family in &families {
        let smallest = family.schemes().min_by_key(|(_, scheme)| scheme.figures.bytes);
        let knee = family.sweep.score_knee(&family.places);
        let knee = knee.and_then(|at| family.places.iter().position(|place| *place == at));
        let kl = |kind| {
            let measured = family.sweep.quality.iter().filter(|row| row.kind == kind);
            let own = measured.filter(|row| family.schemes().any(|(_, scheme)| scheme.name == row.scheme));
            own.map(|row| row.kl).min_by(f64::total_cmp)
        };
        let scored_by = family.sweep.facts.iter().find(|(label, _)| label == "Scored by");
        table.push([
            family.label.as_str().into(),
            family.places.len().into(),
            smallest.map(|(_, scheme)| scheme.figures.bytes).into(),
            smallest.and_then(|(_, scheme)| family.sweep.share_of(scheme)).into(),
            knee.map(|at| family.names[at].clone()).into(),
            kl(QualityKind::Text).into(),
            kl(QualityKind::ImageText).into(),
            scored_by.map(|(_, value)| value.clone()).into(),
            family.sweep.title.as_str().into(),
        ]);
    }
    table.retain_columns(&shown);
    table
}

fn is_measured(report: &DirectoryReport, kind: QualityKind) -> bool {
    report.sweeps.iter().any(|sweep| sweep.quality.iter().any(|row| row.kind == kind))
}

/// What of the table has to be said.
pub(super) fn words(report: &DirectoryReport) -> String {
    let mut text = String::from("Score share is that of the smallest scheme of the family.");
    if report.sweeps.len() > 1 {
        text.push_str(
            " Shares of different manifests are of different totals: sizes and measured KL compare families there, shares do not.",
        );
    }
    text
}

/// The families in one picture each: score share against size, and KL where it was measured.
pub(super) fn figures(report: &DirectoryReport) -> Vec<Figure> {
    let share = |sweep: &SweepReport, scheme: &SchemeRow| sweep.share_of(scheme).map(|share| share * 100.0);
    let kl = |kind: QualityKind| {
        move |sweep: &SweepReport, scheme: &SchemeRow| {
            let own = sweep.quality.iter().filter(|row| row.kind == kind && row.scheme == scheme.name);
            own.map(|row| row.kl).max_by(f64::total_cmp)
        }
    };
    let mut figures = vec![picture(report, "Score share against size", "score share in % (log)", &share)];
    for &kind in QualityKind::ALL.iter().filter(|kind| is_measured(report, **kind)) {
        let title = format!("KL against size, {}", kind);
        figures.push(picture(report, &title, "KL in nats a token (log)", &kl(kind)));
    }
    figures
}

fn picture(
    report: &DirectoryReport,
    title: &str,
    y_title: &str,
    value: &dyn Fn(&SweepReport, &SchemeRow) -> Option<f64>,
) -> Figure {
    let families = families(report);
    let largest = report.schemes().map(|(_, scheme)| scheme.figures.bytes).max().unwrap_or(0);
    let unit = ByteUnit::for_largest(largest);
    let (mut lines, mut points, mut legend) = (Vec::new(), Vec::new(), Vec::new());
    for (number, family) in families.iter().enumerate() {
        let mark = |(name, scheme): (&str, &SchemeRow)| {
            let y = value(family.sweep, scheme)?;
            let title = format!("{name}: {}, {}", unit.text(scheme.figures.bytes), units::score(y));
            Some(Mark {
                x: unit.value(scheme.figures.bytes),
                y,
                title,
                label: sweep::label(name_within(&family.label, name)),
            })
        };
        let mut marks: Vec<Mark> = family.schemes().filter_map(mark).collect();
        if marks.is_empty() {
            continue;
        }
        marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        legend.push((format!("dot {}", colour(number)), family.label.clone()));
        lines.push(Series { class: colour(number), shape: Shape::Line, marks: marks.clone() });
        points.push(Series { class: colour(number), shape: Shape::Points, marks });
    }
    let all = || points.iter().flat_map(|series: &Series| &series.marks);
    let plot = Plot {
        x: Axis::linear(format!("size of all tensors ({})", unit.name), all().map(|m| m.x)),
        y: Axis::logarithmic(y_title, all().map(|m| m.y)),
        series: lines.into_iter().chain(points.iter().cloned()).collect(),
    };
    Figure {
        title: title.into(),
        svg: plot.draw(&format!("{title}: all families")),
        legend,
        caption: "Below and to the left is better.".into(),
    }
}
