//! Products of a few rows with a whole weight, as generation has them: each row of the weight is read once, where it is mapped, and
//! nothing is packed.

use rayon::prelude::*;

use super::rows::Rows;
use crate::tensor::Kernel;
use crate::tensor::kernel::for_each_kernel;

/// More rows than this are faster in packed panels.
pub(super) const MOST_ROWS: usize = 4;
/// Values of a weight that stand in the cache as F32 at a time.
const PIECE: usize = 1024;
/// Sums that grow side by side, each of every 32nd product.
const LANES: usize = 32;
/// About so many values of a weight are one task.
const TASK: usize = 1 << 16;

/// Adds the products of `x` and `weight` to the lanes in turn.
#[inline(always)]
fn add_products_run(lanes: &mut [f32; LANES], x: &[f32], weight: &[f32]) {
    let (whole_x, rest_x) = x.as_chunks::<LANES>();
    let (whole_weight, rest_weight) = weight.as_chunks::<LANES>();
    let mut sums = *lanes;
    for (x, weight) in whole_x.iter().zip(whole_weight) {
        for ((sum, x), weight) in sums.iter_mut().zip(x).zip(weight) {
            *sum += x * weight;
        }
    }
    for ((sum, x), weight) in sums.iter_mut().zip(rest_x).zip(rest_weight) {
        *sum += x * weight;
    }
    *lanes = sums;
}

for_each_kernel! {
    fn add_products(lanes: &mut [f32; LANES], x: &[f32], weight: &[f32]) = add_products_run;
}

/// The sum of all lanes, halved until one is left.
fn sum(lanes: &mut [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    lanes[0]
}

/// x Wᵀ, row-major: `x` holds at most [`MOST_ROWS`] rows of `inner` values, and `weight` a row for each of `outputs`.
pub(super) fn few_rows(x: &[f32], inner: usize, weight: &dyn Rows, outputs: usize) -> Vec<f32> {
    if x.is_empty() || outputs == 0 {
        return vec![0.0; x.len().checked_div(inner).unwrap_or(0) * outputs];
    }
    let rows = x.len() / inner;
    let kernel = Kernel::best();
    let per_task = (TASK / inner).max(1);
    let mut by_output = vec![0.0; outputs * rows];
    by_output.par_chunks_mut(per_task * rows).enumerate().for_each(|(task, values)| {
        let mut piece = [0.0; PIECE];
        for (at, values) in values.chunks_exact_mut(rows).enumerate() {
            let mut lanes = [[0.0; LANES]; MOST_ROWS];
            for first in (0..inner).step_by(PIECE) {
                let piece = &mut piece[..PIECE.min(inner - first)];
                weight.read(task * per_task + at, first, piece);
                for (lanes, x) in lanes.iter_mut().zip(x.chunks_exact(inner)) {
                    add_products(kernel, lanes, &x[first..][..piece.len()], piece);
                }
            }
            values.iter_mut().zip(&mut lanes).for_each(|(value, lanes)| *value = sum(lanes));
        }
    });
    match rows {
        1 => by_output,
        _ => (0..rows).flat_map(|row| by_output.iter().skip(row).step_by(rows).copied()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{Scaled, Stored, Strided};
    use super::*;
    use crate::format::{Granularity, Scales, decode};
    use crate::tensor::{Dtype, Tensor};

    fn values(count: usize, seed: u32) -> Vec<f32> {
        (0..count)
            .map(|i| ((i as u32 ^ seed).wrapping_mul(2654435761) >> 8) as f32 / 8388608.0 - 1.0)
            .collect()
    }

    /// Compares `few_rows` with the definition, in F64, for a weight whose values are `exact`.
    fn compare(rows: usize, inner: usize, outputs: usize, weight: &dyn Rows, exact: impl Fn(usize) -> f64) {
        let x = values(rows * inner, 7);
        let y = few_rows(&x, inner, weight, outputs);
        assert_eq!(y.len(), rows * outputs);
        for (at, found) in y.iter().enumerate() {
            let (row, output) = (at / outputs, at % outputs);
            let product = |k: usize| f64::from(x[row * inner + k]) * exact(output * inner + k);
            let expected: f64 = (0..inner).map(product).sum();
            let size: f64 = (0..inner).map(|k| product(k).abs()).sum();
            assert!(
                (f64::from(*found) - expected).abs() <= 1e-6 * size,
                "{rows} × {inner} × {outputs} at {at}"
            );
        }
    }

    #[test]
    fn products_are_those_of_the_definition_for_every_kind_of_weight() {
        for (rows, inner, outputs) in [(1, 1, 1), (1, 2050, 77), (3, 31, 5), (4, 1056, 130), (2, 5, 3000)] {
            let plain = values(outputs * inner, 3);
            let strided = Strided { values: &plain, stride: inner };
            compare(rows, inner, outputs, &strided, |at| f64::from(plain[at]));

            let halves: Vec<u16> = plain.iter().map(|value| (value.to_bits() >> 16) as u16).collect();
            let bytes = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
            let tensor = Tensor::owned(Dtype::BF16, vec![outputs, inner], bytes);
            let of_half = |at: usize| f64::from(f32::from_bits(u32::from(halves[at]) << 16));
            compare(rows, inner, outputs, &Stored::new(&tensor, inner), of_half);

            let codes: Vec<u8> =
                (0..outputs * inner).map(|at| (at * 37 % 127 + at % 2 * 128) as u8).collect();
            let channel: Vec<f32> = (0..outputs).map(|row| 0.001 * (row + 1) as f32).collect();
            let by_channel = Scales {
                granularity: Granularity::Channel,
                values: channel.clone(),
                block: [1, inner],
                shape: vec![outputs, 1],
            };
            let value = |at: usize| f64::from(decode(codes[at]));
            compare(rows, inner, outputs, &Scaled::new(&codes, inner, &by_channel), |at| {
                value(at) * f64::from(channel[at / inner])
            });

            let block = [2, 48];
            let across = inner.div_ceil(block[1]);
            let blocks: Vec<f32> =
                (0..outputs.div_ceil(block[0]) * across).map(|at| 0.01 + 0.001 * at as f32).collect();
            let by_block = Scales {
                granularity: Granularity::Block,
                values: blocks.clone(),
                block,
                shape: vec![outputs.div_ceil(2), across],
            };
            compare(rows, inner, outputs, &Scaled::new(&codes, inner, &by_block), |at| {
                value(at) * f64::from(blocks[at / inner / block[0] * across + at % inner / block[1]])
            });
        }
    }

    #[test]
    fn every_kernel_and_any_number_of_threads_give_the_same_bits() {
        let (x, weight) = (values(3 * 1500, 1), values(700 * 1500, 2));
        let rows = Strided { values: &weight, stride: 1500 };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| few_rows(&x, 1500, &rows, 700))
        };
        assert!(run(1) == run(2) && run(1) == run(5));
        let lanes = |kernel| {
            let mut lanes = [0.5; LANES];
            add_products(kernel, &mut lanes, &x[..1499], &weight[..1499]);
            lanes
        };
        assert!(Kernel::available().into_iter().all(|kernel| lanes(kernel) == lanes(Kernel::BASELINE)));
    }
}
