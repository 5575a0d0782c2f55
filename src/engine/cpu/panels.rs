//! Packing: parts of a matrix as panels, in the order in which tiles read them.
//!
//! A panel holds a few rows; the values of one step of the inner dimension stand together, and steps follow each other. Rows that
//! are missing from the last panel are zeros.

use std::cell::Cell;
use std::ops::Range;
use std::thread::LocalKey;

use rayon::prelude::*;

use super::rows::Rows;

/// Steps of the inner dimension that are summed in registers: as many as a panel has at most.
pub(super) const DEPTH: usize = 256;
/// Values of a cache line.
const LINE: usize = 16;
/// Rows that are read before they are turned.
const TURNED: usize = 4;
/// About as many values of a row are read at a time where rows are steps.
const ABREAST: usize = 128;

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

    /// The transpose of this one.
    pub fn flipped(self) -> Self {
        Side { transposed: !self.transposed, ..self }
    }
}

/// Memory of a thread for panels, for one product after the other.
pub(super) type PanelMemory = LocalKey<Cell<Vec<f32>>>;

thread_local! {
    /// For panels of the left side.
    pub(super) static LEFT: Cell<Vec<f32>> = const { Cell::new(vec![]) };
    /// For panels of the right side.
    pub(super) static RIGHT: Cell<Vec<f32>> = const { Cell::new(vec![]) };
}

/// Calls `action` with room for `count` values, of any value, that begins with a cache line: loads of whole lines are twice as fast
/// as those that cross from one to the next.
pub(super) fn with_memory<T>(
    memory: &'static PanelMemory,
    count: usize,
    action: impl FnOnce(&mut [f32]) -> T,
) -> T {
    // A product inside this one, on the same thread, finds nothing and makes its own.
    let mut values = memory.take();
    if values.len() < count + LINE {
        values.resize(count + LINE, 0.0);
    }
    let line = values.as_ptr().align_offset(LINE * size_of::<f32>());
    let result = action(&mut values[line..][..count]);
    memory.set(values);
    result
}

/// Packs the first `count` rows of `side`, the steps `steps`, into panels of `height` rows, [`DEPTH`] steps of all rows before the
/// next; on all threads where the work is `shared`.
pub(super) fn pack_panels(
    side: Side,
    height: usize,
    count: usize,
    steps: Range<usize>,
    panels: &mut [f32],
    shared: bool,
) {
    for (first, panels) in
        steps.clone().step_by(DEPTH).zip(panels.chunks_mut(count.next_multiple_of(height) * DEPTH))
    {
        let steps = first..steps.end.min(first + DEPTH);
        let pack_panel = |(number, panel): (usize, &mut [f32])| {
            let start = number * height;
            pack(side, height, start..count.min(start + height), steps.clone(), panel);
        };
        match shared {
            true => panels.par_chunks_mut(height * steps.len()).enumerate().for_each(pack_panel),
            false => panels.chunks_mut(height * steps.len()).enumerate().for_each(pack_panel),
        }
    }
}

/// Packs `rows` of `side`, at most [`DEPTH`] steps, into panels of `height` rows.
pub(super) fn pack(side: Side, height: usize, rows: Range<usize>, steps: Range<usize>, panels: &mut [f32]) {
    match side.transposed {
        true => pack_columns(side, height, rows, steps, panels),
        false => pack_rows(side, height, rows, steps, panels),
    }
}

/// Steps are rows of what is read.
fn pack_columns(side: Side, height: usize, rows: Range<usize>, steps: Range<usize>, panels: &mut [f32]) {
    let mut values = [0.0f32; DEPTH];
    let count = steps.len();
    // Neighbours of a row go into some panels that lie in the cache together.
    let most = (ABREAST / height).max(1) * height;
    for (first, panels) in rows.clone().step_by(most).zip(panels.chunks_mut(most * count)) {
        let values = &mut values[..most.min(rows.end - first)];
        for (at, step) in steps.clone().enumerate() {
            side.rows.read(step, first, values);
            for (panel, values) in panels.chunks_exact_mut(height * count).zip(values.chunks(height)) {
                let to = &mut panel[at * height..][..height];
                to[..values.len()].copy_from_slice(values);
                to[values.len()..].fill(0.0);
            }
        }
    }
}

/// Steps are columns of what is read.
fn pack_rows(side: Side, height: usize, rows: Range<usize>, steps: Range<usize>, panels: &mut [f32]) {
    let mut read = [[0.0f32; DEPTH]; TURNED];
    let count = steps.len();
    for (number, panel) in panels.chunks_exact_mut(height * count).enumerate() {
        for at in (0..height).step_by(TURNED) {
            let width = TURNED.min(height - at);
            for (which, values) in read[..width].iter_mut().enumerate() {
                let row = rows.start + number * height + at + which;
                match row < rows.end {
                    true => side.rows.read(row, steps.start, &mut values[..count]),
                    false => values[..count].fill(0.0),
                }
            }
            match width {
                TURNED => turn(&read, count, height, &mut panel[at..]),
                _ => {
                    for (step, to) in panel.chunks_exact_mut(height).enumerate() {
                        to[at..at + width].iter_mut().zip(&read).for_each(|(to, row)| *to = row[step]);
                    }
                }
            }
        }
    }
}

/// Writes the first `count` columns of `rows` into `to`, `stride` values apart.
fn turn(rows: &[[f32; DEPTH]; TURNED], count: usize, stride: usize, to: &mut [f32]) {
    assert!(count <= DEPTH && to.len() >= count.saturating_sub(1) * stride + TURNED);
    let mut first = 0;
    #[cfg(target_arch = "x86_64")]
    while first + TURNED <= count {
        use std::arch::x86_64::*;
        // SAFETY: SSE is there on every x86-64; four columns from `first` on are in `rows`, and `to` has room for them.
        unsafe {
            let mut block = [0, 1, 2, 3].map(|row| _mm_loadu_ps(rows[row].as_ptr().add(first)));
            let [a, b, c, d] = &mut block;
            _MM_TRANSPOSE4_PS(a, b, c, d);
            for (at, values) in block.into_iter().enumerate() {
                _mm_storeu_ps(to.as_mut_ptr().add((first + at) * stride), values);
            }
        }
        first += TURNED;
    }
    for step in first..count {
        for (to, row) in to[step * stride..].iter_mut().zip(rows) {
            *to = row[step];
        }
    }
}
