//! Samples side by side: which rows are whose, where they stand, and what attends to what.

use std::ops::Range;

use super::backend::{AttentionSegment, Rotation};
use super::configuration::{Blueprint, VisionConfiguration};
use super::sample::{Picture, Sample};
use crate::error::{Error, Result};

/// Rows of the language model that go through a block together, at least: more than this make another chunk.
const TOKENS: usize = 1024;
/// The same of a vision tower.
const PATCHES: usize = 4096;

/// Some samples that go through each block together.
#[derive(Clone)]
pub(super) struct SampleChunk {
    /// Which of the samples.
    pub samples: Range<usize>,
    /// Their tokens, one after the other.
    pub tokens: Vec<u32>,
    /// A segment a sample.
    pub segments: Vec<AttentionSegment>,
    pub rotation: Rotation,
    /// The rows that stand for merged patches.
    pub picture_rows: Vec<usize>,
    /// Their pictures.
    pub vision: Option<VisionRows>,
}

/// The patches of a chunk, in the order in which the tower takes them.
#[derive(Clone)]
pub(super) struct VisionRows {
    /// PatchPlace in that order → place in the order of the processor.
    pub order: Vec<usize>,
    /// The same for merged patches, back: place in the order of the processor → place in the tower's.
    pub tokens_back: Vec<usize>,
    /// And forth.
    pub tokens_forth: Vec<usize>,
    /// A segment a frame of a picture.
    pub whole: Vec<AttentionSegment>,
    /// A segment a window; as `whole` where there are none.
    pub windows: Vec<AttentionSegment>,
    pub rotation: Rotation,
    /// Row and column of each patch, with the sides of its picture, in the order of the tower.
    pub places: Vec<PatchPlace>,
}

impl VisionRows {
    /// What the queries of block `number` see.
    pub fn segments(&self, vision: &VisionConfiguration, number: usize) -> &[AttentionSegment] {
        match &vision.windows {
            Some((_, whole)) if !whole.contains(&number) => &self.windows,
            _ => &self.whole,
        }
    }
}

/// Where a patch is.
#[derive(Clone, Copy)]
pub(super) struct PatchPlace {
    pub row: usize,
    pub column: usize,
    pub sides: [usize; 2],
}

/// The samples in chunks.
///
/// # Errors
/// [`Error::Argument`] for an empty sample, a token beyond the vocabulary, and pictures that do not fit their tokens.
pub(super) fn chunks(samples: &[Sample], architecture: &Blueprint) -> Result<Vec<SampleChunk>> {
    let mut chunks = vec![];
    let mut start = 0;
    while start < samples.len() {
        let (mut tokens, mut patches, mut end) = (0, 0, start);
        while end < samples.len() {
            let sample = &samples[end];
            let (more, seen) =
                (sample.tokens.len(), sample.pictures.iter().map(Picture::patch_count).sum::<usize>());
            if end > start && (tokens + more > TOKENS || patches + seen > PATCHES) {
                break;
            }
            (tokens, patches, end) = (tokens + more, patches + seen, end + 1);
        }
        chunks.push(chunk(samples, start..end, architecture)?);
        start = end;
    }
    Ok(chunks)
}

/// The chunk of some samples.
fn chunk(samples: &[Sample], range: Range<usize>, architecture: &Blueprint) -> Result<SampleChunk> {
    let mut tokens = vec![];
    let mut segments = vec![];
    let mut positions = vec![];
    let mut picture_rows = vec![];
    let mut pictures = vec![];
    for number in range.clone() {
        let sample = &samples[number];
        if sample.tokens.is_empty() {
            return Err(Error::argument(format!("sample {number} has no tokens")));
        }
        if let Some(token) =
            sample.tokens.iter().find(|token| **token as usize >= architecture.text.vocabulary)
        {
            let vocabulary = architecture.text.vocabulary;
            return Err(Error::argument(format!(
                "sample {number} has the token {token}, but the vocabulary has {vocabulary}"
            )));
        }
        let rows = tokens.len()..tokens.len() + sample.tokens.len();
        segments.push(AttentionSegment { queries: rows.clone(), keys: rows.clone() });
        let merge = architecture.vision.as_ref().map_or(1, |vision| vision.merge);
        positions.extend(token_positions(number, sample, architecture.image_token, merge)?);
        if !sample.pictures.is_empty() {
            let is_picture = |row: &usize| Some(sample.tokens[row - rows.start]) == architecture.image_token;
            picture_rows.extend(rows.clone().filter(is_picture));
        }
        pictures.extend(&sample.pictures);
        tokens.extend(&sample.tokens);
    }
    let vision = match (&architecture.vision, pictures.as_slice()) {
        (_, []) => None,
        (Some(vision), pictures) => Some(vision_rows(pictures, vision)?),
        (None, _) => return Err(Error::argument("a model without a vision tower takes no pictures")),
    };
    let rotation = architecture.text.rotary.rotation(&positions);
    Ok(SampleChunk { samples: range, tokens, segments, rotation, picture_rows, vision })
}

