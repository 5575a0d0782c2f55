//! What SGLang calls layers whose names there are neither those on disk nor those in memory, by its own classes.

use crate::model::Model;

/// A part of the names of an architecture's layers, and what SGLang has in its place.
struct Renamed {
    /// Values of `architectures`.
    architectures: &'static [&'static str],
    /// What the names begin with.
    prefix: &'static str,
    new_prefix: &'static str,
    /// Their ends, as far as these change, and the new ones.
    ends: &'static [(&'static str, &'static str)],
}

/// After the models `glm4v` and `siglip` of SGLang 0.5.23; its other classes call layers as they are called on disk or in
/// memory, or rename the entries of lists themselves.
const RENAMED: [Renamed; 3] = [
    Renamed {
        architectures: &["Gemma3ForConditionalGeneration"],
        prefix: "vision_tower.vision_model.encoder.",
        new_prefix: "vision_tower.vision_model.encoder.",
        ends: &[(".self_attn.out_proj", ".self_attn.proj")],
    },
    Renamed {
        architectures: &["Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration"],
        prefix: "model.visual.",
        new_prefix: "visual.",
        ends: &[
            (".attn.qkv", ".attn.qkv_proj"),
            (".mlp.gate_proj", ".mlp.gate_up_proj"),
            (".mlp.up_proj", ".mlp.gate_up_proj"),
        ],
    },
    Renamed {
        architectures: &["Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration"],
        prefix: "model.language_model.",
        new_prefix: "model.",
        ends: &[],
    },
];

/// What SGLang calls the on-disk `module`, where that is none of its other names.
pub(super) fn name_in_sglang(model: &Model, module: &str) -> Option<String> {
    let architecture = model.architecture()?;
    let of_this = RENAMED.iter().filter(|renamed| renamed.architectures.contains(&architecture));
    of_this
        .filter_map(|renamed| {
            let rest = module.strip_prefix(renamed.prefix)?;
            let end = renamed.ends.iter().find_map(|(end, new)| Some((rest.strip_suffix(end)?, *new)));
            let (rest, end) = end.unwrap_or((rest, ""));
            Some(format!("{}{rest}{end}", renamed.new_prefix))
        })
        .find(|name| name != module)
}
