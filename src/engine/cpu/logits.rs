//! What is read from logits: cross-entropy, agreement of two models, the likeliest token.

use std::ops::Range;

use rayon::prelude::*;

use super::super::backend::Agreement;
use super::buffers::zeros;
use super::math::exp;
use crate::tensor::Kernel;
use crate::tensor::kernel::for_each_kernel;

/// Sums that are kept apart, so that they can stand in vectors.
const LANES: usize = 8;

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

/// Σ p (log p − log q), term by term. Good to about 1e-7, whatever the sum.
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

/// The sum of w = exp(base − largest), and that of w · (other − base).
#[inline(always)]
fn moments_run(base: &[f32], other: &[f32], largest: f32) -> (f64, f64) {
    let mut lanes = [(0.0f64, 0.0f64); LANES];
    for (base, other) in base.chunks(LANES).zip(other.chunks(LANES)) {
        for ((base, other), lane) in base.iter().zip(other).zip(&mut lanes) {
            let weight = f64::from(exp(*base - largest));
            lane.0 += weight;
            lane.1 += weight * (f64::from(*other) - f64::from(*base));
        }
    }
    lanes.iter().fold((0.0, 0.0), |sum, lane| (sum.0 + lane.0, sum.1 + lane.1))
}

/// The sum of w · (e^δ − 1 − δ) for δ = other − base − centre, and the largest |δ|.
#[inline(always)]
fn excess_run(base: &[f32], other: &[f32], largest: f32, centre: f64) -> (f64, f64) {
    let mut lanes = [(0.0f64, 0.0f64); LANES];
    for (base, other) in base.chunks(LANES).zip(other.chunks(LANES)) {
        for ((base, other), lane) in base.iter().zip(other).zip(&mut lanes) {
            let change = f64::from(*other) - f64::from(*base) - centre;
            // Where δ is small, by its series: the difference would leave nothing but noise.
            let mut series = 1.0 / 39_916_800.0;
            for factorial in [3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0] {
                series = series * change + 1.0 / factorial;
            }
            let near = series * change * change;
            let far = f64::from(exp(change as f32)) - 1.0 - change;
            let excess = if change.abs() < 0.5 { near } else { far };
            lane.0 += f64::from(exp(*base - largest)) * excess;
            lane.1 = if change.abs() > lane.1 { change.abs() } else { lane.1 };
        }
    }
    lanes.iter().fold((0.0, 0.0), |sum, lane| (sum.0 + lane.0, sum.1.max(lane.1)))
}

for_each_kernel! {
    fn softmax_sum(row: &[f32]) -> (f32, f64) = softmax_sum_run;
    fn gradient(row: &[f32], out: &mut [f32], largest: f32, factor: f32) = gradient_run;
    fn divergence(base: &[f32], other: &[f32], base_log: (f32, f64), other_log: (f32, f64)) -> f64 = divergence_run;
    fn moments(base: &[f32], other: &[f32], largest: f32) -> (f64, f64) = moments_run;
    fn excess(base: &[f32], other: &[f32], largest: f32, centre: f64) -> (f64, f64) = excess_run;
}

/// The loss of a row, from its largest value and the sum of exponentials.
fn loss_of(row: &[f32], label: u32, (largest, sum): (f32, f64)) -> f64 {
    f64::from(largest) + sum.ln() - f64::from(row[label as usize])
}

/// The loss of each row.
pub(super) fn cross_entropy(logits: &[f32], width: usize, labels: &[Option<(u32, f32)>]) -> Vec<f64> {
    let kernel = Kernel::best();
    let loss = |(row, label): (&[f32], &Option<(u32, f32)>)| {
        label.map_or(0.0, |(label, _)| loss_of(row, label, softmax_sum(kernel, row)))
    };
    logits.par_chunks_exact(width).zip(labels).map(loss).collect()
}

/// Columns of logits that are computed together where no more of them is asked for than losses.
const STRIPE: usize = 1 << 13;

/// What the columns of a row that were seen so far leave of it.
#[derive(Clone, Copy)]
struct RowSoftmax {
    largest: f32,
    /// Of the exponentials of differences from the largest.
    sum: f64,
    /// The logit of the label.
    labelled: f32,
}

