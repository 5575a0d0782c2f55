//! What is recorded of architectures, by what is known of them.

use super::*;
use crate::model::place::Tower;
use crate::model::recorded::ModuleClass;
use serde_json::json;

fn named(name: &str) -> &'static Architecture {
    Architecture::named(name).unwrap_or_else(|| panic!("{name} is recorded"))
}

/// The class in the newest line, what both lines call it in memory, and the tower.
fn seen(name: &str, on_disk: &str) -> (ModuleClass, String, String, Tower) {
    let module = named(name).module(on_disk).unwrap_or_else(|| panic!("{on_disk} of {name} is recorded"));
    let line = *Line::ALL.iter().rev().find(|line| module.class(**line).is_some()).unwrap();
    let memory = |line| module.in_memory(line).join("|");
    (module.class(line).unwrap(), memory(Line::V4), memory(Line::V5), module.tower())
}

fn check(name: &str, on_disk: &str, class: ModuleClass, in_memory: &str, tower: Tower) {
    let expected = (class, in_memory.to_string(), in_memory.to_string(), tower);
    assert_eq!(seen(name, on_disk), expected, "{on_disk} of {name}");
}

#[test]
fn published_names_are_found_in_memory() {
    use ModuleClass::*;
    let qwen = "Qwen2_5_VLForConditionalGeneration";
    let up = "model.language_model.layers.3.mlp.up_proj";
    for spelling in ["model.layers.3.mlp.up_proj", "model.layers.3.mlp.up_proj.weight", up] {
        check(qwen, spelling, Linear, up, Tower::Language);
    }
    check(qwen, "visual.blocks.31.attn.qkv", Linear, "model.visual.blocks.31.attn.qkv", Tower::Vision);
    check(qwen, "visual.merger.mlp.2", Linear, "model.visual.merger.mlp.2", Tower::Merger);
    check(qwen, "visual.patch_embed.proj", Convolution, "model.visual.patch_embed.proj", Tower::Vision);
    check(qwen, "lm_head", Head, "lm_head", Tower::Head);
    check(qwen, "model.embed_tokens", Embedding, "model.language_model.embed_tokens", Tower::Language);
    let llava = "LlavaForConditionalGeneration";
    let q = "model.language_model.layers.0.self_attn.q_proj";
    check(llava, "language_model.model.layers.0.self_attn.q_proj", Linear, q, Tower::Language);
    check(llava, q, Linear, q, Tower::Language);
    check(llava, "language_model.lm_head", Head, "lm_head", Tower::Head);
    let projector = "model.multi_modal_projector.linear_1";
    check(llava, "multi_modal_projector.linear_1", Linear, projector, Tower::Merger);
    let gemma = "Gemma3ForConditionalGeneration";
    let matrix = "model.multi_modal_projector.mm_input_projection_weight";
    check(gemma, "multi_modal_projector.mm_input_projection_weight", Other, matrix, Tower::Merger);
    let q = "model.language_model.layers.7.self_attn.q_proj";
    check(gemma, "language_model.model.layers.7.self_attn.q_proj", Linear, q, Tower::Language);
    let internvl = "InternVLForConditionalGeneration";
    let q = "model.language_model.layers.2.self_attn.q_proj";
    check(internvl, "language_model.model.layers.2.self_attn.q_proj", Linear, q, Tower::Language);
    let projector = "model.multi_modal_projector.linear_2";
    check(internvl, "multi_modal_projector.linear_2", Linear, projector, Tower::Merger);
}

#[test]
fn names_deceive_and_facts_do_not() {
    use ModuleClass::*;
    let patches =
        seen("Lfm2VlForConditionalGeneration", "model.vision_tower.vision_model.embeddings.patch_embedding");
    assert_eq!((patches.0, patches.3), (Linear, Tower::Vision));
    let gemma = "Gemma3nForConditionalGeneration";
    let projection = "model.embed_vision.embedding_projection";
    assert_eq!(seen(gemma, projection).0, Linear);
    assert_eq!(seen(gemma, "model.embed_vision.embedding").0, Embedding);
    assert_eq!(seen("GPT2LMHeadModel", "transformer.h.0.attn.c_attn").0, Transposed);
    assert_eq!(seen("GPT2LMHeadModel", "h.11.mlp.c_fc.weight").2, "transformer.h.11.mlp.c_fc");
    let head = seen("GPTNeoXForCausalLM", "embed_out");
    assert_eq!((head.0, head.1.as_str(), head.2.as_str()), (Head, "embed_out", "lm_head"));
    assert_eq!(seen("GPTNeoXForCausalLM", "gpt_neox.embed_in").0, Embedding);
    let shared = "model.layers.0.mlp.shared_expert_gate";
    assert_eq!(seen("Qwen2MoeForCausalLM", shared).0, Router);
    assert_eq!(seen("Qwen3NextForCausalLM", "model.layers.0.linear_attn.conv1d").0, Convolution);
}

