//! Modules that loaders make one of, and that therefore share a format.

/// What loaders make one module of, by the last parts of the names: the fused name and its parts. Groups of which one has the
/// parts of another are one here, so that what is whole is whole for both. After vLLM 0.33 (`packed_modules_mapping` of all
/// its models, `qk_proj` and `kv_proj` within `qkv_proj`) and SGLang 0.5.23.
const FUSED: [(&str, &[&str]); 15] = [
    ("qkv_proj", &["q_proj", "k_proj", "v_proj"]),
    ("gate_up_proj", &["gate_proj", "up_proj", "dense_h_to_4h"]),
    ("qkv_proj", &["query", "key", "value"]),
    ("qkv", &["q", "k", "v"]),
    ("merged_qkv", &["wq", "wk", "wv", "weights_proj"]),
    ("w13", &["w1", "w3"]),
    ("c_fc", &["c_fc_0", "c_fc_1"]),
    ("fc13", &["fc1", "fc3"]),
    ("fused_qkv_a_proj", &["q_a_proj", "kv_a_proj_with_mqa"]),
    ("in_proj_qkvz", &["in_proj_qkv", "in_proj_z"]),
    ("in_proj_ba", &["in_proj_b", "in_proj_a"]),
    ("fused_wqa_wkv", &["wq_a", "wkv", "wgate"]),
    ("qkvr", &["wq_du", "wk_dv", "wv_dv", "wr_du"]),
    ("kv_proj", &["key_proj", "value_proj"]),
    ("input_mix_weight_down_block_inject", &["input_mix_weight_down", "block_inject_weight"]),
];

/// A gate that is a part of `qkv_proj` below this parent, in OLMo-Hybrid, and a layer of its own elsewhere.
const GATE: (&str, &str) = ("linear_attn", "g_proj");

/// The modules that loaders fuse into one, in the language model and in other towers. Returns the prefix and the fused name
/// that all members share, nothing for any other module.
pub fn fused_group(module: &str) -> Option<(&str, &'static str)> {
    let (prefix, leaf) = module.rsplit_once('.')?;
    let is_gate = (prefix.rsplit('.').next()?, leaf) == GATE;
    let leaf = if is_gate { "q_proj" } else { leaf };
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

/// The name of an expert's part in the order of a checkpoint, where `module` has it as ModelOpt has those that it unstacks:
/// `….experts.<part>.<number>`.
pub fn unstacked_expert(module: &str) -> Option<String> {
    let (prefix, rest) = module.rsplit_once(".experts.")?;
    let (part, number) = rest.split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(number) && !is_number(part)).then(|| format!("{prefix}.experts.{number}.{part}"))
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
        // DeepSeek-V4 and its compressors, HunYuan V4's indexer, Inkling, OLMo-Hybrid.
        assert_eq!(attention("m.attn.wq_a"), attention("m.attn.wkv"));
        assert_eq!(attention("m.attn.compressor.wkv"), attention("m.attn.compressor.wgate"));
        assert_eq!(attention("m.indexer.wk"), attention("m.indexer.weights_proj"));
        assert_eq!(attention("m.attn.wq_du"), attention("m.attn.wr_du"));
        assert_eq!(attention("m.linear_attn.q_proj"), attention("m.linear_attn.g_proj"));
        assert_eq!(attention("m.self_attn.g_proj"), None);
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
        let unstacked = unstacked_expert("model.layers.0.mlp.experts.gate_proj.7");
        assert_eq!(unstacked.as_deref(), Some("model.layers.0.mlp.experts.7.gate_proj"));
        assert_eq!(unstacked_expert("model.layers.0.mlp.experts.7.gate_proj"), None);
        assert_eq!(unstacked_expert("model.layers.0.mlp.experts.gate_proj"), None);
    }
}
