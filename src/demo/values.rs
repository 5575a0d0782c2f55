//! Seeded pseudo-random weights, the same bytes on every machine.
//!
//! Each value is a pure function of (seed, tensor name, element index), so any part of any tensor can be made by any
//! thread. Only additions, multiplications, divisions and square roots are used, which IEEE 754 fixes to the last bit;
//! the platform's own logarithm is not.

use std::sync::OnceLock;

use half::bf16;

use crate::tensor::TensorSpec;

/// The increment of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The output function of SplitMix64.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A key for `name` under `seed`: FNV-1a of the name, mixed with the seed.
pub(super) fn key(seed: u64, name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(mix(seed.wrapping_add(GAMMA)) ^ name.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// A number in [0, 1) for `name` under `seed`.
pub(super) fn unit(seed: u64, name: &str) -> f64 {
    (key(seed, name) >> 11) as f64 / (1u64 << 53) as f64
}

/// The values of one tensor.
#[derive(Debug, Clone)]
pub struct SeededValues {
    key: u64,
    row: u64,
    mean: f32,
    deviation: f32,
    outliers: bool,
}

impl SeededValues {
    /// Values for `spec` (BF16): normal with a deviation that suits the kind of tensor, 1/√inputs for weights (some rows
    /// of which are 2 or 8 times larger), 0.02 for biases and the embedding, and close to one for norms.
    pub fn new(seed: u64, spec: &TensorSpec) -> Self {
        let row: usize = spec.shape.iter().skip(1).product();
        let (mean, deviation, outliers) =
            if spec.name.ends_with(".bias") || spec.name.contains("embed_tokens") {
                (0.0, 0.02, false)
            } else if spec.shape.len() == 1 {
                (1.0, 0.1, false)
            } else {
                (0.0, 1.0 / (row as f32).sqrt(), true)
            };
        SeededValues { key: key(seed, &spec.name), row: row.max(1) as u64, mean, deviation, outliers }
    }

    /// Fills `out` with the elements from index `first` on, as little-endian BF16.
    pub fn fill(&self, first: u64, out: &mut [u8]) {
        let table = quantiles();
        let mut index = first;
        let mut rest = out;
        while !rest.is_empty() {
            let row = index / self.row;
            let run = ((self.row - index % self.row) * 2).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut(run);
            let deviation = self.deviation * self.row_factor(row);
            let mut block = u64::MAX;
            let mut random = 0;
            let mut one = |index: u64, out: &mut [u8]| {
                if index / 4 != block {
                    block = index / 4;
                    random = self.random(block);
                }
                let pick = (random >> (index % 4 * 16)) as u16;
                let value = bf16::from_f32(self.mean + deviation * table[pick as usize]);
                out.copy_from_slice(&value.to_le_bytes());
            };
            // Up to the next multiple of four one by one, then four values from each random word.
            let head = ((index.next_multiple_of(4) - index) as usize * 2).min(run);
            let (head, body) = now.split_at_mut(head);
            for out in head.chunks_exact_mut(2) {
                one(index, out);
                index += 1;
            }
            let mut words = body.chunks_exact_mut(8);
            for out in &mut words {
                let random = self.random(index / 4);
                for (lane, out) in out.chunks_exact_mut(2).enumerate() {
                    let pick = (random >> (lane * 16)) as u16;
                    let value = bf16::from_f32(self.mean + deviation * table[pick as usize]);
                    out.copy_from_slice(&value.to_le_bytes());
                }
                index += 4;
            }
            for out in words.into_remainder().chunks_exact_mut(2) {
                one(index, out);
                index += 1;
            }
            rest = later;
        }
    }

    fn random(&self, block: u64) -> u64 {
        mix(self.key.wrapping_add(block.wrapping_mul(GAMMA)))
    }

    /// One row in 256 is eight times, one in 32 twice as large as the others: trained weights have such rows, and they
    /// are what makes scales differ.
    fn row_factor(&self, row: u64) -> f32 {
        match mix(!self.key ^ row.wrapping_mul(GAMMA)) >> 56 {
            _ if !self.outliers => 1.0,
            0 => 8.0,
            1..=8 => 2.0,
            _ => 1.0,
        }
    }
}

/// The standard normal quantiles of (k + ½) / 65536.
fn quantiles() -> &'static [f32; 65536] {
    static TABLE: OnceLock<Box<[f32; 65536]>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Box::new([0.0; 65536]);
        for k in 0..32768 {
            let value = quantile((k as f64 + 0.5) / 65536.0) as f32;
            table[k] = value;
            table[65535 - k] = -value;
        }
        table
    })
}

