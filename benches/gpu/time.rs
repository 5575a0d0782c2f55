//! Times of kernels on data that is on the GPU.

use std::path::Path;

use super::data::{alone, linears, normal};
use qlua::device::cuda::{Gpu, Lane, Tuning};
use qlua::format::{Encoding, Granularity, Rounding, ScaleRule, Wanted, WeightGroup};
use qlua::tensor::Dtype;
use qlua::{Error, Result};

const CODES: Wanted = Wanted { codes: true, error: false };
const ERROR: Wanted = Wanted { codes: false, error: true };
const GRANULARITIES: [Granularity; 3] = [Granularity::Tensor, Granularity::Channel, Granularity::Block];

/// The median of some runs, in ms, after some to warm up.
fn median(lane: &mut Lane) -> Result<f32> {
    lane.time_kernels(3)?;
    let mut times = lane.time_kernels(15)?;
    times.sort_by(f32::total_cmp);
    Ok(times[times.len() / 2])
}

/// 2^31 elements: 4.29 GB.
fn large() -> Vec<WeightGroup> {
    alone(&[normal(Dtype::BF16, &[32768, 65536], 1)], Granularity::Tensor)
}

/// The linears in groups as loaders fuse them: q, k and v, and gate and up, share a scale.
fn fused(weights: &[qlua::tensor::Tensor]) -> Vec<WeightGroup> {
    let group = |weights: &[qlua::tensor::Tensor]| WeightGroup {
        weights: weights.to_vec(),
        encoding: Encoding::e4m3(Granularity::Tensor, ScaleRule::Bf16Up, Rounding::Exact),
        scales: None,
    };
    // 32 vision blocks of qkv, proj, gate, up, down; two of the merger; 36 language blocks of q, k, v, o, gate, up, down.
    let (vision, rest) = weights.split_at(32 * 5);
    let (merger, language) = rest.split_at(2);
    let vision =
        vision.chunks(5).flat_map(|b| [group(&b[..1]), group(&b[1..2]), group(&b[2..4]), group(&b[4..])]);
    let language =
        language.chunks(7).flat_map(|b| [group(&b[..3]), group(&b[3..4]), group(&b[4..6]), group(&b[6..])]);
    vision.chain(merger.iter().map(|w| group(std::slice::from_ref(w)))).chain(language).collect()
}

pub fn all(gpu: &Gpu, torch: Option<&Path>) -> Result<()> {
    let torch: serde_json::Value = match torch {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
            serde_json::from_str(&text).map_err(|error| Error::format(path, error.to_string()))?
        }
        None => serde_json::Value::Null,
    };
    let theirs = |key: &str| torch[key].as_f64().unwrap_or(f64::NAN);
    let copy = theirs("copy_tb_per_s");
    row("measure", "PyTorch", "qlua", "ratio", "goal");
    row("-", "-", "-", "-", "-");
    let mut lane = gpu.lane()?;
    lane.submit(large(), CODES)?;
    let ms = f64::from(median(&mut lane)?);
    drop(lane);
    let rate = 2.5 * 2.0 * (1u64 << 31) as f64 / ms / 1e9;
    beside("4.29 GB, amax and codes: torch.compile", theirs("compile_ms"), ms, ">= 1.0");
    beside("the same: eager, F32 quotients (the same codes)", theirs("eager_f32_ms"), ms, ">= 5");
    beside("the same: eager, BF16 quotients (other codes)", theirs("eager_ms"), ms, "");
    let share = format!("{:.1} %", 100.0 * rate / copy);
    row(
        "the same: bytes a second, of a copy",
        &format!("{copy:.2} TB/s"),
        &format!("{rate:.2} TB/s"),
        &share,
        ">= 92 %",
    );

    let weights = linears();
    let total: usize = weights.iter().map(|weight| weight.bytes().len()).sum();
    let mut lane = gpu.lane()?;
    let mut time = |groups: Vec<WeightGroup>, wanted| -> Result<f64> {
        lane.submit(groups, wanted)?;
        Ok(f64::from(median(&mut lane)?))
    };
    let ms = time(alone(&weights, Granularity::Tensor), CODES)?;
    beside("414 linears, 6.88 GB, amax and codes: eager", theirs("eager_414_ms"), ms, "<= 3.6 ms");
    for (floor, reads) in [("two reads of DRAM at the speed of a copy", 2.5), ("one read", 1.5)] {
        beside(&format!("the same: {floor}"), reads * total as f64 / copy / 1e9, ms, "");
    }
    for (name, groups) in [
        ("the same, fused groups", fused(&weights)),
        ("the same, per channel", alone(&weights, Granularity::Channel)),
        ("the same, blocks of 128x128", alone(&weights, Granularity::Block)),
    ] {
        row(name, "", &format!("{:.3} ms", time(groups, CODES)?), "", "");
    }
    let mut sum = 0.0;
    for granularity in GRANULARITIES {
        let ms = time(alone(&weights, granularity), ERROR)?;
        row(&format!("414 linears, amax and error, {granularity}"), "", &format!("{ms:.3} ms"), "", "");
        sum += ms;
    }
    beside("414 linears, errors of three formats: eager, one", theirs("error_414_ms"), sum, "<= 12 ms");
    Ok(())
}

