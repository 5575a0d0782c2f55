//! What the schemes cost in measured quality: a table, and a curve of KL against size with its knee for each kind of samples.

use super::data::{MeasuredQuality, QualityKind, SchemeRow, SweepReport};
use super::figures::{Figure, label};
use crate::report::svg::{Axis, Mark, Plot, Series, Shape};
use crate::report::table::{Cell, Column, Table, Unit};
use crate::units::{self, ByteUnit};

/// From this ratio of the largest to the smallest KL on, the axis is logarithmic.
const DECADE: f64 = 10.0;

impl QualityKind {
    /// Every kind, in the order of the report.
    pub const ALL: [QualityKind; 2] = [QualityKind::Text, QualityKind::ImageText];

    /// What people call it.
    fn name(self) -> &'static str {
        match self {
            QualityKind::Text => "text",
            QualityKind::ImageText => "image + text",
        }
    }
}

/// A scheme with what was measured of it.
struct Measured<'a> {
    name: String,
    scheme: &'a SchemeRow,
    quality: &'a MeasuredQuality,
}

/// What was measured of `scheme` on samples of `kind`: the worst, where several sets of them were.
fn of_scheme<'a>(
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
        .filter_map(|(scheme, name)| {
            of_scheme(sweep, scheme, kind).map(|quality| Measured { name, scheme, quality })
        })
        .collect();
    measured.sort_by_key(|one| one.scheme.figures.bytes);
    measured
}

/// Whether some scheme of the sweep was measured.
pub(super) fn is_measured(sweep: &SweepReport) -> bool {
    QualityKind::ALL.into_iter().any(|kind| !measured(sweep, kind).is_empty())
}

/// The knee of the curve through `points`, size and KL by rising size: the point of the greatest distance below the straight
/// line from the first to the last, with size and the logarithm of KL scaled to run from 0 to 1 between these two. The
/// vertical distance is compared, which is the perpendicular one times the same factor for all. Nothing where no point lies below
/// the line, or KL does not fall from the first point to the last.
fn knee(points: &[(f64, f64)]) -> Option<usize> {
    let [first, .., last] = points else { return None };
    let (width, fall) = (last.0 - first.0, first.1.ln() - last.1.ln());
    if !(width > 0.0 && fall > 0.0 && fall.is_finite()) {
        return None;
    }
    let below = |(size, kl): &(f64, f64)| 1.0 - (size - first.0) / width - (kl.ln() - last.1.ln()) / fall;
    let between = points.iter().map(below).enumerate().filter(|(_, distance)| *distance > 1e-9);
    between.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at)
}

/// The place of the knee among `measured`. KL of 0, or none, has no logarithm: such schemes are left out of the curve.
fn knee_of(measured: &[Measured]) -> Option<usize> {
    let held: Vec<usize> = (0..measured.len()).filter(|&at| has_logarithm(measured[at].quality.kl)).collect();
    let points: Vec<(f64, f64)> =
        held.iter().map(|&at| (measured[at].scheme.figures.bytes as f64, measured[at].quality.kl)).collect();
    knee(&points).map(|at| held[at])
}

fn has_logarithm(kl: f64) -> bool {
    kl > 0.0 && kl.is_finite()
}

