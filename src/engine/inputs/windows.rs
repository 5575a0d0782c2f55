//! A long text in windows, as the perplexity tool of llama.cpp (`tools/perplexity/perplexity.cpp`) cuts it.

use std::path::Path;

use super::MOST_SAMPLES;
use super::processor::Processor;
use super::samples::{SampleKind, SampleSource, Samples};
use super::text_file::{file_name, read_text};
use crate::engine::sample::Sample;
use crate::error::{Error, Result};
use crate::interrupt;

/// The first `samples` windows of `length` tokens of the text in `file`.
///
/// The text is tokenised whole, without the newline at its end, and names of special tokens are letters like others. Windows follow
/// each other without overlap, and tokens that fill none are left out. Where the tokenizer puts a BOS token before a text, the first
/// token of every window gives way to it. Of each window only the tokens after its first half and one more count: each of them is
/// predicted from half a window at least.
///
/// # Errors
/// [`Error::Argument`] for windows of fewer than four tokens; [`Error::Format`] for a text with fewer than two windows, which
/// llama.cpp refuses too, or that is no UTF-8; those of [`super::TextTokenizer::encode`].
pub fn windows(processor: &Processor, file: &Path, length: usize, samples: usize) -> Result<Samples> {
    if length < 4 {
        return Err(Error::argument(format!("a window of {length} tokens is too short"))
            .with_hint("llama.cpp takes 512 where nobody says"));
    }
    let (text, hash) = read_text(file)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let tokenizer = processor.tokenizer().without_special_names();
    let first = tokenizer.first_token()?;
    let tokens = tokenizer.encode(text, true)?;
    if tokens.len() < 2 * length {
        let problem = format!("holds {} tokens, fewer than two windows of {length}", tokens.len());
        return Err(Error::format(file, problem).with_hint("give a longer text, or shorter windows"));
    }
    let windows = tokens.chunks_exact(length).take(samples.min(MOST_SAMPLES)).map(|window| {
        interrupt::check()?;
        let mut tokens = window.to_vec();
        if let Some(first) = first {
            tokens[0] = first;
        }
        let sample = Sample { tokens, pictures: Vec::new() };
        processor.require_usable(&sample, || format!("`{}`", file.display()))?;
        Ok(sample)
    });
    let samples: Vec<Sample> = windows.collect::<Result<_>>()?;
    let source = SampleSource {
        kind: SampleKind::Text,
        file: file_name(file),
        hash,
        split: None,
        count: samples.len(),
        max_length: Some(length),
    };
    // The logits at `length / 2` are the first that count, and they predict the token after.
    Ok(Samples { source, samples, counted_from: length / 2 + 1 })
}
