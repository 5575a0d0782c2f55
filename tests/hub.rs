//! Models by their names on the Hugging Face Hub, in caches as `hf download` lays them out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "01234567ffffffffffffffffffffffffffffffff";

/// A cache with the demo as `acme/tiny`, and a directory to work in.
struct Cached {
    base: tempfile::TempDir,
}

impl Cached {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        qlua::demo::build(&base.path().join("demo")).unwrap();
        let cached = Cached { base };
        let model = cached.repository();
        for folder in ["blobs", "refs/refs/pr", "snapshots"] {
            fs::create_dir_all(model.join(folder)).unwrap();
        }
        fs::create_dir(cached.snapshot()).unwrap();
        for entry in fs::read_dir(cached.path().join("demo/model")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let content = fs::read(&path).unwrap();
            let blob = blake3::hash(&content).to_string();
            fs::write(model.join("blobs").join(&blob), content).unwrap();
            symlink(Path::new("../../blobs").join(blob), cached.snapshot().join(name)).unwrap();
        }
        for reference in ["main", "v1.0", "refs/pr/1"] {
            fs::write(model.join("refs").join(reference), COMMIT).unwrap();
        }
        cached
    }

    fn path(&self) -> &Path {
        self.base.path()
    }

    fn cache(&self) -> PathBuf {
        self.path().join("home/hub")
    }

    fn repository(&self) -> PathBuf {
        self.cache().join("models--acme--tiny")
    }

    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(self.path());
        for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", self.path().join("home"));
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Standard output of a run that ends well.
    fn said(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a run says that fails with `code`.
    fn refused(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        said
    }

    fn export(&self, model: &str, out: &str) -> Value {
        self.said(&[
            "all_layers_topx",
            "--model",
            model,
            "--manifest",
            "demo/manifest.json",
            "--top",
            "50",
            "--out",
            out,
            "--threads",
            "2",
            "--device",
            "cpu",
        ]);
        let scheme = self.path().join(out).join("fp8_autoquant_all_layers_top50_coco2017");
        serde_json::from_slice(&fs::read(scheme.join("layer-sensitivity/provenance.json")).unwrap()).unwrap()
    }
}

#[test]
fn a_name_of_the_hub_is_taken_wherever_a_checkpoint_is() {
    let cached = Cached::new();
    let before = tree(&cached.cache());
    let by_name = cached.export("acme/tiny", "by_name");
    assert_eq!(by_name["model"]["directory"], "acme/tiny");
    assert_eq!(by_name["model"]["hub"]["name"], "acme/tiny");
    assert_eq!(by_name["model"]["hub"]["commit"], COMMIT);
    // The weights are those that the directory itself gives, and that has no name on record.
    let by_path = cached.export("demo/model", "by_path");
    assert_eq!(by_name["weights"], by_path["weights"]);
    assert_eq!(by_name["inputs"], by_path["inputs"]);
    assert!(by_path["model"].get("hub").is_none());
    // Neither the revision nor the way to it makes it another base.
    for place in [
        "acme/tiny@v1.0",
        "acme/tiny@refs/pr/1",
        "acme/tiny@0123456",
        &cached.snapshot().display().to_string(),
    ] {
        assert_eq!(cached.export(place, "by_name"), by_name, "{place} is up to date");
    }

    let scheme = "by_name/fp8_autoquant_all_layers_top50_coco2017";
    cached.said(&["verify", scheme, "--base", "acme/tiny@main"]);
    cached.said(&["verify", "acme/tiny"]);
    cached.said(&["diff", "acme/tiny", "demo/model"]);
    assert!(cached.said(&["inspect", "acme/tiny"]).contains("qwen2_5_vl"));
    cached.said(&["weight_sensitivity", "acme/tiny", "--out", "weights.json"]);
    let weights: Value =
        serde_json::from_slice(&fs::read(cached.path().join("weights.json")).unwrap()).unwrap();
    assert_eq!(weights["model"]["id"], "acme/tiny");
    cached.said(&["-e", "assert(qlua.checkpoint.open('acme/tiny').model_type == 'qwen2_5_vl')"]);
    cached.said(&["outliers", "acme/tiny"]);
    cached.said(&["prefix", "acme/tiny", "renamed", "model.", "other."]);
    cached.said(&["-e", "assert(qlua.engine.open('acme/tiny@v1.0').has_vision)"]);
    assert_eq!(tree(&cached.cache()), before, "the cache is never written to");
}

#[test]
fn a_directory_of_that_spelling_wins() {
    let cached = Cached::new();
    fs::create_dir(cached.path().join("acme")).unwrap();
    fs::rename(cached.path().join("demo/model"), cached.path().join("acme/tiny")).unwrap();
    let opened = cached.said(&["-e", "io.write(qlua.checkpoint.open('acme/tiny').path)"]);
    assert_eq!(opened, "acme/tiny");
    // An empty one is a mistake, and not a reason to look elsewhere.
    fs::create_dir(cached.path().join("acme/empty")).unwrap();
    let said = cached.refused(1, &["inspect", "acme/empty"]);
    assert!(said.contains("`acme/empty` holds no config.json"), "{said}");
}

