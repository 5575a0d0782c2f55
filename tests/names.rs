//! Names of the supported models: from every manifest spelling to the tensors on disk, and from there to the spelling that
//! each loader expects. The expected names are written down by hand, from what Transformers and vLLM call the modules.

mod common;

use qlua::dialect::{Code, DialectChoice, DialectId, Engine};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::directory::{Directory, Raw, Tensors};
use common::place::export;
use common::{ascending_family, faults, options, shared};
use qlua::error::Result;
use qlua::format::FormatId;
use qlua::job::{Family, FamilyOptions};
use qlua::manifest::Manifest;
use qlua::model::Model;
use qlua::plan::{Located, Plan};
use qlua::write::Silent;
use regex::Regex;
use safetensors::tensor::Dtype;
use serde_json::{Value, json};

/// Values that differ from row to row, so that scales do.
fn linear(out: usize, input: usize) -> Raw {
    let values: Vec<f32> =
        (0..out * input).map(|i| (i % 7) as f32 - 3.0 + (i / input) as f32 / 8.0).collect();
    Raw::bf16(&[out, input], &values)
}

/// A checkpoint with a 16 × 16 weight for each of `linears`, and the other tensors.
fn checkpoint(base: &Path, config: Value, linears: &[&str], others: &[(&str, &[usize])]) -> Directory {
    let mut tensors: Tensors = linears.iter().map(|m| (format!("{m}.weight"), linear(16, 16))).collect();
    tensors.extend(others.iter().map(|(name, shape)| (name.to_string(), Raw::zeros(shape))));
    Directory::create(&base.join("model"), &config, &tensors)
}

/// A manifest of recipe groups, the least sensitive first, every module with an input scale. Costs are the weights of the
/// checkpoint beside it; what is not in it counts nothing.
fn write_manifest(base: &Path, groups: &[&[&str]]) {
    let tensors = Directory(base.join("model")).tensors();
    let end = |name: &str| {
        name.split('.').skip_while(|c| ["model", "language_model"].contains(c)).collect::<Vec<_>>().join(".")
    };
    let weights = |member: &str| {
        let wanted = end(&format!("{member}.weight"));
        let shape = tensors.iter().find(|(name, _)| end(name) == wanted).map(|(_, tensor)| &tensor.shape);
        shape.map_or(0, |shape| shape.iter().product::<usize>()) as f64
    };
    let group = |(number, members): (usize, &&[&str])| {
        // A tied head is not on disk, and ModelOpt counts it all the same.
        let cost: f64 = members.iter().map(|member| weights(member)).sum::<f64>().max(64.0);
        let entry = json!({
            "formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
            "scores": [number as f64 + 1.0, 0.0], "costs": [cost / 2.0, cost], "module_names": members});
        (format!("{}.quant_recipe", members[0]), entry)
    };
    let sensitivity: serde_json::Map<String, Value> = groups.iter().enumerate().map(group).collect();
    let amax: BTreeMap<String, f64> =
        groups.iter().copied().flatten().map(|m| (format!("{m}.input_quantizer"), 2.0)).collect();
    let manifest = json!({"layer_sensitivity": sensitivity, "amax": amax});
    std::fs::write(base.join("manifest.json"), manifest.to_string()).unwrap();
}

/// What a scheme says to its loaders, by names on disk.
#[derive(Debug, PartialEq)]
struct Said {
    fp8: BTreeSet<String>,
    /// What every engine leaves as it is, by whatever name it knows it.
    ignore: BTreeSet<String>,
    exclude: BTreeSet<String>,
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| n.to_string()).collect()
}

