//! Spellings of module names: on disk, in memory, in manifests and in engines.

/// Components under which the vision tower hangs.
const VISION_ROOTS: [&str; 4] = ["visual", "vision_tower", "vision_model", "vision_encoder"];
/// Wrappers that say nothing about which tower follows.
pub const WRAPPERS: [&str; 2] = ["model", "language_model"];

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
