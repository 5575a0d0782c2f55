//! Codes and scales with values of their own, and what they stand for by the definition of the formats.

use std::path::Path;
use std::process::{Command, Output};

use half::{bf16, f16};
use safetensors::tensor::Dtype;

use crate::common::directory::Raw;

/// The layer that is quantised.
pub const LAYER: &str = "model.layers.2.mlp.up_proj";

/// The value of an E4M3 code.
pub fn e4m3(code: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(code >> 3 & 15), f32::from(code & 7));
    let magnitude = match exponent {
        0 => mantissa / 8.0 * 2f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if code & 0x80 == 0 { magnitude } else { -magnitude }
}

/// Every finite code in turn.
pub fn codes(shape: &[usize]) -> Raw {
    let count: usize = shape.iter().product();
    let code = |at: usize| ((at * 37 + 11) % 255) as u8;
    let bytes = (0..count).map(code).map(|c| if c & 0x7f == 0x7f { 0x42 } else { c }).collect();
    Raw::new(Dtype::F8_E4M3, shape, bytes)
}

pub fn f32s(shape: &[usize], values: &[f32]) -> Raw {
    Raw::new(Dtype::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

pub fn f64s(shape: &[usize], values: &[f32]) -> Raw {
    Raw::new(Dtype::F64, shape, values.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect())
}

pub fn f16s(shape: &[usize], values: &[f32]) -> Raw {
    Raw::new(Dtype::F16, shape, values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect())
}

/// Powers of two that both exponents and every float hold exactly, each another one.
pub fn powers(count: usize) -> Vec<f32> {
    (0..count).map(|at| 2f32.powi(at as i32 % 9 - 10)).collect()
}

/// The same as bytes of exponents.
pub fn exponents(dtype: Dtype, shape: &[usize]) -> Raw {
    let count = shape.iter().product();
    Raw::new(dtype, shape, powers(count).iter().map(|v| (v.to_bits() >> 23) as u8).collect())
}

/// The weights that `codes` stand for in BF16, where the scale of an element is `scale(matrix, row, column)`.
pub fn expected(codes: &Raw, scale: impl Fn(usize, usize, usize) -> f32) -> Raw {
    let columns = codes.shape[codes.shape.len() - 1];
    let rows = codes.shape[codes.shape.len() - 2];
    let value = |(at, code): (usize, &u8)| {
        let (row, column) = (at / columns, at % columns);
        bf16::from_f32(e4m3(*code) * scale(row / rows, row % rows, column)).to_le_bytes()
    };
    Raw::new(Dtype::BF16, &codes.shape, codes.bytes.iter().enumerate().flat_map(value).collect())
}

/// Runs `examples/dequantize.lua`.
pub fn dequantize(from: &Path, to: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/dequantize.lua");
    Command::new(env!("CARGO_BIN_EXE_qlua")).arg(script).args([from, to]).output().unwrap()
}
