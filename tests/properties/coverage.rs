//! Coverage manifests.

use std::path::Path;

use qlua::manifest::Coverage;

use super::{require_message, scheme};

pub fn check(bytes: &[u8]) {
    let path = Path::new("s_coverage_from_baseline.json");
    match Coverage::parse(path, bytes) {
        Ok(coverage) => {
            let written = coverage.to_json();
            let again = Coverage::parse(path, &written).expect("what is written is read");
            assert_eq!(again, coverage);
            assert_eq!(again.to_json(), written);
        }
        Err(error) => require_message(&error),
    }
    scheme::check_with("layer-sensitivity/scheme_coverage_from_baseline.json", bytes);
}
