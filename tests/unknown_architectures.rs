//! Checkpoints of which no fact is recorded, most of them with code of their own: what names and shapes tell. The expected
//! layers were taken by hand from the code that the checkpoints come with, and from the models of vLLM 0.33.

mod common;

use std::path::Path;

use common::directory::{Directory, Raw, Tensors};
use common::options;
use qlua::dialect::{Code, DialectChoice, DialectId};
use qlua::job::{Family, FamilyOptions};
use qlua::manifest::Manifest;
use qlua::model::Tower;
use qlua::plan::{Activations, ActivationsChoice};
use qlua::verify::{Depth, verify};
use qlua::write::Silent;
use serde_json::{Value, json};

/// A checkpoint of zeros with `linears`, 16 × 32 each, and `others`.
fn checkpoint(base: &Path, config: Value, linears: &[&str], others: &[(&str, &[usize])]) {
    let zeros = |name: &str, shape: &[usize]| (format!("{name}.weight"), Raw::zeros(shape));
    let mut tensors: Tensors = linears.iter().map(|name| zeros(name, &[16, 32])).collect();
    tensors.extend(others.iter().map(|(name, shape)| zeros(name, shape)));
    Directory::create(&base.join("model"), &config, &tensors);
}

/// A manifest in which each of `members` is scored, but for those that are said to stay as they are.
fn manifest(base: &Path, members: &[(&str, u64)], unquantised: &[&str]) {
    let group = |(number, (member, weights)): (usize, &(&str, u64))| {
        let (cost, none) = (*weights as f64, "NONE(effective-bits: 16.0)");
        let group = match unquantised.contains(member) {
            true => json!({"formats": [none], "scores": [0.0], "costs": [cost], "module_names": [member]}),
            false => json!({
                "formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", none],
                "scores": [number as f64 + 1.0, 0.0],
                "costs": [cost / 2.0, cost],
                "module_names": [member],
            }),
        };
        (format!("{member}.quant_recipe"), group)
    };
    let groups: serde_json::Map<String, Value> = members.iter().enumerate().map(group).collect();
    std::fs::write(base.join("manifest.json"), json!({"layer_sensitivity": groups}).to_string()).unwrap();
}

fn family(base: &Path, dialect: DialectId, percent: f64) -> Family {
    let options = FamilyOptions {
        dialect: DialectChoice::Named(dialect),
        activations: ActivationsChoice::Named(Activations::Dynamic),
        ..options(&base.join("model"), &base.join("manifest.json"), &base.join("out"))
    };
    let mut family = Family::open(options).unwrap();
    let ranking = family.manifest().ranking(&Default::default()).unwrap();
    family.add("scheme", ranking.lowest(percent).unwrap()).unwrap();
    family
}

/// What is FP8 in a scheme of everything, and why the rest is not.
fn planned(base: &Path) -> (Vec<String>, Vec<(String, String)>) {
    let family = family(base, DialectId::CompressedTensors, 100.0);
    let planned = family.planned().unwrap();
    let plan = &planned.schemes[0].plan;
    let kept = plan.kept.iter().map(|kept| (kept.layer.clone(), kept.reason.clone())).collect();
    (plan.formats.keys().map(ToString::to_string).collect(), kept)
}

/// The list of a dynamic scheme of compressed-tensors.
fn ignored(base: &Path, percent: f64) -> Vec<String> {
    family(base, DialectId::CompressedTensors, percent).run(&Silent).unwrap();
    let config = Directory(base.join("out/scheme")).json("config.json");
    let list = config["quantization_config"]["ignore"].as_array().unwrap().clone();
    list.iter().map(|entry| entry.as_str().unwrap().to_string()).collect()
}

