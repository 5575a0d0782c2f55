//! Codes, scales and errors of the GPU against those of the CPU.

use super::data::{Random, fill, normal};
use qlua::Result;
use qlua::device::Device;
use qlua::device::cuda::{Gpu, Lane, Tuning};
use qlua::format::{
    BLOCK_SIZE, Encoding, Granularity, QuantisationError, QuantisedGroup, Rounding, ScaleRule, Scales,
    Wanted, WeightGroup, decode,
};
use qlua::tensor::{Dtype, Tensor};
use rayon::prelude::*;

const DTYPES: [Dtype; 3] = [Dtype::BF16, Dtype::F16, Dtype::F32];
const GRANULARITIES: [Granularity; 3] = [Granularity::Tensor, Granularity::Channel, Granularity::Block];
const ROUNDINGS: [Rounding; 2] = [Rounding::Exact, Rounding::ModelOpt];
const BOTH: Wanted = Wanted { codes: true, error: true };

/// What was compared.
#[derive(Default)]
struct Tally {
    elements: u64,
    codes: u64,
    scales: u64,
    errors: u64,
}

impl Tally {
    fn say(&self, what: &str) {
        println!(
            "{what}: {:.3} G elements; {} codes, {} amax or scales, {} errors differ",
            self.elements as f64 / 1e9,
            self.codes,
            self.scales,
            self.errors
        );
    }

    fn end(self) -> Result<()> {
        self.say("all");
        assert!(self.codes + self.scales + self.errors == 0, "GPU and CPU differ");
        Ok(())
    }

    fn run(&mut self, lane: &mut Lane, groups: Vec<WeightGroup>, wanted: Wanted) -> Result<()> {
        let bytes = groups.clone();
        lane.submit(groups, wanted)?;
        let expected: Vec<QuantisedGroup> =
            bytes.iter().map(|g| g.quantise(wanted)).collect::<Result<_>>()?;
        let finished = lane.wait()?;
        for (number, (group, expected)) in bytes.iter().zip(&expected).enumerate() {
            let got = finished.group(number);
            self.scales += u64::from(!same_amax(&got, expected));
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            self.scales += u64::from(!got.scales.values.iter().zip(&expected.scales.values).all(same));
            for (member, weight) in group.weights.iter().enumerate() {
                self.elements += weight.elements() as u64;
                if let Some(codes) = expected.codes.get(member) {
                    let pairs = finished
                        .codes(number, member)
                        .par_chunks(1 << 16)
                        .zip(codes.bytes().par_chunks(1 << 16));
                    let differ = |(a, b): (&[u8], &[u8])| match a == b {
                        true => 0,
                        false => a.iter().zip(b).filter(|(a, b)| a != b).count() as u64,
                    };
                    let differ: u64 = pairs.map(differ).sum();
                    if differ > 0 {
                        println!(
                            "  {differ} codes differ: {} {:?} {} {} {}",
                            weight.dtype(),
                            weight.shape(),
                            group.encoding.granularity,
                            group.encoding.rounding,
                            got.scales.values[0]
                        );
                    }
                    self.codes += differ;
                }
                if let (Some(a), Some(b)) = (got.errors.get(member), expected.errors.get(member))
                    && !same_error(a, b)
                {
                    println!(
                        "  errors differ: {a:?} {b:?} {} {:?} {}",
                        weight.dtype(),
                        weight.shape(),
                        group.encoding.granularity
                    );
                    self.errors += 1;
                }
            }
        }
        Ok(())
    }
}

fn same_amax(a: &QuantisedGroup, b: &QuantisedGroup) -> bool {
    let bits = |group: &QuantisedGroup| -> Option<Vec<u32>> {
        let bits = |value: &f32| if value.is_nan() { u32::MAX } else { value.to_bits() };
        group.amax.as_ref().map(|amax| amax.values.iter().map(bits).collect())
    };
    bits(a) == bits(b)
}

fn same_error(a: &QuantisationError, b: &QuantisationError) -> bool {
    let near = |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs();
    near(a.sum_squared_error, b.sum_squared_error)
        && near(a.sum_squares, b.sum_squares)
        && near(a.max_error, b.max_error)
        && (a.elements, a.saturated, a.zeroed) == (b.elements, b.saturated, b.zeroed)
}

fn group(weights: Vec<Tensor>, granularity: Granularity, rule: ScaleRule, rounding: Rounding) -> WeightGroup {
    WeightGroup { weights, encoding: Encoding::e4m3(granularity, rule, rounding), scales: None }
}

