//! Modules that loaders make one of, and that therefore share a format.

/// What loaders make one module of, by the last parts of the names: the fused name and its parts. Groups of which one has the
/// parts of another are one here, so that what is whole is whole for both. After vLLM 0.33 (`packed_modules_mapping` of all
/// its models, `qk_proj` and `kv_proj` within `qkv_proj`) and SGLang 0.5.23.
const FUSED: [(&str, &[&str]); 11] = [
    ("qkv_proj", &["q_proj", "k_proj", "v_proj"]),
    ("gate_up_proj", &["gate_proj", "up_proj", "dense_h_to_4h"]),
    ("qkv_proj", &["query", "key", "value"]),
    ("qkv", &["q", "k", "v"]),
    ("merged_qkv", &["wq", "wk", "wv"]),
    ("w13", &["w1", "w3"]),
    ("c_fc", &["c_fc_0", "c_fc_1"]),
    ("fc13", &["fc1", "fc3"]),
    ("fused_qkv_a_proj", &["q_a_proj", "kv_a_proj_with_mqa"]),
    ("in_proj_qkvz", &["in_proj_qkv", "in_proj_z"]),
    ("in_proj_ba", &["in_proj_b", "in_proj_a"]),
];

/// The modules that loaders fuse into one, in the language model and in other towers. Returns the prefix and the fused name
/// that all members share, nothing for any other module.
pub fn fused_group(module: &str) -> Option<(&str, &'static str)> {
    let (prefix, leaf) = module.rsplit_once('.')?;
    let (fused, _) = FUSED.iter().find(|(_, parts)| parts.contains(&leaf))?;
    Some((prefix, fused))
}

/// The experts of a mixture that vLLM loads as one, with one format for all: `….experts.<number>.…`. Returns the prefix
/// and `experts`, nothing for any other module. Scales are not shared in such a group.
pub fn expert_group(module: &str) -> Option<(&str, &'static str)> {
    let (prefix, rest) = module.rsplit_once(".experts.")?;
    let (number, _) = rest.split_once('.')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some((prefix, "experts"))
}

/// Where the experts of a mixture are stacked into one tensor: what the stack is called, and the parts of an expert in it.
const STACKS: [(&[&str], &[&str]); 2] = [
    (&["gate_up_proj", "w13"], &["gate_proj", "up_proj", "w1", "w3"]),
    (&["down_proj"], &["down_proj", "w2"]),
];

/// What the stack is called that the part `leaf` of an expert is in.
pub fn stack_of(leaf: &str) -> Option<&'static str> {
    STACKS.iter().find(|(_, parts)| parts.contains(&leaf)).and_then(|(names, _)| names.first()).copied()
}

/// Whether the part `leaf` of an expert is in what is called `stack`.
pub fn is_in_stack(leaf: &str, stack: &str) -> bool {
    STACKS.iter().any(|(names, parts)| names.contains(&stack) && parts.contains(&leaf))
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
        let attention = |leaf: &str| fused_group(leaf).map(|(_, fused)| fused);
        assert_eq!(attention("m.self_attn.q_a_proj"), attention("m.self_attn.kv_a_proj_with_mqa"));
        assert_eq!(attention("m.linear_attn.in_proj_qkv"), attention("m.linear_attn.in_proj_z"));
        assert_eq!(attention("m.linear_attn.in_proj_a"), attention("m.linear_attn.in_proj_b"));
        assert_ne!(attention("m.linear_attn.in_proj_a"), attention("m.linear_attn.in_proj_z"));
        assert_eq!(attention("m.feed_forward.w1"), attention("m.feed_forward.w3"));
        assert_eq!(attention("m.feed_forward.w2"), None);
    }

    #[test]
    fn parts_of_experts_are_in_one_stack() {
        for (leaf, stack) in [("gate_proj", "gate_up_proj"), ("w3", "gate_up_proj"), ("w2", "down_proj")] {
            assert_eq!(stack_of(leaf), Some(stack));
            assert!(is_in_stack(leaf, stack));
        }
        assert!(is_in_stack("w1", "w13") && !is_in_stack("w1", "down_proj") && !is_in_stack("x", "x"));
        assert_eq!(stack_of("router"), None);
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
