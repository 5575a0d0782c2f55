//! Tiny random models of each family against Transformers and NVIDIA ModelOpt: what `golden/engine.py` wrote of them.
//!
//! F32 sums in another order move a logit by some units of its last place, and these models have logits up to about 20.

mod common;

use std::path::{Path, PathBuf};

use common::engine::{Golden, Layers, relative, worst_difference};
use qlua::checkpoint::Checkpoint;
use qlua::engine::{
    CandidateFormat, Cpu, Forgotten, Kept, Network, NetworkRun, Sensitivity, Unobserved, autoquant_group,
};
use qlua::format::Granularity;
use serde_json::Value;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/engine").join(name)
}

/// Logits within 1e-4, losses within 1e-6 of themselves.
fn computes_as_transformers(name: &str) {
    let directory = directory(name);
    let golden = Golden::read(&directory.join("golden.safetensors"));
    let samples = golden.samples("", usize::MAX);
    let checkpoint = Checkpoint::open(&directory).unwrap();
    let network = Network::open(&checkpoint).unwrap();
    let run = NetworkRun::new(&network, &Cpu, &samples).unwrap();
    let hidden = run.forward(&mut Unobserved, &mut Forgotten).unwrap();
    let logits = run.logits(&hidden, &mut Unobserved).unwrap();
    let losses = run.losses(&hidden, &mut Unobserved).unwrap();
    assert_eq!(logits.len(), samples.len());
    for (number, (logits, loss)) in logits.iter().zip(&losses).enumerate() {
        let worst = worst_difference(&golden.floats(&format!("{number}.logits")), logits);
        let want = f64::from(golden.floats(&format!("{number}.loss"))[0]);
        println!("{name} {number}: logits {worst:.1e}, loss {:.1e}", relative(want, loss.mean));
        assert!(worst <= 1e-4, "{name}: the logits of sample {number} differ by {worst}");
        assert!(
            relative(want, loss.mean) <= 1e-6,
            "{name}: the loss of sample {number} is {}, not {want}",
            loss.mean
        );
    }
}

fn golden_scores(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(directory(name).join("golden.json")).unwrap()).unwrap()
}

fn with_run<T>(name: &str, action: impl FnOnce(&NetworkRun<Cpu>) -> T) -> T {
    let directory = directory(name);
    let samples = Golden::read(&directory.join("golden.safetensors")).samples("", usize::MAX);
    let checkpoint = Checkpoint::open(&directory).unwrap();
    let network = Network::open(&checkpoint).unwrap();
    action(&NetworkRun::new(&network, &Cpu, &samples).unwrap())
}

fn gradient_scores(name: &str) -> Sensitivity {
    let candidates = [
        CandidateFormat::with_scales(Granularity::Tensor),
        CandidateFormat::with_scales(Granularity::Channel),
        CandidateFormat::with_scales(Granularity::Block),
    ];
    with_run(name, |run| run.gradient_scores(&candidates, &mut Kept::default(), &mut || ()).unwrap())
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// Amax within 1e-5; scores of groups as ModelOpt's search gives them, and of layers by the definition, within 1e-3; KL scores of
/// groups by the definition in F64 within 1e-3.
fn scores_as_modelopt(name: &str) {
    let golden = golden_scores(name);
    let found = gradient_scores(name);
    let layers = Layers::of(&found);
    let [mut amax, mut groups, mut single, mut kl] = [0.0f64; 4];
    for (module, want) in golden["amax"].as_object().unwrap() {
        amax = amax.max(relative(want.as_f64().unwrap(), f64::from(layers.get(module).input_amax)));
    }
    for row in golden["scores"].as_array().unwrap() {
        let sum: f64 = strings(&row[0]).into_iter().map(|module| layers.get(module).scores[0]).sum();
        groups = groups.max(relative(row[1].as_f64().unwrap(), sum));
    }
    for (module, want) in golden["layers"].as_object().unwrap() {
        let error = relative(want.as_f64().unwrap(), layers.get(module).scores[0]);
        if error > 1e-3 {
            println!("{name}: {module} {error:.1e}");
        }
        single = single.max(error);
    }
    assert_eq!(
        golden["layers"].as_object().unwrap().len(),
        found.layers.len(),
        "{name}: every layer is scored"
    );
    let by_kl = with_run(name, |run| {
        run.kl_scores(&[CandidateFormat::with_scales(Granularity::Tensor)], &autoquant_group, &mut || ())
            .unwrap()
    });
    let by_kl = Layers::of(&by_kl);
    for row in golden["kl"].as_array().unwrap() {
        for module in strings(&row[0]) {
            let error = relative(row[1].as_f64().unwrap(), by_kl.get(module).scores[0]);
            if error > 1e-3 {
                println!("{name}: KL of {module} {error:.1e}: {} {}", row[1], by_kl.get(module).scores[0]);
            }
            kl = kl.max(error);
        }
    }
    println!("{name}: amax {amax:.1e}, groups {groups:.1e}, layers {single:.1e}, KL {kl:.1e}");
    assert!(amax <= 1e-5, "{name}: amax differs by {amax}");
    assert!(groups <= 1e-3, "{name}: scores of groups differ by {groups}");
    assert!(single <= 1e-3, "{name}: scores of layers differ by {single}");
    assert!(kl <= 1e-3, "{name}: KL scores differ by {kl}");
}

macro_rules! families {
    ($($name:ident)*) => {$(
        mod $name {
            #[test]
            fn computes_the_logits_and_losses_of_transformers() {
                super::computes_as_transformers(stringify!($name));
            }

            #[test]
            fn gets_the_scores_and_amax_of_modelopt() {
                super::scores_as_modelopt(stringify!($name));
            }
        }
    )*};
}

families! { qwen2 qwen3 llama3 llama_yarn llama_linear mistral qwen2_vl qwen2_5_vl qwen3_vl }

/// Everything that scoring finds, to the bit.
fn bits(found: &Sensitivity) -> Vec<u64> {
    let of_layers = found.layers.iter().flat_map(|layer| {
        [f64::from(layer.weight_amax), f64::from(layer.input_amax)]
            .into_iter()
            .chain(layer.scores.iter().copied())
    });
    of_layers.chain(found.losses.iter().copied()).map(f64::to_bits).collect()
}

#[test]
fn scores_are_the_same_bits_with_one_two_and_five_threads() {
    for name in ["qwen2_5_vl", "qwen3_vl", "mistral"] {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let kl = with_run(name, |run| {
                    run.kl_scores(
                        &[CandidateFormat::with_scales(Granularity::Tensor)],
                        &autoquant_group,
                        &mut || (),
                    )
                    .unwrap()
                });
                [bits(&gradient_scores(name)), bits(&kl)]
            })
        };
        let one = with(1);
        assert!(one == with(2) && one == with(5), "{name}: scores depend on the number of threads");
    }
}
