//! Buffers that are made by all threads: filling one of many megabytes on a single thread holds up all others.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Values that a thread fills at a time; shorter buffers are filled on the spot.
const PIECE: usize = 1 << 16;

/// So many zeros.
pub(super) fn zeros(count: usize) -> Vec<f32> {
    if count <= PIECE {
        return vec![0.0; count];
    }
    filled(count, |_, piece| piece.fill(MaybeUninit::new(0.0)))
}

/// The same values once more.
pub(super) fn copied(values: &[f32]) -> Vec<f32> {
    if values.len() <= PIECE {
        return values.to_vec();
    }
    filled(values.len(), |first, piece| {
        for (to, value) in piece.iter_mut().zip(&values[first..]) {
            to.write(*value);
        }
    })
}

/// A buffer of `count` values, all of which `fill` writes: it gets the number of the first and the place of some.
fn filled(count: usize, fill: impl Fn(usize, &mut [MaybeUninit<f32>]) + Sync) -> Vec<f32> {
    let mut buffer = Vec::with_capacity(count);
    let pieces = buffer.spare_capacity_mut()[..count].par_chunks_mut(PIECE);
    pieces.enumerate().for_each(|(number, piece)| fill(number * PIECE, piece));
    // SAFETY: there is room for them, and both functions above write each value of each piece.
    unsafe { buffer.set_len(count) };
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_all_lengths_hold_what_was_asked_for() {
        for count in [0, 1, PIECE, PIECE + 1, 3 * PIECE - 1] {
            assert_eq!(zeros(count), vec![0.0; count]);
            let values: Vec<f32> = (0..count).map(|at| at as f32).collect();
            assert_eq!(copied(&values), values);
        }
    }
}