/// The `modules` and the head that `list` hits under every name that engines have for them; those that it hits under some
/// only are marked. Engines compare as Python's `re.match` does, or the whole name where an entry is plain.
fn heard(list: &Value, modules: &[&str]) -> BTreeSet<String> {
    let entries: Vec<&str> = list.as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect();
    let patterns: Vec<Regex> = entries
        .iter()
        .filter_map(|e| e.strip_prefix("re:"))
        .map(|e| Regex::new(&format!(r"\A(?:{e})")).unwrap())
        .collect();
    let hit = |name: &str| entries.contains(&name) || patterns.iter().any(|p| p.is_match(name));
    let mut heard = BTreeSet::new();
    for module in modules.iter().copied().chain(["lm_head"]) {
        let mut rest = module;
        while let Some(inner) = rest.strip_prefix("model.").or_else(|| rest.strip_prefix("language_model.")) {
            rest = inner;
        }
        let parts = [
            (".q_proj", ".qkv_proj"),
            (".k_proj", ".qkv_proj"),
            (".v_proj", ".qkv_proj"),
            (".qkv", ".qkv_proj"),
            (".gate_proj", ".gate_up_proj"),
            (".up_proj", ".gate_up_proj"),
        ];
        let whole =
            parts.iter().find_map(|(part, whole)| Some(format!("{}{whole}", rest.strip_suffix(part)?)));
        let wrappers = ["", "model.", "language_model.", "model.language_model.", "language_model.model."];
        let names = wrappers.iter().flat_map(|w| {
            [Some(rest), whole.as_deref()].into_iter().flatten().map(move |n| format!("{w}{n}"))
        });
        let hits: Vec<bool> =
            if rest == "lm_head" { vec![hit("lm_head")] } else { names.map(|n| hit(&n)).collect() };
        if hits.iter().all(|hit| *hit) {
            heard.insert(module.to_string());
        } else if hits.contains(&true) {
            heard.insert(format!("{module} in some engines"));
        }
    }
    heard
}

/// Writes the least sensitive `percent` in the universal dialect, which has both lists.
fn said(base: &Path, percent: f64) -> Result<Said> {
    let out = base.join("out");
    let options = FamilyOptions {
        dialect: DialectChoice::Named(DialectId::Universal),
        overwrite: true,
        ..options(&base.join("model"), &base.join("manifest.json"), &out)
    };
    let written = export(options, &[percent], &Silent)?.remove(0);
    assert_eq!(faults(&written.directory), []);
    let directory = Directory(written.directory);
    let names = |list: &Value| list.as_array().unwrap().iter().map(|n| n.as_str().unwrap().into()).collect();
    let tensors = directory.tensors();
    let modules: Vec<&str> = tensors.keys().filter_map(|n| n.strip_suffix(".weight")).collect();
    let fp8 = tensors.iter().filter(|(_, t)| t.dtype == Dtype::F8_E4M3);
    Ok(Said {
        fp8: fp8.map(|(name, _)| name.strip_suffix(".weight").unwrap().to_string()).collect(),
        ignore: heard(&directory.json("config.json")["quantization_config"]["ignore"], &modules),
        exclude: names(&directory.json("hf_quant_config.json")["quantization"]["exclude_modules"]),
    })
}

