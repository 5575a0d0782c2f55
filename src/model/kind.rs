//! What a module that owns a weight is, told by its name and shape: for architectures of which nothing is recorded.
//!
//! In doubt the answer is the one that leaves the module as it is.

use super::recorded::Class;

/// Last parts of names of output heads.
const HEADS: [&str; 5] = ["lm_head", "embed_out", "score", "classifier", "head"];
/// Last parts of names of embedding tables that have no `embed` in them.
const TABLES: [&str; 4] = ["wte", "wpe", "shared", "relative_attention_bias"];
/// Last parts of names of routers, and what is called so above them.
const ROUTERS: [&str; 4] = ["router", "gate", "shared_expert_gate", "wg"];

/// The class of `module`, whose weight has the shape `shape`; nothing where a weight of two dimensions may be a linear layer
/// or not.
pub(super) fn class_by_name(module: &str, shape: &[usize]) -> Option<Class> {
    let mut parts = module.rsplit('.');
    let (leaf, parent) = (parts.next().unwrap_or(module), parts.next().unwrap_or(""));
    let is_table = TABLES.contains(&leaf) || leaf.contains("embed");
    match shape.len() {
        2 if is_head(module) || HEADS.contains(&leaf) => Some(Class::Head),
        2 if ROUTERS.contains(&leaf) || ROUTERS[..2].contains(&parent) => Some(Class::Router),
        // A projection of embeddings may well be a linear layer, and a table a projection.
        2 if is_table && (leaf.contains("proj") || leaf.contains("patch")) => None,
        2 if is_table => Some(Class::Embedding),
        2 if leaf.contains("conv") || leaf.contains("norm") => None,
        2 => Some(Class::Linear),
        3 if !leaf.contains("conv") && module.split('.').any(|part| part.contains("expert")) => {
            Some(Class::Experts)
        }
        3..=5 => Some(Class::Convolution),
        _ => Some(Class::Other),
    }
}

/// Whether the module `name` is the output head, in any spelling: every configuration treats it apart.
pub fn is_head(name: &str) -> bool {
    name == "lm_head" || name.ends_with(".lm_head") || name == "output" || name == "embed_out"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_looks_like_a_linear_layer_is_told_apart() {
        let cases: [(&str, &[usize], Option<Class>); 24] = [
            ("model.layers.0.mlp.up_proj", &[8, 4], Some(Class::Linear)),
            ("model.layers.0.mlp.gate_proj", &[8, 4], Some(Class::Linear)),
            ("model.layers.0.mlp.gate", &[8, 4], Some(Class::Router)),
            ("model.layers.0.block_sparse_moe.gate", &[8, 4], Some(Class::Router)),
            ("model.layers.0.mlp.shared_expert_gate", &[1, 4], Some(Class::Router)),
            ("model.layers.0.block_sparse_moe.router.layer", &[8, 4], Some(Class::Router)),
            ("model.layers.0.feed_forward.router", &[8, 4], Some(Class::Router)),
            ("model.layers.0.mlp.gate.wg", &[8, 4], Some(Class::Router)),
            ("lm_head", &[8, 4], Some(Class::Head)),
            ("output", &[8, 4], Some(Class::Head)),
            ("bert.encoder.layer.0.output", &[8, 4], Some(Class::Linear)),
            ("embed_out", &[8, 4], Some(Class::Head)),
            ("model.layers.61.shared_head.head", &[8, 4], Some(Class::Head)),
            ("score", &[2, 4], Some(Class::Head)),
            ("transformer.wte", &[8, 4], Some(Class::Embedding)),
            ("transformer.word_embeddings", &[8, 4], Some(Class::Embedding)),
            ("gpt_neox.embed_in", &[8, 4], Some(Class::Embedding)),
            ("shared", &[8, 4], Some(Class::Embedding)),
            ("model.embed_vision.embedding_projection", &[8, 4], None),
            ("vision_model.embeddings.patch_embedding", &[8, 4], None),
            ("visual.patch_embed.proj", &[8, 3, 2, 4, 4], Some(Class::Convolution)),
            ("model.layers.0.linear_attn.conv1d", &[96, 1, 4], Some(Class::Convolution)),
            ("model.layers.0.mlp.experts.gate_up_proj", &[4, 8, 4], Some(Class::Experts)),
            ("model.norm", &[4], Some(Class::Other)),
        ];
        for (module, shape, class) in cases {
            assert_eq!(class_by_name(module, shape), class, "{module}");
        }
    }
}
