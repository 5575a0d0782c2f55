//! Output heads, told by name.

/// Whether the module `name` is the output head, in any spelling: every configuration treats it apart.
pub fn is_head(name: &str) -> bool {
    name == "lm_head" || name.ends_with(".lm_head") || name == "output" || name == "embed_out"
}
