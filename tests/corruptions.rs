//! Written directories corrupted in many seeded ways: how many of them `verify` finds by default, with neither the base nor
//! anything else at hand.
//!
//! Each kind of damage is done to each file that it can be done to. What is broken is broken with the standard library and
//! serde_json alone.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use qlua::dialect::{DialectChoice, DialectId};
use qlua::job::FamilyOptions;
use qlua::plan::{Activations, ActivationsChoice};
use qlua::verify::{Depth, verify};
use qlua::write::{LinkChoice, Silent};
use serde_json::Value;

use common::directory::Directory;
use common::{ascending_family, options, tree};

/// A pseudo-random generator, so that every run breaks the same bytes (SplitMix64, by Steele, Lea and Flood).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// A way to break a file: `false` where it cannot be broken so.
type Break = fn(&mut Vec<u8>, &mut Random) -> bool;

/// A way to break JSON: `false` where it cannot be broken so.
type Edit = fn(&mut Value, &mut Random) -> bool;

/// Ways to break any file.
const ANY: [(&str, Break); 9] = [
    ("a bit is flipped", |bytes, random| {
        let at = random.below(bytes.len());
        bytes.get_mut(at).is_some_and(|byte| {
            *byte ^= 1 << random.below(8);
            true
        })
    }),
    ("the last bit is flipped", |bytes, _| {
        bytes.last_mut().is_some_and(|byte| {
            *byte ^= 1;
            true
        })
    }),
    ("a byte is overwritten", |bytes, random| {
        let at = random.below(bytes.len());
        bytes.get_mut(at).is_some_and(|byte| {
            *byte = byte.wrapping_add(1 + random.below(255) as u8);
            true
        })
    }),
    ("it is cut by a byte", |bytes, _| bytes.pop().is_some()),
    ("it is cut in the middle", |bytes, random| {
        let at = random.below(bytes.len());
        let is_shorter = at < bytes.len();
        bytes.truncate(at);
        is_shorter
    }),
    ("it is emptied", |bytes, _| {
        let was_empty = bytes.is_empty();
        bytes.clear();
        !was_empty
    }),
    ("bytes are put after it", |bytes, random| {
        bytes.push(random.next() as u8);
        true
    }),
    ("bytes are taken out", |bytes, random| {
        let at = random.below(bytes.len());
        let end = bytes.len().min(at + 7);
        bytes.drain(at..end);
        at < end
    }),
    ("a stretch is zeroed", |bytes, random| {
        let at = random.below(bytes.len());
        let end = bytes.len().min(at + 64);
        let differs = bytes[at..end].iter().any(|byte| *byte != 0);
        bytes[at..end].fill(0);
        differs
    }),
];

/// Ways to break text, which stays what its format asks for.
const TEXT: [(&str, Break); 4] = [
    ("a line is doubled", |bytes, random| {
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let at = random.below(lines.len());
        let Some(line) = lines.get(at) else { return false };
        let mut text = lines[..=at].concat();
        text.extend_from_slice(line);
        text.extend(lines[at + 1..].concat());
        *bytes = text;
        true
    }),
    ("its end of line is lost", |bytes, _| bytes.pop_if(|byte| *byte == b'\n').is_some()),
    ("it has the line ends of another system", |bytes, _| {
        let text = String::from_utf8_lossy(bytes).replace('\n', "\r\n").into_bytes();
        let differs = text != *bytes;
        *bytes = text;
        differs
    }),
    ("it begins with a mark of byte order", |bytes, _| {
        bytes.splice(0..0, [0xef, 0xbb, 0xbf]);
        true
    }),
];

/// Ways to break JSON, which stays JSON.
const JSON: [(&str, Edit); 5] = [
    ("a key is deleted", |value, random| {
        with_object(value, random, &|fields, at| {
            let key = fields.keys().nth(at).cloned().unwrap();
            fields.remove(&key);
        })
    }),
    ("a key is renamed", |value, random| {
        with_object(value, random, &|fields, at| {
            let key = fields.keys().nth(at).cloned().unwrap();
            let value = fields.remove(&key).unwrap();
            fields.insert(format!("{key}_"), value);
        })
    }),
    ("a value becomes null", |value, random| {
        with_object(value, random, &|fields, at| {
            let value = fields.values_mut().nth(at).unwrap();
            *value = if value.is_null() { 0.into() } else { Value::Null };
        })
    }),
    ("a value becomes a text", |value, random| {
        with_object(value, random, &|fields, at| {
            *fields.values_mut().nth(at).unwrap() = "none".into();
        })
    }),
    ("a value becomes a large number", |value, random| {
        with_object(value, random, &|fields, at| {
            *fields.values_mut().nth(at).unwrap() = 1_000_000_000_000u64.into();
        })
    }),
];

