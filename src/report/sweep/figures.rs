//! The plots of a sweep: size, effective bits, cumulative sensitivity, frontier.

use super::data::{SchemeRow, SweepReport};
use super::families::{FamilyRow, colour, name_within};
use crate::manifest::compare_scores;
use crate::report::svg::{Axis, Mark, Plot, Series, Shape};
use crate::units::{self, ByteUnit};

/// The longest label that is tried beside a point, in characters.
const LABEL: usize = 12;

/// A drawing with the words around it.
pub(in crate::report) struct Figure {
    pub title: String,
    pub svg: String,
    /// Empty when the axes say it all.
    pub legend: Legend,
    pub caption: String,
}

/// The looks of marks, and what they stand for.
pub(in crate::report) type Legend = Vec<(String, String)>;

/// Where each scheme stands on a coverage axis, with the title of the axis.
fn coverage(sweep: &SweepReport) -> (String, Vec<f64>) {
    let points: Option<Vec<f64>> = sweep.schemes.iter().map(|s| s.percent).collect();
    if let Some(points) = points {
        return ("coverage point (% of ranked groups)".into(), points);
    }
    let candidates = sweep.groups.iter().filter(|g| g.is_candidate).count().max(1);
    let share = |s: &SchemeRow| s.fp8_groups() as f64 / candidates as f64 * 100.0;
    ("groups in FP8 (% of candidates)".into(), sweep.schemes.iter().map(share).collect())
}

/// `name` where it is short enough to stand beside a point.
pub(in crate::report) fn label(name: &str) -> String {
    if name.chars().count() <= LABEL { name.into() } else { String::new() }
}

/// A quantity of every scheme against coverage; a line joins nested coverage points of a family, and others are named instead.
fn against_coverage(
    sweep: &SweepReport,
    y_title: &str,
    base: Option<f64>,
    value: impl Fn(&SchemeRow) -> f64,
    text: impl Fn(&SchemeRow) -> String,
    description: &str,
) -> (String, Legend) {
    let (x_title, places) = coverage(sweep);
    let names = sweep.short_names();
    let base = base.map(|y| Mark { x: 0.0, y, title: "base checkpoint".into(), label: "base".into() });
    let (mut lines, mut points) = (Vec::new(), Vec::new());
    let families = sweep.families();
    for (number, family) in families.iter().enumerate() {
        let is_nested = sweep.is_nested(&family.schemes);
        let mark = |&at: &usize| Mark {
            x: places[at],
            y: value(&sweep.schemes[at]),
            title: format!("{}: {}", names[at], text(&sweep.schemes[at])),
            label: if is_nested { String::new() } else { label(&names[at]) },
        };
        let mut marks: Vec<Mark> = family.schemes.iter().map(mark).collect();
        marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        if is_nested {
            let marks = base.iter().chain(&marks).cloned().collect();
            lines.push(Series { class: colour(number), shape: Shape::Line, marks });
        }
        points.push(Series { class: colour(number), shape: Shape::Points, marks });
    }
    let all = points.iter().flat_map(|series| &series.marks).chain(&base);
    let y = Axis::linear(y_title, all.map(|m| m.y));
    let quiet = Series { class: "quiet", shape: Shape::Points, marks: base.into_iter().collect() };
    let series = lines.into_iter().chain([quiet]).chain(points).collect();
    let svg = Plot { x: Axis::linear(x_title, [0.0, 100.0]), y, series }.draw(description);
    (svg, family_legend(&families))
}

/// The colours of `families`; nothing for a single one, which needs no name.
fn family_legend(families: &[FamilyRow]) -> Legend {
    let row =
        |(number, family): (usize, &FamilyRow)| (format!("dot {}", colour(number)), family.label.clone());
    if families.len() > 1 { families.iter().enumerate().map(row).collect() } else { Vec::new() }
}

/// The size of every scheme against coverage.
pub(super) fn size(sweep: &SweepReport) -> Figure {
    let largest = sweep.schemes.iter().map(|s| s.figures.bytes).chain(sweep.base_bytes).max().unwrap_or(0);
    let unit = ByteUnit::for_largest(largest);
    let (svg, legend) = against_coverage(
        sweep,
        &format!("size of all tensors ({})", unit.name),
        sweep.base_bytes.map(|bytes| unit.value(bytes)),
        |s| unit.value(s.figures.bytes),
        |s| unit.text(s.figures.bytes),
        "Size of every scheme against its coverage",
    );
    let caption = "All tensors as they are stored, scales and embeddings included.";
    Figure { title: "Size".into(), svg, legend, caption: caption.into() }
}

