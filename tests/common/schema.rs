//! What answers in JSON hold, and what the documentation says that they do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// The keys of every object in `values`, by the path of the object; elements of lists are one path.
pub fn keys(values: &[&Value]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    values.iter().for_each(|value| collect("", value, &mut found));
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(&path, value, found);
                found.insert(path);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(&format!("{path}[]"), value, found)),
        _ => {}
    }
}

/// The paths that the page `docs/FILE` lists below `heading`, in lines such as ``- `modules[].tensors[].role`: …``.
pub fn documented(file: &str, heading: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(file)).unwrap();
    let heading = format!("{heading}\n");
    let section = text.split("\n## ").find(|section| section.starts_with(&heading)).unwrap();
    let lines = section.lines().filter_map(|line| line.strip_prefix("- "));
    let names = lines.flat_map(|line| line.split(':').next().unwrap().split('`').skip(1).step_by(2));
    names.map(str::to_string).collect()
}
