//! Sizes that a configuration states and that are none.

use serde_json::Value;

use super::family_of;

/// The sizes that the tensors of the known families follow from.
const SIZES: [&str; 16] = [
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "num_experts",
    "head_dim",
    "vocab_size",
    "depth",
    "out_hidden_size",
    "patch_size",
    "spatial_merge_size",
    "temporal_patch_size",
    "num_position_embeddings",
    "decoder_sparse_step",
];
/// Those that are single positive integers in every architecture.
const EVERYWHERE: [&str; 3] = ["hidden_size", "num_hidden_layers", "vocab_size"];
/// The parts of a configuration that have sizes of their own.
const PARTS: [&str; 3] = ["text_config", "llm_config", "vision_config"];

/// A size that is no positive integer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatedSize {
    /// Its key, after those of the parts that it is in.
    pub key: String,
    /// What is stated, as JSON.
    pub value: String,
}

/// The sizes of `config` that are no positive integers: all of those that matter where its family is known, else those that
/// are such in every architecture. What is left out or null is not stated.
pub fn missized(config: &Value) -> Vec<StatedSize> {
    let is_known = family_of(config).is_some();
    let keys = if is_known { &SIZES[..] } else { &EVERYWHERE[..] };
    let parts = PARTS.iter().filter_map(|part| Some((format!("{part}."), config.get(part)?)));
    let mut found = Vec::new();
    for (prefix, part) in std::iter::once((String::new(), config)).chain(parts) {
        for key in keys {
            let Some(value) = part.get(key).filter(|value| !value.is_null()) else { continue };
            // Other architectures may have a size for each block.
            let may_be = !is_known && (value.is_array() || value.is_object());
            let least = u64::from(*key != "num_experts");
            if !may_be && value.as_u64().is_none_or(|size| size < least) {
                found.push(StatedSize { key: format!("{prefix}{key}"), value: value.to_string() });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_positive_integer_is_named() {
        let config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": "8",
            "num_hidden_layers": -1, "head_dim": null, "vocab_size": 9, "num_attention_heads": 2.5,
            "vision_config": {"depth": 0}});
        let keys: Vec<String> = missized(&config).into_iter().map(|size| size.key).collect();
        assert_eq!(keys, ["hidden_size", "num_hidden_layers", "num_attention_heads", "vision_config.depth"]);
        let other = json!({"hidden_size": [8, 16], "num_attention_heads": "2", "num_hidden_layers": 1.5});
        let keys: Vec<String> = missized(&other).into_iter().map(|size| size.key).collect();
        assert_eq!(keys, ["num_hidden_layers"]);
    }
}