/// Changes a random entry of a random object in `value`.
fn with_object(
    value: &mut Value,
    random: &mut Random,
    change: &dyn Fn(&mut serde_json::Map<String, Value>, usize),
) -> bool {
    fn objects<'a>(value: &'a mut Value, found: &mut Vec<&'a mut serde_json::Map<String, Value>>) {
        // The innermost, and the outermost where it holds no other.
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| objects(value, found)),
            Value::Object(fields) => {
                if fields.values().any(|value| value.is_object() || value.is_array()) {
                    fields.values_mut().for_each(|value| objects(value, found));
                } else if !fields.is_empty() {
                    found.push(fields);
                }
            }
            _ => {}
        }
    }
    // Half of the time an entry at the top.
    if random.below(2) == 0
        && let Value::Object(fields) = value
        && !fields.is_empty()
    {
        let at = random.below(fields.len());
        change(fields, at);
        return true;
    }
    let mut found = Vec::new();
    objects(value, &mut found);
    let at = random.below(found.len());
    let Some(fields) = found.into_iter().nth(at) else { return false };
    let entry = random.below(fields.len());
    change(fields, entry);
    true
}

/// Everything that is broken, by the kind of damage: how many, and which were not found.
#[derive(Default)]
struct Tally(BTreeMap<String, (usize, Vec<String>)>);

impl Tally {
    fn add(&mut self, kind: &str, what: String, directory: &Path) {
        let is_found = verify(directory, Depth::Full).unwrap().iter().any(|problem| problem.is_fault());
        let (count, missed) = self.0.entry(kind.to_string()).or_default();
        *count += 1;
        missed.extend((!is_found).then_some(what));
    }

    /// A table of kinds, with the number that was found and the number that was done.
    fn shown(&self) -> String {
        let line = |(kind, (count, missed)): (&String, &(usize, Vec<String>))| {
            format!("{:4} of {count:4}  {kind}\n", count - missed.len())
        };
        self.0.iter().map(line).collect()
    }

