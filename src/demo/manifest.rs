//! A sensitivity manifest in the newest published schema, with made-up scores.
//!
//! Layout, grouping and costs follow ModelOpt and the published manifests, so that everything downstream sees what it
//! would see of a real run. The scores do not come from a run, and the manifest says so: its method is `demo`.

use serde_json::{Map, Value, json};

use super::shape::Qwen25VlShape;
use super::values::unit;

/// The scheme's name; it begins with `demo` so that nobody takes the scores for measured ones.
pub const SCHEME: &str = "demo_autoquant_all_layers_fp8";

const FP8: &str = "FP8_DEFAULT_CFG(effective-bits: 8.0)";
const NONE: &str = "NONE(effective-bits: 16.0)";

/// A recipe group: modules that share one decision.
struct DemoGroup {
    /// In-memory names, the first of which names the group.
    modules: Vec<String>,
    /// Weights of all members together.
    parameters: usize,
    /// Whether FP8 is offered.
    candidate: bool,
}

/// The groups in model order: vision, language, `lm_head`. q, k, v share one, gate and up share one.
fn groups(shape: &Qwen25VlShape) -> Vec<DemoGroup> {
    let mut groups: Vec<DemoGroup> = Vec::new();
    for tensor in shape.tensors() {
        let Some(module) = tensor.name.strip_suffix(".weight").filter(|_| tensor.shape.len() > 1) else {
            continue;
        };
        if module.ends_with("embed_tokens") {
            continue;
        }
        let module = match module.strip_prefix("model.") {
            Some(rest) => format!("model.language_model.{rest}"),
            None => format!("model.{module}"),
        };
        let parameters = tensor.shape.iter().product();
        let joins = ["k_proj", "v_proj", "up_proj"].iter().any(|leaf| module.ends_with(leaf));
        match groups.last_mut() {
            Some(group) if joins => {
                group.modules.push(module);
                group.parameters += parameters;
            }
            _ => groups.push(DemoGroup { modules: vec![module], parameters, candidate: true }),
        }
    }
    let parameters = shape.vocab_size * shape.hidden_size;
    groups.push(DemoGroup { modules: vec!["lm_head".into()], parameters, candidate: false });
    groups
}

/// The index of the block that `module` belongs to.
fn block(module: &str) -> Option<f64> {
    module.split('.').find_map(|part| part.parse().ok())
}

/// A made-up score: the magnitude that the published Qwen2.5-VL-3B manifests show for the kind of layer, larger in the
/// first blocks, scattered by a factor between ½ and 2.
fn score(seed: u64, module: &str) -> f64 {
    const MAGNITUDES: [(&str, f64); 9] = [
        ("patch_embed.proj", 24.0),
        ("visual.merger", 4e-4),
        ("attn.qkv", 3e-3),
        ("attn.proj", 2e-3),
        ("self_attn.q_proj", 1.5e-4),
        ("self_attn.o_proj", 2.5e-5),
        ("language_model.layers.0.mlp.down_proj", 3e-3),
        ("mlp.down_proj", 7e-5),
        ("mlp.gate_proj", 1.4e-4),
    ];
    let magnitude = MAGNITUDES.iter().find(|(kind, _)| module.contains(kind)).map_or(1e-3, |row| row.1);
    let vision = if module.contains("visual.blocks") && module.contains(".mlp.") { 20.0 } else { 1.0 };
    let depth = 1.0 + 3.0 / (1.0 + block(module).unwrap_or(8.0));
    magnitude * vision * depth * (0.5 + 1.5 * unit(seed, &format!("{module} score")))
}

/// A made-up largest absolute input of `module`. The inputs of `down_proj` have heavy tails, as in trained models; the
/// magnitudes cover what the demo's weights give, so static scales saturate little.
fn input_amax(seed: u64, module: &str) -> f64 {
    const MAGNITUDES: [(&str, f64); 3] =
        [("mlp.down_proj", 32.0), ("merger.mlp.2", 24.0), ("attn.proj", 12.0)];
    let magnitude = MAGNITUDES.iter().find(|(kind, _)| module.ends_with(kind)).map_or(8.0, |row| row.1);
    // Sixteenths, so that the number is short and exact in every float format.
    (magnitude * (1.0 + unit(seed, &format!("{module} input amax"))) * 16.0).round() / 16.0
}

