//! The sums that say what quantisation loses: of errors and of weights, in independent lanes.

use super::code::MAX;
use crate::tensor::Dtype;
use crate::tensor::float::{bf16_to_f32, e4m3_to_f32, f16_to_f32};
use crate::tensor::kernel::for_each_kernel;

/// Independent sums, so that the additions need not wait for one another.
const LANES: usize = 16;
/// The scale amax / 448 is itself rounded, so that amax / scale may come out one unit in the last place above 448;
/// quotients up to there do not count as saturated.
pub(super) const SATURATED_ABOVE: f32 = MAX.next_up();

/// Elements that are summed in F32 before they are added to the F64 sums.
const GROUP: usize = 8 * LANES;
/// Scales with which squares of weights neither overflow nor vanish in F32.
const SQUARES_FIT_F32: std::ops::RangeInclusive<f32> = 1e-12..=1e12;

/// The largest weight whose quotient does not count as saturated: dividing every weight would cost more than all the rest.
fn saturation_limit(scale: f32) -> f32 {
    let mut limit = SATURATED_ABOVE * scale;
    while limit.next_up() / scale <= SATURATED_ABOVE && limit.is_finite() {
        limit = limit.next_up();
    }
    while limit / scale > SATURATED_ABOVE && limit > 0.0 {
        limit = limit.next_down();
    }
    limit
}

/// Whether no code is zero or subnormal, the largest, or NaN: then no weight is zeroed or saturated.
#[inline(always)]
fn all_usual(codes: &[u8]) -> bool {
    codes.iter().fold(0, |odd, code| odd | u8::from((code & 0x7f).wrapping_sub(8) >= 0x76)) == 0
}

/// As [`e4m3_to_f32`] for usual codes.
#[inline(always)]
fn usual_to_f32(code: u8) -> f32 {
    let bits = (i32::from(code as i8) << 20) as u32 & 0x87f0_0000;
    f32::from_bits(bits + ((127 - 7) << 23))
}

for_each_kernel! {
    /// Adds elements that share a scale.
    pub(super) fn add_run(sums: &mut ErrorSums, dtype: Dtype, scale: f32, source: &[u8], codes: &[u8]) = ErrorSums::add_run;
}

/// [`LANES`] sums of each kind.
#[derive(Debug, Default)]
pub(super) struct ErrorSums {
    pub squared_error: [f64; LANES],
    pub squares: [f64; LANES],
    pub max_error: [f64; LANES],
    pub saturated: [u32; LANES],
    pub zeroed: [u32; LANES],
}

impl ErrorSums {
    #[inline(always)]
    fn add_run(&mut self, dtype: Dtype, scale: f32, source: &[u8], codes: &[u8]) {
        match dtype {
            Dtype::BF16 => self.add_all(scale, source, codes, |bytes| bf16_to_f32(u16::from_le_bytes(bytes))),
            Dtype::F16 => self.add_all(scale, source, codes, |bytes| f16_to_f32(u16::from_le_bytes(bytes))),
            _ => self.add_all(scale, source, codes, f32::from_le_bytes),
        }
    }

    #[inline(always)]
    fn add_all<const SIZE: usize>(
        &mut self,
        scale: f32,
        source: &[u8],
        codes: &[u8],
        read: impl Fn([u8; SIZE]) -> f32,
    ) {
        let limit = saturation_limit(scale);
        let source = source.as_chunks::<SIZE>().0;
        let in_f32 = if SQUARES_FIT_F32.contains(&scale) { codes.len() / GROUP * GROUP } else { 0 };
        let (source_groups, source) = source.split_at(in_f32);
        let (code_groups, codes) = codes.split_at(in_f32);
        for (source, codes) in source_groups.chunks_exact(GROUP).zip(code_groups.chunks_exact(GROUP)) {
            if all_usual(codes) {
                self.add_usual_group(scale, source, codes, &read);
            } else {
                self.add_group(scale, limit, source, codes, &read);
            }
        }
        for (index, (element, code)) in source.iter().zip(codes).enumerate() {
            self.add(index % LANES, scale, limit, read(*element), *code);
        }
    }

