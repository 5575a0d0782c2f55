//! Values as shades: few steps that can be told apart, and a legend that names them.

use crate::report::svg::{Anchor, Canvas};

/// The classes `s0` (harmless) to `s8` (harmful) of the style sheet.
const SHADES: usize = 9;
/// How much of the values may lie beyond either end of the scale, so that a single outlier does not flatten the rest.
const BEYOND: f64 = 0.01;

/// A scale of shades.
pub(super) struct Shades {
    /// Rising; the shade between two neighbours is one step.
    edges: Vec<f64>,
    /// What stands at each edge; empty where nothing does.
    labels: Vec<String>,
    /// Whether the lowest value is the most harmful.
    reversed: bool,
    ends: (&'static str, &'static str),
}

impl Shades {
    /// Half or whole decades over the positive `values`; larger is more harmful.
    pub fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = bulk(values.filter(|v| *v > 0.0).map(f64::log10)).unwrap_or((-1.0, 0.0));
        let (low, high) = ((low * 2.0).floor() as i32, (high * 2.0).ceil() as i32);
        let (low, high) = if low == high { (low, low + 2) } else { (low, high) };
        let step = (1..).find(|step| (high - low).div_euclid(*step) < SHADES as i32).unwrap_or(1);
        let first = low.div_euclid(step) * step;
        let halves: Vec<i32> = (first..high + step).step_by(step as usize).collect();
        let label = |half: &i32| match half.rem_euclid(2) {
            0 => crate::report::svg::power_of_ten(half / 2),
            _ => String::new(),
        };
        Shades {
            edges: halves.iter().map(|half| 10f64.powf(f64::from(*half) / 2.0)).collect(),
            labels: halves.iter().map(label).collect(),
            reversed: false,
            ends: ("harmless", "harmful"),
        }
    }

    /// Equal steps over the finite `values`, in decibels; smaller is more harmful.
    pub fn decibels(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = bulk(values).unwrap_or((0.0, 1.0));
        let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
        let count = |step: f64| ((high / step).ceil() - (low / step).floor()).max(1.0);
        let step = steps.into_iter().find(|step| count(*step) <= SHADES as f64).unwrap_or(1000.0);
        let first = (low / step).floor();
        let edges: Vec<f64> = (0..=count(step) as usize).map(|at| (first + at as f64) * step).collect();
        let decimals = usize::from(step < 1.0);
        let labels = edges.iter().map(|edge| format!("{edge:.decimals$}")).collect();
        Shades { edges, labels, reversed: true, ends: ("dB", "") }
    }

    /// The class of `value`.
    pub fn class(&self, value: f64) -> String {
        let inner = &self.edges[1..self.edges.len() - 1];
        self.class_of_step(inner.iter().filter(|edge| value >= **edge).count())
    }

    fn class_of_step(&self, step: usize) -> String {
        let last = self.edges.len() - 2;
        let step = if self.reversed { last - step } else { step };
        // The steps that there are, spread over all shades.
        let shade = (step * (SHADES - 1) + last / 2).checked_div(last).unwrap_or(SHADES / 2);
        format!("s{shade}")
    }

    /// The legend as an `<svg>` element, as wide as that of the most steps: all legends of a page have text of one size.
    pub fn legend(&self) -> String {
        let (width, left) = (34.0, 62.0);
        let steps = self.edges.len() - 1;
        let right = left + steps as f64 * width;
        let mut canvas = Canvas::new(left + SHADES as f64 * width + 62.0, 34.0);
        canvas.text("map", (left - 8.0, 13.0), Anchor::End, self.ends.0);
        canvas.text("map", (right + 8.0, 13.0), Anchor::Start, self.ends.1);
        for step in 0..steps {
            let title = format!("{:.3e} to {:.3e}", self.edges[step], self.edges[step + 1]);
            let at = (left + step as f64 * width, 2.0);
            canvas.rectangle(&self.class_of_step(step), at, (width - 1.0, 14.0), &title);
        }
        for (at, label) in self.labels.iter().enumerate().filter(|(_, l)| !l.is_empty()) {
            canvas.text("map", (left + at as f64 * width, 29.0), Anchor::Middle, label);
        }
        canvas.finish("Legend of the shades")
    }
}

/// The ends of the values without the outermost hundredth on either side.
fn bulk(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = values.filter(|v| v.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let beyond = (last as f64 * BEYOND).ceil() as usize;
    let beyond = if last >= 20 { beyond } else { 0 };
    Some((values[beyond], values[last - beyond]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_fall_into_half_decades_and_an_outlier_does_not_flatten_the_rest() {
        let scores = (0..200).map(|i| 10f64.powf(-5.0 + f64::from(i) / 50.0)).chain([24.4]);
        let shades = Shades::logarithmic(scores);
        assert_eq!(shades.edges.len(), 9);
        assert_eq!(shades.labels[0], "10⁻⁵");
        assert_eq!([shades.class(1e-9), shades.class(24.4)], ["s0", "s8"]);
        assert_ne!(shades.class(1.5e-3), shades.class(5e-3));
    }

    #[test]
    fn there_are_never_more_steps_than_shades() {
        for decades in [1, 4, 5, 9, 40, 300] {
            let scores = (0..=decades).map(|d| 10f64.powi(-d));
            let shades = Shades::logarithmic(scores);
            assert!((2..=SHADES + 1).contains(&shades.edges.len()), "{decades}: {:?}", shades.edges);
            assert!(shades.class(0.9).as_str() > shades.class(1e-300).as_str() || decades == 0);
        }
        for spread in [0.0, 0.05, 3.0, 80.0, 5000.0] {
            let shades = Shades::decibels([30.0, 30.0 + spread].into_iter());
            assert!((2..=SHADES + 1).contains(&shades.edges.len()), "{spread}: {:?}", shades.edges);
        }
    }

    #[test]
    fn low_decibels_are_the_harmful_end() {
        let shades = Shades::decibels([20.0, 30.0, 36.0].into_iter());
        assert_eq!([shades.class(20.0), shades.class(36.0)], ["s8", "s0"]);
    }
}