/// The manifest for `shape` under `seed`.
pub fn manifest(shape: &Qwen25VlShape, seed: u64) -> Value {
    let groups = groups(shape);
    let mut layers = Map::new();
    let mut sensitivity: Vec<(String, Value, f64)> = Vec::new();
    let mut amax = Map::new();
    let (mut total, mut chosen, mut total_score) = (0.0, 0.0, 0.0);
    for group in &groups {
        let first = &group.modules[0];
        // ModelOpt counts a weight as one unit of cost in 16 bits, half a unit in 8.
        let full = group.parameters as f64;
        let (formats, scores, costs) = if group.candidate {
            (vec![FP8, NONE], vec![score(seed, first), 0.0], vec![full / 2.0, full])
        } else {
            (vec![NONE], vec![0.0], vec![full])
        };
        total += full;
        chosen += costs[0];
        total_score += scores[0];
        for module in &group.modules {
            // A convolution is scored but is no linear layer; the published manifests leave it out of `layers`.
            if !module.ends_with("patch_embed.proj") {
                layers.insert(module.clone(), json!({"quantized": true, "module_type": "QuantLinear"}));
            }
            if group.candidate {
                // Members of a group read the same input.
                amax.insert(format!("{module}.input_quantizer"), json!(input_amax(seed, first)));
            }
        }
        let importance = scores[0];
        let entry = json!({"formats": formats, "scores": scores, "costs": costs, "importance": importance,
                           "module_names": group.modules});
        sensitivity.push((format!("{first}.quant_recipe"), entry, importance));
    }
    let mut ranking: Vec<usize> = (0..sensitivity.len()).collect();
    ranking.sort_by(|&a, &b| sensitivity[a].2.total_cmp(&sensitivity[b].2));
    for (rank, &index) in (1..).zip(&ranking) {
        sensitivity[index].1["rank"] = json!(rank);
    }
    let ranking: Vec<Value> =
        ranking.iter().map(|&i| json!({"name": sensitivity[i].0, "importance": sensitivity[i].2})).collect();
    let bits = 16.0 * chosen / total;
    json!({
        "scheme": {
            "name": SCHEME,
            "auto_quantize_bits": (bits * 1e4).ceil() / 1e4,
            "auto_quantize_method": "demo",
            "auto_quantize_score_size": 0,
            "coverage_mode": "full",
            "coverage_fraction": 1.0,
            "quant_formats": ["FP8_DEFAULT_CFG"],
        },
        "model": {"id": "qlua-demo"},
        "dataset": {
            "size": "none",
            "max_calib_samples": 0,
            "num_calib_samples": 0,
            "num_calib_batches": 0,
            "note": "no model was run: scores and input amax are made up from the seed",
        },
        "quantization": {
            "base_format_name": "FP8_DEFAULT_CFG",
            "format_names": ["FP8_DEFAULT_CFG"],
            "quant_format": "fp8",
            "quant_pair": {
                "name": "wfp8_afp8",
                "weight": "fp8",
                "activation": "fp8",
                "format_name": "FP8_DEFAULT_CFG",
            },
        },
        "run_config": {"tool": "qlua demo", "seed": seed},
        "num_quantized_layers": layers.len(),
        "layers": layers,
        "autoquant_state": {
            "keys": ["candidate_stats", "best", "constraints"],
            "constraints": {"effective_bits": bits},
            "score": total_score,
            "is_satisfied": true,
        },
        "layer_sensitivity": sensitivity.into_iter().map(|(key, entry, _)| (key, entry)).collect::<Map<_, _>>(),
        "sensitivity_ranking": ranking,
        "amax": amax,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::shape::tests::golden_shape;
    use std::path::Path;

    fn shared(path: &str) -> Option<Value> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path);
        if !path.exists() {
            eprintln!("SKIPPED: {} is not there", path.display());
            return None;
        }
        Some(crate::json::read(&path, crate::input::InputKind::Manifest).unwrap())
    }

    #[test]
    fn groups_members_costs_and_bits_equal_those_of_modelopt() {
        let Some(golden) = shared("golden/modelopt/autoquant_all_layers.json") else { return };
        let ours = manifest(&golden_shape(), 0);
        let sensitivity = |m: &Value| m["layer_sensitivity"].as_object().unwrap().clone();
        let (ours_sensitivity, golden_sensitivity) = (sensitivity(&ours), sensitivity(&golden));
        assert_eq!(
            ours_sensitivity.keys().collect::<Vec<_>>(),
            golden_sensitivity.keys().collect::<Vec<_>>()
        );
        for (key, entry) in &golden_sensitivity {
            assert_eq!(ours_sensitivity[key]["module_names"], entry["module_names"], "{key}");
            if !key.contains("patch_embed") {
                assert_eq!(ours_sensitivity[key]["costs"], entry["costs"], "{key}");
                assert_eq!(ours_sensitivity[key]["formats"], entry["formats"], "{key}");
            }
        }
        let inputs = |m: &Value| {
            let keys = m["amax"].as_object().unwrap().keys();
            keys.filter(|k| k.ends_with(".input_quantizer") && !k.contains("patch_embed"))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(inputs(&ours), inputs(&golden));
        // That run had patch_embed in BF16; with it in FP8 its half cost is gone.
        let patch =
            ours_sensitivity["model.visual.patch_embed.proj.quant_recipe"]["costs"][0].as_f64().unwrap();
        let total: f64 = golden_sensitivity
            .values()
            .map(|e| e["costs"].as_array().unwrap().last().unwrap().as_f64().unwrap())
            .sum();
        let bits = |m: &Value| m["autoquant_state"]["constraints"]["effective_bits"].as_f64().unwrap();
        assert!((bits(&ours) + 16.0 * patch / total - bits(&golden)).abs() < 1e-9);
    }

    #[test]
    fn groups_layers_and_costs_equal_those_of_the_published_manifest() {
        let Some(published) = shared("data/manifests/qwen2_5_vl_3b_all_layers_fp8.json") else { return };
        let ours = manifest(&Qwen25VlShape::REAL_3B, 0);
        // That version spells the names without the `model.` in front, and the head was not part of it.
        let short = |m: &Value, field: &str| -> Vec<(String, Value)> {
            let entries = m[field].as_object().unwrap().iter();
            entries
                .map(|(k, v)| (k.trim_start_matches("model.").to_string(), v["costs"].clone()))
                .filter(|(k, _)| !k.starts_with("lm_head"))
                .collect()
        };
        for field in ["layer_sensitivity", "layers"] {
            assert_eq!(short(&ours, field), short(&published, field), "{field}");
        }
    }

    #[test]
    fn the_ranking_is_ascending_and_the_extremes_are_as_published() {
        let demo = manifest(&Qwen25VlShape::DEMO, 0);
        let ranking = demo["sensitivity_ranking"].as_array().unwrap();
        assert_eq!(ranking.len(), 1 + 3 * 4 + 2 + 4 * 4 + 1);
        assert_eq!(ranking[0]["name"], "lm_head.quant_recipe");
        assert_eq!(ranking.last().unwrap()["name"], "model.visual.patch_embed.proj.quant_recipe");
        assert!(ranking.is_sorted_by_key(|row| row["importance"].as_f64().unwrap().to_bits()));
        for (rank, row) in (1..).zip(ranking) {
            let entry = &demo["layer_sensitivity"][row["name"].as_str().unwrap()];
            assert_eq!((entry["rank"].as_i64(), &entry["importance"]), (Some(rank), &row["importance"]));
        }
    }
}
