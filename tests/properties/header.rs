//! Headers of safetensors files.

use std::path::Path;

use qlua::checkpoint::{HeaderEntry, read_header};
use safetensors::tensor::TensorView;

use super::require_message;

pub fn check(bytes: &[u8]) {
    let path = Path::new("x.safetensors");
    let entries = match read_header(path, bytes) {
        Ok(entries) => entries,
        Err(error) => return require_message(&error),
    };
    let mut end = None;
    for entry in &entries {
        let elements = entry.shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
        assert_eq!(elements.map(|n| entry.dtype.bytes_of(n)), Some(entry.range.len() as u64), "{entry:?}");
        assert!(end.is_none_or(|end| entry.range.start == end), "no hole and no overlap");
        end = Some(entry.range.end);
    }
    assert!(end.is_none_or(|end| end == bytes.len()), "every byte of the data belongs to a tensor");
    // What another program writes of it says the same.
    let view = |entry: &HeaderEntry| {
        let dtype = serde_json::from_str(&format!("\"{}\"", entry.dtype)).expect("a dtype of the crate");
        TensorView::new(dtype, entry.shape.clone(), &bytes[entry.range.clone()]).expect("sizes fit")
    };
    let views: Vec<(String, TensorView)> = entries.iter().map(|one| (one.name.clone(), view(one))).collect();
    let written = safetensors::serialize(views, None).expect("it can be written");
    let again = read_header(path, &written).expect("what was written is read");
    let contents = |entries: &[HeaderEntry], bytes: &[u8]| {
        let mut all: Vec<_> = entries
            .iter()
            .map(|one| (one.name.clone(), one.dtype, one.shape.clone(), bytes[one.range.clone()].to_vec()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(contents(&entries, bytes), contents(&again, &written));
}
