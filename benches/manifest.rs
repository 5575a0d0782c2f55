//! Parsing and ranking a manifest with 100,000 groups: each should take well under a second.

use std::fmt::Write;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use qlua::manifest::{Manifest, Order, RankingOptions};
use qlua::selector::Globs;

/// A manifest of `blocks` × 4 groups with the names of a language model, and its list of layers.
fn manifest_text(blocks: usize) -> String {
    let mut layers = String::new();
    let mut groups = String::new();
    let mut seed = 1u64;
    for block in 0..blocks {
        let attention = format!("model.language_model.layers.{block}.self_attn");
        let mlp = format!("model.language_model.layers.{block}.mlp");
        for module in ["q_proj", "k_proj", "v_proj", "o_proj"] {
            let _ = write!(
                layers,
                r#""{attention}.{module}": {{"quantized": true, "module_type": "QuantLinear"}},"#
            );
        }
        for module in ["gate_proj", "up_proj", "down_proj"] {
            let _ =
                write!(layers, r#""{mlp}.{module}": {{"quantized": true, "module_type": "QuantLinear"}},"#);
        }
        for name in [
            format!("{attention}.q_proj"),
            format!("{attention}.o_proj"),
            format!("{mlp}.gate_proj"),
            format!("{mlp}.down_proj"),
        ] {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let score = (seed >> 11) as f64 / (1u64 << 53) as f64;
            let _ = write!(
                groups,
                r#""{name}.quant_recipe": {{"formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
                    "scores": [{score}, 0.0], "costs": [2097152.0, 4194304.0], "importance": {score}, "rank": 1}},"#
            );
        }
    }
    let (layers, groups) = (layers.trim_end_matches(','), groups.trim_end_matches(','));
    format!(r#"{{"scheme": {{"name": "bench"}}, "layers": {{{layers}}}, "layer_sensitivity": {{{groups}}}}}"#)
}

fn manifest(c: &mut Criterion) {
    let text = manifest_text(25_000);
    let parsed = Manifest::parse("bench.json", text.as_bytes()).expect("the manifest made above parses");
    assert_eq!(parsed.groups().len(), 100_000);
    let mut group = c.benchmark_group("manifest with 100,000 groups");
    group.sample_size(10);
    group.bench_function("parse", |b| {
        b.iter_batched(
            || text.clone().into_bytes(),
            |bytes| Manifest::parse("bench.json", bytes),
            BatchSize::LargeInput,
        );
    });
    group.bench_function("rank", |b| {
        let options = RankingOptions { order: Order::Descending, ..Default::default() };
        b.iter(|| black_box(&parsed).ranking(&options));
    });
    group.bench_function("rank by glob and cut ten coverage points", |b| {
        let include = Some(Globs::new(["*.mlp.*"]).expect("a glob"));
        let options = RankingOptions { include, ..Default::default() };
        b.iter(|| {
            let ranking = black_box(&parsed).ranking(&options)?;
            (1..=10).map(|ten| ranking.lowest(f64::from(ten) * 10.0)).collect::<qlua::Result<Vec<_>>>()
        });
    });
    group.finish();
}

criterion_group!(benches, manifest);
criterion_main!(benches);