#[test]
fn output_heads_stay_as_they_are_whatever_they_are_called() {
    let cases = [
        ("InternVLChatModel", "language_model.model.layers.0.attention.wo", "language_model.output"),
        ("ChatGLMModel", "transformer.encoder.layers.0.self_attention.dense", "transformer.output_layer"),
        ("MolmoForCausalLM", "model.transformer.blocks.0.ff_out", "model.transformer.ff_out"),
        // Told by the sizes of the table alone.
        ("ModernBertForMaskedLM", "model.layers.0.attn.Wo", "decoder"),
    ];
    for (class, linear, head) in cases {
        let base = tempfile::tempdir().unwrap();
        let config = json!({"architectures": [class], "model_type": "unknown"});
        let others: [(&str, &[usize]); 2] = [(head, &[64, 32]), ("model.embed_tokens", &[64, 32])];
        checkpoint(base.path(), config, &[linear], &others);
        manifest(base.path(), &[(linear, 512), (head, 2048)], &[]);
        let (fp8, kept) = planned(base.path());
        assert_eq!(fp8, [linear]);
        assert!(kept.len() == 1 && kept[0].0.contains(head) && kept[0].1.contains("output head"), "{kept:?}");
        assert!(ignored(base.path(), 100.0).contains(&head.to_string()), "{head}");
    }
}

/// Some models of vLLM build them with the quantisation's configuration, and others without: `deepseek_mtp`, `internvl`.
#[test]
fn what_engines_may_build_plain_stays_as_it_is() {
    let cases = [
        (
            json!({"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3"}),
            ["model.layers.0.self_attn.o_proj", "model.layers.1.eh_proj"],
            "eh_proj",
        ),
        (
            json!({"architectures": ["InternVLChatModel"], "model_type": "internvl_chat"}),
            ["language_model.model.layers.0.self_attn.o_proj", "mlp1.1"],
            "mlp1.1",
        ),
    ];
    for (config, linears, listed) in cases {
        let base = tempfile::tempdir().unwrap();
        checkpoint(base.path(), config, &linears, &[("model.embed_tokens", &[64, 32])]);
        manifest(base.path(), &linears.map(|name| (name, 512)), &[]);
        let (fp8, kept) = planned(base.path());
        assert_eq!(fp8, [linears[0]]);
        assert!(kept.len() == 1 && kept[0].1.contains("not certain"), "{kept:?}");
        let ignored = ignored(base.path(), 100.0);
        assert!(ignored.iter().any(|entry| entry.contains(listed)), "{ignored:?}");
    }
}

/// vLLM asks for the experts of Step3 below what holds the router.
#[test]
fn stacks_of_experts_are_told_by_what_holds_them() {
    let base = tempfile::tempdir().unwrap();
    let config = json!({"architectures": ["Step3VLForConditionalGeneration"], "model_type": "step3_vl"});
    let stack = "model.layers.1.moe.gate_proj";
    let linear = "model.layers.1.self_attn.o_proj";
    checkpoint(base.path(), config, &[linear], &[(stack, &[4, 16, 32])]);
    manifest(base.path(), &[(linear, 512), (stack, 2048)], &[]);
    let (fp8, kept) = planned(base.path());
    assert_eq!(fp8, [linear]);
    assert!(kept.len() == 1 && kept[0].1.contains("experts"), "{kept:?}");
    let list = ignored(base.path(), 100.0);
    let hits = |name: &str| {
        let expressions = list.iter().filter_map(|entry| entry.strip_prefix("re:"));
        expressions
            .map(|text| regex::Regex::new(&format!("^(?:{text})")).unwrap())
            .any(|re| re.is_match(name))
    };
    for name in ["gate_proj", "up_proj", "down_proj"] {
        assert!(hits(&format!("model.layers.1.moe.experts.0.{name}")), "{name}: {list:?}");
        assert!(!hits(&format!("model.layers.0.moe.experts.0.{name}")), "{name}: {list:?}");
    }
    assert!(hits("model.layers.1.moe.experts") && !hits(linear), "{list:?}");
}