fn given(weight: Tensor, scale: f32, rounding: Rounding) -> WeightGroup {
    let scales = Some(Scales::tensor(scale));
    WeightGroup { scales, ..group(vec![weight], Granularity::Tensor, ScaleRule::F32, rounding) }
}

/// Any finite value, of any magnitude, zeros and subnormals included.
fn finite(random: &mut Random) -> f32 {
    loop {
        let value = f32::from_bits(random.next() as u32);
        if value.is_finite() {
            return value;
        }
    }
}

/// Scales of all kinds: of weights, next to powers of two, and at the ends of the range.
fn scales() -> Vec<f32> {
    let mut random = Random::new(99);
    let mut scales = vec![
        1.0,
        0.3 / 448.0,
        1.0f32.next_down(),
        1.0f32.next_up(),
        2f32.powi(-90),
        2f32.powi(-90).next_down(),
        2f32.powi(90),
        2f32.powi(90).next_up(),
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::MAX,
        2f32.powi(126),
    ];
    scales.extend((0..12).map(|_| 1e-5 + (random.next() >> 40) as f32 * 1e-9));
    scales
}

/// Values at the borders between codes: the middles of neighbours times the scale, and their neighbours.
fn borders(dtype: Dtype, shape: &[usize], scale: f32, seed: u64) -> Tensor {
    fill(dtype, shape, seed, |random| {
        let bits = random.next();
        let code = (bits % 0x7e) as u8;
        let middle = (f64::from(decode(code)) + f64::from(decode(code + 1))) / 2.0;
        let value = (middle * f64::from(scale)) as f32;
        let steps = (bits >> 8) % 5;
        let value = f32::from_bits((value.to_bits() + 2).wrapping_sub(steps as u32));
        if bits >> 63 == 1 { -value } else { value }
    })
}

/// Every bit pattern of a 16-bit dtype.
fn patterns(dtype: Dtype) -> Tensor {
    Tensor::owned(dtype, vec![1 << 16], (0..=u16::MAX).flat_map(u16::to_le_bytes).collect())
}

/// Small weights of every kind: shapes that fit nothing, groups, zeros, NaN, given scales.
fn oddities() -> Vec<WeightGroup> {
    let mut groups = vec![];
    let shapes = [
        [1, 1],
        [3, 5],
        [129, 257],
        [128, 128],
        [200, 344],
        [77, 3420],
        [40, 1280],
        [9, 11008],
        [300, 6],
        [0, 4],
    ];
    for dtype in DTYPES {
        for (number, shape) in shapes.iter().enumerate() {
            for granularity in GRANULARITIES {
                let rule = if number % 2 == 0 { ScaleRule::Bf16Up } else { ScaleRule::F32 };
                let rounding = ROUNDINGS[number / 2 % 2];
                groups.push(group(vec![normal(dtype, shape, number as u64)], granularity, rule, rounding));
                let tiny = fill(dtype, shape, number as u64, |random| finite(random) * 1e-30);
                groups.push(group(vec![tiny], granularity, rule, rounding));
            }
        }
        let zeros = Tensor::owned(dtype, vec![130, 200], vec![0; 130 * 200 * dtype.size()]);
        groups.extend(GRANULARITIES.map(|g| group(vec![zeros.clone()], g, ScaleRule::F32, Rounding::Exact)));
        let with_nan =
            fill(dtype, &[300, 40], 5, |random| if random.next() % 999 == 0 { f32::NAN } else { 1.0 });
        groups
            .extend(GRANULARITIES.map(|g| group(vec![with_nan.clone()], g, ScaleRule::F32, Rounding::Exact)));
        groups.push(given(with_nan, 0.01, Rounding::Exact));
    }
    let mixed = vec![
        normal(Dtype::BF16, &[500, 300], 1),
        normal(Dtype::F32, &[100, 300], 2),
        normal(Dtype::F16, &[7, 9], 3),
    ];
    groups.push(group(mixed, Granularity::Tensor, ScaleRule::Bf16Up, Rounding::Exact));
    for scale in scales() {
        for rounding in ROUNDINGS {
            groups.extend([Dtype::BF16, Dtype::F16].map(|dtype| given(patterns(dtype), scale, rounding)));
        }
    }
    let weight = normal(Dtype::BF16, &[300, 200], 7);
    for (granularity, count) in [(Granularity::Channel, 300), (Granularity::Block, 6)] {
        let values = (0..count).map(|i| 1e-5 * (1.0 + i as f32)).collect();
        let scales = Some(Scales { granularity, block: BLOCK_SIZE, shape: vec![count], values });
        groups.push(WeightGroup {
            scales,
            ..group(vec![weight.clone()], granularity, ScaleRule::F32, Rounding::Exact)
        });
    }
    groups
}