/// Hub spelling: `model.layers.*` and `visual.*` on disk, both below `model.` in memory; manifests of two generations.
#[test]
fn qwen2_5_vl() {
    let base = tempfile::tempdir().unwrap();
    let linears = [
        "model.layers.0.self_attn.o_proj",
        "model.layers.1.self_attn.o_proj",
        "visual.blocks.0.attn.qkv",
        "visual.blocks.1.attn.qkv",
        "visual.merger.mlp.0",
    ];
    let others: [(&str, &[usize]); 4] = [
        ("model.embed_tokens.weight", &[32, 16]),
        ("model.norm.weight", &[16]),
        ("visual.patch_embed.proj.weight", &[16, 3, 2, 4, 4]),
        ("visual.blocks.0.attn.qkv.bias", &[16]),
    ];
    checkpoint(
        base.path(),
        json!({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "tie_word_embeddings": true}),
        &linears,
        &others,
    );
    for (language, vision) in [
        ("language_model.layers", "visual"),
        ("model.language_model.layers", "model.visual"),
        ("language_model.model.layers", "visual"),
    ] {
        let module = |rest: &str| match rest.strip_prefix("v.") {
            Some(rest) => format!("{vision}.{rest}"),
            None => format!("{language}.{rest}"),
        };
        let selected = ["0.self_attn.o_proj", "v.blocks.1.attn.qkv", "v.patch_embed.proj"].map(module);
        let rest = ["1.self_attn.o_proj", "v.blocks.0.attn.qkv", "v.merger.mlp.0"].map(module);
        let groups: Vec<[&str; 1]> = selected.iter().chain(&rest).map(|m| [m.as_str()]).collect();
        let groups: Vec<&[&str]> = groups.iter().map(|g| g.as_slice()).collect();
        write_manifest(base.path(), &groups);
        let expected = Said {
            fp8: set(&["model.layers.0.self_attn.o_proj", "visual.blocks.1.attn.qkv"]),
            ignore: set(&[
                "model.layers.1.self_attn.o_proj",
                "visual.blocks.0.attn.qkv",
                "visual.merger.mlp.0",
                "lm_head",
            ]),
            exclude: set(&[
                "model.layers.1.self_attn.o_proj",
                "visual.blocks.0.attn.qkv",
                "visual.merger.mlp.0",
                "lm_head",
            ]),
        };
        assert_eq!(said(base.path(), 50.0).unwrap(), expected, "{language}");
    }
}

/// As newer releases of Transformers save the same model: every name as in memory.
#[test]
fn qwen2_5_vl_in_the_spelling_of_memory() {
    let base = tempfile::tempdir().unwrap();
    let linears =
        ["model.language_model.layers.0.mlp.down_proj", "model.visual.blocks.0.attn.proj", "lm_head"];
    let others: [(&str, &[usize]); 1] = [("model.language_model.embed_tokens.weight", &[16, 16])];
    checkpoint(
        base.path(),
        json!({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "tie_word_embeddings": false}),
        &linears,
        &others,
    );
    write_manifest(
        base.path(),
        &[&["language_model.layers.0.mlp.down_proj"], &["visual.blocks.0.attn.proj"]],
    );
    let rest = set(&["model.visual.blocks.0.attn.proj", "lm_head"]);
    let fp8 = set(&["model.language_model.layers.0.mlp.down_proj"]);
    assert_eq!(said(base.path(), 50.0).unwrap(), Said { fp8, ignore: rest.clone(), exclude: rest });
}

/// A text-only run names the language model's layers from its own root, and no other tower.
#[test]
fn a_text_only_manifest_of_a_vision_language_model() {
    let base = tempfile::tempdir().unwrap();
    let linears = [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.k_proj",
        "model.layers.0.self_attn.v_proj",
        "model.layers.0.mlp.down_proj",
        // The vision tower has blocks of its own, and of the same leaves.
        "visual.blocks.0.mlp.down_proj",
    ];
    checkpoint(
        base.path(),
        json!({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "tie_word_embeddings": true}),
        &linears,
        &[("model.embed_tokens.weight", &[32, 16])],
    );
    let attention: &[&str] =
        &["layers.0.self_attn.q_proj", "layers.0.self_attn.k_proj", "layers.0.self_attn.v_proj"];
    write_manifest(base.path(), &[attention, &["layers.0.mlp.down_proj"]]);
    let said = said(base.path(), 100.0).unwrap();
    assert_eq!(said.fp8, set(&linears[..4]));
    assert_eq!(said.ignore, set(&["visual.blocks.0.mlp.down_proj", "lm_head"]));
    assert_eq!(said.exclude, set(&["visual.blocks.0.mlp.down_proj", "lm_head"]));
}

