//! What the schemes cost in measured quality: a table, and a curve of KL against size with its knee for each kind of samples.

use super::data::{MeasuredQuality, QualityKind, SchemeRow, SweepReport};
use super::decisive::has_logarithm;
use super::families::{colour, name_within};
use super::figures::{Figure, Legend, label};
use crate::plan::KNEE;
use crate::report::svg::{Axis, Mark, Plot, Series, Shape};
use crate::report::table::{Cell, Column, Table, Unit};
use crate::units::{self, ByteUnit};

/// From this ratio of the largest to the smallest KL on, the axis is logarithmic.
const DECADE: f64 = 10.0;

/// A scheme with what was measured of it.
#[derive(Clone)]
struct Measured<'a> {
    name: String,
    family: usize,
    /// Among the schemes of the sweep.
    place: usize,
    scheme: &'a SchemeRow,
    quality: &'a MeasuredQuality,
}

/// What was measured of the schemes of one family, by rising size, and the place of the knee among them.
struct MeasuredFamily<'a> {
    label: String,
    colour: &'static str,
    schemes: Vec<Measured<'a>>,
    knee: Option<usize>,
}

/// What was measured of `scheme` on samples of `kind`: the worst, where there are several rows.
pub(super) fn of_scheme<'a>(
    sweep: &'a SweepReport,
    scheme: &SchemeRow,
    kind: QualityKind,
) -> Option<&'a MeasuredQuality> {
    let rows = sweep.quality.iter().filter(|row| row.scheme == scheme.name && row.kind == kind);
    rows.max_by(|a, b| a.kl.total_cmp(&b.kl))
}

/// The schemes that were measured on samples of `kind`, by rising size.
fn measured(sweep: &SweepReport, kind: QualityKind) -> Vec<Measured<'_>> {
    let schemes = sweep.schemes.iter().zip(sweep.short_names());
    let mut measured: Vec<Measured> = schemes
        .enumerate()
        .filter_map(|(place, (scheme, name))| {
            let family = scheme.family;
            of_scheme(sweep, scheme, kind).map(|quality| Measured { name, family, place, scheme, quality })
        })
        .collect();
    measured.sort_by_key(|one| one.scheme.figures.bytes);
    measured
}

/// The same by families; those of which nothing was measured are left out.
fn measured_families(sweep: &SweepReport, kind: QualityKind) -> Vec<MeasuredFamily<'_>> {
    let measured = measured(sweep, kind);
    let families = sweep.families().into_iter().enumerate().map(|(number, family)| {
        let is_own =
            |one: &&Measured| family.schemes.iter().any(|&at| sweep.schemes[at].family == one.family);
        let schemes: Vec<Measured> = measured.iter().filter(is_own).cloned().collect();
        let knee = knee_of(sweep, &schemes);
        MeasuredFamily { label: family.label, colour: colour(number), schemes, knee }
    });
    families.filter(|family| !family.schemes.is_empty()).collect()
}

/// Whether anything was measured on samples of `kind`.
pub(super) fn is_measured_on(sweep: &SweepReport, kind: QualityKind) -> bool {
    !measured(sweep, kind).is_empty()
}

/// Whether some scheme of the sweep was measured.
pub(super) fn is_measured(sweep: &SweepReport) -> bool {
    QualityKind::ALL.iter().any(|&kind| !measured(sweep, kind).is_empty())
}

/// The place of the knee among `measured`.
fn knee_of(sweep: &SweepReport, measured: &[Measured]) -> Option<usize> {
    let losses = measured.iter().map(|one| (one.place, one.quality.kl));
    let knee = sweep.knee_of(losses)?;
    measured.iter().position(|one| one.place == knee)
}

/// One row for each scheme that was measured. Columns that would be empty are left out.
pub(super) fn table(sweep: &SweepReport) -> Table {
    let largest = sweep.schemes.iter().map(|s| s.figures.bytes).chain(sweep.base_bytes).max();
    let mut columns = vec![
        (Column::new("scheme"), true),
        (Column::of("size", Unit::BytesIn(ByteUnit::for_largest(largest.unwrap_or(0)))), true),
    ];
    for &kind in QualityKind::ALL {
        let (name, shown) = (kind, !measured(sweep, kind).is_empty());
        columns.extend([
            (Column::of(format!("KL, {name}"), Unit::Score), shown),
            (Column::of("±", Unit::Score), shown),
            (Column::new(format!("perplexity, {name}")).decimals(3), shown),
            (Column::of(format!("agreement, {name}"), Unit::Share), shown),
        ]);
    }
    let shown: Vec<bool> = columns.iter().map(|(_, shown)| *shown).collect();
    let mut table = Table::new(columns.into_iter().map(|(column, _)| column).collect::<Vec<_>>());
    for (scheme, name) in sweep.schemes.iter().zip(sweep.short_names()) {
        let rows: Vec<_> = QualityKind::ALL.iter().map(|&kind| of_scheme(sweep, scheme, kind)).collect();
        if rows.iter().all(Option::is_none) {
            continue;
        }
        let mut cells: Vec<Cell> = vec![name.into(), scheme.figures.bytes.into()];
        for row in rows {
            let values: [fn(&MeasuredQuality) -> f64; 4] =
                [|q| q.kl, |q| q.kl_error, |q| q.perplexity, |q| q.agreement];
            cells.extend(values.map(|value| row.map(value).into()));
        }
        table.push(cells);
    }
    table.retain_columns(&shown);
    table
}

