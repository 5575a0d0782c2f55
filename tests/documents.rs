//! Every command and every block of Lua in the README and in docs, run on the demo as a reader would run them: a page from its
//! first block to its last, in a folder of its own. The examples of docs/lua-api.md are run by tests/lua_api.rs.

#[path = "documents/links.rs"]
mod links;
#[path = "documents/page.rs"]
mod page;
#[path = "documents/policies.rs"]
mod policies;
#[path = "documents/reader.rs"]
mod reader;
#[path = "documents/words.rs"]
mod words;

use std::fs;
use std::path::Path;

use reader::{Reader, Tally};

/// The examples of this page are run by another test.
const TESTED_ELSEWHERE: &str = "docs/lua-api.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The README and every page of docs, by path below the root.
fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|e| e == "md"));
    let mut pages: Vec<String> =
        docs.map(|path| format!("docs/{}", path.file_name().unwrap().to_str().unwrap())).collect();
    pages.push("README.md".into());
    pages.sort();
    pages
}

fn text(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

#[test]
fn every_command_and_every_block_of_lua_runs() {
    let pages: Vec<String> = pages().into_iter().filter(|page| page != TESTED_ELSEWHERE).collect();
    let queue = std::sync::Mutex::new(pages.iter());
    let work = || {
        let mut told: Vec<(String, Result<Tally, String>)> = Vec::new();
        loop {
            let Some(page) = queue.lock().unwrap().next() else { return told };
            told.push((page.clone(), Reader::new().read(&text(page))));
        }
    };
    let told: Vec<_> = std::thread::scope(|scope| {
        let readers = [scope.spawn(work), scope.spawn(work)];
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    });
    let mut all = Tally::default();
    let mut failed = Vec::new();
    for (page, outcome) in told {
        match outcome {
            Ok(tally) => {
                println!("{page}: {tally}");
                all.add(tally);
            }
            Err(problem) => failed.push(format!("{page}:{problem}")),
        }
    }
    println!("documents: {all}");
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(all.commands > 60 && all.scripts > 8, "{all}");
}

/// The test above can fail: pages with one defect each.
#[test]
fn what_does_not_run_is_noticed() {
    let read = |text: &str| Reader::new().read(text);
    for (text, problem) in [
        ("```sh\nfrobnicate now\n```\n", "1: nobody knows the command `frobnicate`"),
        ("```sh\nqlua list\n\nqlua inspect nowhere\n```\n", "exit code 1 instead of 0"),
        ("```sh\nqlua list   # refused (exit code 3)\n```\n", "exit code 0 instead of 3"),
        ("```lua\nerror(\"oh\")\n```\n", "oh"),
        ("```lua\n-- never.lua\nprint(1)\n```\n", "`never.lua` is never run"),
        ("```sh\nvllm serve nowhere/scheme\n```\n", "no block writes nowhere/scheme"),
        ("```fish\nqlua list\n```\n", "a block in `fish`"),
        ("text\n```sh\nqlua list\n", "2: a block without an end"),
    ] {
        let told = read(text).expect_err(text);
        assert!(told.contains(problem), "{text}: {told}");
    }
    let tally =
        read("```sh\nqlua list \\\n  --json\n# a comment\ncargo test\n```\n```json\n{}\n```\n").unwrap();
    assert_eq!((tally.commands, tally.scripts, tally.left_out.get("cargo")), (1, 0, Some(&1)), "{tally}");
}
