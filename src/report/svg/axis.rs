//! Axes with ticks at round numbers, linear or logarithmic.

/// How many intervals a linear axis should have, about.
const INTERVALS: f64 = 6.0;
/// How many decades are labelled one by one before every second, third … is.
const DECADES: i32 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AxisScale {
    Linear,
    Logarithmic,
}

/// A labelled position.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// The value.
    pub value: f64,
    /// As it is written.
    pub label: String,
}

/// An axis: a title, a range that ends at ticks, and the ticks.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What is measured, with its unit.
    pub title: String,
    /// From the lowest to the highest.
    pub ticks: Vec<Tick>,
    scale: AxisScale,
    low: f64,
    high: f64,
}

impl Axis {
    /// A linear axis that holds every finite one of `values`.
    pub fn linear(title: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values.into_iter().filter(|v| v.is_finite())).unwrap_or((0.0, 1.0));
        let spread = if high > low { high - low } else { low.abs().max(1.0) };
        let step = round_step(spread / INTERVALS);
        let (mut first, mut last) = ((low / step).floor(), (high / step).ceil());
        if first == last {
            (first, last) = (first - 1.0, last + 1.0);
        }
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        let tick = |at: i64| {
            let value = at as f64 * step;
            Tick { value, label: format!("{value:.decimals$}") }
        };
        let ticks: Vec<Tick> = (first as i64..=last as i64).map(tick).collect();
        Axis { title: title.into(), ticks, scale: AxisScale::Linear, low: first * step, high: last * step }
    }

    /// A logarithmic axis that holds every positive finite one of `values`; ticks are powers of ten.
    pub fn logarithmic(title: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) =
            range(values.into_iter().filter(|v| *v > 0.0 && v.is_finite())).unwrap_or((0.1, 1.0));
        let (mut first, mut last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        if first == last {
            (first, last) = (first - 1, last + 1);
        }
        let step = (last - first).div_euclid(DECADES + 1) + 1;
        let ticks = (first..=last)
            .rev()
            .step_by(step as usize)
            .map(|power| Tick { value: 10f64.powi(power), label: power_of_ten(power) })
            .collect::<Vec<_>>();
        let ticks = ticks.into_iter().rev().collect();
        Axis {
            title: title.into(),
            ticks,
            scale: AxisScale::Logarithmic,
            low: 10f64.powi(first),
            high: 10f64.powi(last),
        }
    }

    /// Whether the axis has a place for `value`.
    pub fn holds(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == AxisScale::Linear || value > 0.0)
    }

    /// Where `value` lies: 0 at the low end, 1 at the high end.
    pub fn position(&self, value: f64) -> f64 {
        match self.scale {
            AxisScale::Linear => (value - self.low) / (self.high - self.low),
            AxisScale::Logarithmic => (value / self.low).log10() / (self.high / self.low).log10(),
        }
    }
}

/// The smallest and the largest of `values`.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, v| match range {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// `10⁻³`; `1` and `10` as they are.
pub fn power_of_ten(power: i32) -> String {
    if (0..=1).contains(&power) {
        return 10i32.pow(power as u32).to_string();
    }
    let superscript = |c: char| match c {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    };
    format!("10{}", power.to_string().chars().map(superscript).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|t| t.label.as_str()).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_hold_the_values() {
        let axis = Axis::linear("GB", [4.13, 7.51]);
        assert_eq!(labels(&axis), ["4", "5", "6", "7", "8"]);
        assert_eq!((axis.position(4.0), axis.position(8.0)), (0.0, 1.0));
        assert_eq!(labels(&Axis::linear("%", [10.0, 100.0])), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(labels(&Axis::linear("dB", [31.51, 31.64])), ["31.50", "31.55", "31.60", "31.65"]);
        assert_eq!(labels(&Axis::linear("", [-0.3, 0.1])), ["-0.3", "-0.2", "-0.1", "0.0", "0.1"]);
    }

    #[test]
    fn an_axis_without_spread_or_values_still_has_a_range() {
        assert_eq!(labels(&Axis::linear("", [5.0])), ["4", "5", "6"]);
        assert_eq!(labels(&Axis::linear("", [f64::NAN])), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::logarithmic("", [10.0])), ["1", "10", "10²"]);
        assert_eq!(labels(&Axis::logarithmic("", [0.0, -1.0])), ["10⁻¹", "1"]);
    }

    #[test]
    fn logarithmic_ticks_are_powers_of_ten_and_thin_out() {
        let axis = Axis::logarithmic("", [2e-3, 24.0]);
        assert_eq!(labels(&axis), ["10⁻³", "10⁻²", "10⁻¹", "1", "10", "10²"]);
        assert!((axis.position(1.0) - 0.6).abs() < 1e-12);
        assert!(!axis.holds(0.0) && axis.holds(1e-9));
        assert_eq!(
            labels(&Axis::logarithmic("", [1e-12, 1.0])),
            ["10⁻¹²", "10⁻¹⁰", "10⁻⁸", "10⁻⁶", "10⁻⁴", "10⁻²", "1"]
        );
    }
}
