//! The whole job on the demo: score, sweep, measure, report.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{names, qlua, stderr, stdout};

/// What every row says, but for the key of what the scheme was made from.
const KEYS: [&str; 14] = [
    "agreement",
    "agreement_error",
    "base_perplexity",
    "bytes",
    "kind",
    "kl",
    "kl_error",
    "measured_on",
    "perplexity",
    "perplexity_error",
    "samples",
    "samples_file",
    "scheme",
    "tokens",
];

/// Runs qlua, which must succeed.
pub fn run(place: &Path, words: &[&str]) -> String {
    let output = qlua(place, words);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {}", stderr(&output));
    stdout(&output)
}

/// Runs qlua, which must refuse `words` as a mistake of the command line, and returns the first line of what it says.
fn refused(place: &Path, words: &[&str]) -> String {
    let output = qlua(place, words);
    assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
    stderr(&output).lines().find(|line| line.starts_with("qlua: error: ")).unwrap().to_string()
}

fn rows(document: &Value) -> &Vec<Value> {
    document["rows"].as_array().unwrap()
}

/// A place with the demo, and two files of captions.
pub fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    run(place.path(), &["-q", "-e", "qlua.checkpoint.demo('qlua-demo')"]);
    fs::write(place.path().join("seen.txt"), "A cat on a mat.\nTwo dogs in the sun.\n").unwrap();
    fs::write(place.path().join("unseen.txt"), "A red bus.\nThe sea at night.\n").unwrap();
    place
}

const INPUTS: &str = "qlua-demo/inputs.safetensors";

