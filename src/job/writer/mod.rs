//! A directory put together tensor by tensor, with the safety of a scheme: streamed, checked, whole or not at all.
//!
//! Entries are descriptions; nothing is read before [`Writer::finish`], which streams them in one pass. Only tensors that
//! were made in memory stay there until then.

mod description;
mod finish;
mod quantise;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use quantise::QuantizeOptions;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::tensor::{Dtype, Tensor, TensorSpec};
use crate::words::nearest;
use crate::write::content::{Content, OutputTensor};
use crate::write::require_apart;

/// How a [`Writer`] works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The directory that will appear.
    pub out: PathBuf,
    /// Whether an existing checkpoint directory is replaced.
    pub overwrite: bool,
    /// Whether tokenizer, processor and configuration of the base come along.
    pub companions: bool,
    /// Tensor bytes that a shard holds at most.
    pub max_shard_size: u64,
    /// Threads that read, convert and write.
    pub threads: usize,
}

/// A directory in the making.
pub struct Writer {
    options: WriterOptions,
    base: Option<Arc<Model>>,
    /// In the order in which they were added; nothing where one was dropped.
    entries: Vec<Option<OutputTensor>>,
    positions: HashMap<String, usize>,
    files: Vec<(String, Vec<u8>)>,
}

impl Writer {
    /// A writer without tensors. With `base`, tensors are named from it and its companions come along.
    ///
    /// # Errors
    /// [`Error::Exists`] when the directory exists and may not be replaced; [`Error::Refused`] when it touches the base.
    pub fn new(options: WriterOptions, base: Option<Arc<Model>>) -> Result<Self> {
        if !options.overwrite && options.out.symlink_metadata().is_ok() {
            return Err(Error::exists(&options.out, "exists already")
                .with_hint("pass overwrite = true to replace it, or choose another directory"));
        }
        if let Some(base) = &base {
            require_apart(&options.out, base.directory())?;
        }
        Ok(Writer { options, base, entries: Vec::new(), positions: HashMap::new(), files: Vec::new() })
    }

    /// The checkpoint that tensors are named from.
    pub fn base(&self) -> Option<&Arc<Model>> {
        self.base.as_ref()
    }

    /// The specifications of all tensors so far, in the order in which they were added.
    pub fn specs(&self) -> impl Iterator<Item = &TensorSpec> {
        self.entries.iter().flatten().map(|e| &e.spec)
    }

    /// Adds the tensor `name` of the base as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the base has no such tensor; [`Error::Argument`] when the name is taken.
    pub fn copy(&mut self, name: &str) -> Result<()> {
        let tensor = self.source(name)?;
        self.add(name, tensor)
    }

    /// Adds `tensor` under `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the name is taken.
    pub fn add(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        let spec = TensorSpec::new(name, tensor.dtype(), tensor.shape());
        self.push(OutputTensor { spec, content: Content::Bytes(tensor) })
    }

    /// Adds the tensor `name` of the base converted to BF16, F16 or F32, rounded to nearest even.
    ///
    /// # Errors
    /// As for [`Writer::copy`], and for other target dtypes.
    pub fn cast(&mut self, name: &str, target: Dtype) -> Result<()> {
        let tensor = self.source(name)?;
        if !target.is_quantisable() {
            return Err(Error::argument(format!("tensors can be cast to BF16, F16 or F32, not to {target}")));
        }
        let spec = TensorSpec::new(name, target, tensor.shape());
        let content = if tensor.dtype() == target { Content::Bytes(tensor) } else { Content::Cast(tensor) };
        self.push(OutputTensor { spec, content })
    }

    /// Gives the added tensor `name` another name.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing of that name was added; [`Error::Argument`] when the new name is taken.
    pub fn rename(&mut self, name: &str, new_name: &str) -> Result<()> {
        if name == new_name {
            return self.position(name).map(|_| ());
        }
        if self.positions.contains_key(new_name) {
            return Err(taken(new_name));
        }
        let index = self.position(name)?;
        self.positions.remove(name);
        self.positions.insert(new_name.into(), index);
        if let Some(entry) = &mut self.entries[index] {
            entry.spec.name = new_name.into();
        }
        Ok(())
    }

    /// Takes the added tensor `name` out again.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing of that name was added.
    pub fn drop_tensor(&mut self, name: &str) -> Result<()> {
        let index = self.position(name)?;
        self.positions.remove(name);
        self.entries[index] = None;
        Ok(())
    }

    /// Adds a file with this content; it takes the place of a companion of the same name.
    ///
    /// # Errors
    /// [`Error::Argument`] when `name` is no plain file name, or is that of weights or their index.
    pub fn file(&mut self, name: &str, content: Vec<u8>) -> Result<()> {
        let plain = Path::new(name).file_name().is_some_and(|n| n == name);
        if !plain || name.ends_with(".safetensors") || name.ends_with(".index.json") {
            return Err(Error::argument(format!("`{name}` is no name of a file beside the weights")));
        }
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.into(), content));
        Ok(())
    }

    fn source(&self, name: &str) -> Result<Tensor> {
        let Some(base) = &self.base else {
            return Err(Error::argument(format!("the writer has no base checkpoint to take `{name}` from")));
        };
        base.tensor(name).cloned().ok_or_else(|| {
            let problem = format!("`{}` holds no tensor `{name}`", base.directory().display());
            match nearest(name, base.tensors().map(|(n, _)| n)) {
                Some(near) => Error::not_found(problem).with_hint(format!("did you mean `{near}`?")),
                None => Error::not_found(problem),
            }
        })
    }

    fn position(&self, name: &str) -> Result<usize> {
        let position = self.positions.get(name).copied();
        position.ok_or_else(|| Error::not_found(format!("no tensor `{name}` was added to the writer")))
    }

    fn push(&mut self, entry: OutputTensor) -> Result<()> {
        if self.positions.contains_key(&entry.spec.name) {
            return Err(taken(&entry.spec.name));
        }
        self.positions.insert(entry.spec.name.clone(), self.entries.len());
        self.entries.push(Some(entry));
        Ok(())
    }
}

fn taken(name: &str) -> Error {
    Error::argument(format!("the tensor name `{name}` is used twice"))
}