/// One row for each scheme that was measured. Columns that would be empty are left out.
pub(super) fn table(sweep: &SweepReport) -> Table {
    let largest = sweep.schemes.iter().map(|s| s.figures.bytes).chain(sweep.base_bytes).max();
    let mut columns = vec![
        (Column::new("scheme"), true),
        (Column::of("size", Unit::BytesIn(ByteUnit::for_largest(largest.unwrap_or(0)))), true),
    ];
    for kind in QualityKind::ALL {
        let (name, shown) = (kind.name(), !measured(sweep, kind).is_empty());
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
        let rows = QualityKind::ALL.map(|kind| of_scheme(sweep, scheme, kind));
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
    for kind in QualityKind::ALL {
        let measured = measured(sweep, kind);
        let Some(row) = measured.first() else { continue };
        text.push_str(&format!(
            " On {}: {}, {}; the base has a perplexity of {:.3}",
            kind.name(),
            units::counted(row.quality.samples as usize, "sample"),
            units::counted(row.quality.tokens as usize, "token"),
            row.quality.base_perplexity
        ));
        if let Some(at) = knee_of(&measured) {
            text.push_str(&format!("; the knee of KL against size is {}", measured[at].name));
        }
        text.push('.');
    }
    text
}

/// How a knee is found, for those who ask.
pub(super) const KNEE: &str = "The knee is the scheme farthest below the straight line from the smallest scheme to the \
     largest, with size and log KL scaled to 1.";

/// A curve of KL against size for each kind of samples that something was measured on.
pub(super) fn figures(sweep: &SweepReport) -> Vec<Figure> {
    let curves = QualityKind::ALL.map(|kind| (kind, measured(sweep, kind)));
    curves.iter().filter(|(_, measured)| !measured.is_empty()).map(|(kind, all)| curve(*kind, all)).collect()
}

fn curve(kind: QualityKind, measured: &[Measured]) -> Figure {
    let unit = ByteUnit::for_largest(measured.iter().map(|m| m.scheme.figures.bytes).max().unwrap_or(0));
    let mark = |one: &Measured| Mark {
        x: unit.value(one.scheme.figures.bytes),
        y: one.quality.kl,
        title: format!(
            "{}: {}, KL {} ± {}",
            one.name,
            unit.text(one.scheme.figures.bytes),
            units::score(one.quality.kl),
            units::score(one.quality.kl_error)
        ),
        label: label(&one.name),
    };
    let marks: Vec<Mark> = measured.iter().map(mark).collect();
    let positive = || marks.iter().map(|m| m.y).filter(|kl| has_logarithm(*kl));
    let (least, most) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    let is_logarithmic = most >= DECADE * least;
    let y = match is_logarithmic {
        true => Axis::logarithmic("KL in nats a token (log)", positive()),
        false => Axis::linear("KL in nats a token", marks.iter().map(|m| m.y).chain([0.0])),
    };
    let left_out = marks.iter().filter(|m| !y.holds(m.y)).count();
    let knee = knee_of(measured);
    let (mut others, mut bend) = (marks.clone(), Vec::new());
    let mut legend = vec![("dot first", "schemes".to_string())];
    let mut caption = String::from("Below and to the left is better.");
    match knee {
        Some(at) => {
            bend.push(others.remove(at));
            legend.push(("dot second", format!("the knee: {}", measured[at].name)));
            caption.push_str(&format!(" {KNEE}"));
        }
        None => caption
            .push_str(" No scheme lies below the line from the smallest to the largest: there is no knee."),
    }
    if left_out > 0 {
        caption.push_str(&format!(
            " {} whose KL is 0 or not finite {} in the table alone.",
            units::counted(left_out, "scheme"),
            if left_out == 1 { "is" } else { "are" }
        ));
    }
    let plot = Plot {
        x: Axis::linear(format!("size of all tensors ({})", unit.name), marks.iter().map(|m| m.x)),
        y,
        series: vec![
            Series { class: "first", shape: Shape::Line, marks },
            Series { class: "first", shape: Shape::Points, marks: others },
            Series { class: "second", shape: Shape::Points, marks: bend },
        ],
    };
    Figure {
        title: format!("KL against size, {}", kind.name()),
        svg: plot.draw(&format!("KL of every scheme against its size, on {}", kind.name())),
        legend,
        caption,
    }
}

#[cfg(test)]
mod tests {
    use super::knee;

    /// In normalised log KL and size, the points lie at (0, 1), (0.25, 0.2), (0.5, 0.4), (1, 0).
    #[test]
    fn the_knee_lies_farthest_below_the_line_in_log_kl() {
        let kl = |share: f64| 1e-5 * 1e5f64.powf(share);
        assert_eq!(knee(&[(2.0, kl(1.0)), (3.0, kl(0.2)), (4.0, kl(0.4)), (6.0, kl(0.0))]), Some(1));
    }

    #[test]
    fn a_curve_without_a_bend_has_no_knee() {
        assert_eq!(knee(&[(1.0, 1.0), (2.0, 0.1), (3.0, 0.01)]), None, "a straight line");
        assert_eq!(knee(&[(1.0, 1.0), (2.0, 0.9), (3.0, 0.01)]), None, "above the line");
        assert_eq!(knee(&[(1.0, 0.1), (2.0, 0.01), (3.0, 0.2)]), None, "KL rises with size");
        assert_eq!(knee(&[(1.0, 0.1), (1.0, 0.01), (1.0, 0.001)]), None, "all are of one size");
        assert_eq!((knee(&[]), knee(&[(1.0, 1.0)]), knee(&[(1.0, 1.0), (2.0, 0.1)])), (None, None, None));
    }
}
