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
