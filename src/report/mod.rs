//! Reports for people and other programs.

pub mod card;
pub mod directory;
mod names;
pub mod per_layer;
mod python;
pub mod svg;
pub mod sweep;
pub mod table;

pub use crate::units::{bytes, weights};
