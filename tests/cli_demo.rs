//! The command line as users see it, on the demo: whole outputs, exit codes, and what is left behind.

mod common;

#[path = "cli_demo/quality.rs"]
mod quality;
#[path = "cli_demo/without_model.rs"]
mod without_model;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::tree;
use snapbox::{assert_data_eq, str};

fn qlua(directory: &Path, words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qlua")).args(words).current_dir(directory).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_readmes_command_writes_ten_schemes_of_the_demo() {
    let place = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/all_layers_topx.lua");
    let output = qlua(place.path(), &[script.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_data_eq!(
        stdout(&output),
        str![[r#"
| scheme                                   | groups |  of | FP8 layers | kept BF16 | FP8 weights | effective bits |   score |   size |
| ---------------------------------------- | -----: | --: | ---------: | --------: | ----------: | -------------: | ------: | -----: |
| fp8_autoquant_all_layers_top10_coco2017  |      4 |  31 |          4 |         0 |      65.5 k |         15.697 | 2.67e-4 | 3.4 MB |
| fp8_autoquant_all_layers_top20_coco2017  |      7 |  31 |          8 |         0 |     245.8 k |         14.864 | 6.52e-4 | 3.2 MB |
| fp8_autoquant_all_layers_top30_coco2017  |     10 |  31 |         14 |         0 |     413.7 k |         14.088 | 1.25e-3 | 3.1 MB |
| fp8_autoquant_all_layers_top40_coco2017  |     13 |  31 |         22 |         0 |     569.3 k |         13.369 | 2.36e-3 | 2.9 MB |
| fp8_autoquant_all_layers_top50_coco2017  |     16 |  31 |         28 |         0 |     757.8 k |         12.498 | 4.56e-3 | 2.7 MB |
| fp8_autoquant_all_layers_top60_coco2017  |     19 |  31 |         32 |         0 |       1.1 M |         10.896 |  0.0122 | 2.4 MB |
| fp8_autoquant_all_layers_top70_coco2017  |     22 |  31 |         35 |         0 |       1.2 M |         10.463 |  0.0277 | 2.3 MB |
| fp8_autoquant_all_layers_top80_coco2017  |     25 |  31 |         39 |         0 |       1.3 M |          9.997 |  0.0488 | 2.2 MB |
| fp8_autoquant_all_layers_top90_coco2017  |     28 |  31 |         43 |         0 |       1.4 M |          9.434 |  0.0742 | 2.1 MB |
| fp8_autoquant_all_layers_top100_coco2017 |     31 |  31 |         45 |         1 |       1.5 M |          8.999 |   0.105 | 2.0 MB |

10 schemes in qlua-demo/quantized, each checked against what loaders accept.
4.9 MB on the disk, 26.3 MB without sharing:
4.9 MB written, shared by hardlink.

"#]]
    );
    assert_data_eq!(
        stderr(&output),
        str![[r#"
no --model: built the demo in ./qlua-demo/, a small seeded Qwen2.5-VL
activations are static: every selected layer has an input scale in `qlua-demo/manifest.json`
the dialect is universal: static activations, which every loader reads
weights are quantised on [..]
10 schemes: 4.9 MB in [..] s
the report is qlua-demo/quantized/report.html

"#]]
    );
    let scheme = place.path().join("qlua-demo/quantized/fp8_autoquant_all_layers_top10_coco2017");
    let (weights, files): (Vec<String>, Vec<String>) =
        tree(&scheme).into_iter().map(|(name, _)| name).partition(|name| name.ends_with(".safetensors"));
    let numbered = |number: usize| format!("model-{number:05}-of-{:05}.safetensors", weights.len());
    assert_eq!(weights, (1..=weights.len()).map(numbered).collect::<Vec<_>>());
    assert_eq!(
        files,
        [
            "README.md",
            "chat_template.json",
            "config.json",
            "generation_config.json",
            "hf_quant_config.json",
            "layer-sensitivity/fp8_autoquant_all_layers_top10_coco2017_coverage_from_baseline.json",
            "layer-sensitivity/manifest.json",
            "layer-sensitivity/per-layer-sensitivity.json",
            "layer-sensitivity/per-layer-sensitivity.md",
            "layer-sensitivity/provenance.json",
            "layer-sensitivity/weight-error.json",
            "model.safetensors.index.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    let manifest = std::fs::read(place.path().join("qlua-demo/manifest.json")).unwrap();
    assert_eq!(std::fs::read(scheme.join("layer-sensitivity/manifest.json")).unwrap(), manifest);
}

#[test]
fn weights_are_quantised_where_the_user_says() {
    let place = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| qlua(place.path(), &[&["lm_only_topx", "--top", "50"], words].concat());
    let planned = run(&["--dry-run", "--device", "cuda:9999"]);
    assert_eq!(planned.status.code(), Some(0), "a plan needs no device");
    let said = stderr(&planned);
    assert!(said.contains("a run would fail on this machine: "), "{said}");
    let before = tree(place.path());
    let unknown = run(&["--device", "gpu"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert_eq!(
        stderr(&unknown),
        "qlua: error: the value of `--device` cannot be used: there is no device `gpu`\n  \
         hint: did you mean `cuda`? The words are auto, cpu, cuda, cuda:N\n"
    );
    let missing = run(&["--device", "cuda:9999"]);
    assert_eq!(missing.status.code(), Some(1));
    let text = stderr(&missing);
    assert!(text.contains("NVIDIA driver") || text.contains("there is no GPU 9999"), "{text}");
    assert!(text.contains("hint: "), "{text}");
    assert_eq!(tree(place.path()), before, "nothing is written");

    let cpu = run(&["--device", "cpu"]);
    assert_eq!(cpu.status.code(), Some(0), "{}", stderr(&cpu));
    assert!(!stderr(&cpu).contains("quantised on"), "who names the CPU need not be told: {}", stderr(&cpu));
    let weights = |place: &Path| -> Vec<(String, Vec<u8>)> {
        tree(&place.join("qlua-demo"))
            .into_iter()
            .filter(|(name, _)| name.ends_with(".safetensors"))
            .collect()
    };
    let on_cpu = weights(place.path());
    let auto = run(&[]);
    assert_eq!(auto.status.code(), Some(0), "{}", stderr(&auto));
    assert_eq!(stderr(&auto).matches("weights are quantised on ").count(), 1, "{}", stderr(&auto));
    assert!(weights(place.path()) == on_cpu, "the same bytes on every device");
}

#[test]
fn a_value_that_makes_no_sense_is_a_usage_error_before_anything_is_built() {
    let place = tempfile::tempdir().unwrap();
    for (words, expected) in [
        (
            ["--top", "101"],
            "the value of `--top` cannot be used: `101` is no usable percentage: it must not exceed 100",
        ),
        (
            ["--top", "0"],
            "the value of `--top` cannot be used: `0` is no usable percentage: it must be above 0",
        ),
        (
            ["--top", "33.3333"],
            "the value of `--top` cannot be used: `33.3333` is no usable percentage: it has more than three decimals",
        ),
        (["--threads", "0"], "the value of `--threads` must be a number of threads from 1 to 1024, not `0`"),
        (
            ["--threads", "-1"],
            "the value of `--threads` must be a number of threads from 1 to 1024, not `-1`",
        ),
        (
            ["--threads", "2000"],
            "the value of `--threads` must be a number of threads from 1 to 1024, not `2000`",
        ),
        (["--max-shard-size", "10"], "the value of `--max-shard-size` must be at least 100kB, not `10`"),
        (
            ["--max-shard-size", "-1GB"],
            "the value of `--max-shard-size` must be a size such as 6GiB, 5.5GB or 800MB, not `-1GB`",
        ),
        (
            ["--top", "-5,10"],
            "the value of `--top` cannot be used: `-5` is no usable percentage: it must be above 0",
        ),
        (["--link", "-x"], "the value of `--link` must be one of auto, reflink, hardlink, copy, not `-x`"),
        (["--out", "-x"], "the value of `--out` begins with a dash: `-x`"),
        (["--out", "--dri-run"], "there is no option `--dri-run`"),
        (["--device", "cuda:x"], "the value of `--device` cannot be used: there is no device `cuda:x`"),
        (["--rounding", "exat"], "the value of `--rounding` must be one of exact, modelopt, not `exat`"),
        (
            ["--suffix", "a/b"],
            "the value of `--suffix` must be a part of a directory's name, without `/`, not `a/b`",
        ),
        (
            ["--baseline", "nowhere"],
            "the value of `--baseline` must be a directory that is there, and there is no `nowhere`",
        ),
        (
            ["--baseline", "/dev/null"],
            "the value of `--baseline` must be a directory that is there, and `/dev/null` is none",
        ),
        (
            ["--amax", "nowhere"],
            "the value of `--amax` must be a file that is there, and there is no `nowhere`",
        ),
        (["--state", "/"], "the value of `--state` must be a file that is there, and `/` is none"),
    ] {
        let output = qlua(place.path(), &[&["all_layers_topx"][..], &words].concat());
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {text}");
        assert!(text.starts_with(&format!("qlua: error: {expected}\n  hint: ")), "{text}");
        assert_eq!(names(place.path()), Vec::<String>::new(), "{words:?}");
    }
    for (words, expected) in [
        (
            ["--dialect", "universal", "--activations", "dynamic"],
            "the dialect universal is always static, and dynamic activations were chosen",
        ),
        (
            ["--dialect", "fp8-block", "--activations", "static"],
            "the dialect fp8-block is always dynamic, and static activations were chosen",
        ),
        (
            ["--calibration-samples", "--top", "50", "--dry-run"],
            "--calibration-samples says what --evaluate may measure on, which is not given",
        ),
    ] {
        let output = qlua(place.path(), &[&["all_layers_topx"][..], &words].concat());
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert!(
            stderr(&output).starts_with(&format!("qlua: error: {expected}\n  hint: ")),
            "{}",
            stderr(&output)
        );
        assert_eq!(names(place.path()), Vec::<String>::new(), "{words:?}");
    }
    let effective = qlua(place.path(), &["effective_bits", "--bits", "11,-3"]);
    assert_eq!(effective.status.code(), Some(2), "{}", stderr(&effective));
    assert_eq!(names(place.path()), Vec::<String>::new());
    let code = "local demo = qlua.checkpoint.demo('qlua-demo') local options = { model = demo.model, manifest = demo.manifest, out = 'out' }";
    for (option, expected) in [
        (
            "threads = 0",
            "`threads` of qlua.export.family must be a number of threads from 1 to 1024, not 0\n  hint: leave it out for all cores",
        ),
        (
            "max_shard_size = 10",
            "`max_shard_size` of qlua.export.family is 10 bytes, which no shard can keep to\n  hint: the least is 100000",
        ),
        ("device = 'gpu'", "there is no device `gpu`\n  hint: did you mean `cuda`?"),
    ] {
        let output =
            qlua(place.path(), &["-e", &format!("{code} options.{option} qlua.export.family(options)")]);
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(stderr(&output).starts_with(&format!("qlua: error: {expected}")), "{}", stderr(&output));
    }
}

#[test]
fn nothing_and_one_are_counted_as_people_do() {
    let place = tempfile::tempdir().unwrap();
    let none = qlua(place.path(), &["effective_bits", "--bits", "16"]);
    assert_eq!((none.status.code(), stdout(&none).as_str()), (Some(0), "No scheme is left to write.\n"));
    let one = stdout(&qlua(place.path(), &["all_layers_topx", "--top", "50"]));
    assert!(
        one.contains("\n1 scheme in qlua-demo/quantized, checked against what loaders accept.\n"),
        "{one}"
    );
    let below = stderr(&qlua(place.path(), &["effective_bits", "--bits", "5.123456789"]));
    assert!(below.contains("5.123 effective bits are below the floor of 8.999 effective bits"), "{below}");
}

#[test]
fn lm_only_leaves_everything_but_the_language_model_in_bf16() {
    let place = tempfile::tempdir().unwrap();
    let output = qlua(place.path(), &["-q", "lm_only_topx", "--top", "50,100", "--suffix", "x"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        names(&place.path().join("qlua-demo/quantized")),
        ["fp8_autoquant_top100_x", "fp8_autoquant_top50_x", "report.html", "report.md"]
    );
    let full =
        qlua::checkpoint::Checkpoint::open(place.path().join("qlua-demo/quantized/fp8_autoquant_top100_x"))
            .unwrap();
    for (name, tensor) in full.tensors().filter(|(name, _)| name.ends_with("proj.weight")) {
        let fp8 = tensor.dtype() == qlua::tensor::Dtype::F8E4M3;
        assert_eq!(fp8, name.starts_with("model.layers."), "{name}");
    }
}

#[test]
fn the_baseline_is_one_scheme_of_full_coverage() {
    let place = tempfile::tempdir().unwrap();
    let output = qlua(place.path(), &["-q", "all_layers_baseline"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        names(&place.path().join("qlua-demo/quantized")),
        ["fp8_autoquant_all_layers_fp8_coco2017", "report.html", "report.md"]
    );
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let output = qlua(place.path(), &["-q", "all_layers_topx", "--top", "12.5", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["schemes"][0]["name"], "fp8_autoquant_all_layers_top12.5_coco2017");
    assert_eq!(plan["decision"]["dialect"], "universal");
    assert_eq!(plan["written"], false);
    assert!(!place.path().join("qlua-demo/quantized").exists());
}

#[test]
fn planned_bytes_are_the_bytes_of_the_index() {
    let place = tempfile::tempdir().unwrap();
    for dialect in qlua::dialect::DialectId::WORDS.iter().copied() {
        let words = ["-q", "all_layers_topx", "--top", "50", "--json", "--dialect", dialect];
        let plan: serde_json::Value = serde_json::from_slice(&qlua(place.path(), &words).stdout).unwrap();
        let directory = place.path().join(plan["schemes"][0]["directory"].as_str().unwrap());
        let index = std::fs::read(directory.join("model.safetensors.index.json")).unwrap();
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        assert_eq!(plan["schemes"][0]["bytes"], index["metadata"]["total_size"], "{dialect}");
    }
}

#[test]
fn verify_ends_with_3_when_something_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(qlua(place.path(), &["-q", "all_layers_topx", "--top", "10"]).status.code(), Some(0));
    let scheme = "qlua-demo/quantized/fp8_autoquant_all_layers_top10_coco2017";
    let good = qlua(place.path(), &["verify", scheme, "qlua-demo/model"]);
    assert_eq!(
        (good.status.code(), stdout(&good)),
        (Some(0), format!("{scheme}: ok\nqlua-demo/model: ok\n"))
    );
    std::fs::remove_file(place.path().join(scheme).join("hf_quant_config.json")).unwrap();
    std::fs::copy(
        place.path().join("qlua-demo/model/config.json"),
        place.path().join(scheme).join("config.json"),
    )
    .unwrap();
    let bad = qlua(place.path(), &["verify", scheme]);
    assert_eq!(bad.status.code(), Some(3));
    assert!(stdout(&bad).contains("unconfigured: 4 layers are FP8"), "{}", stdout(&bad));
}

#[test]
fn mistakes_are_answered_in_one_sentence_and_leave_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    assert_eq!(
        qlua(place.path(), &["-q", "all_layers_topx", "--top", "10", "--out", "out"]).status.code(),
        Some(0)
    );
    let model = ["--model", "qlua-demo/model", "--manifest", "qlua-demo/manifest.json"];
    let before = tree(&place.path().join("qlua-demo"));
    let check = |code: i32, words: &[&str], expected: &str| {
        let words: Vec<&str> = ["-q", "all_layers_topx"].iter().chain(words).copied().collect();
        let output = qlua(place.path(), &words);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first, format!("qlua: error: {expected}"));
        assert_eq!(names(place.path()), ["out", "qlua-demo"]);
        assert_eq!(
            names(&place.path().join("out")),
            ["fp8_autoquant_all_layers_top10_coco2017", "report.html", "report.md"]
        );
        assert!(tree(&place.path().join("qlua-demo")) == before, "the source is untouched");
    };
    let with = |more: &[&'static str]| -> Vec<&'static str> { model.iter().chain(more).copied().collect() };
    check(
        1,
        &with(&["--out", "out", "--top", "10", "--dialect", "modelopt"]),
        "`out/fp8_autoquant_all_layers_top10_coco2017` exists already and was made from other inputs",
    );
    check(
        1,
        &with(&["--out", "qlua-demo/model"]),
        "the output `qlua-demo/model/fp8_autoquant_all_layers_top10_coco2017` lies inside the source `qlua-demo/model`, which is never written to",
    );
    check(
        2,
        &with(&["--dialect", "universal", "--activations", "dynamic"]),
        "the dialect universal is always static, and dynamic activations were chosen",
    );
    check(
        2,
        &with(&["--amax", "nowhere.json"]),
        "the value of `--amax` must be a file that is there, and there is no `nowhere.json`",
    );
    check(
        1,
        &with(&["--include", "*visaul*"]),
        "the glob `*visaul*` matches no group or module of `qlua-demo/manifest.json`",
    );
    check(2, &with(&["--dialct", "auto"]), "there is no option `--dialct`");
    check(2, &["--model", "qlua-demo/model"], "--model needs the --manifest that belongs to it");
    check(
        2,
        &["--model", "nowhere", "--manifest", "m.json"],
        "the value of `--model` must be a directory that is there, and there is no `nowhere`",
    );
}

#[test]
fn check_manifest_says_what_is_usable_from_a_run() {
    let place = tempfile::tempdir().unwrap();
    let built = qlua(place.path(), &["-q", "-e", "qlua.checkpoint.demo('demo')"]);
    assert_eq!(built.status.code(), Some(0), "{}", stderr(&built));
    let manifest = place.path().join("demo/manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let groups = document["layer_sensitivity"].as_object_mut().unwrap();
    let total = groups.len();
    // One group that no batch reached: its score is exactly 0.
    let (_, unreached) = groups.iter_mut().find(|(name, _)| name.contains("o_proj")).unwrap();
    unreached["scores"] = serde_json::json!([0.0, 0.0]);
    unreached["importance"] = serde_json::json!(0.0);
    // And one layer whose input was not calibrated.
    let amax = document["amax"].as_object_mut().unwrap();
    let lost = amax.keys().find(|name| name.contains("down_proj.input")).unwrap().clone();
    amax.remove(&lost);
    std::fs::write(&manifest, document.to_string()).unwrap();

    let output = qlua(place.path(), &["check_manifest", manifest.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let count = |what: &str| -> usize {
        let row = text.lines().find(|line| line.starts_with(&format!("| {what} "))).unwrap();
        row.split('|').nth(2).unwrap().trim().parse().unwrap()
    };
    assert_eq!(count("never scored"), 1);
    assert_eq!(count("no input scale"), 1);
    assert_eq!(count("convolution"), 1);
    assert_eq!(count("usable") + count("never scored") + count("only NONE"), total);
    assert!(text.contains(lost.strip_suffix(".input_quantizer").unwrap()), "{text}");
}

/// The schemes are there, so what goes wrong with the report is worth a warning.
#[test]
fn a_report_that_cannot_be_written_does_not_fail_a_sweep() {
    let place = tempfile::tempdir().unwrap();
    let out = place.path().join("qlua-demo/quantized");
    // The report is written beside its place first, and there is a directory.
    fs::create_dir_all(out.join(".report.html.partial")).unwrap();
    let output = qlua(place.path(), &["all_layers_topx", "--top", "50", "--out", "qlua-demo/quantized"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the schemes are written, but there is no report: cannot write"),
        "{}",
        stderr(&output)
    );
    assert!(out.join("fp8_autoquant_all_layers_top50_coco2017/config.json").exists());
}

/// Rewrites the scores of the manifest at `path`: `score` is asked by the number of each group.
fn with_scores(path: &Path, to: &Path, score: impl Fn(usize) -> f64) {
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for (number, group) in manifest["layer_sensitivity"].as_object_mut().unwrap().values_mut().enumerate() {
        for written in group["scores"].as_array_mut().unwrap() {
            *written = score(number).into();
        }
        group["importance"] = score(number).into();
    }
    fs::write(to, manifest.to_string()).unwrap();
}

/// The two scripts that compare manifests, run on `other`: what each prints, and how it ends.
fn compared_with(place: &Path, other: &str) -> [(String, Option<i32>); 2] {
    let scores = ["weight_sensitivity", "demo/model", "--compare", other, "--device", "cpu", "--overwrite"];
    let combine = [
        "combine",
        "--model",
        "demo/model",
        "--manifest",
        "demo/manifest.json",
        "--with",
        other,
        "--dry-run",
    ];
    [&scores[..], &combine].map(|words| {
        let output = qlua(place, words);
        (stdout(&output) + &stderr(&output), output.status.code())
    })
}

fn says_nan(text: &str) -> bool {
    text.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| word == "nan")
}

/// A manifest of ties has an order as good as any other: there is no correlation, and no `-nan` either.
#[test]
fn a_correlation_that_there_is_not_is_a_dash() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    with_scores(&demo.manifest, &place.path().join("ties.json"), |_| 0.5);
    let [(scored, scored_code), (combined, combined_code)] = compared_with(place.path(), "ties.json");
    assert_eq!((scored_code, combined_code), (Some(0), Some(0)), "{scored}{combined}");
    assert!(scored.contains("rank correlation with ties.json: – (Spearman) over 30 groups\n"), "{scored}");
    assert!(combined.contains("Spearman –, Kendall – over 31 groups"), "{combined}");
    assert!(!says_nan(&scored) && !says_nan(&combined), "{scored}{combined}");
}

/// Of one group that both scored there is nothing to compare, which is said instead of a number.
#[test]
fn too_few_scores_for_a_correlation_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(&place.path().join("demo")).unwrap();
    let first = |number: usize| if number == 0 { 0.5 } else { 0.0 };
    with_scores(&demo.manifest, &place.path().join("one.json"), first);
    for (text, code) in compared_with(place.path(), "one.json") {
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("too few scored groups in common to be compared: "), "{text}");
        assert!(!says_nan(&text), "{text}");
    }
}
