//! A source that lies there anew while finished work of a stopped run waits.

use std::fs;
use std::path::Path;

use super::change::Kind;
use super::stopped::Running;
use crate::common::tree;

const WORDS: [&str; 15] = [
    "all_layers_topx",
    "--model",
    "model",
    "--manifest",
    "manifest.json",
    "--top",
    "20,50,80",
    "--out",
    "out",
    "--max-shard-size",
    "100kB",
    "--threads",
    "2",
    "--device",
    "cpu",
];
const SHARD: &str = "model/model-00001-of-00002.safetensors";

/// Kills a run once it has finished some shards.
fn kill_midway(place: &Path) {
    let journal = place.join("out/.qlua.partial/journal.jsonl");
    let mut running = Running::start(place, &WORDS);
    assert!(running.wait_for(|_| fs::read_to_string(&journal).is_ok_and(|text| text.lines().count() > 8)));
    running.kill();
}

#[test]
fn a_source_that_lies_there_anew_with_other_times_is_resumed_by_its_hash() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path();
    qlua::demo::build(place).unwrap();
    let ended = Running::start(place, &WORDS).go_on();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let expected = tree(&place.join("out"));
    fs::remove_dir_all(place.join("out")).unwrap();

    kill_midway(place);
    let content = fs::read(place.join(SHARD)).unwrap();
    fs::remove_file(place.join(SHARD)).unwrap();
    fs::write(place.join(SHARD), &content).unwrap();
    let ended = Running::start(place, &WORDS).go_on();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains(" resumed"), "{}", ended.said);
    assert!(tree(&place.join("out")) == expected);
    fs::remove_dir_all(place.join("out")).unwrap();

    // Other content of the same length is another source.
    kill_midway(place);
    Kind::Replace.apply(&place.join(SHARD), 3);
    let before = tree(&place.join("out"));
    let ended = Running::start(place, &WORDS).go_on();
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("was left by a run on other inputs"), "{}", ended.said);
    let finished = |files: &[(String, Vec<u8>)]| files.iter().filter(|(f, _)| f.starts_with(".qlua")).count();
    assert_eq!(finished(&tree(&place.join("out"))), finished(&before), "finished work is kept");
    fs::write(place.join(SHARD), &content).unwrap();
    let ended = Running::start(place, &WORDS).go_on();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(tree(&place.join("out")) == expected);
}
