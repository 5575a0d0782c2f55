//! What the engine refuses to run: models that are others than their configuration says, and whatever would have to be guessed.

use std::fs;
use std::path::Path;

use qlua::checkpoint::Checkpoint;
use qlua::demo;
use qlua::engine::{CandidateFormat, Cpu, Kept, Network, NetworkRun, Sample, autoquant_group};
use qlua::format::Granularity;
use serde_json::{Value, json};

/// The sentence with which the demo is refused whose configuration was changed by `change`; nothing when it is not.
fn refusal(change: impl FnOnce(&mut Value)) -> Option<String> {
    let place = tempfile::tempdir().unwrap();
    let demo = demo::build(place.path()).unwrap();
    let path = demo.model.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
    let checkpoint = Checkpoint::open(&demo.model).unwrap();
    Network::open(&checkpoint).err().map(|error| error.to_string())
}

#[test]
fn configurations_of_other_models_are_refused_by_name() {
    assert_eq!(refusal(|_| ()), None);
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 8] = [
        (|c| c["model_type"] = json!("gemma3"), "models of type `gemma3`"),
        (|c| c["layer_types"] = json!(["full_attention", "linear_attention"]), "\"linear_attention\""),
        (|c| c["rope_scaling"] = json!({"rope_type": "longrope", "mrope_section": [2, 1, 1]}), "`longrope`"),
        (
            |c| c["rope_scaling"] = json!({"rope_type": "yarn", "factor": null, "mrope_section": [2, 1, 1]}),
            "no factor",
        ),
        (|c| drop(c.as_object_mut().unwrap().remove("rope_scaling")), "no `mrope_section`"),
        (|c| c["hidden_act"] = json!("relu2"), "`relu2`"),
        (|c| c["vision_config"]["out_hidden_size"] = json!(64), "tokens of 64 values"),
        (|c| c["vision_config"]["num_heads"] = json!(3), "cannot have 3 heads"),
    ];
    for (change, said) in cases {
        let sentence = refusal(change).unwrap_or_default();
        assert!(sentence.contains(said), "{said}: {sentence}");
    }
}

#[test]
fn a_bias_that_is_lost_does_not_count_as_zeros() {
    let place = tempfile::tempdir().unwrap();
    let demo = demo::build(place.path()).unwrap();
    for entry in fs::read_dir(&demo.model).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let name = b"layers.1.self_attn.k_proj.bias";
        while let Some(at) = bytes.windows(name.len()).position(|window| window == name) {
            bytes[at + name.len() - 1] = b'_';
        }
        fs::write(&path, bytes).unwrap();
    }
    let checkpoint = Checkpoint::open(&demo.model).unwrap();
    let sentence = Network::open(&checkpoint).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(sentence.contains("layers.1.self_attn.k_proj.bias`, which its architecture needs"), "{sentence}");
}

#[test]
fn a_tensor_of_two_spellings_is_not_chosen_from() {
    let place = tempfile::tempdir().unwrap();
    let model = two_norms(place.path());
    let checkpoint = Checkpoint::open(&model).unwrap();
    let sentence = Network::open(&checkpoint).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(sentence.contains("are one tensor to the engine"), "{sentence}");
}

/// A directory whose weights have one norm under two spellings.
fn two_norms(place: &Path) -> std::path::PathBuf {
    let model = place.join("model");
    fs::create_dir(&model).unwrap();
    let config = json!({"model_type": "qwen2", "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
        "num_key_value_heads": 1, "intermediate_size": 4, "vocab_size": 8});
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    let bytes = [0u8; 16];
    let view = || safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![4], &bytes).unwrap();
    let tensors = [("model.norm.weight", view()), ("model.language_model.norm.weight", view())];
    fs::write(model.join("model.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    model
}

#[test]
fn inputs_that_are_not_finite_in_one_sample_stop_the_calibration_wherever_it_stands() {
    let place = tempfile::tempdir().unwrap();
    let demo = demo::build(place.path()).unwrap();
    let odd = 65;
    spoil_embedding(&demo.model, odd);
    let checkpoint = Checkpoint::open(&demo.model).unwrap();
    let network = Network::open(&checkpoint).unwrap();
    // Each is a chunk of its own.
    let long = |token: u32| Sample {
        tokens: (0..700).map(|at| if at == 9 { token } else { 70 + at % 9 }).collect(),
        pictures: vec![],
    };
    let calibrate = |samples: &[Sample]| {
        let run = NetworkRun::new(&network, &Cpu, samples).unwrap();
        run.calibrate(&mut || ()).map(|_| ())
    };
    assert!(calibrate(&[long(66)]).is_ok());
    for samples in [[long(odd), long(66)], [long(66), long(odd)]] {
        let sentence = calibrate(&samples).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(sentence.contains("inputs that are not finite"), "{sentence}");
    }
}

/// Makes the embedding of `token` NaN.
fn spoil_embedding(model: &Path, token: u32) {
    for entry in fs::read_dir(model).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let mut bytes = fs::read(&path).unwrap();
        let entries = qlua::checkpoint::read_header(&path, &bytes).unwrap();
        if let Some(entry) = entries.iter().find(|entry| entry.name == "model.embed_tokens.weight") {
            let row = entry.shape[1] * 2;
            let start = entry.range.start + token as usize * row;
            bytes[start..start + 2].copy_from_slice(&0x7fc0u16.to_le_bytes());
            fs::write(&path, bytes).unwrap();
        }
    }
}

/// The demo ties its head to the embedding: what is wrong is said of the tensor that the checkpoint has.
#[test]
fn a_tied_head_that_is_not_finite_is_blamed_on_the_embedding() {
    let place = tempfile::tempdir().unwrap();
    let demo = demo::build(place.path()).unwrap();
    spoil_embedding(&demo.model, 65);
    let checkpoint = Checkpoint::open(&demo.model).unwrap();
    let network = Network::open(&checkpoint).unwrap();
    let samples = [Sample { tokens: (70..90).collect(), pictures: vec![] }];
    let run = NetworkRun::new(&network, &Cpu, &samples).unwrap();
    let candidates = [CandidateFormat::with_scales(Granularity::Tensor)];
    let by_gradient = run.gradient_scores(&candidates, &mut Kept::default(), &mut || ()).err();
    let by_divergence = run.kl_scores(&candidates, &autoquant_group, &mut || ()).err();
    for error in [by_gradient, by_divergence] {
        let sentence = error.map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(sentence, "tensor `model.embed_tokens.weight` holds NaN values");
    }
}
