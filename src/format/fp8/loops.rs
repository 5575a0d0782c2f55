//! The inner loops: runs of elements that share a scale, compiled for each [`crate::tensor::Kernel`].

use super::rounding::{Rounding, code_of};
use crate::tensor::Dtype;
use crate::tensor::float::{bf16_to_f32, e4m3_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use crate::tensor::kernel::for_each_kernel;

/// Elements of one pass of a loop, a multiple of every vector length. A shorter rest is padded to it, so that it is not
/// done element by element: the rows of many models are not a multiple of anything.
const GROUP: usize = 64;

for_each_kernel! {
    /// Writes the codes of `source`, little-endian BF16, F16 or F32, under `scale`.
    pub(super) fn encode_run(dtype: Dtype, rounding: Rounding, scale: f32, source: &[u8], codes: &mut [u8]) = encode;

    /// Writes `code × scale`, little-endian and rounded to `target`: BF16, F16 or F32.
    pub(super) fn decode_run(target: Dtype, scale: f32, codes: &[u8], values: &mut [u8]) = decode;
}

#[inline(always)]
fn encode(dtype: Dtype, rounding: Rounding, scale: f32, source: &[u8], codes: &mut [u8]) {
    match rounding {
        Rounding::Exact => encode_as::<false>(dtype, scale, source, codes),
        Rounding::ModelOpt => encode_as::<true>(dtype, scale, source, codes),
    }
}

#[inline(always)]
fn encode_as<const MODELOPT: bool>(dtype: Dtype, scale: f32, source: &[u8], codes: &mut [u8]) {
    let codes = codes.as_chunks_mut().0;
    match dtype {
        Dtype::BF16 => each(source.as_chunks().0, codes, |element| {
            [code_of::<MODELOPT>(bf16_to_f32(u16::from_le_bytes(element)), scale)]
        }),
        Dtype::F16 => each(source.as_chunks().0, codes, |element| {
            [code_of::<MODELOPT>(f16_to_f32(u16::from_le_bytes(element)), scale)]
        }),
        _ => each(source.as_chunks().0, codes, |element| {
            [code_of::<MODELOPT>(f32::from_le_bytes(element), scale)]
        }),
    }
}

#[inline(always)]
fn decode(target: Dtype, scale: f32, codes: &[u8], values: &mut [u8]) {
    let codes = codes.as_chunks().0;
    match target {
        Dtype::BF16 => each(codes, values.as_chunks_mut().0, |[code]| {
            f32_to_bf16(e4m3_to_f32(code) * scale).to_le_bytes()
        }),
        Dtype::F16 => each(codes, values.as_chunks_mut().0, |[code]| {
            f32_to_f16(e4m3_to_f32(code) * scale).to_le_bytes()
        }),
        _ => each(codes, values.as_chunks_mut().0, |[code]| (e4m3_to_f32(code) * scale).to_le_bytes()),
    }
}

/// Sets each element of `to` to `make` of its counterpart in `from`.
#[inline(always)]
fn each<const FROM: usize, const TO: usize>(
    from: &[[u8; FROM]],
    to: &mut [[u8; TO]],
    make: impl Fn([u8; FROM]) -> [u8; TO],
) {
    let (from, from_rest) = from.as_chunks::<GROUP>();
    let (to, to_rest) = to.as_chunks_mut::<GROUP>();
    for (from, to) in from.iter().zip(to) {
        for (from, to) in from.iter().zip(to) {
            *to = make(*from);
        }
    }
    if !from_rest.is_empty() {
        let (mut from, mut to) = ([[0; FROM]; GROUP], [[0; TO]; GROUP]);
        from[..from_rest.len()].copy_from_slice(from_rest);
        for (from, to) in from.iter().zip(&mut to) {
            *to = make(*from);
        }
        to_rest.copy_from_slice(&to[..to_rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::encode;
    use crate::tensor::Kernel;
    use half::{bf16, f16};

    /// How many random scales are tried, and every how manyth weight: Miri takes about a thousand times as long.
    const RANDOM_SCALES: usize = if cfg!(miri) { 1 } else { 8 };
    const STEP: usize = if cfg!(miri) { 263 } else { 1 };

    /// A generator of Lehmer's kind, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            self.0 >> 33
        }

        /// A positive finite scale of any magnitude, subnormal ones included.
        fn scale(&mut self) -> f32 {
            f32::from_bits(1 + self.next() as u32 % 0x7f7f_ffff)
        }
    }

    /// Scales that make results of every kind, and random ones: of weights as they are, and of any magnitude.
    fn scales() -> Vec<f32> {
        let mut random = Random(7);
        let mut scales =
            vec![1.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, 0.3 / 448.0, 3.0f32.powi(30)];
        for _ in 0..RANDOM_SCALES {
            scales.push(random.scale());
            scales.push(1e-6 + random.next() as f32 * 1e-12);
        }
        scales
    }

    /// By the definition, with the half crate's rounding to BF16.
    fn expected(value: f32, scale: f32, rounding: Rounding) -> u8 {
        if value.is_nan() {
            return if value.is_sign_negative() { 0xff } else { 0x7f };
        }
        match rounding {
            Rounding::Exact => encode(value / scale),
            Rounding::ModelOpt => encode(bf16::from_f32_const(value / scale).to_f32_const()),
        }
    }

    fn check(dtype: Dtype, source: &[u8], values: &[f32], scale: f32) {
        for rounding in [Rounding::Exact, Rounding::ModelOpt] {
            let expected: Vec<u8> = values.iter().map(|&value| expected(value, scale, rounding)).collect();
            for kernel in Kernel::available() {
                let mut codes = vec![0; values.len()];
                encode_run(kernel, dtype, rounding, scale, source, &mut codes);
                let wrong = (0..codes.len()).find(|&index| codes[index] != expected[index]);
                if let Some(index) = wrong {
                    panic!("{} {dtype} {rounding}: {:e} / {scale:e}", kernel.name(), values[index]);
                }
            }
        }
    }

    #[test]
    fn every_kernel_gives_every_half_precision_weight_its_code_under_any_scale() {
        let all = || (0..=u16::MAX).step_by(STEP);
        let source: Vec<u8> = all().flat_map(u16::to_le_bytes).collect();
        let brain: Vec<f32> = all().map(|bits| bf16::from_bits(bits).to_f32_const()).collect();
        let half: Vec<f32> = all().map(|bits| f16::from_bits(bits).to_f32_const()).collect();
        for scale in scales() {
            check(Dtype::BF16, &source, &brain, scale);
            check(Dtype::F16, &source, &half, scale);
        }
    }

    #[test]
    fn every_kernel_gives_f32_weights_their_codes_under_any_scale() {
        let mut random = Random(11);
        for scale in scales() {
            let any = |random: &mut Random| f32::from_bits((random.next() << 16 ^ random.next()) as u32);
            // Half of them any bits at all, half of them such that the quotient falls among the codes.
            let near = |random: &mut Random| (random.next() as f32 * 4e-7 - 440.0) * scale;
            let values: Vec<f32> = (0..20_000 / STEP)
                .map(|i| if i % 2 == 0 { any(&mut random) } else { near(&mut random) })
                .collect();
            let source: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            check(Dtype::F32, &source, &values, scale);
        }
    }

    #[test]
    fn every_kernel_encodes_runs_of_any_length_from_any_address() {
        let bytes: Vec<u8> = (0..2048u32).map(|i| (i.wrapping_mul(2654435761) >> 24) as u8).collect();
        for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
            for length in (0..=130).step_by(if cfg!(miri) { 13 } else { 1 }).chain([191, 192, 193, 300]) {
                for offset in [0, 1, 3] {
                    let source = &bytes[offset..offset + length * dtype.size()];
                    let mut baseline = vec![0; length];
                    encode_run(Kernel::BASELINE, dtype, Rounding::Exact, 1e-3, source, &mut baseline);
                    for kernel in Kernel::available() {
                        let mut codes = vec![0xaa; length + 2];
                        encode_run(kernel, dtype, Rounding::Exact, 1e-3, source, &mut codes[1..=length]);
                        assert_eq!(codes[1..=length], baseline);
                        assert_eq!((codes[0], codes[length + 1]), (0xaa, 0xaa), "nothing beyond is written");
                    }
                }
            }
        }
    }

    #[test]
    fn every_kernel_decodes_every_code_to_the_same_value() {
        let codes: Vec<u8> = (0..=u8::MAX).cycle().take(256 + 37).collect();
        for scale in scales() {
            for target in [Dtype::BF16, Dtype::F16, Dtype::F32] {
                let expected: Vec<u8> = codes
                    .iter()
                    .flat_map(|&code| {
                        let value = float8::F8E4M3::from_bits(code).to_f32() * scale;
                        match target {
                            Dtype::BF16 => bf16::from_f32_const(value).to_le_bytes().to_vec(),
                            Dtype::F16 => f16::from_f32_const(value).to_le_bytes().to_vec(),
                            _ => value.to_le_bytes().to_vec(),
                        }
                    })
                    .collect();
                for kernel in Kernel::available() {
                    let mut values = vec![0; expected.len()];
                    decode_run(kernel, target, scale, &codes, &mut values);
                    for (index, code) in codes.iter().enumerate().filter(|(_, code)| **code & 0x7f != 0x7f) {
                        let range = index * target.size()..(index + 1) * target.size();
                        assert_eq!(
                            values[range.clone()],
                            expected[range],
                            "{} {code:#x} {scale:e}",
                            kernel.name()
                        );
                    }
                    for index in [0x7f, 0xff] {
                        let element = &values[index * target.size()..(index + 1) * target.size()];
                        let tensor = crate::tensor::Tensor::owned(target, vec![], element.to_vec());
                        assert!(tensor.tolist(1)[0].is_nan());
                    }
                }
            }
        }
    }
}
