//! Captions: a text file with one a line.

use std::path::Path;

use super::MOST_SAMPLES;
use super::processor::Processor;
use super::samples::{SampleKind, SampleSource, Samples};
use super::text_file::{file_name, read_text};
use crate::engine::sample::Sample;
use crate::error::{Error, Result};
use crate::interrupt;

/// The first `samples` lines of `file` that are not blank, at most [`MOST_SAMPLES`], each cut to `max_length` tokens.
///
/// # Errors
/// [`Error::Format`] for a file without captions or that is no UTF-8; [`Error::Refused`] for a caption that is a single token, or
/// holds the name of an image token; those of [`super::TextTokenizer::encode_cut`].
pub fn captions(processor: &Processor, file: &Path, max_length: usize, samples: usize) -> Result<Samples> {
    let (text, hash) = read_text(file)?;
    // A mark that some editors put before UTF-8 is nothing that the first caption says.
    let lines = text
        .strip_prefix('\u{feff}')
        .unwrap_or(&text)
        .split(ends_line)
        .enumerate()
        .map(|(at, line)| (at, line.trim_matches(is_space)));
    let lines: Vec<(usize, &str)> =
        lines.filter(|(_, line)| !line.is_empty()).take(samples.min(MOST_SAMPLES)).collect();
    if lines.is_empty() {
        return Err(Error::format(file, "holds no captions").with_hint("write one a line"));
    }
    let sample = |(_, line): &(usize, &str)| {
        interrupt::check()?;
        let what = || format!("the caption `{}`", shortened(line));
        let tokens = processor.tokenizer().encode_cut(line, max_length)?;
        if tokens.len() < 2 {
            let problem = format!("{} is a single token, which leaves nothing to predict", what());
            return Err(Error::refused(problem).with_hint("take the line out, or give a larger --max-length"));
        }
        let sample = Sample { tokens, pictures: Vec::new() };
        processor.require_usable(&sample, what)?;
        Ok(sample)
    };
    let samples: Vec<Sample> = lines.iter().map(sample).collect::<Result<_>>()?;
    let source = SampleSource {
        kind: SampleKind::Captions,
        file: file_name(file),
        hash,
        split: None,
        count: samples.len(),
        max_length: Some(max_length),
    };
    Ok(Samples { source, samples, counted_from: 1 })
}

/// The beginning of a caption, for an error.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

/// Where Python's `str.splitlines` ends a line.
fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What Python's `str.strip` takes off.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}
