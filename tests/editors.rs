//! What an editor is told: the declarations that `qlua setup` writes, and what a language server makes of them.
//!
//! The tests that run one need `lua-language-server` on PATH; without it they say that they do nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder of scripts that `qlua setup` has seen, and beside it what it writes to.
struct Workspace(TempDir);

impl Workspace {
    fn new() -> Self {
        let workspace = Workspace(tempfile::tempdir().unwrap());
        fs::create_dir(workspace.scripts()).unwrap();
        workspace.run(&["setup"]);
        workspace
    }

    fn scripts(&self) -> PathBuf {
        self.0.path().join("policies")
    }

    fn library(&self) -> PathBuf {
        self.0.path().join("data/qlua/library")
    }

    fn run(&self, words: &[&str]) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
        command.args(words).current_dir(self.scripts()).stdin(Stdio::null());
        let output = command.env("XDG_DATA_HOME", self.0.path().join("data")).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.scripts().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// What the language server says of each script: line and code; `None` where there is no language server.
    fn check(&self) -> Option<BTreeMap<String, Vec<(u64, String)>>> {
        let found = self.0.path().join("found.json");
        let flag = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new("lua-language-server");
        command.arg(flag("check", &self.scripts())).arg(flag("check_out_path", &found));
        command.args(["--checklevel=Information", "--check_format=json"]);
        command.arg(flag("logpath", &self.0.path().join("log"))).stdin(Stdio::null());
        let output = match command.output() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                eprintln!("SKIPPED: no lua-language-server on PATH, so no script was checked by it");
                return None;
            }
            output => output.unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("Diagnosis complete"), "{said}");
        let files: Value = fs::read(&found).map_or(json!({}), |text| serde_json::from_slice(&text).unwrap());
        let mut by_script = BTreeMap::new();
        for (uri, problems) in files.as_object().into_iter().flatten() {
            let name = uri.rsplit('/').next().unwrap().to_string();
            let problem = |p: &Value| {
                (p["range"]["start"]["line"].as_u64().unwrap() + 1, p["code"].as_str().unwrap().to_string())
            };
            by_script.insert(name, problems.as_array().unwrap().iter().map(problem).collect());
        }
        Some(by_script)
    }
}

