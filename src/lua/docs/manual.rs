//! `docs/lua-api.md`: the manual.

use std::fmt::Write as _;

use super::{option_entries, records_of, signature, summary};
use crate::lua::declare::{Api, Callable, ClassDeclaration, FIRST_VERSION, Getter, Namespace, Param};
use crate::lua::types::Record;

const INTRODUCTION: &str = "# The Lua API

<!-- Made from the declarations in src/lua/api; `QLUA_BLESS=1 cargo test --test lua_api` writes it anew. -->

`local qlua = require \"qlua\"`; the table is also the global `qlua`. `qlua doc NAME` shows any entry of this page.

- Percentages are written as people say them: `10` means 10 %.
- Names are chosen by a glob, a list of globs or a predicate; `*` matches any run of characters, dots included.
- Options come as one table, last; an unknown key raises and names the nearest known one.
- Handles and namespaces are read-only. An unknown field raises; a look-up that finds nothing gives nil.
- Rows are plain tables that a script may change and add keys to. Reading a key that they do not have raises and names the
  nearest one; `tostring` gives one line, `pairs` follows the order of this page.
- Errors are tables with `kind`, `message`, `hint` (or nil) and `traceback`; `tostring(e)` is the message. What Lua itself or
  `error(\"…\")` raises arrives in `pcall` as such a table too, of the kind `script`; other values arrive as they are.
";

/// The manual as Markdown.
pub fn manual(api: &Api) -> String {
    let mut out = String::from(INTRODUCTION);
    out.push_str("\n| namespace | what it is for |\n|---|---|\n");
    for namespace in &api.namespaces {
        let name = namespace.full_name();
        let _ = writeln!(out, "| [`{name}`](#{}) | {} |", anchor(&name), cell(summary(namespace.doc)));
    }
    for namespace in &api.namespaces {
        write_namespace(&mut out, api, namespace);
    }
    out
}

fn write_namespace(out: &mut String, api: &Api, namespace: &Namespace) {
    let _ = writeln!(out, "\n## {}\n\n{}", namespace.full_name(), namespace.doc);
    if !namespace.constants.is_empty() {
        out.push_str("\n| constant | type | meaning |\n|---|---|---|\n");
        write_getters(out, namespace.constants.iter().map(|c| &**c));
    }
    for function in &namespace.functions {
        write_callable(out, function, "###");
    }
    for class in &namespace.classes {
        write_class(out, class);
    }
    for record in records_of(api, namespace) {
        write_record(out, record);
    }
}

fn write_class(out: &mut String, class: &ClassDeclaration) {
    let _ = writeln!(out, "\n### {}\n\n{}", class.name, class.doc);
    if let Some((doc, _)) = &class.length {
        let _ = writeln!(out, "\n`#handle` gives {doc}.");
    }
    if let Some((doc, _)) = &class.equal {
        let _ = writeln!(out, "\n`==` compares {doc}.");
    }
    for operator in &class.operators {
        let _ = writeln!(out, "\n`a {} b` gives {}.", operator.operator.symbol(), operator.doc);
    }
    if !class.fields.is_empty() {
        out.push_str("\n| field | type | meaning |\n|---|---|---|\n");
        write_getters(out, class.fields.iter().map(|f| &**f));
    }
    for method in &class.methods {
        write_callable(out, method, "####");
    }
}

fn write_record(out: &mut String, record: &Record) {
    let _ =
        writeln!(out, "\n### {}\n\n{}\n\n| key | type | meaning |\n|---|---|---|", record.name, record.doc);
    for key in record.keys {
        let optional = if key.optional { ", optional" } else { "" };
        let _ = writeln!(out, "| `{}` | {}{optional} | {} |", key.name, cell(&key.ty.words()), cell(key.doc));
    }
}

fn write_getters<'a>(out: &mut String, getters: impl Iterator<Item = &'a Getter>) {
    for getter in getters {
        let spec = &getter.spec;
        let _ = writeln!(out, "| `{}` | {} | {} |", spec.name, cell(&spec.ty.words()), cell(spec.doc));
    }
}

fn write_callable(out: &mut String, callable: &Callable, heading: &str) {
    let spec = &callable.spec;
    let _ = writeln!(
        out,
        "\n{heading} {}\n\n```lua\n{}\n```\n\n{}",
        callable.full_name,
        signature(callable),
        spec.doc
    );
    let params: Vec<&Param> = spec.params.iter().chain(&spec.variadic).collect();
    for (title, entries) in [("parameter", params), ("option", option_entries(spec).iter().collect())] {
        if !entries.is_empty() {
            let _ = writeln!(out, "\n| {title} | type | default | meaning |\n|---|---|---|---|");
        }
        for entry in entries {
            let default = if entry.is_optional() { entry.default.to_string() } else { "required".into() };
            let (ty, default) = (cell(&entry.ty.words()), cell(&default));
            let _ = writeln!(out, "| `{}` | {ty} | {default} | {} |", entry.name, cell(entry.doc));
        }
    }
    if !spec.returns.is_empty() {
        out.push_str("\nReturns:\n");
        for result in &spec.returns {
            let _ = writeln!(out, "- {}: {}", result.ty.words(), result.doc);
        }
    }
    if !spec.raises.is_empty() {
        out.push_str("\nRaises when:\n");
        for condition in &spec.raises {
            let _ = writeln!(out, "- {condition}");
        }
    }
    for example in &spec.examples {
        let _ = writeln!(out, "\n```lua\n{example}\n```");
    }
    if spec.since != FIRST_VERSION {
        let _ = writeln!(out, "\nSince {}.", spec.since);
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect::<String>().to_lowercase()
}
