//! Indices of sharded checkpoints.

use std::path::Path;

use qlua::checkpoint::Index;
use serde_json::{Value, json};

use super::require_message;

pub fn check(bytes: &[u8]) {
    let path = Path::new("model.safetensors.index.json");
    let index = match Index::parse(path, bytes) {
        Ok(index) => index,
        Err(error) => return require_message(&error),
    };
    let files = match index.by_file(path) {
        Ok(files) => files,
        Err(error) => return require_message(&error),
    };
    let tensors: usize = files.values().map(|tensors| tensors.len()).sum();
    assert_eq!(tensors, index.weight_map.len(), "each tensor lies in one file");
    for file in files.keys() {
        let joined = Path::new("/d").join(file);
        assert_eq!(joined.parent(), Some(Path::new("/d")), "`{file}` lies in the directory");
        assert!(!file.contains('/') && file != ".." && file != "." && !file.is_empty());
    }
    let written = json!({"metadata": index.metadata, "weight_map": Value::Object(index.weight_map.clone())});
    let again = Index::parse(path, written.to_string().as_bytes()).expect("what was parsed is parsed again");
    assert_eq!((again.metadata, again.weight_map), (index.metadata, index.weight_map));
}
