//! The embedded demo: a seeded checkpoint in the shape of Qwen2.5-VL with a manifest, small enough to be made in a
//! moment, so that every policy runs without a model at hand.
//!
//! The same generator writes a checkpoint of the real dimensions ([`Qwen25VlShape::REAL_3B`]) for benchmarks.

mod config;
mod inputs;
mod manifest;
mod shape;
mod tokenizer;
mod values;
mod write;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use manifest::{SCHEME, manifest};
pub use shape::{Qwen25VlShape, VisionShape};
pub use values::SeededValues;
pub use write::{DemoWeights, write_checkpoint};

use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::json;
use crate::write::held::HeldDirectory;
use crate::write::require_no_dangling_link;

/// Version of the demo's content; another version is built anew.
pub const VERSION: u32 = 4;

/// The seed of the demo's values and scores.
pub const SEED: u64 = 2025;

/// The sensitivity manifests of the demo: that of [`SEED`], and one of another run to compare and combine it with.
const MANIFESTS: [(&str, u64); 2] = [("manifest.json", SEED), ("second-manifest.json", SEED + 1)];

/// Samples to run the model with.
const INPUTS: &str = "inputs.safetensors";

/// The file that marks a directory as a demo and lists what belongs to it.
const STAMP: &str = "demo.json";

/// A demo on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demo {
    /// The checkpoint directory.
    pub model: PathBuf,
    /// The sensitivity manifest; its `amax` key holds the input scales.
    pub manifest: PathBuf,
    /// A manifest of the same model with other scores, as from a second run.
    pub second_manifest: PathBuf,
    /// Samples to run it with, as prepared tensors.
    pub inputs: PathBuf,
    /// Whether it was written just now, rather than found.
    pub built: bool,
}

/// What [`STAMP`] says.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    qlua_demo: u32,
    seed: u64,
    /// Path below the directory → BLAKE3 of the content.
    files: BTreeMap<String, String>,
}

/// Makes sure that `directory` holds the demo: `model/`, `manifest.json`, `second-manifest.json`, `inputs.safetensors`, and the stamp `demo.json`. A
/// complete one of the same version is checked and used as it is; an incomplete or older one is completed or replaced. Other files in
/// `directory` are not touched. Two calls at once wait for each other.
///
/// # Errors
/// [`Error::Exists`] when something that is not the demo's own, or was changed since, is in the way; [`Error::Refused`] when `directory` is a
/// link to nothing; [`Error::Io`] and
/// [`Error::Interrupted`], after which nothing of this call is left.
pub fn build(directory: &Path) -> Result<Demo> {
    require_no_dangling_link(directory)?;
    let fresh = !directory.exists();
    fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
    let result = build_locked(directory);
    if fresh && result.is_err() {
        // Fails, as it should, when another call has put its demo there in the meantime.
        let _ = fs::remove_dir(directory);
    }
    result
}

fn build_locked(directory: &Path) -> Result<Demo> {
    let lock = File::open(directory).map_err(|e| Error::io("read", directory, e))?;
    // Some network file systems know no locks; there, two first runs at once are the user's to avoid.
    let _ = lock.lock();
    let [manifest, second_manifest] = MANIFESTS.map(|(name, _)| directory.join(name));
    let (model, inputs) = (directory.join("model"), directory.join(INPUTS));
    let mut demo = Demo { model, manifest, second_manifest, inputs, built: false };
    let old = match survey(directory)? {
        Survey::Complete => return Ok(demo),
        Survey::Absent => Vec::new(),
        Survey::Stale(files) => files,
    };
    let staging = write::staging_directory(directory)?;
    // So that what a killed call leaves is known for what it is.
    let _held = HeldDirectory::take(staging.path(), directory)?;
    let _cleanup = write::cleanup(&staging);
    stage(staging.path())?;
    for file in &old {
        remove(fs::remove_file(file), file)?;
    }
    remove(fs::remove_dir(&demo.model), &demo.model)?;
    // The stamp goes first: whatever interrupts the moves, the next call knows the parts for the demo's own.
    for name in [STAMP, "model", INPUTS].into_iter().chain(MANIFESTS.map(|(name, _)| name)) {
        let to = directory.join(name);
        fs::rename(staging.path().join(name), &to).map_err(|e| Error::io("create", &to, e))?;
    }
    demo.built = true;
    Ok(demo)
}

