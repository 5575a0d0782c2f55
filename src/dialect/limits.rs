//! What engines cannot read of a model in any spelling.
//!
//! Each line was measured with the engine's own code, or read in it where that is said: vLLM 0.33, SGLang 0.5.23,
//! Transformers 5.24 and 4.57.6.

use super::engine::Engine;
use super::id::DialectId;
use super::limit::{Limit, Scope};
use crate::plan::Activations;

/// The second inherits what the limits are about from the first, by SGLang's source.
const QWEN3_VL: &[&str] = &["Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration"];
/// Towers that vLLM calls `vision_tower` or `vision_model`.
const VISION_TOWERS: &[&str] = &[
    "AyaVisionForConditionalGeneration",
    "Gemma3ForConditionalGeneration",
    "Idefics3ForConditionalGeneration",
    "InternVLForConditionalGeneration",
    "Lfm2VlForConditionalGeneration",
    "Llama4ForConditionalGeneration",
    "LlavaForConditionalGeneration",
    "LlavaNextForConditionalGeneration",
    "Mistral3ForConditionalGeneration",
    "MllamaForConditionalGeneration",
    "PaliGemmaForConditionalGeneration",
    "SmolVLMForConditionalGeneration",
];
const COMPRESSED: &[DialectId] = &[DialectId::Universal, DialectId::CompressedTensors];

