//! What is run without `--model`: on the demo, and on nothing else.

use std::fs;

use super::quality::{place, run};
use super::{qlua, stderr};

/// Samples that are named without a model were once passed over for those of the demo, whose scores replaced what was there.
#[test]
fn the_demo_takes_the_place_of_nothing() {
    let place = place();
    fs::write(place.path().join("empty.safetensors"), "").unwrap();
    for words in [
        &["autoquant", "--inputs", "empty.safetensors"][..],
        &["autoquant", "--captions", "seen.txt", "--coverage", "lm-only"],
        &["evaluate", "--inputs", "empty.safetensors"],
        &["evaluate", "--captions", "seen.txt"],
        &["evaluate", "--text", "seen.txt"],
    ] {
        let output = qlua(place.path(), words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let expected = format!("{} needs the --model that it is for", words[1]);
        assert!(stderr(&output).contains(&expected), "{words:?}: {}", stderr(&output));
    }
    let baseline = place.path().join("baseline");
    fs::create_dir(&baseline).unwrap();
    fs::write(baseline.join("fp8_autoquant_all_layers_fp8_quant_manifest.json"), "of hours").unwrap();
    let said = run(place.path(), &["-q", "autoquant", "--no-baseline"]);
    assert!(said.contains(": qlua-demo/baseline/fp8_autoquant_all_layers_fp8_quant_manifest.json"), "{said}");
    let output = qlua(place.path(), &["autoquant", "--no-baseline", "--out", "baseline"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("exists already"), "{}", stderr(&output));
    let kept = fs::read_to_string(baseline.join("fp8_autoquant_all_layers_fp8_quant_manifest.json")).unwrap();
    assert_eq!(kept, "of hours");
}
