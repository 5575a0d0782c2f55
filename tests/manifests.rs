//! The published manifests and ModelOpt's own, read from `../shared`; each test says so when it skips.

use std::path::{Path, PathBuf};

use qlua::manifest::{Coverage, Manifest, RankingOptions};
use qlua::model::Tower;
use qlua::report::per_layer;
use qlua::selector::Globs;

/// The folder `name` of `../shared`, or `None` (said aloud) when it is missing.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: `{}` is missing", path.display());
    None
}

/// A file of the published manifests.
fn published(file: &str) -> Option<PathBuf> {
    shared("data/manifests").map(|dir| dir.join(file))
}

fn open(path: &Path) -> Manifest {
    Manifest::open(path).unwrap_or_else(|e| panic!("{e}"))
}

/// Every manifest there is, published and golden.
fn all() -> Vec<Manifest> {
    let mut paths: Vec<PathBuf> = ["data/manifests", "golden/modelopt"]
        .into_iter()
        .filter_map(shared)
        .flat_map(|dir| std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let other = name.contains("coverage") || name.contains("per_layer") || !name.ends_with(".json");
            !other && (name.starts_with("qwen") || name.starts_with("autoquant"))
        })
        .collect();
    paths.sort();
    paths.iter().map(|path| open(path)).collect()
}

fn lines_of_table(markdown: &str) -> Vec<&str> {
    markdown.lines().filter(|line| line.starts_with('|')).collect()
}

#[test]
fn ten_percent_of_the_published_manifest_is_the_published_coverage_file() {
    let Some(path) = published("qwen2_5_vl_3b_all_layers_fp8.json") else { return };
    let expected_path = published("qwen2_5_vl_3b_all_layers_top10_coverage.json").unwrap();
    let expected = Coverage::open(&expected_path).unwrap();
    let ranking = open(&path).ranking(&RankingOptions::default()).unwrap();
    let selection = ranking.lowest(10.0).unwrap();
    let mut coverage = Coverage::new("fp8_autoquant_all_layers_top10_coco2017", &selection);
    assert_eq!(coverage.selected_layers, expected.selected_layers);
    assert_eq!(coverage.dropped_layers, expected.dropped_layers);
    assert_eq!((selection.selected().len(), selection.dropped().len(), selection.total), (28, 247, 275));

    coverage.baseline_dir = expected.baseline_dir;
    coverage.baseline_manifest = expected.baseline_manifest;
    let written = String::from_utf8(coverage.to_json()).unwrap();
    let published = std::fs::read_to_string(expected_path).unwrap();
    let up_to_extra_keys = published.strip_suffix("\n}").unwrap();
    assert!(written.starts_with(up_to_extra_keys));
    assert!(written[up_to_extra_keys.len()..].starts_with(",\n  \"order\": \"ascending\",\n"));
}

#[test]
fn recomputed_rankings_equal_the_published_ones() {
    let mut compared = 0;
    for manifest in all() {
        let Some(published) = manifest.published_ranking() else { continue };
        let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
        let left_out = |key: &&String| {
            let group = manifest.group(key).unwrap();
            !group.is_candidate() || !group.is_scored()
        };
        let expected: Vec<_> = published.iter().filter(|key| !left_out(key)).collect();
        let recomputed: Vec<_> = ranking.groups().map(|g| g.key().into_owned()).collect();
        assert_eq!(recomputed.iter().collect::<Vec<_>>(), expected, "{}", manifest.path().display());
        assert_eq!(
            ranking.len() + ranking.unscored.len() + ranking.not_candidates.len(),
            published.len(),
            "{}",
            manifest.path().display()
        );
        assert!(ranking.not_finite.is_empty());
        compared += 1;
    }
    eprintln!("compared {compared} published rankings");
    if shared("data/manifests").is_some() && shared("golden/modelopt").is_some() {
        assert_eq!(compared, 8);
    }
}

#[test]
fn the_manifest_without_a_ranking_gives_the_published_markdown() {
    let Some(path) = published("qwen2_5_vl_3b_all_layers_fp8_no_ranking.json") else { return };
    let manifest = open(&path);
    assert_eq!((manifest.version(), manifest.groups().len(), manifest.layers().len()), (0, 275, 414));
    assert_eq!(manifest.effective_bits(), Some(10.998807262551553));
    let expected =
        std::fs::read_to_string(published("qwen2_5_vl_3b_per_layer_sensitivity.md").unwrap()).unwrap();
    let written = per_layer::markdown(&manifest);
    assert_eq!(lines_of_table(&written), lines_of_table(&expected));
    assert_eq!(lines_of_table(&written).len(), 277);
    assert_eq!(written, expected);
}

