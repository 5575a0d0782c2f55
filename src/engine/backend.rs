//! Who computes: whole operations on buffers of a device.

use std::ops::Range;

use super::weight::LinearWeight;

/// The heads of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of the queries.
    pub query: usize,
    /// Heads of keys and values, a divisor of the former.
    pub key_value: usize,
    /// Values of one head.
    pub size: usize,
}

/// A stretch of rows whose queries see the keys of one stretch only: a sequence, a picture or a window of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionSegment {
    /// Rows of the queries.
    pub queries: Range<usize>,
    /// Rows of keys and values. Queries are the last of them where there are fewer.
    pub keys: Range<usize>,
}

/// What an attention looks at.
#[derive(Debug, Clone, Copy)]
pub struct AttentionView<'a> {
    /// Its heads.
    pub heads: Heads,
    /// What products of queries and keys are multiplied by.
    pub scale: f32,
    /// Stretches, in order and without overlaps.
    pub segments: &'a [AttentionSegment],
    /// Whether no query sees a key after its own.
    pub causal: bool,
    /// How many keys back a query sees, its own counted; all where there is nothing.
    pub window: Option<usize>,
}

/// An activation function of a multilayer perceptron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x · σ(x).
    Silu,
    /// x · Φ(x), exact.
    Gelu,
    /// The approximation of GELU by tanh.
    GeluTanh,
    /// x · σ(1.702 x).
    QuickGelu,
}

/// A normalisation of rows.
#[derive(Debug, Clone)]
pub enum Norm {
    /// x / √(mean(x²) + ε) · weight.
    Rms {
        /// One factor a column.
        weight: Vec<f32>,
        /// ε.
        epsilon: f32,
    },
    /// (x − mean) / √(variance + ε) · weight + bias.
    Layer {
        /// One factor a column.
        weight: Vec<f32>,
        /// One addend a column.
        bias: Vec<f32>,
        /// ε.
        epsilon: f32,
    },
}

impl Norm {
    /// The number of columns.
    pub fn width(&self) -> usize {
        match self {
            Norm::Rms { weight, .. } | Norm::Layer { weight, .. } => weight.len(),
        }
    }
}

/// The angles of rotary position embeddings: for each row the cosines and sines of half a head.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// [rows, half].
    pub cosines: Vec<f32>,
    /// [rows, half].
    pub sines: Vec<f32>,
    /// Half the size of a head.
    pub half: usize,
}

/// How inputs of a linear layer are rounded to FP8.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InputScale {
    /// One scale for all rows, by which a loader divides.
    Static(f32),
    /// One amax for all rows, as ModelOpt rounds while it scores: x · (448 / amax), and back by the reciprocal of that factor. On
    /// ties it differs from a division.
    Amax(f32),
    /// A scale of each row: its amax / 448.
    Token,
    /// A scale of each run of so many columns in each row.
    Group(usize),
}

/// What the rows of logits lose against labels or other logits, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Agreement {
    /// KL(base ‖ other) in nats.
    pub divergence: f64,
    /// Whether both have the same largest logit.
    pub same_top: bool,
}

/// A device that computes whole operations on its own buffers of F32 values, row-major. Operations named `…_reverse` give the
/// gradient by the input from the gradient `g` by the output.
pub trait Backend: Sync {
    /// F32 values on the device.
    type Buffer: Send + Sync;

    /// A buffer of these values.
    fn upload(&self, values: Vec<f32>) -> Self::Buffer;
    /// The values of a buffer.
    fn download(&self, buffer: &Self::Buffer) -> Vec<f32>;
    /// The number of values of a buffer.
    fn length(&self, buffer: &Self::Buffer) -> usize;
    /// A copy.
    fn copy(&self, buffer: &Self::Buffer) -> Self::Buffer;

    /// x Wᵀ + bias, for `rows` rows.
    fn linear(
        &self,
        rows: usize,
        x: &Self::Buffer,
        weight: &LinearWeight,
        bias: Option<&[f32]>,
    ) -> Self::Buffer;
    /// g W.
    fn linear_reverse(&self, rows: usize, g: &Self::Buffer, weight: &LinearWeight) -> Self::Buffer;

    /// The rows normalised.
    fn norm(&self, x: &Self::Buffer, norm: &Norm) -> Self::Buffer;
    /// See [`Backend::norm`].
    fn norm_reverse(&self, x: &Self::Buffer, g: &Self::Buffer, norm: &Norm) -> Self::Buffer;

