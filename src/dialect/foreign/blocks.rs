//! The sizes of blocks that a configuration has.

use serde_json::Value;

use crate::dialect::weight_block_size;

/// Rows and columns of the blocks that `configuration` speaks of, each size once; an error has what stands in their place and
/// is no size.
pub(super) fn sizes(configuration: &Value) -> Result<Vec<[usize; 2]>, String> {
    let mut found = Vec::new();
    let mut add = |size: [usize; 2]| {
        if !found.contains(&size) {
            found.push(size);
        }
    };
    let plain = &configuration["weight_block_size"];
    if !plain.is_null() {
        add(weight_block_size(configuration).ok_or_else(|| wrong("weight_block_size", plain))?);
    }
    for (_, group) in configuration["config_groups"].as_object().into_iter().flatten() {
        let weights = &group["weights"];
        match weights["strategy"].as_str() {
            Some("block") => {
                let wrong = || wrong("block_structure", &weights["block_structure"]);
                add(block_structure(weights).ok_or_else(wrong)?);
            }
            Some("group") => {
                let size = &weights["group_size"];
                add([1, positive(size).ok_or_else(|| wrong("group_size", size))?]);
            }
            _ => {}
        }
    }
    let quark = &configuration["global_quant_config"]["weight"];
    if quark["qscheme"] == "per_group" {
        add([1, positive(&quark["group_size"]).ok_or_else(|| wrong("group_size", &quark["group_size"]))?]);
    }
    Ok(found)
}

fn wrong(key: &str, value: &Value) -> String {
    let sizes = if key == "group_size" { "a positive size" } else { "two positive sizes" };
    format!("has the {key} {value}, not {sizes}")
}

/// Rows and columns of the blocks of `weights` in a group of compressed-tensors, in a list or as `128x128`.
pub(in crate::dialect) fn block_structure(weights: &Value) -> Option<[usize; 2]> {
    let sizes: Option<Vec<usize>> = match &weights["block_structure"] {
        Value::String(text) => {
            text.split('x').map(|size| size.trim().parse().ok().filter(|size| *size > 0)).collect()
        }
        other => other.as_array()?.iter().map(positive).collect(),
    };
    sizes?.try_into().ok()
}

fn positive(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sizes_are_found_wherever_a_tool_writes_them() {
        let group = |weights| json!({"config_groups": {"a": {"weights": weights}, "b": {"weights": null}}});
        let found = [
            json!({"weight_block_size": [64, 32]}),
            group(json!({"strategy": "block", "block_structure": [64, 32]})),
            group(json!({"strategy": "block", "block_structure": "64x32"})),
        ];
        for configuration in found {
            assert_eq!(sizes(&configuration).unwrap(), [[64, 32]], "{configuration}");
        }
        assert_eq!(sizes(&group(json!({"strategy": "group", "group_size": 16}))).unwrap(), [[1, 16]]);
        assert!(sizes(&group(json!({"strategy": "channel", "group_size": null}))).unwrap().is_empty());
        assert!(sizes(&json!({"weight_block_size": null})).unwrap().is_empty());
        for wrong in [
            json!({"weight_block_size": [0, 128]}),
            group(json!({"strategy": "block", "block_structure": "128"})),
            group(json!({"strategy": "group", "group_size": -1})),
        ] {
            assert!(sizes(&wrong).unwrap_err().contains("positive size"), "{wrong}");
        }
    }
}
