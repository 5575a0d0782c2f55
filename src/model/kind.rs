//! What a module that owns a weight is, told by its name and shape: for architectures of which nothing is recorded.
//!
//! In doubt the answer is the one that leaves the module as it is.

use super::head::is_head;
use super::place::block_of;
use super::recorded::ModuleClass;

/// Last parts of names of output heads.
const HEADS: [&str; 5] = ["lm_head", "embed_out", "score", "classifier", "head"];
/// Last parts of names of output heads that mean something else within a block: InternLM2 below another model, ChatGLM, Molmo.
const OUTER_HEADS: [&str; 3] = ["output", "output_layer", "ff_out"];

/// Parts of names of what some engines build as a linear layer that may be quantised, and others as one that may not: where
/// blocks that predict several tokens join their inputs, and, one part higher, the merger of InternVLChat, which vLLM builds plain.
const JOINTS: [&str; 2] = ["eh_proj", "mlp1"];

/// Last parts of names of embedding tables that have no `embed` in them.
const TABLES: [&str; 4] = ["wte", "wpe", "shared", "relative_attention_bias"];
/// Last parts of names of routers, and what is called so above them.
const ROUTERS: [&str; 4] = ["router", "gate", "shared_expert_gate", "wg"];

/// The class of `module`, whose weight has the shape `shape`; nothing where a weight of two dimensions may be a linear layer
/// or not.
pub(super) fn class_by_name(module: &str, shape: &[usize]) -> Option<ModuleClass> {
    let mut parts = module.rsplit('.');
    let (leaf, parent) = (parts.next().unwrap_or(module), parts.next().unwrap_or(""));
    let is_table = TABLES.contains(&leaf) || leaf.contains("embed");
    match shape.len() {
        2 if is_head(module) || HEADS.contains(&leaf) => Some(ModuleClass::Head),
        2 if OUTER_HEADS.contains(&leaf) && block_of(module).is_none() => Some(ModuleClass::Head),
        2 if JOINTS.contains(&leaf) || JOINTS.contains(&parent) => None,
        2 if ROUTERS.contains(&leaf) || ROUTERS[..2].contains(&parent) => Some(ModuleClass::Router),
        // A projection of embeddings may well be a linear layer, and a table a projection.
        2 if is_table && (leaf.contains("proj") || leaf.contains("patch")) => None,
        2 if is_table => Some(ModuleClass::Embedding),
        2 if leaf.contains("conv") || leaf.contains("norm") => None,
        // The output of torch's own attention is read as a weight and never run as a layer.
        2 if module.ends_with(".head.attention.out_proj") => None,
        2 => Some(ModuleClass::Linear),
        3 if !leaf.contains("conv") && module.split('.').any(holds_experts) => Some(ModuleClass::Experts),
        3..=5 => Some(ModuleClass::Convolution),
        _ => Some(ModuleClass::Other),
    }
}

/// Whether what is called `part` of a name holds the experts of a mixture.
fn holds_experts(part: &str) -> bool {
    part.contains("expert") || part == "moe" || part.ends_with("_moe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_linear_layer_is_told_apart() {
        let cases: [(&str, &[usize], Option<ModuleClass>); 34] = [
            ("model.layers.0.mlp.up_proj", &[8, 4], Some(ModuleClass::Linear)),
            ("model.layers.0.mlp.gate_proj", &[8, 4], Some(ModuleClass::Linear)),
            ("model.layers.0.mlp.gate", &[8, 4], Some(ModuleClass::Router)),
            ("model.layers.0.block_sparse_moe.gate", &[8, 4], Some(ModuleClass::Router)),
            ("model.layers.0.mlp.shared_expert_gate", &[1, 4], Some(ModuleClass::Router)),
            ("model.layers.0.block_sparse_moe.router.layer", &[8, 4], Some(ModuleClass::Router)),
            ("model.layers.0.feed_forward.router", &[8, 4], Some(ModuleClass::Router)),
            ("model.layers.0.mlp.gate.wg", &[8, 4], Some(ModuleClass::Router)),
            ("lm_head", &[8, 4], Some(ModuleClass::Head)),
            ("output", &[8, 4], Some(ModuleClass::Head)),
            ("bert.encoder.layer.0.output", &[8, 4], Some(ModuleClass::Linear)),
            ("language_model.output", &[8, 4], Some(ModuleClass::Head)),
            ("transformer.output_layer", &[8, 4], Some(ModuleClass::Head)),
            ("model.transformer.ff_out", &[8, 4], Some(ModuleClass::Head)),
            ("model.transformer.blocks.3.ff_out", &[8, 4], Some(ModuleClass::Linear)),
            ("model.layers.3.self_attn.output", &[8, 4], Some(ModuleClass::Linear)),
            ("model.layers.61.eh_proj", &[4, 8], None),
            ("mlp1.1", &[8, 4], None),
            ("embed_out", &[8, 4], Some(ModuleClass::Head)),
            ("model.layers.61.shared_head.head", &[8, 4], Some(ModuleClass::Head)),
            ("score", &[2, 4], Some(ModuleClass::Head)),
            ("transformer.wte", &[8, 4], Some(ModuleClass::Embedding)),
            ("transformer.word_embeddings", &[8, 4], Some(ModuleClass::Embedding)),
            ("gpt_neox.embed_in", &[8, 4], Some(ModuleClass::Embedding)),
            ("shared", &[8, 4], Some(ModuleClass::Embedding)),
            ("model.embed_vision.embedding_projection", &[8, 4], None),
            ("vision_tower.vision_model.head.attention.out_proj", &[8, 8], None),
            ("vision_model.embeddings.patch_embedding", &[8, 4], None),
            ("visual.patch_embed.proj", &[8, 3, 2, 4, 4], Some(ModuleClass::Convolution)),
            ("model.layers.0.linear_attn.conv1d", &[96, 1, 4], Some(ModuleClass::Convolution)),
            ("model.layers.0.mlp.experts.gate_up_proj", &[4, 8, 4], Some(ModuleClass::Experts)),
            ("model.layers.4.moe.gate_proj", &[4, 8, 4], Some(ModuleClass::Experts)),
            ("model.layers.4.block_sparse_moe.conv", &[4, 1, 4], Some(ModuleClass::Convolution)),
            ("model.norm", &[4], Some(ModuleClass::Other)),
        ];
        for (module, shape, class) in cases {
            assert_eq!(class_by_name(module, shape), class, "{module}");
        }
    }
}
