//! A block of a language model: attention and a gated perceptron, each behind an RMS normalisation and added to what came in.
//!
//! Llama, Mistral, Qwen2 and Qwen3 differ in biases and in normalised queries and keys only.

use super::backend::{Activation, AttentionSegment, Backend, Heads, Norm};
use super::configuration::TextConfiguration;
use super::linear::Linear;
use super::pass::BlockPass;
use super::tensors::Tensors;
use crate::error::Result;

/// One block.
pub(super) struct DecoderBlock {
    heads: Heads,
    window: Option<usize>,
    activation: Activation,
    before_attention: Norm,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Option<Norm>,
    key_norm: Option<Norm>,
    output: Linear,
    before_perceptron: Norm,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// What a block computes on the way.
struct DecoderStates<B: Backend> {
    /// The normalised input.
    attention_input: B::Buffer,
    /// Queries and keys as projected, before their normalisations, where they have some.
    projected: Option<[B::Buffer; 2]>,
    query_output: B::Buffer,
    key_output: B::Buffer,
    value: B::Buffer,
    attended: B::Buffer,
    output: B::Buffer,
    /// Input and attention.
    middle: B::Buffer,
    perceptron_input: B::Buffer,
    gate: B::Buffer,
    up: B::Buffer,
    gated: B::Buffer,
    down: B::Buffer,
}

impl DecoderBlock {
    /// Block `number` of the model.
    pub fn load(tensors: &Tensors, configuration: &TextConfiguration, number: usize) -> Result<Self> {
        let c = configuration;
        let name = |part: &str| format!("layers.{number}.{part}");
        let (query, key_value) = (c.heads.query * c.heads.size, c.heads.key_value * c.heads.size);
        let head_norm = |part: &str| match c.normalises_heads {
            true => tensors.rms(&name(part), c.heads.size, c.epsilon).map(Some),
            false => Ok(None),
        };
        Ok(DecoderBlock {
            heads: c.heads,
            window: c.windows.get(number).copied().flatten(),
            activation: c.activation,
            before_attention: tensors.rms(&name("input_layernorm"), c.hidden, c.epsilon)?,
            query: tensors.linear(&name("self_attn.q_proj"), [query, c.hidden])?,
            key: tensors.linear(&name("self_attn.k_proj"), [key_value, c.hidden])?,
            value: tensors.linear(&name("self_attn.v_proj"), [key_value, c.hidden])?,
            query_norm: head_norm("self_attn.q_norm")?,
            key_norm: head_norm("self_attn.k_norm")?,
            output: tensors.linear(&name("self_attn.o_proj"), [c.hidden, query])?,
            before_perceptron: tensors.rms(&name("post_attention_layernorm"), c.hidden, c.epsilon)?,
            gate: tensors.linear(&name("mlp.gate_proj"), [c.intermediate, c.hidden])?,
            up: tensors.linear(&name("mlp.up_proj"), [c.intermediate, c.hidden])?,
            down: tensors.linear(&name("mlp.down_proj"), [c.hidden, c.intermediate])?,
        })
    }

    /// What comes out for `x`.
    pub fn forward<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer) -> B::Buffer {
        let states = self.run(pass, x);
        pass.sum(states.middle, &states.down)
    }

