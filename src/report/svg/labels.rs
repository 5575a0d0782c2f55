//! Labels beside points, where there is room for them.

use super::canvas::Anchor;

/// The width of a character and the height of a line, in units, for the size of labels in plots. Estimates: the font is the
/// reader's.
const CHARACTER: f64 = 6.6;
const LINE: f64 = 12.0;
/// How far a label stands from its point.
const GAP: f64 = 6.0;

/// The box of a label that was placed: left, top, right, bottom.
type Area = (f64, f64, f64, f64);

/// Places labels one after another; a label that has no free place beside its point is left out.
pub struct Labels {
    bounds: Area,
    taken: Vec<Area>,
}

impl Labels {
    /// No labels yet, and room for them inside `bounds`.
    pub fn new(bounds: Area) -> Self {
        Labels { bounds, taken: Vec::new() }
    }

    /// Keeps labels away from a disc of `radius` around the point.
    pub fn keep_clear_of_point(&mut self, (x, y): (f64, f64), radius: f64) {
        self.taken.push((x - radius, y - radius, x + radius, y + radius));
    }

    /// Keeps labels away from the line through `points`.
    pub fn keep_clear_of_line(&mut self, points: &[(f64, f64)]) {
        for pair in points.windows(2) {
            let ((x1, y1), (x2, y2)) = (pair[0], pair[1]);
            let steps = ((x2 - x1).hypot(y2 - y1) / 4.0).ceil().max(1.0);
            for at in 0..=steps as u32 {
                let share = f64::from(at) / steps;
                self.keep_clear_of_point((x1 + (x2 - x1) * share, y1 + (y2 - y1) * share), 1.5);
            }
        }
    }

    /// The base line and anchor for `text` beside `point`: above it to the right, or else to the left, or else below.
    pub fn place(&mut self, (x, y): (f64, f64), text: &str) -> Option<((f64, f64), Anchor)> {
        let width = text.chars().count() as f64 * CHARACTER;
        let places = [
            (GAP, -GAP, Anchor::Start),
            (-GAP, -GAP, Anchor::End),
            (-GAP, GAP + LINE * 0.75, Anchor::End),
            (GAP, GAP + LINE * 0.75, Anchor::Start),
            (0.0, -GAP - 3.0, Anchor::Middle),
            (0.0, GAP + LINE, Anchor::Middle),
        ];
        places.into_iter().find_map(|(dx, dy, anchor)| {
            let left = match anchor {
                Anchor::Start => x + dx,
                Anchor::Middle => x - width / 2.0,
                Anchor::End => x + dx - width,
            };
            let base = y + dy;
            let area = (left, base - LINE * 0.8, left + width, base + LINE * 0.2);
            let inside = area.0 >= self.bounds.0
                && area.1 >= self.bounds.1
                && area.2 <= self.bounds.2
                && area.3 <= self.bounds.3;
            if !inside || self.taken.iter().any(|other| overlap(&area, other)) {
                return None;
            }
            self.taken.push(area);
            Some(((x + dx, base), anchor))
        })
    }
}

fn overlap(a: &Area, b: &Area) -> bool {
    a.0 < b.2 && b.0 < a.2 && a.1 < b.3 && b.1 < a.3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_move_aside_and_give_up_where_there_is_no_room() {
        let mut labels = Labels::new((0.0, 0.0, 100.0, 100.0));
        labels.keep_clear_of_point((50.0, 50.0), 4.0);
        labels.keep_clear_of_point((52.0, 50.0), 4.0);
        assert_eq!(labels.place((50.0, 50.0), "one").unwrap().1, Anchor::Start);
        assert_eq!(labels.place((52.0, 50.0), "two").unwrap().1, Anchor::End);
        let at_the_edge = Labels::new((0.0, 0.0, 100.0, 100.0)).place((98.0, 50.0), "edge");
        assert_eq!(at_the_edge.unwrap().1, Anchor::End);
        assert!(Labels::new((0.0, 0.0, 20.0, 100.0)).place((10.0, 50.0), "too long").is_none());
    }

    #[test]
    fn labels_stay_clear_of_a_rising_line() {
        let mut labels = Labels::new((0.0, 0.0, 100.0, 100.0));
        labels.keep_clear_of_line(&[(0.0, 100.0), (100.0, 0.0)]);
        assert_eq!(labels.place((50.0, 50.0), "word").unwrap().1, Anchor::End);
    }
}