#[test]
fn the_demo_is_scored_swept_measured_and_reported() {
    let place = tempfile::tempdir().unwrap();
    let scored = run(place.path(), &["-q", "autoquant", "--out", "scored", "--no-baseline"]);
    assert!(
        scored.contains(" scored on 4 samples: scored/fp8_autoquant_all_layers_fp8_quant_manifest.json"),
        "{scored}"
    );
    let swept = run(place.path(), &["-q", "all_layers_topx", "--top", "20,60,100", "--evaluate", INPUTS]);
    assert!(
        swept.contains("| image_text |") && swept.contains("3 schemes in qlua-demo/quantized"),
        "{swept}"
    );

    let out = place.path().join("qlua-demo/quantized");
    let file: Value = serde_json::from_slice(&fs::read(out.join("quality.json")).unwrap()).unwrap();
    assert_eq!((file["base"].as_str(), rows(&file).len()), (Some("model"), 6));
    for row in rows(&file) {
        let index = out.join(row["scheme"].as_str().unwrap()).join("model.safetensors.index.json");
        let index: Value = serde_json::from_slice(&fs::read(index).unwrap()).unwrap();
        assert_eq!(row["bytes"], index["metadata"]["total_size"]);
    }
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for said in ["Quality against size", "KL against size, text", "KL against size, image + text"] {
        assert!(page.contains(said), "{said}");
    }

    // The same, measured alone: the numbers do not depend on who asks.
    let json = run(place.path(), &["-q", "evaluate", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    let mut kinds = BTreeSet::new();
    for row in rows(&json) {
        for key in KEYS {
            assert!(!row[key].is_null(), "{key} is missing: {row}");
        }
        assert!(row["kl"].as_f64().unwrap() > 0.0 && row["kl_error"].as_f64().unwrap() > 0.0, "{row}");
        let twin = rows(&file).iter().find(|r| r["scheme"] == row["scheme"] && r["kind"] == row["kind"]);
        assert_eq!(twin, Some(row));
        kinds.insert(row["kind"].as_str().unwrap());
    }
    assert_eq!(kinds, BTreeSet::from(["image_text", "text"]));

    // A rerun without measuring shows what is still true.
    run(place.path(), &["-q", "all_layers_topx", "--top", "20,60,100"]);
    let without_commands = |page: &str| page.split("<pre class=\"command\">").next().unwrap().to_string();
    let again = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(without_commands(&again) == without_commands(&page) && again != page);
}

#[test]
fn the_smallest_scheme_within_a_limit_is_named() {
    let place = place();
    run(place.path(), &["-q", "all_layers_topx", "--top", "20,100"]);
    let within = |limit: &str| {
        let json: Value =
            serde_json::from_str(&run(place.path(), &["-q", "evaluate", "--json", "--within", limit]))
                .unwrap();
        let of = |scheme: &str| {
            let of_scheme = rows(&json).iter().filter(|row| row["scheme"] == scheme);
            of_scheme.map(|row| row["kl"].as_f64().unwrap()).fold(0.0, f64::max)
        };
        let names = ["20", "100"].map(|at| format!("fp8_autoquant_all_layers_top{at}_coco2017"));
        let worst = [of(&names[0]), of(&names[1])];
        (json["within"].as_str().map(String::from), names, worst)
    };
    let (smallest, names, worst) = within("1000");
    assert_eq!(smallest.as_ref(), Some(&names[1]), "the smaller one has more in FP8");
    assert!(worst[0] < worst[1], "{worst:?}");
    assert_eq!(within(&((worst[0] + worst[1]) / 2.0).to_string()).0.as_ref(), Some(&names[0]));
    assert_eq!(within(&(worst[0] / 2.0).to_string()).0, None);
    let said = run(place.path(), &["-q", "evaluate", "--within", "1000"]);
    assert!(said.contains(&format!("smallest within KL 1000: {}", names[1])), "{said}");
}

#[test]
fn policies_score_first_and_take_the_scores_again() {
    let place = place();
    let model = ["-q", "lm_only_topx", "--model", "qlua-demo/model", "--top", "50", "--out", "out"];
    let with = |more: &[&'static str]| [&model[..], more].concat();
    let seen = ["--autoquant", "seen.txt"];
    assert_eq!(
        refused(place.path(), &with(&[&seen[..], &["--evaluate", "seen.txt"]].concat())),
        "qlua: error: the scores of `seen.txt` are made from samples that are to be measured with"
    );
    assert!(!place.path().join("out").exists(), "that is said before anything is computed");

    run(place.path(), &with(&[&seen[..], &["--evaluate", "unseen.txt"]].concat()));
    let manifest = place.path().join("out/autoquant/fp8_autoquant_lm_only_fp8_quant_manifest.json");
    let written = fs::metadata(&manifest).unwrap().modified().unwrap();
    assert!(names(&place.path().join("out")).contains(&"quality.json".to_string()));
    let again = qlua(place.path(), &[&with(&seen)[1..], &["--suffix", "again"]].concat());
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(
        stderr(&again).contains("scored before from the same model and samples: out/autoquant/"),
        "{}",
        stderr(&again)
    );
    assert_eq!(fs::metadata(&manifest).unwrap().modified().unwrap(), written);

    // Other samples are other scores.
    let other = qlua(place.path(), &with(&["--autoquant", "unseen.txt"]));
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr(&other).contains("was made from another model, from other samples or in another way"));
    // The same names and shapes with other weights, as after further training, are another model.
    let mut found: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    for (name, amax) in found["amax"].as_object_mut().unwrap() {
        if name.ends_with("layers.1.mlp.up_proj.weight_quantizer") {
            *amax = (amax.as_f64().unwrap() * 1.5).into();
        }
    }
    fs::write(&manifest, found.to_string()).unwrap();
    let other = qlua(place.path(), &with(&seen));
    assert!(stderr(&other).contains("was made from another model"), "{}", stderr(&other));

    // What schemes were scored on, `qlua evaluate` refuses as well, unless it is asked for.
    let scheme = "out/fp8_autoquant_top50_coco2017";
    let evaluate = ["-q", "evaluate", "--model", "qlua-demo/model", "--captions", "seen.txt", scheme];
    assert_eq!(
        refused(place.path(), &evaluate),
        format!("qlua: error: the scores of `{scheme}` are made from samples that are to be measured with")
    );
    run(place.path(), &[&evaluate[..], &["--calibration-samples"]].concat());
}

#[test]
fn mistakes_with_samples_are_said_before_anything_is_built() {
    let place = tempfile::tempdir().unwrap();
    for name in ["captions.md", "pairs.db", "captions.txt", "manifest.json"] {
        fs::write(place.path().join(name), "A cat.\n").unwrap();
    }
    fs::create_dir(place.path().join("model")).unwrap();
    for (words, expected) in [
        (
            &["--evaluate", "captions.md"][..],
            "`captions.md` of --evaluate is of no kind that samples are read from",
        ),
        (&["--evaluate", "pairs.db"], "`pairs.db` of --evaluate holds pairs, and --images is missing"),
        (
            &["--evaluate", "captions.txt", "--dry-run"],
            "--evaluate computes and writes, and --dry-run writes nothing",
        ),
        (&["--autoquant", "captions.txt"], "--autoquant needs the --model that is to be scored"),
        (
            &["--autoquant", "captions.txt", "--model", "model", "--manifest", "manifest.json"],
            "--autoquant and --manifest are both given, and either says what the scores are",
        ),
        (
            &["--autoquant", "captions.txt", "--model", "model", "--dry-run"],
            "--autoquant computes and writes, and --dry-run writes nothing",
        ),
    ] {
        let words = [&["all_layers_topx"][..], words].concat();
        assert_eq!(refused(place.path(), &words), format!("qlua: error: {expected}"));
        assert_eq!(
            names(place.path()),
            ["captions.md", "captions.txt", "manifest.json", "model", "pairs.db"]
        );
    }
}

#[test]
fn what_is_wrong_with_scoring_is_said_before_it_begins() {
    let place = place();
    let with = |words: &[&str]| {
        let all = ["autoquant", "--model", "qlua-demo/model", "--inputs", INPUTS];
        refused(place.path(), &[&all[..], words].concat())
    };
    assert!(with(&["--coverage", "vision"]).contains("one of all-layers, lm-only, not `vision`"));
    assert!(with(&["--method", "hessian"]).contains("one of gradient, kl_div, not `hessian`"));
    assert!(with(&["--effective-bits", "17"]).contains("17 effective bits"));
    assert!(with(&["--effective-bits", "7.9"]).contains("7.9 effective bits"), "all in FP8 takes 8");
    assert!(with(&["--effective-bits", "nan"]).contains("must be a number"));
    assert!(with(&["--formats", "tensor,block,tensor"]).contains("--formats names `tensor` twice"));
    fs::create_dir(place.path().join("baseline")).unwrap();
    fs::write(place.path().join("baseline/per-layer-sensitivity.json"), "{}").unwrap();
    assert!(with(&[]).contains("per-layer-sensitivity.json` exists already"));
    assert_eq!(fs::read_dir(place.path().join("baseline")).unwrap().count(), 1);
}

/// A process that may write no file of more than `blocks` blocks, as on a disk that is full.
fn on_a_full_disk(place: &Path, blocks: &str, words: &[&str]) -> std::process::Output {
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = std::process::Command::new("sh");
    command.current_dir(place).args(["-c", &limited, env!("CARGO_BIN_EXE_qlua")]).args(words);
    command.output().unwrap()
}

/// What took long to measure stays when other schemes are measured, and is told apart by what it was measured on.
#[test]
fn rows_of_earlier_runs_are_kept_with_what_they_were_measured_on() {
    let place = place();
    run(place.path(), &["-q", "all_layers_topx", "--top", "20,60,100"]);
    let out = "qlua-demo/quantized";
    let scheme = |top: usize| format!("{out}/fp8_autoquant_all_layers_top{top}_coco2017");
    let evaluate = |captions: &str, more: &[&str]| {
        let all = ["-q", "evaluate", "--model", "qlua-demo/model", "--captions", captions];
        run(place.path(), &[&all[..], more].concat())
    };
    let file = || -> Vec<(String, String, f64)> {
        let file: Value =
            serde_json::from_slice(&fs::read(place.path().join(out).join("quality.json")).unwrap()).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_string();
        let of = |row: &Value| (text(row, "scheme"), text(row, "measured_on"), row["kl"].as_f64().unwrap());
        rows(&file).iter().map(of).collect()
    };
    evaluate("seen.txt", &[&scheme(20)]);
    let first = file();
    evaluate("seen.txt", &[&scheme(60)]);
    assert_eq!((&file()[..1], file().len()), (&first[..], 2));
    assert_eq!(file()[0].1, file()[1].1, "the same base and samples");
    // Again is no other row; other samples are.
    evaluate("seen.txt", &[&scheme(20)]);
    assert_eq!(file().len(), 2);
    assert!(file().contains(&first[0]));
    evaluate("unseen.txt", &[&scheme(100)]);
    evaluate("seen.txt", &["--max-length", "4", &scheme(100)]);
    let on: BTreeSet<String> = file().into_iter().map(|(_, on, _)| on).collect();
    assert_eq!((file().len(), on.len()), (4, 3));

    // The report shows what most were measured on, and says what it leaves out.
    run(place.path(), &["-q", "all_layers_topx", "--top", "20,60,100"]);
    let page = fs::read_to_string(place.path().join(out).join("report.md")).unwrap();
    assert!(page.contains("2 rows of quality.json left out: measured on other samples"), "{page}");

    // What is in the way is said before anything is measured, and is not replaced.
    let quality = place.path().join(out).join("quality.json");
    fs::write(&quality, "{\"mine\": 1}").unwrap();
    let words = ["-q", "evaluate", "--model", "qlua-demo/model", "--captions", "seen.txt", &scheme(20)];
    let output = qlua(place.path(), &words);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("quality.json` holds no rows of quality; it is not replaced"));
    assert_eq!(fs::read(&quality).unwrap(), b"{\"mine\": 1}");
    fs::remove_file(&quality).unwrap();
    fs::create_dir(&quality).unwrap();
    let output = qlua(place.path(), &words);
    assert!(stderr(&output).contains("quality.json` is a directory"), "{}", stderr(&output));
    assert!(!stdout(&output).contains("| text |"));

    // A disk that is full by then costs the file, not what was measured.
    fs::remove_dir(&quality).unwrap();
    let output = on_a_full_disk(place.path(), "0", &words);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("| text |"), "{}", stdout(&output));
    assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
    assert!(!quality.exists());
}