/// Writes the whole demo, stamp included, into the empty directory `staging`.
fn stage(staging: &Path) -> Result<()> {
    let model = staging.join("model");
    fs::create_dir(&model).map_err(|e| Error::io("create", &model, e))?;
    write::write_files(&model, &Qwen25VlShape::DEMO, SEED)?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(&model).map_err(|e| Error::io("read", &model, e))? {
        let entry = entry.map_err(|e| Error::io("read", &model, e))?;
        files.insert(format!("model/{}", entry.file_name().display()), digest(&entry.path())?);
    }
    let put = |name: &str, content: Vec<u8>| {
        let path = staging.join(name);
        fs::write(&path, content).map_err(|e| Error::io("write", path, e))
    };
    for (name, seed) in MANIFESTS {
        put(name, json::pretty(&manifest(&Qwen25VlShape::DEMO, seed)))?;
        files.insert(name.into(), digest(&staging.join(name))?);
    }
    let tokenizer = digest(&model.join("tokenizer.json"))?;
    put(INPUTS, inputs::inputs(&Qwen25VlShape::DEMO, SEED, &tokenizer)?)?;
    files.insert(INPUTS.into(), digest(&staging.join(INPUTS))?);
    let stamp = Stamp { qlua_demo: VERSION, seed: SEED, files };
    put(STAMP, json::pretty(&stamp))
}

/// What is in a directory already.
enum Survey {
    /// Nothing of a demo.
    Absent,
    /// This version's demo, whole and unchanged.
    Complete,
    /// Part of a demo, or another version's: these files are there and are its own.
    Stale(Vec<PathBuf>),
}

fn survey(directory: &Path) -> Result<Survey> {
    let stamp = directory.join(STAMP);
    let model = directory.join("model");
    let manifests = MANIFESTS.map(|(name, _)| directory.join(name));
    if !stamp.exists() {
        return match manifests.iter().chain([&model]).find(|path| path.symlink_metadata().is_ok()) {
            None => Ok(Survey::Absent),
            Some(path) => Err(in_the_way(path, "is there already and is not part of a demo that qlua made")),
        };
    }
    let stamp: Stamp = json::read(&stamp, InputKind::Record)
        .map_err(|_| in_the_way(&stamp, "is not a stamp that qlua wrote"))?;
    let mut present = Vec::new();
    let mut complete = stamp.qlua_demo == VERSION;
    for (name, expected) in &stamp.files {
        let path = directory.join(name);
        if Path::new(name).components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(in_the_way(&directory.join(STAMP), "names a file outside its directory"));
        }
        if !path.exists() {
            complete = false;
        } else if digest(&path)? == *expected {
            present.push(path);
        } else {
            return Err(Error::exists(path, "was changed after the demo was built").with_hint(
                "remove it to have the demo built anew, or give the changed checkpoint and manifest as --model and \
                 --manifest",
            ));
        }
    }
    if complete {
        return Ok(Survey::Complete);
    }
    // The model directory is about to be replaced as a whole.
    if model.exists() {
        for entry in fs::read_dir(&model).map_err(|e| Error::io("read", &model, e))? {
            let path = entry.map_err(|e| Error::io("read", &model, e))?.path();
            if !present.contains(&path) {
                return Err(in_the_way(&path, "is not part of the demo that is to be built anew"));
            }
        }
    }
    if let Some(manifest) = manifests.iter().find(|m| m.exists() && !present.contains(m)) {
        return Err(in_the_way(manifest, "is not part of the demo that is to be built anew"));
    }
    Ok(Survey::Stale(present))
}

fn in_the_way(path: &Path, problem: &str) -> Error {
    Error::exists(path, problem).with_hint("move it away, or run in another directory")
}

fn digest(path: &Path) -> Result<String> {
    let bytes = input::read(path, InputKind::Record)?;
    Ok(blake3::hash(&bytes).to_string())
}