#[test]
fn the_int8_manifest_gives_the_published_json_report() {
    let Some(path) = published("qwen2_5_vl_3b_lm_int8.json") else { return };
    let expected =
        std::fs::read(published("qwen2_5_vl_3b_lm_int8_per_layer_sensitivity.json").unwrap()).unwrap();
    let written = per_layer::json(&open(&path));
    let rows =
        |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap()["layer_sensitivity"].clone();
    assert_eq!(rows(&written), rows(&expected));
    // The published file only lacks the final newline.
    assert!(written == [&expected[..], b"\n"].concat());
}

#[test]
fn the_text_only_run_leaves_out_its_131_unscored_vision_groups() {
    let Some(path) = published("qwen2_5_vl_3b_lm_int8.json") else { return };
    let manifest = open(&path);
    let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
    assert_eq!((ranking.len(), ranking.unscored.len(), ranking.not_candidates.len()), (144, 131, 0));
    assert!(ranking.unscored.iter().all(|name| name.starts_with("visual.")));
    assert!(ranking.groups().all(|g| g.tower() == Tower::Language));
    let coverage = Coverage::new("s", &ranking.lowest(10.0).unwrap());
    assert_eq!((coverage.num_layers_selected, coverage.unscored_layers.len()), (15, 131));
    assert!(coverage.selected_layers.iter().all(|key| key.starts_with("language_model.")));

    let vision = RankingOptions { include: Some(Globs::new(["visual.*"]).unwrap()), ..Default::default() };
    let error = manifest.ranking(&vision).unwrap_err();
    assert!(error.to_string().contains("the 131 chosen groups were never scored"), "{error}");
    let asked_for = RankingOptions { include_unscored: true, ..Default::default() };
    assert_eq!(manifest.ranking(&asked_for).unwrap().len(), 275);
}

#[test]
fn both_qwen3_vl_manifests_parse_and_slice() {
    let Some(path) = published("qwen3_vl_4b_all_layers_fp8.json") else { return };
    let manifest = open(&path);
    assert_eq!((manifest.version(), manifest.groups().len()), (2, 250));
    assert_eq!(manifest.model_id(), Some("models/qwen3_vl_4b_instruct/checkpoints/Qwen3-VL-4B-Instruct"));
    let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
    assert_eq!((ranking.len(), ranking.lowest(10.0).unwrap().selected().len()), (250, 25));
    let towers = |tower| manifest.groups().iter().filter(|g| g.tower() == tower).count();
    let counts = [Tower::Language, Tower::Vision, Tower::Merger, Tower::Head].map(towers);
    assert_eq!(counts, [144, 97, 8, 1]);
    assert!(per_layer::markdown(&manifest).contains("\n|Layer|Num Bits|Sensitivity|Size Cost|\n"));

    let lm_only = open(&published("qwen3_vl_4b_lm_wfp8_afp8.json").unwrap());
    let ranking = lm_only.ranking(&RankingOptions::default()).unwrap();
    assert_eq!((ranking.len(), ranking.not_candidates.len(), ranking.unscored.len()), (145, 105, 0));
    assert_eq!(ranking.lowest(50.0).unwrap().selected().len(), 73);
    let rows = per_layer::rows(&lm_only);
    assert_eq!((rows.len(), rows[0].layer), (250, "model.language_model.layers.4.mlp.gate_proj"));
    assert_eq!((rows[249].num_bits, rows[249].sensitivity), (16.0, 0.0));
}

#[test]
fn members_derived_from_layers_equal_modelopts_module_names() {
    let Some(dir) = shared("golden/modelopt") else { return };
    for name in ["all_layers", "all_layers_11bits", "kl", "lm_only"] {
        let golden = open(&dir.join(format!("autoquant_{name}.json")));
        // These files have no `layers`: give them the list that a published manifest would have, and take the names away.
        let mut value: serde_json::Value = serde_json::from_slice(golden.bytes()).unwrap();
        let modules = golden.groups().iter().flat_map(|g| &g.members);
        value["layers"] =
            modules.map(|m| (m.clone(), serde_json::Value::Null)).collect::<serde_json::Map<_, _>>().into();
        for (_, group) in value["layer_sensitivity"].as_object_mut().unwrap() {
            assert!(group.as_object_mut().unwrap().remove("module_names").is_some());
        }
        let derived = Manifest::parse(golden.path(), serde_json::to_vec(&value).unwrap()).unwrap();
        assert_eq!(derived.groups(), golden.groups());
        assert!(golden.groups().iter().any(|g| g.members.len() == 3));
    }
}

