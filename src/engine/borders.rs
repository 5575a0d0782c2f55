//! What goes into each block, kept for the way back.

use std::collections::HashMap;

use super::backend::Backend;
use crate::error::{Error, Result};

/// A place between two blocks: what goes into the block of this number. The number after the last is what goes into the merger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Border {
    /// Into a block of the vision tower.
    Vision(usize),
    /// Into a block of the language model.
    Text(usize),
}

/// Keeps what goes into blocks.
pub trait Borders<B: Backend> {
    /// Keeps `values` of chunk `chunk` at `border`.
    ///
    /// # Errors
    /// Those of the place where they are kept.
    fn put(&mut self, backend: &B, border: Border, chunk: usize, values: B::Buffer) -> Result<()>;

    /// Gives back what was kept, once.
    ///
    /// # Errors
    /// Those of the place where they are kept.
    fn take(&mut self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer>;

    /// A copy of what was kept, which stays.
    ///
    /// # Errors
    /// Those of the place where they are kept.
    fn copy(&self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer>;
}

/// Keeps nothing.
pub struct Forgotten;

impl<B: Backend> Borders<B> for Forgotten {
    fn put(&mut self, _: &B, _: Border, _: usize, _: B::Buffer) -> Result<()> {
        Ok(())
    }

    fn take(&mut self, _: &B, border: Border, _: usize) -> Result<B::Buffer> {
        Err(missing(border))
    }

    fn copy(&self, _: &B, border: Border, _: usize) -> Result<B::Buffer> {
        Err(missing(border))
    }
}

/// Keeps all on the device.
pub struct Kept<B: Backend>(HashMap<(Border, usize), B::Buffer>);

impl<B: Backend> Default for Kept<B> {
    fn default() -> Self {
        Kept(HashMap::new())
    }
}

impl<B: Backend> Borders<B> for Kept<B> {
    fn put(&mut self, _: &B, border: Border, chunk: usize, values: B::Buffer) -> Result<()> {
        self.0.insert((border, chunk), values);
        Ok(())
    }

    fn take(&mut self, _: &B, border: Border, chunk: usize) -> Result<B::Buffer> {
        self.0.remove(&(border, chunk)).ok_or_else(|| missing(border))
    }

    fn copy(&self, backend: &B, border: Border, chunk: usize) -> Result<B::Buffer> {
        self.0.get(&(border, chunk)).map(|values| backend.copy(values)).ok_or_else(|| missing(border))
    }
}

/// That nothing is at `border`.
pub(super) fn missing(border: Border) -> Error {
    Error::argument(format!("nothing was kept at {border:?}"))
}
