//! Module names: the same layer is spelled in up to four ways (on disk, in memory, in manifests, in vLLM).
//!
//! Spellings are reconciled from the tensors that are there: a name is reduced to its tower and the path inside it, so
//! `model.language_model.layers.0.mlp.up_proj`, `language_model.model.layers.0.mlp.up_proj`,
//! `model.layers.0.mlp.up_proj` and `layers.0.mlp.up_proj` meet in one canonical name.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::Path;

use super::spelling::canonical;
use crate::checkpoint::Checkpoint;
use crate::error::Result;
use crate::tensor::Tensor;

/// Whether a module is an embedding table rather than a linear layer, told by its name (`embed_tokens`, `pos_embed`).
pub fn is_embedding(module: &str) -> bool {
    module.rsplit('.').next().is_some_and(|leaf| leaf.contains("embed"))
}

/// A checkpoint whose modules are known: what each weight is, and how it is spelled elsewhere.
#[derive(Clone)]
pub struct Model {
    checkpoint: Checkpoint,
    modules: Modules,
}

impl Model {
    /// Opens the checkpoint in `directory`.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`].
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Checkpoint::open(directory).map(Model::of)
    }

    /// The modules of `checkpoint`.
    pub fn of(checkpoint: Checkpoint) -> Self {
        let modules = Modules::new(checkpoint.tensors().map(|(name, tensor)| (name, tensor.shape())));
        Model { checkpoint, modules }
    }

    /// Its modules.
    pub fn modules(&self) -> &Modules {
        &self.modules
    }

    /// The weight of the module `on_disk`.
    pub fn weight(&self, on_disk: &str) -> Option<&Tensor> {
        self.checkpoint.tensor(&format!("{on_disk}.weight"))
    }
}

/// A model is its checkpoint, and knows more.
impl Deref for Model {
    type Target = Checkpoint;

    fn deref(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

/// What a `.weight` tensor belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ModuleKind {
    Linear,
    Convolution,
    Other,
}

/// The modules of a checkpoint in on-disk spelling, found by any spelling.
#[derive(Debug, Clone, Default)]
pub struct Modules {
    modules: Vec<(String, ModuleKind)>,
    by_canonical: HashMap<String, usize>,
    bare_vision_root: bool,
}

impl Modules {
    /// Collects the modules that own a `.weight` among `tensors` (on-disk name and shape, in file order).
    pub fn new<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> Self {
        let mut names = Modules::default();
        let mut has_wrapped_layers = false;
        for (tensor, shape) in tensors {
            let Some(module) = tensor.strip_suffix(".weight") else { continue };
            let kind = match shape.len() {
                2 if !is_embedding(module) => ModuleKind::Linear,
                4 | 5 => ModuleKind::Convolution,
                _ => ModuleKind::Other,
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
        self.modules.iter().filter(|(_, kind)| *kind == ModuleKind::Linear).map(|(name, _)| name.as_str())
    }

    /// Whether the on-disk module is a linear layer.
    pub fn is_linear(&self, on_disk: &str) -> bool {
        self.kind(on_disk) == Some(ModuleKind::Linear)
    }

    /// Whether the on-disk module is a convolution (a four- or five-dimensional weight).
    pub fn is_convolution(&self, on_disk: &str) -> bool {
        self.kind(on_disk) == Some(ModuleKind::Convolution)
    }

    fn kind(&self, on_disk: &str) -> Option<ModuleKind> {
        self.by_canonical.get(&canonical(on_disk)).map(|&i| self.modules[i].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(tensors: &[&str]) -> Modules {
        let shapes: Vec<(String, Vec<usize>)> = tensors
            .iter()
            .map(|t| (t.to_string(), if t.contains("patch_embed") { vec![1; 5] } else { vec![4, 4] }))
            .collect();
        Modules::new(shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())))
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
}
