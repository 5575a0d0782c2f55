//! The plots of a sweep: size, effective bits, cumulative sensitivity, frontier.

use super::numbers::{self, Unit};
use super::{SchemeRow, Stored, Sweep};
use crate::manifest::compare_scores;
use crate::report::svg::{Axis, Mark, Plot, Series, Shape};

/// A drawing with the words around it.
pub(super) struct Figure {
    pub title: String,
    pub svg: String,
    /// The look of a mark and what it stands for; empty when the axes say it all.
    pub legend: Vec<(&'static str, String)>,
    pub caption: String,
}

/// Where each scheme stands on a coverage axis, with the title of the axis.
fn coverage(sweep: &Sweep) -> (String, Vec<f64>) {
    let points: Option<Vec<f64>> = sweep.schemes.iter().map(|s| s.percent).collect();
    if let Some(points) = points {
        return ("coverage point (% of ranked groups)".into(), points);
    }
    let candidates = sweep.groups.iter().filter(|g| g.candidate_bits.is_some()).count().max(1);
    let share = |s: &SchemeRow| s.fp8_groups() as f64 / candidates as f64 * 100.0;
    ("groups in FP8 (% of candidates)".into(), sweep.schemes.iter().map(share).collect())
}

impl SchemeRow {
    /// How many groups are in FP8.
    pub(super) fn fp8_groups(&self) -> usize {
        self.stored.iter().filter(|s| **s == Stored::Fp8).count()
    }

    /// How many groups are selected but stay in BF16.
    pub(super) fn kept_groups(&self) -> usize {
        self.stored.iter().filter(|s| **s == Stored::Kept).count()
    }
}

/// A quantity of every scheme against coverage.
fn against_coverage(
    sweep: &Sweep,
    y_title: &str,
    base: Option<f64>,
    value: impl Fn(&SchemeRow) -> f64,
    text: impl Fn(&SchemeRow) -> String,
    description: &str,
) -> String {
    let (x_title, places) = coverage(sweep);
    let names = sweep.short_names();
    let mut marks: Vec<Mark> = sweep
        .schemes
        .iter()
        .zip(&names)
        .zip(&places)
        .map(|((s, name), &x)| Mark {
            x,
            y: value(s),
            title: format!("{name}: {}", text(s)),
            label: String::new(),
        })
        .collect();
    marks.sort_by(|a, b| a.x.total_cmp(&b.x));
    let base = base.map(|y| Mark { x: 0.0, y, title: "base checkpoint".into(), label: "base".into() });
    let line: Vec<Mark> = base.iter().chain(&marks).cloned().collect();
    Plot {
        x: Axis::linear(x_title, [0.0, 100.0]),
        y: Axis::linear(y_title, line.iter().map(|m| m.y)),
        series: vec![
            Series { class: "first", shape: Shape::Line, marks: line },
            Series { class: "quiet", shape: Shape::Points, marks: base.into_iter().collect() },
            Series { class: "first", shape: Shape::Points, marks },
        ],
    }
    .draw(description)
}

/// The size of every scheme against coverage.
pub(super) fn size(sweep: &Sweep) -> Figure {
    let largest = sweep.schemes.iter().map(|s| s.bytes).chain(sweep.base_bytes).max().unwrap_or(0);
    let unit = Unit::for_largest(largest);
    let svg = against_coverage(
        sweep,
        &format!("size of all tensors ({})", unit.name),
        sweep.base_bytes.map(|bytes| unit.value(bytes)),
        |s| unit.value(s.bytes),
        |s| unit.text(s.bytes),
        "Size of every scheme against its coverage",
    );
    let caption = "All tensors as they are stored, scales and embeddings included.";
    Figure { title: "Size".into(), svg, legend: Vec::new(), caption: caption.into() }
}

/// The effective bits of every scheme against coverage.
pub(super) fn effective_bits(sweep: &Sweep) -> Figure {
    let svg = against_coverage(
        sweep,
        "effective bits per weight",
        Some(16.0),
        |s| s.effective_bits,
        |s| format!("{:.2} bits", s.effective_bits),
        "Effective bits of every scheme against its coverage",
    );
    let caption = "By ModelOpt’s cost model: over the weights of all groups, without scales and embeddings.";
    Figure { title: "Effective bits".into(), svg, legend: Vec::new(), caption: caption.into() }
}

/// The schemes as labelled points of summed score.
fn scheme_points(sweep: &Sweep, x: impl Fn(&SchemeRow) -> f64) -> Series {
    let marks = sweep.schemes.iter().zip(sweep.short_names()).map(|(s, name)| Mark {
        x: x(s),
        y: s.score,
        title: format!(
            "{name}: {}, {:.2} bits, summed score {}",
            numbers::groups(s.fp8_groups()),
            s.effective_bits,
            numbers::score(s.score)
        ),
        label: if name.chars().count() <= 12 { name } else { String::new() },
    });
    Series { class: "second", shape: Shape::Points, marks: marks.collect() }
}

/// The summed score of the first n groups, least sensitive first, with the schemes on it.
pub(super) fn cumulative(sweep: &Sweep) -> Figure {
    let mut scores: Vec<f64> =
        sweep.groups.iter().filter(|g| g.is_choice() && g.score.is_finite()).map(|g| g.score).collect();
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
pub(super) fn frontier(sweep: &Sweep) -> Figure {
    let name = &sweep.frontier.name;
    let marks: Vec<Mark> = sweep
        .frontier
        .points
        .iter()
        .filter(|p| p.score > 0.0 && p.score.is_finite())
        .map(|p| Mark { x: p.effective_bits, y: p.score, title: String::new(), label: String::new() })
        .collect();
    let points = scheme_points(sweep, |s| s.effective_bits);
    let both = || marks.iter().chain(&points.marks);
    let plot = Plot {
        x: Axis::linear("effective bits per weight", both().map(|m| m.x)),
        y: Axis::logarithmic("summed score (log)", both().map(|m| m.y)),
        series: vec![Series { class: "first", shape: Shape::Step, marks: marks.clone() }, points],
    };
    Figure {
        title: "Score against effective bits".into(),
        svg: plot.draw(&format!("Summed score against effective bits: the schemes and the {name}")),
        legend: vec![("line first", name.clone()), ("dot second", "schemes".into())],
        caption: "Below and to the left is better; a scheme above the line gives away score at its size."
            .into(),
    }
}

/// The least summed score of the frontier at no more than `bits`.
pub(super) fn attainable(sweep: &Sweep, bits: f64) -> Option<f64> {
    // Sums of the same groups in another order differ in their last digits.
    let within = sweep.frontier.points.iter().filter(|p| p.effective_bits <= bits + 1e-9);
    within.map(|p| p.score).filter(|s| s.is_finite()).min_by(f64::total_cmp)
}