/// What the columns mean and where the knees are, in sentences.
pub(super) fn words(sweep: &SweepReport) -> String {
    let mut text = String::from(
        "KL is KL(base ‖ scheme) in nats a token with its standard error (±); agreement is the share of tokens that base and \
         scheme alike find likeliest.",
    );
    for &kind in QualityKind::ALL {
        let measured = measured(sweep, kind);
        let Some(row) = measured.first() else { continue };
        text.push_str(&format!(
            " On {}: {}, {}; the base has a perplexity of {:.3}",
            kind,
            units::counted(row.quality.samples as usize, "sample"),
            units::counted(row.quality.tokens as usize, "token"),
            row.quality.base_perplexity
        ));
        let families = measured_families(sweep, kind);
        let knees: Vec<String> =
            families.iter().filter_map(|f| Some(f.schemes[f.knee?].name.clone())).collect();
        match &knees[..] {
            [] => {}
            [only] => text.push_str(&format!("; the knee of KL against size is {only}")),
            several => text.push_str(&format!("; the knees of KL against size are {}", several.join(", "))),
        }
        text.push('.');
    }
    text
}

/// A curve of KL against size for each kind of samples that something was measured on.
pub(super) fn figures(sweep: &SweepReport) -> Vec<Figure> {
    let curves = QualityKind::ALL.iter().map(|&kind| (kind, measured_families(sweep, kind)));
    curves.filter(|(_, families)| !families.is_empty()).map(|(kind, all)| curve(kind, &all)).collect()
}

fn curve(kind: QualityKind, families: &[MeasuredFamily]) -> Figure {
    let measured = || families.iter().flat_map(|family| &family.schemes);
    let unit = ByteUnit::for_largest(measured().map(|m| m.scheme.figures.bytes).max().unwrap_or(0));
    let mark = |family: &MeasuredFamily, one: &Measured| Mark {
        x: unit.value(one.scheme.figures.bytes),
        y: one.quality.kl,
        title: format!(
            "{}: {}, KL {} ± {}",
            one.name,
            unit.text(one.scheme.figures.bytes),
            units::score(one.quality.kl),
            units::score(one.quality.kl_error)
        ),
        label: label(name_within(&family.label, &one.name)),
    };
    let marks_of =
        |family: &MeasuredFamily| family.schemes.iter().map(|m| mark(family, m)).collect::<Vec<_>>();
    let marks: Vec<Mark> = families.iter().flat_map(marks_of).collect();
    let positive = || marks.iter().map(|m| m.y).filter(|kl| has_logarithm(*kl));
    let (least, most) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    let is_logarithmic = most >= DECADE * least;
    let y = match is_logarithmic {
        true => Axis::logarithmic("KL in nats a token (log)", positive()),
        false => Axis::linear("KL in nats a token", marks.iter().map(|m| m.y).chain([0.0])),
    };
    let left_out = marks.iter().filter(|m| !y.holds(m.y)).count();
    let (mut lines, mut points, mut bends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut legend, mut knees): (Legend, Vec<&str>) = Default::default();
    for family in families {
        let name = if families.len() > 1 { family.label.clone() } else { "schemes".into() };
        legend.push((format!("dot {}", family.colour), name));
        let mut marks = marks_of(family);
        lines.push(Series { class: family.colour, shape: Shape::Line, marks: marks.clone() });
        if let Some(at) = family.knee {
            bends.push(marks.remove(at));
            knees.push(&family.schemes[at].name);
        }
        points.push(Series { class: family.colour, shape: Shape::Points, marks });
    }
    let mut caption = String::from("Below and to the left is better.");
    match &knees[..] {
        [] => caption.push_str(
            " No scheme lies below the line from the smallest to the base checkpoint: there is no knee.",
        ),
        [only] => legend.push(("dot knee".into(), format!("the knee: {only}"))),
        several => legend.push(("dot knee".into(), format!("the knees: {}", several.join(", ")))),
    }
    if !knees.is_empty() {
        caption.push_str(&format!(" {KNEE}"));
    }
    if left_out > 0 {
        caption.push_str(&format!(
            " {} whose KL is 0 or not finite {} in the table alone.",
            units::counted(left_out, "scheme"),
            if left_out == 1 { "is" } else { "are" }
        ));
    }
    let bends = Series { class: "knee", shape: Shape::Points, marks: bends };
    let plot = Plot {
        x: Axis::linear(format!("size of all tensors ({})", unit.name), marks.iter().map(|m| m.x)),
        y,
        series: lines.into_iter().chain(points).chain([bends]).collect(),
    };
    Figure {
        title: format!("KL against size, {}", kind),
        svg: plot.draw(&format!("KL of every scheme against its size, on {}", kind)),
        legend,
        caption,
    }
}
