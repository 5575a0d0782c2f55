//! Prepared tensors, and how those that were made for another model are told.

use qlua::engine::inputs::{PreparedKind, prepared};
use qlua::tensor::Dtype;
use serde_json::json;

use super::{Written, checkpoint, edit, processor, tokens, write_tensors};

/// CLIP's normalisation, and that of SigLIP and Qwen3-VL.
const CLIP: [[f64; 3]; 2] = [[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]];
const HALVES: [[f64; 3]; 2] = [[0.5; 3], [0.5; 3]];

fn ids(ids: &[i64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}

fn text(name: &'static str, of: &[i64]) -> Written<'static> {
    (name, Dtype::I64, vec![1, of.len()], ids(of))
}

/// `count` patches of 14 × 14 pixels in two frames, of many levels.
fn pixels(count: usize, [mean, deviation]: [[f64; 3]; 2]) -> Vec<u8> {
    let of = |at: usize| {
        let (level, channel) = ((at * 37 % 256) as f64, at / 392 % 3);
        (((level / 255.0 - mean[channel]) / deviation[channel]) as f32).to_le_bytes()
    };
    (0..count * 1176).flat_map(of).collect()
}

fn whole(ids_of: &[i64], kinds: &[i64], grid: &[i64], count: usize) -> Vec<Written<'static>> {
    vec![
        text("vlm.0.input_ids", ids_of),
        text("vlm.0.mm_token_type_ids", kinds),
        ("vlm.0.image_grid_thw", Dtype::I64, vec![1, 3], ids(grid)),
        ("vlm.0.pixel_values", Dtype::F32, vec![count, 1176], pixels(count, CLIP)),
    ]
}

#[test]
fn prepared_tensors_are_read_by_number_and_held_to_the_model() {
    let place = checkpoint("qwen");
    let processor = processor(place.path());
    let image = i64::from(processor.vision().unwrap().image);
    let file = place.path().join("inputs.safetensors");
    write_tensors(&file, &[text("text.10.input_ids", &[10, 11]), text("text.9.input_ids", &[9, 8, 7])]);
    let samples = prepared(&processor, &file, PreparedKind::Text, 9).unwrap();
    assert_eq!(tokens(&samples), json!([[9, 8, 7], [10, 11]]));

    let read = |tensors: &[Written]| {
        write_tensors(&file, tensors);
        prepared(&processor, &file, PreparedKind::Vision, 9)
    };
    let good = whole(&[1, image, 2], &[0, 1, 0], &[1, 2, 2], 4);
    assert_eq!(read(&good).unwrap().samples[0].pictures[0].grid, [1, 2, 2]);
    let without = |name: &str| good.iter().filter(|(n, ..)| !n.ends_with(name)).cloned().collect::<Vec<_>>();
    let with = |more: Written<'static>| [good.clone(), vec![more]].concat();
    let cases = [
        (without("input_ids"), "lacks `vlm.0.input_ids`"),
        (without("pixel_values"), "lacks `vlm.0.pixel_values`"),
        (whole(&[1, image, image], &[0, 1, 1], &[1, 2, 2], 4), "has 2 image tokens, and its pictures take 1"),
        (whole(&[1, image, 2], &[1, 1, 0], &[1, 2, 2], 4), "does not mark the image tokens"),
        (whole(&[1, image, 2], &[0, 1, 0], &[1, 2, 2], 3), "has the shape [3, 1176]"),
        (whole(&[1, image, 2], &[0, 1, 0], &[1, 1, 4], 4), "frames, rows and columns of merged patches"),
        (
            whole(&[1, image, 9999], &[0, 1, 0], &[1, 2, 2], 4),
            "holds the token 9999, beyond the model's vocabulary",
        ),
        (whole(&[1, image, -1], &[0, 1, 0], &[1, 2, 2], 4), "holds something that is no token"),
        (with(text("vlm.0.labels", &[-100, image, 2])), "differs from input_ids"),
        (with(text("vlm.0.attention_mask", &[0, 1, 1])), "hides tokens"),
        (with(text("vlm.0.position_ids", &[0, 1, 2])), "is an input that is not known"),
        (vec![text("text.0.input_ids", &[1, 2])], "holds no `vlm.N.input_ids`"),
    ];
    for (tensors, expected) in cases {
        let error = read(&tensors).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(error.hint().is_some(), "{error}");
    }
    let fine = [with(text("vlm.0.labels", &[1, image, 2])), with(text("vlm.0.attention_mask", &[1, 1, 1]))];
    assert!(fine.iter().all(|tensors| read(tensors).is_ok()));
}

/// The four sizes of a patch agree, and so do the tokens: the normalisation tells.
#[test]
fn samples_of_another_model_are_refused_where_that_shows() {
    let place = checkpoint("qwen");
    // More rows than tokens, as the checkpoints of Qwen have.
    edit(place.path(), "config.json", |config| config["vocab_size"] = json!(400));
    let processor = processor(place.path());
    let image = i64::from(processor.vision().unwrap().image);
    let file = place.path().join("inputs.safetensors");
    let with_pixels = |pixels: Vec<u8>| {
        let mut tensors = whole(&[1, image, 2], &[0, 1, 0], &[1, 2, 2], 4);
        tensors[3].3 = pixels;
        tensors
    };
    let read = |tensors: &[Written]| {
        write_tensors(&file, tensors);
        prepared(&processor, &file, PreparedKind::Vision, 9).map(drop).map_err(|error| {
            assert!(
                error.hint().is_some_and(|hint| hint.contains("prepare it with the processor of this model"))
            );
            error.to_string()
        })
    };
    assert_eq!(read(&with_pixels(pixels(4, CLIP))), Ok(()));
    let said = read(&with_pixels(pixels(4, HALVES))).unwrap_err();
    assert!(
        said.contains("is normalised in another way than this model's pictures: by mean and deviation 0.5"),
        "{said}"
    );
    let said = read(&with_pixels(pixels(4, [[0.0; 3], [1.0; 3]]))).unwrap_err();
    assert!(said.contains("than this model's pictures: by none"), "{said}");
    let mut odd = pixels(4, CLIP);
    odd[392 * 4..393 * 4].copy_from_slice(&2.2f32.to_le_bytes());
    let said = read(&with_pixels(odd)).unwrap_err();
    assert!(said.contains("holds 2.2, and pixels of its channel become -1.752 to 2.075"), "{said}");
    let said = read(&whole(&[399, image, 2], &[0, 1, 0], &[1, 2, 2], 4)).unwrap_err();
    assert!(said.contains("holds 399, a token that the tokenizer of this model lacks"), "{said}");

    // A processor that is not known says nothing of values.
    edit(place.path(), "preprocessor_config.json", |said| said["image_processor_type"] = json!("Another"));
    let processor = super::processor(place.path());
    write_tensors(&file, &with_pixels(pixels(4, HALVES)));
    assert!(prepared(&processor, &file, PreparedKind::Vision, 9).is_ok());
    // A token that is in no file but the tokenizer's configuration is a token all the same.
    edit(place.path(), "tokenizer_config.json", |said| {
        said["added_tokens_decoder"] = json!({"399": {"content": "<|late|>"}});
    });
    write_tensors(&file, &whole(&[399, image, 2], &[0, 1, 0], &[1, 2, 2], 4));
    assert!(prepared(&super::processor(place.path()), &file, PreparedKind::Vision, 9).is_ok());
}

/// What qlua prepares itself says whose it is.
#[test]
fn metadata_that_name_another_model_or_tokenizer_are_believed() {
    let place = tempfile::tempdir().unwrap();
    let demo = qlua::demo::build(place.path()).unwrap();
    let read = || {
        let processor = processor(&demo.model);
        prepared(&processor, &demo.inputs, PreparedKind::Vision, 9).map(|samples| samples.samples.len())
    };
    assert_eq!(read().unwrap(), 4);
    let said = |change: &dyn Fn()| {
        change();
        let error = read().unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("prepare the samples again")), "{error}");
        error.to_string()
    };
    let tokenizer = || {
        // The same tokens in another file: what is certain is that it is another one.
        let path = demo.model.join("tokenizer.json");
        let mut text = std::fs::read(&path).unwrap();
        text.push(b'\n');
        std::fs::write(&path, text).unwrap();
    };
    assert!(said(&tokenizer).contains("inputs.safetensors` are of another tokenizer than `"));
    let model_type = || edit(&demo.model, "config.json", |config| config["model_type"] = json!("qwen3_vl"));
    let sentence = said(&model_type);
    assert!(
        sentence.ends_with("is made for a model of type `qwen2_5_vl`, and this one is of type `qwen3_vl`"),
        "{sentence}"
    );
}