    /// The gradient by `x` from the gradient `g` by what comes out.
    pub fn reverse<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer, g: &B::Buffer) -> B::Buffer {
        let states = self.run(pass, x);
        let backend = pass.backend;

        let by_gated = pass.reverse(&self.down, &states.gated, &states.down, g);
        let [by_gate, by_up] = backend.gate_reverse(&states.gate, &states.up, &by_gated, self.activation);
        let mut by_input = pass.reverse(&self.gate, &states.perceptron_input, &states.gate, &by_gate);
        backend.add(&mut by_input, &pass.reverse(&self.up, &states.perceptron_input, &states.up, &by_up));
        let by_middle = backend.norm_reverse(&states.middle, &by_input, &self.before_perceptron);
        let by_middle = pass.sum(by_middle, g);

        let by_attended = pass.reverse(&self.output, &states.attended, &states.output, &by_middle);
        let view = pass.view(self.heads, true, self.window);
        let [queries, keys] = self.rotated(pass, &states);
        let [mut by_query, mut by_key, by_value] =
            backend.attention_reverse(&queries, &keys, &states.value, &by_attended, view);
        backend.rotate(&mut by_query, self.heads.query, pass.rotation, true);
        backend.rotate(&mut by_key, self.heads.key_value, pass.rotation, true);
        if let (Some([query, key]), Some(query_norm), Some(key_norm)) =
            (&states.projected, &self.query_norm, &self.key_norm)
        {
            by_query = backend.norm_reverse(query, &by_query, query_norm);
            by_key = backend.norm_reverse(key, &by_key, key_norm);
        }
        let (query, key) = match &states.projected {
            Some([query, key]) => (query, key),
            None => (&states.query_output, &states.key_output),
        };
        let mut by_input = pass.reverse(&self.query, &states.attention_input, query, &by_query);
        backend.add(&mut by_input, &pass.reverse(&self.key, &states.attention_input, key, &by_key));
        backend.add(
            &mut by_input,
            &pass.reverse(&self.value, &states.attention_input, &states.value, &by_value),
        );
        let by_x = backend.norm_reverse(x, &by_input, &self.before_attention);
        pass.sum(by_x, &by_middle)
    }

    /// Queries and keys, turned by their positions.
    fn rotated<B: Backend>(&self, pass: &BlockPass<B>, states: &DecoderStates<B>) -> [B::Buffer; 2] {
        let turn = |x: &B::Buffer, heads| {
            let mut turned = pass.backend.copy(x);
            pass.backend.rotate(&mut turned, heads, pass.rotation, false);
            turned
        };
        [turn(&states.query_output, self.heads.query), turn(&states.key_output, self.heads.key_value)]
    }

    fn run<B: Backend>(&self, pass: &mut BlockPass<B>, x: &B::Buffer) -> DecoderStates<B> {
        let backend = pass.backend;
        let attention_input = backend.norm(x, &self.before_attention);
        let query = pass.forward(&self.query, &attention_input);
        let key = pass.forward(&self.key, &attention_input);
        let value = pass.forward(&self.value, &attention_input);
        let (query_output, key_output, projected) = match (&self.query_norm, &self.key_norm) {
            (Some(query_norm), Some(key_norm)) => {
                (backend.norm(&query, query_norm), backend.norm(&key, key_norm), Some([query, key]))
            }
            _ => (query, key, None),
        };
        let mut states = DecoderStates {
            attention_input,
            projected,
            query_output,
            key_output,
            value,
            attended: backend.upload(vec![]),
            output: backend.upload(vec![]),
            middle: backend.upload(vec![]),
            perceptron_input: backend.upload(vec![]),
            gate: backend.upload(vec![]),
            up: backend.upload(vec![]),
            gated: backend.upload(vec![]),
            down: backend.upload(vec![]),
        };
        let [queries, keys] = self.rotated(pass, &states);
        states.attended = self.attend(pass, &queries, keys, &states.value);
        states.output = pass.forward(&self.output, &states.attended);
        states.middle = pass.sum(backend.copy(x), &states.output);
        states.perceptron_input = backend.norm(&states.middle, &self.before_perceptron);
        states.gate = pass.forward(&self.gate, &states.perceptron_input);
        states.up = pass.forward(&self.up, &states.perceptron_input);
        states.gated = backend.gate(&states.gate, &states.up, self.activation);
        states.down = pass.forward(&self.down, &states.gated);
        states
    }

    /// Attention over these keys and values, after those that are past.
    fn attend<B: Backend>(
        &self,
        pass: &mut BlockPass<B>,
        queries: &B::Buffer,
        keys: B::Buffer,
        values: &B::Buffer,
    ) -> B::Buffer {
        let (rows, backend) = (pass.rows, pass.backend);
        let Some(past) = pass.past.take() else {
            return backend.attention(queries, &keys, values, pass.view(self.heads, true, self.window));
        };
        past.append(backend, rows, keys, backend.copy(values));
        let segments = [AttentionSegment { queries: 0..rows, keys: 0..past.rows }];
        let mut view = pass.view(self.heads, true, self.window);
        view.segments = &segments;
        let attended = match (&past.keys, &past.values) {
            (Some(keys), Some(values)) => backend.attention(queries, keys, values, view),
            _ => backend.upload(vec![]),
        };
        pass.past = Some(past);
        attended
    }
}