/// vLLM takes the layer within the adapters for the layer itself, and does so by the dot after `base_layer`, which no entry
/// of a list has.
#[test]
fn layers_within_adapters_are_listed_without_them_too() {
    let base = tempfile::tempdir().unwrap();
    let config = json!({"architectures": ["Phi4MMForCausalLM"], "model_type": "phi4mm"});
    let linears = [0, 1]
        .map(|block| format!("model.layers.{block}.mlp.down_proj.base_layer"))
        .map(|name| name.leak() as &str);
    checkpoint(base.path(), config, &linears, &[]);
    manifest(base.path(), &linears.map(|name| (name, 512)), &[]);
    let entry = |end: &str| format!(r"re:((model|language_model)\.)*layers\.1\.mlp\.{end}$");
    let list = ignored(base.path(), 50.0);
    for end in ["down_proj", r"down_proj\.base_layer"] {
        assert!(list.contains(&entry(end)), "{end}: {list:?}");
    }
}

#[test]
fn towers_that_see_or_hear_are_no_language_model() {
    let base = tempfile::tempdir().unwrap();
    let members = [
        ("llm.model.layers.0.mlp.down_proj", Tower::Language),
        ("vpm.encoder.layers.0.mlp.fc1", Tower::Vision),
        ("resampler.kv_proj", Tower::Merger),
        ("apm.layers.0.fc1", Tower::Other),
        ("model.embed_tokens_extend.image_embed.img_processor.encoder.layers.0.mlp.fc1", Tower::Vision),
        ("qformer.encoder.layer.0.attention.attention.key", Tower::Merger),
    ];
    manifest(base.path(), &members.map(|(name, _)| (name, 512)), &[]);
    let manifest = Manifest::open(base.path().join("manifest.json")).unwrap();
    for (name, tower) in members {
        let group = manifest.groups().iter().find(|group| group.name == name).unwrap();
        assert_eq!(group.tower(), tower, "{name}");
    }
}

/// The architecture of its language model is known, and its own is not: all names have more before them.
#[test]
fn tables_of_a_language_model_within_another_are_found() {
    let base = tempfile::tempdir().unwrap();
    let config = json!({
        "architectures": ["KimiVLForConditionalGeneration"],
        "model_type": "kimi_vl",
        "text_config": {"model_type": "deepseek_v3"},
    });
    let linear = "language_model.model.layers.0.self_attn.o_proj";
    let table = "language_model.model.embed_tokens";
    let missing = |others: &[(&str, &[usize])]| {
        checkpoint(base.path(), config.clone(), &[linear], others);
        let problems = verify(&base.path().join("model"), Depth::Headers).unwrap();
        problems.iter().filter(|problem| problem.code == Code::MissingTensor).count()
    };
    assert_eq!(missing(&[(table, &[64, 32])]), 0);
    assert_eq!(missing(&[]), 1);
}

/// DeepSeek calls the table of tokens `embed`, and Transformers renames it while it loads DeepSeek-V4; a Llama would lack it.
#[test]
fn a_table_that_transformers_renames_is_not_missing() {
    let missing = |class: &str, model_type: &str, others: &[(&str, &[usize])]| {
        let base = tempfile::tempdir().unwrap();
        let config = json!({"architectures": [class], "model_type": model_type});
        checkpoint(base.path(), config, &["layers.0.attn.wo_b"], others);
        let problems = verify(&base.path().join("model"), Depth::Headers).unwrap();
        let tables = problems.iter().filter(|problem| problem.message.contains("embed_tokens.weight"));
        tables.filter(|problem| problem.code == Code::MissingTensor).count()
    };
    let table: [(&str, &[usize]); 1] = [("embed", &[64, 32])];
    assert_eq!(missing("DeepseekV4ForCausalLM", "deepseek_v4", &table), 0);
    assert_eq!(missing("DeepseekV4ForCausalLM", "deepseek_v4", &[]), 1);
    assert_eq!(missing("LlamaForCausalLM", "llama", &table), 1);
}

/// ModelOpt lists what it was told to leave alone, and a part of a fused layer may be among it.
#[test]
fn what_is_fused_with_a_layer_that_the_manifest_leaves_unquantised_stays_as_it_is() {
    let base = tempfile::tempdir().unwrap();
    let config = json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama"});
    let linears = ["gate_proj", "up_proj", "down_proj"].map(|leaf| format!("model.layers.0.mlp.{leaf}"));
    let linears = linears.each_ref().map(String::as_str);
    checkpoint(base.path(), config, &linears, &[]);
    manifest(base.path(), &linears.map(|name| (name, 512)), &linears[..1]);
    let (fp8, kept) = planned(base.path());
    assert_eq!(fp8, [linears[2]]);
    assert!(kept.len() == 1 && kept[0].0.contains("up_proj"), "{kept:?}");
    assert!(kept[0].1.contains("leaves unquantised"), "{kept:?}");
}

