//! Weights to measure with.

use qlua::demo::Qwen25VlShape;
use qlua::format::{Encoding, Granularity, Rounding, ScaleRule, WeightGroup};
use qlua::tensor::{Dtype, Tensor};
use rayon::prelude::*;

/// A generator of the xorshift kind: fast, and the same numbers on every machine.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// About normal, with deviation 1: the sum of eight bytes.
    pub fn normal(&mut self) -> f32 {
        let bytes = self.next().to_le_bytes();
        (bytes.iter().map(|&byte| i32::from(byte)).sum::<i32>() - 1020) as f32 / 209.0
    }
}

/// Bytes made by `element`, in parallel; the same ones at any number of threads.
pub fn fill(dtype: Dtype, shape: &[usize], seed: u64, element: impl Fn(&mut Random) -> f32 + Sync) -> Tensor {
    let size = dtype.size();
    let mut bytes = vec![0; shape.iter().product::<usize>() * size];
    bytes.par_chunks_mut(1 << 20).enumerate().for_each(|(number, chunk)| {
        let mut random = Random::new(seed.wrapping_mul(1 << 20) + number as u64);
        for to in chunk.chunks_exact_mut(size) {
            let value = element(&mut random);
            match dtype {
                Dtype::BF16 => to.copy_from_slice(&half::bf16::from_f32(value).to_le_bytes()),
                Dtype::F16 => to.copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
                _ => to.copy_from_slice(&value.to_le_bytes()),
            }
        }
    });
    Tensor::owned(dtype, shape.to_vec(), bytes)
}

/// Weights as they are in models.
pub fn normal(dtype: Dtype, shape: &[usize], seed: u64) -> Tensor {
    fill(dtype, shape, seed, |random| random.normal() * 0.02)
}

/// The 414 linears of Qwen2.5-VL-3B with other values: 6.88 GB.
pub fn linears() -> Vec<Tensor> {
    let tensors = Qwen25VlShape::REAL_3B.tensors().into_iter();
    let linears = tensors.filter(|t| t.shape.len() == 2 && !t.name.contains("embed_tokens"));
    let linears: Vec<Tensor> =
        linears.enumerate().map(|(number, t)| normal(t.dtype, &t.shape, 1000 + number as u64)).collect();
    assert_eq!(linears.len(), 414);
    linears
}

/// Each weight with scales of its own.
pub fn alone(weights: &[Tensor], granularity: Granularity) -> Vec<WeightGroup> {
    let encoding = Encoding::e4m3(granularity, ScaleRule::Bf16Up, Rounding::Exact);
    let one = |w: &Tensor| WeightGroup::one(w.clone(), encoding);
    weights.iter().map(one).collect()
}
