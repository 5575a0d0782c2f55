//! The structure of the source: which room may use which, that no two files need each other, and that no two files give one
//! name to different types.
//!
//! What is read is `use` lines and inline paths that begin with `crate`, `super` or `self`, without comments, strings and test
//! modules. A re-export is an arrow to where the item is defined, not to the file that passes it on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Each room and the rooms that it uses; it may use theirs as well.
const ROOMS: &[(&str, &[&str])] = &[
    // What every room may use.
    ("error", &[]),
    ("words", &["error", "selector"]),
    ("selector", &["error"]),
    ("interrupt", &["error"]),
    ("units", &[]),
    ("shown", &[]),
    ("free_memory", &[]),
    ("huge_pages", &[]),
    ("input", &["error", "units"]),
    ("json", &["error", "input"]),
    ("seal", &["json"]),
    ("threads", &["error"]),
    // The rooms, from the bottom up.
    ("tensor", &["json", "seal", "interrupt", "selector", "shown", "units", "words", "threads"]),
    ("checkpoint", &["tensor"]),
    ("model", &["checkpoint"]),
    // What a name says of its place in the model, and which modules belong together, is the model's to know.
    ("manifest", &["model"]),
    ("format", &["tensor"]),
    ("device", &["format"]),
    ("engine", &["free_memory", "device", "model", "format"]),
    ("plan", &["manifest", "model", "format"]),
    ("dialect", &["plan"]),
    ("record", &["dialect"]),
    ("write", &["record", "device"]),
    ("verify", &["record"]),
    ("diff", &["record"]),
    ("report", &["dialect"]),
    ("job", &["report", "verify", "write"]),
    // A checkpoint to try things on.
    ("demo", &["write"]),
    ("options", &["manifest", "device", "units"]),
    ("lua", &["job", "diff", "demo", "engine", "options", "huge_pages"]),
    ("cli", &["lua"]),
];

/// A source file by its module path below the crate, such as `write::pass::target`.
type Module = String;

struct Source {
    path: PathBuf,
    code: String,
}

/// Every source file but tests, by module.
fn sources() -> BTreeMap<Module, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(&root).unwrap().with_extension("");
            let mut parts: Vec<&str> = below.iter().map(|part| part.to_str().unwrap()).collect();
            let is_code = path.extension().is_some_and(|e| e == "rs");
            let is_test = parts.last().is_some_and(|last| *last == "tests" || last.ends_with("_tests"));
            if !is_code || is_test || parts == ["main"] || parts == ["lib"] {
                continue;
            }
            if parts.last() == Some(&"mod") {
                parts.pop();
            }
            let code = code_of(&fs::read_to_string(&path).unwrap());
            found.insert(parts.join("::"), Source { path, code });
        }
    }
    found
}

/// `text` without comments, strings and what is compiled for tests alone.
fn code_of(text: &str) -> String {
    let text = Regex::new(r"//[^\n]*").unwrap().replace_all(text, "");
    let text = Regex::new(r#""(?:[^"\\]|\\.)*""#).unwrap().replace_all(&text, "\"\"");
    let mut code = String::new();
    let mut rest = &text[..];
    while let Some(at) = rest.find("#[cfg(test)]") {
        code.push_str(&rest[..at]);
        rest = after_item(&rest[at + "#[cfg(test)]".len()..]);
    }
    code + rest
}

/// What follows the item that `text` begins with: its block, or its semicolon.
fn after_item(text: &str) -> &str {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return &text[at + 1..],
            '}' => depth -= 1,
            ';' if depth == 0 => return &text[at + 1..],
            _ => {}
        }
    }
    ""
}

/// Every path in `tree`, a use tree such as `a::{b, c::{d, self}}`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![path.split("::").map(|part| part.trim().to_string()).collect()];
    };
    let prefix: Vec<String> = tree[..open]
        .split("::")
        .map(|part| part.trim().to_string())
        .filter(|part| !part.is_empty())
        .collect();
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in inner.chars() {
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                parts.last_mut().unwrap().push(c);
            }
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| expand(part)).map(|path| [prefix.clone(), path].concat()).collect()
}

