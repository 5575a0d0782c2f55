//! Passes whose groups are quantised by a stand-in for a device, against passes of the CPU alone.

use std::process::Command;

use super::super::content::{Member, OutputTensor, ScaleGroup};
use super::*;
use crate::device::accelerator::stand_in::StandIn;
use crate::format::QuantisationError;
use crate::format::{Encoding, Granularity, Rounding, ScaleRule, ScaleShape};
use crate::model::Model;
use crate::tensor::{Dtype, Tensor, TensorSpec};
use crate::write::content::Content;

/// Everything may be made ahead.
const ROOMY: DeviceLimits = DeviceLimits { window: 1 << 30, largest: 1 << 30 };

/// A file name, its tensors.
type File = (&'static str, Vec<OutputTensor>);

fn weight(dtype: Dtype, rows: usize, columns: usize, seed: u32) -> Tensor {
    let value = |i: u32| {
        let hash = (i ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x85eb_ca6b);
        (hash ^ (hash >> 13)) as i32 as f32 * 1e-11
    };
    let values = (0..(rows * columns) as u32).map(value);
    let bytes = match dtype {
        Dtype::BF16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
        Dtype::F16 => values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    };
    Tensor::owned(dtype, vec![rows, columns], bytes)
}

/// Codes and scales of every weight of a group.
fn quantised(weights: Vec<(String, Tensor)>, granularity: Granularity) -> Vec<OutputTensor> {
    let (rule, rounding) = match granularity {
        Granularity::Tensor => (ScaleRule::F32, Rounding::ModelOpt),
        _ => (ScaleRule::Bf16Up, Rounding::Exact),
    };
    let group = Arc::new(ScaleGroup { weights, encoding: Encoding::e4m3(granularity, rule, rounding) });
    let outputs = group.weights.iter().enumerate().flat_map(|(index, (name, weight))| {
        let shape = ScaleShape::WithOnes.of(granularity, weight.shape()).unwrap();
        let member = Member { group: group.clone(), index };
        let codes = TensorSpec::new(name.clone(), Dtype::F8E4M3, weight.shape());
        let scale = TensorSpec::new(format!("{name}_scale"), Dtype::F32, shape);
        [
            OutputTensor { spec: codes, content: Content::Codes(member.clone()) },
            OutputTensor { spec: scale, content: Content::WeightScale(member) },
        ]
    });
    outputs.collect()
}

/// Four files of weights of every dtype: groups of three (with one scale) that lie in two files, groups of one, copies.
fn files(granularity: Granularity) -> Vec<File> {
    let mut files: Vec<File> =
        ["a", "b", "c", "d"].map(|name| (name, Vec::<OutputTensor>::new())).into_iter().collect();
    for layer in 0..6u32 {
        let dtype = [Dtype::BF16, Dtype::F16, Dtype::F32][layer as usize % 3];
        let new = |leaf: &str, rows, seed| {
            (format!("layers.{layer}.{leaf}.weight"), weight(dtype, rows, 999, 10 * layer + seed))
        };
        let fused = vec![new("q", 700, 0), new("k", 200, 1), new("v", 300, 2)];
        let outputs = match granularity {
            Granularity::Tensor => quantised(fused, granularity),
            _ => fused.into_iter().flat_map(|weight| quantised(vec![weight], granularity)).collect(),
        };
        // q and its scale in one file, k and v in the next.
        let (here, next) = (layer as usize % 4, (layer as usize + 1) % 4);
        let (first, others) = outputs.split_at(2);
        files[here].1.extend_from_slice(first);
        files[next].1.extend_from_slice(others);
        files[here].1.extend(quantised(vec![new("o", 1300, 3)], granularity));
        let (name, norm) = new("norm", 3, 4);
        let spec = TensorSpec::new(name, dtype, norm.shape());
        files[next].1.push(OutputTensor { spec, content: Content::Bytes(norm) });
    }
    files
}

/// What a pass left.
#[derive(Default)]
struct Left {
    files: Vec<(String, Vec<u8>, String)>,
    errors: WeightErrors,
    notes: Vec<String>,
}

struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn begin(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn note(&self, sentence: &str) {
        self.0.lock().unwrap().push(sentence.into());
    }
    fn end(&self) {}
}

fn run_on(device: Option<&StandIn>, limits: DeviceLimits, threads: usize, files: &[File]) -> Result<Left> {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let targets: Vec<OutputFile> =
        files.iter().map(|(name, tensors)| OutputFile::new(&path(name), tensors).unwrap()).collect();
    let (left, notes) = (Mutex::new(Left::default()), Notes(Mutex::default()));
    let finished = |index: usize, hash: &str, errors: WeightErrors| {
        let mut left = left.lock().unwrap();
        let name = files[index].0;
        left.files.push((name.into(), std::fs::read(path(name)).unwrap(), hash.into()));
        left.errors.extend(errors);
        Ok(())
    };
    let options = PassOptions {
        threads,
        progress: &notes,
        sources: None,
        errors: true,
        accelerator: device.map(|device| device as &dyn Accelerator),
        made: &|_, _| Ok(()),
        finished: &finished,
    };
    run_within(limits, &targets, &options)?;
    let mut left = left.into_inner().unwrap();
    left.files.sort();
    left.notes = notes.0.into_inner().unwrap();
    Ok(left)
}

/// The error of a pass that fails, without printing what it left.
fn error_of(device: Option<&StandIn>, limits: DeviceLimits, threads: usize, files: &[File]) -> Error {
    run_on(device, limits, threads, files).err().expect("the pass fails")
}

fn on_cpu(files: &[File]) -> Left {
    run_on(None, ROOMY, 2, files).unwrap()
}

fn require_same(found: &Left, expected: &Left, what: &str) {
    for (found, expected) in found.files.iter().zip(&expected.files) {
        assert!(found == expected, "{what}: {} differs", expected.0);
        assert_eq!(blake3::hash(&found.1).to_hex().as_str(), found.2, "{what}: {}", found.0);
    }
    assert_eq!(found.files.len(), expected.files.len(), "{what}");
    assert_eq!(found.errors.len(), expected.errors.len(), "{what}");
    let close = |one: f64, two: f64| (one - two).abs() <= 1e-6 * two.abs();
    for ((name, found), (expected_name, expected)) in found.errors.iter().zip(&expected.errors) {
        assert_eq!(name, expected_name, "{what}");
        assert!(close(found.sum_squared_error, expected.sum_squared_error), "{what}: {name}");
        assert!(close(found.sum_squares, expected.sum_squares), "{what}: {name}");
        assert!(close(found.max_error, expected.max_error), "{what}: {name}");
        let counts = |e: &QuantisationError| (e.elements, e.saturated, e.zeroed);
        assert_eq!(counts(found), counts(expected), "{what}: {name}");
    }
}

fn source_bytes(files: &[File]) -> usize {
    let weights = files.iter().flat_map(|(_, tensors)| tensors).map(|tensor| match &tensor.content {
        Content::Codes(member) => member.group.weights[member.index].1.bytes().len(),
        _ => 0,
    });
    weights.sum()
}

#[test]
fn a_device_changes_no_byte_with_any_scales_threads_and_window() {
    for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Block] {
        let files = files(granularity);
        let expected = on_cpu(&files);
        assert!(expected.errors.len() == 24 && expected.files.len() == 4);
        for threads in [1, 2, 5] {
            for window in [ROOMY.window, 3_000_000, 700_000, 0] {
                let device = StandIn { devices: 1 + threads % 2, ..StandIn::new() };
                let what = format!("{granularity} scales, {threads} threads, a window of {window} bytes");
                let left = run_on(Some(&device), DeviceLimits { window, ..ROOMY }, threads, &files).unwrap();
                require_same(&left, &expected, &what);
                assert!(left.notes.is_empty(), "{what}");
                let bytes: usize = device.bytes().iter().sum();
                assert!(bytes <= source_bytes(&files), "{what}: no group twice");
                if window == ROOMY.window {
                    assert_eq!(bytes, source_bytes(&files), "{what}: every group");
                }
            }
        }
    }
}

