//! Whether a weight of two dimensions is stored as [out, in], as linear layers are, or as [in, out], as GPT-2's are: for
//! architectures of which nothing is recorded. Only what cannot be otherwise counts as proof.

use serde_json::Value;

/// How a weight is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orientation {
    /// [out, in].
    OutIn,
    /// [in, out].
    InOut,
}

/// Last parts of names of layers that make queries, keys and values of one input.
const FUSED_ATTENTION: [&str; 6] = ["qkv", "qkv_proj", "query_key_value", "c_attn", "Wqkv", "W_pack"];
/// What configurations call the length of a hidden state.
const HIDDEN: [&str; 5] = ["hidden_size", "n_embd", "d_model", "embed_dim", "hidden_dim"];

/// How the weight of `module` is stored, told by the length of its bias, which is that of its output, or by a size of the
/// hidden state that only one of the two sides of a fused attention layer can have; nothing where neither proves it.
pub(super) fn orientation(
    module: &str,
    [rows, columns]: [usize; 2],
    bias: Option<usize>,
    hidden: &[usize],
) -> Option<Orientation> {
    match bias {
        _ if rows == columns => return None,
        Some(length) if length == rows => return Some(Orientation::OutIn),
        Some(length) if length == columns => return Some(Orientation::InOut),
        _ => (),
    }
    let leaf = module.rsplit('.').next().unwrap_or(module);
    if !FUSED_ATTENTION.contains(&leaf) {
        return None;
    }
    // A layer of another tower may have both sizes.
    let is = |input: usize, output: usize| hidden.contains(&input) && output == 3 * input;
    match (is(columns, rows), is(rows, columns)) {
        (true, false) => Some(Orientation::OutIn),
        (false, true) => Some(Orientation::InOut),
        _ => None,
    }
}

/// The lengths of hidden states that `config` states, at the top and for the model's parts.
pub(super) fn hidden_sizes(config: &Value) -> Vec<usize> {
    let parts = config.as_object().into_iter().flatten().filter(|(key, _)| key.ends_with("_config"));
    let places = parts.map(|(_, part)| part).chain([config]);
    let sizes = places.flat_map(|place| HIDDEN.iter().filter_map(|key| place[*key].as_u64()));
    sizes.filter_map(|size| usize::try_from(size).ok()).collect()
}

/// The block that `module` lies in: its name up to the first number; where there is none, what lies above its last part.
pub(super) fn block_name(module: &str) -> &str {
    let mut end = 0;
    for part in module.split('.') {
        end += part.len();
        if part.bytes().all(|b| b.is_ascii_digit()) {
            return &module[..end];
        }
        end += 1;
    }
    module.rsplit_once('.').map_or("", |(above, _)| above)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_or_a_fused_attention_layer_proves_how_a_weight_is_stored() {
        use Orientation::{InOut, OutIn};
        let cases = [
            ("h.0.mlp.c_fc", [64, 256], Some(256), Some(InOut)),
            ("h.0.mlp.c_fc", [256, 64], Some(256), Some(OutIn)),
            ("h.0.mlp.c_fc", [64, 256], None, None),
            ("h.0.mlp.c_fc", [64, 256], Some(7), None),
            ("h.0.attn.c_proj", [64, 64], Some(64), None),
            ("h.0.attn.c_attn", [64, 192], None, Some(InOut)),
            ("h.0.attn.c_attn", [192, 64], None, Some(OutIn)),
            // Of a tower with another hidden size, which is not known.
            ("h.0.attn.c_attn", [32, 96], None, None),
            ("h.0.attn.wide", [64, 192], None, None),
        ];
        for (module, sizes, bias, expected) in cases {
            assert_eq!(orientation(module, sizes, bias, &[64]), expected, "{module} {sizes:?} {bias:?}");
        }
        // Towers of 64 and of 192.
        assert_eq!(orientation("a.0.qkv", [192, 64], None, &[64, 192]), Some(OutIn));
        assert_eq!(orientation("a.0.qkv", [192, 576], None, &[64, 192]), Some(InOut));
    }

    #[test]
    fn sizes_and_blocks_are_found_wherever_they_stand() {
        let config =
            serde_json::json!({"n_embd": 64, "vision_config": {"embed_dim": 32, "hidden_size": "x"}});
        assert_eq!(hidden_sizes(&config), [32, 64]);
        assert_eq!(hidden_sizes(&Value::Null), [0; 0]);
        assert_eq!(block_name("model.layers.10.attn.q"), "model.layers.10");
        assert_eq!(block_name("merger.fc"), "merger");
        assert_eq!(block_name("fc"), "");
    }
}
