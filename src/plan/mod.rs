//! Plans: which module is stored in which format, as plain data, with exact sizes before a byte is written.

mod input_scales;
mod layout;
mod scheme;
pub mod solver;
mod tensors;

pub use input_scales::InputScales;
pub use layout::{Activations, ActivationsChoice, Dialect, DialectChoice, Layout, ScaleSharing};
pub use scheme::Plan;
pub use tensors::{PlannedTensor, Role, planned_tensors};