/// The outcome of a removal, where it is no failure that there was nothing to remove.
fn remove(outcome: io::Result<()>, path: &Path) -> Result<()> {
    match outcome {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// Path below `directory` → digest, of every file.
    fn content(directory: &Path) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut todo = vec![directory.to_path_buf()];
        while let Some(folder) = todo.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    let name = path.strip_prefix(directory).unwrap().display().to_string();
                    files.insert(name, digest(&path).unwrap());
                }
            }
        }
        files
    }

    /// Changes with the demo's content, and so does [`VERSION`].
    const PINNED: &str = "3b09addca9b6b654c6567cad94ba22fab30fc315313d0df936ae5791208a32cc";

    #[test]
    fn the_demo_has_the_same_bytes_everywhere() {
        let directory = tempfile::tempdir().unwrap();
        build(directory.path()).unwrap();
        // The stamp lists the digest of every file.
        let stamp = fs::read_to_string(directory.path().join(STAMP)).unwrap();
        assert_eq!(blake3::hash(stamp.as_bytes()).to_string(), PINNED, "{stamp}");
    }

    #[test]
    fn a_second_call_finds_the_first_ones_demo_and_writes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("qlua-demo");
        let first = build(&directory).unwrap();
        let inode = fs::metadata(&first.manifest).unwrap().ino();
        fs::write(directory.join("model/notes.txt"), "mine").unwrap();
        let second = build(&directory).unwrap();
        assert_eq!(second, Demo { built: false, ..first });
        assert_eq!(fs::metadata(&second.manifest).unwrap().ino(), inode);
        assert_eq!(content(&directory)["model/notes.txt"], blake3::hash(b"mine").to_string());
    }

    #[test]
    fn calls_at_once_give_one_demo() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("qlua-demo");
        let built = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..4).map(|_| scope.spawn(|| build(&directory).unwrap().built)).collect();
            calls.into_iter().map(|call| usize::from(call.join().unwrap())).sum::<usize>()
        });
        assert_eq!(built, 1);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 5);
    }

    #[test]
    fn an_incomplete_demo_is_completed_and_other_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        build(directory.path()).unwrap();
        let whole = content(directory.path());
        fs::write(directory.path().join("mine"), "").unwrap();
        fs::remove_file(directory.path().join("model/config.json")).unwrap();
        assert!(build(directory.path()).unwrap().built);
        fs::remove_file(directory.path().join("mine")).unwrap();
        assert_eq!(content(directory.path()), whole);
    }

    #[test]
    fn another_versions_demo_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        build(directory.path()).unwrap();
        let whole = content(directory.path());
        let text = r#"{"old": 1}"#;
        fs::write(directory.path().join("model/config.json"), text).unwrap();
        let stamp = directory.path().join(STAMP);
        let mut old: Stamp = json::read(&stamp, InputKind::Record).unwrap();
        old.qlua_demo = VERSION - 1;
        old.files.insert("model/config.json".into(), blake3::hash(text.as_bytes()).to_string());
        fs::write(&stamp, json::pretty(&old)).unwrap();
        assert!(build(directory.path()).unwrap().built);
        assert_eq!(content(directory.path()), whole);
    }

    #[test]
    fn what_is_not_the_demos_own_is_never_overwritten() {
        let cases: [(&str, &[(&str, &str)]); 4] = [
            ("manifest.json", &[("manifest.json", "{}")]),
            ("model", &[("model/config.json", "{}")]),
            ("demo.json", &[("demo.json", "{}")]),
            (
                "model/notes.txt",
                &[("demo.json", r#"{"qlua_demo": 0, "seed": 0, "files": {}}"#), ("model/notes.txt", "mine")],
            ),
        ];
        for (named, files) in cases {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = directory.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let before = content(directory.path());
            let error = build(directory.path()).unwrap_err();
            assert_eq!(error.kind(), "exists");
            assert!(error.to_string().contains(&format!("{named}`")), "{error}");
            assert_eq!(content(directory.path()), before);
        }
    }

    #[test]
    fn a_changed_file_is_named_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let demo = build(directory.path()).unwrap();
        fs::write(&demo.manifest, "{}").unwrap();
        let error = build(directory.path()).unwrap_err();
        assert!(
            error.to_string().ends_with("manifest.json` was changed after the demo was built"),
            "{error}"
        );
        assert_eq!(fs::read(&demo.manifest).unwrap(), b"{}");
    }
}