/// A row that sets the time of qlua beside that of PyTorch, both in ms.
fn beside(measure: &str, theirs: f64, ours: f64, goal: &str) {
    let ratio = format!("{:.2} x as fast", theirs / ours);
    row(measure, &format!("{theirs:.2} ms"), &format!("{ours:.3} ms"), &ratio, goal);
}

/// A row of a Markdown table; `-` makes the rule below the head.
fn row(measure: &str, theirs: &str, ours: &str, ratio: &str, goal: &str) {
    let cells = [(measure, 50), (theirs, 10), (ours, 10), (ratio, 14), (goal, 10)];
    let cell = |(text, width): (&str, usize)| match text {
        "-" => "-".repeat(width),
        _ => format!("{text:<width$}"),
    };
    println!("| {} |", cells.map(cell).join(" | "));
}

/// Times of the linears and of the large tensor at many limits of the schedule.
pub fn sweep(gpu: &Gpu) -> Result<()> {
    let mut lane = gpu.lane()?;
    let weights = linears();
    let cases = [
        ("414", alone(&weights, Granularity::Tensor), CODES),
        ("error", alone(&weights, Granularity::Tensor), ERROR),
        ("large", large(), CODES),
    ];
    for (name, groups, wanted) in cases {
        lane.submit(groups, wanted)?;
        let mut results = vec![];
        let mut run = |tuning: Tuning| -> Result<()> {
            lane.reschedule(tuning)?;
            lane.time_kernels(1)?;
            let mut times = lane.time_kernels(5)?;
            times.sort_by(f32::total_cmp);
            results.push((times[2], tuning));
            Ok(())
        };
        for wave in [16, 24, 32, 40, 48, 64] {
            for kept in 0..=4 {
                run(Tuning { wave_bytes: wave << 20, kept })?;
            }
        }
        results.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (ms, tuning) in &results[..results.len().min(12)] {
            println!("{name}: {ms:.3} ms: {}", text(tuning));
        }
    }
    Ok(())
}

/// A few launches, to look at with a profiler.
pub fn profile(gpu: &Gpu) -> Result<()> {
    let (mut lane, weights) = (gpu.lane()?, linears());
    lane.submit(alone(&weights, Granularity::Tensor), CODES)?;
    for granularity in GRANULARITIES {
        lane.submit(alone(&weights, granularity), ERROR)?;
    }
    lane.wait().map(|_| ())
}

fn text(tuning: &Tuning) -> String {
    format!("waves of {} MiB, {} halves kept", tuning.wave_bytes >> 20, tuning.kept)
}
