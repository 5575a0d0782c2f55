//! The same inputs give the same bytes: at any thread count, in any order of the sweep, and again.

mod common;

use qlua::dialect::{DialectChoice, DialectId};
use qlua::plan::{Activations, ActivationsChoice};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::directory::{Directory, INDEX, Raw, Tensors, read_safetensors};
use common::place::{Place, export, modes};
use common::tree;
use qlua::job::FamilyOptions;
use qlua::write::Silent;
use safetensors::tensor::Dtype;
use serde_json::json;

/// Every file of every scheme below `out`, with a hash of its content.
fn hashes(out: &Path) -> BTreeMap<String, String> {
    tree(out).into_iter().map(|(name, content)| (name, blake3::hash(&content).to_string())).collect()
}

/// A model whose weights are read and written in many chunks, in three dtypes, with a manifest and all its input scales.
fn large_model(base: &Path) -> (PathBuf, PathBuf) {
    let mut state = 1u64;
    let mut random = move || {
        // SplitMix64, made a value between -1 and 1 with a few bits.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut tensors = Tensors::new();
    for (leaf, dtype, rows) in [
        ("mlp.gate_proj", Dtype::BF16, 700),
        ("mlp.up_proj", Dtype::BF16, 701),
        ("mlp.down_proj", Dtype::F32, 300),
        ("self_attn.o_proj", Dtype::F16, 300),
    ] {
        let values = (0..rows * 1999).map(|_| random());
        let bytes = match dtype {
            Dtype::BF16 => values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
            Dtype::F16 => values.flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect(),
            _ => values.flat_map(f32::to_le_bytes).collect(),
        };
        tensors.insert(format!("model.layers.0.{leaf}.weight"), Raw::new(dtype, &[rows, 1999], bytes));
    }
    tensors.insert("model.embed_tokens.weight".into(), Raw::zeros(&[600, 1999]));
    let model = Directory::create(&base.join("large"), &json!({"model_type": "llama"}), &tensors);
    let group = |score: f64, members: &[&str]| {
        let weights = |member: &&str| tensors[&format!("{member}.weight")].shape.iter().product::<usize>();
        let weights = members.iter().map(weights).sum::<usize>() as f64;
        json!({"formats": ["FP8_DEFAULT_CFG(effective-bits: 8.0)", "NONE(effective-bits: 16.0)"],
               "scores": [score, 0.0], "costs": [weights / 2.0, weights], "module_names": members})
    };
    let modules: Vec<&str> = tensors.keys().filter_map(|n| n.strip_suffix(".weight")).collect();
    let [_, down, gate, up, o] = modules[..] else { panic!("five weights") };
    let amax: BTreeMap<String, f64> = modules.iter().map(|m| (format!("{m}.input_quantizer"), 3.7)).collect();
    let groups = [(gate, group(1.0, &[gate, up])), (down, group(2.0, &[down])), (o, group(3.0, &[o]))];
    let groups: serde_json::Map<_, _> =
        groups.into_iter().map(|(name, group)| (format!("{name}.quant_recipe"), group)).collect();
    let manifest = base.join("large.json");
    fs::write(&manifest, json!({"layer_sensitivity": groups, "amax": amax}).to_string()).unwrap();
    (model.0, manifest)
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let place = Place::new();
    let (model, manifest) = large_model(place.path());
    for (model, manifest) in [(place.model.0.clone(), place.manifest.clone()), (model, manifest)] {
        for activations in
            [ActivationsChoice::Named(Activations::Static), ActivationsChoice::Named(Activations::Dynamic)]
        {
            let at = |threads: usize| {
                let out = place.path().join(format!("out-{threads}"));
                let options = FamilyOptions {
                    model: Some(model.clone()),
                    manifest: manifest.clone(),
                    out: out.clone(),
                    activations,
                    threads,
                    max_shard_size: 1_500_000,
                    ..place.options()
                };
                export(options, &[30.0, 100.0], &Silent).unwrap();
                let hashes = hashes(&out);
                fs::remove_dir_all(&out).unwrap();
                hashes
            };
            let first = at(1);
            assert!(first.len() > 10, "{first:?}");
            for threads in [2, 3, 8] {
                assert_eq!(at(threads), first, "{threads} threads, {activations} activations");
            }
        }
    }
}

#[test]
fn the_order_of_schemes_changes_no_byte_and_their_company_no_tensor() {
    let place = Place::new();
    for dialect in DialectId::ALL.iter().map(|id| DialectChoice::Named(*id)) {
        let sweep = |name: &str, percents: &[f64]| {
            let out = place.path().join(format!("{dialect}-{name}"));
            let options = FamilyOptions { dialect, out: out.clone(), ..place.options() };
            export(options, percents, &Silent).unwrap();
            hashes(&out)
        };
        let first = sweep("first", &[10.0, 50.0, 100.0]);
        assert_eq!(sweep("again", &[10.0, 50.0, 100.0]), first);
        assert_eq!(sweep("reversed", &[100.0, 50.0, 10.0]), first);
        // Which file holds a tensor depends on what else is written; the tensors and all other files do not.
        let alone = sweep("alone", &[50.0]);
        let shared = |name: &str| name.ends_with(".safetensors") || name.ends_with(".index.json");
        let of_files = |name: &str| shared(name) || name.ends_with("provenance.json");
        assert!(alone.iter().all(|(name, hash)| of_files(name) || first[name] == *hash) && alone.len() > 5);
        let tensors = |name: &str| Directory(place.path().join(format!("{dialect}-{name}/top50"))).tensors();
        assert!(tensors("alone") == tensors("first"));
    }
}

#[test]
fn shards_are_valid_within_the_limit_and_as_the_index_says() {
    const LIMIT: u64 = 100_000;
    let place = Place::new();
    let whole = export(place.options(), &[50.0], &Silent).unwrap().remove(0);
    let out = place.path().join("small");
    let options = FamilyOptions { out, max_shard_size: LIMIT, ..place.options() };
    let small = export(options, &[50.0], &Silent).unwrap().remove(0);
    let directory = Directory(small.directory);
    let files = directory.weight_files();
    assert!(files.len() > 10, "{} shards", files.len());

    let mut names = BTreeMap::new();
    let (mut total, mut all) = (0, Tensors::new());
    for (number, file) in files.iter().enumerate() {
        let name = file.file_name().unwrap().to_str().unwrap();
        assert_eq!(name, format!("model-{:05}-of-{:05}.safetensors", number + 1, files.len()));
        let tensors = read_safetensors(file);
        let bytes: u64 = tensors.values().map(|t| t.bytes.len() as u64).sum();
        assert!(bytes <= LIMIT || tensors.len() == 1, "{name} holds {bytes} bytes");
        names.extend(tensors.keys().map(|tensor| (tensor.clone(), name.to_string())));
        total += bytes;
        all.extend(tensors);
    }
    assert!(all == Directory(whole.directory).tensors(), "the same tensors as in one shard");
    let index = directory.json(INDEX);
    assert_eq!(index["weight_map"], json!(names));
    assert_eq!(index["metadata"]["total_size"], total);
    assert_eq!((small.bytes, whole.bytes), (total, total));
}

/// Loaders map the file and cast pointers: data begins at a multiple of eight and dtypes are aligned.
#[test]
fn headers_are_padded_and_carry_the_format() {
    let place = Place::new();
    let written =
        export(FamilyOptions { max_shard_size: 100_000, ..place.options() }, &[50.0], &Silent).unwrap();
    for file in Directory(written[0].directory.clone()).weight_files() {
        let bytes = fs::read(&file).unwrap();
        let (length, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(length % 8, 0);
        assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
        for (name, tensor) in metadata.tensors() {
            let size = tensor.dtype.bitsize() / 8;
            assert_eq!(tensor.data_offsets.0 % size, 0, "{name}");
        }
    }
}

const PLACE: &str = "QLUA_TEST_PLACE";

#[test]
fn permissions_follow_the_umask() {
    let place = Place::new();
    for (umask, file, directory) in [("022", 0o644, 0o755), ("077", 0o600, 0o700), ("002", 0o664, 0o775)] {
        let out = place.path().join(umask);
        let status = Command::new("sh")
            .args(["-c", &format!("umask {umask} && exec \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "under_a_umask", "--ignored"])
            .env(PLACE, place.path())
            .env("QLUA_TEST_OUT", &out)
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
        let found: BTreeSet<(bool, u32)> =
            modes(&out).into_iter().map(|(name, mode)| (out.join(name).is_dir(), mode)).collect();
        assert_eq!(found, [(false, file), (true, directory)].into(), "umask {umask}");
    }
}

#[test]
#[ignore = "run by another test in a process of its own"]
fn under_a_umask() {
    let Some(place) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let out = PathBuf::from(std::env::var_os("QLUA_TEST_OUT").unwrap());
    let options = common::options(&place.join("model"), &place.join("manifest.json"), &out);
    export(options, &[50.0], &Silent).unwrap();
}
