//! What tools call the tensors that a quantiser adds, and what it packs weights into.

use serde_json::Value;

/// What a tensor of a quantiser means for the values of the codes that it stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TensorMeaning {
    /// Scales that codes are multiplied by.
    Scale,
    /// The same, for blocks of the configured size and nothing else.
    BlockScale,
    /// Nothing: it is of inputs, outputs or caches, or tells how scales were found.
    Aside,
    /// What is taken from codes before they are scaled: nothing, where all of it is 0.
    ZeroPoint,
    /// JSON that says how the codes are laid out.
    Layout,
    /// Factors of the inputs that the weights were divided by; they are no part of the codes.
    Smoothing,
    /// Something that is not read here: what it is.
    Unread(&'static str),
}

const SECOND: TensorMeaning = TensorMeaning::Unread("a second scale, which is defined for FP4 alone");
const ORDER: TensorMeaning = TensorMeaning::Unread("another order of the columns");
pub(super) const UNKNOWN: TensorMeaning =
    TensorMeaning::Unread("which looks like a tensor of a quantiser and whose meaning is not known");

/// What names mean. They are those of tensors in the module of a `weight`; `*` is the name of codes that are called otherwise.
const MEANINGS: [(&str, TensorMeaning); 45] = [
    ("weight_scale", TensorMeaning::Scale),
    ("weight_scale_inv", TensorMeaning::BlockScale),
    ("scale", TensorMeaning::BlockScale),
    ("scale_inv", TensorMeaning::Scale),
    ("scale_weight", TensorMeaning::Scale),
    ("qscale_weight", TensorMeaning::Scale),
    ("*_scale", TensorMeaning::Scale),
    ("*_scale_inv", TensorMeaning::BlockScale),
    ("*_scales", TensorMeaning::Scale),
    ("*_weight_scale", TensorMeaning::Scale),
    ("*_weight_scale_inv", TensorMeaning::BlockScale),
    ("*.scale", TensorMeaning::BlockScale),
    ("weight_scale_2", SECOND),
    ("*_scale_2", SECOND),
    ("weight_global_scale", SECOND),
    ("*_global_scale", SECOND),
    ("pre_quant_scale", TensorMeaning::Smoothing),
    ("smooth_scale", TensorMeaning::Smoothing),
    ("weight_zero_point", TensorMeaning::ZeroPoint),
    ("weight_g_idx", ORDER),
    ("g_idx", ORDER),
    ("comfy_quant", TensorMeaning::Layout),
    ("input_scale", TensorMeaning::Aside),
    ("input_scale_inv", TensorMeaning::Aside),
    ("input_scale_ub", TensorMeaning::Aside),
    ("act_scale", TensorMeaning::Aside),
    ("activation_scale", TensorMeaning::Aside),
    ("scale_input", TensorMeaning::Aside),
    ("qscale_act", TensorMeaning::Aside),
    ("activation_scaling_factor", TensorMeaning::Aside),
    ("input_global_scale", TensorMeaning::Aside),
    ("input_zero_point", TensorMeaning::Aside),
    ("output_zero_point", TensorMeaning::Aside),
    ("output_scale", TensorMeaning::Aside),
    ("weight_shape", TensorMeaning::Aside),
    ("kv_scale", TensorMeaning::Aside),
    ("k_scale", TensorMeaning::Aside),
    ("v_scale", TensorMeaning::Aside),
    ("q_scale", TensorMeaning::Aside),
    ("prob_scale", TensorMeaning::Aside),
    ("prob_output_scale", TensorMeaning::Aside),
    ("kv_cache_scaling_factor", TensorMeaning::Aside),
    ("scaled_fp8", TensorMeaning::Aside),
    ("scale_fmt", TensorMeaning::Aside),
    ("scales", UNKNOWN),
];
/// Those of them that are other things where no codes stand beside them.
const AMBIGUOUS: [&str; 4] = ["scale", "scale_inv", "scales", "g_idx"];
/// What looks like a tensor of a quantiser and is one of models, by its beginning.
const OF_MODELS: [&str; 3] = ["logit_scale", "layer_scale", "scale_shift_table"];
/// What a tensor of a quantiser has in its name, in small letters.
const MARKS: [&str; 11] = [
    "scale",
    "scaling",
    "amax",
    "absmax",
    "zero_point",
    "zeros",
    "quant",
    "observer",
    "post_process",
    "g_idx",
    "scb",
];
const SMOOTHING: [&str; 3] = ["smooth", "pre_quant", "prequant"];

