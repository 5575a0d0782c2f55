//! Matrix products in F32, in blocks that fit the caches and in an order that does not depend on the number of threads.
//!
//! The scheme is that of Goto and van de Geijn ("Anatomy of High-Performance Matrix Multiplication", 2008): both sides are packed
//! into panels for a few hundred steps of the inner dimension, and tiles of the result stay in registers. What is packed is read
//! by rows ([`Rows`]), so weights are converted from BF16, or from codes and scales, on the way into the panels and never stand
//! in memory as F32.

use rayon::prelude::*;

use super::rows::Rows;
use super::tile::{MOST, ProductTile};

/// Steps of the inner dimension in one pass.
const DEPTH: usize = 256;
/// Columns of the result that are packed at a time.
const WIDTH: usize = 4096;
/// About as many rows and columns of the result are one task.
const TASK: [usize; 2] = [96, 512];
/// Products with fewer multiplications stay on one thread.
const WORTH_SHARING: usize = 1 << 21;

/// A matrix, or its transpose.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    rows: &'a dyn Rows,
    transposed: bool,
}

impl<'a> Side<'a> {
    /// The matrix as it is read.
    pub fn plain(rows: &'a dyn Rows) -> Self {
        Side { rows, transposed: false }
    }

    /// Its transpose.
    pub fn transposed(rows: &'a dyn Rows) -> Self {
        Side { rows, transposed: true }
    }
}

/// Where a product is written: rows of `columns` values, `stride` apart.
pub(crate) struct ProductTarget<'a> {
    pub values: &'a mut [f32],
    pub stride: usize,
}

/// Rows, columns and inner dimension of a product.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
}

/// Writes `left` × `right` into `target`, or adds it to what stands there.
pub(crate) fn multiply(extent: Extent, left: Side, right: Side, target: ProductTarget, add: bool) {
    let Extent { rows, columns, inner } = extent;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(target.values.len() >= (rows - 1) * target.stride + columns, "the target is large enough");
    if inner == 0 {
        if !add {
            for row in target.values.chunks_mut(target.stride).take(rows) {
                row[..columns].fill(0.0);
            }
        }
        return;
    }
    let tile = ProductTile::best();
    let shared = rows * columns * inner >= WORTH_SHARING;
    let target = SharedTarget { values: target.values.as_mut_ptr(), stride: target.stride };
    let width = WIDTH.next_multiple_of(tile.columns).min(columns.next_multiple_of(tile.columns));
    let depth = DEPTH.min(inner);
    let mut left_panels = vec![0.0; rows.next_multiple_of(tile.rows) * depth];
    let mut right_panels = vec![0.0; width * depth];
    for first_column in (0..columns).step_by(width) {
        let columns = width.min(columns - first_column);
        for first_step in (0..inner).step_by(depth) {
            let steps = depth.min(inner - first_step);
            let left_panels = &mut left_panels[..rows.next_multiple_of(tile.rows) * steps];
            let right_panels = &mut right_panels[..columns.next_multiple_of(tile.columns) * steps];
            // The left side is packed by rows, the right side by columns: by the rows of its transpose.
            pack(left, tile.rows, 0, rows, first_step, steps, left_panels, shared);
            let flipped = Side { rows: right.rows, transposed: !right.transposed };
            pack(flipped, tile.columns, first_column, columns, first_step, steps, right_panels, shared);
            let step = Step { tile, rows, columns, first_column, steps, add: add || first_step > 0 };
            step.run(left_panels, right_panels, &target, shared);
        }
    }
}

/// Packs the rows `first .. first + count` of `side`, for the steps `first_step .. first_step + steps`, into panels of `height`
/// rows, in which the values of one step stand together. Rows that are missing from the last panel are zeros.
#[allow(clippy::too_many_arguments, reason = "a rectangle of a matrix, and where it goes")]
fn pack(
    side: Side,
    height: usize,
    first: usize,
    count: usize,
    first_step: usize,
    steps: usize,
    panels: &mut [f32],
    shared: bool,
) {
    let pack_panel = |(number, panel): (usize, &mut [f32])| {
        let start = first + number * height;
        let present = height.min(first + count - start);
        if side.transposed {
            for (step, values) in panel.chunks_exact_mut(height).enumerate() {
                side.rows.read(first_step + step, start, &mut values[..present]);
                values[present..].fill(0.0);
            }
            return;
        }
        let mut row = [0.0f32; DEPTH];
        for at in 0..height {
            let row = &mut row[..steps];
            match at < present {
                true => side.rows.read(start + at, first_step, row),
                false => row.fill(0.0),
            }
            for (values, value) in panel.chunks_exact_mut(height).zip(row.iter()) {
                values[at] = *value;
            }
        }
    };
    match shared {
        true => panels.par_chunks_mut(height * steps).enumerate().for_each(pack_panel),
        false => panels.chunks_mut(height * steps).enumerate().for_each(pack_panel),
    }
}

/// The target, of which each task writes other rows and columns.
struct SharedTarget {
    values: *mut f32,
    stride: usize,
}

// SAFETY: tasks write disjoint rectangles, see `Step::run`.
unsafe impl Sync for SharedTarget {}

/// One pass over the result: the sums over some steps of the inner dimension.
struct Step {
    tile: ProductTile,
    rows: usize,
    columns: usize,
    first_column: usize,
    steps: usize,
    add: bool,
}

