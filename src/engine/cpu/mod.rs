//! The engine on the CPU: F32 values, sums in an order that does not depend on the number of threads.

mod activation;
mod attention;
mod buffers;
mod few_rows;
mod logits;
mod math;
mod norm;
mod panels;
mod product;
mod rotation;
mod round;
mod rows;
mod tile;

use std::ops::Range;

use rayon::prelude::*;

use super::backend::{Activation, Agreement, AttentionView, Backend, InputScale, Norm, Rotation};
use super::weight::LinearWeight;
use buffers::{copied, zeros};
use few_rows::{MOST_ROWS, few_rows};
use panels::Side;
use product::{Extent, product};
use rows::{Rows, RowsFrom, Scaled, Stored, Strided};

pub(super) use round::bytes_of;
pub(super) use rows::read_elements;

/// The CPU, with the threads of the current pool.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu;

/// Values that a thread takes at a time.
const CHUNK: usize = 1 << 16;

/// Runs `action` with the rows of `weight`.
fn with_rows<T>(weight: &LinearWeight, action: impl FnOnce(&dyn Rows) -> T) -> T {
    let columns = weight.inputs();
    match weight.scales() {
        None => action(&Stored::new(weight.values(), columns)),
        Some(scales) => action(&Scaled::new(weight.values().bytes(), columns, scales)),
    }
}

impl Backend for Cpu {
    type Buffer = Vec<f32>;

    fn upload(&self, values: Vec<f32>) -> Vec<f32> {
        values
    }

    fn download(&self, buffer: &Vec<f32>) -> Vec<f32> {
        buffer.clone()
    }

    fn length(&self, buffer: &Vec<f32>) -> usize {
        buffer.len()
    }

    fn copy(&self, buffer: &Vec<f32>) -> Vec<f32> {
        copied(buffer)
    }

    fn linear(&self, rows: usize, x: &Vec<f32>, weight: &LinearWeight, bias: Option<&[f32]>) -> Vec<f32> {
        let (outputs, inputs) = (weight.outputs(), weight.inputs());
        debug_assert_eq!(x.len(), rows * inputs);
        let mut y = with_rows(weight, |right| {
            if rows <= MOST_ROWS {
                return few_rows(x, inputs, right, outputs);
            }
            let extent = Extent { rows, columns: outputs, inner: inputs };
            let left = Strided { values: x, stride: inputs };
            product(extent, Side::plain(&left), Side::transposed(right))
        });
        if let Some(bias) = bias {
            y.par_chunks_exact_mut(outputs).for_each(|y| y.iter_mut().zip(bias).for_each(|(y, b)| *y += b));
        }
        y
    }

    fn linear_cross_entropy(
        &self,
        rows: usize,
        x: &Vec<f32>,
        weight: &LinearWeight,
        bias: Option<&[f32]>,
        labels: &[Option<(u32, f32)>],
    ) -> Vec<f64> {
        if rows <= MOST_ROWS {
            return self.cross_entropy(&self.linear(rows, x, weight, bias), weight.outputs(), labels);
        }
        let left = Strided { values: x, stride: weight.inputs() };
        with_rows(weight, |right| {
            logits::cross_entropy_in_stripes(weight.outputs(), bias, labels, |stripe| {
                let extent = Extent { rows, columns: stripe.len(), inner: weight.inputs() };
                let right = RowsFrom { rows: right, first: stripe.start };
                product(extent, Side::plain(&left), Side::transposed(&right))
            })
        })
    }

    fn linear_reverse(&self, rows: usize, g: &Vec<f32>, weight: &LinearWeight) -> Vec<f32> {
        let (outputs, inputs) = (weight.outputs(), weight.inputs());
        debug_assert_eq!(g.len(), rows * outputs);
        let extent = Extent { rows, columns: inputs, inner: outputs };
        let left = Strided { values: g, stride: outputs };
        with_rows(weight, |right| product(extent, Side::plain(&left), Side::plain(right)))
    }

    fn norm(&self, x: &Vec<f32>, norm: &Norm) -> Vec<f32> {
        norm::norm(x, norm)
    }

    fn norm_reverse(&self, x: &Vec<f32>, g: &Vec<f32>, norm: &Norm) -> Vec<f32> {
        norm::norm_reverse(x, g, norm)
    }

    fn rotate(&self, x: &mut Vec<f32>, heads: usize, rotation: &Rotation, back: bool) {
        rotation::rotate(x, heads, rotation, back)
    }

    fn attention(&self, q: &Vec<f32>, k: &Vec<f32>, v: &Vec<f32>, view: AttentionView) -> Vec<f32> {
        attention::attention(q, k, v, view)
    }

