//! The five policies of docs/writing-a-policy.md select what they say, compared with what the manifest's JSON itself says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::page::blocks;
use super::text;

/// The most lines that such a policy has.
const LINES: usize = 12;

/// A recipe group as the manifest's JSON has it.
#[derive(Debug, Clone)]
struct Entry {
    members: Vec<String>,
    score: f64,
    /// Weights of all members.
    weights: f64,
    /// Whether FP8 was tried.
    is_candidate: bool,
}

impl Entry {
    fn is_language(&self) -> bool {
        self.members[0].contains("language_model.layers.")
    }

    /// The number after `layers.` or `blocks.`.
    fn block(&self) -> Option<u32> {
        let parts: Vec<&str> = self.members[0].split('.').collect();
        parts
            .windows(2)
            .find(|pair| ["layers", "blocks"].contains(&pair[0]))
            .and_then(|pair| pair[1].parse().ok())
    }

    /// Whether every loader has it in BF16: a convolution.
    fn stays(&self) -> bool {
        self.members[0].contains("patch_embed")
    }
}

/// The groups that may go to FP8 and were scored.
fn candidates(manifest: &Value) -> Vec<Entry> {
    let entry = |value: &Value| {
        let last = |key: &str| value[key].as_array().unwrap().last().unwrap().as_f64().unwrap();
        Entry {
            members: serde_json::from_value(value["module_names"].clone()).unwrap(),
            score: value["scores"][0].as_f64().unwrap(),
            weights: last("costs"),
            is_candidate: value["formats"].as_array().unwrap().len() > 1,
        }
    };
    let groups = manifest["layer_sensitivity"].as_object().unwrap().values().map(entry);
    groups.filter(|group| group.is_candidate && group.score != 0.0).collect()
}

/// `groups` by rising `key`.
fn sorted(mut groups: Vec<Entry>, key: impl Fn(&Entry) -> f64) -> Vec<Entry> {
    groups.sort_by(|a, b| key(a).total_cmp(&key(b)));
    groups
}

/// The first `percent` of a list, rounded up.
fn first(groups: &[Entry], percent: f64) -> &[Entry] {
    &groups[..(groups.len() as f64 * percent / 100.0).ceil() as usize]
}

/// The modules of `groups` that are stored in FP8.
fn modules<'a>(groups: impl IntoIterator<Item = &'a Entry>) -> BTreeSet<String> {
    groups.into_iter().filter(|group| !group.stays()).flat_map(|group| group.members.clone()).collect()
}

/// A manifest in the schema of the demo's: 24 blocks of a language model and 6 of a vision tower, with scores that `seed` draws.
fn manifest(like: &Value, seed: u64) -> Value {
    let mut state = seed;
    let mut draw = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let mut groups = Map::new();
    let mut add = |members: Vec<String>, weights: f64, score: f64| {
        let (formats, scores, costs) = match members[0] == "lm_head" {
            true => (json!(["NONE(effective-bits: 16.0)"]), json!([0.0]), json!([weights])),
            false => (
                json!(["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"]),
                json!([score, 0.0]),
                json!([weights / 2.0, weights]),
            ),
        };
        let group = json!({"formats": formats, "scores": scores, "costs": costs, "importance": score, "module_names": members});
        groups.insert(format!("{}.quant_recipe", members[0]), group);
    };
    for (tower, blocks) in [("language_model.layers", 24), ("visual.blocks", 6)] {
        let attention: &[&str] = match tower {
            "visual.blocks" => &["attn.qkv"],
            _ => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        };
        let output: &[&str] = if tower == "visual.blocks" { &["attn.proj"] } else { &["self_attn.o_proj"] };
        for block in 0..blocks {
            for (parts, weights) in [
                (attention, 49152.0),
                (output, 16384.0),
                (&["mlp.gate_proj", "mlp.up_proj"], 90112.0),
                (&["mlp.down_proj"], 45056.0),
            ] {
                let members = parts.iter().map(|part| format!("model.{tower}.{block}.{part}")).collect();
                add(members, weights, 10f64.powf(-4.0 * draw()));
            }
        }
    }
    add(vec!["model.visual.merger.mlp.0".into()], 262144.0, draw());
    add(vec!["model.visual.patch_embed.proj".into()], 150528.0, 300.0);
    add(vec!["lm_head".into()], 65536.0, 0.0);
    let mut manifest = like.clone();
    let names = groups.values().flat_map(|group| group["module_names"].as_array().unwrap());
    // Those that are linear layers, as ModelOpt lists them.
    let linear = names.map(|name| name.as_str().unwrap()).filter(|name| !name.contains("patch_embed"));
    let layers: BTreeMap<&str, Value> =
        linear.map(|name| (name, json!({"quantized": true, "module_type": "QuantLinear"}))).collect();
    let mut ranking: Vec<Value> =
        groups.iter().map(|(name, group)| json!({"name": name, "importance": group["importance"]})).collect();
    ranking.sort_by(|a, b| a["importance"].as_f64().unwrap().total_cmp(&b["importance"].as_f64().unwrap()));
    manifest["num_quantized_layers"] = json!(layers.len());
    manifest["layers"] = json!(layers);
    manifest["sensitivity_ranking"] = json!(ranking);
    manifest["layer_sensitivity"] = Value::Object(groups);
    manifest.as_object_mut().unwrap().remove("amax");
    manifest
}

