//! Pictures cut into patches, in the order of Qwen2-VL's processor.

use std::path::Path;

use super::picture_file::RgbPicture;
use super::picture_settings::PictureSettings;
use super::picture_size::{MOST_ASPECT, fitting_size};
use super::resample::resize_bicubic;
use crate::engine::sample::Picture;
use crate::error::{Error, Result};

/// Resizes, normalises and cuts `picture`, which comes from `path`.
///
/// # Errors
/// [`Error::Format`] for a picture that is too narrow, or keeps a size that is no multiple of a token's.
pub(super) fn cut(path: &Path, picture: &RgbPicture, settings: &PictureSettings) -> Result<Picture> {
    let step = settings.step();
    let [height, width] = match settings.area {
        Some(area) => fitting_size([picture.height, picture.width], step, area).ok_or_else(|| {
            let sides = format!("{} × {}", picture.width, picture.height);
            Error::format(path, format!("has {sides} pixels, more than {MOST_ASPECT} times as long as wide"))
                .with_hint("leave it out, or crop it")
        })?,
        None => [picture.height, picture.width],
    };
    if !height.is_multiple_of(step) || !width.is_multiple_of(step) || height == 0 || width == 0 {
        return Err(Error::format(path, format!("has {width} × {height} pixels, no multiples of {step}"))
            .with_hint("resize it, as preprocessor_config.json says `do_resize` false"));
    }
    Ok(cut_resized(&resize_bicubic(picture, height, width), settings))
}

/// Patches row by row of merged ones, within these row by row again, each `[channel, frame, row, column]`.
fn cut_resized(picture: &RgbPicture, settings: &PictureSettings) -> Picture {
    let PictureSettings { patch, temporal_patch, merge, .. } = *settings;
    let values: [Vec<f32>; 3] =
        std::array::from_fn(|channel| (0..=255).map(|v| value(settings, channel, v)).collect());
    let [rows, columns] = [picture.height / patch, picture.width / patch];
    let mut patches = Vec::with_capacity(picture.height * picture.width * 3 * temporal_patch);
    for (row, column) in in_merge_order(rows, columns, merge) {
        for (channel, values) in values.iter().enumerate() {
            let start = patches.len();
            for y in row * patch..(row + 1) * patch {
                let line = &picture.pixels[(y * picture.width + column * patch) * 3..][..patch * 3];
                patches.extend(line.iter().skip(channel).step_by(3).map(|level| values[usize::from(*level)]));
            }
            let end = patches.len();
            (1..temporal_patch).for_each(|_| patches.extend_from_within(start..end));
        }
    }
    Picture { grid: [1, rows, columns], patches }
}

/// Row and column of every patch.
fn in_merge_order(rows: usize, columns: usize, merge: usize) -> impl Iterator<Item = (usize, usize)> {
    let tokens = (0..rows / merge).flat_map(move |y| (0..columns / merge).map(move |x| (y, x)));
    tokens.flat_map(move |(y, x)| {
        (0..merge).flat_map(move |dy| (0..merge).map(move |dx| (y * merge + dy, x * merge + dx)))
    })
}

/// A level from 0 to 255, rescaled and normalised in the order and precision of Transformers: mean and deviation are brought to the
/// scale of the levels, in F32.
fn value(settings: &PictureSettings, channel: usize, level: u8) -> f32 {
    let level = f32::from(level);
    match (settings.rescale, settings.normalise) {
        (Some(rescale), Some([mean, deviation])) => {
            let scale = (1.0 / rescale) as f32;
            (level - mean[channel] as f32 * scale) / (deviation[channel] as f32 * scale)
        }
        (None, Some([mean, deviation])) => (level - mean[channel] as f32) / deviation[channel] as f32,
        (Some(rescale), None) => level * rescale as f32,
        (None, None) => level,
    }
}
