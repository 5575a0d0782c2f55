//! What is read from logits: cross-entropy, agreement of two models, the likeliest token.

use rayon::prelude::*;

use super::super::backend::Agreement;
use super::math::exp;
use crate::tensor::Kernel;
use crate::tensor::kernel::for_each_kernel;

/// The largest value and the sum of exponentials of differences from it.
#[inline(always)]
fn softmax_sum_run(row: &[f32]) -> (f32, f64) {
    let mut largest = f32::NEG_INFINITY;
    for value in row {
        largest = if *value > largest { *value } else { largest };
    }
    let mut sum = 0.0f64;
    for values in row.chunks(1024) {
        let mut lanes = [0.0f32; 16];
        for values in values.chunks(16) {
            for (value, lane) in values.iter().zip(&mut lanes) {
                *lane += exp(*value - largest);
            }
        }
        sum += lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
    }
    (largest, sum)
}

/// factor · (softmax − label).
#[inline(always)]
fn gradient_run(row: &[f32], out: &mut [f32], largest: f32, factor: f32) {
    for (out, value) in out.iter_mut().zip(row) {
        *out = exp(*value - largest) * factor;
    }
}

/// Σ p (log p − log q).
#[inline(always)]
fn divergence_run(base: &[f32], other: &[f32], base_log: (f32, f64), other_log: (f32, f64)) -> f64 {
    let mut sum = 0.0f64;
    let shift = (f64::from(other_log.0) + other_log.1.ln()) - (f64::from(base_log.0) + base_log.1.ln());
    for (base, other) in base.iter().zip(other) {
        let p = f64::from(exp(*base - base_log.0)) / base_log.1;
        sum += p * ((f64::from(*base) - f64::from(*other)) + shift);
    }
    sum
}

for_each_kernel! {
    fn softmax_sum(row: &[f32]) -> (f32, f64) = softmax_sum_run;
    fn gradient(row: &[f32], out: &mut [f32], largest: f32, factor: f32) = gradient_run;
    fn divergence(base: &[f32], other: &[f32], base_log: (f32, f64), other_log: (f32, f64)) -> f64 = divergence_run;
}

/// The loss of each row and the gradient of factor · loss.
pub(super) fn cross_entropy(
    logits: &[f32],
    width: usize,
    labels: &[Option<(u32, f32)>],
) -> (Vec<f64>, Vec<f32>) {
    let kernel = Kernel::best();
    let mut out = vec![0.0; logits.len()];
    let rows = out.par_chunks_exact_mut(width).zip(logits.par_chunks_exact(width)).zip(labels);
    let losses = rows.map(|((out, row), label)| {
        let Some((label, factor)) = *label else { return 0.0 };
        let (largest, sum) = softmax_sum(kernel, row);
        gradient(kernel, row, out, largest, (f64::from(factor) / sum) as f32);
        out[label as usize] -= factor;
        f64::from(largest) + sum.ln() - f64::from(row[label as usize])
    });
    let losses = losses.collect();
    (losses, out)
}

/// KL and agreement of each row.
pub(super) fn agreement(base: &[f32], other: &[f32], width: usize) -> Vec<Agreement> {
    let kernel = Kernel::best();
    let rows = base.par_chunks_exact(width).zip(other.par_chunks_exact(width));
    rows.map(|(base, other)| {
        let (base_log, other_log) = (softmax_sum(kernel, base), softmax_sum(kernel, other));
        Agreement {
            divergence: divergence(kernel, base, other, base_log, other_log),
            same_top: largest_of(base) == largest_of(other),
        }
    })
    .collect()
}

/// The column of the largest value, the first of equals.
pub(super) fn largest_of(row: &[f32]) -> u32 {
    let mut best = 0;
    for (column, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = column;
        }
    }
    best as u32
}
