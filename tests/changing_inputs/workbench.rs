//! Places with sources that are worked on, changed meanwhile, and put back.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::change::Kind;
use super::stopped::{Ended, Running};
use crate::common::tree;

/// What works on the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tool {
    Family,
    Scheme,
    Amax,
    Baseline,
    Writer,
    Verify,
    VerifyBase,
}

/// When it is stopped, and what must hold then.
#[derive(Clone, Copy)]
enum Moment {
    /// This is mapped; nothing is published.
    Opened(&'static str),
    /// This directory is there, and so everything was looked at; nothing is published.
    Begun(&'static str),
}

/// A source that changes.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    pub tool: Tool,
    /// The file below the place.
    pub object: &'static str,
    pub kind: Kind,
    pub seed: u64,
}

/// What came of it.
#[derive(Default)]
pub struct Tally {
    pub tried: usize,
    /// Directories that are not those of the untouched sources, and findings that there is nothing to find.
    pub published: usize,
    /// Ended by a signal.
    pub signals: usize,
    /// Changed after the last look.
    late: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Tally { tried, published, signals, .. } = self;
        write!(f, "changed sources: {tried} tried, {published} published, {signals} signals")
    }
}

const SHARD: &str = "model/model-00001-of-00002.safetensors";
const OTHER_SHARD: &str = "model/model-00002-of-00002.safetensors";
const CONFIG: &str = "model/config.json";
const INDEX: &str = "model/model.safetensors.index.json";
const TOKENIZER: &str = "model/tokenizer.json";
const DONE: &str = "done/model-00001-of-00002.safetensors";
const BASELINE: &str = "baseline/model-00002-of-00002.safetensors";

impl Tool {
    pub const ALL: [Tool; 7] = [
        Tool::Family,
        Tool::Scheme,
        Tool::Amax,
        Tool::Baseline,
        Tool::Writer,
        Tool::Verify,
        Tool::VerifyBase,
    ];

    /// The sources of it that change.
    pub fn objects(self) -> Vec<&'static str> {
        match self {
            Tool::Family => vec![SHARD, OTHER_SHARD, CONFIG, INDEX, TOKENIZER, "manifest.json"],
            Tool::Scheme => vec![SHARD, "manifest.json"],
            Tool::Amax => vec!["amax.json"],
            Tool::Baseline => vec![BASELINE, "baseline/config.json"],
            Tool::Writer => vec![SHARD, OTHER_SHARD, CONFIG, TOKENIZER],
            Tool::Verify => vec![DONE, "done/config.json", "done/tokenizer.json"],
            Tool::VerifyBase => vec![SHARD, CONFIG],
        }
    }

    fn words(self) -> Vec<&'static str> {
        const FAMILY: &str = "all_layers_topx --model model --manifest manifest.json --out out --max-shard-size 100kB --threads 2";
        let more = match self {
            Tool::Family => "--top 20,50,80",
            Tool::Scheme => "--top 50",
            Tool::Amax => "--top 50 --amax amax.json",
            Tool::Baseline => "--top 50 --baseline baseline",
            Tool::Writer => return vec!["writer.lua"],
            Tool::Verify => return vec!["verify", "done"],
            Tool::VerifyBase => return vec!["verify", "done", "--base", "model"],
        };
        FAMILY.split(' ').chain(more.split(' ')).collect()
    }

    fn is_verify(self) -> bool {
        matches!(self, Tool::Verify | Tool::VerifyBase)
    }

    /// At some moment in which `object` was read and what is made of it is not out.
    fn moment(self, object: &str, seed: u64) -> Moment {
        match self {
            Tool::Verify | Tool::VerifyBase => Moment::Opened("done/model-"),
            Tool::Writer => Moment::Begun("out/.copy.partial"),
            // Weights and their configuration are watched from the first moment.
            _ if [SHARD, CONFIG].contains(&object) && seed.is_multiple_of(3) => Moment::Opened(SHARD),
            _ => Moment::Begun("out/.qlua.partial"),
        }
    }
}

/// How often a `verify` may have been about to speak when it was stopped: that is a moment, and a delay is half the one before.
const MOST_LATE: usize = 2;

/// A few places with the same sources, used in turn.
pub struct Workbench {
    base: tempfile::TempDir,
    places: usize,
    next: usize,
    references: HashMap<Tool, Vec<(String, Vec<u8>)>>,
}

