//! What the two processes tell each other, as JSON.

use serde::{Deserialize, Serialize};

/// What a policy is asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct PolicyRequest {
    /// The policy's name, as positions show it.
    pub name: String,
    /// Its source, one character a byte.
    pub source: String,
    /// The ranked groups in order, as JSON text.
    pub groups: String,
    /// Its options, as JSON text.
    pub options: String,
    /// Bytes that Lua may use.
    pub memory: usize,
    /// Seconds that it may take.
    pub seconds: f64,
    /// Instructions that it may take.
    pub instructions: u64,
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum PolicyAnswer {
    /// What goes to FP8.
    Chosen(PolicyChoice),
    /// An error of the policy.
    Failed {
        /// The kind of error.
        kind: String,
        /// One sentence.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// Where, the policy's own lines first.
        at: Vec<String>,
    },
}

/// The groups that a policy chose.
#[derive(Debug, Serialize, Deserialize)]
pub enum PolicyChoice {
    /// By their names.
    Names(Vec<String>),
    /// By globs.
    Globs(Vec<String>),
}

/// Source code as text in which each is one character, so that JSON can hold any.
pub fn source_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The bytes that [`source_text`] made `text` from.
pub fn source_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| c as u8).collect()
}
