//! The tensors that follow from a configuration: names on disk and shapes, for the families whose configuration tells both.

mod sizes;
mod tensors;
mod text;
mod vision;

use serde_json::Value;

use sizes::Sizes;
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

/// Every tensor of the model that `config` describes, in the spelling of the checkpoint of which `is_there` knows the tensors.
/// Nothing for other families, for a configuration that leaves out how many blocks there are, and for a checkpoint in a
/// spelling that is not known.
pub fn expected_tensors(config: &Value, is_there: &dyn Fn(&str) -> bool) -> Option<Vec<ExpectedTensor>> {
    let class = config["architectures"][0].as_str()?;
    let model_type = config["model_type"].as_str()?;
    let family = FAMILIES.iter().find(|family| family.class == class && family.model_type == model_type)?;
    let lists = family.spellings.iter().filter_map(|prefixes| listed(family, config, *prefixes, is_there));
    let counted = lists.map(|list| (list.iter().filter(|tensor| is_there(&tensor.name)).count(), list));
    // The first of those with the most tensors.
    let best = counted.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (2 * best.0 > best.1.len()).then_some(best.1)
}

fn listed(
    family: &ShapeFamily,
    config: &Value,
    (language, tower): Prefixes,
    is_there: &dyn Fn(&str) -> bool,
) -> Option<Vec<ExpectedTensor>> {
    let text = Sizes::part(config, "text_config").unwrap_or(Sizes(config));
    let mut list = TensorList::default();
    add_text(&mut list, family.text, text, language, is_there)?;
    if let Some(vision) = family.vision {
        add_vision(&mut list, vision, Sizes::part(config, "vision_config")?, tower)?;
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
    Some(list.tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn published(config: Value, first: &str) -> BTreeMap<String, ExpectedTensor> {
        let is_there = |name: &str| name.starts_with(first) && !name.ends_with("_proj");
        let list = expected_tensors(&config, &is_there);
        list.unwrap().into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect()
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
        let list = |config: Value| expected_tensors(&config, &|_| true);
        assert_eq!(list(json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama"})), None);
        let other =
            json!({"architectures": ["LlamaForCausalLM"], "model_type": "internlm3", "num_hidden_layers": 1});
        assert_eq!(list(other), None);
        let llama =
            json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 1});
        assert!(list(llama.clone()).is_some());
        assert_eq!(expected_tensors(&llama, &|_| false), None, "none of its names is there");
    }
}
