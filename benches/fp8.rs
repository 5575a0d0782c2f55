//! Elements per second, on one core, of every FP8 loop with every instruction set of the machine; the float8 crate beside it.
//!
//! `cargo bench --bench fp8 -- encode/bf16` runs a part. The tensor, 4096 rows of 3420 elements (28 MB in BF16, 3420 is no
//! multiple of a vector), lies in memory rather than in a cache.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use qlua::format::{
    AmaxAccumulator, Decoder, Encoder, Granularity, Kernel, QuantisationError, Rounding, ScaleRule, Scales,
    amax,
};
use qlua::tensor::{Dtype, Tensor};
use std::hint::black_box;
use std::time::Duration;

const ROWS: usize = 4096;
const COLUMNS: usize = 3420;
const DTYPES: [Dtype; 3] = [Dtype::BF16, Dtype::F16, Dtype::F32];
const GRANULARITIES: [Granularity; 3] = [Granularity::Tensor, Granularity::Channel, Granularity::Block];

/// Weights of about a bell-shaped distribution, as sums of four uniform numbers.
fn weights(dtype: Dtype) -> Tensor {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let values = (0..ROWS * COLUMNS).map(|_| (uniform() + uniform() + uniform() + uniform()) * 0.03);
    let bytes = values.flat_map(f32::to_le_bytes).collect();
    let tensor = Tensor::owned(Dtype::F32, vec![ROWS, COLUMNS], bytes);
    tensor.cast(dtype).expect("a float dtype")
}

fn scales(tensor: &Tensor, granularity: Granularity) -> Scales {
    Scales::from_amax(&amax(tensor, granularity).expect("a matrix of floats"), ScaleRule::F32)
}

fn encoding(criterion: &mut Criterion) {
    for dtype in DTYPES {
        let tensor = weights(dtype);
        let mut codes = vec![0; tensor.elements()];
        let mut group = criterion.benchmark_group(format!("encode/{dtype}").to_lowercase());
        group.throughput(Throughput::Elements(tensor.elements() as u64));
        for granularity in GRANULARITIES {
            let scales = scales(&tensor, granularity);
            for rounding in [Rounding::Exact, Rounding::ModelOpt] {
                for kernel in Kernel::available() {
                    let encoder = Encoder::new(dtype, rounding, &scales, COLUMNS).expect("fitting scales");
                    let encoder = encoder.with_kernel(kernel);
                    let id = BenchmarkId::new(format!("{granularity}/{rounding}"), kernel.name());
                    group.bench_function(id, |bencher| {
                        bencher.iter(|| encoder.encode(0, black_box(tensor.bytes()), &mut codes));
                    });
                }
            }
        }
        if dtype == Dtype::BF16 {
            let scale = scales(&tensor, Granularity::Tensor).values[0];
            group.bench_function("tensor/exact/float8-crate", |bencher| {
                bencher.iter(|| {
                    for (code, element) in codes.iter_mut().zip(black_box(tensor.bytes()).as_chunks().0) {
                        let value = half::bf16::from_le_bytes(*element).to_f32();
                        *code = float8::F8E4M3::from_f32(value / scale).to_bits();
                    }
                });
            });
        }
        group.finish();
    }
}

fn decoding(criterion: &mut Criterion) {
    let tensor = weights(Dtype::BF16);
    for granularity in GRANULARITIES {
        let scales = scales(&tensor, granularity);
        let codes = qlua::format::quantize(&tensor, &scales, Rounding::Exact).expect("fitting scales");
        for dtype in DTYPES {
            let mut values = vec![0; tensor.elements() * dtype.size()];
            let mut group = criterion.benchmark_group(format!("decode/{dtype}").to_lowercase());
            group.throughput(Throughput::Elements(tensor.elements() as u64));
            for kernel in Kernel::available() {
                let decoder =
                    Decoder::new(&scales, dtype, COLUMNS).expect("a float dtype").with_kernel(kernel);
                group.bench_function(BenchmarkId::new(granularity.to_string(), kernel.name()), |bencher| {
                    bencher.iter(|| decoder.decode(0, black_box(codes.bytes()), &mut values));
                });
            }
            group.finish();
        }
    }
}

fn largest_magnitude(criterion: &mut Criterion) {
    for dtype in DTYPES {
        let tensor = weights(dtype);
        let mut group = criterion.benchmark_group(format!("amax/{dtype}").to_lowercase());
        group.throughput(Throughput::Elements(tensor.elements() as u64));
        for kernel in Kernel::available() {
            group.bench_function(BenchmarkId::new("tensor", kernel.name()), |bencher| {
                bencher.iter(|| kernel.amax_of(dtype, black_box(tensor.bytes())));
            });
        }
        for granularity in [Granularity::Channel, Granularity::Block] {
            group.bench_function(
                BenchmarkId::new(granularity.to_string(), Kernel::best().name()),
                |bencher| {
                    bencher.iter(|| {
                        let accumulator = AmaxAccumulator::new(dtype, tensor.shape(), granularity);
                        let mut accumulator = accumulator.expect("a matrix of floats");
                        accumulator.push(0, black_box(tensor.bytes()));
                        accumulator.finish()
                    });
                },
            );
        }
        group.finish();
    }
}

fn error_and_statistics(criterion: &mut Criterion) {
    let tensor = weights(Dtype::BF16);
    let mut group = criterion.benchmark_group("other/bf16");
    group.throughput(Throughput::Elements(tensor.elements() as u64));
    for granularity in GRANULARITIES {
        let scales = scales(&tensor, granularity);
        let codes = qlua::format::quantize(&tensor, &scales, Rounding::Exact).expect("fitting scales");
        group.bench_function(format!("error/{granularity}"), |bencher| {
            bencher.iter(|| {
                QuantisationError::of_chunk(Dtype::BF16, &scales, COLUMNS, 0, tensor.bytes(), codes.bytes())
            });
        });
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    group.bench_function("stats", |bencher| bencher.iter(|| pool.install(|| tensor.stats())));
    group.bench_function("histogram", |bencher| bencher.iter(|| pool.install(|| tensor.histogram(64))));
    group.bench_function("cast/f32", |bencher| bencher.iter(|| pool.install(|| tensor.cast(Dtype::F32))));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600)).without_plots();
    targets = encoding, decoding, largest_magnitude, error_and_statistics
}
criterion_main!(benches);
