//! Names, classes and lists of modules, of known architectures and of unknown ones.

use serde_json::json;

use super::*;

fn names(tensors: &[&str]) -> Modules {
    let shapes: Vec<(String, Vec<usize>)> = tensors
        .iter()
        .map(|t| (t.to_string(), if t.contains("patch_embed") { vec![1; 5] } else { vec![4, 4] }))
        .collect();
    Modules::new(shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())), &json!({}))
}

/// The table of `facts/loaders.md`: on disk, in memory, vLLM, and the manifests' own spellings.
#[test]
fn every_spelling_finds_the_module_on_disk() {
    let qwen25 = names(&[
        "model.layers.0.mlp.up_proj.weight",
        "visual.blocks.0.attn.qkv.weight",
        "visual.merger.mlp.0.weight",
    ]);
    for spelling in [
        "model.layers.0.mlp.up_proj",
        "layers.0.mlp.up_proj",
        "language_model.layers.0.mlp.up_proj",
        "model.language_model.layers.0.mlp.up_proj",
        "language_model.model.layers.0.mlp.up_proj",
    ] {
        assert_eq!(qwen25.on_disk(spelling), Some("model.layers.0.mlp.up_proj"), "{spelling}");
    }
    for spelling in ["visual.blocks.0.attn.qkv", "model.visual.blocks.0.attn.qkv"] {
        assert_eq!(qwen25.on_disk(spelling), Some("visual.blocks.0.attn.qkv"));
    }
    assert_eq!(qwen25.on_disk("visual.merger.mlp.0"), Some("visual.merger.mlp.0"));
    assert_eq!(qwen25.on_disk("layers.1.mlp.up_proj"), None);
    assert_eq!(qwen25.in_memory("model.layers.0.mlp.up_proj"), "model.language_model.layers.0.mlp.up_proj");
    assert_eq!(qwen25.in_memory("visual.blocks.0.attn.qkv"), "model.visual.blocks.0.attn.qkv");
    assert_eq!(qwen25.in_memory("lm_head"), "lm_head");

    let qwen3 =
        names(&["model.language_model.layers.0.mlp.up_proj.weight", "model.visual.blocks.0.attn.qkv.weight"]);
    assert_eq!(qwen3.on_disk("layers.0.mlp.up_proj"), Some("model.language_model.layers.0.mlp.up_proj"));
    assert_eq!(qwen3.in_memory("model.visual.blocks.0.attn.qkv"), "model.visual.blocks.0.attn.qkv");

    let llama = names(&["model.layers.0.mlp.up_proj.weight", "lm_head.weight"]);
    assert_eq!(llama.on_disk("lm_head"), Some("lm_head"));
    assert_eq!(llama.in_memory("model.layers.0.mlp.up_proj"), "model.layers.0.mlp.up_proj");
}

#[test]
fn layers_of_other_stacks_are_not_taken_for_the_language_model() {
    let with_mtp = names(&["model.layers.0.mlp.up_proj.weight", "mtp.layers.0.mlp.up_proj.weight"]);
    assert_eq!(with_mtp.on_disk("layers.0.mlp.up_proj"), Some("model.layers.0.mlp.up_proj"));
    assert_eq!(with_mtp.on_disk("mtp.layers.0.mlp.up_proj"), Some("mtp.layers.0.mlp.up_proj"));
}

#[test]
fn embeddings_and_convolutions_are_no_linears() {
    let names = names(&[
        "model.embed_tokens.weight",
        "model.visual.pos_embed.weight",
        "model.visual.patch_embed.proj.weight",
        "model.layers.0.mlp.up_proj.weight",
    ]);
    assert_eq!(names.linears().collect::<Vec<_>>(), ["model.layers.0.mlp.up_proj"]);
    assert_eq!(names.class("model.visual.patch_embed.proj"), Some(ModuleClass::Convolution));
}