#[test]
fn what_is_not_in_the_cache_is_named_with_the_command_that_fetches_it() {
    let cached = Cached::new();
    let cache = cached.cache().display().to_string();
    for (place, problem, hint) in [
        (
            "acme/none",
            format!(
                "there is no directory `acme/none`, and no model of that name in the Hugging Face cache `{cache}`"
            ),
            "`hf download acme/none` fetches it",
        ),
        (
            "Acme/Tiny@v1.0",
            format!(
                "there is no directory `Acme/Tiny@v1.0`, and no model of that name in the Hugging Face cache `{cache}`"
            ),
            "did you mean `acme/tiny@v1.0`?",
        ),
        (
            "https://huggingface.co/acme/tiny/tree/main",
            "`https://huggingface.co/acme/tiny/tree/main` is the address of a model, and nothing is fetched"
                .into(),
            "`hf download acme/tiny`, then name it `acme/tiny`",
        ),
        (
            "acme/tiny@v2",
            format!("the Hugging Face cache `{cache}` has `acme/tiny`, but not its revision `v2`"),
            "`hf download acme/tiny --revision v2` fetches it",
        ),
        (
            "acme/tiny@ffff",
            format!("the Hugging Face cache `{cache}` has `acme/tiny`, but not its revision `ffff`"),
            "`hf download acme/tiny --revision ffff` fetches it",
        ),
    ] {
        let said = cached.refused(1, &["inspect", place]);
        assert!(said.contains(&problem) && said.contains(hint), "{said}");
        let said =
            cached.refused(2, &["all_layers_topx", "--model", place, "--manifest", "demo/manifest.json"]);
        assert!(said.contains("--model") && said.contains(&problem) && said.contains(hint), "{said}");
        let output = cached.run(&["verify", place]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(&problem), "{said}");
    }
    assert!(!cached.path().join("quantized").exists());

    fs::create_dir(cached.repository().join("snapshots").join(OTHER)).unwrap();
    let said = cached.refused(1, &["inspect", "acme/tiny@01234567"]);
    let expected = "`01234567` begins the names of 2 commits of `acme/tiny`";
    assert!(said.contains(expected) && said.contains("give more digits"), "{said}");
    cached.said(&["inspect", "acme/tiny@0123456789"]);

    fs::write(cached.repository().join("refs/main"), "f".repeat(40)).unwrap();
    let said = cached.refused(1, &["inspect", "acme/tiny"]);
    assert!(
        said.contains("does not have its commit `ffff") && said.contains("`hf download acme/tiny`"),
        "{said}"
    );
    // What leads out of the cache is no commit.
    fs::write(cached.repository().join("refs/main"), "../../../../demo/model").unwrap();
    let said = cached.refused(1, &["inspect", "acme/tiny"]);
    assert!(said.contains("not its revision `main`"), "{said}");
}

#[test]
fn a_download_that_is_not_complete_is_called_that() {
    let shard = |cached: &Cached| {
        let mut shards: Vec<PathBuf> = fs::read_dir(cached.snapshot())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
            .collect();
        shards.sort();
        shards.pop().unwrap()
    };
    type Removal<'a> = (&'a str, &'a dyn Fn(&Cached));
    let remove: [Removal; 3] = [
        ("the link of a shard", &|cached| fs::remove_file(shard(cached)).unwrap()),
        ("the blob of a shard", &|cached| fs::remove_file(shard(cached).canonicalize().unwrap()).unwrap()),
        ("the configuration", &|cached| fs::remove_file(cached.snapshot().join("config.json")).unwrap()),
    ];
    for (what, remove) in remove {
        let cached = Cached::new();
        remove(&cached);
        let said = cached.refused(1, &["inspect", "acme/tiny@v1.0"]);
        let problem = format!("the snapshot `{COMMIT}` of `acme/tiny` is not complete");
        let hint = "`hf download acme/tiny --revision v1.0` fetches what is missing";
        assert!(said.contains(&problem) && said.contains(hint), "{what}: {said}");
    }
}

#[test]
fn the_cache_is_where_the_variables_say() {
    let cached = Cached::new();
    let moved = cached.path().join("elsewhere");
    fs::rename(cached.cache(), &moved).unwrap();
    cached.refused(1, &["inspect", "acme/tiny"]);
    let found = |name: &str, value: &Path| {
        let mut command = cached.command(&["inspect", "acme/tiny"]);
        command.env_remove("HF_HOME").env(name, value).output().unwrap().status.success()
    };
    assert!(found("HF_HUB_CACHE", &moved));
    fs::create_dir_all(cached.path().join("xdg/huggingface")).unwrap();
    symlink(&moved, cached.path().join("xdg/huggingface/hub")).unwrap();
    assert!(found("XDG_CACHE_HOME", &cached.path().join("xdg")));
    fs::create_dir_all(cached.path().join("user/.cache/huggingface")).unwrap();
    symlink(&moved, cached.path().join("user/.cache/huggingface/hub")).unwrap();
    assert!(found("HOME", &cached.path().join("user")));
}

#[test]
fn a_sandbox_reads_a_model_of_the_cache_where_it_may_read_that() {
    let cached = Cached::new();
    fs::write(cached.path().join("open.lua"), "print(qlua.checkpoint.open('acme/tiny').model_type)").unwrap();
    fs::write(cached.path().join("none.lua"), "print(qlua.checkpoint.open('acme/none').model_type)").unwrap();
    // Whether it is there is not for the script to learn.
    for script in ["open.lua", "none.lua"] {
        let said = cached.refused(1, &["--sandbox", "--read", "demo", script]);
        assert!(said.contains("lies outside of what this sandbox may read"), "{said}");
    }
    let repository = cached.repository().display().to_string();
    assert_eq!(cached.said(&["--sandbox", "--read", &repository, "open.lua"]), "qwen2_5_vl\n");
}

/// Every file and link below `root` with what it holds.
fn tree(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().is_dir() {
                true => folders.push(path),
                false => found.push((path.clone(), fs::read(&path).unwrap())),
            }
        }
    }
    found.sort();
    found
}
