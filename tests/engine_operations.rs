//! Each operation of the engine's backend against its definition in F64, and each reverse against central differences of that.

use std::ops::Range;

use qlua::engine::backend::{
    Activation, AttentionSegment, AttentionView, Backend, Heads, InputScale, Norm, Rotation,
};
use qlua::engine::{Cpu, LinearWeight};
use qlua::format::{FormatId, Granularity, Scales, decode, encode};
use qlua::tensor::{Dtype, Tensor};

/// Values between −1 and 1, the same in every run.
fn values(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// That `found` is `want` within `tolerance` of the largest value.
#[track_caller]
fn assert_near(found: &[f32], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), want.len(), "{what}");
    let size = want.iter().fold(1e-3f64, |largest, want| largest.max(want.abs()));
    for (at, (found, want)) in found.iter().zip(want).enumerate() {
        let error = (f64::from(*found) - want).abs();
        assert!(error <= tolerance * size, "{what}: value {at} is {found}, not {want}");
    }
}

const FORWARD: f64 = 2e-6;
const REVERSE: f64 = 1e-5;

/// The gradient of Σ g · function(x) by each value of `x`.
fn differences(function: impl Fn(&[f64]) -> Vec<f64>, x: &[f32], g: &[f32]) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut x = wide(x);
    (0..x.len())
        .map(|at| {
            let middle = x[at];
            let mut at_step = |step: f64| {
                x[at] = middle + step;
                let sum: f64 = function(&x).iter().zip(g).map(|(y, g)| y * f64::from(*g)).sum();
                x[at] = middle;
                sum
            };
            (at_step(STEP) - at_step(-STEP)) / (2.0 * STEP)
        })
        .collect()
}

fn weight(outputs: usize, inputs: usize, values: &[f32]) -> LinearWeight {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    LinearWeight::plain("weight", Tensor::owned(Dtype::F32, vec![outputs, inputs], bytes)).unwrap()
}

/// y = x Wᵀ + b.
fn linear(x: &[f64], weight: &[f64], bias: Option<&[f64]>, inputs: usize) -> Vec<f64> {
    let rows = x.chunks_exact(inputs);
    rows.flat_map(|x| {
        weight.chunks_exact(inputs).enumerate().map(move |(output, weight)| {
            let sum: f64 = x.iter().zip(weight).map(|(x, w)| x * w).sum();
            sum + bias.map_or(0.0, |bias| bias[output])
        })
    })
    .collect()
}

#[test]
fn linear_layers() {
    for (rows, outputs, inputs) in [(1, 5, 3), (7, 33, 19), (3, 4, 300)] {
        let (x, w) = (values(rows * inputs, 1), values(outputs * inputs, 2));
        let (bias, g) = (values(outputs, 3), values(rows * outputs, 4));
        let layer = weight(outputs, inputs, &w);
        let (w64, bias64) = (wide(&w), wide(&bias));
        let of = |x: &[f64]| linear(x, &w64, Some(&bias64), inputs);
        assert_near(&Cpu.linear(rows, &x, &layer, Some(&bias)), &of(&wide(&x)), FORWARD, "linear");
        let plain = linear(&wide(&x), &w64, None, inputs);
        assert_near(&Cpu.linear(rows, &x, &layer, None), &plain, FORWARD, "linear without bias");
        assert_near(
            &Cpu.linear_reverse(rows, &g, &layer),
            &differences(of, &x, &g),
            REVERSE,
            "linear reverse",
        );
    }
}

