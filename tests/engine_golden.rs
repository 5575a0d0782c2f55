//! The engine on the shared golden model, against Transformers and NVIDIA ModelOpt; skipped where the golden data is not there.
//!
//! Scoring it takes seconds in an optimised build and many minutes in another, in which only the forward pass is tested.

mod common;

use std::path::{Path, PathBuf};

use common::engine::{Golden, Layers, relative, worst_difference};
use common::shared;
use qlua::checkpoint::Checkpoint;
use qlua::engine::{
    CandidateFormat, Cpu, Forgotten, Kept, Network, NetworkRun, Sensitivity, Unobserved, autoquant_group,
};
use qlua::format::Granularity;
use serde_json::Value;

struct Answers {
    model: PathBuf,
    modelopt: PathBuf,
}

fn answers() -> Option<Answers> {
    Some(Answers { model: shared("golden/tiny-qwen2_5-vl")?, modelopt: shared("golden/modelopt")? })
}

fn optimised() -> bool {
    if cfg!(debug_assertions) {
        eprintln!("SKIPPED: scoring the golden model takes an optimised build: cargo test --release");
    }
    !cfg!(debug_assertions)
}

impl Answers {
    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.modelopt.join(format!("{name}.json"))).unwrap()).unwrap()
    }

    fn with_run<T>(&self, kind: &str, samples: usize, action: impl FnOnce(&NetworkRun<Cpu>) -> T) -> T {
        let samples =
            Golden::read(&self.modelopt.join("inputs.safetensors")).samples(&format!("{kind}."), samples);
        let checkpoint = Checkpoint::open(&self.model).unwrap();
        let network = Network::open(&checkpoint).unwrap();
        action(&NetworkRun::new(&network, &Cpu, &samples).unwrap())
    }

    fn gradient_scores(&self, kind: &str) -> Sensitivity {
        self.with_run(kind, 16, |run| {
            run.gradient_scores(
                &[CandidateFormat::with_scales(Granularity::Tensor)],
                &mut Kept::default(),
                &mut || (),
            )
            .unwrap()
        })
    }
}

#[test]
fn logits_and_losses_are_those_of_transformers() {
    let Some(answers) = answers() else { return };
    let golden = Golden::read(&answers.modelopt.join("logits_f32.safetensors"));
    let most = if cfg!(debug_assertions) { 1 } else { 4 };
    for kind in ["text", "vlm"] {
        answers.with_run(kind, most, |run| {
            let hidden = run.forward(&mut Unobserved, &mut Forgotten).unwrap();
            let logits = run.logits(&hidden, &mut Unobserved).unwrap();
            let losses = run.losses(&hidden, &mut Unobserved).unwrap();
            for (number, (logits, loss)) in logits.iter().zip(&losses).enumerate() {
                let worst = worst_difference(&golden.floats(&format!("{kind}.{number}.logits")), logits);
                let want = f64::from(golden.floats(&format!("{kind}.{number}.loss"))[0]);
                println!("{kind} {number}: logits {worst:.1e}, loss {:.1e}", relative(want, loss.mean));
                assert!(worst <= 2e-4, "{kind} {number}: logits differ by {worst}");
                assert!(
                    relative(want, loss.mean) <= 1e-6,
                    "{kind} {number}: the loss is {}, not {want}",
                    loss.mean
                );
            }
        });
    }
}

/// The groups that were scored, with ModelOpt's score and ours: of a layer of the group, or the sum of them.
fn scores(document: &Value, found: &Sensitivity, summed: bool) -> Vec<(String, f64, f64)> {
    let layers = Layers::of(found);
    let rows = document["layer_sensitivity"].as_object().unwrap().iter();
    rows.filter(|(_, row)| row["formats"].as_array().unwrap().len() > 1)
        .map(|(name, row)| {
            let members = row["module_names"].as_array().unwrap().iter();
            let mut scores = members.map(|member| layers.get(member.as_str().unwrap()).scores[0]);
            let found = if summed { scores.sum() } else { scores.next().unwrap() };
            (name.clone(), row["scores"][0].as_f64().unwrap(), found)
        })
        .collect()
}

/// That the order by our scores is that by theirs, but for groups whose scores are closer than `tolerance` of each other.
fn assert_same_ranking(mut scores: Vec<(String, f64, f64)>, tolerance: f64) {
    scores.sort_by(|a, b| a.1.total_cmp(&b.1));
    for pair in scores.windows(2) {
        let apart = pair[1].1 - pair[0].1 > tolerance * pair[1].1;
        assert!(!apart || pair[0].2 < pair[1].2, "`{}` and `{}` change places", pair[0].0, pair[1].0);
    }
}

