//! Matrix products in F32, in blocks that fit the caches and in an order that does not depend on the number of threads.
//!
//! The scheme is that of Goto and van de Geijn ("Anatomy of High-Performance Matrix Multiplication", 2008): both sides are packed
//! into panels for a few hundred steps of the inner dimension, and tiles of the result stay in registers. What is packed is read
//! by rows ([`super::rows::Rows`]), so weights are converted from BF16, or from codes and scales, on the way into the panels and never stand
//! in memory as F32. The left side is packed once for all threads; each packs the columns of the right side that it computes, so
//! that nobody waits for anybody in between.

use std::ops::Range;

use rayon::prelude::*;

use super::panels::{DEPTH, LEFT, RIGHT, Side, pack, pack_panels, with_memory};
use super::tile::{MOST, ProductTile};

/// About so many values of the left side are packed at a time.
const PACKED: usize = 1 << 20;
/// Rows whose panels stay in the cache while columns pass.
const HEIGHT: usize = 96;
/// The most columns of a task: their panels stay in the second cache while rows pass.
const WIDTH: usize = 256;
/// So many rows of a product take as long as packing the right side does.
const PACKING: usize = 64;
/// Products with fewer multiplications stay on one thread.
const WORTH_SHARING: usize = 1 << 21;

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
    let target = SharedTarget { values: target.values.as_mut_ptr(), stride: target.stride };
    multiply_into(extent, left, right, target, add);
}

/// `left` × `right`, row-major.
pub(crate) fn product(extent: Extent, left: Side, right: Side) -> Vec<f32> {
    let Extent { rows, columns, inner } = extent;
    let count = rows * columns;
    if inner == 0 || count == 0 {
        return vec![0.0; count];
    }
    // Filling it with zeros first would take a pass over memory of its own.
    let mut values = Vec::with_capacity(count);
    multiply_into(extent, left, right, SharedTarget { values: values.as_mut_ptr(), stride: columns }, false);
    // SAFETY: there is room for them, and the tasks of a product write each value before it is read.
    unsafe { values.set_len(count) };
    values
}

/// [`multiply`] into a target that has room for all rows and columns, for at least one step.
fn multiply_into(extent: Extent, left: Side, right: Side, target: SharedTarget, add: bool) {
    let Extent { rows, columns, inner } = extent;
    let tile = ProductTile::best();
    let threads = match rows * columns * inner >= WORTH_SHARING {
        true => rayon::current_num_threads(),
        false => 1,
    };
    let tasks = Tasks::of(extent, tile, threads);
    let span = (PACKED / rows / DEPTH).max(1).saturating_mul(DEPTH).min(inner);
    let padded = rows.next_multiple_of(tile.rows);
    with_memory(&LEFT, padded * span, |panels| {
        for first in (0..inner).step_by(span) {
            let steps = span.min(inner - first);
            let panels = &mut panels[..padded * steps];
            pack_panels(left, tile.rows, rows, first..first + steps, panels, threads > 1);
            let pass = ProductPass { tile, extent, first, steps, left: panels, right: right.flipped(), add };
            let task = |number: usize| {
                let (rows, columns) = tasks.rectangle(number);
                pass.run(rows, columns, &target);
            };
            match threads {
                1 => (0..tasks.count()).for_each(task),
                _ => (0..tasks.count()).into_par_iter().with_max_len(1).for_each(task),
            }
        }
    });
}

/// The target, of which each task writes other rows and columns.
struct SharedTarget {
    values: *mut f32,
    stride: usize,
}

// SAFETY: tasks write disjoint rectangles, see `ProductPass::run`.
unsafe impl Sync for SharedTarget {}

/// How a product is cut into tasks of about the same size.
struct Tasks {
    extent: Extent,
    /// Rows and columns of a task.
    size: [usize; 2],
}

impl Tasks {
    /// The cut with which `threads` threads are done first.
    fn of(extent: Extent, tile: ProductTile, threads: usize) -> Self {
        let narrowest = tile.columns;
        let stripes = 1..=match threads {
            1 => 1,
            _ => extent.rows.div_ceil(HEIGHT),
        };
        let cuts = stripes.flat_map(|stripes| {
            let height = extent.rows.div_ceil(stripes).next_multiple_of(tile.rows);
            (narrowest..=WIDTH).rev().step_by(narrowest).map(move |width| [height, width])
        });
        let time = |[height, width]: &[usize; 2]| {
            let tasks = extent.rows.div_ceil(*height) * extent.columns.div_ceil(*width);
            tasks.div_ceil(threads) * (height + PACKING) * width
        };
        let size = cuts.min_by_key(time).unwrap_or([extent.rows, WIDTH]);
        Tasks { extent, size }
    }

