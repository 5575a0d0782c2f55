//! `preprocessor_config.json`: how pictures become patches.

use std::path::Path;

use serde_json::Value;

use super::vision_tokens::VisionTokens;
use crate::error::{Error, Result};

/// The image processors that do what is done here, under the names that Transformers gave them.
const KNOWN: &[&str] = &["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil"];
/// Pillow's number for bicubic resampling.
const BICUBIC: u64 = 3;

/// The mean and the standard deviation of each channel.
pub type MeanAndDeviation = [[f64; 3]; 2];

/// How pictures are resized, normalised and cut.
#[derive(Debug, Clone, PartialEq)]
pub struct PictureSettings {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// How often the one frame of a picture stands in a patch.
    pub temporal_patch: usize,
    /// Side, in patches, of what is merged into one token.
    pub merge: usize,
    /// The least and the most pixels of a picture; nothing where pictures keep their size.
    pub area: Option<[u64; 2]>,
    /// What 8-bit values are multiplied by, before `normalise`.
    pub rescale: Option<f64>,
    /// Mean and standard deviation of each channel.
    pub normalise: Option<MeanAndDeviation>,
}

impl PictureSettings {
    /// Reads `said`, the settings in the file `path`, for a model that meets pictures as `vision` says. What is not there is as in
    /// Transformers.
    ///
    /// # Errors
    /// [`Error::Refused`] for a processor that does something else, or whose patches are not the model's; [`Error::Format`] for
    /// settings that make no sense.
    pub(super) fn parse(path: &Path, said: &Value, vision: &VisionTokens) -> Result<Self> {
        if let Some(kind) = unknown_processor(said) {
            let problem =
                format!("`{}` asks for the image processor {kind}, which is not known", path.display());
            return Err(Error::refused(problem).with_hint(
                "prepare tensors with Transformers and give them with --inputs; known is Qwen2VLImageProcessor",
            ));
        }
        let wrong = |key: &str| unusable(path, key);
        let flag = |key: &str| flag(path, said, key);
        let (rescale, normalise) = normalisation(path, said)?;
        let size = |key: &str, default: u64| match &said[key] {
            Value::Null => Ok(default),
            value => value.as_u64().filter(|size| (1..=1024).contains(size)).ok_or_else(|| wrong(key)),
        };
        let resample = said["resample"].as_u64().unwrap_or(BICUBIC);
        if flag("do_resize")? && resample != BICUBIC {
            let problem =
                format!("`{}` resizes by the filter {resample}, not by bicubic (3)", path.display());
            return Err(Error::refused(problem)
                .with_hint("prepare tensors with Transformers and give them with --inputs"));
        }
        let settings = PictureSettings {
            patch: size("patch_size", 14)? as usize,
            temporal_patch: size("temporal_patch_size", 2)? as usize,
            merge: size("merge_size", 2)? as usize,
            area: flag("do_resize")?.then(|| area(said).ok_or_else(|| wrong("size"))).transpose()?,
            rescale,
            normalise,
        };
        settings.require_of_model(path, vision)?;
        Ok(settings)
    }

    fn require_of_model(&self, path: &Path, vision: &VisionTokens) -> Result<()> {
        let pairs = [
            ("patch_size", self.patch, vision.patch),
            ("temporal_patch_size", self.temporal_patch, vision.temporal_patch),
            ("merge_size", self.merge, vision.merge),
            ("channels", 3, vision.channels),
        ];
        match pairs.into_iter().find(|(_, here, model)| here != model) {
            None => Ok(()),
            Some((key, here, model)) => {
                let problem = format!("`{}` has {key} {here}, and config.json {model}", path.display());
                Err(Error::refused(problem).with_hint("take both files from the same release of the model"))
            }
        }
    }

    /// What both sides of a picture are multiples of, in pixels.
    pub fn step(&self) -> usize {
        self.patch * self.merge
    }
}

/// The image processor that is asked for, where it is not known.
pub(super) fn unknown_processor(said: &Value) -> Option<&str> {
    said["image_processor_type"].as_str().filter(|kind| !KNOWN.contains(kind))
}

/// What 8-bit values are multiplied by, and the mean and standard deviation of each channel after that.
///
/// # Errors
/// [`Error::Format`] for settings that make no sense.
pub(super) fn normalisation(path: &Path, said: &Value) -> Result<(Option<f64>, Option<MeanAndDeviation>)> {
    let rescale = match flag(path, said, "do_rescale")? {
        true => Some(
            positive(&said["rescale_factor"], 1.0 / 255.0).ok_or_else(|| unusable(path, "rescale_factor"))?,
        ),
        false => None,
    };
    let normalise = match flag(path, said, "do_normalize")? {
        true => Some([
            channels(&said["image_mean"], CLIP_MEAN).ok_or_else(|| unusable(path, "image_mean"))?,
            channels(&said["image_std"], CLIP_DEVIATION)
                .filter(|all| all.iter().all(|value| *value > 0.0))
                .ok_or_else(|| unusable(path, "image_std"))?,
        ]),
        false => None,
    };
    Ok((rescale, normalise))
}

/// A setting that is true unless it says otherwise.
fn flag(path: &Path, said: &Value, key: &str) -> Result<bool> {
    match &said[key] {
        Value::Null => Ok(true),
        value => value.as_bool().ok_or_else(|| unusable(path, key)),
    }
}

fn unusable(path: &Path, key: &str) -> Error {
    Error::format(path, format!("has no usable `{key}`")).with_hint("take the file from the model's page")
}

pub(super) const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
pub(super) const CLIP_DEVIATION: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// `min_pixels` and `max_pixels` go before `size`, as in Transformers.
fn area(said: &Value) -> Option<[u64; 2]> {
    let side = |own: &str, key: &str, default: u64| match (&said[own], &said["size"]) {
        (Value::Null, Value::Null) => Some(default),
        (Value::Null, size) => size[key].as_u64(),
        (own, _) => own.as_u64(),
    };
    let area =
        [side("min_pixels", "shortest_edge", 56 * 56)?, side("max_pixels", "longest_edge", 28 * 28 * 1280)?];
    (area[0] > 0 && area[0] <= area[1] && area[1] <= 1 << 32).then_some(area)
}

fn positive(value: &Value, default: f64) -> Option<f64> {
    match value {
        Value::Null => Some(default),
        value => value.as_f64().filter(|value| *value > 0.0 && value.is_finite()),
    }
}

fn channels(value: &Value, default: [f64; 3]) -> Option<[f64; 3]> {
    match value {
        Value::Null => Some(default),
        value => value.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<f64>>>()?.try_into().ok(),
    }
}