#[test]
fn mixtures_say_what_becomes_of_experts() {
    let module = named("Qwen3MoeForCausalLM").module("model.layers.3.mlp.experts.12.up_proj").unwrap();
    assert_eq!(module.class(Line::V5), Some(ModuleClass::Experts));
    assert_eq!(module.in_memory(Line::V5), ["model.layers.3.mlp.experts.gate_up_proj"]);
    assert_eq!(module.class(Line::V4), Some(ModuleClass::Linear));
    assert_eq!(module.in_memory(Line::V4), ["model.layers.3.mlp.experts.12.up_proj"]);
    assert_eq!(module.block(), Some(("model.layers.#", 3)));
    let gate = named("Qwen3MoeForCausalLM").module("model.layers.3.mlp.gate").unwrap();
    assert_eq!(gate.class(Line::V5), Some(ModuleClass::Router));
    assert!(gate.is_linear_module(Line::V4) && !gate.is_linear_module(Line::V5));

    let deepseek = named("DeepseekV3ForCausalLM");
    let [mixture] = deepseek.experts().iter().filter(|m| m.numbered).collect::<Vec<_>>()[..] else {
        panic!("one mixture: {:?}", deepseek.experts())
    };
    assert_eq!(mixture.at, "model.layers.#.mlp.experts");
    assert_eq!(mixture.parts, ["down_proj", "gate_proj", "up_proj"]);
    assert_eq!(mixture.stacks[&Line::V5]["gate_up_proj"], ["gate_proj", "up_proj"]);
    let group = deepseek.fused_group("model.layers.0.self_attn.kv_a_proj_with_mqa");
    assert_eq!(group, Some(("model.layers.0.self_attn", "fused_qkv_a_proj")));
    assert!(deepseek.ignored().iter().any(|expression| expression.contains("61")));

    let llama = named("Llama4ForConditionalGeneration");
    let stack = llama.module("language_model.model.layers.1.feed_forward.experts.gate_up_proj").unwrap();
    assert_eq!((stack.class(Line::V5), stack.rank(Line::V5)), (Some(ModuleClass::Experts), Some(3)));
    assert!(stack.is_bare(Line::V5));
}

#[test]
fn every_architecture_is_read() {
    assert!(INDEX.slots.len() > 250);
    for key in INDEX.by_name.keys() {
        assert!(INDEX.get(key).is_some(), "{key}");
    }
}

#[test]
fn configurations_name_architectures() {
    let of = |config: Value| Architecture::of_config(&config).map(Architecture::name);
    let llama = Some("LlamaForCausalLM");
    assert_eq!(of(json!({"architectures": ["LlamaForCausalLM"], "model_type": "x"})), llama);
    assert_eq!(of(json!({"architectures": ["None"], "model_type": "llama"})), llama);
    assert_eq!(of(json!({"model_type": "none", "text_config": {"model_type": "llama"}})), llama);
    assert_eq!(of(json!({"model_type": "none"})), None);
    assert_eq!(of(json!({"architectures": 3, "text_config": "x"})), None);
    let gemma = of(json!({"model_type": "gemma3"}));
    assert_eq!(gemma, Some("Gemma3ForConditionalGeneration"));
}

#[test]
fn vllm_says_its_own_names() {
    let qwen = named("Qwen2_5_VLForConditionalGeneration");
    let name = |name| qwen.in_vllm_called(name);
    assert_eq!(
        name("model.layers.0.mlp.up_proj").as_deref(),
        Some("language_model.model.layers.0.mlp.up_proj")
    );
    assert_eq!(name("model.visual.merger.mlp.0").as_deref(), Some("visual.merger.mlp.0"));
    let group = qwen.fused_group("visual.blocks.0.mlp.gate_proj");
    assert_eq!(group, Some(("visual.blocks.0.mlp", "gate_up_proj")));
    assert_eq!(qwen.tied(), [["lm_head", "model.language_model.embed_tokens"]]);
}

#[test]
fn names_of_all_experts_are_found() {
    let deepseek = named("DeepseekV3ForCausalLM");
    let names: Vec<String> = (3..61)
        .flat_map(|layer| {
            (0..256).map(move |expert| format!("model.layers.{layer}.mlp.experts.{expert}.up_proj"))
        })
        .collect();
    assert!(names.iter().all(|name| deepseek.module(name).is_some()));
}