    fn across(&self) -> usize {
        self.extent.columns.div_ceil(self.size[1])
    }

    fn count(&self) -> usize {
        self.extent.rows.div_ceil(self.size[0]) * self.across()
    }

    /// Rows and columns of a task. Tasks side by side share rows.
    fn rectangle(&self, number: usize) -> (Range<usize>, Range<usize>) {
        let [height, width] = self.size;
        let (row, column) = (number / self.across() * height, number % self.across() * width);
        (row..self.extent.rows.min(row + height), column..self.extent.columns.min(column + width))
    }
}

/// The sums over some steps of the inner dimension, of which the left side is packed.
struct ProductPass<'a> {
    tile: ProductTile,
    extent: Extent,
    first: usize,
    steps: usize,
    left: &'a [f32],
    /// The transpose of the right side: its rows are the columns of the product.
    right: Side<'a>,
    add: bool,
}

impl ProductPass<'_> {
    /// One task.
    fn run(&self, rows: Range<usize>, columns: Range<usize>, target: &SharedTarget) {
        let tile = self.tile;
        debug_assert!(rows.end <= self.extent.rows && rows.start.is_multiple_of(tile.rows));
        let width = columns.len().next_multiple_of(tile.columns);
        with_memory(&RIGHT, width * DEPTH.min(self.steps), |packed| {
            for offset in (0..self.steps).step_by(DEPTH) {
                let steps = DEPTH.min(self.steps - offset);
                let first = self.first + offset;
                let packed = &mut packed[..width * steps];
                pack(self.right, tile.columns, columns.clone(), first..first + steps, packed);
                let left = &self.left[offset * self.extent.rows.next_multiple_of(tile.rows)..];
                self.blocks(&rows, &columns, [left, packed], first, steps, target);
            }
        });
    }

    /// The tiles of a task, for steps that are packed.
    fn blocks(
        &self,
        rows: &Range<usize>,
        columns: &Range<usize>,
        [left, right]: [&[f32]; 2],
        first: usize,
        steps: usize,
        target: &SharedTarget,
    ) {
        let tile = self.tile;
        let height = HEIGHT.next_multiple_of(tile.rows);
        for first_row in rows.clone().step_by(height) {
            let rows = first_row..rows.end.min(first_row + height);
            let panels = right.chunks_exact(tile.columns * steps);
            for (column, right) in columns.clone().step_by(tile.columns).zip(panels) {
                let width = tile.columns.min(columns.end - column);
                for row in rows.clone().step_by(tile.rows) {
                    let size = [tile.rows.min(rows.end - row), width];
                    let add = self.add || first > 0;
                    self.tile([&left[row * steps..], right], steps, [row, column], size, target, add);
                }
            }
        }
    }

    /// One tile of the product, of which `size` rows and columns are in it.
    fn tile(
        &self,
        [left, right]: [&[f32]; 2],
        steps: usize,
        [row, column]: [usize; 2],
        size: [usize; 2],
        target: &SharedTarget,
        add: bool,
    ) {
        if size == [self.tile.rows, self.tile.columns] {
            // SAFETY: `multiply` has checked that the target holds all rows and columns of the product, of which this tile is a
            // part, and no other task has it.
            unsafe {
                let to = target.values.add(row * target.stride + column);
                self.tile.run_into(steps, left, right, to, target.stride, add);
            }
            return;
        }
        let mut tile = [0.0f32; MOST];
        self.tile.run(steps, left, right, &mut tile);
        for at in 0..size[0] {
            let start = (row + at) * target.stride + column;
            let from = &tile[at * self.tile.columns..][..size[1]];
            // SAFETY: as above, for the part of the tile that is in the product; what is added to has been written before.
            unsafe {
                let to = target.values.add(start);
                match add {
                    true => {
                        let to = std::slice::from_raw_parts_mut(to, size[1]);
                        to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                    }
                    false => to.copy_from_nonoverlapping(from.as_ptr(), size[1]),
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
        // The last has more steps than are packed at a time.
        let extents = [(1, 1, 1), (5, 17, 3), (97, 33, 300), (13, 530, 257), (200, 4100, 5), (600, 20, 2100)];
        for (rows, columns, inner) in extents {
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