/// A folder with the policies of the page, and manifests of 24 blocks.
struct Desk {
    place: TempDir,
    demo: Value,
    one: Value,
    other: Value,
}

impl Desk {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path();
        qlua::demo::build(&path.join("qlua-demo")).unwrap();
        let page = text("docs/writing-a-policy.md");
        let mut names = BTreeSet::new();
        let (blocks, _) = blocks(&page).unwrap();
        for block in blocks.iter().filter(|block| block.language == "lua") {
            let name = block.file_name().unwrap();
            let lines = block.text.lines().count();
            assert!(lines <= LINES, "{name} has {lines} lines");
            fs::write(path.join(name), &block.text).unwrap();
            names.insert(name);
        }
        assert_eq!(names.len(), 5, "{names:?}");
        let read =
            |name: &str| -> Value { serde_json::from_slice(&fs::read(path.join(name)).unwrap()).unwrap() };
        let demo = read("qlua-demo/manifest.json");
        let (one, other) = (manifest(&demo, 7), manifest(&demo, 8));
        for (name, manifest) in [("one.json", &one), ("other.json", &other)] {
            fs::write(path.join(name), manifest.to_string()).unwrap();
        }
        Desk { place, demo, one, other }
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    /// The plan of a policy over a manifest alone: its schemes.
    fn plan(&self, policy: &str, manifest: &str, words: &[&str]) -> Vec<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(["-q", policy, "--dry-run", "--json", "--manifest", manifest]).args(words);
        let output = command.current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "{policy}: {}", String::from_utf8_lossy(&output.stderr));
        // A policy may print lines of its own before the plan.
        let said = String::from_utf8(output.stdout).unwrap();
        let plan: Value = serde_json::from_str(&said[said.find('{').unwrap()..]).unwrap();
        plan["schemes"].as_array().unwrap().clone()
    }
}

/// The modules that a scheme of a plan has in FP8.
fn fp8(scheme: &Value) -> BTreeSet<String> {
    let formats = scheme["formats"].as_object().unwrap();
    formats.iter().filter(|(_, format)| *format == "FP8").map(|(name, _)| name.clone()).collect()
}

#[test]
fn score_per_byte_takes_what_loses_least_for_each_byte() {
    let desk = Desk::new();
    let ranked = sorted(candidates(&desk.one), |group| group.score / group.weights);
    let schemes = desk.plan("score_per_byte.lua", "one.json", &[]);
    assert_eq!(schemes.len(), 10);
    for (scheme, percent) in schemes.iter().zip((10..=100).step_by(10)) {
        assert_eq!(fp8(scheme), modules(first(&ranked, f64::from(percent))), "{percent} %");
    }
    let by_score = modules(first(&sorted(candidates(&desk.one), |group| group.score), 50.0));
    assert_ne!(fp8(&schemes[4]), by_score, "bytes make a difference");
}