/// What the tensor means that is called `name` in relation to codes, as in [`MEANINGS`]; nothing where it is no quantiser's.
pub(super) fn meaning(name: &str) -> Option<TensorMeaning> {
    known(name).or_else(|| known(name.strip_prefix("*_")?)).or_else(|| by_marks(name))
}

/// What the tensor of the whole name `name` means, wherever it stands; nothing where it may be one of the model.
pub(super) fn meaning_anywhere(name: &str) -> Option<TensorMeaning> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    let certain = known(leaf).filter(|_| !AMBIGUOUS.contains(&leaf));
    certain.or_else(|| is_calibration_state(name).then(|| by_marks(name)).flatten())
}

/// Whether the word is the name of a part of a quantiser that has tensors of its own.
pub(super) fn is_part_of_quantiser(word: &str) -> bool {
    word.ends_with("_quantizer") || has_mark(word)
}

/// The names that scales of codes may have, as in [`MEANINGS`].
pub(super) fn scales() -> impl Iterator<Item = &'static str> {
    let is_scale =
        |meaning: &TensorMeaning| matches!(meaning, TensorMeaning::Scale | TensorMeaning::BlockScale);
    MEANINGS.iter().filter(move |(_, meaning)| is_scale(meaning)).map(|(name, _)| *name)
}

fn known(name: &str) -> Option<TensorMeaning> {
    MEANINGS.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

fn has_mark(name: &str) -> bool {
    let small = name.to_ascii_lowercase();
    MARKS.iter().chain(&SMOOTHING).any(|mark| small.contains(mark))
}

/// What a name means that is not known as a whole.
fn by_marks(name: &str) -> Option<TensorMeaning> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if !has_mark(name) || OF_MODELS.iter().any(|own| leaf.starts_with(own)) {
        return None;
    }
    let small = name.to_ascii_lowercase();
    let is_of_weight = !["input", "output", "act", "k_", "v_", "q_", "kv_", "softmax"]
        .iter()
        .any(|other| leaf.starts_with(other) || quantizer(name).is_some_and(|of| of.starts_with(other)));
    Some(if SMOOTHING.iter().any(|mark| small.contains(mark)) {
        TensorMeaning::Smoothing
    } else if leaf.ends_with("amax") || quantizer(name).is_some() && !is_of_weight {
        TensorMeaning::Aside
    } else if leaf.ends_with("zero_point") || leaf.ends_with("zero_points") {
        if is_of_weight { TensorMeaning::ZeroPoint } else { TensorMeaning::Aside }
    } else {
        UNKNOWN
    })
}

/// The part of a name that is a quantiser of ModelOpt.
fn quantizer(name: &str) -> Option<&str> {
    name.split('.').find(|part| part.ends_with("_quantizer"))
}

/// Whether `name` is what a quantiser keeps while it calibrates, as ModelOpt and llm-compressor save it with raw models.
pub(crate) fn is_calibration_state(name: &str) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    name.contains("_quantizer.") || leaf.ends_with("_amax") || leaf.ends_with("_zero_point")
}

/// Packed weights, by the last part of a name, and what they are.
const PACKED: [(&str, &str); 4] = [
    ("qweight", "packed integers of GPTQ or AWQ"),
    ("weight_packed", "packed codes of compressed-tensors"),
    ("W_q", "packed integers of HQQ"),
    ("weight_int_data", "integers of torchao"),
];
/// What stands beside packed weights and says what they are.
const BESIDE: [(&str, &str); 5] = [
    (".absmax", "4-bit codes of bitsandbytes"),
    (".quant_map", "4-bit codes of bitsandbytes"),
    ("_scale_2", "NVFP4 codes"),
    ("_global_scale", "NVFP4 codes"),
    ("_format", "8-bit integers of bitsandbytes"),
];

