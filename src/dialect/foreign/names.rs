//! What tools call the tensors that a quantiser adds, and what it packs weights into.

/// Scales beside a `weight`, in the place of that word. `scale` and the like are other things where no codes stand beside them.
pub(super) const WEIGHT_SCALES: [&str; 6] =
    ["weight_scale", "weight_scale_inv", "scale", "scale_inv", "scale_weight", "qscale_weight"];
/// Scales of a parameter of any other name, after that name.
pub(super) const PARAMETER_SCALES: [&str; 6] =
    ["_scale", "_scale_inv", "_scales", "_weight_scale", "_weight_scale_inv", ".scale"];
/// What means blocks of the configured size and nothing else.
pub(super) const BLOCKS: [&str; 2] = ["_scale_inv", ".scale"];
/// Scales of inputs beside a `weight`.
pub(super) const INPUT_SCALES: [&str; 6] =
    ["input_scale", "input_scale_inv", "act_scale", "activation_scale", "scale_input", "qscale_act"];
/// Scales of the inputs of a parameter of any other name, after that name.
pub(super) const PARAMETER_INPUT_SCALES: [&str; 3] = ["_input_scale", "_activation_scale", "_act_scale"];

/// What else a quantiser leaves, by the last part of a name.
const LEFT: [&str; 22] = [
    "weight_scale",
    "weight_scale_inv",
    "weight_scale_2",
    "scale_weight",
    "qscale_weight",
    "weight_global_scale",
    "input_global_scale",
    "weight_zero_point",
    "input_zero_point",
    "output_zero_point",
    "weight_shape",
    "weight_g_idx",
    "kv_scale",
    "k_scale",
    "v_scale",
    "q_scale",
    "prob_scale",
    "prob_output_scale",
    "output_scale",
    "scaled_fp8",
    "comfy_quant",
    "scale_fmt",
];

/// Whether something of this name belongs to a quantiser, in a checkpoint that has codes.
pub(super) fn is_left_by_quantiser(name: &str) -> bool {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    LEFT.contains(&leaf) || INPUT_SCALES.contains(&leaf) || is_calibration_state(name)
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
