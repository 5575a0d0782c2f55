//! The elements of one tensor as they lie in a file, read part by part.
//!
//! Files are read and never mapped here, so that one that is cut short meanwhile is an error and no signal.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::dialect::{Decoding, Foreign, TensorRole};
use crate::error::{Error, Result};
use crate::format::{Decoder, Scales};
use crate::input;
use crate::interrupt;
use crate::model::Model;
use crate::tensor::{Dtype, Tensor, read_f64};

use super::values::ValueDifference;

/// Elements, or bytes, that are compared at a time.
const CHUNK: usize = 1 << 18;

/// How the bytes of a tensor become numbers.
pub(super) enum ElementReading {
    /// They are numbers.
    Plain,
    /// They are codes, each multiplied by its scale.
    Scaled(Scales),
    /// It is not known how: the rest of a sentence says why.
    Unknown(String),
}

impl ElementReading {
    /// How the tensor `name` of `model` is read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of(model: &Model, foreign: &Foreign, name: &str, tensor: &Tensor) -> Result<Self> {
        if foreign.role(name) == TensorRole::Codes {
            return match foreign.decoding(model, name) {
                Ok(Decoding::Scaled(scales)) => Ok(ElementReading::Scaled(scales)),
                Ok(Decoding::Unscaled) => Ok(ElementReading::Plain),
                Err(Error::Tensor { problem, .. } | Error::Format { problem, .. }) => {
                    Ok(ElementReading::Unknown(problem))
                }
                Err(error) => Err(error),
            };
        }
        Ok(match tensor.dtype() {
            dtype if dtype.has_values() => ElementReading::Plain,
            dtype => ElementReading::Unknown(format!("is {dtype}, whose values are not read")),
        })
    }

    /// Whether equal bytes stand for equal numbers under both.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (ElementReading::Plain, ElementReading::Plain) => true,
            (ElementReading::Scaled(one), ElementReading::Scaled(other)) => one == other,
            // Whatever it is that stands beside them is compared by itself.
            (ElementReading::Unknown(_), ElementReading::Unknown(_)) => true,
            _ => false,
        }
    }
}

/// A tensor, and where it lies.
pub(super) struct StoredElements<'a> {
    tensor: &'a Tensor,
    file: File,
    path: &'a Path,
    /// Where in the file it begins.
    start: u64,
    reading: &'a ElementReading,
}

/// Room for a part of a tensor.
#[derive(Default)]
pub(super) struct ElementBuffers {
    bytes: [Vec<u8>; 2],
    decoded: Vec<u8>,
    values: [Vec<f64>; 2],
}

/// What a comparison has shown.
pub(super) enum Compared {
    /// The same bytes, that stand for the same.
    Same,
    /// Other bytes.
    Values(ValueDifference),
    /// Other bytes, and it is not known what they stand for.
    Unread(String),
}

impl<'a> StoredElements<'a> {
    /// The tensor `name` of `model`, read as `reading` says.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tensor; those of [`input::open`].
    pub fn open(model: &'a Model, name: &str, reading: &'a ElementReading) -> Result<Self> {
        let missing = || Error::not_found(format!("there is no tensor `{name}` to compare"));
        let tensor = model.tensor(name).ok_or_else(missing)?;
        let shard = model.shard_of(name).ok_or_else(missing)?;
        let (_, path, mapped) = model.shards().find(|(name, _, _)| *name == shard).ok_or_else(missing)?;
        // Where the tensor lies in the file is where it lies in the map of it.
        let start = if tensor.bytes().is_empty() {
            0
        } else {
            tensor.bytes().as_ptr().addr() - mapped.as_ptr().addr()
        };
        Ok(StoredElements { tensor, file: input::open(path)?, path, start: start as u64, reading })
    }

