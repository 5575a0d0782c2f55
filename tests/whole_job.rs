//! The whole job of the golden model without Python: scored, cut into ten schemes of all layers and ten of the language model,
//! measured, and asked questions. What comes out is compared with the answers of ModelOpt and Transformers.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::shared;
use serde_json::Value;

fn qlua(place: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
    command.current_dir(place).args(words).stdin(Stdio::null());
    command
}

/// Runs qlua, which must succeed.
fn run(place: &Path, words: &[&str]) -> String {
    let Output { status, stdout, stderr } = qlua(place, words).output().unwrap();
    assert!(status.success(), "{words:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&fs::read(path.as_ref()).unwrap()).unwrap()
}

/// The model and the inputs, as text for command lines.
fn golden() -> Option<[String; 2]> {
    let model = shared("golden/tiny-qwen2_5-vl")?.canonicalize().unwrap();
    let inputs = shared("golden/modelopt/inputs.safetensors")?.canonicalize().unwrap();
    Some([model, inputs].map(|path| path.display().to_string()))
}

/// The groups of a manifest, least sensitive first.
fn ranking(manifest: &Value) -> Vec<String> {
    let rows = manifest["sensitivity_ranking"].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_string()).collect()
}

/// Names of the directories in `out` that hold a checkpoint.
fn schemes(out: &Path) -> Vec<String> {
    let entries = fs::read_dir(out).unwrap().map(|entry| entry.unwrap());
    let of = |entry: fs::DirEntry| {
        entry.path().join("config.json").exists().then(|| entry.file_name().into_string().unwrap())
    };
    let mut names: Vec<String> = entries.filter_map(of).collect();
    names.sort();
    names
}

#[test]
fn scored_swept_measured_and_asked_without_python() {
    let Some([model, inputs]) = golden() else { return };
    let held = tempfile::tempdir().unwrap();
    let place = held.path();
    for (coverage, policy) in [("all-layers", "all_layers_topx"), ("lm-only", "lm_only_topx")] {
        let name = format!("fp8_autoquant_{}_fp8_quant_manifest.json", coverage.replace('-', "_"));
        let manifest = format!("{coverage}/{name}");
        let scored = [
            "-q",
            "autoquant",
            "--model",
            &model,
            "--inputs",
            &inputs,
            "--coverage",
            coverage,
            "--out",
            coverage,
        ];
        run(place, &scored);
        let swept = ["-q", policy, "--model", &model, "--manifest", &manifest, "--out", "quantized"];
        run(place, &swept);
        // The ranking is ModelOpt's own.
        let golden =
            shared(&format!("golden/modelopt/autoquant_{}.json", coverage.replace('-', "_"))).unwrap();
        assert_eq!(ranking(&json(place.join(&manifest))), ranking(&json(golden)), "{coverage}");
    }
    let out = place.join("quantized");
    let names = schemes(&out);
    assert_eq!(names.len(), 20, "{names:?}");

    let paths: Vec<String> = names.iter().map(|name| format!("quantized/{name}")).collect();
    let mut words = vec![
        "-q",
        "evaluate",
        "--model",
        &model,
        "--inputs",
        &inputs,
        "--calibration-samples",
        "--samples",
        "8",
        "--json",
    ];
    words.extend(paths.iter().map(String::as_str));
    let measured: Value = serde_json::from_str(&run(place, &words)).unwrap();
    let rows = measured["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 40);
    let kl = |scheme: &str, kind: &str| {
        let row = rows.iter().find(|row| row["scheme"] == scheme && row["kind"] == kind);
        row.unwrap_or_else(|| panic!("{scheme}, {kind}"))["kl"].as_f64().unwrap()
    };
    for policy in ["autoquant_all_layers", "autoquant"] {
        let scheme = |top: usize| format!("fp8_{policy}_top{top}_coco2017");
        for kind in ["text", "image_text"] {
            let (little, all) = (kl(&scheme(10), kind), kl(&scheme(100), kind));
            assert!(little <= all && all > 1e-6 && all < 0.01, "{policy}, {kind}: {little}, {all}");
        }
    }
    let generated = json(shared("golden/modelopt/generated.json").unwrap());
    let [image, answer] = [0, 1].map(|at| generated["vlm"][0][at].as_str().unwrap());
    let image =
        Path::new(&model).join("images").join(Path::new(image).file_name().unwrap()).display().to_string();
    let asked = |directory: &str| {
        let words =
            ["-q", "generate", directory, "--prompt", "Describe the image.", "--image", &image, "-n", "24"];
        run(place, &words).trim().to_string()
    };
    assert_eq!(asked(&model), answer.trim_end_matches("<|im_end|>").trim());
    for path in &paths {
        let said = asked(path);
        assert!(said.starts_with("There "), "{path} says {said}");
    }
}

const MANIFEST: &str = "fp8_autoquant_all_layers_fp8_quant_manifest.json";

/// What a scoring run writes.
fn written(out: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(out)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (PathBuf::from(path.file_name().unwrap()), fs::read(&path).unwrap_or_default()))
        .collect();
    files.sort();
    files
}