/// `fused_wqa_wkv` of DeepSeek-V4 and `in_proj_qkvg` of OLMo-Hybrid: vLLM refuses one of two formats.
#[test]
fn what_vllm_fuses_in_newer_attention_stays_whole() {
    let cases: [(&str, &str, &[&str], &str); 2] = [
        ("DeepseekV4ForCausalLM", "layers.0.attn", &["wq_a", "wkv"], "wo_b"),
        (
            "OlmoHybridForCausalLM",
            "model.layers.0.linear_attn",
            &["q_proj", "k_proj", "v_proj", "g_proj"],
            "o_proj",
        ),
    ];
    for (class, parent, parts, other) in cases {
        let base = tempfile::tempdir().unwrap();
        let config = json!({"architectures": [class]});
        let names: Vec<String> =
            parts.iter().chain([&other]).map(|leaf| format!("{parent}.{leaf}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        checkpoint(base.path(), config, &names, &[]);
        let members: Vec<(&str, u64)> = names.iter().map(|name| (*name, 512)).collect();
        manifest(base.path(), &members, &[]);
        let family = family(base.path(), DialectId::CompressedTensors, 50.0);
        let plan = &family.planned().unwrap().schemes[0].plan;
        let chosen =
            parts.iter().filter(|leaf| plan.formats.contains_key(&*format!("{parent}.{leaf}"))).count();
        assert!(chosen == 0 || chosen == parts.len(), "{class}: {:?}", plan.formats.keys());
        assert_eq!(
            family.planned().unwrap().schemes[0].plan.formats.len(),
            [1, parts.len()][usize::from(chosen > 0)]
        );
    }
}

/// ModelOpt makes lists of the parts of stacked experts of Qwen3-VL-MoE: `experts.gate_proj.0` is in the stack, or the expert
/// that is on disk by itself.
#[test]
fn experts_that_modelopt_unstacked_are_found() {
    let base = tempfile::tempdir().unwrap();
    let config =
        json!({"architectures": ["Qwen3VLMoeForConditionalGeneration"], "model_type": "qwen3_vl_moe"});
    let block = "model.language_model.layers.0";
    let linear = format!("{block}.self_attn.o_proj");
    let (gate_up, down) =
        (format!("{block}.mlp.experts.gate_up_proj"), format!("{block}.mlp.experts.down_proj"));
    let mut tensors: Tensors = [(format!("{linear}.weight"), Raw::zeros(&[16, 32]))].into();
    tensors.extend([(gate_up, Raw::zeros(&[2, 32, 64])), (down, Raw::zeros(&[2, 32, 32]))]);
    Directory::create(&base.path().join("model"), &config, &tensors);
    let experts: Vec<String> = ["gate_proj", "up_proj", "down_proj"]
        .iter()
        .flat_map(|part| [0, 1].map(|number| format!("{block}.mlp.experts.{part}.{number}")))
        .collect();
    let members: Vec<(&str, u64)> =
        experts.iter().map(|name| (name.as_str(), 1024)).chain([(linear.as_str(), 512)]).collect();
    manifest(base.path(), &members, &[]);
    let (fp8, kept) = planned(base.path());
    assert_eq!(fp8, std::slice::from_ref(&linear));
    assert!(
        !kept.is_empty() && kept.iter().all(|(_, reason)| reason.contains("experts in one tensor")),
        "{kept:?}"
    );

    let base = tempfile::tempdir().unwrap();
    let config = json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe"});
    checkpoint(base.path(), config, &["model.layers.0.mlp.experts.0.up_proj"], &[]);
    manifest(base.path(), &[("model.layers.0.mlp.experts.up_proj.0", 512)], &[]);
    assert_eq!(planned(base.path()).0, ["model.layers.0.mlp.experts.0.up_proj"]);
}
