//! The tensors that follow from a configuration: names on disk and shapes, for the families whose configuration tells both.

mod sizes;
mod stated;
mod tensors;
mod text;
mod vision;

use serde_json::Value;

use sizes::{Gap, Sizes};
pub use stated::{StatedSize, missized};
pub use tensors::ExpectedTensor;
use tensors::TensorList;
use text::{TextFamily, add_text};
use vision::{VisionFamily, add_vision};

/// Where the parts of a model are on disk: before the blocks of the language model, and before the vision tower.
type Prefixes = (&'static str, &'static str);

/// A family, by class and model type: both, since classes are reused for models of other shapes.
struct ShapeFamily {
    class: &'static str,
    model_type: &'static str,
    text: TextFamily,
    vision: Option<VisionFamily>,
    /// The spellings that loaders accept, the published one first.
    spellings: &'static [Prefixes],
}

const TEXT: &[Prefixes] = &[("model.", "")];

const FAMILIES: [ShapeFamily; 7] = [
    ShapeFamily {
        class: "LlamaForCausalLM",
        model_type: "llama",
        text: TextFamily::Llama,
        vision: None,
        spellings: TEXT,
    },
    ShapeFamily {
        class: "MistralForCausalLM",
        model_type: "mistral",
        text: TextFamily::Mistral,
        vision: None,
        spellings: TEXT,
    },
    ShapeFamily {
        class: "Qwen2ForCausalLM",
        model_type: "qwen2",
        text: TextFamily::Qwen2,
        vision: None,
        spellings: TEXT,
    },
    ShapeFamily {
        class: "Qwen3ForCausalLM",
        model_type: "qwen3",
        text: TextFamily::Qwen3,
        vision: None,
        spellings: TEXT,
    },
    ShapeFamily {
        class: "Qwen3MoeForCausalLM",
        model_type: "qwen3_moe",
        text: TextFamily::Qwen3Moe,
        vision: None,
        spellings: TEXT,
    },
    ShapeFamily {
        class: "Qwen2_5_VLForConditionalGeneration",
        model_type: "qwen2_5_vl",
        text: TextFamily::Qwen2,
        vision: Some(VisionFamily::Qwen25Vl),
        spellings: &[
            ("model.", "visual."),
            ("model.language_model.", "model.visual."),
            ("language_model.model.", "visual."),
            ("language_model.", "visual."),
        ],
    },
    ShapeFamily {
        class: "Qwen3VLForConditionalGeneration",
        model_type: "qwen3_vl",
        text: TextFamily::Qwen3,
        vision: Some(VisionFamily::Qwen3Vl),
        spellings: &[("model.language_model.", "model.visual."), ("language_model.", "visual.")],
    },
];

/// What a configuration tells of the tensors of its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// Every one of them.
    Tensors(Vec<ExpectedTensor>),
    /// More than there are in the checkpoint, by this count in the configuration.
    TooMany {
        /// The key.
        key: &'static str,
        /// What it states.
        stated: usize,
    },
    /// Nothing: why, as a whole sentence without a full stop.
    Unknown(String),
}

/// Every tensor of the model that `config` describes, in the spelling of the checkpoint of which `is_there` knows the tensors,
/// `count` in all. Nothing for other families, for a configuration that leaves out how many blocks there are, and for a
/// checkpoint in a spelling that is not known.
pub fn expected_tensors(config: &Value, count: usize, is_there: &dyn Fn(&str) -> bool) -> Expectation {
    let unknown = |why: String| Expectation::Unknown(why);
    let Some(class) = config["architectures"][0].as_str() else {
        return unknown("config.json names no architecture".into());
    };
    let Some(family) = family_of(config) else {
        return unknown(match FAMILIES.iter().find(|family| family.class == class) {
            Some(family) => {
                format!("config.json does not say that {class} is of the model type {}", family.model_type)
            }
            None => format!("the sizes of the tensors of {class} are not known here"),
        });
    };
    let mut lists = Vec::new();
    for prefixes in family.spellings {
        match listed(family, config, *prefixes, count, is_there) {
            Ok(list) => lists.push(list),
            Err(Gap::TooMany { key, stated }) => return Expectation::TooMany { key, stated },
            Err(Gap::NotStated(key)) => {
                return unknown(format!("config.json does not say, or not as a count, what `{key}` is"));
            }
        }
    }
    let counted =
        lists.into_iter().map(|list| (list.iter().filter(|tensor| is_there(&tensor.name)).count(), list));
    // The first of those with the most tensors.
    match counted.reduce(|best, next| if next.0 > best.0 { next } else { best }) {
        Some((found, list)) if 2 * found > list.len() => Expectation::Tensors(list),
        _ => unknown(format!("the tensors have other names than those of {class} that are known here")),
    }
}

/// The family that `config` is of.
fn family_of(config: &Value) -> Option<&'static ShapeFamily> {
    let class = config["architectures"][0].as_str()?;
    let model_type = config["model_type"].as_str()?;
    FAMILIES.iter().find(|family| family.class == class && family.model_type == model_type)
}

