//! Damaged files of the base checkpoint.

use std::fs;

use crate::common::directory::{INDEX, Raw, read_safetensors, write_raw_safetensors, write_safetensors};
use crate::common::place::{Place, require_message};

const AGAIN: &str = "download or copy the file again";

#[test]
fn a_missing_shard_is_named() {
    let place = Place::new();
    let shard = &place.model.weight_files()[1];
    fs::remove_file(shard).unwrap();
    let error = place.refused();
    require_message(
        &error,
        &[&shard.display().to_string(), "is missing", INDEX],
        "download the missing file",
    );
}

#[test]
fn a_truncated_shard_is_told_apart_by_where_it_ends() {
    let place = Place::new();
    let shard = &place.model.weight_files()[0];
    let whole = fs::read(shard).unwrap();
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    let path = shard.display().to_string();
    for (length, words, hint) in [
        (0, "is empty, and no safetensors file", AGAIN),
        (7, "is too short to be a safetensors file", AGAIN),
        (8, "is truncated inside its header", AGAIN),
        (9, "is truncated inside its header", AGAIN),
        (header / 2, "is truncated inside its header", AGAIN),
        (header - 1, "is truncated inside its header", AGAIN),
        (header, "is truncated: its header describes", AGAIN),
        (header + 1, "is truncated: its header describes", AGAIN),
        (whole.len() / 2, "is truncated: its header describes", AGAIN),
        (whole.len() - 1, "is truncated: its header describes", AGAIN),
    ] {
        fs::write(shard, &whole[..length]).unwrap();
        require_message(&place.refused(), &[&path, words], hint);
    }
    fs::write(shard, [&whole[..], b"more"].concat()).unwrap();
    require_message(&place.refused(), &[&path, "has 4 bytes after its last tensor"], "");
}

/// Headers that a reader without checks would follow into the wrong bytes.
#[test]
fn lies_of_a_header_are_named_with_the_tensor_where_it_is_known() {
    let entry = |name: &str, dtype: &str, shape: &str, begin: usize, end: usize| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let two = |a: String, b: String| format!("{{{a},{b}}}");
    let first = || entry("first", "U8", "[4]", 0, 4);
    for (header, data, words) in [
        (two(first(), entry("second", "U8", "[4]", 2, 6)), 6, "`second` overlap or leave a hole"),
        (two(first(), entry("second", "U8", "[4]", 6, 10)), 10, "`second` overlap or leave a hole"),
        (format!("{{{}}}", entry("first", "U8", "[4]", 4, 8)), 8, "`first` overlap or leave a hole"),
        (two(first(), entry("second", "U8", "[4]", 4, 3)), 8, "is damaged: the offsets of tensor `second`"),
        (two(first(), entry("second", "U8", "[5]", 4, 8)), 8, "a tensor's shape does not fit its offsets"),
        (two(first(), entry("second", "F3", "[4]", 4, 8)), 8, "tensor `second` has the unknown dtype `F3`"),
        (
            two(first(), entry("second", "F4", "[7]", 4, 8)),
            8,
            "the packed elements of a tensor end inside a byte",
        ),
        (two(first(), entry("second", "F4", "[9, 2]", 4, 8)), 8, "a tensor's shape does not fit its offsets"),
        (two(first(), entry("second", "U8", "[-4]", 4, 8)), 8, "its header does not parse"),
        (
            two(first(), entry("second", "U8", "[4294967296,4294967296]", 4, 8)),
            8,
            "is not a readable safetensors",
        ),
        ("[]".into(), 0, "its header does not parse"),
        ("{".into(), 0, "its header does not parse"),
        ("\u{0}\u{1}".into(), 0, "its header does not parse"),
    ] {
        let place = Place::new();
        fs::remove_file(place.model.file(INDEX)).unwrap();
        place.model.weight_files().iter().for_each(|file| fs::remove_file(file).unwrap());
        let path = place.model.file("model.safetensors");
        write_raw_safetensors(&path, &header, data);
        let hint = if words == "its header does not parse" { "download or copy the file again" } else { "" };
        require_message(&place.refused(), &[&path.display().to_string(), words], hint);
    }
}

/// A file of one kind where another was expected: what it is, and what to do.
#[test]
fn a_file_of_another_kind_is_called_what_it_is() {
    let place = Place::new();
    let shard = place.model.weight_files()[0].clone();
    let shard_bytes = fs::read(&shard).unwrap();
    for (bytes, words, hint) in [
        (&b""[..], "it is empty", "copy it again"),
        (b" \n", "it is empty", "copy it again"),
        (b"%PDF-1.7\n", "it is a PDF", "give the JSON file"),
        (&shard_bytes, "it is a weight file (safetensors)", "give the JSON file"),
        (b"{\"layer_sensitivity\": {", "EOF while parsing", "all of it is there"),
    ] {
        fs::write(&place.manifest, bytes).unwrap();
        let error = qlua::manifest::Manifest::open(&place.manifest).unwrap_err();
        require_message(
            &error,
            &[&place.manifest.display().to_string(), "is not the JSON that was expected", words],
            hint,
        );
    }
    fs::remove_file(place.model.file(INDEX)).unwrap();
    place.model.weight_files().iter().for_each(|file| fs::remove_file(file).unwrap());
    let path = place.model.file("model.safetensors");
    for (bytes, words, hint) in [
        (&b""[..], "is empty", "copy the file again"),
        (b"{}", "is JSON, not a safetensors file", "give a file of tensors"),
        (b"{\n  \"mean\": [0.5]\n}\n", "is JSON, not a safetensors file", "give a file of tensors"),
        (b"%PDF-1.7 and more", "not a safetensors file", "give a file of tensors"),
        (b"\x04\0\0\0\0\0\0\0nope", "its header does not parse", "copy the file again"),
    ] {
        fs::write(&path, bytes).unwrap();
        require_message(&place.refused(), &[&path.display().to_string(), words], hint);
    }
}