#[test]
fn every_layer_of_a_published_manifest_is_a_member_of_exactly_one_group() {
    for manifest in all() {
        let mut members: Vec<&String> = manifest.groups().iter().flat_map(|g| &g.members).collect();
        let count = members.len();
        members.sort();
        members.dedup();
        assert_eq!(members.len(), count, "{}", manifest.path().display());
        if manifest.layers().is_empty() {
            continue;
        }
        let mut layers: Vec<&String> = manifest.layers().iter().collect();
        layers.sort();
        // The Conv3d is scored like a Linear but is not in the list of Linears.
        members.retain(|m| !m.ends_with("patch_embed.proj"));
        assert_eq!(members, layers, "{}", manifest.path().display());
    }
}

#[test]
fn parameters_follow_from_the_costs_of_a_known_model() {
    let Some(path) = published("qwen2_5_vl_3b_all_layers_fp8.json") else { return };
    let manifest = open(&path);
    let (hidden, intermediate, kv) = (2048, 11008, 256);
    let (vision, vision_intermediate) = (1280, 3420);
    let expected = [
        ("language_model.layers.0.self_attn.q_proj", hidden * (hidden + 2 * kv)),
        ("language_model.layers.0.self_attn.o_proj", hidden * hidden),
        ("language_model.layers.0.mlp.gate_proj", 2 * hidden * intermediate),
        ("language_model.layers.0.mlp.down_proj", hidden * intermediate),
        ("visual.blocks.0.attn.qkv", 3 * vision * vision),
        ("visual.blocks.0.attn.proj", vision * vision),
        ("visual.blocks.0.mlp.gate_proj", 2 * vision * vision_intermediate),
        ("visual.blocks.0.mlp.down_proj", vision * vision_intermediate),
        ("visual.merger.mlp.0", (4 * vision) * (4 * vision)),
        ("visual.merger.mlp.2", (4 * vision) * hidden),
        ("visual.patch_embed.proj", vision * 3 * 2 * 14 * 14),
    ];
    for (name, parameters) in expected {
        let group = manifest.group(name).unwrap();
        assert_eq!(group.parameters(), Some(parameters), "{name}");
        assert_eq!(group.candidate().unwrap().cost * 2.0, parameters as f64, "{name}");
    }
    // 36 blocks of the language model and 32 of the vision encoder.
    let blocks =
        |tower| manifest.groups().iter().filter(|g| g.tower() == tower).filter_map(|g| g.block()).max();
    assert_eq!((blocks(Tower::Language), blocks(Tower::Vision)), (Some(35), Some(31)));
}

#[test]
fn modelopts_own_manifests_carry_the_amax_of_every_quantizer() {
    let Some(dir) = shared("golden/modelopt") else { return };
    let manifest = open(&dir.join("autoquant_all_layers.json"));
    let amax = manifest.amax().unwrap();
    assert_eq!(amax.len(), 128);
    assert_eq!(amax.get("model.visual.blocks.0.attn.qkv.input_quantizer"), Some(3.3781731128692627));
    assert_eq!(amax.iter().next().unwrap().0, "model.visual.blocks.0.attn.qkv.input_quantizer");
    let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
    for member in ranking.groups().flat_map(|g| &g.members) {
        assert!(amax.get(&format!("{member}.input_quantizer")).is_some(), "{member}");
    }
    assert_eq!(ranking.not_candidates, ["model.visual.patch_embed.proj", "lm_head"]);
    assert_eq!(*amax, qlua::manifest::RecordedAmax::open(manifest.path()).unwrap());
}

#[test]
fn files_beside_a_manifest_are_recognised_for_what_they_are() {
    let Some(dir) = shared("data/manifests") else { return };
    let cases = [
        (
            "qwen2_5_vl_3b_all_layers_top10_coverage.json",
            "a coverage manifest",
            "fp8_autoquant_all_layers_fp8_quant_manifest",
        ),
        ("qwen2_5_vl_3b_lm_int8_per_layer_sensitivity.json", "a per-layer sensitivity report", "beside it"),
        ("../../golden/tiny-qwen2_5-vl/config.json", "a model's config.json", "_quant_manifest.json"),
        (
            "../../golden/modelopt/fp8_baseline/hf_quant_config.json",
            "hf_quant_config.json",
            "_quant_manifest.json",
        ),
    ];
    for (file, looks, hint) in cases {
        let error = Manifest::open(dir.join(file)).unwrap_err();
        assert!(error.to_string().contains(looks), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
    }
}
