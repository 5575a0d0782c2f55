//! Documents made from the declarations: annotations for editors, the manual, and `qlua doc`.

mod annotations;
mod manual;
mod terminal;

pub use annotations::annotations;
pub use manual::manual;
pub use terminal::{lookup, overview};

use super::declare::{Api, Callable, ClassDeclaration, Function, Namespace, Param};
use super::types::{Record, Type};

/// The files made from the declarations: their paths in the repository and their texts.
pub fn generated_files(api: &Api) -> [(&'static str, String); 2] {
    [("library/qlua.lua", annotations(api)), ("docs/lua-api.md", manual(api))]
}

/// `qlua.manifest.open(path [, options])`.
fn signature(callable: &Callable) -> String {
    let spec = &callable.spec;
    let mut text = format!("{}(", callable.full_name);
    let mut brackets = 0;
    let names = spec.params.iter().map(|p| (p.name, p.is_optional()));
    let options = spec.options.iter().map(|_| ("options", spec.options_are_optional()));
    let rest = spec.variadic.iter().map(|_| ("...", false));
    for (i, (name, optional)) in names.chain(options).chain(rest).enumerate() {
        if optional {
            text.push_str(if i == 0 { "[" } else { " [" });
            brackets += 1;
        }
        text.push_str(if i == 0 { "" } else { ", " });
        text.push_str(name);
    }
    text.push_str(&"]".repeat(brackets));
    text.push(')');
    text
}

/// The records that `namespace` is the first to mention.
fn records_of(api: &Api, namespace: &Namespace) -> Vec<&'static Record> {
    let mut seen: Vec<&'static Record> = Vec::new();
    for other in &api.namespaces {
        let before = seen.len();
        for record in types_of(other).flat_map(|t| t.records()) {
            if !seen.iter().any(|s| s.name == record.name) {
                seen.push(record);
            }
        }
        if std::ptr::eq(other, namespace) {
            return seen.split_off(before);
        }
    }
    Vec::new()
}

fn types_of(namespace: &Namespace) -> impl Iterator<Item = Type> + '_ {
    let constants = namespace.constants.iter().map(|c| c.spec.ty);
    let functions = namespace.functions.iter().flat_map(|f| f.spec.types());
    constants.chain(functions).chain(namespace.classes.iter().flat_map(class_types))
}

fn class_types(class: &ClassDeclaration) -> impl Iterator<Item = Type> + '_ {
    let fields = class.fields.iter().map(|f| f.spec.ty);
    fields.chain(class.methods.iter().flat_map(|m| m.spec.types()))
}

fn option_entries(spec: &Function) -> &[Param] {
    spec.options.as_ref().map_or(&[], |o| &o.entries)
}

/// The first sentence of `doc`.
fn summary(doc: &str) -> &str {
    doc.find(". ").map_or(doc, |end| &doc[..=end])
}
