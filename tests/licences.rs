//! The licence and the source of every dependency, against those that are allowed in `deny.toml`. What this asks of licences and
//! sources is what `cargo deny check licenses sources` asks; it needs neither that program nor a network.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The list `allow` of the section `licenses`.
fn allowed() -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("allow = [")).unwrap();
    line.split('"').skip(1).step_by(2).map(str::to_string).collect()
}

/// Whether `expression` (SPDX; `/` is an old way to say `OR`) can be met with `allowed` licences alone.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> Result<bool, String> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = any_of(&words, allowed)?;
    if rest.is_empty() { Ok(met) } else { Err(format!("`{expression}` is no expression")) }
}

type Read<'a> = Result<(bool, &'a [&'a str]), String>;

fn any_of<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> Read<'a> {
    let (mut met, mut rest) = all_of(words, allowed)?;
    while let [first, after @ ..] = rest
        && *first == "OR"
    {
        let (next, after) = all_of(after, allowed)?;
        (met, rest) = (met || next, after);
    }
    Ok((met, rest))
}

fn all_of<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> Read<'a> {
    let (mut met, mut rest) = one(words, allowed)?;
    while let [first, after @ ..] = rest
        && *first == "AND"
    {
        let (next, after) = one(after, allowed)?;
        (met, rest) = (met && next, after);
    }
    Ok((met, rest))
}

fn one<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> Read<'a> {
    match words {
        ["(", inner @ ..] => match any_of(inner, allowed)? {
            (met, [")", rest @ ..]) => Ok((met, rest)),
            _ => Err("a bracket is not closed".into()),
        },
        // An exception only gives more rights.
        [licence, "WITH", _, rest @ ..] | [licence, rest @ ..]
            if !["AND", "OR", "WITH", ")"].contains(licence) =>
        {
            Ok((allowed.contains(*licence), rest))
        }
        _ => Err(format!("{words:?} begins with no licence")),
    }
}

#[test]
fn every_dependency_has_an_allowed_licence_and_comes_from_the_registry() {
    // Dependencies of other platforms may never have been downloaded here.
    let ways: [&[&str]; 3] =
        [&["--offline"], &[], &["--offline", "--filter-platform", "x86_64-unknown-linux-gnu"]];
    let outputs = ways.iter().map(|way| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["metadata", "--locked", "--format-version", "1"]).args(*way);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
    });
    let output = { outputs }.find(|output| output.status.success()).expect("cargo knows all dependencies");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = allowed();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100);
    let mut sources = BTreeSet::new();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("nothing");
        if is_met(licence, &allowed) != Ok(true) {
            wrong.push(format!("{name}: {licence}"));
        }
        sources.extend(package["source"].as_str());
        assert!(package["source"].is_string() || name == "qlua", "{name} comes from a folder");
    }
    assert!(wrong.is_empty(), "not among {allowed:?}:\n{}", wrong.join("\n"));
    assert!(
        sources.len() == 1 && sources.iter().all(|source| source.starts_with("registry+")),
        "{sources:?}"
    );
}

#[test]
fn expressions_are_read_as_spdx_means_them() {
    let allowed = ["MIT", "Apache-2.0", "Unicode-3.0"].map(String::from).into();
    for (expression, expected) in [
        ("MIT", Ok(true)),
        ("GPL-3.0", Ok(false)),
        ("GPL-3.0 OR MIT", Ok(true)),
        ("Unlicense/MIT", Ok(true)),
        ("GPL-3.0 AND MIT", Ok(false)),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", Ok(true)),
        ("MIT OR GPL-3.0 AND GPL-2.0", Ok(true)),
        ("(MIT OR GPL-3.0) AND GPL-2.0", Ok(false)),
        ("Apache-2.0 WITH LLVM-exception", Ok(true)),
    ] {
        assert_eq!(is_met(expression, &allowed), expected, "{expression}");
    }
    for broken in ["", "AND MIT", "(MIT", "MIT MIT", "MIT OR"] {
        assert!(is_met(broken, &allowed).is_err(), "{broken}");
    }
}
