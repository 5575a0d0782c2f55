//! qlua: mixed FP8/BF16 checkpoints from one sensitivity manifest, decided by Lua policies.
//!
//! A manifest says how much each layer suffers; a Lua policy decides; the core writes checkpoints that every loader
//! reads. Data flows one way: manifest → ranking → policy → plan → write → verify → report.
#![deny(missing_docs)]

pub mod checkpoint;
pub mod cli;
pub mod demo;
pub mod device;
pub mod dialect;
pub mod diff;
pub mod engine;
pub mod error;
pub mod format;
pub mod free_memory;
pub mod huge_pages;
pub mod input;
pub mod interrupt;
pub mod job;
pub mod json;
pub mod lua;
pub mod manifest;
pub mod model;
pub mod options;
pub mod plan;
pub mod record;
pub mod report;
pub mod seal;
pub mod selector;
pub mod shown;
pub mod tensor;
pub(crate) mod threads;
pub(crate) mod units;
pub mod verify;
pub mod words;
pub mod write;

pub use error::{Error, Result};
