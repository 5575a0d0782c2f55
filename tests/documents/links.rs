//! Links between the pages, and to files: each leads somewhere.

use std::collections::BTreeSet;
use std::fs;

use regex::Regex;

use super::page::blocks;
use super::{pages, root, text};

/// What a heading is called in links: lower case, blanks as dashes, no punctuation.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let (_, prose) = blocks(page).unwrap();
    let headings = prose.iter().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let link = Regex::new(r"\]\(([^()\s]+)\)").unwrap();
    let mut seen = 0;
    for page in pages().into_iter().chain(["CHANGELOG.md".into()]) {
        let content = text(&page);
        let (_, prose) = blocks(&content).unwrap();
        let folder = root().join(&page).parent().unwrap().to_path_buf();
        for target in prose.iter().flat_map(|line| link.captures_iter(line)).map(|found| found[1].to_string())
        {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            if file.contains("fuzz/") && !root().join("fuzz").exists() {
                eprintln!("SKIPPED: {target} is no part of a package");
                continue;
            }
            let path = if file.is_empty() { root().join(&page) } else { folder.join(file) };
            assert!(path.exists(), "{page} links to {target}, and there is no such file");
            if !heading.is_empty() {
                let found = anchors(&fs::read_to_string(&path).unwrap());
                assert!(found.contains(heading), "{page} links to {target}, and there is no such heading");
            }
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

/// Who reads the README finds every page.
#[test]
fn the_readme_links_to_every_page() {
    let readme = text("README.md");
    for page in pages().into_iter().filter(|page| page.starts_with("docs/")) {
        assert!(readme.contains(&format!("({page})")), "the README does not link to {page}");
    }
}