    /// Adds [`GROUP`] elements in F32, which is twice as wide; so few summands lose nothing that matters: the sums are
    /// right to 1e-6 and better, as their errors cancel out.
    #[inline(always)]
    fn add_group<const SIZE: usize>(
        &mut self,
        scale: f32,
        limit: f32,
        source: &[[u8; SIZE]],
        codes: &[u8],
        read: &impl Fn([u8; SIZE]) -> f32,
    ) {
        let (mut squared_error, mut squares, mut largest) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let (mut saturated, mut zeroed) = ([0u32; LANES], [0u32; LANES]);
        let (source, codes) = (source.as_chunks::<LANES>().0, codes.as_chunks::<LANES>().0);
        for (source, codes) in source.iter().zip(codes) {
            for lane in 0..LANES {
                let (weight, code) = (read(source[lane]), codes[lane]);
                let error = weight - e4m3_to_f32(code) * scale;
                squared_error[lane] += error * error;
                squares[lane] += weight * weight;
                largest[lane] = if error.abs() > largest[lane] { error.abs() } else { largest[lane] };
                saturated[lane] += u32::from(weight.abs() > limit);
                zeroed[lane] += u32::from((code & 0x7f == 0) & (weight != 0.0));
            }
        }
        for lane in 0..LANES {
            self.squared_error[lane] += f64::from(squared_error[lane]);
            self.squares[lane] += f64::from(squares[lane]);
            self.max_error[lane] = self.max_error[lane].max(f64::from(largest[lane]));
            self.saturated[lane] += saturated[lane];
            self.zeroed[lane] += zeroed[lane];
        }
    }

    /// As [`ErrorSums::add_group`] where [`all_usual`] codes leave nothing to count and are simple to decode: the same sums in
    /// half the instructions.
    #[inline(always)]
    fn add_usual_group<const SIZE: usize>(
        &mut self,
        scale: f32,
        source: &[[u8; SIZE]],
        codes: &[u8],
        read: &impl Fn([u8; SIZE]) -> f32,
    ) {
        let (mut squared_error, mut squares, mut largest) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
        let (source, codes) = (source.as_chunks::<LANES>().0, codes.as_chunks::<LANES>().0);
        for (source, codes) in source.iter().zip(codes) {
            for lane in 0..LANES {
                let weight = read(source[lane]);
                let error = weight - usual_to_f32(codes[lane]) * scale;
                squared_error[lane] += error * error;
                squares[lane] += weight * weight;
                largest[lane] = if error.abs() > largest[lane] { error.abs() } else { largest[lane] };
            }
        }
        for lane in 0..LANES {
            self.squared_error[lane] += f64::from(squared_error[lane]);
            self.squares[lane] += f64::from(squares[lane]);
            self.max_error[lane] = self.max_error[lane].max(f64::from(largest[lane]));
        }
    }

    #[inline(always)]
    fn add(&mut self, lane: usize, scale: f32, limit: f32, weight: f32, code: u8) {
        let error = f64::from(weight) - f64::from(e4m3_to_f32(code) * scale);
        self.squared_error[lane] += error * error;
        self.squares[lane] += f64::from(weight) * f64::from(weight);
        let largest = self.max_error[lane];
        self.max_error[lane] = if error.abs() > largest { error.abs() } else { largest };
        self.saturated[lane] += u32::from(weight.abs() > limit);
        self.zeroed[lane] += u32::from((code & 0x7f == 0) & (weight != 0.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Kernel;

    #[test]
    fn usual_codes_are_those_that_need_no_care() {
        for code in 0..=u8::MAX {
            let value = e4m3_to_f32(code);
            let usual = (1.0 / 64.0..MAX).contains(&value.abs());
            assert_eq!(all_usual(&[0x40, code]), usual, "{code:#x}");
            if usual {
                assert_eq!(usual_to_f32(code), value);
            }
        }
    }

    #[test]
    fn every_kernel_sums_up_to_the_same_bits() {
        let values: Vec<u8> =
            (0..5000u32).flat_map(|i| ((i * 7919 % 65537) as f32).sin().to_le_bytes()).collect();
        let codes: Vec<u8> = (0..5000u32).map(|i| (i % 127) as u8).collect();
        for dtype in [Dtype::BF16, Dtype::F16, Dtype::F32] {
            for count in [0, 1, 15, 16, 17, 128, 1237] {
                let sums = |kernel| {
                    let mut sums = ErrorSums::default();
                    add_run(
                        kernel,
                        &mut sums,
                        dtype,
                        0.003,
                        &values[..count * dtype.size()],
                        &codes[..count],
                    );
                    sums
                };
                let expected = format!("{:?}", sums(Kernel::BASELINE));
                for kernel in Kernel::available() {
                    assert_eq!(format!("{:?}", sums(kernel)), expected, "{} {dtype} {count}", kernel.name());
                }
            }
        }
    }
}