impl RowSoftmax {
    const NOTHING: RowSoftmax = RowSoftmax { largest: f32::NEG_INFINITY, sum: 0.0, labelled: 0.0 };

    fn see(&mut self, kernel: Kernel, logits: &[f32]) {
        let (largest, sum) = softmax_sum(kernel, logits);
        let before = self.largest;
        self.largest = before.max(largest);
        let shrunk = |sum: f64, from: f32| match from == self.largest {
            true => sum,
            false => sum * (f64::from(from) - f64::from(self.largest)).exp(),
        };
        self.sum = shrunk(self.sum, before) + shrunk(sum, largest);
    }

    fn loss(&self) -> f64 {
        f64::from(self.largest) + self.sum.ln() - f64::from(self.labelled)
    }
}

/// The loss of each row of `width` logits, of which `product` gives a stripe of columns at a time, without the `bias`: most of the
/// time of a large vocabulary goes into reading and writing logits otherwise, and most of the memory.
pub(super) fn cross_entropy_in_stripes(
    width: usize,
    bias: Option<&[f32]>,
    labels: &[Option<(u32, f32)>],
    product: impl Fn(Range<usize>) -> Vec<f32>,
) -> Vec<f64> {
    let kernel = Kernel::best();
    let mut rows = vec![RowSoftmax::NOTHING; labels.len()];
    for first in (0..width).step_by(STRIPE) {
        let stripe = first..width.min(first + STRIPE);
        let bias = bias.map(|bias| &bias[stripe.clone()]);
        let mut logits = product(stripe.clone());
        let logits = logits.par_chunks_exact_mut(stripe.len());
        logits.zip(&mut rows).zip(labels).for_each(|((logits, row), label)| {
            let Some((label, _)) = *label else { return };
            if let Some(bias) = bias {
                logits.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
            }
            if stripe.contains(&(label as usize)) {
                row.labelled = logits[label as usize - stripe.start];
            }
            row.see(kernel, logits);
        });
    }
    rows.iter().zip(labels).map(|(row, label)| label.map_or(0.0, |_| row.loss())).collect()
}

/// The loss of each row and the gradient of factor · loss.
pub(super) fn cross_entropy_and_gradient(
    logits: &[f32],
    width: usize,
    labels: &[Option<(u32, f32)>],
) -> (Vec<f64>, Vec<f32>) {
    let kernel = Kernel::best();
    let mut out = zeros(logits.len());
    let rows = out.par_chunks_exact_mut(width).zip(logits.par_chunks_exact(width)).zip(labels);
    let losses = rows.map(|((out, row), label)| {
        let Some((label, factor)) = *label else { return 0.0 };
        let (largest, sum) = softmax_sum(kernel, row);
        gradient(kernel, row, out, largest, (f64::from(factor) / sum) as f32);
        out[label as usize] -= factor;
        loss_of(row, label, (largest, sum))
    });
    let losses = losses.collect();
    (losses, out)
}

/// KL and agreement of each row.
pub(super) fn agreement(base: &[f32], other: &[f32], width: usize) -> Vec<Agreement> {
    let rows = base.par_chunks_exact(width).zip(other.par_chunks_exact(width));
    rows.map(|(base, other)| Agreement {
        divergence: divergence_of(base, other),
        same_top: largest_of(base) == largest_of(other),
    })
    .collect()
}

/// KL of the distributions of two rows of logits.
///
/// With d = other − base, KL = log Σ p e^d − Σ p d, which does not change when a constant is taken from d. With Σ p d taken, it
/// is log(1 + Σ p (e^δ − 1 − δ)): a sum of positive terms, so that a KL of 1e-12 is as exact as one of 1. (The differences of two
/// logarithms of F32 sums would be off by 1e-7 in each row, more than the KL of many a layer.)
fn divergence_of(base: &[f32], other: &[f32]) -> f64 {
    /// Beyond this the exponential of a difference may be no F32.
    const FAR: f64 = 60.0;
    let kernel = Kernel::best();
    let largest = base[largest_of(base) as usize];
    let (weight, along) = moments(kernel, base, other, largest);
    let (sum, farthest) = excess(kernel, base, other, largest, along / weight);
    if farthest <= FAR && !sum.is_nan() {
        return (sum / weight).ln_1p();
    }
    divergence(kernel, base, other, softmax_sum(kernel, base), softmax_sum(kernel, other))
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
