//! Bicubic resampling of 8-bit pictures, as torchvision does it for Transformers.
//!
//! One pass along the rows and one along the columns, with 8 bits in between. Each pass is a sum in integers: weights have as many
//! bits behind the point as keep the largest in 16 bits (`upsample_bicubic2d_aa` of PyTorch; Pillow, whose scheme it is, has 22 bits, so
//! that about one value in a hundred differs by one from Pillow's). When it shrinks, the filter is as much wider, against aliasing.

use rayon::prelude::*;

use super::picture_file::RgbPicture;

/// The parameter of the cubic, as in Pillow and in PyTorch's antialiased filters.
const A: f64 = -0.5;
/// Half the width of the cubic.
const SUPPORT: f64 = 2.0;

/// The first input that an output takes, and the weight of each from there on.
struct Taps {
    start: usize,
    weights: Vec<i32>,
}

/// `picture` with another height and width. Both have to be at least 1.
pub fn resize_bicubic(picture: &RgbPicture, height: usize, width: usize) -> RgbPicture {
    let [old_height, old_width] = [picture.height, picture.width];
    let mut pixels = std::borrow::Cow::Borrowed(&picture.pixels);
    if width != old_width {
        let (taps, bits) = taps(old_width, width);
        let mut rows = vec![0; old_height * width * 3];
        rows.par_chunks_mut(width * 3).zip(pixels.par_chunks(old_width * 3)).for_each(|(new, old)| {
            for (pixel, tap) in new.as_chunks_mut::<3>().0.iter_mut().zip(&taps) {
                *pixel = std::array::from_fn(|channel| {
                    let inputs = old[tap.start * 3 + channel..].iter().step_by(3);
                    weighted(inputs.zip(&tap.weights), bits)
                });
            }
        });
        pixels = std::borrow::Cow::Owned(rows);
    }
    if height != old_height {
        let (taps, bits) = taps(old_height, height);
        let stride = width * 3;
        let mut rows = vec![0; height * stride];
        rows.par_chunks_mut(stride).zip(&taps).for_each(|(new, tap)| {
            for (at, value) in new.iter_mut().enumerate() {
                let inputs = pixels[tap.start * stride + at..].iter().step_by(stride);
                *value = weighted(inputs.zip(&tap.weights), bits);
            }
        });
        pixels = std::borrow::Cow::Owned(rows);
    }
    RgbPicture { height, width, pixels: pixels.into_owned() }
}

fn weighted<'a>(inputs: impl Iterator<Item = (&'a u8, &'a i32)>, bits: u32) -> u8 {
    // 16 bits of weights that add up to about one, times 8 bits.
    let half = if bits == 0 { 0 } else { 1 << (bits - 1) };
    let sum: i64 = inputs.map(|(value, weight)| i64::from(*value) * i64::from(*weight)).sum();
    ((sum + half) >> bits).clamp(0, 255) as u8
}

/// The taps of every output of a pass from `from` to `to` values, and the bits behind the point of their weights.
fn taps(from: usize, to: usize) -> (Vec<Taps>, u32) {
    let scale = from as f64 / to as f64;
    let stretch = scale.max(1.0);
    let inverse = 1.0 / stretch;
    let real: Vec<(usize, Vec<f64>)> = (0..to)
        .map(|at| {
            let centre = scale * (at as f64 + 0.5);
            // A conversion goes towards zero, and what is below it becomes zero.
            let start = (centre - SUPPORT * stretch + 0.5) as usize;
            let end = ((centre + SUPPORT * stretch + 0.5) as usize).min(from);
            let weight = |input: usize| cubic((input as f64 - centre + 0.5) * inverse);
            let weights: Vec<f64> = (start..end).map(weight).collect();
            let sum: f64 = weights.iter().sum();
            (start, weights.iter().map(|weight| weight / sum).collect())
        })
        .collect();
    let largest =
        real.iter().flat_map(|(_, weights)| weights).fold(0.0, |most: f64, weight| most.max(*weight));
    let fits = |bits: &u32| ((0.5 + largest * f64::from(1u32 << (bits + 1))) as i64) < 1 << 15;
    let bits = (0..22).find(|bits| !fits(bits)).unwrap_or(22);
    let fixed = |weight: &f64| (weight * f64::from(1u32 << bits)).round() as i32;
    let taps = real
        .iter()
        .map(|(start, weights)| Taps { start: *start, weights: weights.iter().map(fixed).collect() });
    (taps.collect(), bits)
}

fn cubic(x: f64) -> f64 {
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_picture_stays_plain_and_the_same_size_changes_nothing() {
        let plain = RgbPicture { height: 5, width: 7, pixels: [10, 128, 255].repeat(35) };
        for [height, width] in [[3, 20], [50, 2], [1, 1]] {
            let other = resize_bicubic(&plain, height, width);
            assert_eq!(other.pixels, [10, 128, 255].repeat(height * width));
        }
        let noise =
            RgbPicture { height: 5, width: 7, pixels: (0..105).map(|i| (i * 37 % 256) as u8).collect() };
        assert_eq!(resize_bicubic(&noise, 5, 7).pixels, noise.pixels);
    }
}