/// One spelling everywhere; fully connected layers called `linear_fc*`; a table of positions that is no linear layer.
#[test]
fn qwen3_vl() {
    let base = tempfile::tempdir().unwrap();
    let linears = [
        "model.language_model.layers.0.self_attn.o_proj",
        "model.visual.blocks.0.mlp.linear_fc1",
        "model.visual.blocks.0.mlp.linear_fc2",
        "model.visual.merger.linear_fc1",
        "model.visual.deepstack_merger_list.0.linear_fc1",
    ];
    let others: [(&str, &[usize]); 5] = [
        ("model.language_model.embed_tokens.weight", &[32, 16]),
        ("model.language_model.layers.0.self_attn.q_norm.weight", &[16]),
        ("model.visual.pos_embed.weight", &[16, 16]),
        ("model.visual.patch_embed.proj.weight", &[16, 3, 2, 4, 4]),
        ("model.visual.merger.norm.weight", &[16]),
    ];
    checkpoint(
        base.path(),
        json!({"architectures": ["Qwen3VLForConditionalGeneration"], "text_config": {"tie_word_embeddings": true}}),
        &linears,
        &others,
    );
    let groups: [&[&str]; 7] = [
        &["model.visual.patch_embed.proj"],
        &["lm_head"],
        &["model.language_model.layers.0.self_attn.o_proj"],
        &["model.visual.deepstack_merger_list.0.linear_fc1"],
        &["model.visual.blocks.0.mlp.linear_fc1"],
        &["model.visual.blocks.0.mlp.linear_fc2"],
        &["model.visual.merger.linear_fc1"],
    ];
    write_manifest(base.path(), &groups);
    let rest = set(&["model.visual.blocks.0.mlp.linear_fc2", "model.visual.merger.linear_fc1", "lm_head"]);
    let said = said(base.path(), 70.0).unwrap();
    assert_eq!(said.fp8, set(&[linears[0], linears[4], linears[1]]));
    assert_eq!((&said.ignore, &said.exclude), (&rest, &rest));
}

/// Text models: the same name everywhere, whichever of the two spellings a manifest has.
#[test]
fn qwen2_qwen3_and_llama() {
    for (untied, spelling) in [(false, "model.layers"), (true, "model.layers"), (true, "layers")] {
        let base = tempfile::tempdir().unwrap();
        let mut linears = vec![
            "model.layers.0.mlp.gate_proj",
            "model.layers.0.mlp.up_proj",
            "model.layers.0.mlp.down_proj",
        ];
        linears.extend(untied.then_some("lm_head"));
        let others: [(&str, &[usize]); 3] = [
            ("model.embed_tokens.weight", &[16, 16]),
            ("model.layers.0.self_attn.k_norm.weight", &[16]),
            ("model.layers.0.self_attn.q_proj.bias", &[16]),
        ];
        checkpoint(
            base.path(),
            json!({"architectures": ["Qwen3ForCausalLM"], "tie_word_embeddings": !untied}),
            &linears,
            &others,
        );
        let [gate, up, down] = ["gate", "up", "down"].map(|leaf| format!("{spelling}.0.mlp.{leaf}_proj"));
        write_manifest(base.path(), &[&["lm_head"], &[&gate, &up], &[&down]]);
        let rest = set(&["model.layers.0.mlp.down_proj", "lm_head"]);
        let said = said(base.path(), 60.0).unwrap();
        assert_eq!(said.fp8, set(&linears[..2]));
        assert_eq!((&said.ignore, &said.exclude), (&rest, &rest), "untied: {untied}");

        // A ranked head stays in BF16 and the plan says why.
        let family = Family::open(options(
            &base.path().join("model"),
            &base.path().join("manifest.json"),
            &base.path().join("unused"),
        ))
        .unwrap();
        let model = family.model().unwrap();
        let located = Located::in_model(family.manifest(), model, FormatId::Fp8).unwrap();
        let plan = Plan::resolve(&located, family.manifest().groups(), FormatId::Fp8).unwrap();
        assert_eq!(plan.kept.len(), 1);
        assert_eq!(plan.kept[0].layer, "lm_head.quant_recipe");
        assert!(plan.kept[0].reason.contains(if untied { "loaders disagree" } else { "tied" }));
    }
}

