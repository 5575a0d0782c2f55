//! Plans: which module is stored in which format, as plain data, with exact sizes before a byte is written.

mod layout;
mod scheme;
mod tensors;

pub use layout::{Activations, ActivationsChoice, Dialect, DialectChoice, Layout, ScaleSharing};
pub use scheme::{KeptGroup, Plan, RequestedGroup};
pub use tensors::{PlannedTensor, Role, planned_tensors};