/// The inverse of the normal distribution function for p in (0, ½], by Acklam's rational approximation (relative error
/// below 1.2e-9).
fn quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239e0,
    ];
    const B: [f64; 6] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838e0,
        -2.549732539343734e0,
        4.374664141464968e0,
        2.938163982698783e0,
    ];
    const D: [f64; 5] =
        [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996e0, 3.754408661907416e0, 1.0];
    let polynomial = |x: f64, coefficients: &[f64]| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    if p < 0.02425 {
        let q = (-2.0 * logarithm(p)).sqrt();
        polynomial(q, &C) / polynomial(q, &D)
    } else {
        let q = p - 0.5;
        q * polynomial(q * q, &A) / polynomial(q * q, &B)
    }
}

/// The natural logarithm from exactly rounded operations only: exponent × ln 2 + 2 artanh((m − 1)/(m + 1)).
fn logarithm(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let m = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    let t = (m - 1.0) / (m + 1.0);
    let series = (0..30).rev().fold(0.0, |sum, k| sum * t * t + 1.0 / f64::from(2 * k + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * t * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Dtype;

    fn values(spec: &TensorSpec, seed: u64) -> Vec<f32> {
        let mut bytes = vec![0; spec.bytes() as usize];
        SeededValues::new(seed, spec).fill(0, &mut bytes);
        bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The reference sequence of seed 1234567, as published with several implementations.
        let expected =
            [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431u64];
        for (i, word) in (1..).zip(expected) {
            assert_eq!(mix(1234567u64.wrapping_add(GAMMA.wrapping_mul(i))), word);
        }
    }

    #[test]
    fn quantiles_equal_those_of_python() {
        // statistics.NormalDist().inv_cdf(p)
        let expected =
            [(0.5 / 65536.0, -4.324919040826044), (0.001, -3.090232306167813), (0.0242, -1.9738394633131993)];
        for (p, value) in
            expected.into_iter().chain([(0.025, -1.959963984540054), (0.25, -0.6744897501960817)])
        {
            assert!((quantile(p) - value).abs() < 1e-8, "{p}: {} {value}", quantile(p));
        }
    }

    #[test]
    fn the_logarithm_is_the_logarithm() {
        for x in [1.0, 0.5, 0.999, 1e-3, 7.6e-6, 0.02425] {
            assert!((logarithm(x) - f64::ln(x)).abs() < 1e-14 * (1.0 + f64::ln(x).abs()), "{x}");
        }
    }

    #[test]
    fn values_equal_those_of_a_python_version() {
        // SplitMix64 and FNV-1a in Python integers, statistics.NormalDist().inv_cdf, rounded to BF16.
        let spec = TensorSpec::new("model.layers.0.mlp.up_proj.weight", Dtype::BF16, [352, 128]);
        let values = values(&spec, 2025);
        let indices = [0, 1, 2, 3, 4, 5, 128 * 100 + 7, 128 * 351 + 127];
        let bits = indices.map(|i: usize| bf16::from_f32(values[i]).to_bits());
        assert_eq!(bits, [15896, 15225, 48283, 48552, 15600, 15862, 48622, 15893]);
    }

    #[test]
    fn any_cut_of_a_tensor_gives_the_same_bytes() {
        let spec = TensorSpec::new("model.layers.0.mlp.up_proj.weight", Dtype::BF16, [37, 21]);
        let values = SeededValues::new(7, &spec);
        let mut whole = vec![0; spec.bytes() as usize];
        values.fill(0, &mut whole);
        for step in [1, 2, 3, 4, 5, 20, 21, 22, 100] {
            let mut parts = vec![0; whole.len()];
            for (i, part) in parts.chunks_mut(step * 2).enumerate() {
                values.fill((i * step) as u64, part);
            }
            assert_eq!(parts, whole, "cut every {step} elements");
        }
    }

    #[test]
    fn weights_are_normal_with_a_few_large_rows() {
        let spec = TensorSpec::new("model.layers.0.mlp.up_proj.weight", Dtype::BF16, [1024, 1024]);
        let values = values(&spec, 0);
        let deviations: Vec<f32> = values
            .chunks_exact(1024)
            .map(|row| 32.0 * (row.iter().map(|v| v * v).sum::<f32>() / 1024.0).sqrt())
            .collect();
        let near = |wanted: f32| deviations.iter().filter(|d| (**d / wanted - 1.0).abs() < 0.15).count();
        assert_eq!(near(1.0) + near(2.0) + near(8.0), 1024);
        assert!((1..=12).contains(&near(8.0)), "{}", near(8.0));
        assert!((16..=56).contains(&near(2.0)), "{}", near(2.0));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 2e-4, "{mean}");
    }

    #[test]
    fn norms_are_near_one_and_names_and_seeds_matter() {
        let norm = |name: &str, seed| values(&TensorSpec::new(name, Dtype::BF16, [4096]), seed);
        let weights = norm("model.norm.weight", 0);
        assert!(weights.iter().all(|v| (0.5..1.5).contains(v)));
        assert_ne!(weights, norm("model.norm.weight", 1));
        assert_ne!(weights, norm("visual.merger.ln_q.weight", 0));
    }
}
