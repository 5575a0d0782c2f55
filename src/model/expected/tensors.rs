//! A list of tensors that follows from a configuration.

/// A tensor that a checkpoint is expected to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// The name on disk.
    pub name: String,
    /// The shape; nothing where the configuration does not tell it.
    pub shape: Option<Vec<usize>>,
    /// Whether the model cannot do without it, unlike the head of a model that ties it to its embedding.
    pub is_required: bool,
}

/// The tensors of a part of a model, below a prefix.
#[derive(Default)]
pub(super) struct TensorList {
    pub tensors: Vec<ExpectedTensor>,
}

/// A dimension, where the configuration tells it.
pub(super) type Size = Option<usize>;

impl TensorList {
    /// Adds a tensor that must be there.
    pub fn add(&mut self, name: impl Into<String>, shape: &[Size]) {
        let shape = shape.iter().copied().collect();
        self.tensors.push(ExpectedTensor { name: name.into(), shape, is_required: true });
    }

    /// Adds a tensor that may be there.
    pub fn add_optional(&mut self, name: impl Into<String>, shape: &[Size]) {
        self.add(name, shape);
        if let Some(last) = self.tensors.last_mut() {
            last.is_required = false;
        }
    }

    /// Adds the weight of the linear layer `name`, and its bias where it has one.
    pub fn add_linear(&mut self, name: &str, rows: Size, columns: Size, has_bias: bool) {
        self.add(format!("{name}.weight"), &[rows, columns]);
        if has_bias {
            self.add(format!("{name}.bias"), &[rows]);
        }
    }

    /// Adds the weight of the norm `name`, and its bias where it has one.
    pub fn add_norm(&mut self, name: &str, size: Size, has_bias: bool) {
        self.add(format!("{name}.weight"), &[size]);
        if has_bias {
            self.add(format!("{name}.bias"), &[size]);
        }
    }
}
