//! Reports for people and other programs.

pub mod per_layer;
mod python;
mod table;
mod units;

pub use table::markdown_table;
pub use units::{bytes, weights};
