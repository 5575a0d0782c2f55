//! Attention in blocks of queries: the products of all queries and keys never stand in memory at once.
//!
//! Forward, a block of queries sees all its keys, so the softmax is exact as it stands. The reverse pass computes it again, as in
//! FlashAttention (Dao et al., 2022), block after block in a fixed order.

use std::ops::Range;

use rayon::prelude::*;

use super::super::backend::{AttentionSegment, AttentionView};
use super::buffers::zeros;
use super::math::exp;
use super::panels::Side;
use super::product::{Extent, ProductTarget, multiply};
use super::rows::Strided;
use crate::tensor::Kernel;
use crate::tensor::kernel::for_each_kernel;

/// Queries in a block.
const BLOCK: usize = 64;

/// [rows, heads, size] to [heads, rows, size].
fn by_head(x: &[f32], heads: usize, size: usize) -> Vec<f32> {
    let rows = x.len() / (heads * size);
    let mut out = zeros(x.len());
    out.par_chunks_mut((rows * size).max(1)).enumerate().for_each(|(head, out)| {
        for (row, out) in out.chunks_exact_mut(size).enumerate() {
            out.copy_from_slice(&x[(row * heads + head) * size..][..size]);
        }
    });
    out
}

/// [heads, rows, size] to [rows, heads, size].
fn by_row(x: &[f32], heads: usize, size: usize) -> Vec<f32> {
    let rows = x.len() / (heads * size);
    let mut out = zeros(x.len());
    out.par_chunks_mut(heads * size).enumerate().for_each(|(row, out)| {
        for (head, out) in out.chunks_exact_mut(size).enumerate() {
            out.copy_from_slice(&x[(head * rows + row) * size..][..size]);
        }
    });
    out
}

/// Some queries of a segment and the keys that at least one of them sees.
struct QueryBlock {
    queries: Range<usize>,
    keys: Range<usize>,
    /// How many keys, from the first of `keys`, the first query sees: more than all where it does not matter.
    seen: usize,
}

/// The blocks of `segment`, in order.
fn blocks(segment: &AttentionSegment, view: AttentionView) -> impl Iterator<Item = QueryBlock> {
    let segment = segment.clone();
    let past = segment.keys.len() - segment.queries.len();
    let starts = segment.queries.clone().step_by(BLOCK);
    starts.map(move |start| {
        let queries = start..segment.queries.end.min(start + BLOCK);
        if !view.causal {
            return QueryBlock { queries, keys: segment.keys.clone(), seen: usize::MAX };
        }
        let before = past + (start - segment.queries.start);
        let first = view.window.map_or(0, |window| (before + 1).saturating_sub(window));
        let keys = segment.keys.start + first..segment.keys.start + before + queries.len();
        QueryBlock { seen: before + 1 - first, queries, keys }
    })
}

impl QueryBlock {
    /// The keys that query `at` of the block sees, from the first key of the block on.
    fn visible(&self, at: usize, window: Option<usize>) -> Range<usize> {
        let end = self.seen.saturating_add(at).min(self.keys.len());
        match window {
            Some(window) if self.seen != usize::MAX => end.saturating_sub(window)..end,
            _ => 0..end,
        }
    }
}

/// Turns a row of products into probabilities over the keys in sight, and zeros elsewhere.
#[inline(always)]
fn softmax_run(row: &mut [f32], visible: Range<usize>, scale: f32) {
    row[..visible.start].fill(0.0);
    row[visible.end..].fill(0.0);
    let row = &mut row[visible];
    let mut largest = f32::NEG_INFINITY;
    for value in row.iter_mut() {
        *value *= scale;
        largest = if *value > largest { *value } else { largest };
    }
    let mut lanes = [0.0f32; 16];
    for values in row.chunks_mut(16) {
        for (value, lane) in values.iter_mut().zip(&mut lanes) {
            *value = exp(*value - largest);
            *lane += *value;
        }
    }
    let factor = 1.0 / lanes.iter().sum::<f32>();
    for value in row.iter_mut() {
        *value *= factor;
    }
}

