//! Rotary positions: frequencies, their scalings, and which axis of a picture each frequency turns by.

use serde_json::Value;

use super::backend::Rotation;
use crate::error::{Error, Result};

/// Frequencies of a language model's positions.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    frequencies: Vec<f32>,
    /// What cosines and sines are multiplied by.
    factor: f32,
    /// The axis of each frequency: time, row, column.
    axes: Vec<u8>,
}

/// How the frequencies are shared among time, rows and columns of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AxisSections {
    /// All of them by the one position of a token.
    One,
    /// The first so many by time, the next by rows, the rest by columns.
    InTurn([usize; 3]),
    /// Every third by rows, every third by columns, up to so many of each.
    Interleaved([usize; 3]),
}

impl Rotary {
    /// The frequencies that a configuration asks for; `size` is that of a head. `config` is the part that has `rope_theta` or
    /// `rope_parameters`; `usual` is the base of the family where it names none.
    ///
    /// # Errors
    /// [`Error::Refused`] for a scaling that is not computed here.
    pub fn read(
        config: &Value,
        size: usize,
        usual: f64,
        sections: fn([usize; 3]) -> AxisSections,
    ) -> Result<Self> {
        let said = [&config["rope_parameters"], &config["rope_scaling"]].into_iter().find(|v| v.is_object());
        let null = Value::Null;
        let said = said.unwrap_or(&null);
        let theta = said["rope_theta"].as_f64().or(config["rope_theta"].as_f64()).unwrap_or(usual);
        let kind = said["rope_type"].as_str().or(said["type"].as_str()).unwrap_or("default");
        let partial = said["partial_rotary_factor"].as_f64().or(config["partial_rotary_factor"].as_f64());
        if partial.is_some_and(|share| share != 1.0) {
            return Err(Error::refused("the engine does not compute partial rotary positions"));
        }
        let plain = |j: usize| theta.powf((2 * j) as f64 / size as f64).recip();
        let number = |key: &str| said[key].as_f64();
        let factor_of_kind = || {
            number("factor").ok_or_else(|| {
                Error::refused(format!(
                    "config.json gives no factor for rotary positions of the type `{kind}`"
                ))
                .with_hint("take rope_parameters, or rope_scaling, from the model's own config.json")
            })
        };
        let mut factor = 1.0;
        let half = size / 2;
        // The words are those of Transformers, which knows more of them.
        let frequencies: Vec<f64> = match kind {
            "default" | "mrope" => (0..half).map(plain).collect(),
            "linear" => {
                let scale = factor_of_kind()?;
                (0..half).map(|j| plain(j) / scale).collect()
            }
            "llama3" => {
                let scale = factor_of_kind()?;
                let (low, high) =
                    (number("low_freq_factor").unwrap_or(1.0), number("high_freq_factor").unwrap_or(4.0));
                let context = number("original_max_position_embeddings").unwrap_or(8192.0);
                let scaled = |frequency: f64| {
                    let turns = context * frequency / std::f64::consts::TAU;
                    let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - share) * frequency / scale + share * frequency
                };
                (0..half).map(|j| scaled(plain(j))).collect()
            }
            "yarn" => {
                let scale = factor_of_kind()?;
                let context = number("original_max_position_embeddings")
                    .or(config["max_position_embeddings"].as_f64())
                    .unwrap_or(2048.0);
                let (fast, slow) = (number("beta_fast").unwrap_or(32.0), number("beta_slow").unwrap_or(1.0));
                let magnitude =
                    |scale: f64, m: f64| if scale <= 1.0 { 1.0 } else { 0.1 * m * scale.ln() + 1.0 };
                factor = number("attention_factor").unwrap_or_else(|| {
                    match (number("mscale"), number("mscale_all_dim")) {
                        (Some(m), Some(all)) => magnitude(scale, m) / magnitude(scale, all),
                        _ => magnitude(scale, 1.0),
                    }
                });
                let place = |turns: f64| {
                    size as f64 * (context / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln())
                };
                let truncate = said["truncate"].as_bool().unwrap_or(true);
                let (low, high) = (place(fast), place(slow));
                let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min((size - 1) as f64));
                let high = if low == high { high + 0.001 } else { high };
                let keep = |j: usize| 1.0 - ((j as f64 - low) / (high - low)).clamp(0.0, 1.0);
                (0..half).map(|j| plain(j) / scale * (1.0 - keep(j)) + plain(j) * keep(j)).collect()
            }
            other => {
                return Err(Error::refused(format!("the engine does not compute rotary positions of kind `{other}`"))
                    .with_hint("it knows default, linear, llama3, yarn and mrope; examples/autoquant_baseline.py runs anything"));
            }
        };
        let stated =
            said["mrope_section"].as_array().map(|s| s.iter().filter_map(Value::as_u64).map(|n| n as usize));
        let sections = match stated.map(Iterator::collect::<Vec<_>>).as_deref() {
            Some(&[time, rows, columns]) => sections([time, rows, columns]),
            _ => AxisSections::One,
        };
        let axis = |j: usize| match sections {
            AxisSections::One => 0,
            AxisSections::InTurn([time, rows, _]) => u8::from(j >= time) + u8::from(j >= time + rows),
            AxisSections::Interleaved([_, rows, columns]) => match j % 3 {
                1 if j < 3 * rows => 1,
                2 if j < 3 * columns => 2,
                _ => 0,
            },
        };
        Ok(Rotary {
            frequencies: frequencies.into_iter().map(|f| f as f32).collect(),
            factor: factor as f32,
            axes: (0..half).map(axis).collect(),
        })
    }

    /// The rotation of rows at these positions in time, row and column.
    pub fn rotation(&self, positions: &[[u32; 3]]) -> Rotation {
        let angles = positions.iter().flat_map(|position| {
            self.frequencies.iter().zip(&self.axes).map(|(f, axis)| position[usize::from(*axis)] as f32 * f)
        });
        turned(angles, self.frequencies.len(), self.factor)
    }
}

/// Frequencies of a vision tower: half of them turn by rows, half by columns.
#[derive(Debug, Clone)]
pub(super) struct VisionRotary {
    frequencies: Vec<f32>,
}

impl VisionRotary {
    /// For heads of `size` values.
    pub fn new(theta: f64, size: usize) -> Self {
        let spatial = size / 2;
        let frequency = |j: usize| theta.powf((2 * j) as f64 / spatial as f64).recip() as f32;
        VisionRotary { frequencies: (0..spatial / 2).map(frequency).collect() }
    }

    /// The rotation of patches at these rows and columns.
    pub fn rotation(&self, positions: &[[u32; 2]]) -> Rotation {
        let angles = positions.iter().flat_map(|position| {
            position.iter().flat_map(|place| self.frequencies.iter().map(|f| *place as f32 * f))
        });
        turned(angles, 2 * self.frequencies.len(), 1.0)
    }
}

fn turned(angles: impl Iterator<Item = f32>, half: usize, factor: f32) -> Rotation {
    let (mut cosines, mut sines) = (vec![], vec![]);
    for angle in angles {
        let (sine, cosine) = f64::from(angle).sin_cos();
        cosines.push(cosine as f32 * factor);
        sines.push(sine as f32 * factor);
    }
    Rotation { cosines, sines, half }
}
