//! A plot of two axes: lines, steps and points.

use super::axis::Axis;
use super::canvas::{Anchor, Canvas};
use super::labels::Labels;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 308.0;
/// The plotting area: left, top, right, bottom.
const AREA: (f64, f64, f64, f64) = (60.0, 20.0, WIDTH - 14.0, HEIGHT - 48.0);
const RADIUS: f64 = 4.0;
/// A straight line is drawn through at most this many of its points: more cannot be told apart.
const DRAWN: usize = 600;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Straight lines from point to point.
    Line,
    /// A value holds from its x to the next larger one: what a budget of x attains.
    Step,
    /// Points with a label beside each where there is room.
    Points,
}

/// One point.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Its place on the x axis.
    pub x: f64,
    /// Its place on the y axis.
    pub y: f64,
    /// What shows when pointed at.
    pub title: String,
    /// A short text beside it.
    pub label: String,
}

/// Points that belong together.
#[derive(Debug, Clone)]
pub struct Series {
    /// The class that gives the colour.
    pub class: &'static str,
    /// How it is drawn.
    pub shape: Shape,
    /// The points, by rising x.
    pub marks: Vec<Mark>,
}

/// A plot; points are painted over lines.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is plotted.
    pub series: Vec<Series>,
}

impl Plot {
    /// The `<svg>` element. Points that an axis has no place for, such as 0 on a logarithmic one, are left out.
    pub fn draw(&self, description: &str) -> String {
        let mut canvas = Canvas::new(WIDTH, HEIGHT);
        self.draw_axes(&mut canvas);
        let mut labels = Labels::new((AREA.0, 2.0, WIDTH - 2.0, AREA.3));
        for series in &self.series {
            let at: Vec<(f64, f64)> = self.places(series).into_iter().map(|(_, at)| at).collect();
            let path = match series.shape {
                Shape::Line => thinned(&at),
                // Every step counts: without one the line would stand above what was attained there.
                Shape::Step => steps(&at),
                Shape::Points => {
                    at.into_iter().for_each(|point| labels.keep_clear_of_point(point, RADIUS));
                    continue;
                }
            };
            labels.keep_clear_of_line(&path);
            canvas.path(&format!("line {}", series.class), &path);
        }
        for series in self.series.iter().filter(|s| s.shape == Shape::Points) {
            for (mark, at) in self.places(series) {
                canvas.disc(&format!("dot {}", series.class), at, RADIUS, &mark.title);
                if let Some((base, anchor)) = labels.place(at, &mark.label) {
                    canvas.text("label", base, anchor, &mark.label);
                }
            }
        }
        canvas.finish(description)
    }

    fn draw_axes(&self, canvas: &mut Canvas) {
        let (left, top, right, bottom) = AREA;
        for tick in &self.y.ticks {
            let y = self.at_y(tick.value);
            canvas.line("grid", (left, y), (right, y));
            canvas.text("tick", (left - 7.0, y + 4.0), Anchor::End, &tick.label);
        }
        for tick in &self.x.ticks {
            let x = self.at_x(tick.value);
            canvas.line("grid", (x, top), (x, bottom));
            canvas.text("tick", (x, bottom + 17.0), Anchor::Middle, &tick.label);
        }
        canvas.line("axis", (left, bottom), (right, bottom));
        canvas.text("caption", ((left + right) / 2.0, HEIGHT - 8.0), Anchor::Middle, &self.x.title);
        canvas.upward_text("caption", (13.0, (top + bottom) / 2.0), &self.y.title);
    }

    fn places<'a>(&self, series: &'a Series) -> Vec<(&'a Mark, (f64, f64))> {
        let held = series.marks.iter().filter(|m| self.x.holds(m.x) && self.y.holds(m.y));
        held.map(|m| (m, (self.at_x(m.x), self.at_y(m.y)))).collect()
    }

    fn at_x(&self, value: f64) -> f64 {
        AREA.0 + (AREA.2 - AREA.0) * self.x.position(value)
    }

    fn at_y(&self, value: f64) -> f64 {
        AREA.3 - (AREA.3 - AREA.1) * self.y.position(value)
    }
}

/// At most about [`DRAWN`] of `points`, the first and the last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(DRAWN).max(1);
    let last = points.len().saturating_sub(1);
    points.iter().enumerate().filter(|(at, _)| at % every == 0 || *at == last).map(|(_, p)| *p).collect()
}

/// The corners of a staircase through `points`.
fn steps(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut corners: Vec<(f64, f64)> = Vec::with_capacity(2 * points.len());
    for &(x, y) in points {
        if let Some(&(_, before)) = corners.last() {
            corners.push((x, before));
        }
        corners.push((x, y));
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(x: f64, y: f64) -> Mark {
        Mark { x, y, title: format!("{x}, {y}"), label: "p".into() }
    }

    #[test]
    fn points_lie_inside_the_plotting_area_and_those_without_a_place_are_left_out() {
        let marks = vec![mark(8.0, 1e-3), mark(12.0, 5.0), mark(16.0, 0.0), mark(9.0, f64::INFINITY)];
        let plot = Plot {
            x: Axis::linear("bits", marks.iter().map(|m| m.x)),
            y: Axis::logarithmic("score", marks.iter().map(|m| m.y)),
            series: vec![Series { class: "a", shape: Shape::Points, marks }],
        };
        let svg = plot.draw("scores");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(
            svg.contains(r#"<circle class="dot a" cx="60" cy="260" r="4"><title>8, 0.001</title>"#),
            "{svg}"
        );
    }

    #[test]
    fn a_staircase_keeps_a_value_until_the_next_point() {
        assert_eq!(
            steps(&[(0.0, 5.0), (2.0, 3.0), (4.0, 1.0)]),
            [(0.0, 5.0), (2.0, 5.0), (2.0, 3.0), (4.0, 3.0), (4.0, 1.0)]
        );
    }

    #[test]
    fn no_step_is_left_out() {
        let marks: Vec<Mark> = (0..2_000).map(|i| mark(f64::from(i), f64::from(2_000 - i))).collect();
        let (x, y) = (Axis::linear("", [0.0, 2e3]), Axis::linear("", [0.0, 2e3]));
        let series = vec![Series { class: "a", shape: Shape::Step, marks }];
        assert_eq!(Plot { x, y, series }.draw("steps").matches('L').count(), 2 * 1_999);
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 0.0)).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= DRAWN + 1 && thin[0].0 == 0.0 && thin.last().unwrap().0 == 9_999.0);
    }
}
