//! The loops in plain Rust, without branches so that the compiler can turn them into vector code of any target.

use super::EncodeRun;
use crate::fp8::rounding::{Rounding, code_of};
use crate::tensor::Dtype;
use crate::tensor::float::{bf16_to_f32, f16_to_f32};

pub(super) fn encode_run(dtype: Dtype, rounding: Rounding) -> EncodeRun {
    match (dtype, rounding) {
        (Dtype::BF16, Rounding::Exact) => bf16::<false>,
        (Dtype::BF16, Rounding::ModelOpt) => bf16::<true>,
        (Dtype::F16, Rounding::Exact) => f16::<false>,
        (Dtype::F16, Rounding::ModelOpt) => f16::<true>,
        (_, Rounding::Exact) => f32::<false>,
        (_, Rounding::ModelOpt) => f32::<true>,
    }
}

#[inline(always)]
fn bf16<const MODELOPT: bool>(scale: f32, source: &[u8], codes: &mut [u8]) {
    each(source, codes, |element| code_of::<MODELOPT>(bf16_to_f32(u16::from_le_bytes(element)), scale));
}

#[inline(always)]
fn f16<const MODELOPT: bool>(scale: f32, source: &[u8], codes: &mut [u8]) {
    each(source, codes, |element| code_of::<MODELOPT>(f16_to_f32(u16::from_le_bytes(element)), scale));
}

#[inline(always)]
fn f32<const MODELOPT: bool>(scale: f32, source: &[u8], codes: &mut [u8]) {
    each(source, codes, |element| code_of::<MODELOPT>(f32::from_le_bytes(element), scale));
}

#[inline(always)]
fn each<const SIZE: usize>(source: &[u8], codes: &mut [u8], code: impl Fn([u8; SIZE]) -> u8) {
    for (slot, element) in codes.iter_mut().zip(source.as_chunks::<SIZE>().0) {
        *slot = code(*element);
    }
}
