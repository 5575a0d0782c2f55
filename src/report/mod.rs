//! Reports for people and other programs.

pub mod per_layer;
mod python;
pub mod svg;
pub mod sweep;
mod table;

pub use crate::units::{bytes, score, weights};
pub use sweep::Sweep;
pub use table::markdown_table;