#[test]
fn a_group_that_is_too_large_is_the_cpus() {
    let files = files(Granularity::Tensor);
    let largest = 1300 * 999 * 2;
    let device = StandIn::new();
    let left = run_on(Some(&device), DeviceLimits { largest, ..ROOMY }, 2, &files).unwrap();
    require_same(&left, &on_cpu(&files), "too large");
    let bytes: usize = device.bytes().iter().sum();
    let small = 4 * (1200 + 1300) * 999 * 2;
    assert_eq!(bytes, small, "those of BF16 and F16 only");
}

#[test]
fn a_group_of_which_no_codes_are_needed_is_the_cpus() {
    let mut files = files(Granularity::Tensor);
    for (_, tensors) in &mut files {
        tensors.retain(|t| matches!(t.content, Content::WeightScale(_)) || t.spec.name.contains("k.weight"));
    }
    let device = StandIn::new();
    let left = run_on(Some(&device), DeviceLimits { window: 0, ..ROOMY }, 2, &files).unwrap();
    require_same(&left, &on_cpu(&files), "scales alone");
    let layer = |dtype: Dtype| 1200 * 999 * dtype.size();
    let fused = 2 * (layer(Dtype::BF16) + layer(Dtype::F16) + layer(Dtype::F32));
    assert!(device.bytes().iter().sum::<usize>() <= fused, "o has no codes here");
}

