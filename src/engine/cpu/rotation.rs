//! Rotary position embeddings.

use rayon::prelude::*;

use super::super::backend::Rotation;

/// Rotates each of `heads` heads of each row by its angles, or back: the first half of a head against the second.
pub(super) fn rotate(x: &mut [f32], heads: usize, rotation: &Rotation, back: bool) {
    let half = rotation.half;
    let sign = if back { -1.0 } else { 1.0 };
    x.par_chunks_mut(heads * 2 * half).enumerate().for_each(|(row, x)| {
        let cosines = &rotation.cosines[row * half..][..half];
        let sines = &rotation.sines[row * half..][..half];
        for head in x.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            for (((first, second), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                let sine = sign * sine;
                (*first, *second) = (*first * cosine - *second * sine, *second * cosine + *first * sine);
            }
        }
    });
}