/// The gradient by scaled products from that by probabilities, in place: p · (g − Σ p g) · scale.
#[inline(always)]
fn softmax_reverse_run(p: &[f32], g: &mut [f32], along: f32, scale: f32) {
    for (g, p) in g.iter_mut().zip(p) {
        *g = p * (*g - along) * scale;
    }
}

for_each_kernel! {
    fn softmax(row: &mut [f32], visible: Range<usize>, scale: f32) = softmax_run;
    fn softmax_reverse(p: &[f32], g: &mut [f32], along: f32, scale: f32) = softmax_reverse_run;
}

/// The probabilities of a block: [queries, keys].
fn probabilities(block: &QueryBlock, q: &[f32], k: &[f32], view: AttentionView) -> Vec<f32> {
    let size = view.heads.size;
    let (count, keys) = (block.queries.len(), block.keys.len());
    let mut p = vec![0.0; count * keys];
    let queries = Strided { values: &q[block.queries.start * size..], stride: size };
    let key_rows = Strided { values: &k[block.keys.start * size..], stride: size };
    let extent = Extent { rows: count, columns: keys, inner: size };
    let target = ProductTarget { values: &mut p, stride: keys };
    multiply(extent, Side::plain(&queries), Side::transposed(&key_rows), target, false);
    let kernel = Kernel::best();
    for (at, row) in p.chunks_exact_mut(keys).enumerate() {
        softmax(kernel, row, block.visible(at, view.window), view.scale);
    }
    p
}

/// softmax(scale · q kᵀ) v; q [rows, query heads, size], k and v [keys, key heads, size].
pub(super) fn attention(q: &[f32], k: &[f32], v: &[f32], view: AttentionView) -> Vec<f32> {
    let heads = view.heads;
    let (q, k, v) = (
        by_head(q, heads.query, heads.size),
        by_head(k, heads.key_value, heads.size),
        by_head(v, heads.key_value, heads.size),
    );
    let (rows, keys) = (q.len() / heads.query, k.len() / heads.key_value);
    let mut out = zeros(q.len());
    let mut tasks = vec![];
    for (head, mut out) in out.chunks_exact_mut(rows.max(1)).enumerate() {
        let mut at = 0;
        for block in view.segments.iter().flat_map(|segment| blocks(segment, view)) {
            let (skipped, rest) = out.split_at_mut((block.queries.start - at) * heads.size);
            debug_assert!(skipped.is_empty(), "segments cover all rows");
            let (part, rest) = rest.split_at_mut(block.queries.len() * heads.size);
            at = block.queries.end;
            tasks.push((head, block, part));
            out = rest;
        }
    }
    tasks.into_par_iter().for_each(|(head, block, out)| {
        let key_head = head / (heads.query / heads.key_value);
        let (q, k, v) =
            (&q[head * rows..][..rows], &k[key_head * keys..][..keys], &v[key_head * keys..][..keys]);
        let p = probabilities(&block, q, k, view);
        let probabilities = Strided { values: &p, stride: block.keys.len() };
        let values = Strided { values: &v[block.keys.start * heads.size..], stride: heads.size };
        let extent = Extent { rows: block.queries.len(), columns: heads.size, inner: block.keys.len() };
        let target = ProductTarget { values: out, stride: heads.size };
        multiply(extent, Side::plain(&probabilities), Side::plain(&values), target, false);
    });
    by_row(&out, heads.query, heads.size)
}

