//! Reads the keys of a configuration that families share.

use serde_json::Value;

use super::super::backend::{Activation, Heads};
use super::super::configuration::{
    MergerConfiguration, NormKind, Perceptron, TextConfiguration, VisionConfiguration,
};
use super::super::rotary::{AxisSections, Rotary, VisionRotary};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};

/// What the towers of two families differ in.
pub(super) struct TowerParts {
    pub norm: NormKind,
    pub perceptron: Perceptron,
    /// The activation function where the configuration names none.
    pub activation: Activation,
    pub merger: MergerConfiguration,
}

/// The configuration of a checkpoint.
pub(super) struct Reading<'a> {
    checkpoint: &'a Checkpoint,
    /// What describes the language model: `text_config`, or the whole in older releases.
    text: &'a Value,
}

impl<'a> Reading<'a> {
    pub fn new(checkpoint: &'a Checkpoint) -> Self {
        let config = checkpoint.config();
        let text = if config["text_config"].is_object() { &config["text_config"] } else { config };
        Reading { checkpoint, text }
    }

    /// What describes the language model.
    pub fn text(&self) -> &'a Value {
        self.text
    }

    /// What describes the vision tower.
    pub fn vision(&self) -> &'a Value {
        &self.checkpoint.config()["vision_config"]
    }

    /// The token that stands for a merged patch.
    pub fn image_token(&self) -> Option<u32> {
        self.checkpoint.config()["image_token_id"].as_u64().and_then(|token| u32::try_from(token).ok())
    }

    /// The whole number under the first of `keys` that is there.
    pub fn number(&self, part: &Value, keys: &[&str]) -> Result<usize> {
        let found = keys.iter().find_map(|key| part[*key].as_u64()).map(usize::try_from);
        match found {
            Some(Ok(number)) if number > 0 && number < 1 << 40 => Ok(number),
            _ => Err(Error::format(
                self.checkpoint.directory().join("config.json"),
                format!("has no positive whole number `{}`", keys[0]),
            )),
        }
    }

    /// The activation function that `key` names.
    pub fn activation(&self, part: &Value, key: &str, usual: Activation) -> Result<Activation> {
        match part[key].as_str() {
            None => Ok(usual),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("gelu") => Ok(Activation::Gelu),
            Some("gelu_pytorch_tanh" | "gelu_new") => Ok(Activation::GeluTanh),
            Some("quick_gelu") => Ok(Activation::QuickGelu),
            Some(other) => {
                Err(Error::refused(format!("the engine does not compute the activation function `{other}`")))
            }
        }
    }

    /// The language model, without windows and without normalised heads.
    /// `theta` is the base of rotary positions where the configuration names none.
    pub fn language_model(
        &self,
        theta: f64,
        sections: fn([usize; 3]) -> AxisSections,
    ) -> Result<TextConfiguration> {
        let text = self.text;
        let (hidden, layers) =
            (self.number(text, &["hidden_size"])?, self.number(text, &["num_hidden_layers"])?);
        let query = self.number(text, &["num_attention_heads"])?;
        let key_value = self.number(text, &["num_key_value_heads", "num_attention_heads"])?;
        let size = match text["head_dim"].as_u64() {
            Some(size) => size as usize,
            None => hidden / query,
        };
        if size == 0 || !size.is_multiple_of(2) || !query.is_multiple_of(key_value) {
            return Err(Error::refused(format!(
                "{query} heads of {size} values over {key_value} heads of keys cannot be computed"
            )));
        }
        Ok(TextConfiguration {
            hidden,
            layers,
            heads: Heads { query, key_value, size },
            intermediate: self.number(text, &["intermediate_size"])?,
            vocabulary: self.number(text, &["vocab_size"])?,
            epsilon: text["rms_norm_eps"].as_f64().unwrap_or(1e-6) as f32,
            activation: self.activation(text, "hidden_act", Activation::Silu)?,
            normalises_heads: false,
            windows: self.windows(layers)?,
            rotary: Rotary::read(text, size, theta, sections)?,
            tied: self.checkpoint.ties_word_embeddings(),
        })
    }

    /// A vision tower of the Qwen-VL kind, in which every block sees the whole picture, without learned positions and DeepStack.
    /// `width` and `output` are what the configuration calls the tower's own width and that of its tokens.
    pub fn vision_tower(&self, width: &str, output: &str, parts: TowerParts) -> Result<VisionConfiguration> {
        let vision = &self.checkpoint.config()["vision_config"];
        let number = |keys: &[&str]| self.number(vision, keys);
        let (hidden, heads, patch) = (number(&[width])?, number(&["num_heads"])?, number(&["patch_size"])?);
        // Half of a head turns by rows and half by columns, in pairs.
        if !hidden.is_multiple_of(heads) || !(hidden / heads).is_multiple_of(4) {
            return Err(Error::refused(format!("a vision tower {hidden} wide cannot have {heads} heads")));
        }
        let theta = vision["rope_parameters"]["rope_theta"].as_f64().unwrap_or(10000.0);
        let ratio = vision["mlp_ratio"].as_f64().unwrap_or(4.0);
        let intermediate = match vision["intermediate_size"].is_null() {
            true => (hidden as f64 * ratio) as usize,
            false => number(&["intermediate_size"])?,
        };
        let channels = number(&["in_channels", "in_chans"])?;
        Ok(VisionConfiguration {
            hidden,
            depth: number(&["depth"])?,
            heads,
            intermediate,
            output: number(&[output])?,
            patch_values: channels * number(&["temporal_patch_size"])? * patch * patch,
            patch,
            merge: number(&["spatial_merge_size"])?,
            norm: parts.norm,
            perceptron: parts.perceptron,
            activation: self.activation(vision, "hidden_act", parts.activation)?,
            rotary: VisionRotary::new(theta, hidden / heads),
            windows: None,
            positions: None,
            merger: parts.merger,
            deepstack: vec![],
        })
    }

    /// Fails where nothing says which frequencies turn by time, row and column.
    pub fn require_axes(&self) -> Result<()> {
        let said =
            ["rope_parameters", "rope_scaling"].iter().any(|key| self.text[*key]["mrope_section"].is_array());
        match said {
            true => Ok(()),
            false => {
                let config = self.checkpoint.directory().join("config.json");
                Err(Error::format(
                    config,
                    "has no `mrope_section`, so positions by time, row and column are not known",
                )
                .with_hint("take rope_parameters, or rope_scaling, from the model's own config.json"))
            }
        }
    }

    /// Fails where blocks see a window of keys in a family whose code in Transformers knows none.
    pub fn require_no_windows(&self, text: &TextConfiguration) -> Result<()> {
        match text.windows.iter().any(Option::is_some) {
            false => Ok(()),
            true => {
                let kind = self.checkpoint.model_type().unwrap_or_default();
                Err(Error::refused(format!(
                    "config.json asks for sliding windows, which Transformers' `{kind}` takes no notice of"
                ))
                .with_hint("engines disagree about such a model"))
            }
        }
    }

    /// The blocks of the vision tower that `key` lists.
    pub fn vision_blocks(&self, key: &str) -> Vec<usize> {
        let listed = self.vision()[key].as_array().map(Vec::as_slice).unwrap_or_default();
        listed.iter().filter_map(|block| block.as_u64()).map(|block| block as usize).collect()
    }

    /// How far back each layer sees: by `layer_types`, or by Qwen's `use_sliding_window` and `max_window_layers`.
    ///
    /// # Errors
    /// [`Error::Refused`] for layers of another kind.
    fn windows(&self, layers: usize) -> Result<Vec<Option<usize>>> {
        let window = self.text["sliding_window"].as_u64().map(|window| window as usize);
        let kinds = self.text["layer_types"].as_array();
        let known = ["full_attention", "sliding_attention"];
        let mut named = kinds.into_iter().flatten();
        if let Some(other) = named.find(|kind| kind.as_str().is_none_or(|kind| !known.contains(&kind))) {
            return Err(Error::refused(format!("the engine does not compute layers of the kind {other}"))
                .with_hint("it knows full_attention and sliding_attention"));
        }
        let uses = self.text["use_sliding_window"].as_bool().unwrap_or(false);
        let from = self.text["max_window_layers"].as_u64().unwrap_or(28) as usize;
        let sees_less = |layer: usize| match kinds {
            Some(kinds) => kinds.get(layer).and_then(Value::as_str) == Some("sliding_attention"),
            None => uses && layer >= from,
        };
        Ok((0..layers).map(|layer| window.filter(|_| sees_less(layer))).collect())
    }
}
