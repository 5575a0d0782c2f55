//! Samples from what users have, against what Transformers 5.24 and `examples/autoquant/calibration.py` make of the same files. The
//! answers in `tests/golden/inputs` come from its `make.py`; those of the golden model are shared.

mod common;
#[path = "engine_inputs/prepared.rs"]
mod prepared_tensors;
#[path = "engine_inputs/transparency.rs"]
mod transparency;

use std::fs;
use std::path::{Path, PathBuf};

use common::shared;
use qlua::checkpoint::{Checkpoint, read_header};
use qlua::engine::Sample;
use qlua::engine::inputs::{
    PairsFile, PreparedKind, Processor, SampleKind, Samples, TextStream, captions, pairs, prepared, windows,
};
use qlua::tensor::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/inputs").join(name)
}

fn answers() -> Value {
    serde_json::from_slice(&fs::read(golden("answers.json")).unwrap()).unwrap()
}

/// A copy of one of the golden checkpoints, with weights that nobody looks at.
fn checkpoint(name: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(golden(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, place.path().join(path.file_name().unwrap())).unwrap();
    }
    write_tensors(&place.path().join("model.safetensors"), &[("w", Dtype::BF16, vec![1], vec![0, 0])]);
    place
}

type Written<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

fn write_tensors(path: &Path, tensors: &[Written]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        let dtype = match dtype {
            Dtype::I64 => safetensors::Dtype::I64,
            Dtype::F32 => safetensors::Dtype::F32,
            _ => safetensors::Dtype::BF16,
        };
        (*name, TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn processor(directory: &Path) -> Processor {
    Processor::open(&Checkpoint::open(directory).unwrap()).unwrap()
}

/// Changes a JSON file of a directory.
fn edit(directory: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let path = directory.join(name);
    let mut value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn tokens(samples: &Samples) -> Value {
    json!(samples.samples.iter().map(|sample| &sample.tokens).collect::<Vec<_>>())
}

/// A tensor of a safetensors file: its shape and bytes.
fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = fs::read(path).unwrap();
    let entry = read_header(path, &bytes).unwrap().into_iter().find(|entry| entry.name == name);
    let entry = entry.unwrap_or_else(|| panic!("{name}"));
    (entry.shape, bytes[entry.range].to_vec())
}

/// A PNG file that says it has so many pixels, and holds none.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(width.to_be_bytes().into_iter().chain(height.to_be_bytes()).chain([8, 2, 0, 0, 0]));
    let sum = header.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| sum >> 1 ^ (0xedb8_8320 & (sum & 1).wrapping_neg()))
    });
    let pixels = b"\0\0\0\0IDAT\x35\xaf\x06\x1e";
    [&b"\x89PNG\r\n\x1a\n\0\0\0\r"[..], &header, &(!sum).to_be_bytes(), pixels].concat()
}