    /// Compares this with `other`, which has the same shape.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Interrupted`].
    pub fn compare(&self, other: &Self, buffers: &mut ElementBuffers) -> Result<Compared> {
        if self.reading.is_same(other.reading)
            && self.tensor.dtype() == other.tensor.dtype()
            && self.has_bytes_of(other, buffers)?
        {
            return Ok(Compared::Same);
        }
        for reading in [self.reading, other.reading] {
            if let ElementReading::Unknown(why) = reading {
                return Ok(Compared::Unread(why.clone()));
            }
        }
        let mut found = ValueDifference::default();
        let decoders = [self.decoder()?, other.decoder()?];
        let elements = self.tensor.elements();
        for first in (0..elements).step_by(CHUNK) {
            interrupt::check()?;
            let count = CHUNK.min(elements - first);
            for (at, side) in [self, other].into_iter().enumerate() {
                side.read(first, count, decoders[at].as_ref(), at, buffers)?;
            }
            let mut part = ValueDifference::of(&buffers.values[0], &buffers.values[1]);
            if self.is_of_long_integers() || other.is_of_long_integers() {
                self.compare_integers(other, buffers, &mut part);
            }
            found = found.merge(part);
        }
        Ok(Compared::Values(found))
    }

    /// Whether its elements are integers that F64 does not hold exactly.
    fn is_of_long_integers(&self) -> bool {
        matches!(self.reading, ElementReading::Plain)
            && matches!(self.tensor.dtype(), Dtype::I64 | Dtype::U64)
    }

    /// Corrects `part`, the difference of what was read last, by the integers that are the same as F64 alone.
    fn compare_integers(&self, other: &Self, buffers: &ElementBuffers, part: &mut ValueDifference) {
        let integer = |side: &Self, which: usize, at: usize| {
            let long = || buffers.bytes[which].as_chunks::<8>().0[at];
            match side.tensor.dtype() {
                Dtype::I64 if side.is_of_long_integers() => i128::from(i64::from_le_bytes(long())),
                Dtype::U64 if side.is_of_long_integers() => i128::from(u64::from_le_bytes(long())),
                // The same number as a rounded integer of the other side: an integer itself.
                _ => buffers.values[which][at] as i128,
            }
        };
        let [a, b] = &buffers.values;
        for at in (0..a.len()).filter(|at| a[*at] == b[*at]) {
            part.note_integers(integer(self, 0, at), integer(other, 1, at));
        }
    }

    /// Whether every byte is the same; reads no further than to the first part that differs, and nothing of what is one file.
    fn has_bytes_of(&self, other: &Self, buffers: &mut ElementBuffers) -> Result<bool> {
        if self.start == other.start && self.identity()? == other.identity()? {
            return Ok(true);
        }
        let length = self.tensor.bytes().len();
        for first in (0..length).step_by(CHUNK) {
            interrupt::check()?;
            let count = CHUNK.min(length - first);
            for (at, side) in [self, other].into_iter().enumerate() {
                side.read_bytes(first, count, &mut buffers.bytes[at])?;
            }
            if buffers.bytes[0] != buffers.bytes[1] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What tells its file from all others.
    fn identity(&self) -> Result<(u64, u64)> {
        let found = self.file.metadata().map_err(|e| Error::io("read", self.path, e))?;
        Ok((found.dev(), found.ino()))
    }

    fn read_bytes(&self, first: usize, count: usize, bytes: &mut Vec<u8>) -> Result<()> {
        bytes.resize(count, 0);
        let position = self.start + first as u64;
        self.file.read_exact_at(bytes, position).map_err(|e| Error::io("read", self.path, e))
    }

    fn decoder(&self) -> Result<Option<Decoder>> {
        let ElementReading::Scaled(scales) = self.reading else { return Ok(None) };
        // Stacked matrices lie below one another, and so do their scales.
        let row = self.tensor.shape().last().copied().unwrap_or(1);
        Decoder::new(scales, Dtype::F32, row).map(Some)
    }

    /// Reads `count` elements from the `first` on as the values of side `at`.
    fn read(
        &self,
        first: usize,
        count: usize,
        decoder: Option<&Decoder>,
        at: usize,
        buffers: &mut ElementBuffers,
    ) -> Result<()> {
        let size = self.tensor.dtype().size();
        let ElementBuffers { bytes, decoded, values } = buffers;
        let (bytes, values) = (&mut bytes[at], &mut values[at]);
        self.read_bytes(first * size, count * size, bytes)?;
        values.resize(count, 0.0);
        match decoder {
            None => read_f64(self.tensor.dtype(), bytes, values),
            Some(decoder) => {
                decoded.resize(count * Dtype::F32.size(), 0);
                decoder.decode(first, bytes, decoded);
                read_f64(Dtype::F32, decoded, values)
            }
        };
        Ok(())
    }
}