    /// Rotates each head of each row in place; with `back`, the other way round, which is the reverse.
    fn rotate(&self, x: &mut Self::Buffer, heads: usize, rotation: &Rotation, back: bool);

    /// softmax(scale · q kᵀ) v, head by head.
    fn attention(
        &self,
        q: &Self::Buffer,
        k: &Self::Buffer,
        v: &Self::Buffer,
        view: AttentionView,
    ) -> Self::Buffer;
    /// The gradients by q, k and v, from the inputs alone.
    fn attention_reverse(
        &self,
        q: &Self::Buffer,
        k: &Self::Buffer,
        v: &Self::Buffer,
        g: &Self::Buffer,
        view: AttentionView,
    ) -> [Self::Buffer; 3];

    /// act(x).
    fn activate(&self, x: &Self::Buffer, activation: Activation) -> Self::Buffer;
    /// See [`Backend::activate`].
    fn activate_reverse(&self, x: &Self::Buffer, g: &Self::Buffer, activation: Activation) -> Self::Buffer;
    /// act(gate) · up.
    fn gate(&self, gate: &Self::Buffer, up: &Self::Buffer, activation: Activation) -> Self::Buffer;
    /// The gradients by `gate` and `up`.
    fn gate_reverse(
        &self,
        gate: &Self::Buffer,
        up: &Self::Buffer,
        g: &Self::Buffer,
        activation: Activation,
    ) -> [Self::Buffer; 2];

    /// Adds `y` to `x`.
    fn add(&self, x: &mut Self::Buffer, y: &Self::Buffer);
    /// Rows `rows` of `x`, each `width` values, in this order.
    fn gather(&self, x: &Self::Buffer, width: usize, rows: &[usize]) -> Self::Buffer;
    /// Adds row i of `y` to row `rows[i]` of `x`.
    fn scatter_add(&self, x: &mut Self::Buffer, y: &Self::Buffer, width: usize, rows: &[usize]);
    /// The columns `columns` of `x`, whose rows have `width` values.
    fn columns(&self, x: &Self::Buffer, width: usize, columns: Range<usize>) -> Self::Buffer;
    /// Columns side by side; each part with its width.
    fn beside(&self, parts: &[(&Self::Buffer, usize)]) -> Self::Buffer;

    /// Puts the rows of `y` below those of `x`.
    fn append(&self, x: &mut Self::Buffer, y: &Self::Buffer);

    /// The largest absolute value; NaN where one is.
    fn amax(&self, x: &Self::Buffer) -> f32;
    /// The values rounded to FP8 and back, rows of `width` values.
    fn round_input(&self, x: &Self::Buffer, width: usize, scale: InputScale) -> Self::Buffer;
    /// Σ clamp(g · (y₁ − y₀), ±1e10)², ModelOpt's `_get_auto_quantize_score`.
    fn weighted_error(&self, y0: &Self::Buffer, y1: &Self::Buffer, g: &Self::Buffer) -> f64;

    /// Σ (y₁ − y₀)².
    fn squared_error(&self, y0: &Self::Buffer, y1: &Self::Buffer) -> f64;
    /// Σ x².
    fn sum_of_squares(&self, x: &Self::Buffer) -> f64;

    /// For each row of logits of `width` values: the negative logarithm of the probability of its label, 0 for a row without one.
    fn cross_entropy(&self, logits: &Self::Buffer, width: usize, labels: &[Option<(u32, f32)>]) -> Vec<f64>;
    /// [`Backend::cross_entropy`] of the logits x Wᵀ + bias, which need not be in memory at once.
    fn linear_cross_entropy(
        &self,
        rows: usize,
        x: &Self::Buffer,
        weight: &LinearWeight,
        bias: Option<&[f32]>,
        labels: &[Option<(u32, f32)>],
    ) -> Vec<f64>;
    /// [`Backend::cross_entropy`], and the gradient of `factor` times that by the logits: zeros for a row without a label.
    fn cross_entropy_and_gradient(
        &self,
        logits: &Self::Buffer,
        width: usize,
        labels: &[Option<(u32, f32)>],
    ) -> (Vec<f64>, Self::Buffer);
    /// How each row of `other` agrees with the same row of `base`.
    fn agreement(&self, base: &Self::Buffer, other: &Self::Buffer, width: usize) -> Vec<Agreement>;
    /// The column of the largest value of each row, the first of equals.
    fn largest(&self, x: &Self::Buffer, width: usize) -> Vec<u32>;
}
