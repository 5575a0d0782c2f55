//! The declarations and what is made from them.

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use mlua::{Function, Table, Value};
use qlua::lua::{Host, Verbosity, api, docs};

#[test]
fn generated_files_equal_the_declarations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, text) in docs::generated_files(&api::declarations()) {
        let file = root.join(path);
        if std::env::var_os("QLUA_BLESS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text,
            "{path} differs from the declarations in src/lua/api; run `QLUA_BLESS=1 cargo test --test lua_api` and commit it"
        );
    }
}

#[test]
fn annotations_are_valid_lua() {
    let host = Host::new(Verbosity::Normal, None).unwrap();
    let text = docs::annotations(&api::declarations());
    host.lua().load(&text).into_function().unwrap();
}

#[test]
fn every_declaration_says_what_it_is() {
    let api = api::declarations();
    for callable in api.callables() {
        let (spec, name) = (&callable.spec, &callable.full_name);
        assert!(spec.doc.ends_with('.'), "{name}: the doc is no sentence");
        assert!(!spec.examples.is_empty(), "{name} has no example");
        let options = spec.options.iter().flat_map(|o| &o.entries);
        let mut names = BTreeSet::new();
        for param in spec.params.iter().chain(&spec.variadic).chain(options) {
            assert!(!param.doc.is_empty(), "{name}: `{}` has no doc", param.name);
            assert!(names.insert(param.name), "{name}: `{}` is declared twice", param.name);
        }
        for result in &spec.returns {
            assert!(!result.doc.is_empty(), "{name}: a result has no doc");
        }
    }
    for class in api.classes() {
        assert!(class.doc.ends_with('.'), "{}: the doc is no sentence", class.name);
        for field in &class.fields {
            assert!(!field.spec.doc.is_empty(), "{} has no doc", field.full_name);
        }
    }
}

/// A sandbox refuses a path of which nothing is said, and would let through one that no declaration calls a path.
#[test]
fn every_path_says_what_is_done_with_it() {
    let mut uses = 0;
    for callable in api::declarations().callables() {
        let spec = &callable.spec;
        let options = spec.options.iter().flat_map(|o| &o.entries);
        for param in spec.params.iter().chain(&spec.variadic).chain(options) {
            let name = format!("`{}` of {}", param.name, callable.full_name);
            assert_eq!(param.ty.takes_paths(), param.path_use.is_some(), "{name}");
            let words = param.ty.words();
            assert!(param.ty.takes_paths() || !words.contains("path"), "{name} is a {words}");
            uses += usize::from(param.path_use.is_some());
        }
    }
    assert!(uses > 20, "{uses}");
}

/// An error that comes from a nil repeats what its key says of it.
#[test]
fn keys_of_rows_that_may_be_nil_say_when() {
    let api = api::declarations();
    let fields = api.classes().flat_map(|c| &c.fields).map(|f| f.spec.ty);
    let returns = api.callables().flat_map(|c| &c.spec.returns).map(|r| r.ty);
    let mut seen = BTreeSet::new();
    for record in fields.chain(returns).flat_map(|ty| ty.records()) {
        assert!(record.doc.ends_with('.'), "{}: the doc is no sentence", record.name);
        for key in record.keys {
            let says = key.doc.contains("; nil ");
            assert_eq!(says, key.optional, "{}.{}: {}", record.name, key.name, key.doc);
            assert!(!key.doc.starts_with(' ') && !key.doc.contains("  "), "{}.{}", record.name, key.name);
        }
        seen.insert(record.name);
    }
    assert!(seen.len() >= 16, "{seen:?}");
}

#[test]
fn names_of_handles_are_declared_classes() {
    let api = api::declarations();
    let classes: BTreeSet<&str> = api.classes().map(|c| c.name).collect();
    let text = docs::annotations(&api);
    let declared = |name: &str| text.contains(&format!("---@class qlua.{name}\n"));
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '.' && c != '_') {
        if let Some(name) = word.strip_prefix("qlua.")
            && name.starts_with(char::is_uppercase)
        {
            let class = name.split('.').next().unwrap();
            assert!(classes.contains(class) || declared(name), "qlua.{name} is used but not declared");
        }
    }
}

/// Walks the table `qlua` as a script would.
#[test]
fn nothing_callable_is_undocumented() {
    let host = Host::new(Verbosity::Normal, None).unwrap();
    let api = api::declarations();
    let documented: BTreeSet<String> = api.callables().map(|c| c.full_name.clone()).collect();
    let pairs: Function = host
        .lua()
        .load("return function(t) local out = {} for k, v in pairs(t) do out[k] = v end return out end")
        .eval()
        .unwrap();
    let members = |table: Value| -> Vec<(String, Value)> {
        let copy: Table = pairs.call(table).unwrap();
        copy.pairs().map(Result::unwrap).collect()
    };
    let qlua: Value = host.lua().globals().get("qlua").unwrap();
    let mut seen = 0;
    for (name, value) in members(qlua) {
        let found = match value {
            Value::Function(_) => vec![format!("qlua.{name}")],
            Value::Table(_) => members(value)
                .into_iter()
                .filter(|(_, v)| matches!(v, Value::Function(_)))
                .map(|(inner, _)| format!("qlua.{name}.{inner}"))
                .collect(),
            _ => Vec::new(),
        };
        for name in found {
            assert!(documented.contains(&name), "{name} can be called but is not documented");
            seen += 1;
        }
    }
    let functions = documented.iter().filter(|n| !n.contains(':')).count();
    assert_eq!(seen, functions, "some declared functions are not reachable");
}

#[test]
fn every_example_runs() {
    for callable in api::declarations().callables() {
        for example in &callable.spec.examples {
            let folder = tempfile::tempdir().unwrap();
            let output = Command::cargo_bin("qlua")
                .unwrap()
                .current_dir(&folder)
                .args(["-e", example])
                .output()
                .unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "the example of {} fails:\n{example}\n{errors}",
                callable.full_name
            );
        }
    }
}

#[test]
fn every_entry_can_be_looked_up_under_the_names_that_scripts_use() {
    let api = api::declarations();
    for callable in api.callables() {
        let text = docs::lookup(&api, &callable.full_name, 80).unwrap();
        assert!(text.starts_with(&callable.full_name), "{text}");
        let short = callable.full_name.trim_start_matches("qlua.");
        assert_eq!(docs::lookup(&api, short, 80).unwrap(), text);
    }
    assert!(docs::lookup(&api, "json", 80).unwrap().contains("qlua.json.decode(text)"));
    assert!(docs::lookup(&api, "CliOption", 80).unwrap().contains("metavar"));
    assert!(docs::lookup(&api, "Parser.name", 80).unwrap().contains("string"));
}
