//! Output heads, told by name.

/// What the output head of a language model is called where it stands beside it, tied or not.
pub const LM_HEAD: &str = "lm_head";

/// Whether the module `name` is the output head, in any spelling: every configuration treats it apart.
pub fn is_head(name: &str) -> bool {
    name == LM_HEAD || name.ends_with(".lm_head") || name == "output" || name == "embed_out"
}
