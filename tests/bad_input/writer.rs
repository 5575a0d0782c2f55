//! The writer below the policies keeps the same promises.

use std::fs;
use std::sync::Arc;

use crate::common::place::{Place, require_message, require_sentence};
use qlua::error::{Error, Result};
use qlua::format::{Granularity, Rounding};
use qlua::job::{QuantizeOptions, Writer, WriterOptions};
use qlua::model::Model;
use qlua::tensor::{Dtype, Tensor};
use qlua::write::Silent;

const QUANTIZE: QuantizeOptions =
    QuantizeOptions { granularity: Granularity::Channel, rounding: Rounding::Exact, input_scale: None };

fn options(place: &Place) -> WriterOptions {
    WriterOptions {
        out: place.out.join("made"),
        overwrite: false,
        companions: true,
        max_shard_size: 5_000_000_000,
        threads: 2,
    }
}

fn writer(place: &Place) -> Writer {
    Writer::new(options(place), Some(Arc::new(Model::open(&place.model.0).unwrap()))).unwrap()
}

/// The error of `work`, which must leave nothing behind.
fn refused<T>(place: &Place, work: impl FnOnce(&mut Writer) -> Result<T>) -> Error {
    let before = place.snapshot();
    let error = work(&mut writer(place)).err().expect("the work is refused");
    assert_eq!(place.snapshot(), before, "nothing is left behind or touched after: {error}");
    require_sentence(&error);
    error
}

#[test]
fn tensors_that_are_not_there_are_answered_with_the_nearest_name() {
    let place = Place::new();
    let error = refused(&place, |w| w.copy("model.layer.0.mlp.up_proj.weight"));
    require_message(
        &error,
        &["holds no tensor `model.layer.0"],
        "did you mean `model.layers.0.mlp.up_proj.weight`?",
    );
    let error = refused(&place, |w| w.rename("nothing", "something"));
    require_message(&error, &["no tensor `nothing` was added"], "");
    let error = refused(&place, |w| w.drop_tensor("nothing"));
    require_message(&error, &["no tensor `nothing` was added"], "");
}

#[test]
fn names_are_used_once() {
    let place = Place::new();
    let error = refused(&place, |w| {
        w.copy("model.norm.weight")?;
        w.copy("model.norm.weight")
    });
    require_message(&error, &["`model.norm.weight` is used twice"], "");
    let error = refused(&place, |w| {
        w.copy("model.norm.weight")?;
        w.cast("visual.merger.mlp.0.bias", Dtype::F32)?;
        w.rename("visual.merger.mlp.0.bias", "model.norm.weight")
    });
    require_message(&error, &["`model.norm.weight` is used twice"], "");
    for name in ["../x", "a/b", "", "model.safetensors", "model.safetensors.index.json"] {
        let error = refused(&place, |w| w.file(name, vec![]));
        require_message(&error, &[&format!("`{name}` is no name of a file beside the weights")], "");
    }
}

#[test]
fn what_cannot_be_quantised_or_dequantised_is_named() {
    let place = Place::new();
    let error = refused(&place, |w| w.quantize("model.norm", &QUANTIZE));
    require_message(&error, &["`model.norm.weight` has not two dimensions"], "");
    let error = refused(&place, |w| w.dequantize("model.layers.0.mlp.up_proj", Dtype::BF16));
    require_message(&error, &["`model.layers.0.mlp.up_proj.weight` is BF16, not F8_E4M3"], "");
    let error = refused(&place, |w| w.cast("model.norm.weight", Dtype::I8));
    require_message(&error, &["not to I8"], "");
}

#[test]
fn spoilt_weights_an_unsound_result_and_an_empty_one_leave_nothing() {
    let place = Place::new();
    let finish = |w: &mut Writer| w.finish(&Silent);
    require_message(&refused(&place, |w| finish(w)), &["would hold no tensor"], "");
    // gate without up: vLLM fuses them.
    let error = refused(&place, |w| {
        for (name, _) in Model::open(&place.model.0)?.tensors() {
            match name.strip_suffix(".weight").filter(|m| m.ends_with("layers.0.mlp.gate_proj")) {
                Some(module) => w.quantize(module, &QUANTIZE)?,
                None => w.copy(name)?,
            }
        }
        finish(w)
    });
    assert_eq!(error.kind(), "verification");
    require_message(&error, &["made` did not pass its checks", "split_group"], "");
    place.model.edit_tensors(|t| {
        t.get_mut("model.layers.0.mlp.down_proj.weight").unwrap().bytes[..2]
            .copy_from_slice(&half::bf16::INFINITY.to_le_bytes());
    });
    let error = refused(&place, |w| {
        w.quantize("model.layers.0.mlp.down_proj", &QUANTIZE)?;
        finish(w)
    });
    require_message(
        &error,
        &["tensor `model.layers.0.mlp.down_proj.weight` holds infinite values"],
        "damaged",
    );
}

#[test]
fn the_base_is_never_the_output() {
    let place = Place::new();
    let base = Arc::new(Model::open(&place.model.0).unwrap());
    for out in [place.model.0.clone(), place.model.0.join("sub"), place.path().into()] {
        let options = WriterOptions { out, overwrite: true, ..options(&place) };
        let error = Writer::new(options, Some(base.clone())).err().unwrap();
        require_message(&error, &["the source", "never written to"], "another --out");
    }
    fs::create_dir_all(place.out.join("made")).unwrap();
    let error = Writer::new(options(&place), Some(base)).err().unwrap();
    require_message(&error, &["made` exists already"], "overwrite");
}

#[test]
fn a_directory_without_a_base_needs_no_configuration_of_its_own() {
    let place = Place::new();
    let mut writer = Writer::new(options(&place), None).unwrap();
    writer.add("x", Tensor::owned(Dtype::BF16, vec![1], vec![0, 0])).unwrap();
    let error = writer.copy("y").unwrap_err();
    require_message(&error, &["no base checkpoint to take `y` from"], "");
    let before = place.snapshot();
    let error = writer.finish(&Silent).unwrap_err();
    require_message(&error, &["config.json"], "");
    assert_eq!(place.snapshot(), before);
}
