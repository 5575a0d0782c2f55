//! Activation functions, forward and reverse.

use rayon::prelude::*;

use super::super::backend::Activation;
use super::buffers::zeros;
use super::math::{exp, sigmoid};
use crate::tensor::Kernel;
use crate::tensor::kernel::for_each_kernel;

/// Values that a thread takes at a time.
const CHUNK: usize = 1 << 14;

/// √(2/π).
const TANH_FACTOR: f32 = 0.797_884_6;

/// act(x) and its derivative.
#[inline(always)]
fn value_and_slope(x: f32, activation: Activation) -> (f32, f32) {
    match activation {
        Activation::Silu => {
            let s = sigmoid(x);
            (x * s, s * (1.0 + x * (1.0 - s)))
        }
        Activation::QuickGelu => {
            let s = sigmoid(1.702 * x);
            (x * s, s * (1.0 + 1.702 * x * (1.0 - s)))
        }
        Activation::GeluTanh => {
            let inner = TANH_FACTOR * (x + 0.044715 * x * x * x);
            let tanh = 1.0 - 2.0 / (1.0 + exp(2.0 * inner));
            let slope = TANH_FACTOR * (1.0 + 3.0 * 0.044715 * x * x);
            (0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope)
        }
        Activation::Gelu => {
            let share = (0.5 * (1.0 + libm::erf(f64::from(x) * std::f64::consts::FRAC_1_SQRT_2))) as f32;
            let density = 0.398_942_3 * exp(-0.5 * x * x);
            (x * share, share + x * density)
        }
    }
}

/// The inner loops, each for one function, so that the choice is made outside.
#[inline(always)]
fn activate_run(y: &mut [f32], x: &[f32], activation: Activation) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = value_and_slope(*x, activation).0;
    }
}

#[inline(always)]
fn slope_run(y: &mut [f32], x: &[f32], g: &[f32], activation: Activation) {
    for ((y, x), g) in y.iter_mut().zip(x).zip(g) {
        *y = g * value_and_slope(*x, activation).1;
    }
}

#[inline(always)]
fn gate_run(y: &mut [f32], gate: &[f32], up: &[f32], activation: Activation) {
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = value_and_slope(*gate, activation).0 * up;
    }
}

#[inline(always)]
fn gate_slope_run(
    out: (&mut [f32], &mut [f32]),
    gate: &[f32],
    up: &[f32],
    g: &[f32],
    activation: Activation,
) {
    for ((((by_gate, by_up), gate), up), g) in out.0.iter_mut().zip(out.1).zip(gate).zip(up).zip(g) {
        let (value, slope) = value_and_slope(*gate, activation);
        *by_gate = g * up * slope;
        *by_up = g * value;
    }
}

for_each_kernel! {
    fn activate_with(y: &mut [f32], x: &[f32], activation: Activation) = activate_run;
    fn slope_with(y: &mut [f32], x: &[f32], g: &[f32], activation: Activation) = slope_run;
    fn gate_with(y: &mut [f32], gate: &[f32], up: &[f32], activation: Activation) = gate_run;
    fn gate_slope_with(out: (&mut [f32], &mut [f32]), gate: &[f32], up: &[f32], g: &[f32], activation: Activation) = gate_slope_run;
}

/// act(x).
pub(super) fn activate(x: &[f32], activation: Activation) -> Vec<f32> {
    let kernel = Kernel::best();
    let mut y = zeros(x.len());
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .for_each(|(y, x)| activate_with(kernel, y, x, activation));
    y
}

/// g · act′(x).
pub(super) fn activate_reverse(x: &[f32], g: &[f32], activation: Activation) -> Vec<f32> {
    let kernel = Kernel::best();
    let mut y = zeros(x.len());
    y.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK))
        .zip(g.par_chunks(CHUNK))
        .for_each(|((y, x), g)| slope_with(kernel, y, x, g, activation));
    y
}

/// act(gate) · up.
pub(super) fn gate(gate: &[f32], up: &[f32], activation: Activation) -> Vec<f32> {
    let kernel = Kernel::best();
    let mut y = zeros(gate.len());
    y.par_chunks_mut(CHUNK)
        .zip(gate.par_chunks(CHUNK))
        .zip(up.par_chunks(CHUNK))
        .for_each(|((y, gate), up)| gate_with(kernel, y, gate, up, activation));
    y
}

/// The gradients by `gate` and `up`.
pub(super) fn gate_reverse(gate: &[f32], up: &[f32], g: &[f32], activation: Activation) -> [Vec<f32>; 2] {
    let kernel = Kernel::best();
    let (mut by_gate, mut by_up) = (zeros(gate.len()), zeros(gate.len()));
    by_gate
        .par_chunks_mut(CHUNK)
        .zip(by_up.par_chunks_mut(CHUNK))
        .zip(gate.par_chunks(CHUNK))
        .zip(up.par_chunks(CHUNK))
        .zip(g.par_chunks(CHUNK))
        .for_each(|((((by_gate, by_up), gate), up), g)| {
            gate_slope_with(kernel, (by_gate, by_up), gate, up, g, activation)
        });
    [by_gate, by_up]
}