impl Workbench {
    pub fn new(places: usize) -> Self {
        let base = tempfile::tempdir().unwrap();
        let pristine = base.path().join("pristine");
        let demo = qlua::demo::build(&pristine).unwrap();
        for extra in ["demo.json", "second-manifest.json", "inputs.safetensors"] {
            fs::remove_file(pristine.join(extra)).unwrap();
        }
        let manifest: serde_json::Value = serde_json::from_slice(&fs::read(&demo.manifest).unwrap()).unwrap();
        fs::write(pristine.join("amax.json"), manifest["amax"].to_string()).unwrap();
        fs::write(pristine.join("writer.lua"), WRITER).unwrap();
        for (top, name) in [("50", "done"), ("100", "baseline")] {
            let words = ["all_layers_topx", "--model", "model", "--manifest", "manifest.json", "--top", top];
            let ended = Running::start(&pristine, &[&words[..], &["--out", "made"]].concat()).go_on();
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            let scheme = pristine.join(format!("made/fp8_autoquant_all_layers_top{top}_coco2017"));
            fs::rename(scheme, pristine.join(name)).unwrap();
            fs::remove_dir_all(pristine.join("made")).unwrap();
        }
        let mut bench = Workbench { base, places, next: 0, references: HashMap::new() };
        (0..places).for_each(|place| bench.put_back(&bench.place(place)));
        for tool in Tool::ALL.into_iter().filter(|tool| !tool.is_verify()) {
            let place = bench.place(0);
            let ended = Running::start(&place, &tool.words()).go_on();
            assert_eq!(ended.code, Some(0), "{tool:?}: {}", ended.said);
            bench.references.insert(tool, published(&place));
            fs::remove_dir_all(place.join("out")).unwrap();
        }
        bench
    }

    fn place(&self, number: usize) -> PathBuf {
        self.base.path().join(number.to_string())
    }

    fn put_back(&self, place: &Path) {
        let _ = fs::remove_dir_all(place);
        for (name, content) in tree(&self.base.path().join("pristine")) {
            let path = place.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Changes a source at a moment, and again until it was while it mattered.
    pub fn attempt(&mut self, round: Round, tally: &mut Tally) {
        let Round { tool, object, kind, seed } = round;
        let place = self.place(self.next % self.places);
        self.next += 1;
        // Spread over the first half second; earlier each time that it was too late.
        let mut delay = Duration::from_micros(seed.wrapping_mul(0x9e37_79b9) % 500_000);
        let mut late = 0;
        loop {
            let mut running = Running::start(&place, &tool.words());
            let moment = tool.moment(object, seed);
            let has_come = running.wait_for(|running| match moment {
                Moment::Opened(part) => running.maps(part),
                Moment::Begun(part) => place.join(part).exists(),
            });
            if has_come {
                std::thread::sleep(delay);
            }
            let is_in_time = has_come
                && running.stop()
                && published(&place).is_empty()
                // Who has said what it found looks no more, though its files may be mapped still.
                && (!tool.is_verify() || running.maps("done/model-") && !running.has_spoken());
            if is_in_time {
                kind.apply(&place.join(object), seed);
                let ended = running.go_on();
                // It may have been stopped between its last look and its first word: stopped earlier, it has to find the change.
                if !(tool.is_verify() && ended.code == Some(0) && late < MOST_LATE) {
                    self.judge(round, &place, ended, tally);
                    break;
                }
                late += 1;
                tally.late += 1;
                println!("late: {round:?} after {delay:?}");
                self.put_back(&place);
                delay /= 2;
                continue;
            }
            running.kill();
            let _ = fs::remove_dir_all(place.join("out"));
            delay /= 2;
        }
        self.put_back(&place);
    }

    fn judge(&self, round: Round, place: &Path, ended: Ended, tally: &mut Tally) {
        let Ended { code, signal, said } = ended;
        tally.tried += 1;
        if signal.is_some() {
            tally.signals += 1;
            println!("signal {signal:?}: {round:?}");
            return;
        }
        let out = published(place);
        if round.tool.is_verify() {
            tally.published += usize::from(code != Some(1));
            println!("{}: {round:?}: {said}", if code == Some(1) { "found" } else { "MISSED" });
            return;
        }
        if !out.is_empty() {
            // What came out before the change is what comes out without it.
            let reference = &self.references[&round.tool];
            let is_late = out.iter().all(|file| reference.contains(file));
            tally.late += usize::from(is_late);
            tally.published += usize::from(!is_late);
            println!("{}: {round:?}: {said}", if is_late { "late" } else { "PUBLISHED" });
            return;
        }
        assert_eq!(code, Some(1), "{round:?}: {said}");
        let name = Path::new(round.object).file_name().unwrap().to_str().unwrap();
        assert!(said.contains(name) && said.contains("while it was in use"), "{round:?}: {said}");
        assert!(!place.join("out").exists(), "something is left behind: {round:?}: {said}");
    }
}

/// The files of published directories below `out`.
fn published(place: &Path) -> Vec<(String, Vec<u8>)> {
    let out = place.join("out");
    if !out.exists() {
        return Vec::new();
    }
    let is_hidden = |name: &str| name.starts_with('.');
    let is_report = |name: &str| ["report.html", "report.md"].contains(&name);
    tree(&out).into_iter().filter(|(name, _)| !is_hidden(name) && !is_report(name)).collect()
}

const WRITER: &str = r#"
local writer = require("qlua").export.writer{ out = "out/copy", base = "model", max_shard_size = 100000, threads = 2 }
for _, name in ipairs{ "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj" } do
  writer:quantize(name)
end
writer:copy("*")
writer:finish()
"#;