/// The absolute path that `path` means in `module`; nothing for other crates.
fn absolute(module: &str, path: &[String], modules: &BTreeSet<&str>) -> Option<Vec<String>> {
    let mut base: Vec<String> =
        module.split("::").filter(|part| !part.is_empty()).map(String::from).collect();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "super" => {
            while rest.first().is_some_and(|part| part == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        "self" => rest = &rest[1..],
        first => {
            let child = [module, first].join("::");
            if !modules.contains(child.trim_start_matches("::")) {
                return None;
            }
        }
    }
    base.extend(rest.iter().filter(|part| *part != "self").cloned());
    Some(base)
}

/// The files of the crate and, of each, the items that it passes on.
struct Crate {
    sources: BTreeMap<Module, Source>,
    /// By module: the name under which an item is passed on (`*` for all of a module), and where it comes from.
    passed_on: BTreeMap<Module, Vec<(String, Vec<String>)>>,
}

impl Crate {
    fn read() -> Self {
        let sources = sources();
        let modules: BTreeSet<&str> = sources.keys().map(String::as_str).collect();
        let uses = Regex::new(r"(?s)\bpub(?:\([^)]*\))?\s+use\s+([^;]+);").unwrap();
        let mut passed_on = BTreeMap::new();
        for (module, source) in &sources {
            let mut items = Vec::new();
            for found in uses.captures_iter(&source.code) {
                for path in expand(&found[1]) {
                    if let Some(target) = absolute(module, &path, &modules) {
                        items.push((target.last().cloned().unwrap_or_default(), target));
                    }
                }
            }
            passed_on.insert(module.clone(), items);
        }
        Crate { sources, passed_on }
    }

    /// The file that defines what `path` names.
    fn file_of(&self, path: &[String]) -> Option<Module> {
        let depth = (1..=path.len()).rev().find(|&n| self.sources.contains_key(&path[..n].join("::")))?;
        let module = path[..depth].join("::");
        let Some(item) = path.get(depth) else { return Some(module) };
        let passed =
            self.passed_on[&module].iter().find(|(name, target)| name == item && target[..] != path[..]);
        match passed {
            Some((_, target)) => self.file_of(target),
            None => Some(module),
        }
    }

    /// What each file uses, by the files that define it.
    fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let modules: BTreeSet<&str> = self.sources.keys().map(String::as_str).collect();
        let passes_on = Regex::new(r"(?s)\bpub(?:\([^)]*\))?\s+use\s+[^;]+;").unwrap();
        let uses = Regex::new(r"(?s)\buse\s+([^;]+);").unwrap();
        let inline = Regex::new(r"\b(?:crate|super|self)(?:::\w+)+").unwrap();
        let mut arrows = BTreeMap::new();
        for (module, source) in &self.sources {
            let code = passes_on.replace_all(&source.code, "");
            let mut paths: Vec<Vec<String>> =
                uses.captures_iter(&code).flat_map(|found| expand(&found[1])).collect();
            let rest = uses.replace_all(&code, "");
            paths.extend(
                inline.find_iter(&rest).map(|found| found.as_str().split("::").map(String::from).collect()),
            );
            let targets = paths.iter().filter_map(|path| absolute(module, path, &modules));
            let used: BTreeSet<Module> =
                targets.filter_map(|path| self.file_of(&path)).filter(|used| used != module).collect();
            arrows.insert(module.clone(), used);
        }
        arrows
    }
}

fn room(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// The rooms that `room` may use, directly or through others.
fn allowed(room: &str) -> BTreeSet<&'static str> {
    let (_, uses) =
        ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("`{room}` is no room"));
    let mut all: BTreeSet<&'static str> = uses.iter().copied().collect();
    for next in *uses {
        all.extend(allowed(next));
    }
    all
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let mut forbidden = Vec::new();
    for (module, used) in Crate::read().arrows() {
        let (from, may) = (room(&module).to_string(), allowed(room(&module)));
        for target in used {
            let to = room(&target);
            if to != from && !may.contains(to) && to != "error" {
                forbidden.push(format!("{module} → {target}"));
            }
        }
    }
    assert!(forbidden.is_empty(), "forbidden arrows:\n{}", forbidden.join("\n"));
}