fn integers(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

fn reals(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The largest and the mean distance of a picture's patches from golden 8-bit levels, in levels.
fn distance(sample: &Sample, name: &str) -> (f32, f32) {
    const MEAN: [f32; 3] = [0.48145466, 0.4578275, 0.40821073];
    const DEVIATION: [f32; 3] = [0.26862954, 0.261_302_6, 0.275_777_1];
    let [picture] = &sample.pictures[..] else { panic!("one picture") };
    let file = golden("pictures.safetensors");
    let (_, grid) = tensor(&file, &format!("{name}.image_grid_thw"));
    assert_eq!(picture.grid.map(|size| size as i64).to_vec(), integers(&grid), "{name}");
    let (shape, levels) = tensor(&file, &format!("{name}.pixel_values"));
    let [patches, 3, pixels] = shape[..] else { panic!("{shape:?}") };
    assert_eq!(picture.patches.len(), patches * 3 * 2 * pixels, "{name}");
    let (mut most, mut sum) = (0.0f32, 0.0);
    for (at, value) in picture.patches.iter().enumerate() {
        let (patch, channel, pixel) = (at / (6 * pixels), at / (2 * pixels) % 3, at % pixels);
        let level = (value * DEVIATION[channel] + MEAN[channel]) * 255.0;
        let apart = (level - f32::from(levels[(patch * 3 + channel) * pixels + pixel])).abs();
        most = most.max(apart);
        sum += apart;
    }
    (most, sum / picture.patches.len() as f32)
}

#[test]
fn captions_become_the_tokens_of_transformers() {
    let answers = answers();
    for name in ["qwen", "llama"] {
        let place = checkpoint(name);
        let processor = processor(place.path());
        for length in [512, 8] {
            let samples = captions(&processor, &golden("captions.txt"), length, 100).unwrap();
            assert_eq!(tokens(&samples), answers[name][format!("captions_{length}")], "{name} {length}");
            assert_eq!(samples.counted_from, 1);
            let said = serde_json::to_value(&samples.source).unwrap();
            assert_eq!(
                (&said["kind"], &said["file"], &said["max_length"]),
                (&json!("captions"), &json!("captions.txt"), &json!(length))
            );
            assert_eq!(said["num_samples"], samples.samples.len());
        }
        assert_eq!(captions(&processor, &golden("captions.txt"), 512, 3).unwrap().samples.len(), 3);
    }
}

#[test]
fn marks_and_ends_of_lines_of_other_systems_are_no_part_of_captions() {
    let place = checkpoint("qwen");
    let processor = processor(place.path());
    let file = place.path().join("captions.txt");
    let read = |text: &str| {
        fs::write(&file, text).unwrap();
        captions(&processor, &file, 512, 100)
    };
    let plain = read("A cat sleeps.\nTwo dogs run.\n").unwrap();
    for same in ["\u{feff}A cat sleeps.\r\n\r\n  Two dogs run.\r\n", "A cat sleeps.\rTwo dogs run."] {
        assert_eq!(tokens(&read(same).unwrap()), tokens(&plain), "{same:?}");
    }
    assert!(read("\u{feff}\n").unwrap_err().to_string().contains("holds no captions"));
}

#[test]
fn a_text_is_cut_into_the_windows_of_llama_cpp() {
    let answers = answers();
    for name in ["qwen", "llama"] {
        let place = checkpoint(name);
        let processor = processor(place.path());
        let samples = windows(&processor, &golden("captions.txt"), 32, 4096).unwrap();
        assert_eq!(tokens(&samples), answers[name]["windows_32"], "{name}");
        assert_eq!((samples.counted_from, samples.source.kind), (17, SampleKind::Text));
        assert_eq!(windows(&processor, &golden("captions.txt"), 32, 2).unwrap().samples.len(), 2);
        let error = windows(&processor, &golden("captions.txt"), 4096, 2).unwrap_err();
        assert!(error.to_string().contains("fewer than two windows of 4096"), "{error}");
        assert_eq!(windows(&processor, &golden("captions.txt"), 1, 2).unwrap_err().kind(), "argument");
    }
}

#[test]
fn prompts_follow_the_chat_template() {
    let answers = answers();
    for name in ["qwen", "llama"] {
        let place = checkpoint(name);
        let processor = processor(place.path());
        for answer in answers[name]["prompts"].as_array().unwrap() {
            let prompt = answer["prompt"].as_str().unwrap();
            let messages = json!([{"role": "user", "content": prompt}]);
            let text = processor.chat_template().unwrap().render(&messages, true).unwrap();
            assert_eq!(json!(text), answer["text"], "{name}");
            assert_eq!(json!(processor.prompt(prompt, None).unwrap().tokens), answer["ids"], "{name}");
        }
    }
    let place = checkpoint("qwen");
    let sample = processor(place.path()).prompt("What is it?", Some(&golden("pictures/turned.jpg"))).unwrap();
    assert_eq!(json!(sample.tokens), answers["picture_prompt"]);
    let (most, mean) = distance(&sample, "prompt");
    assert!(most <= 1e-3, "{most} {mean}");
}

#[test]
fn pairs_become_the_samples_of_the_calibration_in_python() {
    let answers = answers();
    let place = checkpoint("qwen");
    let processor = processor(place.path());
    let (database, images) = (golden("pairs.db"), golden("pictures"));
    for (split, key) in [(None, "pairs_None"), (Some("calib"), "pairs_calib")] {
        let file = PairsFile { database: &database, images: &images, split };
        let samples = pairs(&processor, file, 512, 100).unwrap();
        assert_eq!(tokens(&samples), answers[key], "{key}");
        assert!(samples.shows_pictures());
        if split.is_some() {
            continue;
        }
        let mut names: Vec<String> =
            fs::read_dir(&images).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for (sample, name) in samples.samples.iter().zip(&names) {
            let (most, mean) = distance(sample, name);
            println!("{name}: at most {most}, {mean} on average");
            assert!(most <= 1e-3, "{name}: {most} {mean}");
        }
        let at = names.iter().position(|name| name == "grown.png").unwrap();
        let (_, exact) = tensor(&golden("pictures.safetensors"), "exact.pixel_values");
        let exact = reals(&exact);
        assert_eq!(samples.samples[at].pictures[0].patches[..exact.len()], exact[..]);
    }
    let error =
        pairs(&processor, PairsFile { database: &database, images: &images, split: Some("none") }, 512, 9);
    assert!(error.unwrap_err().to_string().contains("holds no pairs of the split `none`"));
    let error = pairs(&processor, PairsFile { database: &database, images: &images, split: None }, 20, 9)
        .unwrap_err();
    assert!(error.to_string().contains("tokens, more than 20"), "{error}");
    assert_eq!(
        fs::read_dir(golden(""))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().path().to_string_lossy().contains("pairs.db"))
            .count(),
        1
    );
}

#[test]
fn a_stream_gives_whole_characters_and_the_same_text() {
    for name in ["qwen", "llama"] {
        let place = checkpoint(name);
        let processor = processor(place.path());
        let tokenizer = processor.tokenizer();
        for text in ["A man, about to return — 🧑‍🚀 日本語 é!", "  two  spaces\n", "plain"] {
            let before = tokenizer.encode("Say it:", true).unwrap();
            let after = tokenizer.encode(text, false).unwrap();
            let mut stream = TextStream::after(tokenizer, &before, false);
            let mut pieces: Vec<String> = after.iter().map(|token| stream.push(*token).unwrap()).collect();
            pieces.push(stream.finish().unwrap());
            assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{pieces:?}");
            let all = [before.clone(), after].concat();
            let whole = tokenizer.decode(&all, false).unwrap();
            let start = tokenizer.decode(&before, false).unwrap();
            assert_eq!(format!("{start}{}", pieces.concat()), whole, "{name}");
        }
    }
    // Three bytes of a character of four, and no more.
    let place = checkpoint("qwen");
    let processor = processor(place.path());
    let broken = processor.tokenizer().encode("🧑", false).unwrap();
    let mut stream = TextStream::after(processor.tokenizer(), &[], false);
    assert!(broken[..3].iter().all(|token| stream.push(*token).unwrap().is_empty()));
    assert!(stream.finish().unwrap().starts_with('\u{fffd}'));
}

#[test]
fn what_cannot_be_used_is_said_in_one_sentence_with_a_hint() {
    type Attempt = Box<dyn Fn(&Path) -> Result<(), qlua::Error>>;
    let captions_of = |bytes: &'static [u8]| -> Attempt {
        Box::new(move |place: &Path| {
            let file = place.join("captions.txt");
            fs::write(&file, bytes).unwrap();
            captions(&processor(place), &file, 512, 9).map(drop)
        })
    };
    let after = |name: &'static str, change: fn(&mut Value)| -> Attempt {
        Box::new(move |place: &Path| {
            edit(place, name, change);
            let processor = Processor::open(&Checkpoint::open(place)?)?;
            processor.prompt("Why?", Some(&golden("pictures/kept.png"))).map(drop)
        })
    };
    let database = |make: &'static str| -> Attempt {
        Box::new(move |place: &Path| {
            let file = place.join("pairs.db");
            rusqlite::Connection::open(&file).unwrap().execute_batch(make).unwrap();
            pairs(&processor(place), PairsFile { database: &file, images: place, split: None }, 512, 9)
                .map(drop)
        })
    };
    let picture = |bytes: Vec<u8>| -> Attempt {
        Box::new(move |place: &Path| {
            fs::write(place.join("p.png"), &bytes).unwrap();
            processor(place).prompt("Why?", Some(&place.join("p.png"))).map(drop)
        })
    };
    let without = |name: &'static str| -> Attempt {
        Box::new(move |place: &Path| {
            fs::remove_file(place.join(name)).unwrap();
            let processor = Processor::open(&Checkpoint::open(place)?)?;
            processor.prompt("Why?", Some(&golden("pictures/kept.png"))).map(drop)
        })
    };
    let empty = || -> Attempt { Box::new(|place: &Path| processor(place).plain_prompt("").map(drop)) };
    const ROW: &str =
        "CREATE TABLE vlm_calib_samples (id INTEGER, split TEXT, image_relpath TEXT, caption TEXT);
        INSERT INTO vlm_calib_samples VALUES (1, 'calib', '";
    let row = |values: &str| -> &'static str { format!("{ROW}{values});").leak() };
    let kept = fs::read(golden("pictures/kept.png")).unwrap();
    let photo = fs::read(golden("pictures/colours.jpg")).unwrap();
    let cases: Vec<(Attempt, &str)> = vec![
        (empty(), "the prompt has no tokens"),
        (captions_of(b"\n  \n"), "holds no captions"),
        (captions_of(b"one\ntwo\xff\n"), "is no UTF-8 in line 2"),
        (captions_of(b"a\n"), "the caption `a` is a single token"),
        (captions_of(b"one <|image_pad|> two\n"), "has 1 image tokens, and its pictures take 0"),
        (captions_of(b"one <|video_pad|> two\n"), "holds a token of a video"),
        (without("chat_template.jinja"), "has no chat template"),
        (without("preprocessor_config.json"), "holds no preprocessor_config.json"),
        (without("tokenizer.json"), "holds no tokenizer.json"),
        (
            after("preprocessor_config.json", |v| v["image_processor_type"] = json!("PixtralImageProcessor")),
            "the image processor PixtralImageProcessor, which is not known",
        ),
        (
            after("preprocessor_config.json", |v| v["patch_size"] = json!(16)),
            "has patch_size 16, and config.json 14",
        ),
        (after("preprocessor_config.json", |v| v["resample"] = json!(2)), "resizes by the filter 2"),
        (after("preprocessor_config.json", |v| v["min_pixels"] = json!(-4)), "has no usable `size`"),
        (
            after("preprocessor_config.json", |v| v["image_std"] = json!([1, 0, 1])),
            "has no usable `image_std`",
        ),
        (after("config.json", |v| v["vocab_size"] = json!(5)), "beyond the model's vocabulary of 5"),
        (
            after("config.json", |v| drop(v.as_object_mut().unwrap().remove("vision_config"))),
            "sees no pictures",
        ),
        (
            after("config.json", |v| drop(v.as_object_mut().unwrap().remove("image_token_id"))),
            "no `image_token_id`",
        ),
        (after("tokenizer.json", |v| v["model"] = json!(3)), "is no tokenizer that can be read"),
        (after("tokenizer.json", |v| v["model"]["dropout"] = json!(0.1)), "leaves out merges at random"),
        (
            after("tokenizer.json", |v| {
                let twice = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
                v["normalizer"] = json!({"type": "Sequence", "normalizers": vec![twice; 34]});
            }),
            "makes texts longer without measure",
        ),
        (database("CREATE TABLE other (id INTEGER);"), "has no table vlm_calib_samples"),
        (
            database("CREATE TABLE vlm_calib_samples (id INTEGER);"),
            "cannot be asked for its pairs: no such column",
        ),
        (
            database(
                "CREATE TABLE vlm_calib_samples (id INTEGER, split TEXT, image_relpath TEXT, caption TEXT);",
            ),
            "holds no pairs",
        ),
        (database(row("none.png', 'a caption'")), "none.png` does not exist"),
        (database(row("../p.png', 'a caption'")), "has a picture outside the folder"),
        (database(row("/p.png', 'a caption'")), "has a picture outside the folder"),
        (database(row("p.png', hex(zeroblob(200000))")), "has a path or a caption of more than 262144 bytes"),
        (
            database(
                "CREATE VIEW vlm_calib_samples AS SELECT 1 AS id, 'calib' AS split, 'p.png' AS image_relpath,
                hex(zeroblob(400000000)) AS caption;",
            ),
            "has a path or a caption of more than 262144 bytes",
        ),
        (
            database(
                "CREATE VIEW vlm_calib_samples AS WITH RECURSIVE endless(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM endless)
                SELECT x AS id, 'calib' AS split, 'p.png' AS image_relpath, 'a caption' AS caption FROM endless;",
            ),
            "takes longer than 20 s to give its pairs",
        ),
        (picture(b"text".to_vec()), "is neither PNG nor JPEG"),
        (picture(png_claiming(60_000, 60_000)), "has 60000 × 60000 pixels, too many"),
        (picture(png_claiming(u32::MAX >> 1, u32::MAX >> 1)), "is no picture that can be read"),
        (picture(kept[..kept.len() / 2].to_vec()), "is no picture that can be read"),
        (picture(kept[..12].to_vec()), "is no picture that can be read"),
        (picture(photo[..photo.len() - 1].to_vec()), "is cut short"),
        (picture(photo[..photo.len() / 2].to_vec()), "is cut short"),
        (picture(photo[..photo.len() / 9].to_vec()), "is cut short"),
    ];
    for (attempt, expected) in cases {
        let place = checkpoint("qwen");
        let error = attempt(place.path()).expect_err(expected);
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(error.hint().is_some(), "{error}");
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
    }
}