/// Every known limit, in the order of the documentation.
pub const LIMITS: [Limit; 24] = [
    Limit {
        engine: Engine::Transformers,
        architectures: &[],
        dialects: &[DialectId::ModelOpt],
        activations: None,
        scope: Scope::Everything,
        reason: "Transformers has no reader for ModelOpt's format",
        instead: "choose --dialect universal or compressed-tensors",
    },
    Limit {
        engine: Engine::Transformers,
        architectures: &["Llama4ForCausalLM", "Llama4ForConditionalGeneration"],
        dialects: COMPRESSED,
        activations: None,
        scope: Scope::Everything,
        reason: "Transformers builds the experts of Llama 4 one by one as soon as it sees compressed-tensors, and does not find \
                 them in the stacks on disk",
        instead: "serve it with vLLM, or choose --dialect fp8-block",
    },
    Limit {
        engine: Engine::Transformers,
        architectures: &["FalconForCausalLM"],
        dialects: &[DialectId::Fp8Block],
        activations: None,
        scope: Scope::Everything,
        reason: "Transformers 5 makes block FP8 of layers of the class Linear alone, of which Falcon has a subclass, and takes raw \
                 codes for weights (Transformers 4 reads it)",
        instead: "choose --dialect universal or compressed-tensors",
    },
    Limit {
        engine: Engine::Transformers,
        architectures: &["Lfm2MoeForCausalLM", "LongcatFlashForCausalLM"],
        dialects: &[DialectId::Fp8Block],
        activations: None,
        scope: Scope::Everything,
        reason: "Transformers' reader of block FP8 does not build the layers or experts of this architecture and fails",
        instead: "choose --dialect universal or compressed-tensors",
    },
    Limit {
        engine: Engine::Transformers,
        architectures: &["HrmTextForCausalLM"],
        dialects: &[],
        activations: None,
        scope: Scope::Everything,
        reason: "Transformers splits layers of this architecture while it loads them, and fails at their scales",
        instead: "serve it in BF16",
    },
    Limit {
        engine: Engine::Vllm,
        architectures: &["FalconH1ForCausalLM", "MiniCPM3ForCausalLM"],
        dialects: &[],
        activations: None,
        scope: Scope::Everything,
        reason: "vLLM gives layers of this architecture names without the number of the block, or none, so that no list keeps \
                 them apart",
        instead: "serve it with Transformers",
    },
    Limit {
        engine: Engine::Vllm,
        architectures: &["BloomForCausalLM"],
        dialects: &[],
        activations: None,
        scope: Scope::Everything,
        reason: "vLLM rearranges query_key_value of this architecture by heads, its scales too, which fails",
        instead: "serve it with Transformers",
    },
    Limit {
        engine: Engine::Vllm,
        architectures: &["FalconForCausalLM"],
        dialects: &[DialectId::Fp8Block],
        activations: None,
        scope: Scope::Everything,
        reason: "vLLM divides the scales of blocks of Falcon's query_key_value by heads, which fails",
        instead: "choose --dialect universal or compressed-tensors",
    },
    Limit {
        engine: Engine::Vllm,
        architectures: &["Mistral3ForConditionalGeneration"],
        dialects: &[DialectId::Fp8Block],
        activations: None,
        scope: Scope::Everything,
        reason: "vLLM renames the scales of blocks to weight_scale for this architecture and finds no such parameter",
        instead: "choose --dialect universal or compressed-tensors",
    },
    Limit {
        engine: Engine::Vllm,
        architectures: VISION_TOWERS,
        dialects: &[DialectId::ModelOpt],
        activations: None,
        scope: Scope::Vision,
        reason: "vLLM's reader of ModelOpt never quantises a layer of a `vision_tower` or `vision_model` and finds no place for \
                 its scales",
        instead: "keep the vision tower in BF16 (lm_only_topx), or choose --dialect universal or compressed-tensors",
    },
    Limit {
        engine: Engine::Vllm,
        architectures: &[
            "InternVLForConditionalGeneration",
            "Llama4ForConditionalGeneration",
            "Mistral3ForConditionalGeneration",
            "PaddleOCRVLForConditionalGeneration",
            "PaliGemmaForConditionalGeneration",
        ],
        dialects: &[],
        activations: None,
        scope: Scope::Merger,
        reason: "vLLM builds the projector of this architecture without a quantisation configuration and fails at its scales",
        instead: "keep the projector in BF16 (lm_only_topx, --exclude '*projector*'), or serve it with Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &["Mistral3ForConditionalGeneration"],
        dialects: &[],
        activations: None,
        scope: Scope::Merger,
        reason: "SGLang builds the projector of this architecture without a quantisation configuration and fails at its scales",
        instead: "keep the projector in BF16 (lm_only_topx, --exclude '*projector*'), or serve it with Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &[],
        dialects: &[DialectId::ModelOpt],
        activations: Some(Activations::Dynamic),
        scope: Scope::Everything,
        reason: "SGLang does not know ModelOpt's FP8_PER_CHANNEL_PER_TOKEN: it fails, or takes raw codes for weights",
        instead: "choose --dialect compressed-tensors, or static activations",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: QWEN3_VL,
        dialects: &[DialectId::ModelOpt],
        activations: Some(Activations::Static),
        scope: Scope::Everything,
        reason: "SGLang does not find the names of ModelOpt's list among its layers of Qwen3-VL and takes BF16 layers for FP8",
        instead: "choose --dialect universal or compressed-tensors",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &[
            "Qwen3VLForConditionalGeneration",
            "Qwen3VLMoeForConditionalGeneration",
            "Qwen3_5ForConditionalGeneration",
            "Qwen3_5MoeForConditionalGeneration",
        ],
        dialects: &[],
        activations: None,
        scope: Scope::Vision,
        reason: "SGLang builds the vision tower of this architecture without a quantisation configuration and takes raw codes \
                 for weights",
        instead: "keep the vision tower in BF16 (lm_only_topx, --exclude '*visual*'), or serve it with vLLM or Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &[
            "AyaVisionForConditionalGeneration",
            "BitNetForCausalLM",
            "Dots1ForCausalLM",
            "Ernie4_5ForCausalLM",
            "GPTNeoXForCausalLM",
            "Idefics3ForConditionalGeneration",
            "InternVLForConditionalGeneration",
            "LlavaNextForConditionalGeneration",
            "NemotronForCausalLM",
            "PaliGemmaForConditionalGeneration",
            "SeedOssForCausalLM",
            "SmolLM3ForCausalLM",
            "SmolVLMForConditionalGeneration",
        ],
        dialects: COMPRESSED,
        activations: None,
        scope: Scope::Everything,
        reason: "SGLang runs this architecture through its fall-back to Transformers, where no layer is ever a target of \
                 compressed-tensors",
        instead: "serve it with vLLM or Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &["Glm4MoeForCausalLM"],
        dialects: COMPRESSED,
        activations: None,
        scope: Scope::Everything,
        reason: "SGLang hands its layers of this architecture names that no entry of `ignore` can meet",
        instead: "serve it with vLLM or Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &[
            "BitNetForCausalLM",
            "Dots1ForCausalLM",
            "GPTNeoXForCausalLM",
            "Idefics3ForConditionalGeneration",
            "InternVLForConditionalGeneration",
            "LlavaNextForConditionalGeneration",
            "NemotronForCausalLM",
            "SeedOssForCausalLM",
            "SmolVLMForConditionalGeneration",
        ],
        dialects: &[DialectId::ModelOpt],
        activations: Some(Activations::Static),
        scope: Scope::Everything,
        reason: "SGLang runs this architecture through its fall-back to Transformers, where the head has no name that a list can \
                 hold and is taken for FP8",
        instead: "serve it with vLLM",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &["Gemma2ForCausalLM", "HunYuanDenseV1ForCausalLM"],
        dialects: &[],
        activations: None,
        scope: Scope::Everything,
        reason: "SGLang hands its layers of this architecture names without the number of the block, so all or none of a kind are \
                 FP8",
        instead: "serve it with vLLM or Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &["GptOssForCausalLM", "StableLmForCausalLM"],
        dialects: &[],
        activations: None,
        scope: Scope::Everything,
        reason: "SGLang builds the attention of this architecture without a quantisation configuration and takes raw codes for \
                 weights",
        instead: "serve it with vLLM or Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &["Glm4MoeForCausalLM"],
        dialects: &[DialectId::ModelOpt, DialectId::Fp8Block],
        activations: None,
        scope: Scope::Everything,
        reason: "SGLang fails on shared experts of this architecture that are FP8 in part",
        instead: "serve it with vLLM or Transformers",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &["DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"],
        dialects: &[DialectId::Universal, DialectId::CompressedTensors, DialectId::ModelOpt],
        activations: Some(Activations::Static),
        scope: Scope::Everything,
        reason: "SGLang joins the scales of q_a_proj and kv_a_proj_with_mqa to two where it has place for one, and takes such a \
                 layer in a ModelOpt list for those of all blocks",
        instead: "choose --activations dynamic or --dialect fp8-block",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &["Llama4ForConditionalGeneration"],
        dialects: &[],
        activations: None,
        scope: Scope::Everything,
        reason: "SGLang rearranges the rows of q_proj and k_proj of this architecture without their scales, and quantises neither \
                 its vision tower nor its projector",
        instead: "serve it with vLLM",
    },
    Limit {
        engine: Engine::Sglang,
        architectures: &[
            "IQuestCoderForCausalLM",
            "InternLM3ForCausalLM",
            "LlamaForCausalLM",
            "Ministral3ForCausalLM",
            "MistralForCausalLM",
            "Phi3ForCausalLM",
            "TeleFLMForCausalLM",
        ],
        dialects: &[DialectId::Fp8Block],
        activations: None,
        scope: Scope::Everything,
        reason: "SGLang renames the scales of blocks to weight_scale for this architecture, finds no such parameter, and leaves \
                 the scales unset",
        instead: "choose --dialect compressed-tensors, or serve it with vLLM or Transformers",
    },
];