fn assert_amax(document: &Value, found: &Sensitivity) -> usize {
    let layers = Layers::of(found);
    let mut inputs = 0;
    for (quantiser, want) in document["amax"].as_object().unwrap() {
        let (module, is_input) = match quantiser.strip_suffix(".input_quantizer") {
            Some(module) => (module, true),
            None => (quantiser.strip_suffix(".weight_quantizer").unwrap(), false),
        };
        let layer = layers.get(module);
        let amax = if is_input { layer.input_amax } else { layer.weight_amax };
        let error = relative(want.as_f64().unwrap(), f64::from(amax));
        assert!(error <= 1e-5, "amax of `{quantiser}` is {amax}, not {want}");
        inputs += usize::from(is_input);
    }
    inputs
}

fn gradient_scores_are_those_of_modelopt(kind: &str, names: &[&str], inputs: usize) {
    let Some(answers) = answers().filter(|_| optimised()) else { return };
    let found = answers.gradient_scores(kind);
    for name in names {
        let document = answers.json(name);
        let scores = scores(&document, &found, true);
        let worst = scores.iter().map(|(_, want, found)| relative(*want, *found)).fold(0.0, f64::max);
        println!("{name}: {} groups, scores differ by {worst:.1e} at most", scores.len());
        for (group, want, found) in &scores {
            assert!(relative(*want, *found) <= 1e-3, "{name}: the score of `{group}` is {found}, not {want}");
        }
        assert_same_ranking(scores, 0.0);
        assert!(assert_amax(&document, &found) >= inputs, "{name}: {inputs} inputs");
    }
}

#[test]
fn all_layers_scores_and_amax_are_those_of_modelopt() {
    gradient_scores_are_those_of_modelopt(
        "vlm",
        &["autoquant_all_layers", "autoquant_all_layers_11bits"],
        64,
    );
}

#[test]
fn lm_only_scores_and_amax_are_those_of_modelopt() {
    gradient_scores_are_those_of_modelopt("text", &["autoquant_lm_only"], 42);
}

/// ModelOpt sums KL in F32, over about 1.4 million words and tokens: `golden/divergence.json` holds its own scores, the same
/// computed once more, the same logits summed in F64, and everything in F64 (`golden/divergence.py`). Ours are held to the
/// last two; to ModelOpt's own only as far as that is from its own logits summed exactly.
#[test]
fn kl_scores_are_those_of_modelopt_as_far_as_it_is_exact() {
    let Some(answers) = answers().filter(|_| optimised()) else { return };
    let found = answers.with_run("vlm", 16, |run| {
        run.kl_scores(&[CandidateFormat::with_scales(Granularity::Tensor)], &autoquant_group, &mut || ())
            .unwrap()
    });
    let document = answers.json("autoquant_kl");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/divergence.json");
    let measured: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let exact = |name: &str, way: &str| measured[name][way].as_f64().unwrap();
    let scores = scores(&document, &found, false);
    assert_eq!(scores.len(), measured.as_object().unwrap().len());
    let [mut from_sum, mut from_exact, mut from_modelopt, mut noise] = [0.0f64; 4];
    for (name, want, score) in &scores {
        from_sum = from_sum.max(relative(exact(name, "exact_sum"), *score));
        from_exact = from_exact.max(relative(exact(name, "f64"), *score));
        from_modelopt = from_modelopt.max((want - score).abs());
        noise = noise
            .max((want - exact(name, "exact_sum")).abs())
            .max((exact(name, "f32") - exact(name, "exact_sum")).abs());
    }
    println!(
        "KL: {from_sum:.1e} from F32 logits summed in F64, {from_exact:.1e} from F64, {from_modelopt:.1e} absolute from \
         ModelOpt, which is {noise:.1e} from itself"
    );
    assert!(from_sum <= 1e-3, "KL scores differ by {from_sum} from the same logits summed exactly");
    assert!(from_exact <= 1e-3, "KL scores differ by {from_exact} from those in F64");
    assert!(from_modelopt <= 1.5 * noise, "KL scores differ by {from_modelopt} from ModelOpt's");
    assert_same_ranking(
        scores.iter().map(|(name, _, score)| (name.clone(), exact(name, "f64"), *score)).collect(),
        1e-3,
    );
}

#[test]
fn scores_are_the_same_bits_with_one_two_and_five_threads() {
    let Some(answers) = answers().filter(|_| optimised()) else { return };
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let run = |run: &NetworkRun<Cpu>| {
            run.gradient_scores(
                &[CandidateFormat::with_scales(Granularity::Tensor)],
                &mut Kept::default(),
                &mut || (),
            )
            .unwrap()
        };
        let found = pool.install(|| answers.with_run("vlm", 4, run));
        found
            .layers
            .iter()
            .map(|layer| (layer.input_amax.to_bits(), layer.scores[0].to_bits()))
            .collect::<Vec<_>>()
    };
    let one = with(1);
    assert!(one == with(2) && one == with(5), "scores depend on the number of threads");
}
