//! The structure of the source: which room may use which, that no two files need each other, and that no two files give one
//! name to different types.
//!
//! What is read is tokens: `use` trees and paths in all other places, macros and serde's attributes among them, without what is
//! compiled for tests alone. A path is followed through aliases and re-exports: it is an arrow to where the item is defined, not
//! to the file that passes it on, and passing on is an arrow as well.

#[path = "structure/arrows.rs"]
mod arrows;
#[path = "structure/evasions.rs"]
mod evasions;
#[path = "structure/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use arrows::{Crate, Module};

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
    // The design would have manifests use no other room. But their groups are named after modules, and what a name says of its
    // place in the model, and which modules belong together, is the model's to know: said here again, it stood twice.
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

static CRATE: LazyLock<Crate> = LazyLock::new(Crate::read);

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

/// The arrows that no room has, of all files but lib.rs, which lists the rooms. Nothing uses lib.rs itself: what it passes on
/// has a room.
fn forbidden(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut forbidden = Vec::new();
    for (module, used) in arrows.iter().filter(|(module, _)| !module.is_empty()) {
        let (from, may) = (room(module), allowed(room(module)));
        for target in used {
            let to = room(target);
            if to != from && !may.contains(to) && to != "error" {
                forbidden.push(format!("{module} → {}", if to.is_empty() { "lib.rs" } else { target }));
            }
        }
    }
    forbidden
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    let forbidden = forbidden(&CRATE.arrows());
    assert!(forbidden.is_empty(), "forbidden arrows:\n{}", forbidden.join("\n"));
}

/// The shortest circle through each file that is in one.
fn circles(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<String> {
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
    circles
}

/// Files that call what is right below them by the name of its module, as in `check::run()`, while it uses what they define.
/// Those circles are left; no others may come.
const NAMING_THEIR_PARTS: &[&str] = &[
    "dialect::fp8_block",
    "dialect::modelopt",
    "lua::api",
    "lua::api::engine",
    "lua::api::export",
    "lua::api::json",
    "lua::api::manifest",
];

#[test]
fn no_two_files_need_each_other() {
    let circles: Vec<String> = circles(&CRATE.needs(NAMING_THEIR_PARTS)).into_iter().collect();
    assert!(circles.is_empty(), "circles between files:\n{}", circles.join("\n"));
    for left in NAMING_THEIR_PARTS {
        assert!(CRATE.sources.contains_key(*left), "{left}");
    }
}

/// What no file may have, since a room could be hidden behind it; `lua::embedded` includes the list of scripts that is built.
const HIDING: &[&[&str]] = &[&["extern", "crate"], &["#", "[", "path", "="], &["include", "!"]];

#[test]
fn no_file_hides_what_it_uses() {
    let hiding = CRATE.sources.iter().filter(|(_, source)| HIDING.iter().any(|tokens| source.has(tokens)));
    let hiding: Vec<&Module> =
        hiding.map(|(module, _)| module).filter(|module| *module != "lua::embedded").collect();
    assert!(hiding.is_empty(), "{hiding:?}");
}

#[test]
fn no_two_files_give_one_name_to_different_types() {
    let mut files: BTreeMap<String, BTreeSet<Module>> = BTreeMap::new();
    for (module, source) in &CRATE.sources {
        for name in source.types() {
            files.entry(name.into()).or_default().insert(module.clone());
        }
    }
    assert!(files.len() > 200, "{}", files.len());
    let shared = files.iter().filter(|(_, modules)| modules.len() > 1);
    let shared: Vec<String> = shared.map(|(name, modules)| format!("{name}: {modules:?}")).collect();
    assert!(shared.is_empty(), "one name, several types:\n{}", shared.join("\n"));
}

/// The files outside the Lua room that name mlua, under whatever name they use it.
fn know_mlua(sources: &Crate) -> Vec<&Module> {
    let knows = sources.sources.iter().filter(|(_, source)| source.has(&["mlua"]));
    knows.map(|(module, _)| module).filter(|module| room(module) != "lua").collect()
}

#[test]
fn only_the_lua_room_knows_mlua() {
    assert!(know_mlua(&CRATE).is_empty(), "{:?}", know_mlua(&CRATE));
}

#[test]
fn the_arrows_of_the_source_are_found() {
    let arrows = CRATE.arrows();
    assert!(arrows["job::family"].contains("plan::cost"), "re-exports are followed");
    assert!(
        arrows[""].contains("error") && arrows["tensor"].contains("tensor::dtype"),
        "passing on is an arrow"
    );
    assert!(arrows.values().map(BTreeSet::len).sum::<usize>() > 500);
}
