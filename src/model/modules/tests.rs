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

/// BioGPT calls its head `output_projection`, and a composite model calls its own what the decoder's class does: tied, they are
/// in memory only.
#[test]
fn tied_heads_are_known_by_the_names_that_they_have_in_memory() {
    let shape: &[usize] = &[4, 4];
    let heads = |tensors: &[&str], config: serde_json::Value| {
        Modules::new(tensors.iter().map(|name| (*name, shape)), &config).tied_heads().to_vec()
    };
    let biogpt = json!({"architectures": ["BioGptForCausalLM"], "model_type": "biogpt"});
    let layers = ["biogpt.layers.0.fc1.weight", "biogpt.embed_tokens.weight"];
    assert_eq!(heads(&layers, biogpt.clone()), ["output_projection"]);
    let untied = [layers[0], "output_projection.weight"];
    assert_eq!(heads(&untied, biogpt), [""; 0]);
    let composite = json!({"architectures": ["VisionEncoderDecoderModel"], "model_type": "vision-encoder-decoder",
        "decoder": {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}});
    let composite = heads(&["decoder.transformer.h.0.attn.c_attn.weight"], composite);
    assert!(composite.contains(&"decoder.lm_head".to_string()), "{composite:?}");
}

/// Zamba 2 runs one block in several places and stores it once.
#[test]
fn a_weight_that_blocks_share_is_no_linear_layer_of_its_own() {
    let config = json!({"architectures": ["Zamba2ForCausalLM"], "model_type": "zamba2"});
    let shared = "model.layers.6.shared_transformer.feed_forward.down_proj";
    let own = "model.layers.6.mamba_decoder.mamba.out_proj";
    let tensors = [shared, own].map(|name| format!("{name}.weight"));
    let modules = Modules::new(tensors.iter().map(|name| (name.as_str(), [4, 4].as_slice())), &config);
    assert!(modules.is_shared(shared) && !modules.is_linear(shared));
    assert!(!modules.is_shared(own) && modules.is_linear(own));
    assert_eq!(modules.shared_tails().collect::<Vec<_>>(), ["shared_transformer.feed_forward.down_proj"]);
}

/// Quantisers of Transformers leave alone what a class keeps in F32, such as BLIP-2's `qformer`.
#[test]
fn what_transformers_leaves_alone_is_known() {
    let config = json!({"architectures": ["Blip2ForConditionalGeneration"], "model_type": "blip-2"});
    let names = ["qformer.encoder.layer.0.output.dense", "vision_model.encoder.layers.0.mlp.fc1"];
    let tensors = names.map(|name| format!("{name}.weight"));
    let modules = Modules::new(tensors.iter().map(|name| (name.as_str(), [4, 4].as_slice())), &config);
    assert_eq!(names.map(|name| modules.is_left_alone(name)), [true, false]);
    assert!(modules.is_left_alone("language_model.encoder.block.0.layer.1.DenseReluDense.wo"));
}

/// The architecture has no such row: what its bias and its neighbours prove counts.
#[test]
fn parts_that_an_architecture_does_not_have_are_told_by_their_shapes() {
    let config =
        json!({"architectures": ["VisionEncoderDecoderModel"], "model_type": "vision-encoder-decoder"});
    let tensors: [(&str, &[usize]); 3] = [
        ("decoder.transformer.h.0.attn.c_attn.weight", &[4, 12]),
        ("decoder.transformer.h.0.attn.c_attn.bias", &[12]),
        ("decoder.transformer.h.0.attn.c_proj.weight", &[4, 4]),
    ];
    let modules = Modules::new(tensors.into_iter(), &config);
    assert_eq!(modules.class("decoder.transformer.h.0.attn.c_attn"), Some(ModuleClass::Transposed));
    assert_eq!(modules.class("decoder.transformer.h.0.attn.c_proj"), None);
}
