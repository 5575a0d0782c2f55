//! Normalisation of rows, forward and reverse. Sums over a row are in F64, so they do not depend on the width of vectors.

use rayon::prelude::*;

use super::super::backend::Norm;
use super::buffers::zeros;

/// Rows that a thread takes at a time.
const ROWS: usize = 16;

/// The rows of `x` normalised.
pub(super) fn norm(x: &[f32], norm: &Norm) -> Vec<f32> {
    let width = norm.width();
    let mut y = zeros(x.len());
    y.par_chunks_mut(width * ROWS).zip(x.par_chunks(width * ROWS)).for_each(|(y, x)| {
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            match norm {
                Norm::Rms { weight, epsilon } => {
                    let factor = rms_factor(x, *epsilon);
                    for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                        *y = weight * (x * factor);
                    }
                }
                Norm::Layer { weight, bias, epsilon } => {
                    let (mean, factor) = layer_factors(x, *epsilon);
                    for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                        *y = (x - mean) * factor * weight + bias;
                    }
                }
            }
        }
    });
    y
}

/// The gradient by the input.
pub(super) fn norm_reverse(x: &[f32], g: &[f32], norm: &Norm) -> Vec<f32> {
    let width = norm.width();
    let mut out = zeros(x.len());
    let chunks =
        out.par_chunks_mut(width * ROWS).zip(x.par_chunks(width * ROWS)).zip(g.par_chunks(width * ROWS));
    chunks.for_each(|((out, x), g)| {
        let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(g.chunks_exact(width));
        for ((out, x), g) in rows {
            match norm {
                Norm::Rms { weight, epsilon } => {
                    let factor = rms_factor(x, *epsilon);
                    // y = w x f with f = (mean x² + ε)^-½: ∂/∂x = f (w g − x f² mean(w g x)).
                    let mean = dot3(weight, g, x) / width as f64;
                    let along = (mean * f64::from(factor) * f64::from(factor)) as f32;
                    for (((out, x), g), weight) in out.iter_mut().zip(x).zip(g).zip(weight) {
                        *out = factor * (weight * g - x * along);
                    }
                }
                Norm::Layer { weight, epsilon, .. } => {
                    let (mean, factor) = layer_factors(x, *epsilon);
                    let count = width as f64;
                    let g_mean = weight.iter().zip(g).map(|(w, g)| f64::from(w * g)).sum::<f64>() / count;
                    let along = weight
                        .iter()
                        .zip(g)
                        .zip(x)
                        .map(|((w, g), x)| f64::from(w * g) * f64::from((x - mean) * factor))
                        .sum::<f64>()
                        / count;
                    for (((out, x), g), weight) in out.iter_mut().zip(x).zip(g).zip(weight) {
                        *out = factor * (weight * g - g_mean as f32 - (x - mean) * factor * along as f32);
                    }
                }
            }
        }
    });
    out
}

fn rms_factor(x: &[f32], epsilon: f32) -> f32 {
    let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    1.0 / ((squares / x.len() as f64) as f32 + epsilon).sqrt()
}

fn layer_factors(x: &[f32], epsilon: f32) -> (f32, f32) {
    let count = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    (mean as f32, 1.0 / (variance as f32 + epsilon).sqrt())
}

fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f64 {
    a.iter().zip(b).zip(c).map(|((a, b), c)| f64::from(a * b) * f64::from(*c)).sum()
}