/// The gradients by q, k and v. One task has all queries that see the same keys, so that sums are in a fixed order.
pub(super) fn attention_reverse(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    g: &[f32],
    view: AttentionView,
) -> [Vec<f32>; 3] {
    let heads = view.heads;
    let group = heads.query / heads.key_value;
    let (q, g) = (by_head(q, heads.query, heads.size), by_head(g, heads.query, heads.size));
    let (k, v) = (by_head(k, heads.key_value, heads.size), by_head(v, heads.key_value, heads.size));
    let (rows, keys) = (q.len() / heads.query, k.len() / heads.key_value);
    let (mut by_q, mut by_k, mut by_v) = (zeros(q.len()), zeros(k.len()), zeros(v.len()));
    let mut tasks = vec![];
    let per_head = by_k.chunks_exact_mut(keys.max(1)).zip(by_v.chunks_exact_mut(keys.max(1)));
    let per_group = by_q.chunks_exact_mut((group * rows).max(1));
    for (key_head, ((mut by_k, mut by_v), by_q)) in per_head.zip(per_group).enumerate() {
        let mut queries: Vec<&mut [f32]> = by_q.chunks_exact_mut(rows).collect();
        for segment in view.segments {
            let (part_k, rest_k) = by_k.split_at_mut(segment.keys.len() * heads.size);
            let (part_v, rest_v) = by_v.split_at_mut(segment.keys.len() * heads.size);
            (by_k, by_v) = (rest_k, rest_v);
            let mut parts = vec![];
            for rest in &mut queries {
                let (part, after) = std::mem::take(rest).split_at_mut(segment.queries.len() * heads.size);
                parts.push(part);
                *rest = after;
            }
            tasks.push((key_head, segment, parts, part_k, part_v));
        }
    }
    tasks.into_par_iter().for_each(|(key_head, segment, by_q, by_k, by_v)| {
        let (k, v) = (&k[key_head * keys..][..keys], &v[key_head * keys..][..keys]);
        for (member, by_q) in by_q.into_iter().enumerate() {
            let head = key_head * group + member;
            let (q, g) = (&q[head * rows..][..rows], &g[head * rows..][..rows]);
            for block in blocks(segment, view) {
                block_reverse(&block, segment, [q, k, v, g], [&mut *by_q, &mut *by_k, &mut *by_v], view);
            }
        }
    });
    [
        by_row(&by_q, heads.query, heads.size),
        by_row(&by_k, heads.key_value, heads.size),
        by_row(&by_v, heads.key_value, heads.size),
    ]
}

/// What one block of queries adds to the gradients of its segment.
fn block_reverse(
    block: &QueryBlock,
    segment: &AttentionSegment,
    inputs: [&[f32]; 4],
    outputs: [&mut [f32]; 3],
    view: AttentionView,
) {
    let ([q, k, v, g], [by_q, by_k, by_v]) = (inputs, outputs);
    let size = view.heads.size;
    let (count, keys) = (block.queries.len(), block.keys.len());
    let p = probabilities(block, q, k, view);
    let rows_of = |x, first: usize| Strided { values: &(x as &[f32])[first * size..], stride: size };
    let (q, g) = (rows_of(q, block.queries.start), rows_of(g, block.queries.start));
    let (k, v) = (rows_of(k, block.keys.start), rows_of(v, block.keys.start));
    let across = Extent { rows: count, columns: keys, inner: size };
    let down = Extent { rows: keys, columns: size, inner: count };
    let from_keys = (block.keys.start - segment.keys.start) * size;
    let from_queries = (block.queries.start - segment.queries.start) * size;
    let p_rows = Strided { values: &p, stride: keys };
    multiply(
        down,
        Side::transposed(&p_rows),
        Side::plain(&g),
        ProductTarget { values: &mut by_v[from_keys..], stride: size },
        true,
    );
    let mut gradient = vec![0.0; count * keys];
    multiply(
        across,
        Side::plain(&g),
        Side::transposed(&v),
        ProductTarget { values: &mut gradient, stride: keys },
        false,
    );
    let kernel = Kernel::best();
    for (p, gradient) in p.chunks_exact(keys).zip(gradient.chunks_exact_mut(keys)) {
        let along: f64 = p.iter().zip(gradient.iter()).map(|(p, g)| f64::from(p * g)).sum();
        softmax_reverse(kernel, p, gradient, along as f32, view.scale);
    }
    let gradient = Strided { values: &gradient, stride: keys };
    let by_queries = Extent { rows: count, columns: size, inner: keys };
    let target = ProductTarget { values: &mut by_q[from_queries..], stride: size };
    multiply(by_queries, Side::plain(&gradient), Side::plain(&k), target, false);
    multiply(
        down,
        Side::transposed(&gradient),
        Side::plain(&q),
        ProductTarget { values: &mut by_k[from_keys..], stride: size },
        true,
    );
}
