//! What the breaks have in common.

use std::fs;

use safetensors::tensor::Dtype;
use serde_json::{Value, json};

use crate::common::directory::{Directory, Raw, Tensors};
use qlua::verify::Code;

/// A good directory to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Good {
    Universal,
    CtStatic,
    CtDynamic,
    MoStatic,
    MoDynamic,
    Block,
    Base,
}

/// The subjects of the expected findings, with the code of each.
pub type Expected = Vec<(Code, String)>;

/// A name, the directory that is broken, and how: the break says what must be found.
pub struct Case(pub &'static str, pub Good, pub fn(&Directory) -> Expected);

pub fn one(code: Code, subject: impl Into<String>) -> Expected {
    vec![(code, subject.into())]
}

pub const CONFIG: &str = "config.json";
pub const HF: &str = "hf_quant_config.json";
pub const LANGUAGE_DOWN: &str = ".mlp.down_proj";

pub fn fp8(d: &Directory) -> String {
    d.module(Dtype::F8_E4M3, LANGUAGE_DOWN)
}

pub fn bf16(d: &Directory) -> String {
    d.module(Dtype::BF16, LANGUAGE_DOWN)
}

/// The name that Transformers gives a module of the demo.
pub fn in_memory(on_disk: &str) -> String {
    match on_disk.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None => format!("model.{on_disk}"),
    }
}

pub fn quantization_config(d: &Directory, edit: impl FnOnce(&mut Value)) {
    d.edit_json(CONFIG, |c| edit(&mut c["quantization_config"]));
}

pub fn remove_from(list: &mut Value, name: &str) {
    let list = list.as_array_mut().unwrap();
    let before = list.len();
    list.retain(|entry| entry != name);
    assert_eq!(list.len() + 1, before, "{name} was listed once");
}

pub fn add_to(list: &mut Value, name: &str) {
    list.as_array_mut().unwrap().push(name.into());
}

/// Takes a BF16 module of the demo, by its name on disk, out of an `ignore` list as qlua writes it: one entry for each of the
/// other modules stands in the place of the entry that hit it.
pub fn unlist(d: &Directory, module: &str) {
    let hits = |entry: &str, name: &str| {
        let pattern = entry.strip_prefix("re:").map(|p| regex::Regex::new(&format!(r"\A(?:{p})")).unwrap());
        pattern.is_some_and(|p| p.is_match(&in_memory(name)))
    };
    let tensors = d.tensors();
    let bf16 = tensors.iter().filter(|(_, t)| t.dtype == Dtype::BF16 && t.shape.len() == 2);
    let others: Vec<&str> =
        bf16.filter_map(|(n, _)| n.strip_suffix(".weight")).filter(|n| *n != module).collect();
    quantization_config(d, |q| {
        let list = q["ignore"].as_array_mut().unwrap();
        let at = list.iter().position(|e| hits(e.as_str().unwrap(), module)).expect("the module is listed");
        let entry = list.remove(at);
        let others = others.iter().filter(|name| hits(entry.as_str().unwrap(), name));
        list.extend(others.map(|name| Value::from(expression(name))));
    });
}

/// An expression for one module of the demo that every engine takes.
pub fn expression(on_disk: &str) -> String {
    let name = on_disk.strip_prefix("model.").unwrap_or(on_disk);
    let (parent, leaf) = name.rsplit_once('.').unwrap();
    let leaves = match leaf {
        "q_proj" | "k_proj" | "v_proj" | "qkv" => format!("({leaf}|qkv_proj)"),
        "gate_proj" | "up_proj" => format!("({leaf}|gate_up_proj)"),
        _ => leaf.to_string(),
    };
    format!(r"re:(.*\.)?{}\.{leaves}$", parent.replace('.', r"\."))
}

/// Puts a BF16 weight in the place of FP8 codes and their scales.
pub fn make_bf16(tensors: &mut Tensors, module: &str) {
    let shape = tensors[&format!("{module}.weight")].shape.clone();
    tensors.insert(format!("{module}.weight"), Raw::zeros(&shape));
    tensors.remove(&format!("{module}.weight_scale"));
    tensors.remove(&format!("{module}.input_scale"));
}

pub fn set_scale(d: &Directory, leaf: &str, value: f32) -> Expected {
    let name = format!("{}.{leaf}", fp8(d));
    d.edit_tensors(|t| *t.get_mut(&name).unwrap() = Raw::bf16(&[1], &[value]));
    one(Code::ScaleValue, name)
}

pub fn reshape(d: &Directory, leaf: &str, shape: &[usize]) -> Expected {
    let module = fp8(d);
    d.edit_tensors(|t| t.get_mut(&format!("{module}.{leaf}")).unwrap().shape = shape.into());
    one(Code::ScaleShape, module)
}

pub fn cut(d: &Directory, bytes: u64) -> Expected {
    let file = fs::OpenOptions::new().write(true).open(&d.weight_files()[0]).unwrap();
    file.set_len(bytes).unwrap();
    one(Code::Unreadable, d.0.display().to_string())
}

/// `quantized_layers` of MIXED_PRECISION for all FP8 layers.
pub fn make_mixed(d: &Directory) {
    let tensors = d.tensors();
    let fp8 = tensors.iter().filter(|(_, t)| t.dtype == Dtype::F8_E4M3);
    let layers: serde_json::Map<String, Value> =
        fp8.map(|(n, _)| (n.strip_suffix(".weight").unwrap().into(), json!({"quant_algo": "FP8"}))).collect();
    d.edit_json(HF, |c| {
        c["quantization"] = json!({"quant_algo": "MIXED_PRECISION", "quantized_layers": layers});
    });
}

pub fn remove_input_scale(d: &Directory) -> Expected {
    let module = fp8(d);
    d.edit_tensors(|t| drop(t.remove(&format!("{module}.input_scale")).unwrap()));
    one(Code::MissingInputScale, module)
}

pub fn add_input_scale(d: &Directory) -> Expected {
    let module = fp8(d);
    d.edit_tensors(|t| drop(t.insert(format!("{module}.input_scale"), Raw::bf16(&[1], &[0.5]))));
    one(Code::ExtraInputScale, module)
}
