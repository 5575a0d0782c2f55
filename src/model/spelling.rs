//! Spellings of module names: on disk, in memory, in manifests and in engines.

/// Components under which the vision tower hangs.
const VISION_ROOTS: [&str; 4] = ["visual", "vision_tower", "vision_model", "vision_encoder"];
/// Wrappers that say nothing about which tower follows.
pub const WRAPPERS: [&str; 2] = ["model", "language_model"];

/// What stands before all names of a model that another one holds, or that was compiled, distributed or adapted when its
/// names were taken.
const FOREIGN_WRAPPERS: [&str; 4] = ["thinker.", "_orig_mod.", "module.", "base_model."];

/// `name` without the wrappers in which the spellings differ: `model.language_model.layers.0.mlp.up_proj`,
/// `language_model.layers.0.mlp.up_proj` and `layers.0.mlp.up_proj` are one.
pub fn bare_name(name: &str) -> &str {
    let mut rest = name;
    while let Some((first, after)) = rest.split_once('.') {
        if !WRAPPERS.contains(&first) {
            break;
        }
        rest = after;
    }
    rest
}

/// Whether a module is in the blocks of a language model or in a vision tower, below which all spellings are the same.
pub fn has_known_root(module: &str) -> bool {
    let inner = bare_name(module);
    let root = inner.split('.').next().unwrap_or(inner);
    root == "layers" || VISION_ROOTS.contains(&root)
}

/// Reduces a module name in any spelling to what all spellings share, such as `layers.0.mlp.up_proj` or
/// `vision.blocks.3.attn.qkv`: without wrappers, also those of a model within a model (`thinker.…`), and with one name for the
/// root of a vision tower.
pub fn canonical(name: &str) -> String {
    let mut name = bare_name(name);
    while let Some(inner) = FOREIGN_WRAPPERS.iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = bare_name(inner);
    }
    let mut rest = name;
    while let Some((_, after)) = rest.split_once('.').filter(|(first, _)| VISION_ROOTS.contains(first)) {
        rest = after;
    }
    if rest.len() == name.len() { name.to_string() } else { format!("vision.{rest}") }
}