#[test]
fn limits_that_no_scheme_can_be_within_are_mistakes_of_the_command_line() {
    let place = tempfile::tempdir().unwrap();
    for (limit, said) in [("-1", "at least 0"), ("nan", "a number"), ("inf", "a number"), ("", "a number")] {
        assert!(refused(place.path(), &["evaluate", "--within", limit]).contains(said), "{limit}");
    }
}

/// Scores take long, and a baseline that could not be written is no reason to compute them again.
#[test]
fn a_run_that_scored_goes_on_with_its_baseline() {
    let place = place();
    let words =
        ["autoquant", "--model", "qlua-demo/model", "--captions", "seen.txt", "--coverage", "lm-only"];
    let output = on_a_full_disk(place.path(), "600", &words);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let manifest = place.path().join("baseline/fp8_autoquant_lm_only_fp8_quant_manifest.json");
    let scored = fs::read(&manifest).unwrap();
    assert!(!place.path().join("baseline/fp8_baseline").exists());
    // Neither options nor samples may be others.
    for other in [
        &["--effective-bits", "12"][..],
        &["--formats", "channel"],
        &["--samples", "1"],
        &["--method", "kl_div"],
    ] {
        assert!(
            refused(place.path(), &[&words[..], other].concat()).contains("manifest.json` exists already")
        );
    }
    assert!(refused(place.path(), &[&words[..], &["--no-baseline"]].concat()).contains("exists already"));
    let output = qlua(place.path(), &words);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("scored before from the same model and samples: baseline/"));
    assert!(place.path().join("baseline/fp8_baseline/config.json").exists());
    assert_eq!(fs::read(&manifest).unwrap(), scored);
    assert!(refused(place.path(), &words).contains("fp8_baseline` exists already"));
}

