//! Samples, and what they were made from.

use std::collections::HashSet;

use crate::engine::sample::Sample;
use crate::words::words;

words! {
    /// What samples are made from.
    pub enum SampleKind: "kind of samples" {
        /// A text file, a caption a line.
        Captions = "captions",
        /// Pictures with captions, listed in a database.
        Pairs = "pairs",
        /// Tensors that somebody prepared.
        Prepared = "prepared",
        /// A long text, cut into windows.
        Text = "text",
    }
}

/// What samples were made from, as manifests and reports say it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct SampleSource {
    /// The kind of file.
    pub kind: SampleKind,
    /// Its name, without folders.
    pub file: String,
    /// The BLAKE3 hash of its content, in hexadecimal. Pictures beside it are known by [`Samples::hashes`].
    pub hash: String,
    /// The split of a database that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// How many samples were made.
    #[serde(rename = "num_samples")]
    pub count: usize,
    /// The most tokens of a sample, or the length of each window; nothing for prepared tensors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
}

/// Samples in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// What they were made from.
    pub source: SampleSource,
    /// Each with two tokens at least.
    pub samples: Vec<Sample>,
    /// The first token of each sample whose prediction counts: 1, as nothing predicts the first token, or later where the tokens
    /// before it are context alone.
    pub counted_from: usize,
}

impl Samples {
    /// Whether a sample has a picture.
    pub fn shows_pictures(&self) -> bool {
        self.samples.iter().any(|sample| !sample.pictures.is_empty())
    }

    /// A hash of each sample: see [`sample_hash`].
    pub fn hashes(&self) -> Vec<String> {
        self.samples.iter().map(sample_hash).collect()
    }

    /// The hash of all that is measured on them: their hashes in order, and from where their predictions count.
    pub fn identity(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(self.counted_from as u64).to_le_bytes());
        for hash in self.hashes() {
            hasher.update(hash.as_bytes());
        }
        hasher.finalize()
    }

    /// How many of the samples are among those with these `hashes`.
    pub fn count_among<S: AsRef<str>>(&self, hashes: &[S]) -> usize {
        let known: HashSet<&str> = hashes.iter().map(AsRef::as_ref).collect();
        self.hashes().iter().filter(|hash| known.contains(hash.as_str())).count()
    }
}

/// 128 bits of BLAKE3 over the tokens and pictures of a sample, in hexadecimal: the same on every machine, however the sample came
/// to be.
pub fn sample_hash(sample: &Sample) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut number = |value: u64| {
        hasher.update(&value.to_le_bytes());
    };
    number(sample.tokens.len() as u64);
    sample.tokens.iter().for_each(|token| number(u64::from(*token)));
    for picture in &sample.pictures {
        picture.grid.iter().for_each(|size| number(*size as u64));
        number(picture.patches.len() as u64);
    }
    for picture in &sample.pictures {
        let bytes: Vec<u8> = picture.patches.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.finalize().to_hex()[..32].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sample::Picture;

    #[test]
    fn a_hash_tells_samples_apart_by_tokens_and_pictures() {
        let text = |tokens: &[u32]| Sample { tokens: tokens.to_vec(), pictures: Vec::new() };
        let seen = |patches: &[f32]| Sample {
            pictures: vec![Picture { grid: [1, 1, patches.len()], patches: patches.to_vec() }],
            ..text(&[1, 2])
        };
        let all =
            [text(&[1, 2]), text(&[1, 2, 3]), text(&[2, 1]), seen(&[0.5]), seen(&[0.25]), seen(&[0.5, 0.0])];
        let hashes: HashSet<String> = all.iter().map(sample_hash).collect();
        assert_eq!(hashes.len(), all.len());
        // What is on record must be found again by later releases.
        assert_eq!(sample_hash(&text(&[1, 2])), sample_hash(&text(&[1, 2])));
    }
}
