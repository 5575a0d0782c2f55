//! Reports for people and other programs.

pub mod per_layer;
mod python;