/// The limits that concern a model of `architecture` in `dialect` with these activations.
pub fn limits<'a>(
    architecture: Option<&'a str>,
    dialect: DialectId,
    activations: Activations,
) -> impl Iterator<Item = &'static Limit> + use<'a> {
    LIMITS.iter().filter(move |limit| {
        (limit.architectures.is_empty() || architecture.is_some_and(|a| limit.architectures.contains(&a)))
            && (limit.dialects.is_empty() || limit.dialects.contains(&dialect))
            && limit.activations.is_none_or(|only| only == activations)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "<!-- limits -->\n";
    const END: &str = "<!-- /limits -->\n";

    fn words(words: impl Iterator<Item = &'static str>, none: &str) -> String {
        let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
        if words.is_empty() { none.into() } else { words.join(", ") }
    }

    fn table() -> String {
        let mut text = String::from(
            "| engine | models | dialect | activations | FP8 layers | what happens | instead |\n",
        );
        text.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
        for limit in LIMITS {
            let scope = match limit.scope {
                Scope::Everything => "all",
                Scope::Vision => "of the vision tower",
                Scope::Merger => "of the projector",
            };
            text.push_str(&format!(
                "| {} | {} | {} | {} | {scope} | {} | {} |\n",
                limit.engine.name(),
                words(limit.architectures.iter().copied(), "all"),
                words(limit.dialects.iter().map(|d| d.word()), "all"),
                words(limit.activations.iter().map(|a| a.word()), "both"),
                limit.reason,
                limit.instead
            ));
        }
        text
    }

    /// `QLUA_BLESS=1 cargo test --lib dialect::limits` writes the table anew.
    #[test]
    fn the_documentation_has_every_limit() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/engines.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(START).unwrap();
        let (old, after) = rest.split_once(END).unwrap();
        if std::env::var_os("QLUA_BLESS").is_some() {
            std::fs::write(&path, format!("{before}{START}{}{END}{after}", table())).unwrap();
        } else {
            assert_eq!(old, table(), "docs/engines.md is stale");
        }
    }

    #[test]
    fn limits_depend_on_model_and_layout() {
        let of = |architecture, dialect, activations| {
            limits(architecture, dialect, activations).map(|l| (l.engine, l.scope)).collect::<Vec<_>>()
        };
        let (qwen3_vl, llama) = (Some("Qwen3VLForConditionalGeneration"), Some("LlamaForCausalLM"));
        assert_eq!(of(llama, DialectId::Universal, Activations::Static), []);
        assert_eq!(of(None, DialectId::CompressedTensors, Activations::Dynamic), []);
        assert_eq!(of(Some("Qwen3ForCausalLM"), DialectId::Fp8Block, Activations::Dynamic), []);
        assert_eq!(
            of(llama, DialectId::Fp8Block, Activations::Dynamic),
            [(Engine::Sglang, Scope::Everything)]
        );
        assert_eq!(
            of(qwen3_vl, DialectId::Fp8Block, Activations::Dynamic),
            [(Engine::Sglang, Scope::Vision)]
        );
        assert_eq!(
            of(qwen3_vl, DialectId::Universal, Activations::Static),
            [(Engine::Sglang, Scope::Vision)]
        );
        assert_eq!(
            of(llama, DialectId::ModelOpt, Activations::Static),
            [(Engine::Transformers, Scope::Everything)]
        );
        assert_eq!(
            of(llama, DialectId::ModelOpt, Activations::Dynamic),
            [(Engine::Transformers, Scope::Everything), (Engine::Sglang, Scope::Everything)]
        );
    }
}