#[test]
fn a_header_that_claims_more_than_readers_accept_is_no_safetensors_file() {
    let place = Place::new();
    let shard = &place.model.weight_files()[0];
    for length in [100_000_001, u64::MAX] {
        let mut bytes = fs::read(shard).unwrap();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        fs::write(shard, bytes).unwrap();
        let error = place.refused();
        require_message(
            &error,
            &[&shard.display().to_string(), "claims a header of more than 100 MB"],
            ".safetensors",
        );
    }
}

#[test]
fn an_index_never_leads_out_of_its_directory() {
    let place = Place::new();
    let outside = place.path().join("x.safetensors");
    fs::copy(&place.model.weight_files()[0], &outside).unwrap();
    fs::create_dir(place.model.file("sub")).unwrap();
    fs::copy(&outside, place.model.file("sub/x.safetensors")).unwrap();
    let name = "model.embed_tokens.weight";
    for file in
        ["../x.safetensors", outside.to_str().unwrap(), "sub/x.safetensors", "./../x.safetensors", "..", ""]
    {
        place.model.edit_json(INDEX, |i| i["weight_map"][name] = file.into());
        let error = place.refused();
        require_message(
            &error,
            &[INDEX, name, &format!("`{file}`"), "no file name inside the directory"],
            "",
        );
    }
    place.model.edit_json(INDEX, |i| i["weight_map"][name] = 7.into());
    require_message(&place.refused(), &[INDEX, name, "something that is no name"], "");
}

#[test]
fn an_index_and_its_shards_must_agree() {
    let place = Place::new();
    let original = fs::read(place.model.file(INDEX)).unwrap();
    let [first, second] = &place.model.weight_files()[..] else { panic!("the demo has two shards") };
    let first_name = first.file_name().unwrap().to_str().unwrap();

    place.model.edit_json(INDEX, |i| {
        i["weight_map"]["a.ghost.weight"] = first_name.into();
        i["weight_map"]["b.ghost.weight"] = first_name.into();
    });
    let error = place.refused();
    require_message(
        &error,
        &[&first.display().to_string(), "lacks 2 tensors", INDEX, "`a.ghost.weight`"],
        "",
    );

    for (text, words) in [
        ("{}", "is not the JSON that was expected"),
        ("not JSON", "is not the JSON that was expected"),
        ("[]", "is not the JSON that was expected"),
        (r#"{"weight_map": {}}"#, "names no tensor"),
    ] {
        fs::write(place.model.file(INDEX), text).unwrap();
        let hint = if words.contains("JSON") { "check that it is the file that was meant" } else { "" };
        require_message(&place.refused(), &[INDEX, words], hint);
    }

    fs::write(place.model.file(INDEX), original).unwrap();
    let name = read_safetensors(first).keys().next().unwrap().clone();
    let mut tensors = read_safetensors(second);
    tensors.insert(name.clone(), Raw::zeros(&[1]));
    write_safetensors(second, &tensors);
    // The index names one of the two places, and the base checkpoint is what the index says.
    assert!(qlua::checkpoint::Checkpoint::open(&place.model.0).is_ok());

    fs::remove_file(place.model.file(INDEX)).unwrap();
    let error = place.refused();
    require_message(&error, &["holds 2 *.safetensors files and no", INDEX], "");
}

/// Transformers would read the one and vLLM the other.
#[test]
fn a_single_file_beside_an_index_that_does_not_name_it_is_refused() {
    let place = Place::new();
    fs::copy(&place.model.weight_files()[0], place.model.file("model.safetensors")).unwrap();
    let error = place.refused();
    require_message(&error, &[INDEX, "`model.safetensors`", "disagree"], "remove whichever is stale");
}

#[test]
fn a_directory_without_weights_or_configuration_is_no_checkpoint() {
    let place = Place::new();
    let config = place.model.file("config.json");
    for (text, words) in [
        ("not JSON", "is not the JSON that was expected"),
        ("", "is not the JSON that was expected"),
        ("[1]", "is not a JSON object"),
        ("\"text\"", "is not a JSON object"),
    ] {
        fs::write(&config, text).unwrap();
        let hint = match (words.contains("expected"), text.is_empty()) {
            (true, true) => "copy it again",
            (true, false) => "check that it is the file that was meant",
            (false, _) => "",
        };
        require_message(&place.refused(), &[&config.display().to_string(), words], hint);
    }
    fs::remove_file(&config).unwrap();
    require_message(&place.refused(), &["holds no config.json"], "pass a Hugging Face model directory");

    fs::write(&config, "{}").unwrap();
    fs::remove_file(place.model.file(INDEX)).unwrap();
    place.model.weight_files().iter().for_each(|file| fs::remove_file(file).unwrap());
    require_message(&place.refused(), &["holds no *.safetensors file"], "safetensors only");

    fs::remove_dir_all(&place.model.0).unwrap();
    require_message(&place.refused(), &["model` does not exist"], "pass a Hugging Face model directory");
    fs::write(&place.model.0, "").unwrap();
    require_message(&place.refused(), &["model` is a file"], "pass a Hugging Face model directory");
}
