//! No dependency, those of the fuzz targets included, has a version that an advisory concerns: a vulnerability, unsound code, or
//! that nobody looks after it. What is known lies in `advisories.tsv`, of the day that its first line names; no network is needed.
//! `advisories.py` makes it anew.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;

/// What is known of one advisory, and which versions it does not concern.
struct Advisory {
    id: String,
    package: String,
    kind: String,
    safe: Vec<Vec<String>>,
}

impl Advisory {
    fn concerns(&self, version: &str) -> bool {
        !self.safe.iter().any(|all| all.iter().all(|comparison| holds(comparison, version)))
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

fn advisories() -> Vec<Advisory> {
    let text = read("tests/advisories.tsv");
    let advisory = |line: &str| {
        let parts: Vec<&str> = line.split('\t').collect();
        let [id, package, kind, safe] = parts[..] else { panic!("`{line}` has no four columns") };
        let safe = safe.split_terminator(';').map(|all| all.split(',').map(str::to_string).collect());
        Advisory { id: id.into(), package: package.into(), kind: kind.into(), safe: safe.collect() }
    };
    text.lines().skip(1).map(advisory).collect()
}

/// Name and version of every package of a lock file that comes from somewhere else.
fn locked(text: &str) -> Vec<(String, String)> {
    let value = |package: &str, key: &str| {
        let begin = format!("{key} = \"");
        let line = package.lines().find_map(|line| line.strip_prefix(&*begin));
        line.map(|rest| rest.trim_end_matches('"').to_string())
    };
    let packages = text.split("[[package]]").skip(1).filter(|package| value(package, "source").is_some());
    packages.map(|package| (value(package, "name").unwrap(), value(package, "version").unwrap())).collect()
}

/// Whether `version` compares as `comparison` says, such as `>=1.2.3`.
fn holds(comparison: &str, version: &str) -> bool {
    let at = comparison.find(|c: char| c.is_ascii_digit()).unwrap();
    let found = order(version, &comparison[at..]);
    match &comparison[..at] {
        ">=" => found.is_ge(),
        ">" => found.is_gt(),
        "<" => found.is_lt(),
        "<=" => found.is_le(),
        "=" => found.is_eq(),
        other => panic!("`{other}` compares nothing"),
    }
}

/// The order of two versions by semantic versioning: a version comes after its own candidates, and what is after `+` counts nothing.
fn order(one: &str, other: &str) -> Ordering {
    let parts = |version: &str| {
        let version = version.split('+').next().unwrap().to_string();
        let (numbers, candidate) = version.split_once('-').unwrap_or((&version, ""));
        let numbers: Vec<u64> = numbers.split('.').map(|number| number.parse().unwrap()).collect();
        let number = |part: &str| part.parse::<u64>().ok();
        // Numbers come before words.
        let candidate: Vec<(bool, Option<u64>, String)> = candidate
            .split_terminator('.')
            .map(|part| (number(part).is_none(), number(part), part.to_string()))
            .collect();
        (numbers, candidate.is_empty(), candidate)
    };
    parts(one).cmp(&parts(other))
}

/// Advisories that change nothing here, each with the reason; deny.toml has the same.
const ACCEPTED: [(&str, &str); 1] = [
    // `paste` works when crates are compiled, comes with tokenizers, which has no version without it, and is finished, not broken.
    ("RUSTSEC-2024-0436", "paste"),
];

#[test]
fn no_dependency_has_a_version_that_an_advisory_concerns() {
    let advisories = advisories();
    assert!(advisories.len() > 1000);
    let (mut wrong, mut looked_at) = (Vec::new(), 0);
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"] {
        if lock != "Cargo.lock" && !Path::new(env!("CARGO_MANIFEST_DIR")).join(lock).exists() {
            eprintln!("SKIPPED: {lock} is no part of a package");
            continue;
        }
        let packages = locked(&read(lock));
        assert!(packages.len() > 50, "{lock}");
        for (name, version) in packages {
            for advisory in advisories.iter().filter(|advisory| advisory.package == name) {
                looked_at += 1;
                let is_accepted = ACCEPTED.contains(&(&*advisory.id, &*advisory.package));
                if advisory.kind != "notice" && !is_accepted && advisory.concerns(&version) {
                    wrong.push(format!("{lock}: {name} {version}: {} ({})", advisory.id, advisory.kind));
                }
            }
        }
    }
    assert!(looked_at > 20, "some dependencies had advisories in older versions");
    assert!(wrong.is_empty(), "newer versions help:\n{}", wrong.join("\n"));
}

#[test]
fn versions_that_are_known_to_be_concerned_are_found() {
    let advisories = advisories();
    let named = |package: &str, version: &str| -> Vec<&str> {
        let own = advisories.iter().filter(|advisory| advisory.package == package);
        own.filter(|advisory| advisory.concerns(version)).map(|advisory| &*advisory.id).collect()
    };
    // What the advisories themselves say in their text.
    assert!(named("smallvec", "0.6.9").contains(&"RUSTSEC-2019-0009"));
    assert!(!named("smallvec", "0.6.10").contains(&"RUSTSEC-2019-0009"));
    assert!(named("regex", "1.5.4").contains(&"RUSTSEC-2022-0013"));
    assert!(!named("regex", "1.5.5").contains(&"RUSTSEC-2022-0013"));
    assert!(named("time", "0.1.43").contains(&"RUSTSEC-2020-0071"));
    assert!(named("badge", "0.3.0").contains(&"RUSTSEC-2022-0057"));
    for (comparison, version, expected) in [
        (">=1.2.3", "1.2.3+build.7", true),
        (">=1.2.3", "1.2.3-rc.1", false),
        ("<1.0.0-rc.10", "1.0.0-rc.9", true),
        ("<1.0.0-alpha.2", "1.0.0-alpha.beta", false),
        (">1.9.0", "1.10.0", true),
        ("=0.3.1", "0.3.10", false),
    ] {
        assert_eq!(holds(comparison, version), expected, "{version} {comparison}");
    }
}