fn listed(
    family: &ShapeFamily,
    config: &Value,
    (language, tower): Prefixes,
    most: usize,
    is_there: &dyn Fn(&str) -> bool,
) -> Result<Vec<ExpectedTensor>, Gap> {
    let text = Sizes::part(config, "text_config").unwrap_or(Sizes(config));
    let mut list = TensorList::default();
    add_text(&mut list, family.text, text, language, most, is_there)?;
    if let Some(vision) = family.vision {
        let part = Sizes::part(config, "vision_config").ok_or(Gap::NotStated("vision_config"))?;
        add_vision(&mut list, vision, part, tower, most)?;
    }
    let tied = |config: &Value| config.get("tie_word_embeddings").and_then(Value::as_bool);
    let stated = [tied(config), tied(text.0)];
    let head =
        format!("{}lm_head.weight", if language == "language_model.model." { "language_model." } else { "" });
    let shape = [text.number("vocab_size"), text.number("hidden_size")];
    // A head that is tied may be stored all the same; releases differ in what they take where nothing is stated.
    if stated.contains(&Some(false)) && !stated.contains(&Some(true)) {
        list.add(head, &shape);
    } else {
        list.add_optional(head, &shape);
    }
    Ok(list.tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn published(config: Value, first: &str) -> BTreeMap<String, ExpectedTensor> {
        let is_there = |name: &str| name.starts_with(first) && !name.ends_with("_proj");
        let Expectation::Tensors(list) = expected_tensors(&config, usize::MAX, &is_there) else {
            panic!("its tensors are known");
        };
        list.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect()
    }

    fn shape<'a>(tensors: &'a BTreeMap<String, ExpectedTensor>, name: &str) -> &'a [usize] {
        tensors[name].shape.as_deref().unwrap()
    }

    /// Qwen3-30B-A3B: 18,867 tensors, as its index has them.
    #[test]
    fn a_published_mixture_has_the_published_tensors() {
        let config = json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "head_dim": 128,
            "hidden_size": 2048, "intermediate_size": 6144, "moe_intermediate_size": 768, "num_attention_heads": 32,
            "num_key_value_heads": 4, "num_hidden_layers": 48, "num_experts": 128, "vocab_size": 151936,
            "mlp_only_layers": [], "decoder_sparse_step": 1, "attention_bias": false, "tie_word_embeddings": false});
        let tensors = published(config, "model.layers.");
        assert_eq!(tensors.len(), 18_867);
        assert!(tensors.values().all(|tensor| tensor.is_required));
        assert_eq!(shape(&tensors, "model.layers.47.self_attn.o_proj.weight"), [2048, 4096]);
        assert_eq!(shape(&tensors, "model.layers.0.self_attn.k_norm.weight"), [128]);
        assert_eq!(shape(&tensors, "model.layers.9.mlp.experts.127.down_proj.weight"), [2048, 768]);
    }

    /// Qwen2.5-VL-3B, whose configuration is flat, is tied and has 824 tensors.
    #[test]
    fn a_flat_configuration_is_that_of_the_language_model() {
        let config = json!({"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
            "hidden_size": 2048, "intermediate_size": 11008, "num_attention_heads": 16, "num_key_value_heads": 2,
            "num_hidden_layers": 36, "vocab_size": 151936, "tie_word_embeddings": true,
            "vision_config": {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "in_chans": 3,
                "out_hidden_size": 2048, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2}});
        let tensors = published(config, "model.layers.");
        assert_eq!(tensors.values().filter(|tensor| tensor.is_required).count(), 824);
        assert!(!tensors["lm_head.weight"].is_required);
        assert_eq!(shape(&tensors, "model.layers.0.self_attn.v_proj.bias"), [256]);
        assert_eq!(shape(&tensors, "visual.merger.mlp.2.weight"), [2048, 5120]);
    }

    #[test]
    fn mixtures_are_where_the_configuration_has_them() {
        let config = json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 8,
            "num_attention_heads": 2, "num_hidden_layers": 4, "num_experts": 2, "decoder_sparse_step": 2,
            "mlp_only_layers": [3]});
        let tensors = published(config, "model.layers.");
        let mixtures = tensors.keys().filter_map(|name| name.strip_suffix(".mlp.gate.weight"));
        assert_eq!(mixtures.collect::<Vec<_>>(), ["model.layers.1"]);
        assert_eq!(tensors["model.layers.0.self_attn.q_proj.weight"].shape, None, "the heads are not stated");
    }

    #[test]
    fn nothing_is_expected_of_what_is_not_known() {
        let list = |config: Value| expected_tensors(&config, 20, &|_| true);
        let is_unknown = |config: Value| matches!(list(config), Expectation::Unknown(_));
        assert!(is_unknown(json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})));
        assert!(is_unknown(json!({"model_type": "llama", "num_hidden_layers": 1})));
        let llama = |model_type: &str, blocks: Value| json!({"architectures": ["LlamaForCausalLM"], "model_type": model_type, "num_hidden_layers": blocks});
        assert!(is_unknown(llama("internlm3", json!(1))));
        assert!(is_unknown(llama("llama", json!("1"))));
        let known = llama("llama", json!(1));
        assert!(matches!(list(known.clone()), Expectation::Tensors(_)));
        let none = expected_tensors(&known, 20, &|_| false);
        assert!(matches!(none, Expectation::Unknown(_)), "none of its names is there");
    }

    #[test]
    fn counts_that_no_checkpoint_holds_are_not_counted_to() {
        let vast = 1_000_000_000_000u64;
        let config = json!({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe",
            "num_hidden_layers": 2, "num_experts": vast});
        let found = expected_tensors(&config, 20, &|name| !name.ends_with("_proj"));
        assert_eq!(found, Expectation::TooMany { key: "num_experts", stated: vast as usize });
        let config =
            json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": vast});
        let found = expected_tensors(&config, 20, &|_| true);
        assert_eq!(found, Expectation::TooMany { key: "num_hidden_layers", stated: vast as usize });
    }
}
