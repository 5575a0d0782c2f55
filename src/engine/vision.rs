//! The parts of a vision tower: patch embedding, blocks, and what merges patches into tokens.

use super::backend::{Activation, Backend, Heads, Norm};
use super::configuration::{MergerConfiguration, NormKind, Perceptron, VisionConfiguration};
use super::linear::{Linear, Seen};
use super::pass::BlockPass;
use super::tensors::Tensors;
use crate::error::Result;

/// ε of all normalisations in the towers of Qwen-VL.
const EPSILON: f32 = 1e-6;

fn norm(tensors: &Tensors, name: &str, kind: NormKind, width: usize) -> Result<Norm> {
    match kind {
        NormKind::Rms => tensors.rms(name, width, EPSILON),
        NormKind::Layer => tensors.layer_norm(name, width, EPSILON),
    }
}

/// The convolution that makes a vector of each patch: as kernel and stride are the patch, a linear layer.
pub(super) fn patch_embedding(tensors: &Tensors, configuration: &VisionConfiguration) -> Result<Linear> {
    tensors.linear("vision.patch_embed.proj", [configuration.hidden, configuration.patch_values])
}

/// A block of a vision tower: attention without a mask and a perceptron, each behind a normalisation and added.
pub(super) struct VisionBlock {
    heads: Heads,
    activation: Activation,
    before_attention: Norm,
    attention: Linear,
    projection: Linear,
    before_perceptron: Norm,
    perceptron: PerceptronLayers,
}

#[allow(clippy::large_enum_variant, reason = "one of it is in memory at a time")]
enum PerceptronLayers {
    Gated { gate: Linear, up: Linear, down: Linear },
    Plain { first: Linear, second: Linear },
}

struct VisionStates<B: Backend> {
    attention_input: B::Buffer,
    joined: B::Buffer,
    /// Queries and keys, turned, and values.
    parts: [B::Buffer; 3],
    attended: B::Buffer,
    projected: B::Buffer,
    middle: B::Buffer,
    perceptron_input: B::Buffer,
    /// The outputs of the first layers: gate and up, or the first.
    inner: Vec<B::Buffer>,
    activated: B::Buffer,
    output: B::Buffer,
}

impl VisionBlock {
    /// Block `number` of the tower.
    pub fn load(tensors: &Tensors, configuration: &VisionConfiguration, number: usize) -> Result<Self> {
        let c = configuration;
        let name = |part: &str| format!("vision.blocks.{number}.{part}");
        let linear = |part: &str, shape| tensors.linear(&name(&format!("mlp.{part}")), shape);
        let (wide, narrow) = ([c.intermediate, c.hidden], [c.hidden, c.intermediate]);
        Ok(VisionBlock {
            heads: Heads { query: c.heads, key_value: c.heads, size: c.hidden / c.heads },
            activation: c.activation,
            before_attention: norm(tensors, &name("norm1"), c.norm, c.hidden)?,
            attention: tensors.linear(&name("attn.qkv"), [3 * c.hidden, c.hidden])?,
            projection: tensors.linear(&name("attn.proj"), [c.hidden, c.hidden])?,
            before_perceptron: norm(tensors, &name("norm2"), c.norm, c.hidden)?,
            perceptron: match c.perceptron {
                Perceptron::Gated => PerceptronLayers::Gated {
                    gate: linear("gate_proj", wide)?,
                    up: linear("up_proj", wide)?,
                    down: linear("down_proj", narrow)?,
                },
                Perceptron::Plain { first, second } => {
                    PerceptronLayers::Plain { first: linear(first, wide)?, second: linear(second, narrow)? }
                }
            },
        })
    }

    /// Its linear layers, in the order in which they run.
    pub fn linears(&self) -> Vec<&Linear> {
        let mut linears = vec![&self.attention, &self.projection];
        match &self.perceptron {
            PerceptronLayers::Gated { gate, up, down } => linears.extend([gate, up, down]),
            PerceptronLayers::Plain { first, second } => linears.extend([first, second]),
        }
        linears
    }