#[test]
fn no_two_files_need_each_other() {
    let arrows = Crate::read().arrows();
    let mut circles = BTreeSet::new();
    for start in arrows.keys() {
        // The shortest way from the file back to itself.
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next: Vec<&str> = vec![start];
        'search: while !next.is_empty() {
            for from in std::mem::take(&mut next) {
                for to in &arrows[from] {
                    if to == start {
                        let mut circle = vec![from.to_string()];
                        let mut at = from;
                        while at != start {
                            at = before[at];
                            circle.push(at.to_string());
                        }
                        circle.reverse();
                        let first =
                            circle.iter().enumerate().min_by_key(|(_, name)| *name).map_or(0, |(i, _)| i);
                        circle.rotate_left(first);
                        circles.insert(circle.join(" → "));
                        break 'search;
                    }
                    if !before.contains_key(to.as_str()) {
                        before.insert(to, from);
                        next.push(to);
                    }
                }
            }
        }
    }
    assert!(
        circles.is_empty(),
        "circles between files:\n{}",
        circles.into_iter().collect::<Vec<_>>().join("\n")
    );
}

/// The types that `code` defines, at any depth. What an `impl` or a trait calls its own, such as `Item`, is no name of a file.
fn defined_types(code: &str) -> Vec<String> {
    let code = Regex::new(r"'(?:[^'\\\n]|\\[^\n])'").unwrap().replace_all(code, "''");
    let definition = Regex::new(r"\b(struct|enum|union|trait|type)\s+([A-Z]\w*)").unwrap();
    let owner = Regex::new(r"\b(impl|trait)\b").unwrap();
    let (mut types, mut blocks, mut head) = (Vec::new(), vec![false], 0);
    for (at, c) in code.char_indices().filter(|(_, c)| "{};".contains(*c)) {
        let text = &code[head..at];
        head = at + 1;
        let owned = blocks.last() == Some(&true);
        let found = definition.captures_iter(text).filter(|found| !(owned && &found[1] == "type"));
        types.extend(found.map(|found| found[2].to_string()));
        match c {
            '{' => blocks.push(owner.is_match(text) && !text.contains("fn ")),
            '}' => drop(blocks.pop()),
            _ => {}
        }
    }
    types
}

#[test]
fn no_two_files_give_one_name_to_different_types() {
    let mut files: BTreeMap<String, BTreeSet<Module>> = BTreeMap::new();
    for (module, source) in sources() {
        for name in defined_types(&source.code) {
            files.entry(name).or_default().insert(module.clone());
        }
    }
    assert!(files.len() > 200, "{}", files.len());
    let shared = files.iter().filter(|(_, modules)| modules.len() > 1);
    let shared: Vec<String> = shared.map(|(name, modules)| format!("{name}: {modules:?}")).collect();
    assert!(shared.is_empty(), "one name, several types:\n{}", shared.join("\n"));
}

#[test]
fn only_the_lua_room_knows_mlua() {
    let sources = sources();
    let knows = sources.iter().filter(|(_, source)| source.code.contains("mlua::"));
    let others: Vec<_> = knows.filter(|(module, _)| room(module) != "lua").map(|(_, s)| &s.path).collect();
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn circles_and_arrows_are_found_where_there_are_some() {
    let paths = |tree: &str| expand(tree).iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(
        paths("super::a::{b, c::{d as e, self}}"),
        ["super::a::b", "super::a::c::d", "super::a::c::self"]
    );
    let code =
        code_of("use a::b; // use c\n#[cfg(test)]\nmod tests { use d; fn f() { } }\nlet x = \"crate::y\";");
    assert!(
        code.contains("use a::b")
            && !code.contains("use c")
            && !code.contains("use d")
            && !code.contains("crate::y")
    );
    let arrows = Crate::read().arrows();
    assert!(arrows["job::family"].contains("plan::cost"), "re-exports are followed");
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 500);
}

#[test]
fn types_are_found_wherever_they_are_defined() {
    let code = "pub(super) struct A<T>(T); words! { enum B: \"\" { C } } pub trait D { type Item; fn f() -> impl E; }
        impl Iterator for A { type Item = u8; fn next() { type F<'a> = &'a u8; if x == '{' { struct G; } } type Out = u8; }";
    assert_eq!(defined_types(code), ["A", "B", "D", "F", "G"]);
}
