//! Inputs of linear layers rounded to FP8 and back, with the codec that the export quantises with.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::super::backend::InputScale;
use super::super::modelopt_factor::modelopt_factor;
use super::buffers::zeros;
use crate::format::{Encoder, MAX, Rounding, Scales, decode};
use crate::tensor::kernel::for_each_kernel;
use crate::tensor::{Dtype, Kernel};

/// Values that a thread takes at a time.
const CHUNK: usize = 1 << 14;

/// The value of each code of E4M3.
pub(super) fn code_values() -> &'static [f32; 256] {
    static VALUES: OnceLock<[f32; 256]> = OnceLock::new();
    VALUES.get_or_init(|| std::array::from_fn(|code| decode(code as u8)))
}

/// The largest absolute value; NaN where one is.
pub(super) fn amax(x: &[f32]) -> f32 {
    // Bits of absolute values are in the order of the values, NaN above all.
    let bits =
        x.par_chunks(CHUNK).map(|x| x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0)).max();
    f32::from_bits(bits.unwrap_or(0))
}

/// The values, rounded with their scales.
pub(super) fn round_input(x: &[f32], width: usize, scale: InputScale) -> Vec<f32> {
    // Runs do not cross rows: a row that is no multiple of the run ends with a shorter one.
    let (run, piece) = match scale {
        InputScale::Static(_) | InputScale::Amax(_) => (CHUNK, CHUNK),
        InputScale::Token => (width, width),
        InputScale::Group(columns) => (columns, width),
    };
    let mut out = zeros(x.len());
    out.par_chunks_mut(piece).zip(x.par_chunks(piece)).for_each(|(out, x)| {
        let mut codes = vec![0; run.min(x.len())];
        for (out, x) in out.chunks_mut(run).zip(x.chunks(run)) {
            let scale = match scale {
                InputScale::Static(scale) => scale,
                InputScale::Amax(amax) => {
                    let factor = modelopt_factor(amax);
                    let scaled: Vec<f32> = x.iter().map(|x| x * factor).collect();
                    round_run(&scaled, out, &mut codes[..x.len()], 1.0);
                    out.iter_mut().for_each(|out| *out *= 1.0 / factor);
                    continue;
                }
                _ => {
                    let bits = x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
                    let amax = f32::from_bits(bits);
                    if amax > 0.0 { (amax / MAX).max(f32::MIN_POSITIVE) } else { 1.0 }
                }
            };
            round_run(x, out, &mut codes[..x.len()], scale);
        }
    });
    out
}

/// One run of one scale.
fn round_run(x: &[f32], out: &mut [f32], codes: &mut [u8], scale: f32) {
    let values = code_values();
    let bytes: &[u8] = bytes_of(x);
    match Encoder::new(Dtype::F32, Rounding::Exact, &Scales::tensor(scale), x.len()) {
        Ok(encoder) => {
            encoder.encode(0, bytes, codes);
            for (out, code) in out.iter_mut().zip(codes) {
                *out = values[usize::from(*code)] * scale;
            }
        }
        // Inputs that are not finite have no scale; what comes of them is not finite either.
        Err(_) => out.copy_from_slice(x),
    }
}

/// The bytes of F32 values, little-endian as all machines are that the engine runs on.
pub(crate) fn bytes_of(x: &[f32]) -> &[u8] {
    // SAFETY: every byte of an F32 is initialised, and bytes have no alignment.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), std::mem::size_of_val(x)) }
}

#[inline(always)]
fn error_run(y0: &[f32], y1: &[f32], g: &[f32]) -> f64 {
    let mut lanes = [0.0f32; 16];
    for ((y0, y1), g) in y0.chunks(16).zip(y1.chunks(16)).zip(g.chunks(16)) {
        for (((y0, y1), g), lane) in y0.iter().zip(y1).zip(g).zip(&mut lanes) {
            let error = (g * (y1 - y0)).clamp(-1e10, 1e10);
            *lane += error * error;
        }
    }
    lanes.iter().map(|lane| f64::from(*lane)).sum()
}

for_each_kernel! {
    fn error_with(y0: &[f32], y1: &[f32], g: &[f32]) -> f64 = error_run;
}

/// Σ clamp(g · (y₁ − y₀), ±1e10)².
pub(super) fn weighted_error(y0: &[f32], y1: &[f32], g: &[f32]) -> f64 {
    const RUN: usize = 4096;
    let kernel = Kernel::best();
    let parts: Vec<f64> = y0
        .par_chunks(RUN)
        .zip(y1.par_chunks(RUN))
        .zip(g.par_chunks(RUN))
        .map(|((y0, y1), g)| error_with(kernel, y0, y1, g))
        .collect();
    parts.iter().sum()
}

/// Σ (y₁ − y₀)².
pub(super) fn squared_error(y0: &[f32], y1: &[f32]) -> f64 {
    const RUN: usize = 4096;
    let square = |(y0, y1): (&f32, &f32)| f64::from(y1 - y0) * f64::from(y1 - y0);
    let pairs = y0.par_chunks(RUN).zip(y1.par_chunks(RUN));
    let parts: Vec<f64> = pairs.map(|(y0, y1)| y0.iter().zip(y1).map(square).sum()).collect();
    parts.iter().sum()
}

/// Σ x².
pub(super) fn sum_of_squares(x: &[f32]) -> f64 {
    const RUN: usize = 4096;
    let square = |x: &f32| f64::from(*x) * f64::from(*x);
    let parts: Vec<f64> = x.par_chunks(RUN).map(|x| x.iter().map(square).sum()).collect();
    parts.iter().sum()
}
