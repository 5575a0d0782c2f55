//! A file of a scoring run's record: what is known after a block, written whole and read whole or not at all.
//!
//! Buffers come first, as F32 in little-endian order; after them what describes them, as JSON; then its length, its BLAKE3 and a
//! word by which the format is known. Every buffer has a hash of its own, so that one can be read without the others.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::layer_score::LayerScore;
use crate::error::{Error, Result};

const WORD: &[u8; 16] = b"qlua scoring 1\n\0";
/// Length, hash and word at the end.
const TRAILER: u64 = 8 + 32 + 16;
/// More than this describes no model.
const MOST_DESCRIPTION: u64 = 256 << 20;
/// Bytes that are read and hashed at a time.
const PIECE: usize = 1 << 20;

/// What a buffer of the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum BufferRole {
    /// What goes into the next block.
    Hidden,
    /// Features of DeepStack.
    Deep,
    /// The gradients by what went into a block.
    Gradient,
    /// The gradients by features of DeepStack.
    DeepGradient,
}

/// What is known of the layers after a block.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StepFindings {
    /// The border that was reached.
    pub at: String,
    pub layers: Vec<LayerScore>,
    pub losses: Vec<f64>,
    /// Groups whose scores are final, where groups are scored one after the other.
    pub groups: usize,
}

/// Numbers as their bits, as JSON has no NaN.
#[derive(Serialize, Deserialize)]
struct Description {
    made_from: String,
    at: String,
    groups: usize,
    losses: Vec<u64>,
    layers: Vec<LayerDescription>,
    buffers: Vec<BufferDescription>,
}

#[derive(Serialize, Deserialize)]
struct LayerDescription {
    name: String,
    weights: usize,
    weight_amax: u32,
    input_amax: u32,
    input_rms: u64,
    seen: [u64; 2],
    scores: Vec<u64>,
    output_errors: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct BufferDescription {
    role: BufferRole,
    chunk: usize,
    values: u64,
    blake3: String,
}

/// A file of which the description is whole.
pub(super) struct StepFile {
    file: File,
    pub made_from: String,
    pub findings: StepFindings,
    buffers: Vec<BufferDescription>,
}

/// Writes the file `name` in `directory`: under another name first, so that it is there whole or not at all when this process is
/// killed; `durable` is the same when the machine stops. Otherwise what is not whole is known by its hashes.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn write_step<B: Backend>(
    directory: &Path,
    name: &str,
    made_from: &str,
    findings: &StepFindings,
    backend: &B,
    buffers: &[(BufferRole, usize, &B::Buffer)],
    durable: bool,
) -> Result<()> {
    let (path, new) = (directory.join(name), directory.join(format!("{name}.new")));
    let written = (|| {
        match fs::remove_file(&new) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = BufWriter::with_capacity(PIECE, File::create_new(&new)?);
        let mut described = vec![];
        for (role, chunk, buffer) in buffers {
            let values = backend.download(buffer);
            let mut hasher = blake3::Hasher::new();
            let mut bytes = Vec::with_capacity(PIECE);
            for piece in values.chunks(PIECE / 4) {
                bytes.clear();
                piece.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
                hasher.update(&bytes);
                file.write_all(&bytes)?;
            }
            let blake3 = hasher.finalize().to_hex().to_string();
            described.push(BufferDescription {
                role: *role,
                chunk: *chunk,
                values: values.len() as u64,
                blake3,
            });
        }
        let description = serde_json::to_vec(&describe(made_from, findings, described))?;
        file.write_all(&description)?;
        file.write_all(&(description.len() as u64).to_le_bytes())?;
        file.write_all(blake3::hash(&description).as_bytes())?;
        file.write_all(WORD)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&new, &path)?;
        // With all steps before it.
        if durable { Ok(rustix::fs::syncfs(File::open(directory)?)?) } else { Ok(()) }
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        let error = match error.kind() {
            io::ErrorKind::StorageFull => io::Error::other(
                "no space is left on the device; free some and run again, and scoring goes on after the last finished block",
            ),
            _ => error,
        };
        Error::io("write", path, error)
    })
}

fn describe(made_from: &str, findings: &StepFindings, buffers: Vec<BufferDescription>) -> Description {
    let layer = |layer: &LayerScore| LayerDescription {
        name: layer.name.clone(),
        weights: layer.weights,
        weight_amax: layer.weight_amax.to_bits(),
        input_amax: layer.input_amax.to_bits(),
        input_rms: layer.input_rms.to_bits(),
        seen: [layer.seen.0.to_bits(), layer.seen.1.to_bits()],
        output_errors: layer.output_errors.iter().map(|error| error.to_bits()).collect(),
        scores: layer.scores.iter().map(|score| score.to_bits()).collect(),
    };
    Description {
        made_from: made_from.into(),
        at: findings.at.clone(),
        groups: findings.groups,
        losses: findings.losses.iter().map(|loss| loss.to_bits()).collect(),
        layers: findings.layers.iter().map(layer).collect(),
        buffers,
    }
}