/// The effective bits of every scheme against coverage.
pub(super) fn effective_bits(sweep: &SweepReport) -> Figure {
    let (svg, legend) = against_coverage(
        sweep,
        "effective bits per weight",
        Some(16.0),
        bits,
        |s| format!("{:.2} bits", bits(s)),
        "Effective bits of every scheme against its coverage",
    );
    let caption = "By ModelOpt’s cost model: over the weights of all groups, without scales and embeddings.";
    Figure { title: "Effective bits".into(), svg, legend, caption: caption.into() }
}

fn bits(scheme: &SchemeRow) -> f64 {
    scheme.figures.effective_bits.unwrap_or(f64::NAN)
}

fn score(scheme: &SchemeRow) -> f64 {
    scheme.figures.score.unwrap_or(f64::NAN)
}

/// The schemes as labelled points of summed score, one series for each family.
fn scheme_points(sweep: &SweepReport, x: impl Fn(&SchemeRow) -> f64) -> Vec<Series> {
    let names = sweep.short_names();
    let mark = |family: &FamilyRow, at: usize| {
        let (s, name) = (&sweep.schemes[at], &names[at]);
        Mark {
            x: x(s),
            y: score(s),
            title: format!(
                "{name}: {}, {:.2} bits, summed score {}",
                units::counted(s.fp8_groups(), "group"),
                bits(s),
                units::score(score(s))
            ),
            label: label(name_within(&family.label, name)),
        }
    };
    let series = |(number, family): (usize, &FamilyRow)| Series {
        class: colour(number + 1),
        shape: Shape::Points,
        marks: family.schemes.iter().map(|&at| mark(family, at)).collect(),
    };
    sweep.families().iter().enumerate().map(series).collect()
}

/// The line of what is best, and the points of schemes beside it.
fn best_and_schemes(sweep: &SweepReport, best: &str) -> Legend {
    let families = sweep.families();
    let name = |family: &FamilyRow| if families.len() > 1 { family.label.clone() } else { "schemes".into() };
    let points = families.iter().enumerate().map(|(at, f)| (format!("dot {}", colour(at + 1)), name(f)));
    [("line first".to_string(), best.to_string())].into_iter().chain(points).collect()
}

/// The summed score of the first n groups, least sensitive first, with the schemes on it.
pub(super) fn cumulative(sweep: &SweepReport) -> Figure {
    let choices = (0..sweep.groups.len()).filter(|&at| sweep.is_choice(at));
    let mut scores: Vec<f64> = choices.map(|at| sweep.groups[at].score).collect();
    scores.sort_by(|a, b| compare_scores(*a, *b));
    let mut sum = 0.0;
    let curve: Vec<Mark> = scores
        .iter()
        .enumerate()
        .map(|(at, score)| {
            sum += score;
            Mark { x: (at + 1) as f64, y: sum, title: String::new(), label: String::new() }
        })
        .collect();
    let points = scheme_points(sweep, |s| s.fp8_groups() as f64);
    let both = || curve.iter().chain(points.iter().flat_map(|series| &series.marks));
    let plot = Plot {
        x: Axis::linear("groups in FP8", both().map(|m| m.x).chain([0.0])),
        y: Axis::logarithmic("summed score (log)", both().map(|m| m.y)),
        series: [Series { class: "first", shape: Shape::Line, marks: curve.clone() }]
            .into_iter()
            .chain(points.iter().cloned())
            .collect(),
    };
    Figure {
        title: "Cumulative sensitivity".into(),
        svg: plot.draw("Summed sensitivity score against the number of groups in FP8"),
        legend: best_and_schemes(sweep, "the least sensitive groups first"),
        caption: "No choice of as many groups has a smaller sum than the line.".into(),
    }
}

/// The least summed score at each size, with the schemes.
pub(super) fn frontier(sweep: &SweepReport) -> Figure {
    let marks: Vec<Mark> = sweep
        .frontier
        .points
        .iter()
        .map(|p| Mark { x: p.effective_bits, y: p.score, title: String::new(), label: String::new() })
        .filter(|mark| mark.y > 0.0)
        .collect();
    let points = scheme_points(sweep, bits);
    let both = || marks.iter().chain(points.iter().flat_map(|series| &series.marks));
    let plot = Plot {
        x: Axis::linear("effective bits per weight", both().map(|m| m.x)),
        y: Axis::logarithmic("summed score (log)", both().map(|m| m.y)),
        series: [Series { class: "first", shape: Shape::Step, marks: marks.clone() }]
            .into_iter()
            .chain(points.iter().cloned())
            .collect(),
    };
    let caption = format!(
        "Below and to the left is better. The line steps through {}, the size of every scheme among those that were solved for; \
         a scheme above it gives away score at its size.",
        units::counted(sweep.frontier.points.len(), "optimal choice")
    );
    Figure {
        title: "Score against effective bits".into(),
        svg: plot.draw("Summed score against effective bits: the schemes and the Pareto frontier"),
        legend: best_and_schemes(sweep, "Pareto frontier: the exact best"),
        caption,
    }
}