/// vLLM runs the experts of a block as one: all or none. Scales are shared by an expert's gate and up only.
#[test]
fn experts_are_quantised_together_with_scales_of_their_own() {
    let base = tempfile::tempdir().unwrap();
    let mut linears = vec!["model.layers.0.mlp.gate".to_string()];
    for expert in 0..3 {
        linears.extend(
            ["gate", "up", "down"].map(|leaf| format!("model.layers.0.mlp.experts.{expert}.{leaf}_proj")),
        );
    }
    let linears: Vec<&str> = linears.iter().map(String::as_str).collect();
    let directory = checkpoint(base.path(), json!({}), &linears, &[]);
    directory.edit_tensors(|tensors| {
        for (number, name) in linears.iter().enumerate() {
            let factor = 1.0 + number as f32;
            let weight = tensors.get_mut(&format!("{name}.weight")).unwrap();
            *weight = Raw::bf16(&[16, 16], &[factor; 256]);
        }
    });
    write_manifest(base.path(), &[&linears[1..], &["model.layers.0.mlp.gate"]]);
    let all = said(base.path(), 50.0).unwrap();
    assert_eq!(all.fp8, set(&linears[1..]));
    assert_eq!(all.exclude, set(&["model.layers.0.mlp.gate", "lm_head"]));
    let tensors = Directory(base.path().join("out/top50")).tensors();
    let scale = |module: &str| tensors[&format!("{module}.weight_scale")].bytes.clone();
    let of = |expert: usize, leaf: usize| scale(linears[1 + 3 * expert + leaf]);
    for expert in 0..3 {
        assert_eq!(of(expert, 0), of(expert, 1), "gate and up of expert {expert}");
        assert_ne!(of(expert, 1), of(expert, 2), "up and down of expert {expert}");
    }
    assert_ne!(of(0, 0), of(1, 0));

    // Scored apart, they are one group all the same; with an expert that is no candidate there is nothing to choose.
    write_manifest(base.path(), &[&linears[1..4], &linears[4..]]);
    assert_eq!(said(base.path(), 50.0).unwrap().fp8, all.fp8);
    write_manifest(base.path(), &[&linears[1..4]]);
    let error = said(base.path(), 50.0).unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert!(error.to_string().contains("splits the fused group `model.layers.0.mlp.experts`"), "{error}");
}

/// Every name of a published manifest, on a checkpoint with every module of the published model, made by hand.
#[test]
fn published_manifests_resolve_on_checkpoints_of_the_published_names() {
    let mut qwen3 = vec!["lm_head".to_string()];
    let mut qwen2_5 = vec!["visual.merger.mlp.0".to_string(), "visual.merger.mlp.2".into()];
    for block in 0..36 {
        for leaf in
            ["self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down"]
        {
            qwen3.push(format!("model.language_model.layers.{block}.{leaf}_proj"));
            qwen2_5.push(format!("model.layers.{block}.{leaf}_proj"));
        }
    }
    for block in 0..24 {
        for leaf in ["attn.qkv", "attn.proj", "mlp.linear_fc1", "mlp.linear_fc2"] {
            qwen3.push(format!("model.visual.blocks.{block}.{leaf}"));
        }
    }
    for block in 0..32 {
        for leaf in ["attn.qkv", "attn.proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"] {
            qwen2_5.push(format!("visual.blocks.{block}.{leaf}"));
        }
    }
    for merger in ["merger", "deepstack_merger_list.0", "deepstack_merger_list.1", "deepstack_merger_list.2"]
    {
        qwen3.extend([1, 2].map(|n| format!("model.visual.{merger}.linear_fc{n}")));
    }
    for (manifest, linears, patch_embed, groups, quantised) in [
        ("qwen2_5_vl_3b_all_layers_fp8", &qwen2_5, "visual.patch_embed.proj.weight", 275, 414),
        ("qwen2_5_vl_3b_all_layers_fp8_no_ranking", &qwen2_5, "visual.patch_embed.proj.weight", 275, 414),
        // INT8 manifests name the same layers; the format is the plan's to choose. 131 vision groups were never scored.
        ("qwen2_5_vl_3b_lm_int8", &qwen2_5, "visual.patch_embed.proj.weight", 144, 252),
        ("qwen3_vl_4b_all_layers_fp8", &qwen3, "model.visual.patch_embed.proj.weight", 250, 356),
        ("qwen3_vl_4b_lm_wfp8_afp8", &qwen3, "model.visual.patch_embed.proj.weight", 145, 252),
    ] {
        let Some(path) = shared(&format!("data/manifests/{manifest}.json")) else { return };
        let base = tempfile::tempdir().unwrap();
        let linears: Vec<&str> = linears.iter().map(String::as_str).collect();
        let others: [(&str, &[usize]); 1] = [(patch_embed, &[4, 3, 2, 2, 2])];
        checkpoint(base.path(), json!({"tie_word_embeddings": true}), &linears, &others);
        // A family would say that weights of this size are another model's.
        let published = Manifest::open(&path).unwrap();
        let model = Model::open(base.path().join("model")).unwrap();
        let located = Located::in_model(&published, &model, FormatId::Fp8).unwrap();
        let ranking = published.ranking(&Default::default()).unwrap();
        assert_eq!(ranking.len(), groups, "{manifest}");
        let plan = Plan::resolve(&located, ranking.lowest(100.0).unwrap().selected(), FormatId::Fp8).unwrap();
        assert_eq!(plan.formats.len(), quantised, "{manifest}");
        let checkpoint = Model::open(base.path().join("model")).unwrap();
        assert!(plan.formats.keys().all(|module| checkpoint.modules().is_linear(module)));
    }
}