#[test]
fn linear_layers_of_codes_and_scales() {
    let (rows, outputs, inputs) = (3, 150, 140);
    let codes: Vec<u8> = values(outputs * inputs, 5).iter().map(|value| encode(value * 448.0)).collect();
    let (x, g) = (values(rows * inputs, 6), values(rows * outputs, 7));
    let shapes = [
        (Granularity::Tensor, vec![], FormatId::Fp8),
        (Granularity::Channel, vec![outputs, 1], FormatId::Fp8),
        (Granularity::Block, vec![2, 2], FormatId::Fp8Block),
    ];
    for (granularity, shape, format) in shapes {
        let count = shape.iter().product();
        let scales: Vec<f32> = values(count, 8).iter().map(|scale| 0.002 + 0.001 * scale).collect();
        let scale_of = |row: usize, column: usize| match granularity {
            Granularity::Tensor => scales[0],
            Granularity::Channel => scales[row],
            Granularity::Block => scales[row / 128 * 2 + column / 128],
        };
        let w: Vec<f64> = (0..outputs * inputs)
            .map(|at| f64::from(decode(codes[at])) * f64::from(scale_of(at / inputs, at % inputs)))
            .collect();
        let scales = Scales { granularity, block: [128, 128], shape, values: scales.clone() };
        let codes = Tensor::owned(Dtype::F8E4M3, vec![outputs, inputs], codes.clone());
        let layer = LinearWeight::scaled(codes, scales, format).unwrap();
        let of = |x: &[f64]| linear(x, &w, None, inputs);
        assert_near(&Cpu.linear(rows, &x, &layer, None), &of(&wide(&x)), FORWARD, "linear of codes");
        assert_near(
            &Cpu.linear_reverse(rows, &g, &layer),
            &differences(of, &x, &g),
            REVERSE,
            "reverse of codes",
        );
    }
}

