//! Modules that loaders make one of, and that therefore share a format.

/// The modules that vLLM fuses into one: `{q,k,v}_proj` and `{gate,up}_proj` beside each other, in the language model and
/// in the vision tower. Returns the prefix and the fused name that all members share, nothing for any other module.
pub fn fused_group(module: &str) -> Option<(&str, &'static str)> {
    let (prefix, leaf) = module.rsplit_once('.')?;
    match leaf {
        "q_proj" | "k_proj" | "v_proj" => Some((prefix, "qkv_proj")),
        "gate_proj" | "up_proj" => Some((prefix, "gate_up_proj")),
        _ => None,
    }
}

/// The experts of a mixture that vLLM loads as one, with one format for all: `….experts.<number>.…`. Returns the prefix
/// and `experts`, nothing for any other module. Scales are not shared in such a group.
pub fn expert_group(module: &str) -> Option<(&str, &'static str)> {
    let (prefix, rest) = module.rsplit_once(".experts.")?;
    let (number, _) = rest.split_once('.')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some((prefix, "experts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_groups_are_those_of_vllm() {
        assert_eq!(
            fused_group("model.layers.0.self_attn.k_proj"),
            Some(("model.layers.0.self_attn", "qkv_proj"))
        );
        assert_eq!(fused_group("visual.blocks.0.mlp.up_proj"), Some(("visual.blocks.0.mlp", "gate_up_proj")));
        assert_eq!(fused_group("visual.blocks.0.attn.qkv"), None);
        assert_eq!(fused_group("model.layers.0.mlp.down_proj"), None);
    }

    #[test]
    fn experts_are_one_group_whatever_their_number_and_leaf() {
        let group = Some(("model.layers.0.mlp", "experts"));
        assert_eq!(expert_group("model.layers.0.mlp.experts.0.gate_proj"), group);
        assert_eq!(expert_group("model.layers.0.mlp.experts.63.down_proj"), group);
        assert_eq!(expert_group("model.layers.0.mlp.shared_experts.gate_proj"), None);
        assert_eq!(expert_group("model.layers.0.mlp.experts.gate_proj"), None);
    }
}