/// The list of `linears`, all in BF16 but those of `fp8`.
fn list(base: &Path, linears: &[&str], fp8: &[&[&str]]) -> Result<Vec<String>> {
    checkpoint(base, json!({"tie_word_embeddings": true}), linears, &[]);
    write_manifest(base, fp8);
    let options = FamilyOptions {
        dialect: DialectChoice::Named(DialectId::CompressedTensors),
        overwrite: true,
        ..options(&base.join("model"), &base.join("manifest.json"), &base.join("out"))
    };
    let written = export(options, &[100.0], &Silent)?.remove(0);
    let config = Directory(written.directory).json("config.json");
    let entries = config["quantization_config"]["ignore"].as_array().unwrap().iter();
    Ok(entries.map(|e| e.as_str().unwrap().to_string()).collect())
}

/// As SGLang, vLLM and Transformers were found to read it; the numbers of layers of one kind are one entry.
#[test]
fn the_spelling_of_ignore() {
    let base = tempfile::tempdir().unwrap();
    let linears = [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.self_attn.k_proj",
        "model.layers.0.self_attn.v_proj",
        "model.layers.0.mlp.down_proj",
        "model.layers.1.mlp.down_proj",
        "model.layers.12.mlp.down_proj",
        "visual.blocks.1.attn.qkv",
        "visual.merger.mlp.0",
        "mtp.layers.0.mlp.down_proj",
    ];
    let expected = [
        r"re:((model|language_model)\.)*layers\.(0|12)\.mlp\.down_proj$",
        r"re:((model|language_model)\.)*layers\.0\.self_attn\.(k_proj|q_proj|qkv_proj|v_proj)$",
        r"re:((model|language_model)\.)*mtp\.layers\.0\.mlp\.down_proj$",
        r"re:((model|language_model)\.)*visual\.blocks\.1\.attn\.(qkv|qkv_proj)$",
        r"re:((model|language_model)\.)*visual\.merger\.mlp\.0$",
        // vLLM renames what is plain below other roots in a way of each model's own.
        "mtp.layers.0.mlp.down_proj",
        "lm_head",
    ];
    assert_eq!(list(base.path(), &linears, &[&["model.layers.1.mlp.down_proj"]]).unwrap(), expected);
}

