//! What normalised pixels can be: a processor normalises the 256 levels of 8-bit channels, so its values tell it from others.

use std::collections::BTreeSet;

use super::picture_settings::{CLIP_DEVIATION, CLIP_MEAN, MeanAndDeviation};
use crate::tensor::Dtype;

/// Other normalisations that are in use, by what people call them.
const OTHERS: [(&str, Option<MeanAndDeviation>); 4] = [
    ("mean and deviation 0.5", Some([[0.5; 3], [0.5; 3]])),
    ("the mean of CLIP", Some([CLIP_MEAN, CLIP_DEVIATION])),
    ("the mean of ImageNet", Some([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])),
    ("none", None),
];
/// So many different values are not on the levels of another normalisation by chance.
const CERTAIN: usize = 8;
/// How far from a level a value may be that was made of it, in levels: the rounding of F16 moves it by less.
const APART: f64 = 0.1;

/// How 8-bit levels are scaled and normalised.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PixelLevels {
    rescale: f64,
    mean: [f64; 3],
    deviation: [f64; 3],
}

impl PixelLevels {
    /// Levels times `rescale`, less the mean of each channel, divided by its standard deviation.
    pub fn new(rescale: Option<f64>, normalise: Option<MeanAndDeviation>) -> Self {
        let [mean, deviation] = normalise.unwrap_or([[0.0; 3], [1.0; 3]]);
        PixelLevels { rescale: rescale.unwrap_or(1.0), mean, deviation }
    }

    /// The level that became `value`.
    fn level(&self, channel: usize, value: f64) -> f64 {
        (value * self.deviation[channel] + self.mean[channel]) / self.rescale
    }

    /// What `level` becomes.
    fn value(&self, channel: usize, level: f64) -> f64 {
        (level * self.rescale - self.mean[channel]) / self.deviation[channel]
    }

    fn holds(&self, channel: usize, value: f64) -> bool {
        let level = self.level(channel, value);
        (level - level.round()).abs() <= APART && (-0.5..255.5).contains(&level)
    }

    /// What shows that `values` were not made of 8-bit levels in this way; nothing when they may have been. A patch has three channels
    /// of `per_channel` values each, row-major; `dtype` is that in which they were kept.
    ///
    /// Values between the levels alone show nothing: a picture may have been resized in real numbers.
    pub fn misfit(&self, values: &[f32], per_channel: usize, dtype: Dtype) -> Option<String> {
        let channel = |at: usize| at / per_channel.max(1) % 3;
        // In BF16 the largest values are off by half a level.
        let beyond = if dtype == Dtype::BF16 { 1.0 } else { 0.5 };
        let outside = |&(at, value): &(usize, &f32)| {
            !(-beyond..=255.0 + beyond).contains(&self.level(channel(at), f64::from(*value)))
        };
        if let Some((at, value)) = values.iter().enumerate().find(outside) {
            let [least, most] = [0.0, 255.0].map(|level| self.value(channel(at), level));
            return Some(format!(
                "holds {value}, and pixels of its channel become {least:.3} to {most:.3} by the normalisation of this model"
            ));
        }
        if dtype == Dtype::BF16 {
            return None;
        }
        let is_of = |other: &PixelLevels| {
            values.iter().enumerate().all(|(at, value)| other.holds(channel(at), f64::from(*value)))
        };
        let different: BTreeSet<u32> = values.iter().map(|value| value.to_bits()).take(1 << 16).collect();
        if different.len() < CERTAIN || is_of(self) {
            return None;
        }
        let other =
            OTHERS.iter().find(|(_, normalise)| is_of(&PixelLevels::new(Some(1.0 / 255.0), *normalise)));
        other.map(|(name, _)| format!("is normalised in another way than this model's pictures: by {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALVES: [[f64; 3]; 2] = [[0.5; 3], [0.5; 3]];
    const CLIP: [[f64; 3]; 2] = [CLIP_MEAN, CLIP_DEVIATION];

    /// Two patches of 8 values a channel.
    fn made(normalise: Option<[[f64; 3]; 2]>) -> Vec<f32> {
        let [mean, deviation] = normalise.unwrap_or([[0.0; 3], [1.0; 3]]);
        let of = |at: usize| {
            let (level, channel) = ((at * 37 % 256) as f64, at / 8 % 3);
            ((level / 255.0 - mean[channel]) / deviation[channel]) as f32
        };
        (0..48).map(of).collect()
    }

    #[test]
    fn values_of_another_normalisation_are_told_apart() {
        let levels = |normalise| PixelLevels::new(Some(1.0 / 255.0), normalise);
        for (own, other, said) in [
            (Some(CLIP), Some(HALVES), "by mean and deviation 0.5"),
            (Some(CLIP), None, "by none"),
            (Some(HALVES), Some(CLIP), "pixels of its channel become -1.000 to 1.000"),
            (None, Some(HALVES), "pixels of its channel become 0.000 to 1.000"),
        ] {
            assert_eq!(levels(own).misfit(&made(own), 8, Dtype::F32), None);
            let found = levels(own).misfit(&made(other), 8, Dtype::F32).unwrap_or_default();
            assert!(found.contains(said), "{said}: {found}");
        }
    }

    #[test]
    fn what_real_numbers_and_roundings_do_is_not_held_against_a_picture() {
        let clip = PixelLevels::new(Some(1.0 / 255.0), Some(CLIP));
        let resized: Vec<f32> = made(Some(CLIP)).iter().map(|value| value * 0.71).collect();
        assert_eq!(clip.misfit(&resized, 8, Dtype::F32), None);
        let half = |value: &f32| half::f16::from_f32(*value).to_f32();
        let halves: Vec<f32> = made(Some(CLIP)).iter().map(half).collect();
        assert_eq!(clip.misfit(&halves, 8, Dtype::F16), None);
        let brain = |value: &f32| half::bf16::from_f32(*value).to_f32();
        let brains: Vec<f32> = made(Some(CLIP)).iter().map(brain).collect();
        assert_eq!(clip.misfit(&brains, 8, Dtype::BF16), None);
        // One colour all over proves nothing.
        assert_eq!(clip.misfit(&[0.0; 24], 8, Dtype::F32), None);
    }
}
