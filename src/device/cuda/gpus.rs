//! The GPUs that share the work.

use std::fmt;
use std::sync::Arc;

use super::gpu::Gpu;
use crate::Result;
use crate::device::accelerator::{Accelerator, BatchLane};

/// One or more open GPUs; cheap to clone.
#[derive(Clone)]
pub struct Gpus {
    gpus: Arc<[Gpu]>,
    /// Whether they were asked for by name, so that the CPU must not take over when their memory runs out.
    required: bool,
}

impl Gpus {
    /// Opens the GPU of this number, which is required.
    ///
    /// # Errors
    /// Those of [`Gpu::open`].
    pub fn one(ordinal: usize) -> Result<Gpus> {
        Ok(Gpus { gpus: [Gpu::open(ordinal)?].into(), required: true })
    }

    /// Opens every GPU that can be used; others, such as one that is too old, are passed over.
    ///
    /// # Errors
    /// Those of [`Gpu::open`] for the first, when none can be used.
    pub fn all(required: bool) -> Result<Gpus> {
        let first = Gpu::open(0);
        let others = (1..Gpu::count()).map(Gpu::open);
        let (mut gpus, mut reason) = (vec![], None);
        for gpu in std::iter::once(first).chain(others) {
            match gpu {
                Ok(gpu) => gpus.push(gpu),
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        match reason {
            Some(error) if gpus.is_empty() => Err(error),
            _ => Ok(Gpus { gpus: gpus.into(), required }),
        }
    }

    /// The first, for what one does alone.
    pub fn first(&self) -> &Gpu {
        &self.gpus[0]
    }
}

impl From<Gpu> for Gpus {
    fn from(gpu: Gpu) -> Self {
        Gpus { gpus: [gpu].into(), required: true }
    }
}

impl Accelerator for Gpus {
    fn devices(&self) -> usize {
        self.gpus.len()
    }

    fn lane(&self, device: usize) -> Result<Box<dyn BatchLane>> {
        Ok(Box::new(self.gpus[device].lane()?))
    }

    fn is_required(&self) -> bool {
        self.required
    }
}

impl fmt::Display for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [gpu] = &*self.gpus {
            return write!(f, "cuda:{} ({})", gpu.ordinal(), gpu.name());
        }
        let mut names: Vec<&str> = self.gpus.iter().map(Gpu::name).collect();
        names.dedup();
        write!(f, "{} GPUs ({})", self.gpus.len(), names.join(", "))
    }
}
