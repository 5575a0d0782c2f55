//! A small scheme on disk, of which one file is whatever it is.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use qlua::diff::diff_checkpoints;
use qlua::model::Model;
use qlua::verify::{Depth, verify};
use safetensors::tensor::{Dtype, TensorView};
use tempfile::TempDir;

use super::require_message;

const CONFIG: &str = include_str!("seeds/config/universal.json");
const HF_QUANT_CONFIG: &str = include_str!("seeds/hf_quant_config/fp8.json");
const COVERAGE: &str = include_str!("seeds/coverage/half.json");

thread_local! {
    static PLACE: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Looks at the scheme with `bytes` in the place of `file`, as `verify --headers` does, and compares it with itself.
pub fn check_with(file: &str, bytes: &[u8]) {
    PLACE.with(|place| {
        let place = place.get_or_init(|| {
            // In memory where there is such a place.
            let memory = Path::new("/dev/shm");
            let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
            place.and_then(|place| write_scheme(place.path()).map(|()| place)).expect("a place to work in")
        });
        let path = place.path().join(file);
        let before = fs::read(&path).ok();
        fs::write(&path, bytes).expect("a file is written");
        check(place.path());
        match before {
            Some(before) => fs::write(&path, before),
            None => fs::remove_file(&path),
        }
        .expect("the file is as it was");
    });
}

fn check(directory: &Path) {
    match verify(directory, Depth::Headers) {
        Ok(problems) => {
            for problem in &problems {
                assert!(!problem.message.is_empty() && !problem.code.hint().is_empty());
            }
            assert_eq!(
                verify(directory, Depth::Headers).ok().as_ref(),
                Some(&problems),
                "the same every time"
            );
        }
        Err(error) => require_message(&error),
    }
    match Model::open(directory).and_then(|model| diff_checkpoints(&model, &model)) {
        Ok(found) => {
            assert!(found.is_same(), "{found:?}");
            let _ = found.to_json().to_string();
        }
        Err(error) => require_message(&error),
    }
}

/// Two blocks, of whose layers some are FP8.
fn write_scheme(directory: &Path) -> std::io::Result<()> {
    let mut tensors: Vec<(String, Dtype, Vec<usize>)> = Vec::new();
    let mut add = |name: String, dtype, shape: &[usize]| tensors.push((name, dtype, shape.to_vec()));
    add("model.embed_tokens.weight".into(), Dtype::BF16, &[32, 16]);
    add("model.norm.weight".into(), Dtype::BF16, &[16]);
    for block in 0..2 {
        let module = |leaf: &str| format!("model.layers.{block}.{leaf}");
        for (leaf, shape) in [
            ("self_attn.q_proj", [16, 16]),
            ("self_attn.k_proj", [8, 16]),
            ("self_attn.v_proj", [8, 16]),
            ("self_attn.o_proj", [16, 16]),
            ("mlp.gate_proj", [32, 16]),
            ("mlp.up_proj", [32, 16]),
            ("mlp.down_proj", [16, 32]),
        ] {
            if block == 0 {
                add(module(&format!("{leaf}.weight")), Dtype::F8_E4M3, &shape);
                add(module(&format!("{leaf}.weight_scale")), Dtype::BF16, &[1]);
                add(module(&format!("{leaf}.input_scale")), Dtype::BF16, &[1]);
            } else {
                add(module(&format!("{leaf}.weight")), Dtype::BF16, &shape);
            }
        }
        for leaf in ["self_attn.q_proj.bias", "input_layernorm.weight", "post_attention_layernorm.weight"] {
            add(module(leaf), Dtype::BF16, &[16]);
        }
        for leaf in ["self_attn.k_proj.bias", "self_attn.v_proj.bias"] {
            add(module(leaf), Dtype::BF16, &[8]);
        }
    }
    // 1 in BF16, and a usual code: nothing in the weights is wrong.
    let bytes: Vec<u8> = (0..2048).map(|at| [0x80, 0x3f][at % 2]).collect();
    let codes = vec![0x38; 1024];
    let views = tensors.iter().map(|(name, dtype, shape)| {
        let elements: usize = shape.iter().product();
        let data = if *dtype == Dtype::BF16 { &bytes[..2 * elements] } else { &codes[..elements] };
        (name.as_str(), TensorView::new(*dtype, shape.clone(), data).expect("sizes fit"))
    });
    let written = safetensors::serialize(views.collect::<Vec<_>>(), None).map_err(std::io::Error::other)?;
    fs::write(directory.join("model.safetensors"), written)?;
    fs::write(directory.join("config.json"), CONFIG)?;
    fs::write(directory.join("hf_quant_config.json"), HF_QUANT_CONFIG)?;
    fs::create_dir(directory.join("layer-sensitivity"))?;
    fs::write(directory.join("layer-sensitivity/scheme_coverage_from_baseline.json"), COVERAGE)
}