#[test]
fn a_database_that_somebody_writes_to_is_refused_and_one_with_an_empty_log_is_read() {
    let place = checkpoint("qwen");
    fs::copy(golden("pairs.db"), place.path().join("pairs.db")).unwrap();
    let database = place.path().join("pairs.db");
    let read = || {
        let file = PairsFile { database: &database, images: &golden("pictures"), split: None };
        pairs(&processor(place.path()), file, 512, 1).map(|samples| samples.samples.len())
    };
    let writer = rusqlite::Connection::open(&database).unwrap();
    writer.pragma_update(None, "journal_mode", "WAL").unwrap();
    writer.execute("UPDATE vlm_calib_samples SET caption = 'another'", []).unwrap();
    let error = read().unwrap_err();
    assert!(error.to_string().contains("somebody writes to"), "{error}");
    drop(writer);
    assert_eq!(read().unwrap(), 1);
    fs::write(&database, vec![7; 5000]).unwrap();
    assert!(read().unwrap_err().to_string().contains("is no SQLite database"));
}

#[test]
fn samples_of_calibration_are_known_again() {
    let place = checkpoint("qwen");
    let processor = processor(place.path());
    let calibrated = captions(&processor, &golden("captions.txt"), 512, 2).unwrap();
    let all = captions(&processor, &golden("captions.txt"), 512, 100).unwrap();
    assert_eq!(all.count_among(&calibrated.hashes()), 2);
    assert_eq!(all.source.hash, calibrated.source.hash);
    let file = PairsFile { database: &golden("pairs.db"), images: &golden("pictures"), split: None };
    assert_eq!(pairs(&processor, file, 512, 100).unwrap().count_among(&calibrated.hashes()), 0);
}

