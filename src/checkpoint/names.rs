//! Module names: the same layer is spelled in up to four ways (on disk, in memory, in manifests, in vLLM).
//!
//! Spellings are reconciled from the tensors that are there: a name is reduced to its tower and the path inside it, so
//! `model.language_model.layers.0.mlp.up_proj`, `language_model.model.layers.0.mlp.up_proj`,
//! `model.layers.0.mlp.up_proj` and `layers.0.mlp.up_proj` meet in one canonical name.

use std::collections::HashMap;

/// Components under which the vision tower hangs.
const VISION_ROOTS: [&str; 4] = ["visual", "vision_tower", "vision_model", "vision_encoder"];
/// Wrappers that say nothing about which tower follows.
pub const WRAPPERS: [&str; 2] = ["model", "language_model"];

/// A module name without the wrappers that it begins with: spellings differ in these.
pub fn unwrapped(name: &str) -> &str {
    let mut rest = name;
    while let Some((first, inner)) = rest.split_once('.')
        && WRAPPERS.contains(&first)
    {
        rest = inner;
    }
    rest
}

/// Whether a module is in the blocks of a language model or in a vision tower, below which all spellings are the same.
pub fn has_known_root(module: &str) -> bool {
    let inner = unwrapped(module);
    let root = inner.split('.').next().unwrap_or(inner);
    root == "layers" || VISION_ROOTS.contains(&root)
}

/// Reduces a module name in any spelling to one that all spellings share, such as `language.layers.0.mlp.up_proj` or
/// `vision.blocks.3.attn.qkv`. Names of an unknown structure stay as they are.
pub fn canonical(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let wrappers = parts.iter().take_while(|p| WRAPPERS.contains(p)).count();
    let (head, rest) = parts.split_at(wrappers);
    match rest.first() {
        Some(root) if VISION_ROOTS.contains(root) => {
            let inner = rest.iter().skip_while(|p| VISION_ROOTS.contains(p)).copied().collect::<Vec<_>>();
            format!("vision.{}", inner.join("."))
        }
        Some(&"lm_head") => rest.join("."),
        Some(&"layers") => format!("language.{}", rest.join(".")),
        Some(_) if !head.is_empty() => format!("language.{}", rest.join(".")),
        _ => name.to_string(),
    }
}

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

/// Whether a module is an embedding table rather than a linear layer, told by its name (`embed_tokens`, `pos_embed`).
pub fn is_embedding(module: &str) -> bool {
    module.rsplit('.').next().is_some_and(|leaf| leaf.contains("embed"))
}

/// What a `.weight` tensor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Linear,
    Convolution,
    Other,
}

/// The modules of a checkpoint in on-disk spelling, found by any spelling.
#[derive(Debug, Clone, Default)]
pub struct Names {
    modules: Vec<(String, Kind)>,
    by_canonical: HashMap<String, usize>,
    bare_vision_root: bool,
}

impl Names {
    /// Collects the modules that own a `.weight` among `tensors` (on-disk name and shape, in file order).
    pub fn new<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> Self {
        let mut names = Names::default();
        let mut has_wrapped_layers = false;
        for (tensor, shape) in tensors {
            let Some(module) = tensor.strip_suffix(".weight") else { continue };
            let kind = match shape.len() {
                2 if !is_embedding(module) => Kind::Linear,
                4 | 5 => Kind::Convolution,
                _ => Kind::Other,
            };
            names.bare_vision_root |= module.starts_with("visual.");
            has_wrapped_layers |= module.starts_with("model.layers.");
            names.by_canonical.insert(canonical(module), names.modules.len());
            names.modules.push((module.to_string(), kind));
        }
        // The hub spelling of Qwen2-VL and Qwen2.5-VL, which Transformers renames while loading.
        names.bare_vision_root &= has_wrapped_layers;
        names
    }

    /// The on-disk name of the module that `name` means, in whatever spelling.
    pub fn on_disk(&self, name: &str) -> Option<&str> {
        self.by_canonical.get(&canonical(name)).map(|&i| self.modules[i].0.as_str())
    }

    /// The name that Transformers gives the module in memory, for an on-disk name: what compressed-tensors lists use.
    pub fn in_memory(&self, on_disk: &str) -> String {
        if !self.bare_vision_root {
            return on_disk.to_string();
        }
        match on_disk.strip_prefix("model.") {
            Some(rest) => format!("model.language_model.{rest}"),
            None if on_disk.starts_with("visual.") => format!("model.{on_disk}"),
            None => on_disk.to_string(),
        }
    }

    /// Every linear layer in on-disk spelling and file order: two-dimensional weights that are no embedding. `lm_head` is
    /// among them when it is stored.
    pub fn linears(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().filter(|(_, kind)| *kind == Kind::Linear).map(|(name, _)| name.as_str())
    }

    /// Whether the on-disk module is a linear layer.
    pub fn is_linear(&self, on_disk: &str) -> bool {
        self.kind(on_disk) == Some(Kind::Linear)
    }

    /// Whether the on-disk module is a convolution (a four- or five-dimensional weight).
    pub fn is_convolution(&self, on_disk: &str) -> bool {
        self.kind(on_disk) == Some(Kind::Convolution)
    }

    fn kind(&self, on_disk: &str) -> Option<Kind> {
        self.by_canonical.get(&canonical(on_disk)).map(|&i| self.modules[i].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tensors: &[&str]) -> Names {
        let shapes: Vec<(String, Vec<usize>)> = tensors
            .iter()
            .map(|t| (t.to_string(), if t.contains("patch_embed") { vec![1; 5] } else { vec![4, 4] }))
            .collect();
        Names::new(shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())))
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
        assert_eq!(
            qwen25.in_memory("model.layers.0.mlp.up_proj"),
            "model.language_model.layers.0.mlp.up_proj"
        );
        assert_eq!(qwen25.in_memory("visual.blocks.0.attn.qkv"), "model.visual.blocks.0.attn.qkv");
        assert_eq!(qwen25.in_memory("lm_head"), "lm_head");

        let qwen3 = names(&[
            "model.language_model.layers.0.mlp.up_proj.weight",
            "model.visual.blocks.0.attn.qkv.weight",
        ]);
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
        assert!(names.is_convolution("model.visual.patch_embed.proj"));
    }

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