/// As ModelOpt: what a layer of zeros puts out is the same in every format, so it has the score 0, and so have those that only it
/// hears or reads.
#[test]
fn a_layer_of_zeros_has_the_score_0() {
    let place = place();
    for entry in fs::read_dir(place.path().join("qlua-demo/model")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let mut bytes = fs::read(&path).unwrap();
            let entries = qlua::checkpoint::read_header(&path, &bytes).unwrap();
            let zeros =
                entries.iter().filter(|entry| entry.name.ends_with("layers.1.self_attn.o_proj.weight"));
            zeros.for_each(|entry| bytes[entry.range.clone()].fill(0));
            fs::write(&path, bytes).unwrap();
        }
    }
    let words =
        ["autoquant", "--model", "qlua-demo/model", "--captions", "seen.txt", "--coverage", "lm-only"];
    let output = qlua(place.path(), &words);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("2 groups have the score 0, as in ModelOpt"), "{}", stderr(&output));
    let manifest = place.path().join("baseline/fp8_autoquant_lm_only_fp8_quant_manifest.json");
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let groups = manifest["layer_sensitivity"].as_object().unwrap();
    let zeros = groups.iter().filter(|(_, group)| {
        group["formats"].as_array().unwrap().len() > 1
            && group["scores"].as_array().unwrap().iter().all(|s| *s == 0.0)
    });
    let zeros: Vec<&str> = zeros.map(|(key, _)| key.as_str()).collect();
    assert_eq!(zeros.len(), 2, "{zeros:?}");
    assert!(zeros.iter().all(|key| key.contains("layers.1.self_attn.")), "{zeros:?}");
    let amax = &manifest["amax"];
    assert_eq!(amax["model.language_model.layers.1.self_attn.o_proj.weight_quantizer"], 0.0);
}

#[test]
fn a_gpu_that_is_not_there_is_missed_before_anything_is_scored() {
    let place = place();
    if fs::metadata("/dev/nvidiactl").is_ok() {
        eprintln!("SKIPPED: this machine has a GPU");
        return;
    }
    for words in [
        &["autoquant", "--captions", "seen.txt", "--coverage", "lm-only"][..],
        &["lm_only_topx", "--autoquant", "seen.txt"],
    ] {
        let words = [words, &["--model", "qlua-demo/model", "--device", "cuda", "--out", "out"]].concat();
        let output = qlua(place.path(), &words);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("there is no NVIDIA driver on this machine"), "{}", stderr(&output));
        assert!(!place.path().join("out").exists());
    }
}
