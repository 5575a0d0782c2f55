//! Quantised checkpoints of other tools: turned back, refused by what they are, checked without untruth.

mod common;

#[path = "foreign/beside.rs"]
mod beside;
#[path = "foreign/configurations.rs"]
mod configurations;
#[path = "foreign/layouts.rs"]
mod layouts;
#[path = "foreign/refused.rs"]
mod refused;
#[path = "foreign/tensors.rs"]
mod tensors;
#[path = "foreign/unchecked.rs"]
mod unchecked;