impl StepFile {
    /// The file `name` in `directory`; nothing when what is there is not whole. The outer nothing is that there is no such file.
    pub fn find(directory: &Path, name: &str) -> Result<Option<Option<Self>>> {
        let path = directory.join(name);
        // Somebody else's link is not followed.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        match File::options().read(true).custom_flags(flags.bits() as i32).open(&path) {
            Ok(file) => Ok(Some(Self::read(file))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) if path.is_symlink() => Ok(Some(None)),
            Err(e) => Err(Error::io("read", path, e)),
        }
    }

    fn read(file: File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        let end = metadata.is_file().then_some(metadata.len())?.checked_sub(TRAILER)?;
        let mut trailer = [0; TRAILER as usize];
        file.read_exact_at(&mut trailer, end).ok()?;
        let length = u64::from_le_bytes(*trailer.first_chunk()?);
        if &trailer[40..] != WORD || length > end.min(MOST_DESCRIPTION) {
            return None;
        }
        let mut description = vec![0; length as usize];
        file.read_exact_at(&mut description, end - length).ok()?;
        if blake3::hash(&description).as_bytes() != &trailer[8..40] {
            return None;
        }
        let said: Description = serde_json::from_slice(&description).ok()?;
        let bytes = said.buffers.iter().try_fold(0u64, |sum, buffer| {
            buffer.values.checked_mul(4).and_then(|bytes| sum.checked_add(bytes))
        });
        if bytes != Some(end - length) {
            return None;
        }
        let layer = |layer: LayerDescription| LayerScore {
            name: layer.name,
            weights: layer.weights,
            weight_amax: f32::from_bits(layer.weight_amax),
            input_amax: f32::from_bits(layer.input_amax),
            input_rms: f64::from_bits(layer.input_rms),
            seen: (f64::from_bits(layer.seen[0]), f64::from_bits(layer.seen[1])),
            output_errors: layer.output_errors.into_iter().map(f64::from_bits).collect(),
            scores: layer.scores.into_iter().map(f64::from_bits).collect(),
        };
        let findings = StepFindings {
            at: said.at,
            layers: said.layers.into_iter().map(layer).collect(),
            losses: said.losses.into_iter().map(f64::from_bits).collect(),
            groups: said.groups,
        };
        Some(StepFile { file, made_from: said.made_from, findings, buffers: said.buffers })
    }

    /// Whether every buffer is what was written.
    pub fn is_whole(&self) -> bool {
        (0..self.buffers.len()).all(|number| self.each_piece(number, |_| ()).is_some())
    }

    /// The chunks and values of the buffers with this role, in the order in which they were written; nothing when one is not what
    /// was written.
    pub fn values(&self, role: BufferRole, chunk: Option<usize>) -> Option<Vec<(usize, Vec<f32>)>> {
        let wanted =
            |buffer: &BufferDescription| buffer.role == role && chunk.is_none_or(|c| c == buffer.chunk);
        let numbers = (0..self.buffers.len()).filter(|number| wanted(&self.buffers[*number]));
        let read = |number: usize| {
            let mut values = Vec::with_capacity(self.buffers[number].values as usize);
            let push = |bytes: &[u8]| {
                values.extend(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
            };
            self.each_piece(number, push)?;
            Some((self.buffers[number].chunk, values))
        };
        numbers.map(read).collect()
    }

    /// Reads buffer `number` piece by piece; nothing when it is not what was written.
    fn each_piece(&self, number: usize, mut each: impl FnMut(&[u8])) -> Option<()> {
        let before: u64 = self.buffers[..number].iter().map(|buffer| buffer.values * 4).sum();
        let length = self.buffers[number].values * 4;
        let mut hasher = blake3::Hasher::new();
        let mut bytes = vec![0; (PIECE as u64).min(length) as usize];
        let mut at = 0;
        while at < length {
            let bytes = &mut bytes[..(PIECE as u64).min(length - at) as usize];
            self.file.read_exact_at(bytes, before + at).ok()?;
            hasher.update(bytes);
            each(bytes);
            at += bytes.len() as u64;
        }
        (hasher.finalize().to_hex().as_str() == self.buffers[number].blake3).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::cpu::Cpu;
    use super::*;

    #[test]
    fn what_is_written_comes_back_to_the_bit_and_what_was_damaged_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let layer = LayerScore {
            name: "layers.0.mlp.up_proj".into(),
            weights: 6,
            weight_amax: 0.1,
            input_amax: 3.5e-39,
            input_rms: 0.7,
            seen: (3.0, 1.0 / 7.0),
            output_errors: vec![1e300],
            scores: vec![0.1 + 0.2, f64::INFINITY],
        };
        let findings =
            StepFindings { at: "text-0001".into(), layers: vec![layer], losses: vec![1.0 / 3.0], groups: 7 };
        // More than one piece, but for Miri, which takes hours for that.
        let many = if cfg!(miri) { 300 } else { 300_000 };
        let (first, second) = (vec![1.5f32, -0.0, f32::MIN_POSITIVE / 2.0], vec![7.0f32; many]);
        let buffers = [(BufferRole::Hidden, 0, &first), (BufferRole::Deep, 2, &second)];
        write_step(directory.path(), "a", "made", &findings, &Cpu, &buffers, true).unwrap();
        let read = || StepFile::find(directory.path(), "a").unwrap().unwrap();
        let found = read().unwrap();
        assert_eq!((found.made_from.as_str(), &found.findings), ("made", &findings));
        assert!(found.is_whole());
        let values = found.values(BufferRole::Hidden, Some(0)).unwrap().remove(0).1;
        assert!(values.iter().zip(&first).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert_eq!(found.values(BufferRole::Deep, None), Some(vec![(2, second)]));
        assert_eq!(found.values(BufferRole::Hidden, Some(1)), Some(vec![]));
        assert!(StepFile::find(directory.path(), "b").unwrap().is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        let path = directory.path().join("a");
        let whole = fs::read(&path).unwrap();
        for at in [0, 11, 12, whole.len() / 2, whole.len() - 300, whole.len() - 50, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(!read().is_some_and(|found| found.is_whole()), "byte {at} was damaged");
        }
        for length in [0, 5, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(read().is_none(), "cut to {length}");
        }
    }
}