    fn missed(&self) -> Vec<String> {
        let of_kind = |(kind, (_, missed)): (&String, &(usize, Vec<String>))| {
            missed.iter().map(|what| format!("{kind}: {what}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_kind).collect()
    }

    fn count(&self) -> usize {
        self.0.values().map(|(count, _)| count).sum()
    }
}

/// Two coverage points in each dialect; companions of every sort lie beside the weights.
fn schemes(base: &Path) -> Vec<[PathBuf; 2]> {
    let demo = qlua::demo::build(&base.join("demo")).unwrap();
    fs::create_dir(demo.model.join("assets")).unwrap();
    fs::write(demo.model.join("assets/notes.txt"), "one\ntwo\nthree\n").unwrap();
    fs::write(demo.model.join("LICENSE"), "terms\n").unwrap();
    let layouts = [
        (DialectId::Universal, Activations::Static),
        (DialectId::CompressedTensors, Activations::Dynamic),
        (DialectId::ModelOpt, Activations::Static),
        (DialectId::Fp8Block, Activations::Dynamic),
    ];
    let write = |(dialect, activations): (DialectId, Activations)| {
        let options = FamilyOptions {
            dialect: DialectChoice::Named(dialect),
            activations: ActivationsChoice::Named(activations),
            link: LinkChoice::Copy,
            ..options(&demo.model, &demo.manifest, &base.join(dialect.word()))
        };
        let schemes = ascending_family(options, &[30.0, 60.0]).run(&Silent).unwrap().schemes;
        [schemes[0].directory.clone(), schemes[1].directory.clone()]
    };
    layouts.into_iter().map(write).collect()
}

/// Puts another file in the place of one that may be read-only or shared.
fn put(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_corruption_of_every_file_is_found() {
    let base = tempfile::tempdir().unwrap();
    let mut tally = Tally::default();
    let mut random = Random(13);
    for (number, [scheme, sibling]) in schemes(base.path()).iter().enumerate() {
        assert_eq!(verify(scheme, Depth::Full).unwrap(), [], "{}", scheme.display());
        let directory = Directory::copy(scheme, &base.path().join(format!("broken-{number}"))).0;
        let files = tree(&directory);
        let dialect = scheme.parent().unwrap().file_name().unwrap().to_str().unwrap();
        for (name, bytes) in &files {
            let path = directory.join(name);
            let is_json = name.ends_with(".json");
            let is_text = is_json || [".md", ".txt", "LICENSE"].iter().any(|ending| name.ends_with(ending));
            let what = format!("{name} of {dialect}");
            for (kind, break_it) in ANY.iter().chain(TEXT.iter().filter(|_| is_text)) {
                let mut broken = bytes.clone();
                if break_it(&mut broken, &mut random) && broken != *bytes {
                    put(&path, &broken);
                    tally.add(kind, what.clone(), &directory);
                }
            }
            for (kind, break_it) in JSON.iter().filter(|_| is_json) {
                let mut value: Value = serde_json::from_slice(bytes).unwrap();
                if break_it(&mut value, &mut random) {
                    put(&path, &serde_json::to_vec_pretty(&value).unwrap());
                    tally.add(kind, what.clone(), &directory);
                }
            }
            fs::remove_file(&path).unwrap();
            tally.add("a file is lost", what.clone(), &directory);
            fs::write(directory.join("moved"), bytes).unwrap();
            tally.add("a file is renamed", what.clone(), &directory);
            fs::remove_file(directory.join("moved")).unwrap();
            fs::create_dir(&path).unwrap();
            tally.add("a folder is in its place", what.clone(), &directory);
            fs::remove_dir(&path).unwrap();
            std::os::unix::fs::symlink("nowhere", &path).unwrap();
            tally.add("a link to nothing is in its place", what.clone(), &directory);
            let other = sibling.join(name);
            if fs::read(&other).is_ok_and(|other| other != *bytes) {
                put(&path, &fs::read(&other).unwrap());
                tally.add("a sibling's file is in its place", what.clone(), &directory);
            }
            put(&path, bytes);
        }
        // Tensors: codes, scales, BF16 weights, by what their names say.
        for shard in files.iter().filter(|(name, _)| name.ends_with(".safetensors")) {
            break_tensors(&directory, shard, dialect, &mut random, &mut tally);
        }
        for name in [
            "notes.md",
            "assets/more.txt",
            "layer-sensitivity/other.json",
            "model-00009-of-00009.safetensors",
        ] {
            fs::write(directory.join(name), "{}").unwrap();
            tally.add("a strange file lies there", format!("{name} of {dialect}"), &directory);
            fs::remove_file(directory.join(name)).unwrap();
        }
        swap_files(&directory, &files, dialect, &mut tally);
        // Without any record it looks like a directory of some other tool, but for its card.
        let (records, aside) = (directory.join("layer-sensitivity"), directory.with_extension("records"));
        fs::rename(&records, &aside).unwrap();
        tally.add("all records are lost", format!("layer-sensitivity of {dialect}"), &directory);
        fs::rename(&aside, &records).unwrap();
        assert_eq!(verify(&directory, Depth::Full).unwrap(), [], "what was broken is whole again");
    }
    let missed = tally.missed();
    let count = tally.count();
    println!(
        "{}corruptions: {count} done, {} found by default `verify`",
        tally.shown(),
        count - missed.len()
    );
    assert!(
        missed.is_empty(),
        "{} of {} were not found:\n{}",
        missed.len(),
        tally.count(),
        missed.join("\n")
    );
    assert!(tally.count() >= 500, "{} corruptions", tally.count());
}

/// Flips a bit in some tensors of each kind, and exchanges two tensors of one size in the header.
fn break_tensors(
    directory: &Path,
    (name, bytes): &(String, Vec<u8>),
    dialect: &str,
    random: &mut Random,
    tally: &mut Tally,
) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let path = directory.join(name);
    let mut by_kind: BTreeMap<&str, Vec<(&String, usize, usize)>> = BTreeMap::new();
    for (tensor, entry) in header.iter().filter(|(tensor, _)| *tensor != "__metadata__") {
        let offset = |at: usize| 8 + length + entry["data_offsets"][at].as_u64().unwrap() as usize;
        let kind = match (entry["dtype"].as_str().unwrap(), tensor.rsplit('.').next().unwrap()) {
            ("F8_E4M3", _) => "a bit of a code is flipped",
            (_, "input_scale") => "a bit of an input scale is flipped",
            (_, "weight_scale" | "weight_scale_inv") => "a bit of a scale is flipped",
            _ => "a bit of a BF16 weight is flipped",
        };
        by_kind.entry(kind).or_default().push((tensor, offset(0), offset(1)));
    }
    for (kind, tensors) in by_kind {
        for _ in 0..3 {
            let (tensor, start, end) = tensors[random.below(tensors.len())];
            let mut broken = bytes.clone();
            broken[start + random.below(end - start)] ^= 1 << random.below(8);
            put(&path, &broken);
            tally.add(kind, format!("{tensor} of {dialect}"), directory);
        }
        let pair = tensors.windows(2).find(|pair| {
            let size = |(_, start, end): &(&String, usize, usize)| end - start;
            size(&pair[0]) == size(&pair[1]) && bytes[pair[0].1..pair[0].2] != bytes[pair[1].1..pair[1].2]
        });
        if let Some(&[(one, from, to), (other, start, end)]) =
            pair.map(|pair| <&[_; 2]>::try_from(pair).unwrap())
        {
            let mut broken = bytes.clone();
            broken[from..to].copy_from_slice(&bytes[start..end]);
            broken[start..end].copy_from_slice(&bytes[from..to]);
            put(&path, &broken);
            tally.add("two tensors are exchanged", format!("{one} and {other} of {dialect}"), directory);
        }
    }
    put(&path, bytes);
}

/// Exchanges neighbours of the same sort.
fn swap_files(directory: &Path, files: &[(String, Vec<u8>)], dialect: &str, tally: &mut Tally) {
    for ending in [".safetensors", ".json"] {
        let of_sort: Vec<_> = files.iter().filter(|(name, _)| name.ends_with(ending)).collect();
        for pair in of_sort.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
            let [(one, first), (other, second)] = pair else { continue };
            put(&directory.join(one), second);
            put(&directory.join(other), first);
            tally.add("two files are exchanged", format!("{one} and {other} of {dialect}"), directory);
            put(&directory.join(one), first);
            put(&directory.join(other), second);
        }
    }
}
