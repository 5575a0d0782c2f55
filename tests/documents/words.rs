//! Commands, scripts and options that the pages name in their sentences: there are such.

use std::collections::BTreeSet;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use super::page::blocks;
use super::{pages, text};

/// Options that pages name and that belong to other programs.
const OF_OTHERS: &[&str] = &["--only", "--rm"];

fn said(words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_qlua")).args(words).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// What stands between backticks outside of blocks.
fn quoted(page: &str) -> Vec<String> {
    let content = text(page);
    let prose = blocks(&content).unwrap().1.join("\n");
    let code = Regex::new(r"`([^`]+)`").unwrap();
    code.captures_iter(&prose)
        .map(|found| found[1].split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn every_command_and_every_option_that_is_named_exists() {
    let list: Value = serde_json::from_str(&said(&["-q", "list", "--json"]).1).unwrap();
    let rows = ["scripts", "examples"].into_iter().flat_map(|kind| list[kind].as_array().unwrap());
    let scripts = rows.map(|row| row["name"].as_str().unwrap().to_string());
    let (_, help) = said(&["--help"]);
    let command = Regex::new(r"(?m)^  ([a-z]+) +[A-Z]").unwrap();
    let commands = command.captures_iter(&help).map(|found| found[1].to_string());
    let known: BTreeSet<String> = scripts.chain(commands).collect();
    assert!(known.len() > 25, "{known:?}");

    let mut helps = help.clone();
    for name in &known {
        let (is_known, help) = said(&["help", name]);
        assert!(is_known, "{name}");
        helps.push_str(&help);
    }
    let option = Regex::new(r"--[a-z][a-z-]+").unwrap();
    let options: BTreeSet<&str> = option.find_iter(&helps).map(|found| found.as_str()).collect();

    let named = Regex::new(r"^qlua (?:help )?([a-z_]+)(?: |$)").unwrap();
    let mut seen = 0;
    for page in pages().iter().filter(|page| *page != "docs/lua-api.md").chain([&"CHANGELOG.md".to_string()])
    {
        for code in quoted(page) {
            if let Some(found) = named.captures(&code) {
                assert!(
                    known.contains(&found[1]),
                    "{page} names `{code}`, and there is no such command or script"
                );
                seen += 1;
            }
            if code.starts_with("cargo") || code.starts_with("python3") {
                continue;
            }
            for found in option.find_iter(&code).map(|found| found.as_str()) {
                let is_known = options.contains(found) || OF_OTHERS.contains(&found);
                assert!(is_known, "{page} names `{found}` in `{code}`, and there is no such option");
                seen += 1;
            }
        }
    }
    assert!(seen > 80, "{seen}");
}
