//! How a checkpoint says that inputs are rounded where its layers have no scale for them.

use serde_json::Value;

use super::backend::InputScale;
use crate::checkpoint::{Checkpoint, HF_QUANT_CONFIG, quantisation};
use crate::error::{Error, Result};
use crate::input::InputKind;

/// What is known of the inputs of quantised layers without a scale of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DynamicInputs {
    /// They are rounded so while the model runs.
    Rounded(InputScale),
    /// They stay as they are: weights alone are quantised.
    Untouched,
    /// Nothing that is computed here.
    Unknown,
}

impl DynamicInputs {
    /// What the configuration of `checkpoint` says, or `hf_quant_config.json` where it says nothing; `block` is the size of blocks
    /// that share a scale. A loader that rounds inputs otherwise would give other answers, so nothing is guessed.
    ///
    /// # Errors
    /// Those of reading `hf_quant_config.json`.
    pub fn of(checkpoint: &Checkpoint, block: [usize; 2]) -> Result<Self> {
        let beside = match checkpoint.read_beside(HF_QUANT_CONFIG, InputKind::Configuration)? {
            Some(text) => crate::json::parse(&checkpoint.directory().join(HF_QUANT_CONFIG), &text)?,
            None => Value::Null,
        };
        let said = checkpoint.quantization_config().unwrap_or(&beside["quantization"]);
        // The words are those of other tools, which have more of them.
        Ok(match quantisation::method(said) {
            Some("fp8") if said["activation_scheme"] == "dynamic" && said["weight_block_size"].is_array() => {
                DynamicInputs::Rounded(InputScale::Group(block[1]))
            }
            Some("compressed-tensors") => of_groups(said),
            Some("modelopt") => match said["quant_algo"].as_str() {
                Some("FP8_PER_CHANNEL_PER_TOKEN") => DynamicInputs::Rounded(InputScale::Token),
                Some("FP8_PB_WO") => DynamicInputs::Untouched,
                _ => DynamicInputs::Unknown,
            },
            _ => DynamicInputs::Unknown,
        })
    }

    /// How inputs of the layer `name` are rounded.
    ///
    /// # Errors
    /// [`Error::Refused`] when that is not known.
    pub fn scale(self, name: &str) -> Result<Option<InputScale>> {
        match self {
            DynamicInputs::Rounded(scale) => Ok(Some(scale)),
            DynamicInputs::Untouched => Ok(None),
            DynamicInputs::Unknown => Err(Error::refused(format!(
                "`{name}` is quantised without a scale of its inputs, and the configuration does not say how they are rounded"
            ))
            .with_hint("the engine runs static FP8, dynamic FP8 per token, block FP8, and FP8 weights alone")),
        }
    }
}

/// What all groups of a compressed-tensors configuration say alike.
fn of_groups(said: &Value) -> DynamicInputs {
    let groups = said["config_groups"].as_object();
    let mut all = groups.into_iter().flatten().map(|(_, group)| of_group(&group["input_activations"]));
    match all.next() {
        Some(first) if all.all(|other| other == first) => first,
        _ => DynamicInputs::Unknown,
    }
}

fn of_group(inputs: &Value) -> DynamicInputs {
    if inputs.is_null() {
        return DynamicInputs::Untouched;
    }
    let is_fp8 = inputs["type"] == "float" && inputs["num_bits"] == 8 && inputs["dynamic"] == true;
    match (inputs["strategy"].as_str(), inputs["group_size"].as_u64()) {
        (Some("token"), _) if is_fp8 => DynamicInputs::Rounded(InputScale::Token),
        (Some("group"), Some(size)) if is_fp8 && size > 0 => {
            DynamicInputs::Rounded(InputScale::Group(size as usize))
        }
        _ => DynamicInputs::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn groups_that_differ_or_round_otherwise_are_not_guessed() {
        let token = json!({"type": "float", "num_bits": 8, "dynamic": true, "strategy": "token"});
        let tensor = json!({"type": "float", "num_bits": 8, "dynamic": true, "strategy": "tensor"});
        let of = |groups: &[&Value]| {
            let groups = groups.iter().enumerate();
            let named =
                groups.map(|(i, inputs)| (format!("group_{i}"), json!({"input_activations": inputs})));
            of_groups(&json!({"config_groups": named.collect::<serde_json::Map<_, _>>()}))
        };
        assert_eq!(of(&[&token]), DynamicInputs::Rounded(InputScale::Token));
        assert_eq!(of(&[&Value::Null]), DynamicInputs::Untouched);
        for unknown in [of(&[]), of(&[&tensor]), of(&[&token, &Value::Null])] {
            assert_eq!(unknown, DynamicInputs::Unknown);
            assert!(unknown.scale("layers.0.mlp.up_proj").is_err());
        }
    }
}