/// The files `*.lua` of a folder of the repository, by name.
fn scripts_of(folder: &str) -> BTreeMap<String, String> {
    let files = fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let scripts = files.filter(|path| path.extension().is_some_and(|end| end == "lua"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    scripts.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

/// The Lua of the pages in `docs` and of the README. What the manual has as the head of a function is no Lua.
fn lua_of_pages() -> BTreeMap<String, String> {
    let pages = fs::read_dir(Path::new(ROOT).join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut blocks = BTreeMap::new();
    for page in pages.chain([Path::new(ROOT).join("README.md")]) {
        if page.extension().is_none_or(|end| end != "md") {
            continue;
        }
        let stem = page.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&page).unwrap();
        let (mut block, mut last_heading) = (None::<String>, String::new());
        for (at, line) in text.lines().enumerate() {
            match &mut block {
                None if line == "```lua" => block = Some(String::new()),
                None if line.starts_with('#') => {
                    last_heading = line.trim_start_matches('#').trim().replace('`', "")
                }
                None => {}
                Some(lua) if line == "```" => {
                    let is_head = stem == "lua-api" && lua.lines().count() == 1 && !last_heading.is_empty();
                    if !is_head {
                        blocks.insert(format!("{stem}_{at}.lua"), std::mem::take(lua));
                    }
                    // The head is the first block under a heading.
                    last_heading.clear();
                    block = None;
                }
                Some(lua) => *lua += &format!("{line}\n"),
            }
        }
    }
    blocks
}

#[test]
fn a_language_server_has_nothing_to_say_of_correct_scripts() {
    let workspace = Workspace::new();
    let (policies, examples, modules) =
        (scripts_of("scripts"), scripts_of("examples"), scripts_of("scripts/lib"));
    let pages = lua_of_pages();
    assert!(policies.len() > 15 && examples.len() > 3 && modules.len() > 4 && pages.len() > 100);
    for (name, text) in policies.iter().chain(&examples).chain(&pages) {
        workspace.write(name, text);
    }
    // Copies of the modules beside a policy are what it gets.
    for (name, text) in &modules {
        workspace.write(&format!("lib/{name}"), text);
    }
    workspace.run(&["new", "mine"]);
    for name in policies.keys() {
        let stem = name.strip_suffix(".lua").unwrap();
        workspace.run(&["new", &format!("mine_{stem}"), "--from", stem]);
    }
    workspace.write("idioms.lua", IDIOMS);
    let Some(said) = workspace.check() else { return };
    let count = 2 * policies.len() + 1 + examples.len() + modules.len() + pages.len() + 1;
    eprintln!("lua-language-server checked {count} scripts");
    assert!(said.is_empty(), "{said:#?}");
}

/// What a policy may do, and a server could take for a mistake.
const IDIOMS: &str = r#"
local sweep = require "lib.sweep"
local opts = sweep.options("idioms", "Does what policies do.", { { name = "last", type = "integer", default = 3 } })
local family = sweep.family(opts)
-- A predicate says yes with anything but nil and false.
local early = sweep.ranking(family, opts, function(group) return group.block and group.block <= opts.last end)
local named = early:select(function(group) return group.name:find("mlp", 1, true) end)
local ranked = family.manifest:ranking{ order = opts.order, where = function(group) return group.block and group.block < 3 end,
  by = function(group) return group.parameters end, include = { "*.mlp.*" }, exclude = "*.o_proj" }
-- Keys may be added to rows.
for _, group in ipairs(ranked.groups) do group.per_byte = group.score / group.bytes end
family:add("both", (named | ranked:lowest(10)) - ranked:select("*.o_proj"))
local is_read, problem = pcall(qlua.fs.read, "notes.txt")
---@cast problem +qlua.Error, -?
if not is_read then print(problem.kind, problem.message, problem.hint) end
local is_open, other = pcall(qlua.manifest.open, "other.json")
---@cast other +qlua.Error, -?
print(is_open and #other.groups or other.message)
local is_written, why = pcall(qlua.fs.write, "notes.txt", "seen")
---@cast why +qlua.Error, -?
if not is_written then print(why.message) end
sweep.run(family, opts, { ranked = #ranked })
"#;

/// A line of Lua, and the code of what the server says of it.
const MISTAKES: &[(&str, &str)] = &[
    ("manifest:ranking{ ordr = 'ascending' }", "assign-type-mismatch"),
    ("manifest:ranking{ exlude = { '*' } }", "assign-type-mismatch"),
    ("qlua.export.family{ model = 'm', manifest = 'x', dilect = 'auto' }", "assign-type-mismatch"),
    ("qlua.cli.parser{ name = 'x', options = { { name = 'a', tpe = 'integer' } } }", "assign-type-mismatch"),
    ("sweep.fit(family, ranking, 'n', { byts = 3 })", "assign-type-mismatch"),
    ("manifest:ranking{ order = 'asc' }", "assign-type-mismatch"),
    ("qlua.fp8.amax(qlua.tensor.from_list{ 1 }, { granularity = 3 })", "assign-type-mismatch"),
    ("qlua.export.writer{ base = 'm' }", "missing-fields"),
    ("qlua.manifest.open(3)", "param-type-mismatch"),
    ("qlua.plan.frontier(manifest, ranking)", "param-type-mismatch"),
    ("qlua.manifest.correlation(manifest, nil)", "param-type-mismatch"),
    ("qlua.plan.frontier(family)", "missing-parameter"),
    ("sweep.family()", "missing-parameter"),
    ("qlua.manifest.open('a', {})", "redundant-parameter"),
    ("qlua.manifest.opn('a')", "undefined-field"),
    ("print(manifest.nam)", "undefined-field"),
    ("print(manifest:rankng())", "undefined-field"),
    ("ranking:select(function(group) return group.towr == 'vision' end)", "undefined-field"),
    ("sweep.ranking(family, opts, function(group) return group.towr end)", "undefined-field"),
    ("print(sweep.optins)", "undefined-field"),
    ("local group = manifest:group('x') print(group.name)", "need-check-nil"),
    ("print(unpack({ 1 }))", "deprecated"),
    ("print(qlau.version)", "undefined-global"),
];

#[test]
fn a_language_server_names_mistakes() {
    const HEAD: &str = "local sweep = require 'lib.sweep'; local opts = sweep.options('x', 'X.'); \
                        local family = sweep.family(opts); local manifest = family.manifest; local ranking = manifest:ranking()";
    let workspace = Workspace::new();
    for (i, (line, _)) in MISTAKES.iter().enumerate() {
        workspace.write(
            &format!("mistake_{i}.lua"),
            &format!("{HEAD}\n{line}\nprint(qlua, opts, family, ranking)\n"),
        );
    }
    let Some(said) = workspace.check() else { return };
    for (i, (line, code)) in MISTAKES.iter().enumerate() {
        let found = said.get(&format!("mistake_{i}.lua")).cloned().unwrap_or_default();
        assert_eq!(found, [(2, code.to_string())], "{line}");
    }
}

/// The declarations of the library, by class: the lines from `---@class` on.
fn classes(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut classes = BTreeMap::new();
    for part in text.split("---@class ").skip(1) {
        let mut lines = part.lines();
        let name = lines.next().unwrap();
        classes.insert(name, lines.take_while(|line| line.starts_with("---@field")).collect());
    }
    classes
}

#[test]
fn tables_that_scripts_give_have_no_other_keys_and_rows_may() {
    let workspace = Workspace::new();
    let library = fs::read_to_string(workspace.library().join("qlua.lua")).unwrap();
    let classes = classes(&library);
    let is_closed = |name: &str| classes[name].iter().any(|line| line.contains("\"there is no such "));
    let options: Vec<_> = classes.keys().filter(|name| name.ends_with(".Options")).collect();
    assert!(options.len() > 20, "{options:?}");
    for name in options.into_iter().chain(&["qlua.Job", "qlua.CliOption", "qlua.Column"]) {
        assert!(is_closed(name), "{name}");
    }
    for name in ["qlua.Group", "qlua.JobEnd", "qlua.Written", "qlua.Manifest", "qlua.Error", "qlua"] {
        assert!(!is_closed(name), "{name}");
    }
    // A function among other types stands in parentheses: what follows it would be a part of what it gives.
    for line in library.lines().filter(|line| line.contains("fun(")) {
        let (before, after) = line.split_once("fun(").unwrap();
        let is_alone = !before.ends_with('|') && !after.split(" # ").next().unwrap().contains('|');
        assert!(is_alone || before.ends_with('('), "{line}");
    }
}

#[test]
fn the_shared_options_are_those_that_policies_have() {
    let source = fs::read_to_string(Path::new(ROOT).join("scripts/lib/sweep.lua")).unwrap();
    let (_, list) = source.split_once("local function options(extra)").unwrap();
    let (list, _) = list.split_once("\nend\n").unwrap();
    let names = list.lines().filter_map(|line| line.split_once("{ name = \"")?.1.split_once('"'));
    let options: BTreeSet<String> = names.map(|(name, _)| name.replace('-', "_")).collect();
    let classes = classes(&source);
    let fields = classes["lib.sweep.Opts"].iter().map(|line| line.split(' ').nth(1).unwrap());
    let fields: BTreeSet<String> = fields.map(|name| name.trim_end_matches('?').to_string()).collect();
    // `for` is a word of Lua's: `opts["for"]`. The demo comes without an option.
    let others = ["[string]", "demo"].map(String::from);
    let expected: BTreeSet<String> = options.into_iter().filter(|name| name != "for").chain(others).collect();
    assert!(expected.len() > 25);
    assert_eq!(fields, expected);
}