#[test]
fn the_golden_model_gets_the_inputs_of_the_golden_answers() {
    let (Some(model), Some(answers)) = (shared("golden/tiny-qwen2_5-vl"), shared("golden/modelopt")) else {
        return;
    };
    let processor = processor(&model);
    let file = answers.join("inputs.safetensors");
    let text = prepared(&processor, &file, PreparedKind::Text, 4096).unwrap();
    let seen = prepared(&processor, &file, PreparedKind::Vision, 4096).unwrap();
    assert_eq!((text.samples.len(), seen.samples.len()), (16, 16));

    let inputs: Value = serde_json::from_slice(&fs::read(answers.join("inputs.json")).unwrap()).unwrap();
    for (line, golden) in inputs["text"].as_array().unwrap().iter().zip(&text.samples) {
        let chat =
            json!([{"role": "user", "content": "Write a caption."}, {"role": "assistant", "content": line}]);
        let text = processor.chat_template().unwrap().render(&chat, false).unwrap();
        assert_eq!(&processor.plain_prompt(text.trim_end_matches('\n')).unwrap(), golden, "{line}");
    }

    let database = answers.join("calibration.db");
    let pairs =
        pairs(&processor, PairsFile { database: &database, images: &model, split: None }, 512, 16).unwrap();
    let mut most = 0.0f32;
    for (ours, golden) in pairs.samples.iter().zip(&seen.samples) {
        assert_eq!(ours.tokens, golden.tokens);
        for (ours, golden) in ours.pictures.iter().zip(&golden.pictures) {
            assert_eq!(ours.grid, golden.grid);
            for (a, b) in ours.patches.iter().zip(&golden.patches) {
                most = most.max((a - b).abs() * 0.28 * 255.0);
            }
        }
    }
    println!("pixels are at most {most} of 255 apart");
    assert!(most <= 1.0, "{most}");
    // The same samples, from the database and prepared, are known as the same.
    assert_eq!(pairs.count_among(&seen.hashes()), 16);
}

#[test]
fn the_template_is_taken_from_where_transformers_takes_it() {
    let rendered = |place: &Path| {
        let messages = json!([{"role": "user", "content": "x"}]);
        processor(place).chat_template().unwrap().render(&messages, true).unwrap()
    };
    for (name, expected) in [("qwen", ["old", "own", "configured"]), ("llama", ["own", "configured", "old"])]
    {
        let place = checkpoint(name);
        fs::write(place.path().join("chat_template.jinja"), "own").unwrap();
        fs::write(place.path().join("chat_template.json"), r#"{"chat_template": "old"}"#).unwrap();
        edit(place.path(), "tokenizer_config.json", |v| {
            v["chat_template"] = json!({"default": "configured"})
        });
        for text in expected {
            assert_eq!(rendered(place.path()), text, "{name}");
            match text {
                "own" => fs::remove_file(place.path().join("chat_template.jinja")).unwrap(),
                "old" => fs::remove_file(place.path().join("chat_template.json")).unwrap(),
                _ => edit(place.path(), "tokenizer_config.json", |v| v["chat_template"] = Value::Null),
            }
        }
        let error = processor(place.path()).chat_template().map(drop).unwrap_err();
        assert!(error.to_string().ends_with("has no chat template"), "{error}");
    }
}
