//! The whole job on the demo: score, sweep, measure, report.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{names, qlua, stderr, stdout};

/// What every row says, but for the key of what the scheme was made from.
const KEYS: [&str; 12] = [
    "agreement",
    "agreement_error",
    "base_perplexity",
    "bytes",
    "kind",
    "kl",
    "kl_error",
    "perplexity",
    "perplexity_error",
    "samples",
    "scheme",
    "tokens",
];

/// Runs qlua, which must succeed.
fn run(place: &Path, words: &[&str]) -> String {
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
fn place() -> tempfile::TempDir {
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
    assert!(with(&["--coverage", "vision"]).contains("no coverage `vision`"));
    assert!(with(&["--method", "hessian"]).contains("no method `hessian`"));
    assert!(with(&["--effective-bits", "17"]).contains("17 effective bits"));
    fs::create_dir(place.path().join("baseline")).unwrap();
    fs::write(place.path().join("baseline/per-layer-sensitivity.json"), "{}").unwrap();
    assert!(with(&[]).contains("per-layer-sensitivity.json` exists already"));
    assert_eq!(fs::read_dir(place.path().join("baseline")).unwrap().count(), 1);
}
