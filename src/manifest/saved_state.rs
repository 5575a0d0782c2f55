//! What AutoQuant saves beside a manifest: told from other files before anything is built, and never read further.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::json;

/// The entry that PyTorch writes first into an archive.
const FIRST_ENTRY: &[u8] = b"data.pkl";
/// What every state has, also one that was exported as JSON.
const STATS: &str = "candidate_stats";

/// Fails unless the file at `path` may be a saved AutoQuant state: an archive or a pickle of PyTorch, or a state exported as
/// JSON.
///
/// # Errors
/// [`Error::Format`] when it is something else; those of [`input::open`].
pub fn require_saved_state(path: &Path) -> Result<()> {
    let mut start = Vec::new();
    let read = input::open(path)?.take(256).read_to_end(&mut start);
    read.map_err(|e| Error::io("read", path, e))?;
    let is_state = match start.as_slice() {
        // The name of an archive's first entry is behind 30 bytes of its header.
        [b'P', b'K', 3, 4, ..] => start
            .get(30..)
            .is_some_and(|rest| rest.windows(FIRST_ENTRY.len()).any(|name| name == FIRST_ENTRY)),
        // A pickle of protocol 2 to 5.
        [0x80, 2..=5, ..] => true,
        _ if json::without_mark(&start).trim_ascii_start().starts_with(b"{") => {
            json::read::<Value>(path, InputKind::Manifest)?.get(STATS).is_some()
        }
        _ => false,
    };
    if is_state {
        return Ok(());
    }
    Err(Error::format(
        path,
        "is no saved AutoQuant state: neither an archive of PyTorch nor a state exported as JSON",
    )
    .with_hint("give the file that AutoQuant saved its state to, or leave --state out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_told_from_other_files() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("state.pt");
        let is_state = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            require_saved_state(&path).is_ok()
        };
        let archive = |entry: &str| [b"PK\x03\x04", &[0; 26][..], entry.as_bytes()].concat();
        assert!(is_state(&archive("autoquant_state/data.pkl")));
        assert!(is_state(b"\x80\x02\x8a\n") && is_state(br#" {"candidate_stats": {}}"#));
        assert!(!is_state(&archive("word/document.xml")) && !is_state(b"") && !is_state(b"notes"));
        assert!(!is_state(br#"{"layer_sensitivity": {}}"#) && !is_state(b"{"));
    }
}