/// What the tensor `name`, which is no float, holds in the place of a weight, by names alone; `exists` says whether there is a
/// tensor of a name. Nothing where it is no packed weight.
pub(super) fn packed(name: &str, exists: impl Fn(&str) -> bool) -> Option<&'static str> {
    let (module, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    if leaf == "weight_packed" && exists(&format!("{module}.weight_global_scale")) {
        return Some("NVFP4 codes of compressed-tensors");
    }
    if let Some((_, what)) = PACKED.iter().find(|(packed, _)| *packed == leaf) {
        return Some(what);
    }
    if let Some((_, what)) = BESIDE.iter().find(|(suffix, _)| exists(&format!("{name}{suffix}"))) {
        return Some(what);
    }
    if leaf == "weight" && exists(&format!("{module}.SCB")) {
        return Some("8-bit integers of bitsandbytes");
    }
    let stem = name.strip_suffix("_blocks")?;
    exists(&format!("{stem}_scales")).then_some("MXFP4 codes")
}

/// Whether what ComfyUI says of codes in `comfy_quant` is that they are E4M3 in rows with scales; it says other things of
/// MXFP8, whose scales it stores in another order.
pub(super) fn is_row_major(said: &[u8]) -> bool {
    let Ok(Value::Object(said)) = serde_json::from_slice(said) else { return false };
    said.get("format").is_some_and(|format| format == "float8_e4m3fn")
        && said.keys().all(|key| ["format", "full_precision_matrix_mult"].contains(&key.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_tools_mean_by_them() {
        for (name, expected) in [
            ("weight_scale_inv", Some(TensorMeaning::BlockScale)),
            ("*_scale_inv", Some(TensorMeaning::BlockScale)),
            ("*_input_scale", Some(TensorMeaning::Aside)),
            ("input_quantizer._amax", Some(TensorMeaning::Aside)),
            ("input_quantizer._pre_quant_scale", Some(TensorMeaning::Smoothing)),
            ("weight_quantizer._amax", Some(TensorMeaning::Aside)),
            ("weight_quantizer._scale", Some(UNKNOWN)),
            ("smooth_factor", Some(TensorMeaning::Smoothing)),
            ("output_zero_points", Some(TensorMeaning::Aside)),
            ("zero_point", Some(TensorMeaning::ZeroPoint)),
            ("weight.scale", Some(UNKNOWN)),
            ("_scale", Some(UNKNOWN)),
            ("SCB", Some(UNKNOWN)),
            ("layer_scale_1", None),
            ("bias", None),
        ] {
            assert_eq!(meaning(name), expected, "{name}");
        }
        assert!(meaning_anywhere("m.k_proj.k_scale").is_some() && meaning_anywhere("scaled_fp8").is_some());
        assert!(meaning_anywhere("m.norm.scale").is_none() && meaning_anywhere("logit_scale").is_none());
    }

    #[test]
    fn no_name_is_listed_twice() {
        let mut names: Vec<&str> = MEANINGS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn packed_weights_are_known_by_what_stands_beside_them() {
        assert_eq!(packed("e.down_proj_blocks", |n| n == "e.down_proj_scales"), Some("MXFP4 codes"));
        assert_eq!(packed("m.weight", |n| n == "m.SCB"), Some("8-bit integers of bitsandbytes"));
        assert_eq!(packed("m.position_ids", |_| false), None);
    }

    #[test]
    fn layouts_of_codes_are_read_from_json() {
        assert!(is_row_major(br#"{"format": "float8_e4m3fn", "full_precision_matrix_mult": true}"#));
        for other in [&br#"{"format": "mxfp8"}"#[..], br#"{"format": "float8_e4m3fn", "turned": 1}"#, b"x"] {
            assert!(!is_row_major(other));
        }
    }
}