    /// What comes out for `x`.
    pub fn forward<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer) -> B::Buffer {
        let states = self.run(pass, x);
        pass.sum(states.middle, &states.output)
    }

    /// The gradient by `x` from the gradient `g` by what comes out.
    pub fn reverse<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer, g: &B::Buffer) -> B::Buffer {
        let states = self.run(pass, x);
        let (backend, hidden) = (pass.backend, self.heads.query * self.heads.size);
        let input = &states.perceptron_input;
        let by_input = match &self.perceptron {
            PerceptronLayers::Gated { gate, up, down } => {
                let by_gated = pass.reverse(down, &states.activated, &states.output, g);
                let [by_gate, by_up] =
                    backend.gate_reverse(&states.inner[0], &states.inner[1], &by_gated, self.activation);
                let by_input = pass.reverse(gate, input, &states.inner[0], &by_gate);
                let by_up = pass.reverse(up, input, &states.inner[1], &by_up);
                pass.sum(by_input, &by_up)
            }
            PerceptronLayers::Plain { first, second } => {
                let by_activated = pass.reverse(second, &states.activated, &states.output, g);
                let by_first = backend.activate_reverse(&states.inner[0], &by_activated, self.activation);
                pass.reverse(first, input, &states.inner[0], &by_first)
            }
        };
        let by_middle = backend.norm_reverse(&states.middle, &by_input, &self.before_perceptron);
        let by_middle = pass.sum(by_middle, g);
        let by_attended = pass.reverse(&self.projection, &states.attended, &states.projected, &by_middle);
        let [q, k, v] = &states.parts;
        let view = pass.view(self.heads, false, None);
        let [mut by_q, mut by_k, by_v] = backend.attention_reverse(q, k, v, &by_attended, view);
        backend.rotate(&mut by_q, self.heads.query, pass.rotation, true);
        backend.rotate(&mut by_k, self.heads.query, pass.rotation, true);
        let by_joined = backend.beside(&[(&by_q, hidden), (&by_k, hidden), (&by_v, hidden)]);
        let by_input = pass.reverse(&self.attention, &states.attention_input, &states.joined, &by_joined);
        let by_x = backend.norm_reverse(x, &by_input, &self.before_attention);
        pass.sum(by_x, &by_middle)
    }

    fn run<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer) -> VisionStates<B> {
        let (backend, hidden) = (pass.backend, self.heads.query * self.heads.size);
        let attention_input = backend.norm(x, &self.before_attention);
        let joined = pass.forward(&self.attention, &attention_input);
        let part =
            |number: usize| backend.columns(&joined, 3 * hidden, number * hidden..(number + 1) * hidden);
        let mut parts = [part(0), part(1), part(2)];
        for part in &mut parts[..2] {
            backend.rotate(part, self.heads.query, pass.rotation, false);
        }
        let attended = backend.attention(&parts[0], &parts[1], &parts[2], pass.view(self.heads, false, None));
        let projected = pass.forward(&self.projection, &attended);
        let middle = pass.sum(backend.copy(x), &projected);
        let perceptron_input = backend.norm(&middle, &self.before_perceptron);
        let (inner, activated, output) = match &self.perceptron {
            PerceptronLayers::Gated { gate, up, down } => {
                let inner = vec![pass.forward(gate, &perceptron_input), pass.forward(up, &perceptron_input)];
                let activated = backend.gate(&inner[0], &inner[1], self.activation);
                let output = pass.forward(down, &activated);
                (inner, activated, output)
            }
            PerceptronLayers::Plain { first, second } => {
                let inner = vec![pass.forward(first, &perceptron_input)];
                let activated = backend.activate(&inner[0], self.activation);
                let output = pass.forward(second, &activated);
                (inner, activated, output)
            }
        };
        VisionStates {
            attention_input,
            joined,
            parts,
            attended,
            projected,
            middle,
            perceptron_input,
            inner,
            activated,
            output,
        }
    }
}

/// Merges the patches of a token: normalisation, two linear layers with GELU between.
pub(super) struct Merger {
    norm: Norm,
    /// Patches of a token.
    patches: usize,
    first: Linear,
    second: Linear,
}

impl Merger {
    /// The merger that `merger` describes.
    pub fn load(
        tensors: &Tensors,
        tower: &VisionConfiguration,
        merger: &MergerConfiguration,
    ) -> Result<Self> {
        let patches = tower.merge * tower.merge;
        let wide = tower.hidden * patches;
        let name = |part: &str| format!("{}.{part}", merger.name);
        let width = if merger.norm_after_merge { wide } else { tower.hidden };
        Ok(Merger {
            norm: norm(tensors, &name(merger.norm_name), merger.norm, width)?,
            patches,
            first: tensors.linear(&name(merger.first), [wide, wide])?,
            second: tensors.linear(&name(merger.second), [tower.output, wide])?,
        })
    }

    /// Its linear layers, in the order in which they run.
    pub fn linears(&self) -> [&Linear; 2] {
        [&self.first, &self.second]
    }

    /// One row for the patches of each token.
    pub fn forward<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer) -> B::Buffer {
        let rows = pass.rows / self.patches;
        let input = pass.backend.norm(x, &self.norm);
        let inner = pass.forward_rows(&self.first, rows, &input);
        let activated = pass.backend.activate(&inner, Activation::Gelu);
        pass.forward_rows(&self.second, rows, &activated)
    }

    /// The gradient by the patches from that by the tokens.
    pub fn reverse<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer, g: &B::Buffer) -> B::Buffer {
        let (rows, backend) = (pass.rows / self.patches, pass.backend);
        let input = backend.norm(x, &self.norm);
        let inner = pass.forward_rows(&self.first, rows, &input);
        let activated = backend.activate(&inner, Activation::Gelu);
        let output = pass.forward_rows(&self.second, rows, &activated);
        let by_activated = pass.reverse_rows(&self.second, Seen { rows, x: &activated, y: &output, g });
        let by_inner = backend.activate_reverse(&inner, &by_activated, Activation::Gelu);
        let by_input = pass.reverse_rows(&self.first, Seen { rows, x: &input, y: &inner, g: &by_inner });
        backend.norm_reverse(x, &by_input, &self.norm)
    }
}