#[test]
fn killed_scoring_ends_in_the_same_manifest_at_any_number_of_threads() {
    let held = tempfile::tempdir().unwrap();
    let place = held.path();
    run(place, &["-q", "-e", "qlua.checkpoint.demo('qlua-demo')"]);
    let model = written(&place.join("qlua-demo/model"));
    let start = |out: &str, threads: usize| -> Child {
        let threads = threads.to_string();
        let words = [
            "-q",
            "autoquant",
            "--model",
            "qlua-demo/model",
            "--inputs",
            "qlua-demo/inputs.safetensors",
            "--out",
            out,
            "--score-steps",
            "2",
            "--no-baseline",
            "--threads",
            &threads,
        ];
        qlua(place, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(start("whole", 2).wait().unwrap().success());
    let whole = begun.elapsed();
    let want = written(&place.join("whole"));
    assert_eq!(want.len(), 4, "manifest, amax and two reports, and nothing hidden");
    let (mut kills, mut random) = (0, 0x9e37_79b9_7f4a_7c15u64);
    for round in 0.. {
        let out = format!("killed-{round}");
        // Three kills, and then a run that comes to its end, each with another number of threads.
        for kill in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut child = start(&out, [1, 2, 5][(round + kill) % 3]);
            std::thread::sleep(whole.mul_f64((random >> 33) as f64 / (1u64 << 31) as f64));
            // Some may have come to their end.
            child.kill().unwrap();
            kills += usize::from(!child.wait().unwrap().success());
            assert!(whole < Duration::from_secs(120));
        }
        // The manifest comes last. Who is killed right after it leaves what `qlua clean` removes.
        if place.join(&out).join(MANIFEST).exists() {
            run(place, &["-q", "clean", &out]);
        } else {
            assert!(start(&out, [5, 1, 2][round % 3]).wait().unwrap().success());
        }
        assert!(want == written(&place.join(&out)), "round {round} wrote something else");
        if kills >= 20 {
            break;
        }
    }
    // Killed between its files: they are there in part, and so is the record.
    let between = place.join("between");
    fs::create_dir_all(between.join(format!(".{MANIFEST}.scoring.partial"))).unwrap();
    for file in ["fp8_autoquant_all_layers_fp8_amax.json", "per-layer-sensitivity.json"] {
        fs::copy(place.join("whole").join(file), between.join(file)).unwrap();
    }
    assert!(start("between", 1).wait().unwrap().success());
    assert!(want == written(&between));
    assert!(!start("qlua-demo/model", 1).wait().unwrap().success(), "the source is never written to");
    assert_eq!(written(&place.join("qlua-demo/model")), model);
    fs::remove_file(between.join(MANIFEST)).unwrap();
    assert!(!start("between", 1).wait().unwrap().success(), "they are another run's");
}
