//! How the language model of a checkpoint meets pictures: its image tokens, and the patches that they stand for.

use serde_json::Value;

use crate::checkpoint::Checkpoint;
use crate::engine::sample::Sample;
use crate::error::{Error, Result};

const OF_MODEL: &str = "take the file from the model's page";

/// What `config.json` says of pictures. The families of Qwen that see have the same keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionTokens {
    /// The token that stands for merged patches of a picture.
    pub image: u32,
    /// The same for videos, which there is no way to give.
    pub video: Option<u32>,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Frames of a patch.
    pub temporal_patch: usize,
    /// Colour channels.
    pub channels: usize,
    /// Side, in patches, of what is merged into one token.
    pub merge: usize,
}

impl VisionTokens {
    /// Those of `checkpoint`; nothing for one that sees no pictures.
    ///
    /// # Errors
    /// [`Error::Format`] for a configuration with a vision tower whose sizes or tokens are not there or make no sense.
    pub(super) fn of(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let config = checkpoint.config();
        let vision = &config["vision_config"];
        if !vision.is_object() {
            return Ok(None);
        }
        let path = checkpoint.directory().join("config.json");
        let token = |key: &str| config[key].as_u64().and_then(|id| u32::try_from(id).ok());
        let size = |keys: &[&str], default: u64| {
            let said = keys.iter().map(|key| &vision[*key]).find(|said| !said.is_null());
            let size = said.map_or(Some(default), Value::as_u64).filter(|size| (1..=1024).contains(size));
            let invalid = || {
                Error::format(&path, format!("gives no usable `{}` of the vision tower", keys[0]))
                    .with_hint(OF_MODEL)
            };
            Ok::<usize, Error>(size.ok_or_else(invalid)? as usize)
        };
        Ok(Some(VisionTokens {
            image: token("image_token_id").ok_or_else(|| {
                Error::format(&path, "has a vision tower and no `image_token_id`").with_hint(OF_MODEL)
            })?,
            video: token("video_token_id"),
            patch: size(&["patch_size"], 14)?,
            temporal_patch: size(&["temporal_patch_size"], 2)?,
            channels: size(&["in_channels", "in_chans"], 3)?,
            merge: size(&["spatial_merge_size"], 2)?,
        }))
    }

    /// Values of a patch.
    pub fn patch_values(&self) -> usize {
        self.channels * self.temporal_patch * self.patch * self.patch
    }

    /// How many image tokens stand for a picture with this grid of patches.
    pub fn count(&self, grid: [usize; 3]) -> usize {
        grid.iter().product::<usize>() / (self.merge * self.merge)
    }

    /// Fails unless the image tokens of a sample are as many as its pictures take; `what` names the sample.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub(super) fn require_fitting(&self, sample: &Sample, what: impl Fn() -> String) -> Result<()> {
        let count = |token: u32| sample.tokens.iter().filter(|other| **other == token).count();
        if self.video.is_some_and(|video| count(video) > 0) {
            let problem = format!("{} holds a token of a video", what());
            return Err(Error::refused(problem).with_hint("there are pictures only; take it out"));
        }
        let (found, needed) = (
            count(self.image),
            sample.pictures.iter().map(|picture| self.count(picture.grid)).sum::<usize>(),
        );
        if found != needed {
            let problem = format!("{} has {found} image tokens, and its pictures take {needed}", what());
            return Err(Error::refused(problem).with_hint(
                "each picture needs its place in the chat template, and no text may hold image tokens",
            ));
        }
        Ok(())
    }
}
