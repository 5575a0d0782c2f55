//! Linear layers, and who watches them.

use super::backend::{Backend, InputScale};
use super::weight::LinearWeight;

/// A linear layer: a module that may be quantised.
#[derive(Clone)]
pub struct Linear {
    /// Its canonical name, such as `layers.0.mlp.up_proj`.
    pub name: String,
    /// The tensor of the checkpoint that its weight is: that of the embedding, where the head is tied to it.
    pub tensor: String,
    /// Its weight [out, in].
    pub weight: LinearWeight,
    /// Its bias, where it has one.
    pub bias: Option<Vec<f32>>,
    /// How its inputs are rounded, where it is quantised.
    pub input: Option<InputScale>,
}

impl Linear {
    /// y from x; with the inputs rounded as the layer says.
    pub fn apply<B: Backend>(&self, backend: &B, rows: usize, x: &B::Buffer) -> B::Buffer {
        let rounded = self.rounded(backend, x);
        backend.linear(rows, rounded.as_ref().unwrap_or(x), &self.weight, self.bias.as_deref())
    }

    /// The losses of y as logits.
    pub fn cross_entropy<B: Backend>(
        &self,
        backend: &B,
        rows: usize,
        x: &B::Buffer,
        labels: &[Option<(u32, f32)>],
    ) -> Vec<f64> {
        let rounded = self.rounded(backend, x);
        let x = rounded.as_ref().unwrap_or(x);
        backend.linear_cross_entropy(rows, x, &self.weight, self.bias.as_deref(), labels)
    }

    /// The inputs rounded as the layer says; `None` where it says nothing.
    fn rounded<B: Backend>(&self, backend: &B, x: &B::Buffer) -> Option<B::Buffer> {
        self.input.map(|scale| backend.round_input(x, self.weight.inputs(), scale))
    }
}

/// Looks at linear layers while a model runs, or puts others in their place.
pub trait Observer<B: Backend> {
    /// Called before `linear` is applied to `rows` rows `x`, on the way forward.
    fn input(&mut self, backend: &B, linear: &Linear, rows: usize, x: &B::Buffer) {
        let _ = (backend, linear, rows, x);
    }

    /// Called on the way back, with input and output of `linear` and the gradient `g` of the loss by its output.
    fn gradient(&mut self, backend: &B, linear: &Linear, layer: Seen<B>) {
        let _ = (backend, linear, layer);
    }

    /// Called when all rows have been through a block.
    fn block_done(&mut self) {}

    /// What takes the place of `linear`, if anything.
    fn replacement(&self, linear: &Linear) -> Option<&Linear> {
        let _ = linear;
        None
    }
}

/// Input, output and gradient of a linear layer, `rows` rows each.
pub struct Seen<'a, B: Backend> {
    /// Rows.
    pub rows: usize,
    /// The input.
    pub x: &'a B::Buffer,
    /// The output.
    pub y: &'a B::Buffer,
    /// The gradient of the loss by the output.
    pub g: &'a B::Buffer,
}

/// Watches nothing.
pub struct Unobserved;

impl<B: Backend> Observer<B> for Unobserved {}

/// Watches nothing but how far a run is: called for each block that is done.
pub struct Counted<'a>(pub &'a mut dyn FnMut());

impl<B: Backend> Observer<B> for Counted<'_> {
    fn block_done(&mut self) {
        (self.0)();
    }
}
