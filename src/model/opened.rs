//! A checkpoint whose modules are known.

use std::ops::Deref;
use std::path::Path;

use super::modules::Modules;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::tensor::Tensor;

/// A checkpoint whose modules are known: what each weight is, and how it is spelled elsewhere.
#[derive(Clone)]
pub struct Model {
    checkpoint: Checkpoint,
    modules: Modules,
}

impl Model {
    /// Opens the checkpoint in the directory `place`, or the model of the Hugging Face Hub of that name.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`].
    pub fn open(place: impl AsRef<Path>) -> Result<Self> {
        Checkpoint::open(place).map(Model::of)
    }

    /// The modules of `checkpoint`.
    pub fn of(checkpoint: Checkpoint) -> Self {
        let tensors = checkpoint.tensors().map(|(name, tensor)| (name, tensor.shape()));
        let modules = Modules::new(tensors, checkpoint.config());
        Model { checkpoint, modules }
    }

    /// Its modules.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The weight of the module `on_disk`, which is a bare parameter for a stack of experts.
    pub fn weight(&self, on_disk: &str) -> Option<&Tensor> {
        self.checkpoint.tensor(&format!("{on_disk}.weight")).or_else(|| self.checkpoint.tensor(on_disk))
    }
}

/// A model is its checkpoint, and knows more.
impl Deref for Model {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.checkpoint
    }
}