/// The layers of another tower, of a draft stack and of longer numbers have the same ends.
#[test]
fn no_entry_hits_a_layer_of_the_same_end() {
    let base = tempfile::tempdir().unwrap();
    let ends = ["layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"];
    let roots = ["model.", "audio_tower.", "mtp.", "visual.encoder."];
    for bf16 in roots {
        let named = |root: &str| ends.map(|end| format!("{root}{end}"));
        let linears: Vec<String> = roots.iter().flat_map(|root| named(root)).collect();
        let linears: Vec<&str> = linears
            .iter()
            .map(String::as_str)
            .chain(["model.layers.11.mlp.gate_proj", "model.layers.11.mlp.up_proj"])
            .collect();
        let fp8: Vec<[&str; 1]> =
            linears.iter().filter(|m| !named(bf16).contains(&m.to_string())).map(|m| [*m]).collect();
        let groups: Vec<&[&str]> = fp8.iter().map(|g| g.as_slice()).collect();
        let entries = list(base.path(), &linears, &groups).unwrap();
        let expected: BTreeSet<String> = named(bf16).into_iter().chain(["lm_head".to_string()]).collect();
        assert_eq!(heard(&json!(entries), &linears), expected, "{bf16}");
    }
}

/// Experts of a mixture are one entry for all layers, also under the names that vLLM and SGLang look for.
#[test]
fn a_mixture_is_few_entries() {
    let base = tempfile::tempdir().unwrap();
    let mut linears = vec!["model.layers.0.self_attn.o_proj".to_string()];
    for layer in 0..4 {
        for expert in 0..32 {
            linears.extend(
                ["w1", "w2", "w3"]
                    .map(|w| format!("model.layers.{layer}.block_sparse_moe.experts.{expert}.{w}")),
            );
        }
    }
    let linears: Vec<&str> = linears.iter().map(String::as_str).collect();
    let entries = list(base.path(), &linears, &[&["model.layers.0.self_attn.o_proj"]]).unwrap();
    assert_eq!(entries.len(), 4, "{entries:?}");
    let looked_for: Vec<String> = ["gate_proj", "up_proj", "down_proj"]
        .iter()
        .map(|part| format!("model.layers.3.block_sparse_moe.experts.0.{part}"))
        .collect();
    let looked_for: Vec<&str> = looked_for.iter().map(String::as_str).collect();
    assert_eq!(heard(&json!(entries), &looked_for).len(), 4);
}

/// Two stacks whose names differ by a wrapper: no entry tells them apart in all engines.
#[test]
fn names_that_engines_cannot_keep_apart_are_refused_before_anything_is_written() {
    let base = tempfile::tempdir().unwrap();
    let linears = [
        "model.layers.0.self_attn.o_proj",
        "model.layers.0.self_attn.qkv_proj",
        "model.layers.0.self_attn.qkv",
    ];
    let error = list(base.path(), &linears, &[&["model.layers.0.self_attn.qkv_proj"]]).unwrap_err();
    assert_eq!(error.kind(), "refused");
    assert!(error.to_string().contains("`model.layers.0.self_attn.qkv` stays in BF16"), "{error}");
    assert!(!base.path().join("out").exists());
}

/// A model whose vision tower SGLang builds without a quantisation configuration.
fn qwen3_vl_for(base: &Path, engines: &[Engine], groups: &[&[&str]], dialect: DialectChoice) -> Family {
    let linears = ["model.language_model.layers.0.mlp.down_proj", "model.visual.blocks.0.attn.qkv"];
    checkpoint(base, json!({"architectures": ["Qwen3VLForConditionalGeneration"]}), &linears, &[]);
    write_manifest(base, groups);
    let options = FamilyOptions {
        for_engines: engines.to_vec(),
        dialect,
        ..options(&base.join("model"), &base.join("manifest.json"), &base.join("out"))
    };
    ascending_family(options, &[100.0])
}

