//! The plots of a sweep: size, effective bits, cumulative sensitivity, frontier.

use super::data::{SchemeRow, SweepReport};
use crate::manifest::compare_scores;
use crate::report::svg::{Axis, Mark, Plot, Series, Shape};
use crate::units::{self, ByteUnit};

/// The longest label that is tried beside a point, in characters.
const LABEL: usize = 12;

/// A drawing with the words around it.
pub(super) struct Figure {
    pub title: String,
    pub svg: String,
    /// The look of a mark and what it stands for; empty when the axes say it all.
    pub legend: Vec<(&'static str, String)>,
    pub caption: String,
}

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
pub(super) fn label(name: &str) -> String {
    if name.chars().count() <= LABEL { name.into() } else { String::new() }
}

/// A quantity of every scheme against coverage; a line joins nested coverage points, and others are named instead.
fn against_coverage(
    sweep: &SweepReport,
    y_title: &str,
    base: Option<f64>,
    value: impl Fn(&SchemeRow) -> f64,
    text: impl Fn(&SchemeRow) -> String,
    description: &str,
) -> String {
    let (x_title, places) = coverage(sweep);
    let (names, is_nested) = (sweep.short_names(), sweep.is_nested());
    let mark = |((scheme, name), &x): ((&SchemeRow, &String), &f64)| Mark {
        x,
        y: value(scheme),
        title: format!("{name}: {}", text(scheme)),
        label: if is_nested { String::new() } else { label(name) },
    };
    let mut marks: Vec<Mark> = sweep.schemes.iter().zip(&names).zip(&places).map(mark).collect();
    marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    let base = base.map(|y| Mark { x: 0.0, y, title: "base checkpoint".into(), label: "base".into() });
    let all: Vec<Mark> = base.iter().chain(&marks).cloned().collect();
    let y = Axis::linear(y_title, all.iter().map(|m| m.y));
    let mut series = vec![
        Series { class: "quiet", shape: Shape::Points, marks: base.into_iter().collect() },
        Series { class: "first", shape: Shape::Points, marks },
    ];
    if is_nested {
        series.insert(0, Series { class: "first", shape: Shape::Line, marks: all });
    }
    Plot { x: Axis::linear(x_title, [0.0, 100.0]), y, series }.draw(description)
}

/// The size of every scheme against coverage.
pub(super) fn size(sweep: &SweepReport) -> Figure {
    let largest = sweep.schemes.iter().map(|s| s.figures.bytes).chain(sweep.base_bytes).max().unwrap_or(0);
    let unit = ByteUnit::for_largest(largest);
    let svg = against_coverage(
        sweep,
        &format!("size of all tensors ({})", unit.name),
        sweep.base_bytes.map(|bytes| unit.value(bytes)),
        |s| unit.value(s.figures.bytes),
        |s| unit.text(s.figures.bytes),
        "Size of every scheme against its coverage",
    );
    let caption = "All tensors as they are stored, scales and embeddings included.";
    Figure { title: "Size".into(), svg, legend: Vec::new(), caption: caption.into() }
}

/// The effective bits of every scheme against coverage.
pub(super) fn effective_bits(sweep: &SweepReport) -> Figure {
    let svg = against_coverage(
        sweep,
        "effective bits per weight",
        Some(16.0),
        bits,
        |s| format!("{:.2} bits", bits(s)),
        "Effective bits of every scheme against its coverage",
    );
    let caption = "By ModelOpt’s cost model: over the weights of all groups, without scales and embeddings.";
    Figure { title: "Effective bits".into(), svg, legend: Vec::new(), caption: caption.into() }
}

fn bits(scheme: &SchemeRow) -> f64 {
    scheme.figures.effective_bits.unwrap_or(f64::NAN)
}

fn score(scheme: &SchemeRow) -> f64 {
    scheme.figures.score.unwrap_or(f64::NAN)
}

/// The schemes as labelled points of summed score.
fn scheme_points(sweep: &SweepReport, x: impl Fn(&SchemeRow) -> f64) -> Series {
    let marks = sweep.schemes.iter().zip(sweep.short_names()).map(|(s, name)| Mark {
        x: x(s),
        y: score(s),
        title: format!(
            "{name}: {}, {:.2} bits, summed score {}",
            units::counted(s.fp8_groups(), "group"),
            bits(s),
            units::score(score(s))
        ),
        label: label(&name),
    });
    Series { class: "second", shape: Shape::Points, marks: marks.collect() }
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
    let both = || curve.iter().chain(&points.marks);
    let plot = Plot {
        x: Axis::linear("groups in FP8", both().map(|m| m.x).chain([0.0])),
        y: Axis::logarithmic("summed score (log)", both().map(|m| m.y)),
        series: vec![Series { class: "first", shape: Shape::Line, marks: curve }, points],
    };
    Figure {
        title: "Cumulative sensitivity".into(),
        svg: plot.draw("Summed sensitivity score against the number of groups in FP8"),
        legend: vec![
            ("line first", "the least sensitive groups first".into()),
            ("dot second", "schemes".into()),
        ],
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
    let both = || marks.iter().chain(&points.marks);
    let plot = Plot {
        x: Axis::linear("effective bits per weight", both().map(|m| m.x)),
        y: Axis::logarithmic("summed score (log)", both().map(|m| m.y)),
        series: vec![Series { class: "first", shape: Shape::Step, marks: marks.clone() }, points],
    };
    let caption = format!(
        "Below and to the left is better. The line steps through {}, the size of every scheme among those that were solved for; \
         a scheme above it gives away score at its size.",
        units::counted(sweep.frontier.points.len(), "optimal choice")
    );
    Figure {
        title: "Score against effective bits".into(),
        svg: plot.draw("Summed score against effective bits: the schemes and the Pareto frontier"),
        legend: vec![("line first", "Pareto frontier".into()), ("dot second", "schemes".into())],
        caption,
    }
}