/// Time, row and column of each token: those of text count on, a picture's start where it stands (`get_rope_index` of
/// Transformers).
pub(super) fn token_positions(
    number: usize,
    sample: &Sample,
    image_token: Option<u32>,
    merge: usize,
) -> Result<Vec<[u32; 3]>> {
    let mut positions: Vec<[u32; 3]> = vec![];
    let mut next = 0u32;
    let mut pictures = sample.pictures.iter();
    let misfit = || Error::argument(format!("the image tokens of sample {number} do not fit its pictures"));
    let mut at = 0;
    while at < sample.tokens.len() {
        if sample.pictures.is_empty() || Some(sample.tokens[at]) != image_token {
            positions.push([next; 3]);
            next += 1;
            at += 1;
            continue;
        }
        let picture = pictures.next().ok_or_else(misfit)?;
        let [frames, rows, columns] = picture.grid;
        let (rows, columns) = (rows / merge, columns / merge);
        for frame in 0..frames {
            for row in 0..rows {
                for column in 0..columns {
                    positions.push([next + frame as u32, next + row as u32, next + column as u32]);
                }
            }
        }
        let count = frames * rows * columns;
        let stretch = sample.tokens.get(at..at + count).ok_or_else(misfit)?;
        if stretch.iter().any(|token| Some(*token) != image_token) {
            return Err(misfit());
        }
        at += count;
        next += rows.max(columns) as u32;
    }
    match pictures.next() {
        Some(_) => Err(misfit()),
        None => Ok(positions),
    }
}

/// The rows of some pictures.
fn vision_rows(pictures: &[&Picture], vision: &VisionConfiguration) -> Result<VisionRows> {
    let merge = vision.merge;
    let unit = merge * merge;
    let mut tokens_forth: Vec<usize> = vec![];
    let (mut whole, mut windows) = (vec![], vec![]);
    let mut places_in_order = vec![];
    let segment = |start: usize, count: usize| AttentionSegment {
        queries: start..start + count,
        keys: start..start + count,
    };
    for picture in pictures {
        let [frames, rows, columns] = picture.grid;
        let fits = rows.is_multiple_of(merge)
            && columns.is_multiple_of(merge)
            && picture.patches.len() == picture.patch_count() * vision.patch_values
            && picture.patch_count() > 0;
        if !fits {
            return Err(Error::argument(format!(
                "a picture of {frames} × {rows} × {columns} patches in {} values does not fit the vision tower",
                picture.patches.len()
            )));
        }
        let first = tokens_forth.len();
        let (down, across) = (rows / merge, columns / merge);
        let side =
            vision.windows.as_ref().map_or(usize::MAX, |(window, _)| (window / merge / vision.patch).max(1));
        for frame in 0..frames {
            whole.push(segment((first + frame * down * across) * unit, down * across * unit));
            for top in (0..down).step_by(side.min(down)) {
                for left in (0..across).step_by(side.min(across)) {
                    let start = tokens_forth.len();
                    for row in top..down.min(top.saturating_add(side)) {
                        for column in left..across.min(left.saturating_add(side)) {
                            tokens_forth.push(first + (frame * down + row) * across + column);
                        }
                    }
                    windows.push(segment(start * unit, (tokens_forth.len() - start) * unit));
                }
            }
            for row in 0..down {
                for column in 0..across {
                    for part in 0..unit {
                        let (row, column) = (row * merge + part / merge, column * merge + part % merge);
                        places_in_order.push(PatchPlace { row, column, sides: [rows, columns] });
                    }
                }
            }
        }
    }
    let mut tokens_back = vec![0; tokens_forth.len()];
    tokens_forth.iter().enumerate().for_each(|(at, from)| tokens_back[*from] = at);
    let order: Vec<usize> = tokens_forth.iter().flat_map(|token| token * unit..(token + 1) * unit).collect();
    let places: Vec<PatchPlace> = order.iter().map(|at| places_in_order[*at]).collect();
    let positions: Vec<[u32; 2]> =
        places.iter().map(|place| [place.row as u32, place.column as u32]).collect();
    let rotation = vision.rotary.rotation(&positions);
    Ok(VisionRows { order, tokens_back, tokens_forth, whole, windows, rotation, places })
}