fn decoding(gpu: &Gpu, tally: &mut Tally) -> Result<()> {
    let shape = [259, 300];
    let codes: Vec<u8> = (0..259 * 300).map(|i| (i % 256) as u8).filter(|code| code & 0x7f != 0x7f).collect();
    let codes: Vec<u8> = codes.iter().cycle().take(259 * 300).copied().collect();
    let codes = Tensor::owned(Dtype::F8E4M3, shape.to_vec(), codes);
    for (granularity, shape) in [
        (Granularity::Tensor, vec![]),
        (Granularity::Channel, vec![259, 1]),
        (Granularity::Block, vec![3, 3]),
    ] {
        let count = shape.iter().product::<usize>();
        let scales = Scales {
            granularity,
            block: BLOCK_SIZE,
            shape,
            values: (0..count).map(|i| 1e-4 * (1.0 + i as f32)).collect(),
        };
        for target in DTYPES {
            let expected = Device::Cpu(None).dequantize(&codes, &scales, target)?;
            let got = Device::from(gpu.clone()).dequantize(&codes, &scales, target)?;
            tally.codes += u64::from(!got.equal(&expected));
            tally.elements += codes.elements() as u64;
        }
    }
    Ok(())
}

/// Little data of every kind, with and without hardware conversion, at several limits of the schedule.
pub fn small(gpu: &Gpu) -> Result<()> {
    let mut tally = Tally::default();
    let odd = Tuning { wave_bytes: 100_000, kept: 1 };
    let without = gpu.without_hardware_conversion()?;
    for gpu in [gpu.clone(), gpu.with_tuning(odd), without] {
        let mut lane = gpu.lane()?;
        tally.run(&mut lane, oddities(), BOTH)?;
        tally.run(&mut lane, oddities(), Wanted { codes: true, error: false })?;
        tally.run(&mut lane, oddities(), Wanted { codes: false, error: false })?;
        decoding(&gpu, &mut tally)?;
    }
    tally.end()
}

/// [`small`], about `elements` of random, adversarial and special values, and every bit pattern of F32.
pub fn all(gpu: &Gpu, elements: usize) -> Result<()> {
    small(gpu)?;
    let mut tally = Tally::default();
    let mut lane = gpu.lane()?;
    let (out, input) = (4096, 4104);
    let mut seed = 0;
    while tally.elements < elements as u64 {
        for dtype in DTYPES {
            seed += 1;
            let scale = scales()[seed as usize % scales().len()].clamp(1e-30, 1e30);
            let any = fill(dtype, &[out, input], seed, |random| match dtype {
                Dtype::F16 => half::f16::from_f32(finite(random)).to_f32().clamp(-65504.0, 65504.0),
                _ => finite(random),
            });
            let (rule, rounding) =
                ([ScaleRule::F32, ScaleRule::Bf16Up][seed as usize / 2 % 2], ROUNDINGS[seed as usize % 2]);
            let mut groups = vec![
                given(any.clone(), scale, rounding),
                given(borders(dtype, &[out, input], scale, seed), scale, rounding),
            ];
            let normal = normal(dtype, &[out, input], seed);
            for granularity in GRANULARITIES {
                groups.push(group(vec![normal.clone()], granularity, rule, rounding));
                groups.push(group(vec![any.clone()], granularity, rule, rounding));
            }
            tally.run(
                &mut lane,
                groups,
                if seed % 3 == 0 { BOTH } else { Wanted { codes: true, error: false } },
            )?;
        }
    }
    tally.say("random, adversarial and special values");
    let batch = 1u64 << 26;
    let every = |first: u64| -> Tensor {
        let mut bytes = vec![0; 4 << 26];
        bytes.par_chunks_mut(4 << 16).enumerate().for_each(|(chunk, bytes)| {
            for (i, to) in bytes.chunks_exact_mut(4).enumerate() {
                to.copy_from_slice(&((first + ((chunk as u64) << 16) + i as u64) as u32).to_le_bytes());
            }
        });
        Tensor::owned(Dtype::F32, vec![1 << 26], bytes)
    };
    for first in (0..1u64 << 32).step_by(batch as usize) {
        let (scale, rounding) =
            (scales()[1 + (first / batch) as usize % 3], ROUNDINGS[(first / batch) as usize % 2]);
        tally.run(
            &mut lane,
            vec![given(every(first), scale, rounding)],
            Wanted { codes: true, error: false },
        )?;
    }
    tally.say("and every bit pattern of F32");
    tally.end()
}