#[test]
fn little_memory_changes_no_byte_and_too_little_leaves_the_rest_to_the_cpu() {
    let files = files(Granularity::Tensor);
    let expected = on_cpu(&files);
    for (memory, notes) in [(30_000_000, 0), (6_000_000, 0), (3_000_000, 1), (10, 1)] {
        for (threads, window) in [(1, ROOMY.window), (3, ROOMY.window), (3, 700_000)] {
            let device = StandIn { memory, required: false, ..StandIn::new() };
            let what = format!("{memory} bytes of memory, {threads} threads, a window of {window} bytes");
            let left = run_on(Some(&device), DeviceLimits { window, ..ROOMY }, threads, &files).unwrap();
            require_same(&left, &expected, &what);
            if window == ROOMY.window {
                assert_eq!(left.notes.len(), notes, "{what}: {:?}", left.notes);
            }
            for note in &left.notes {
                assert!(note.starts_with("the rest is quantised on the CPU: "), "{note}");
                assert!(note.ends_with("bytes of memory could not be allocated"), "{note}");
            }
        }
    }
    let device = StandIn { memory: 3_000_000, required: true, ..StandIn::new() };
    let error = error_of(Some(&device), ROOMY, 2, &files);
    assert_eq!((error.kind(), error.to_string().ends_with("could not be allocated")), ("device", true));
}

#[test]
fn weights_that_are_not_finite_give_the_error_of_the_cpu() {
    for granularity in [Granularity::Tensor, Granularity::Channel, Granularity::Block] {
        for (value, names) in [(f32::NAN, vec!["k"]), (f32::INFINITY, vec!["q", "o"]), (f32::NAN, vec!["v"])]
        {
            let mut files = files(granularity);
            spoil(&mut files, value, &names);
            let expected = error_of(None, ROOMY, 1, &files);
            assert_eq!(expected.kind(), "tensor");
            for (threads, window) in [(1, ROOMY.window), (4, ROOMY.window), (2, 0), (4, 700_000)] {
                let limits = DeviceLimits { window, ..ROOMY };
                let error = error_of(Some(&StandIn::new()), limits, threads, &files);
                assert_eq!(error.to_string(), expected.to_string(), "{granularity}, {threads} threads");
                assert_eq!(error.hint(), expected.hint());
            }
        }
    }
}

/// Puts `value` near the end of these weights of layers 2 and 3.
fn spoil(files: &mut [File], value: f32, names: &[&str]) {
    let spoilt = |name: &str| {
        names.iter().any(|leaf| ["2", "3"].iter().any(|l| name == format!("layers.{l}.{leaf}.weight")))
    };
    let mut groups: Vec<(*const ScaleGroup, Arc<ScaleGroup>)> = vec![];
    for tensor in files.iter_mut().flat_map(|(_, tensors)| tensors) {
        let (Content::Codes(member) | Content::WeightScale(member)) = &mut tensor.content else { continue };
        let known = groups.iter().find(|(address, _)| *address == Arc::as_ptr(&member.group));
        if let Some((_, group)) = known {
            member.group = group.clone();
            continue;
        }
        let weights = member.group.weights.iter().map(|(name, weight)| {
            let mut bytes = weight.bytes().to_vec();
            if spoilt(name) {
                let at = bytes.len() - 5 * weight.dtype().size();
                let value = match weight.dtype() {
                    Dtype::BF16 => half::bf16::from_f32(value).to_le_bytes().to_vec(),
                    Dtype::F16 => half::f16::from_f32(value).to_le_bytes().to_vec(),
                    _ => value.to_le_bytes().to_vec(),
                };
                bytes[at..at + value.len()].copy_from_slice(&value);
            }
            (name.clone(), Tensor::owned(weight.dtype(), weight.shape().to_vec(), bytes))
        });
        let group = ScaleGroup { weights: weights.collect(), encoding: member.group.encoding };
        groups.push((Arc::as_ptr(&member.group), Arc::new(group)));
        member.group = groups[groups.len() - 1].1.clone();
    }
}

