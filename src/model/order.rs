//! The order of modules in a model, which is not that of their names.

/// The last parts of names whose model order is not that of the alphabet, in which files have them.
const MODEL_ORDER: [&str; 6] = ["self_attn", "q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"];

/// A component of a module's name: known ones come first, numbers are compared as numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// One of the known ones, by its place among them.
    Known(usize),
    /// A number.
    Number(u64),
    /// Anything else.
    Other(String),
}

/// What modules are sorted by: a group is named after its first member, and files are sorted by name.
pub fn in_model_order(module: &str) -> Vec<Component> {
    let component = |text: &str| match (MODEL_ORDER.iter().position(|known| *known == text), text.parse()) {
        (Some(position), _) => Component::Known(position),
        (None, Ok(number)) => Component::Number(number),
        (None, Err(_)) => Component::Other(text.to_string()),
    };
    module.split('.').map(component).collect()
}

/// Kinds of modules without `_proj`, in the order in which a block computes.
const KINDS: [&str; 13] =
    ["qkv", "q", "k", "v", "o", "proj", "gate", "up", "fc1", "linear_fc1", "down", "fc2", "linear_fc2"];

/// Where a kind of module, or the first of kinds such as `q,k,v_proj`, stands in its block; unknown ones come last.
pub fn order_in_block(kind: &str) -> usize {
    let first = kind.split(',').next().unwrap_or(kind);
    let stem = first.strip_suffix("_proj").unwrap_or(first);
    KINDS.iter().position(|known| *known == stem).unwrap_or(KINDS.len())
}