#[test]
fn what_an_engine_cannot_read_is_refused_for_it_and_noted_otherwise() {
    let language: &[&str] = &["model.language_model.layers.0.mlp.down_proj"];
    let vision: &[&str] = &["model.visual.blocks.0.attn.qkv"];
    let base = tempfile::tempdir().unwrap();
    let family =
        |engines: &[Engine], groups: &[&[&str]], dialect| qwen3_vl_for(base.path(), engines, groups, dialect);
    let refused = |family: Family| {
        let error = family.run(&Silent).unwrap_err();
        assert_eq!(error.kind(), "refused");
        assert!(!base.path().join("out").exists());
        (error.to_string(), error.hint().unwrap())
    };

    let (problem, hint) =
        refused(family(&[Engine::Sglang], &[language, vision], DialectChoice::Named(DialectId::Universal)));
    assert!(
        problem.starts_with(
            "SGLang cannot read 1 quantised layer of `top100` (`model.visual.blocks.0.attn.qkv`): "
        ),
        "{problem}"
    );
    assert!(hint.contains("lm_only_topx") && hint.contains("leave sglang out of --for"), "{hint}");
    let (problem, _) = refused(family(
        &[Engine::Vllm, Engine::Transformers],
        &[language],
        DialectChoice::Named(DialectId::ModelOpt),
    ));
    assert!(problem.starts_with("Transformers cannot read"), "{problem}");

    let notes = |engines: &[Engine], groups: &[&[&str]]| {
        let decision = family(engines, groups, DialectChoice::Named(DialectId::Universal)).planned().unwrap();
        decision.notes.iter().filter(|note| note.starts_with("SGLang")).count()
    };
    assert_eq!(notes(&[Engine::Vllm, Engine::Transformers], &[language, vision]), 1);
    assert_eq!(notes(&[Engine::Sglang], &[language]), 0);
}

/// One module under two spellings would be counted twice, and chosen by the cheaper of its scores.
#[test]
fn a_module_in_two_groups_under_two_spellings_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let linears = ["model.layers.0.self_attn.o_proj", "model.layers.0.mlp.down_proj"];
    checkpoint(base.path(), json!({"architectures": ["LlamaForCausalLM"]}), &linears, &[]);
    let other = "language_model.model.layers.0.self_attn.o_proj";
    write_manifest(base.path(), &[&[linears[0]], &[linears[1]], &[other]]);
    let error = said(base.path(), 50.0).unwrap_err();
    assert_eq!(error.kind(), "refused");
    let expected =
        format!("the groups `{}` and `{other}` both have `{}`, under two spellings", linears[0], linears[0]);
    assert_eq!(error.to_string(), expected);
}

/// Transformers makes a linear layer of a head that is tied, whatever it is called: both lists that it reads name it.
#[test]
fn a_tied_head_of_another_name_is_listed() {
    let base = tempfile::tempdir().unwrap();
    checkpoint(
        base.path(),
        json!({"architectures": ["BioGptForCausalLM"], "model_type": "biogpt", "tie_word_embeddings": true}),
        &["biogpt.layers.0.fc1", "biogpt.layers.1.fc1"],
        &[("biogpt.embed_tokens.weight", &[32, 16])],
    );
    write_manifest(base.path(), &[&["biogpt.layers.0.fc1"], &["biogpt.layers.1.fc1"]]);
    let out = base.path().join("out");
    let options = FamilyOptions {
        dialect: DialectChoice::Named(DialectId::Universal),
        ..options(&base.path().join("model"), &base.path().join("manifest.json"), &out)
    };
    let written = export(options, &[50.0], &Silent).unwrap().remove(0);
    let config = Directory(written.directory.clone()).json("config.json");
    let ignore = config["quantization_config"]["ignore"].as_array().unwrap().clone();
    assert!(ignore.contains(&json!("output_projection")), "{ignore:?}");
    assert_eq!(faults(&written.directory), []);
    let without = config.to_string().replace("\"output_projection\",", "");
    std::fs::write(written.directory.join("config.json"), without).unwrap();
    assert!(faults(&written.directory).iter().any(|problem| problem.code == Code::LmHead));
}
