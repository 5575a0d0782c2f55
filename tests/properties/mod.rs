//! What must hold whatever the input is: checked by the targets of `fuzz/`, and by `tests/properties.rs` with the seeds
//! and with mutations of them.
#![allow(dead_code, reason = "each target uses its own")]

pub mod config;
pub mod coverage;
pub mod expression;
pub mod header;
pub mod hf_quant_config;
pub mod index;
pub mod manifest;
pub mod options;
pub mod provenance;
mod scheme;

use qlua::Error;

/// What an error says is fit to be shown, and says something.
fn require_message(error: &Error) {
    let texts = [Some(error.to_string()), error.hint()];
    for text in texts.into_iter().flatten() {
        let shown = qlua::shown::line(&text);
        assert!(!shown.is_empty() && !shown.contains(char::is_control), "{shown:?}");
    }
    assert!(!error.kind().is_empty());
}