fn norm(x: &[f64], norm: &Norm) -> Vec<f64> {
    let width = norm.width();
    x.chunks_exact(width)
        .flat_map(|x| {
            let count = width as f64;
            let (mean, weight, bias, epsilon) = match norm {
                Norm::Rms { weight, epsilon } => (0.0, weight, None, epsilon),
                Norm::Layer { weight, bias, epsilon } => {
                    (x.iter().sum::<f64>() / count, weight, Some(bias), epsilon)
                }
            };
            let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
            let factor = 1.0 / (square + f64::from(*epsilon)).sqrt();
            (0..width)
                .map(|at| {
                    (x[at] - mean) * factor * f64::from(weight[at])
                        + bias.map_or(0.0, |bias| f64::from(bias[at]))
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn normalisations() {
    for (rows, width) in [(1, 3), (5, 24), (40, 7)] {
        let mut x = values(rows * width, 9);
        // One row is small, so that ε matters; one is far from 0.
        x[..width].iter_mut().for_each(|x| *x *= 1e-3);
        x[(rows - 1) * width..].iter_mut().for_each(|x| *x += 3.0);
        let (weight, bias, g) = (values(width, 10), values(width, 11), values(rows * width, 12));
        for kind in [
            Norm::Rms { weight: weight.clone(), epsilon: 1e-3 },
            Norm::Layer { weight: weight.clone(), bias: bias.clone(), epsilon: 1e-3 },
        ] {
            let of = |x: &[f64]| norm(x, &kind);
            assert_near(&Cpu.norm(&x, &kind), &of(&wide(&x)), FORWARD, "norm");
            assert_near(&Cpu.norm_reverse(&x, &g, &kind), &differences(of, &x, &g), REVERSE, "norm reverse");
        }
    }
}

fn rotate(x: &[f64], heads: usize, rotation: &Rotation) -> Vec<f64> {
    let (half, mut y) = (rotation.half, x.to_vec());
    for (at, y) in y.iter_mut().enumerate() {
        let (row, place) = (at / (heads * 2 * half), at % (2 * half));
        let angle = row * half + place % half;
        let (cosine, sine) = (f64::from(rotation.cosines[angle]), f64::from(rotation.sines[angle]));
        *y = match place < half {
            true => x[at] * cosine - x[at + half] * sine,
            false => x[at] * cosine + x[at - half] * sine,
        };
    }
    y
}

#[test]
fn rotations() {
    let (rows, heads, half) = (5, 3, 4);
    let angles = values(rows * half, 13);
    // Longer than 1, as YaRN has it, so that back is the reverse and no inverse.
    let rotation = Rotation {
        cosines: angles.iter().map(|angle| 1.3 * (3.0 * angle).cos()).collect(),
        sines: angles.iter().map(|angle| 1.3 * (3.0 * angle).sin()).collect(),
        half,
    };
    let (x, g) = (values(rows * heads * 2 * half, 14), values(rows * heads * 2 * half, 15));
    let of = |x: &[f64]| rotate(x, heads, &rotation);
    let (mut forth, mut back) = (x.clone(), g.clone());
    Cpu.rotate(&mut forth, heads, &rotation, false);
    Cpu.rotate(&mut back, heads, &rotation, true);
    assert_near(&forth, &of(&wide(&x)), FORWARD, "rotate");
    assert_near(&back, &differences(of, &x, &g), REVERSE, "rotate back");
}

/// softmax(scale · q kᵀ) v, query by query.
fn attention(q: &[f64], k: &[f64], v: &[f64], view: AttentionView) -> Vec<f64> {
    let Heads { query, key_value, size } = view.heads;
    let mut out = vec![0.0; q.len()];
    for segment in view.segments {
        let past = segment.keys.len() - segment.queries.len();
        for (number, row) in segment.queries.clone().enumerate() {
            let own = segment.keys.start + past + number;
            let seen = segment.keys.clone().filter(|key| {
                !view.causal || (*key <= own && view.window.is_none_or(|window| own - *key < window))
            });
            for head in 0..query {
                let key_head = head / (query / key_value);
                let q = &q[(row * query + head) * size..][..size];
                let of = |x: &[f64], key: usize| x[(key * key_value + key_head) * size..][..size].to_vec();
                let scores: Vec<(usize, f64)> = seen
                    .clone()
                    .map(|key| {
                        let product: f64 = q.iter().zip(of(k, key)).map(|(q, k)| q * k).sum();
                        (key, (product * f64::from(view.scale)).exp())
                    })
                    .collect();
                let sum: f64 = scores.iter().map(|(_, score)| score).sum();
                for (key, score) in scores {
                    let out = &mut out[(row * query + head) * size..][..size];
                    out.iter_mut().zip(of(v, key)).for_each(|(out, v)| *out += score / sum * v);
                }
            }
        }
    }
    out
}

fn check_attention(heads: Heads, segments: &[AttentionSegment], causal: bool, window: Option<usize>) {
    let view = AttentionView { heads, scale: 0.7, segments, causal, window };
    let rows = segments.last().unwrap().queries.end;
    let keys = segments.last().unwrap().keys.end;
    let many = |count: usize, heads: usize, seed| -> Vec<f32> {
        values(count * heads * view.heads.size, seed).iter().map(|value| 2.0 * value).collect()
    };
    let (q, k, v) =
        (many(rows, heads.query, 16), many(keys, heads.key_value, 17), many(keys, heads.key_value, 18));
    let g = many(rows, heads.query, 19);
    let what = format!("attention of {heads:?} over {segments:?}, causal {causal}, window {window:?}");
    let (q64, k64, v64) = (wide(&q), wide(&k), wide(&v));
    assert_near(&Cpu.attention(&q, &k, &v, view), &attention(&q64, &k64, &v64, view), FORWARD, &what);
    let [by_q, by_k, by_v] = Cpu.attention_reverse(&q, &k, &v, &g, view);
    // The reverse of long sequences is checked by the sums of blocks alone: differences of each value take too long.
    if rows > 40 {
        let along = |x: &[f32], by_x: &[f32], of: &dyn Fn(&[f64]) -> Vec<f64>, seed: u64| {
            let direction = values(x.len(), seed);
            let moved = |step: f64| -> f64 {
                let x: Vec<f64> =
                    x.iter().zip(&direction).map(|(x, d)| f64::from(*x) + step * f64::from(*d)).collect();
                of(&x).iter().zip(&g).map(|(y, g)| y * f64::from(*g)).sum()
            };
            let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            let found: f64 = by_x.iter().zip(&direction).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let size: f64 = by_x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            assert!(
                (found - want).abs() < 1e-5 * size.max(1.0),
                "{what}: {found} along a direction, not {want}"
            );
        };
        for seed in 0..3 {
            along(&q, &by_q, &|q| attention(q, &k64, &v64, view), 20 + seed);
            along(&k, &by_k, &|k| attention(&q64, k, &v64, view), 30 + seed);
            along(&v, &by_v, &|v| attention(&q64, &k64, v, view), 40 + seed);
        }
        return;
    }
    assert_near(&by_q, &differences(|q| attention(q, &k64, &v64, view), &q, &g), REVERSE, &what);
    assert_near(&by_k, &differences(|k| attention(&q64, k, &v64, view), &k, &g), REVERSE, &what);
    assert_near(&by_v, &differences(|v| attention(&q64, &k64, v, view), &v, &g), REVERSE, &what);
}

fn segments(parts: &[(Range<usize>, Range<usize>)]) -> Vec<AttentionSegment> {
    parts
        .iter()
        .map(|(queries, keys)| AttentionSegment { queries: queries.clone(), keys: keys.clone() })
        .collect()
}

#[test]
fn attentions() {
    let all = Heads { query: 2, key_value: 2, size: 3 };
    let grouped = Heads { query: 4, key_value: 2, size: 2 };
    let one = segments(&[(0..9, 0..9)]);
    let three = segments(&[(0..1, 0..1), (1..6, 1..6), (6..10, 6..10)]);
    for heads in [all, grouped] {
        for (causal, window) in
            [(false, None), (true, None), (true, Some(1)), (true, Some(3)), (true, Some(100))]
        {
            check_attention(heads, &one, causal, window);
            check_attention(heads, &three, causal, window);
        }
        // Queries after keys that are past, as in generation.
        for window in [None, Some(4)] {
            check_attention(heads, &segments(&[(0..2, 0..7)]), true, window);
            check_attention(heads, &segments(&[(0..1, 0..7)]), true, window);
        }
    }
}

#[test]
fn attentions_of_several_blocks_of_queries() {
    let grouped = Heads { query: 4, key_value: 2, size: 2 };
    let long = segments(&[(0..70, 0..70), (70..75, 70..75), (75..220, 75..220)]);
    for (causal, window) in
        [(false, None), (true, None), (true, Some(10)), (true, Some(64)), (true, Some(100))]
    {
        check_attention(grouped, &long, causal, window);
    }
    check_attention(grouped, &segments(&[(0..90, 0..150)]), true, Some(70));
}

/// Attention whose scores would overflow an exponential that is not shifted.
#[test]
fn attention_of_large_products_stays_finite() {
    let heads = Heads { query: 1, key_value: 1, size: 1 };
    let one = segments(&[(0..3, 0..3)]);
    let view = AttentionView { heads, scale: 1.0, segments: &one, causal: true, window: None };
    let (q, k, v) = (vec![300.0; 3], vec![1.0, 2.0, -3.0], vec![5.0, 6.0, 7.0]);
    assert_near(&Cpu.attention(&q, &k, &v, view), &[5.0, 6.0, 6.0], FORWARD, "large products");
    let reverse = Cpu.attention_reverse(&q, &k, &v, &vec![1.0; 3], view);
    assert!(reverse.iter().flatten().all(|value| value.is_finite()));
}

fn activation(x: f64, activation: Activation) -> f64 {
    match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
    }
}

#[test]
fn activations_and_gates() {
    let scaled = |factor: f32, seed| -> Vec<f32> { values(200, seed).iter().map(|x| factor * x).collect() };
    for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::QuickGelu] {
        let what = format!("{kind:?}");
        for factor in [1.0, 8.0, 100.0] {
            let (x, up, g) = (scaled(factor, 50), scaled(2.0, 51), values(200, 52));
            let act = |x: &[f64]| -> Vec<f64> { x.iter().map(|x| activation(*x, kind)).collect() };
            let gate =
                |x: &[f64], up: &[f64]| -> Vec<f64> { act(x).iter().zip(up).map(|(x, up)| x * up).collect() };
            let (x64, up64) = (wide(&x), wide(&up));
            assert_near(&Cpu.activate(&x, kind), &act(&x64), FORWARD, &what);
            assert_near(&Cpu.activate_reverse(&x, &g, kind), &differences(act, &x, &g), REVERSE, &what);
            assert_near(&Cpu.gate(&x, &up, kind), &gate(&x64, &up64), FORWARD, &what);
            let [by_gate, by_up] = Cpu.gate_reverse(&x, &up, &g, kind);
            assert_near(&by_gate, &differences(|x| gate(x, &up64), &x, &g), REVERSE, &what);
            assert_near(&by_up, &differences(|up| gate(&x64, up), &up, &g), REVERSE, &what);
        }
    }
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f64::MIN, f64::max);
    let log = row.iter().map(|x| (x - largest).exp()).sum::<f64>().ln() + largest;
    row.iter().map(|x| x - log).collect()
}

#[test]
fn losses_and_their_gradients() {
    let width = 37;
    let logits: Vec<f32> = values(4 * width, 60).iter().map(|x| 9.0 * x).collect();
    let labels = [Some((0, 0.5)), None, Some((36, 0.25)), Some((5, 1.0))];
    let (losses, gradient) = Cpu.cross_entropy_and_gradient(&logits, width, &labels);
    assert_eq!(Cpu.cross_entropy(&logits, width, &labels), losses);
    let of = |x: &[f64]| -> Vec<f64> {
        x.chunks_exact(width)
            .zip(&labels)
            .map(|(row, label)| label.map_or(0.0, |(label, _)| -log_softmax(row)[label as usize]))
            .collect()
    };
    for (found, want) in losses.iter().zip(of(&wide(&logits))) {
        assert!((found - want).abs() <= 1e-6, "{found}, not {want}");
    }
    let factors: Vec<f32> = labels.iter().map(|label| label.map_or(0.0, |(_, factor)| factor)).collect();
    assert_near(&gradient, &differences(of, &logits, &factors), REVERSE, "gradient of the loss");
}

#[test]
fn losses_of_logits_that_are_never_whole_in_memory() {
    // More columns than are computed together, and few and many rows.
    let (width, inputs) = (9001, 6);
    for rows in [3, 40] {
        let (x, w) = (values(rows * inputs, 63), values(width * inputs, 64));
        let bias: Vec<f32> = values(width, 65).iter().map(|b| 4.0 * b).collect();
        let x: Vec<f32> = x.iter().map(|x| 6.0 * x).collect();
        let labels: Vec<_> =
            (0..rows).map(|row| (row != 1).then_some(((row * 6151 + 8999) as u32 % 9001, 1.0))).collect();
        let layer = weight(width, inputs, &w);
        for bias in [None, Some(bias.as_slice())] {
            let wide_bias = bias.map(wide);
            let logits = linear(&wide(&x), &wide(&w), wide_bias.as_deref(), inputs);
            let found = Cpu.linear_cross_entropy(rows, &x, &layer, bias, &labels);
            for ((found, logits), label) in found.iter().zip(logits.chunks_exact(width)).zip(&labels) {
                let want = label.map_or(0.0, |(label, _)| -log_softmax(logits)[label as usize]);
                assert!((found - want).abs() <= 2e-6 * want.max(1.0), "{found}, not {want}");
            }
        }
    }
}

#[test]
fn divergence_agreement_and_the_likeliest() {
    let width = 1500;
    let base: Vec<f32> = values(3 * width, 61).iter().map(|x| 9.0 * x).collect();
    for noise in [1e-3, 0.1, 3.0] {
        let other: Vec<f32> = base.iter().zip(values(3 * width, 62)).map(|(x, n)| x + noise * n).collect();
        let found = Cpu.agreement(&base, &other, width);
        let top = |row: &[f32]| {
            let largest = row.iter().copied().fold(f32::MIN, f32::max);
            row.iter().position(|x| *x == largest).unwrap()
        };
        for (at, found) in found.iter().enumerate() {
            let rows = [&base, &other].map(|x| &x[at * width..][..width]);
            let [p, q] = rows.map(|row| log_softmax(&wide(row)));
            let want: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            assert!(
                (found.divergence - want).abs() <= 1e-5 * want + 1e-12,
                "{}, not {want}",
                found.divergence
            );
            assert_eq!(found.same_top, top(rows[0]) == top(rows[1]));
            assert_eq!(Cpu.largest(&base, width)[at], top(rows[0]) as u32);
        }
    }
    assert!(
        Cpu.agreement(&base, &base, width).iter().all(|row| row.divergence.abs() < 1e-12 && row.same_top)
    );
    assert_eq!(Cpu.largest(&vec![1.0, 3.0, 3.0, f32::NEG_INFINITY], 2), [1, 0]);
}

/// The value of E4M3 nearest to `x`, of two the one with the even code.
fn nearest(x: f64) -> f64 {
    let key = |code: &u8| {
        let error = (f64::from(decode(*code)) - x.abs()).abs();
        (error, code & 1)
    };
    let code = (0..0x7fu8).min_by(|a, b| key(a).partial_cmp(&key(b)).unwrap()).unwrap();
    f64::from(decode(code)).copysign(x)
}

#[test]
fn inputs_are_rounded_with_the_scale_of_the_tensor_token_or_group() {
    let (rows, width) = (3, 300);
    let x: Vec<f32> = values(rows * width, 70).iter().map(|x| x * x * x * 50.0).collect();
    let amax_of = |x: &[f32]| x.iter().fold(0.0f32, |amax, x| amax.max(x.abs()));
    assert_eq!(Cpu.amax(&x), amax_of(&x));
    assert!(Cpu.amax(&vec![1.0, f32::NAN, 2.0]).is_nan());
    assert_eq!(Cpu.amax(&vec![]), 0.0);
    let cases: [(InputScale, &dyn Fn(usize) -> f32); 4] = [
        (InputScale::Static(0.03), &|_| 0.03),
        (InputScale::Amax(40.0), &|_| 40.0 / 448.0),
        (InputScale::Token, &|at| amax_of(&x[at / width * width..][..width]) / 448.0),
        (InputScale::Group(128), &|at| {
            let (row, first) = (at / width * width, at % width / 128 * 128);
            amax_of(&x[row + first..row + width.min(first + 128)]) / 448.0
        }),
    ];
    for (scale, scale_at) in cases {
        let rounded = Cpu.round_input(&x, width, scale);
        for (at, rounded) in rounded.iter().enumerate() {
            let scale_at = f64::from(scale_at(at));
            let exact = f64::from(x[at]) / scale_at;
            let want = nearest(exact) * scale_at;
            // A value within an F32 of the middle between two codes may become either.
            let near_tie = (nearest(exact * (1.0 + 1e-6)) - nearest(exact * (1.0 - 1e-6))).abs() > 0.0;
            let error = (f64::from(*rounded) - want).abs();
            assert!(
                near_tie || error <= 1e-6 * want.abs(),
                "{scale:?}: {} became {rounded}, not {want}",
                x[at]
            );
        }
    }
    assert_eq!(Cpu.round_input(&vec![0.0; 4], 2, InputScale::Token), [0.0; 4]);
    assert_eq!(Cpu.round_input(&vec![1e9, -1e9], 2, InputScale::Static(1.0)), [448.0, -448.0]);
}

#[test]
fn weighted_errors_are_clamped_squares() {
    let (y0, y1) = (values(10_001, 71), values(10_001, 72));
    let g: Vec<f32> = values(10_001, 73).iter().map(|g| 1e-3 * g).collect();
    let want: f64 = y0
        .iter()
        .zip(&y1)
        .zip(&g)
        .map(|((a, b), g)| (f64::from(*g) * (f64::from(*b) - f64::from(*a))).powi(2))
        .sum();
    let found = Cpu.weighted_error(&y0, &y1, &g);
    assert!((found - want).abs() <= 1e-6 * want, "{found}, not {want}");
    let clamped = Cpu.weighted_error(&vec![0.0, 0.0], &vec![1e15, -1.0], &vec![1.0, 2.0]);
    assert!((clamped - 1e20).abs() <= 1e14, "{clamped}");
}

#[test]
fn rows_and_columns_are_moved_whole() {
    let x: Vec<f32> = (0..12).map(|x| x as f32).collect();
    assert_eq!(Cpu.gather(&x, 3, &[3, 0, 0]), [9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
    let mut sums = x.clone();
    Cpu.scatter_add(&mut sums, &vec![100.0, 200.0, 300.0, 1000.0, 2000.0, 3000.0], 3, &[2, 0]);
    assert_eq!(sums, [1000.0, 2001.0, 3002.0, 3.0, 4.0, 5.0, 106.0, 207.0, 308.0, 9.0, 10.0, 11.0]);
    assert_eq!(Cpu.columns(&x, 4, 1..3), [1.0, 2.0, 5.0, 6.0, 9.0, 10.0]);
    assert_eq!(
        Cpu.beside(&[(&vec![1.0, 2.0], 1), (&vec![3.0, 4.0, 5.0, 6.0], 2)]),
        [1.0, 3.0, 4.0, 2.0, 5.0, 6.0]
    );
    let mut rows = vec![1.0, 2.0];
    Cpu.append(&mut rows, &vec![3.0]);
    assert_eq!(rows, [1.0, 2.0, 3.0]);
    let mut sum = vec![1.0, 2.0];
    Cpu.add(&mut sum, &vec![0.5, -2.0]);
    assert_eq!((Cpu.download(&Cpu.upload(sum.clone())), Cpu.copy(&sum)), (vec![1.5, 0.0], sum));
}
