//! Quantising whole groups on the CPU.

use rayon::prelude::*;

use super::fp8::QuantisationError;
use super::group::{QuantisedGroup, Wanted, WeightGroup};
use super::measure::{GroupAmax, GroupEncoder};
use super::scale_grid::CHUNK;
use crate::Result;
use crate::tensor::{Dtype, Tensor};

impl WeightGroup {
    /// Quantises the group to E4M3 on the CPU, with all threads of the current pool.
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`].
    pub fn quantise(&self, wanted: Wanted) -> Result<QuantisedGroup> {
        self.scale_shape()?;
        let amax = match self.scales {
            Some(_) => None,
            None => {
                let amax = GroupAmax::new(self)?;
                let spans = amax.spans().par_iter();
                spans.try_for_each(|span| amax.measure(&self.weights[span.member], span).map(drop))?;
                Some(amax.finish())
            }
        };
        let mut quantised = QuantisedGroup::before_codes(self, amax);
        if quantised.is_finite() && (wanted.codes || wanted.error) {
            let encoder = GroupEncoder::new(self, quantised.scales.clone())?;
            for (member, weight) in self.weights.iter().enumerate() {
                let (codes, error) = codes_of(&encoder, member, weight, wanted.error)?;
                quantised.errors.extend(error);
                if wanted.codes {
                    quantised.codes.push(codes);
                }
            }
        }
        Ok(quantised)
    }
}

/// The codes of a weight, and what they lose if that is asked for: the same at any number of threads.
fn codes_of(
    encoder: &GroupEncoder,
    member: usize,
    weight: &Tensor,
    error: bool,
) -> Result<(Tensor, Option<QuantisationError>)> {
    let mut codes = vec![0; weight.elements()];
    let chunks = codes.par_chunks_mut(CHUNK).zip(weight.bytes().par_chunks(CHUNK * weight.dtype().size()));
    let of_chunk = |(number, (codes, source)): (usize, (&mut [u8], &[u8]))| {
        encoder.encode(member, number * CHUNK, source, codes);
        error.then(|| encoder.error(weight, number * CHUNK, source, codes)).transpose()
    };
    let parts: Vec<Option<QuantisationError>> = chunks.enumerate().map(of_chunk).collect::<Result<_>>()?;
    let sum = parts.into_iter().flatten().fold(QuantisationError::default(), QuantisationError::merge);
    let codes = Tensor::owned(Dtype::F8E4M3, weight.shape().to_vec(), codes);
    Ok((codes, error.then_some(sum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{
        Encoding, Granularity, Rounding, ScaleRule, Scales, amax, quantisation_error, quantize,
    };

    #[test]
    fn a_group_is_quantised_as_its_tensors_are_one_by_one() -> Result<()> {
        let tensor = |dtype, out: usize, input: usize, size: f32| {
            let values = (0..out * input).map(|i| size * (((i * 7919) % 10007) as f32 - 5000.0));
            let bytes = match dtype {
                Dtype::BF16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
                _ => values.flat_map(f32::to_le_bytes).collect(),
            };
            Tensor::owned(dtype, vec![out, input], bytes)
        };
        for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Block] {
            // Miri takes about a thousand times as long.
            let few = if cfg!(miri) { 4 } else { usize::MAX };
            let shapes = [(1, 1), (0, 8), (8, 0), (129, 3), (130, 300), (600, 999)];
            for (out, input) in shapes.into_iter().take(few) {
                let encoding = Encoding::e4m3(granularity, ScaleRule::Bf16Up, Rounding::ModelOpt);
                let mut group = WeightGroup::one(tensor(Dtype::BF16, out, input, 1.0), encoding);
                if granularity == Granularity::Tensor {
                    group.weights.push(tensor(Dtype::F32, 3, 5, 10.0));
                }
                let done = group.quantise(Wanted { codes: true, error: true })?;
                let all = group.weights.iter().map(|weight| amax(weight, granularity));
                let amaxes = all.collect::<Result<Vec<_>>>()?;
                let mut expected = amaxes[0].clone();
                for other in &amaxes[1..] {
                    expected.values[0] = expected.values[0].max(other.values[0]);
                }
                let scales = Scales::from_amax(&expected, ScaleRule::Bf16Up);
                assert_eq!((done.amax.as_ref(), &done.scales), (Some(&expected), &scales), "{granularity}");
                for ((weight, codes), error) in group.weights.iter().zip(&done.codes).zip(&done.errors) {
                    let alone = quantize(weight, &scales, Rounding::ModelOpt)?;
                    assert!(codes.equal(&alone), "{granularity} {out}×{input}");
                    assert_eq!(*error, quantisation_error(weight, &alone, &scales)?);
                }
            }
        }
        Ok(())
    }
}
