//! Runs of the program in processes of their own, to be stopped at any moment, and what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use qlua::demo::{Qwen25VlShape, VisionShape, manifest, write_checkpoint};

/// Writes the coverage points of its arguments and prints what it did, in bytes.
const POLICY: &str = r#"
local qlua = require "qlua"
local family = qlua.export.family{
  model = "model", manifest = "manifest.json", out = "out", device = "cpu", threads = 2,
  overwrite = (...) == "overwrite",
}
local ranking = family.manifest:ranking{ order = "ascending" }
for _, percent in ipairs{ ... } do
  if percent ~= "overwrite" then family:add("top" .. percent, ranking:lowest(tonumber(percent))) end
end
local outcome = family:run()
print(outcome.written_bytes, outcome.resumed_bytes, outcome.reused_bytes)
"#;

/// The demo as it is: the fewest bytes that have every kind of layer.
pub const SMALL: Qwen25VlShape = Qwen25VlShape::DEMO;

/// Shards of several blocks, those of codes too.
pub const LARGE: Qwen25VlShape = Qwen25VlShape {
    hidden_size: 256,
    intermediate_size: 1056,
    max_shard_bytes: 20_000_000,
    vision: VisionShape { hidden_size: 256, ..Qwen25VlShape::DEMO.vision },
    ..Qwen25VlShape::DEMO
};

/// A block of a shard, in bytes.
pub const BLOCK: u64 = 1 << 20;

/// A directory with a model, and the runs into its `out`.
pub struct Runs {
    base: tempfile::TempDir,
}

/// What a run printed.
#[derive(Debug, PartialEq, Eq)]
pub struct Bytes {
    pub written: u64,
    pub resumed: u64,
    pub reused: u64,
}

impl Runs {
    pub fn new(shape: &Qwen25VlShape) -> Self {
        let base = tempfile::tempdir().unwrap();
        write_checkpoint(&base.path().join("model"), shape, 7).unwrap();
        fs::write(base.path().join("manifest.json"), manifest(shape, 7).to_string()).unwrap();
        fs::write(base.path().join("policy.lua"), POLICY).unwrap();
        Runs { base }
    }

    pub fn path(&self) -> &Path {
        self.base.path()
    }

    pub fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(self.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Begins a run of these coverage points.
    pub fn start(&self, points: &[&str]) -> Child {
        self.command(&[&["policy.lua"], points].concat()).spawn().unwrap()
    }

    /// A run that is to succeed.
    pub fn finish(&self, points: &[&str]) -> Bytes {
        self.finish_saying(points).0
    }

    /// The same, with what it says on standard error.
    pub fn finish_saying(&self, points: &[&str]) -> (Bytes, String) {
        let output = self.start(points).wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [written, resumed, reused] = numbers[..] else { panic!("{text}") };
        (Bytes { written, resumed, reused }, stderr(&output))
    }

    /// Every file below `out` with the hash of its content.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        super::tree(&self.out()).into_iter().map(|(n, c)| (n, blake3::hash(&c).to_string())).collect()
    }

    /// What lies in `out` under names that begin with a dot.
    pub fn hidden(&self) -> Vec<String> {
        let entries = fs::read_dir(self.out()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        let mut hidden: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
        hidden.sort();
        hidden
    }

    /// How many blocks are on record of each shard that is not finished.
    pub fn blocks(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.out().join(".qlua.partial")).into_iter().flatten().flatten();
        let journals = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "blocks"));
        journals.map(|j| fs::read_to_string(j.path()).unwrap_or_default().lines().count() as u64).collect()
    }

    /// Bytes of the shards that are on record as finished.
    pub fn finished_bytes(&self) -> u64 {
        let path = self.out().join(".qlua.partial/journal.jsonl");
        let text = fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter_map(|line| line["bytes"].as_u64()).sum()
    }

    /// Waits until `is_there` says so or `child` has ended.
    pub fn wait_until(&self, child: &mut Child, is_there: impl Fn(&Self) -> bool) {
        while child.try_wait().unwrap().is_none() && !is_there(self) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// What a run said, begun after `prepare`, that `signal` ended while at least two blocks of an unfinished shard were on record. One
    /// that was over, or past its shards, before the signal came to it is done again: how fast it is depends on the machine.
    pub fn stopped_in_a_shard(&self, points: &[&str], signal: i32, prepare: impl Fn(&Self)) -> Output {
        let are_there = |runs: &Self| runs.blocks().iter().any(|blocks| *blocks >= 2);
        for _ in 0..100 {
            prepare(self);
            let mut child = self.start(points);
            self.wait_until(&mut child, are_there);
            if child.try_wait().unwrap().is_some() {
                continue;
            }
            send(&child, signal);
            let output = child.wait_with_output().unwrap();
            if !output.status.success() && are_there(self) {
                return output;
            }
        }
        panic!("every run was over before it could be stopped");
    }

    /// Removes all that was written.
    pub fn reset(&self) {
        if self.out().exists() {
            fs::remove_dir_all(self.out()).unwrap();
        }
    }
}

/// Sends `signal` to `child`, which was not waited for.
pub fn send(child: &Child, signal: i32) {
    // SAFETY: the process was started here and has not been waited for, so the id is still its own.
    unsafe { libc::kill(child.id() as i32, signal) };
}

/// The end of a child whose output nobody wants.
pub fn end(mut child: Child) -> ExitStatus {
    child.wait().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A linear congruential generator: shares from 0 to 1 that are the same every time.
pub struct Shares(pub u64);

impl Shares {
    pub fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / f64::from(1 << 24)
    }
}

/// How often a long test does what it does: `variable` of the environment, or `usual` times.
pub fn rounds(variable: &str, usual: u32) -> u32 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
