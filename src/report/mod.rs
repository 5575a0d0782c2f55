//! Reports for people and other programs.

pub mod per_layer;
mod python;
pub mod svg;
pub mod sweep;
mod table;
mod units;

pub use sweep::Sweep;
pub use table::markdown_table;
pub use units::{bytes, score, weights};