impl Step {
    fn run(&self, left: &[f32], right: &[f32], target: &SharedTarget, shared: bool) {
        let height = TASK[0].next_multiple_of(self.tile.rows);
        let width = TASK[1].next_multiple_of(self.tile.columns);
        let across = self.columns.div_ceil(width);
        let task = |number: usize| {
            let (row, column) = (number / across * height, number % across * width);
            let rows = row..self.rows.min(row + height);
            let columns = column..self.columns.min(column + width);
            self.rectangle(rows, columns, left, right, target);
        };
        let tasks = self.rows.div_ceil(height) * across;
        match shared {
            true => (0..tasks).into_par_iter().for_each(task),
            false => (0..tasks).for_each(task),
        }
    }

    /// The tiles of some rows and columns.
    fn rectangle(
        &self,
        rows: std::ops::Range<usize>,
        columns: std::ops::Range<usize>,
        left: &[f32],
        right: &[f32],
        target: &SharedTarget,
    ) {
        let mut tile = [0.0f32; MOST];
        for column in columns.clone().step_by(self.tile.columns) {
            let right = &right[column * self.steps..];
            for row in rows.clone().step_by(self.tile.rows) {
                let left = &left[row * self.steps..];
                let (height, width) = (rows.end - row, columns.end - column);
                if height >= self.tile.rows && width >= self.tile.columns {
                    let start = row * target.stride + self.first_column + column;
                    // SAFETY: `multiply` has checked that the target holds all rows and columns of the product, of which this tile
                    // is a part, and no other task has this rectangle.
                    unsafe {
                        let to = target.values.add(start);
                        self.tile.run_into(self.steps, left, right, to, target.stride, self.add);
                    }
                    continue;
                }
                self.tile.run(self.steps, left, right, &mut tile);
                let width = self.tile.columns.min(width);
                for at in 0..self.tile.rows.min(height) {
                    let start = (row + at) * target.stride + self.first_column + column;
                    // SAFETY: as above, for the part of the tile that is in the product.
                    let to = unsafe { std::slice::from_raw_parts_mut(target.values.add(start), width) };
                    let from = &tile[at * self.tile.columns..][..width];
                    match self.add {
                        true => to.iter_mut().zip(from).for_each(|(to, from)| *to += from),
                        false => to.copy_from_slice(from),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Strided;
    use super::*;

    fn values(count: usize, seed: u32) -> Vec<f32> {
        (0..count)
            .map(|i| ((i as u32 ^ seed).wrapping_mul(2654435761) >> 8) as f32 / 8388608.0 - 1.0)
            .collect()
    }

    #[test]
    fn products_of_all_shapes_and_orders_are_those_of_the_definition() {
        for (rows, columns, inner) in [(1, 1, 1), (5, 17, 3), (97, 33, 300), (13, 530, 257), (200, 4100, 5)] {
            let (a, b) = (values(rows * inner, 1), values(inner * columns, 2));
            let transpose = |m: &[f32], rows: usize, columns: usize| -> Vec<f32> {
                (0..rows * columns).map(|i| m[i % rows * columns + i / rows]).collect()
            };
            let (at, bt) = (transpose(&a, rows, inner), transpose(&b, inner, columns));
            let plain_a = Strided { values: &a, stride: inner };
            let plain_b = Strided { values: &b, stride: columns };
            let flipped_a = Strided { values: &at, stride: rows };
            let flipped_b = Strided { values: &bt, stride: inner };
            let extent = Extent { rows, columns, inner };
            for (left, right) in [
                (Side::plain(&plain_a), Side::plain(&plain_b)),
                (Side::transposed(&flipped_a), Side::plain(&plain_b)),
                (Side::plain(&plain_a), Side::transposed(&flipped_b)),
            ] {
                let mut c = vec![1.0; rows * columns];
                multiply(extent, left, right, ProductTarget { values: &mut c, stride: columns }, true);
                for (i, found) in c.iter().enumerate() {
                    let (row, column) = (i / columns, i % columns);
                    let exact: f64 = (0..inner)
                        .map(|k| f64::from(a[row * inner + k]) * f64::from(b[k * columns + column]))
                        .sum();
                    assert!(
                        (f64::from(*found) - 1.0 - exact).abs() < 1e-4,
                        "{rows}x{columns}x{inner} at {i}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_kernel_of_the_machine_sums_alike() {
        for tile in ProductTile::available() {
            let steps = 77;
            let (left, right) = (values(steps * tile.rows, 3), values(steps * tile.columns, 4));
            let mut sums = [0.0; MOST];
            tile.run(steps, &left, &right, &mut sums);
            for row in 0..tile.rows {
                for column in 0..tile.columns {
                    let product = |k: usize| {
                        f64::from(left[k * tile.rows + row]) * f64::from(right[k * tile.columns + column])
                    };
                    let exact: f64 = (0..steps).map(product).sum();
                    assert!((f64::from(sums[row * tile.columns + column]) - exact).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let (a, b) = (values(300 * 700, 5), values(700 * 1100, 6));
        let extent = Extent { rows: 300, columns: 1100, inner: 700 };
        let run = |threads| {
            let mut c = vec![0.0; 300 * 1100];
            let (a, b) = (Strided { values: &a, stride: 700 }, Strided { values: &b, stride: 1100 });
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let target = ProductTarget { values: &mut c, stride: 1100 };
            pool.install(|| multiply(extent, Side::plain(&a), Side::plain(&b), target, false));
            c
        };
        assert!(run(1) == run(2) && run(1) == run(5));
    }
}
