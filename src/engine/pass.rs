//! Some rows on their way through one block, forward or back.

use super::backend::{AttentionSegment, AttentionView, Backend, Rotation};
use super::linear::{Linear, Observer, Seen};

/// What a block needs to know of the rows that pass it.
pub(super) struct BlockPass<'a, B: Backend> {
    pub backend: &'a B,
    pub observer: &'a mut dyn Observer<B>,
    pub rows: usize,
    pub segments: &'a [AttentionSegment],
    pub rotation: &'a Rotation,
    /// Keys and values of rows before these, to which theirs are added; for generation.
    pub past: Option<&'a mut Past<B>>,
}

/// Keys and values that a block has seen.
pub(super) struct Past<B: Backend> {
    pub rows: usize,
    pub keys: Option<B::Buffer>,
    pub values: Option<B::Buffer>,
}

impl<B: Backend> Default for Past<B> {
    fn default() -> Self {
        Past { rows: 0, keys: None, values: None }
    }
}

impl<B: Backend> BlockPass<'_, B> {
    /// `linear` applied to `x`, seen by the observer.
    pub fn forward(&mut self, linear: &Linear, x: &B::Buffer) -> B::Buffer {
        self.forward_rows(linear, self.rows, x)
    }

    /// [`BlockPass::forward`] for another number of rows.
    pub fn forward_rows(&mut self, linear: &Linear, rows: usize, x: &B::Buffer) -> B::Buffer {
        self.observer.input(self.backend, linear, rows, x);
        let linear = self.observer.replacement(linear).unwrap_or(linear);
        linear.apply(self.backend, rows, x)
    }

    /// The gradient by the input of `linear`, seen by the observer.
    pub fn reverse(&mut self, linear: &Linear, x: &B::Buffer, y: &B::Buffer, g: &B::Buffer) -> B::Buffer {
        self.reverse_rows(linear, Seen { rows: self.rows, x, y, g })
    }

    /// [`BlockPass::reverse`] for another number of rows.
    pub fn reverse_rows(&mut self, linear: &Linear, seen: Seen<B>) -> B::Buffer {
        let (rows, g) = (seen.rows, seen.g);
        self.observer.gradient(self.backend, linear, seen);
        self.backend.linear_reverse(rows, g, &linear.weight)
    }

    /// The same rows once more.
    pub fn again(&mut self) -> BlockPass<'_, B> {
        let BlockPass { backend, rows, segments, rotation, .. } = *self;
        BlockPass { backend, observer: self.observer, rows, segments, rotation, past: None }
    }

    /// The sum of two buffers.
    pub fn sum(&self, mut x: B::Buffer, y: &B::Buffer) -> B::Buffer {
        self.backend.add(&mut x, y);
        x
    }

    /// What attention looks at here.
    pub fn view<'s>(
        &'s self,
        heads: super::backend::Heads,
        causal: bool,
        window: Option<usize>,
    ) -> AttentionView<'s> {
        let scale = 1.0 / (heads.size as f32).sqrt();
        AttentionView { heads, scale, segments: self.segments, causal, window }
    }
}

impl<B: Backend> Past<B> {
    /// Adds keys and values of `rows` rows.
    pub fn append(&mut self, backend: &B, rows: usize, keys: B::Buffer, values: B::Buffer) {
        let join = |old: &mut Option<B::Buffer>, new: B::Buffer| match old {
            Some(old) => backend.append(old, &new),
            None => *old = Some(new),
        };
        join(&mut self.keys, keys);
        join(&mut self.values, values);
        self.rows += rows;
    }
}
