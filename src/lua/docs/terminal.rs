//! `qlua doc NAME`: an entry of the API as plain text.

use std::fmt::Write as _;

use super::{option_entries, records_of, signature, summary};
use crate::error::{Error, Result};
use crate::lua::declare::{Api, Callable, ClassDeclaration, Getter, Namespace, Param};
use crate::lua::types::Record;
use crate::report::table::{Cell, Column, Table, text};
use crate::words::nearest;

/// All namespaces with their summaries.
pub fn overview(api: &Api) -> String {
    let rows = api.namespaces.iter().map(|n| [n.full_name(), summary(n.doc).to_string()]);
    format!(
        "{}\nRun `qlua doc NAMESPACE`, `qlua doc NAMESPACE.FUNCTION`, `qlua doc CLASS` or `qlua doc CLASS:METHOD`.\n",
        columns(rows)
    )
}

/// The entry called `name`: `manifest`, `qlua.manifest.open`, `Manifest`, `Manifest:ranking`, `Manifest.path`.
///
/// # Errors
/// [`Error::NotFound`] with the nearest name.
pub fn lookup(api: &Api, name: &str) -> Result<String> {
    let wanted = name.strip_prefix("qlua.").unwrap_or(name).replace(':', ".");
    let mut known: Vec<String> = Vec::new();
    for (entry, text) in entries(api) {
        let short = entry.strip_prefix("qlua.").unwrap_or(&entry).to_string();
        if short.replace(':', ".") == wanted {
            return Ok(text());
        }
        known.push(short);
    }
    let error = Error::not_found(format!("the API has nothing called `{name}`"));
    // A bare name is most likely meant for the entries that end with it.
    let ending = known.iter().filter(|k| k.rsplit(['.', ':']).next() == Some(wanted.as_str()));
    let mut near: Vec<String> = ending.map(|name| format!("`{name}`")).collect();
    if near.is_empty() {
        near.extend(nearest(&wanted, known.iter().map(String::as_str)).map(|name| format!("`{name}`")));
    }
    Err(error.with_hint(match near.as_slice() {
        [] => "run `qlua doc` to see the namespaces".into(),
        names => format!("did you mean {}?", names.join(" or ")),
    }))
}

type Entry<'a> = (String, Box<dyn Fn() -> String + 'a>);

fn entries(api: &Api) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry> = Vec::new();
    for namespace in &api.namespaces {
        entries.push((namespace.full_name(), Box::new(move || show_namespace(api, namespace))));
        for function in &namespace.functions {
            entries.push((function.full_name.clone(), Box::new(move || show_callable(function))));
        }
        for class in &namespace.classes {
            entries.push((class.name.to_string(), Box::new(move || show_class(class))));
            for method in &class.methods {
                entries.push((method.full_name.clone(), Box::new(move || show_callable(method))));
            }
        }
        let fields = namespace.classes.iter().flat_map(|c| &c.fields);
        for getter in namespace.constants.iter().chain(fields) {
            entries.push((getter.full_name.clone(), Box::new(move || show_getter(getter))));
        }
        for record in records_of(api, namespace) {
            entries.push((record.name.to_string(), Box::new(move || show_record(record))));
        }
    }
    entries
}

fn show_namespace(api: &Api, namespace: &Namespace) -> String {
    let mut out = format!("{}\n\n{}\n", namespace.full_name(), namespace.doc);
    let functions = namespace.functions.iter().map(|f| [signature(f), summary(f.spec.doc).to_string()]);
    section(&mut out, "functions", functions);
    section(&mut out, "constants", namespace.constants.iter().map(|c| getter_row(c)));
    section(&mut out, "classes", namespace.classes.iter().map(|c| [c.name.into(), summary(c.doc).into()]));
    let records = records_of(api, namespace);
    section(&mut out, "tables", records.iter().map(|r| [r.name.into(), summary(r.doc).into()]));
    out
}

fn show_class(class: &ClassDeclaration) -> String {
    let mut out = format!("{}\n\n{}\n", class.name, class.doc);
    section(&mut out, "fields", class.fields.iter().map(|f| getter_row(f)));
    let methods = class.methods.iter().map(|m| [signature(m), summary(m.spec.doc).to_string()]);
    section(&mut out, "methods", methods);
    let of_handles = [("#handle", &class.length), ("==", &class.equal)];
    let of_handles = of_handles
        .iter()
        .filter_map(|(name, op)| op.as_ref().map(|(doc, _)| [name.to_string(), doc.to_string()]));
    let binary = class.operators.iter().map(|o| [format!("a {} b", o.operator.symbol()), o.doc.to_string()]);
    section(&mut out, "operators", of_handles.chain(binary));
    out
}

fn show_record(record: &Record) -> String {
    let mut out = format!("{}\n\n{}\n", record.name, record.doc);
    let rows = record.keys.iter().map(|key| {
        let optional = if key.optional { " (optional)" } else { "" };
        [key.name.into(), format!("{}{optional}", key.ty.words()), key.doc.into()]
    });
    section(&mut out, "keys", rows);
    out
}

fn show_getter(getter: &Getter) -> String {
    let spec = &getter.spec;
    format!("{}: {}\n\n{}\n\nsince {}\n", getter.full_name, spec.ty.words(), spec.doc, spec.since)
}

fn show_callable(callable: &Callable) -> String {
    let spec = &callable.spec;
    let mut out = format!("{}\n\n{}\n", signature(callable), spec.doc);
    section(&mut out, "parameters", spec.params.iter().chain(&spec.variadic).map(param_row));
    section(&mut out, "options", option_entries(spec).iter().map(param_row));
    section(&mut out, "returns", spec.returns.iter().map(|r| [r.ty.words(), r.doc.to_string()]));
    section(&mut out, "raises when", spec.raises.iter().map(|r| [r.to_string()]));
    for example in &spec.examples {
        section(&mut out, "example", example.lines().map(|line| [line.to_string()]));
    }
    let _ = writeln!(out, "\nsince {}", spec.since);
    out
}

fn getter_row(getter: &Getter) -> [String; 3] {
    [getter.spec.name.into(), getter.spec.ty.words(), getter.spec.doc.into()]
}

fn param_row(param: &Param) -> [String; 3] {
    let default = param.default.to_string();
    let doc = match (param.is_optional(), default.is_empty()) {
        (false, _) => format!("{} (required)", param.doc),
        (true, true) => param.doc.to_string(),
        (true, false) => format!("{} (default: {default})", param.doc),
    };
    [param.name.into(), param.ty.words(), doc]
}

fn section<const N: usize>(out: &mut String, title: &str, rows: impl Iterator<Item = [String; N]>) {
    let text = columns(rows);
    if !text.is_empty() {
        let _ = write!(out, "\n{title}\n{text}");
    }
}

/// Rows as aligned columns, indented by two.
fn columns<const N: usize>(rows: impl Iterator<Item = [String; N]>) -> String {
    // The first column is the indentation.
    let mut table = Table::new(vec![Column::new(""); N + 1]);
    for row in rows {
        table.push([Cell::from("")].into_iter().chain(row.map(Cell::from)).collect::<Vec<_>>());
    }
    text(&table)
}