#[test]
fn score_mass_takes_no_more_than_the_share_and_as_much_as_fits() {
    let desk = Desk::new();
    let groups: Vec<Entry> = candidates(&desk.one).into_iter().filter(|group| !group.stays()).collect();
    let ranked = sorted(groups, |group| group.score);
    let total: f64 = ranked.iter().map(|group| group.score).sum();
    for percent in [1.0, 10.0, 25.0, 99.0] {
        let mass = |count: usize| ranked[..count].iter().map(|group| group.score).sum::<f64>();
        let count =
            (0..=ranked.len()).take_while(|count| mass(*count) <= total * percent / 100.0).last().unwrap();
        assert!(count > 0 && count < ranked.len(), "{percent} % is between nothing and all");
        let schemes = desk.plan("score_mass.lua", "one.json", &["--mass", &percent.to_string()]);
        assert_eq!(fp8(&schemes[0]), modules(&ranked[..count]), "{percent} %");
    }
}

#[test]
fn mlp_of_blocks_takes_the_mlps_of_blocks_4_to_20() {
    let desk = Desk::new();
    let groups = candidates(&desk.one).into_iter().filter(|group| {
        group.is_language()
            && (4..=20).contains(&group.block().unwrap())
            && group.members[0].contains(".mlp.")
    });
    let expected = modules(&groups.collect::<Vec<_>>());
    assert_eq!(expected.len(), 17 * 3);
    assert_eq!(fp8(&desk.plan("mlp_of_blocks.lua", "one.json", &[])[0]), expected);
}

#[test]
fn the_budget_without_vision_is_met_with_the_least_score() {
    let desk = Desk::new();
    let all = desk.demo["layer_sensitivity"].as_object().unwrap().values();
    let whole: f64 =
        all.map(|group| 2.0 * group["costs"].as_array().unwrap().last().unwrap().as_f64().unwrap()).sum();
    let language: Vec<Entry> = candidates(&desk.demo).into_iter().filter(Entry::is_language).collect();
    assert_eq!(language.len(), 16);
    for budget in [3_300_000u32, 3_000_000, 2_800_000] {
        // All 65,536 choices. A weight takes two bytes in BF16 and one in FP8.
        let figures = |choice: u32| {
            let chosen = language.iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1);
            chosen
                .fold((whole, 0.0), |(bytes, score), (_, group)| (bytes - group.weights, score + group.score))
        };
        let fitting = (0..1 << language.len()).map(figures).filter(|(bytes, _)| *bytes <= f64::from(budget));
        let least = fitting.map(|(_, score)| score).fold(f64::INFINITY, f64::min);

        let schemes = desk.plan(
            "budget_without_vision.lua",
            "qlua-demo/manifest.json",
            &["--fit", &budget.to_string()],
        );
        let found = fp8(&schemes[0]);
        let choice = (0..language.len()).filter(|at| found.contains(&language[*at].members[0]));
        let (bytes, score) = figures(choice.map(|at| 1 << at).sum());
        assert!(
            bytes <= f64::from(budget) && (score - least).abs() <= 1e-12,
            "{budget}: {bytes}, {score}, {least}"
        );
        assert!(found.iter().all(|module| module.contains("language_model")), "{found:?}");
    }
}

#[test]
fn agreed_takes_what_both_manifests_rank_low() {
    let desk = Desk::new();
    for share in [20.0, 50.0] {
        let low =
            |manifest: &Value| modules(first(&sorted(candidates(manifest), |group| group.score), share));
        let (one, other) = (low(&desk.one), low(&desk.other));
        let both: BTreeSet<String> = one.intersection(&other).cloned().collect();
        assert!(!both.is_empty() && both.len() < one.len(), "the manifests agree in part");
        let words = ["--with", "other.json", "--share", &share.to_string()];
        assert_eq!(fp8(&desk.plan("agreed.lua", "one.json", &words)[0]), both);
    }
}
