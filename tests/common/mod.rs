//! What several test files need.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod directory;
pub mod engine;
pub mod place;
pub mod report;
pub mod runs;
pub mod schema;
pub mod terminal;

use qlua::dialect::{DialectChoice, DialectId};
use qlua::plan::{Activations, ActivationsChoice};
use std::path::{Path, PathBuf};

use qlua::device::DeviceChoice;
use qlua::format::Rounding;
use qlua::job::{Family, FamilyOptions};
use qlua::plan::ScaleSharing;
use qlua::verify::{Depth, Problem, verify};
use qlua::write::{LinkChoice, Request};

/// The path of `name` in the folder of shared golden data, or nothing, said loudly, where it is not there.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there, and this test needs it", path.display());
        return None;
    }
    Some(path)
}

/// Options with every default of the policies, but on the CPU: sums of errors are then the same on every machine.
pub fn options(model: &Path, manifest: &Path, out: &Path) -> FamilyOptions {
    FamilyOptions {
        model: Some(model.into()),
        manifest: manifest.into(),
        out: out.into(),
        baseline: None,
        amax: None,
        state: None,
        for_engines: Vec::new(),
        format_from: None,
        dialect: DialectChoice::Auto,
        activations: ActivationsChoice::Auto,
        rounding: Rounding::Exact,
        scale_sharing: ScaleSharing::Group,
        card: true,
        overwrite: false,
        link: LinkChoice::Auto,
        max_shard_size: 5_000_000_000,
        threads: 2,
        device: DeviceChoice::Cpu,
        request: Request::default(),
    }
}

/// Every dialect with every kind of activations that it has.
pub fn layouts() -> Vec<(DialectId, Activations)> {
    let of =
        |id: &DialectId| id.dialect().activations().iter().map(|(kind, _)| (*id, *kind)).collect::<Vec<_>>();
    DialectId::ALL.iter().flat_map(of).collect()
}

/// A family over `options` with one scheme `top<percent>` for each of `percents`, least sensitive first.
pub fn ascending_family(options: FamilyOptions, percents: &[f64]) -> Family {
    let mut family = Family::open(options).unwrap();
    let ranking = family.manifest().ranking(&Default::default()).unwrap();
    for percent in percents {
        family.add(&format!("top{percent}"), ranking.lowest(*percent).unwrap()).unwrap();
    }
    family
}

/// Every file below `directory` with its content, paths relative to it, sorted.
pub fn tree(directory: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(base: &Path, directory: &Path, files: &mut Vec<(String, Vec<u8>)>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(base, &path, files);
            } else {
                let name = path.strip_prefix(base).unwrap().to_str().unwrap().to_string();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    walk(directory, directory, &mut files);
    files.sort();
    files
}

/// What is wrong with `directory`; not what of it is not checked.
pub fn faults(directory: &Path) -> Vec<Problem> {
    let problems = verify(directory, Depth::Full).unwrap();
    problems.into_iter().filter(Problem::is_fault).collect()
}