    fn attention_reverse(
        &self,
        q: &Vec<f32>,
        k: &Vec<f32>,
        v: &Vec<f32>,
        g: &Vec<f32>,
        view: AttentionView,
    ) -> [Vec<f32>; 3] {
        attention::attention_reverse(q, k, v, g, view)
    }

    fn activate(&self, x: &Vec<f32>, activation: Activation) -> Vec<f32> {
        activation::activate(x, activation)
    }

    fn activate_reverse(&self, x: &Vec<f32>, g: &Vec<f32>, activation: Activation) -> Vec<f32> {
        activation::activate_reverse(x, g, activation)
    }

    fn gate(&self, gate: &Vec<f32>, up: &Vec<f32>, activation: Activation) -> Vec<f32> {
        activation::gate(gate, up, activation)
    }

    fn gate_reverse(
        &self,
        gate: &Vec<f32>,
        up: &Vec<f32>,
        g: &Vec<f32>,
        activation: Activation,
    ) -> [Vec<f32>; 2] {
        activation::gate_reverse(gate, up, g, activation)
    }

    fn add(&self, x: &mut Vec<f32>, y: &Vec<f32>) {
        debug_assert_eq!(x.len(), y.len());
        x.par_chunks_mut(CHUNK)
            .zip(y.par_chunks(CHUNK))
            .for_each(|(x, y)| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
    }

    fn gather(&self, x: &Vec<f32>, width: usize, rows: &[usize]) -> Vec<f32> {
        let mut out = zeros(rows.len() * width);
        out.par_chunks_exact_mut(width)
            .zip(rows)
            .for_each(|(out, row)| out.copy_from_slice(&x[row * width..][..width]));
        out
    }

    fn scatter_add(&self, x: &mut Vec<f32>, y: &Vec<f32>, width: usize, rows: &[usize]) {
        for (y, row) in y.chunks_exact(width).zip(rows) {
            x[row * width..][..width].iter_mut().zip(y).for_each(|(x, y)| *x += y);
        }
    }

    fn columns(&self, x: &Vec<f32>, width: usize, columns: Range<usize>) -> Vec<f32> {
        let mut out = zeros(x.len() / width * columns.len());
        let rows = out.par_chunks_exact_mut(columns.len()).zip(x.par_chunks_exact(width));
        rows.for_each(|(out, x)| out.copy_from_slice(&x[columns.clone()]));
        out
    }

    fn beside(&self, parts: &[(&Vec<f32>, usize)]) -> Vec<f32> {
        let width: usize = parts.iter().map(|(_, width)| width).sum();
        let rows = parts.first().map_or(0, |(part, width)| part.len() / width);
        let mut out = zeros(rows * width);
        out.par_chunks_exact_mut(width).enumerate().for_each(|(row, mut out)| {
            for (part, width) in parts {
                let (to, rest) = out.split_at_mut(*width);
                to.copy_from_slice(&part[row * width..][..*width]);
                out = rest;
            }
        });
        out
    }

    fn append(&self, x: &mut Vec<f32>, y: &Vec<f32>) {
        x.extend_from_slice(y);
    }

    fn amax(&self, x: &Vec<f32>) -> f32 {
        round::amax(x)
    }

    fn round_input(&self, x: &Vec<f32>, width: usize, scale: InputScale) -> Vec<f32> {
        round::round_input(x, width, scale)
    }

    fn weighted_error(&self, y0: &Vec<f32>, y1: &Vec<f32>, g: &Vec<f32>) -> f64 {
        round::weighted_error(y0, y1, g)
    }

    fn squared_error(&self, y0: &Vec<f32>, y1: &Vec<f32>) -> f64 {
        round::squared_error(y0, y1)
    }

    fn sum_of_squares(&self, x: &Vec<f32>) -> f64 {
        round::sum_of_squares(x)
    }

    fn cross_entropy(&self, logits: &Vec<f32>, width: usize, labels: &[Option<(u32, f32)>]) -> Vec<f64> {
        logits::cross_entropy(logits, width, labels)
    }

    fn cross_entropy_and_gradient(
        &self,
        logits: &Vec<f32>,
        width: usize,
        labels: &[Option<(u32, f32)>],
    ) -> (Vec<f64>, Vec<f32>) {
        logits::cross_entropy_and_gradient(logits, width, labels)
    }

    fn agreement(&self, base: &Vec<f32>, other: &Vec<f32>, width: usize) -> Vec<Agreement> {
        logits::agreement(base, other, width)
    }

    fn largest(&self, x: &Vec<f32>, width: usize) -> Vec<u32> {
        x.par_chunks_exact(width).map(logits::largest_of).collect()
    }
}