#[test]
fn a_batch_that_fails_ends_the_pass_with_its_error() {
    let files = files(Granularity::Tensor);
    let expected = on_cpu(&files);
    for failing in [0, 1, 2] {
        for (threads, window) in [(1, 3_000_000), (4, 3_000_000), (4, 1)] {
            let device = StandIn { failing_batch: Some(failing), required: false, ..StandIn::new() };
            match run_on(Some(&device), DeviceLimits { window, ..ROOMY }, threads, &files) {
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.to_string().as_str()),
                        ("device", "the device is on fire")
                    );
                }
                Ok(left) => {
                    assert!(failing > 0 && device.bytes().len() <= failing, "there was no such batch");
                    require_same(&left, &expected, "a small window");
                }
            }
        }
    }
}

#[test]
fn sources_are_hashed_where_the_device_reads_them() {
    let place = tempfile::tempdir().unwrap();
    let demo = crate::demo::build(place.path()).unwrap();
    let checkpoint = Model::open(&demo.model).unwrap();
    let linears = checkpoint.modules().linears().filter_map(|module| {
        let name = format!("{module}.weight");
        Some((name.clone(), checkpoint.tensor(&name)?.clone()))
    });
    let outputs: Vec<OutputTensor> =
        linears.flat_map(|weight| quantised(vec![weight], Granularity::Channel)).collect();
    let covered = |device: Option<&StandIn>, file: &str| {
        let sources = SourceHashes::new(&checkpoint);
        let options = PassOptions {
            threads: 2,
            progress: &crate::write::Silent,
            sources: Some(&sources),
            errors: false,
            accelerator: device.map(|device| device as &dyn Accelerator),
            made: &|_, _| Ok(()),
            finished: &|_, _, errors| {
                assert!(errors.is_empty(), "nobody asked for them");
                Ok(())
            },
        };
        run(&[OutputFile::new(&place.path().join(file), &outputs).unwrap()], &options).unwrap();
        let covered = sources.covered();
        for (shard, (_, path, _)) in sources.finish().unwrap().iter().zip(checkpoint.shards()) {
            let expected = blake3::hash(&std::fs::read(path).unwrap());
            assert_eq!(shard.blake3, expected.to_hex().to_string());
        }
        covered
    };
    let device = StandIn::new();
    let on_device = covered(Some(&device), "device");
    assert!(!device.bytes().is_empty());
    assert_eq!(on_device, covered(None, "cpu"));
    assert!(on_device > 0);
}

#[test]
fn an_interruption_ends_a_pass_with_a_device() {
    let (_, module) = module_path!().split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::interrupted"), "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn interrupted() {
    struct Request;
    impl Progress for Request {
        fn begin(&self, _: &str, _: u64) {}
        fn advance(&self, _: u64) {
            interrupt::request();
        }
        fn end(&self) {}
    }
    let place = tempfile::tempdir().unwrap();
    let files = files(Granularity::Tensor);
    let target = |(name, tensors): &File| OutputFile::new(&place.path().join(name), tensors).unwrap();
    let targets: Vec<OutputFile> = files.iter().map(target).collect();
    let device = StandIn::new();
    let options = PassOptions {
        threads: 3,
        progress: &Request,
        sources: None,
        errors: true,
        accelerator: Some(&device),
        made: &|_, _| Ok(()),
        finished: &|_, _, _| Ok(()),
    };
    let error = run_within(DeviceLimits { window: 0, ..ROOMY }, &targets, &options).unwrap_err();
    assert_eq!(error.kind(), "interrupted");
}
