//! `qlua doc NAME`: an entry of the API as plain text.

use std::fmt::Write as _;

use super::{option_entries, records_of, signature, summary};
use crate::error::{Error, Result};
use crate::lua::declare::{Api, Callable, ClassDeclaration, FIRST_VERSION, Getter, Namespace, Param};
use crate::lua::types::Record;
use crate::report::table::{Cell, Column, Table, wrap, wrap_lines, wrapped};
use crate::words::nearest;

/// All namespaces with their summaries, in lines of at most `width` characters.
pub fn overview(api: &Api, width: usize) -> String {
    let page = Page { width };
    let rows = api.namespaces.iter().map(|n| [n.full_name(), summary(n.doc).to_string()]);
    let more = "Run `qlua doc NAMESPACE`, `qlua doc NAMESPACE.FUNCTION`, `qlua doc CLASS` or `qlua doc CLASS:METHOD`.";
    format!("{}\n{}", page.columns(rows), page.prose(more))
}

/// How wide an entry is.
#[derive(Clone, Copy)]
struct Page {
    width: usize,
}

/// The entry called `name` in lines of at most `width` characters: `manifest`, `qlua.manifest.open`, `Manifest`,
/// `Manifest:ranking`, `Manifest.path`.
///
/// # Errors
/// [`Error::NotFound`] with the nearest name.
pub fn lookup(api: &Api, name: &str, width: usize) -> Result<String> {
    let page = Page { width };
    let wanted = name.strip_prefix("qlua.").unwrap_or(name).replace(':', ".");
    let mut known: Vec<String> = Vec::new();
    for (entry, text) in entries(api, page) {
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

type PageEntry<'a> = (String, Box<dyn Fn() -> String + 'a>);

fn entries(api: &Api, page: Page) -> Vec<PageEntry<'_>> {
    let mut entries: Vec<PageEntry> = Vec::new();
    for namespace in &api.namespaces {
        entries.push((namespace.full_name(), Box::new(move || page.namespace(api, namespace))));
        for function in &namespace.functions {
            entries.push((function.full_name.clone(), Box::new(move || page.callable(function))));
        }
        for class in &namespace.classes {
            entries.push((class.name.to_string(), Box::new(move || page.class(class))));
            for method in &class.methods {
                entries.push((method.full_name.clone(), Box::new(move || page.callable(method))));
            }
        }
        let fields = namespace.classes.iter().flat_map(|c| &c.fields);
        for getter in namespace.constants.iter().chain(fields) {
            entries.push((getter.full_name.clone(), Box::new(move || page.getter(getter))));
        }
        for record in records_of(api, namespace) {
            entries.push((record.name.to_string(), Box::new(move || page.record(record))));
        }
    }
    entries
}

impl Page {
    fn namespace(self, api: &Api, namespace: &Namespace) -> String {
        let mut out = format!("{}\n\n{}", namespace.full_name(), self.prose(namespace.doc));
        let functions = namespace.functions.iter().map(|f| [signature(f), summary(f.spec.doc).to_string()]);
        self.section(&mut out, "functions", functions);
        self.section(&mut out, "constants", namespace.constants.iter().map(|c| getter_row(c)));
        self.section(
            &mut out,
            "classes",
            namespace.classes.iter().map(|c| [c.name.into(), summary(c.doc).into()]),
        );
        let records = records_of(api, namespace);
        self.section(&mut out, "tables", records.iter().map(|r| [r.name.into(), summary(r.doc).into()]));
        out
    }

    fn class(self, class: &ClassDeclaration) -> String {
        let mut out = format!("{}\n\n{}", class.name, self.prose(class.doc));
        self.section(&mut out, "fields", class.fields.iter().map(|f| getter_row(f)));
        let methods = class.methods.iter().map(|m| [signature(m), summary(m.spec.doc).to_string()]);
        self.section(&mut out, "methods", methods);
        let of_handles = [("#handle", &class.length), ("==", &class.equal)];
        let of_handles = of_handles
            .iter()
            .filter_map(|(name, op)| op.as_ref().map(|(doc, _)| [name.to_string(), doc.to_string()]));
        let binary =
            class.operators.iter().map(|o| [format!("a {} b", o.operator.symbol()), o.doc.to_string()]);
        self.section(&mut out, "operators", of_handles.chain(binary));
        out
    }

    fn record(self, record: &Record) -> String {
        let mut out = format!("{}\n\n{}", record.name, self.prose(record.doc));
        let rows = record.keys.iter().map(|key| {
            let optional = if key.optional { " (optional)" } else { "" };
            [key.name.into(), format!("{}{optional}", key.ty.words()), key.doc.into()]
        });
        self.section(&mut out, "keys", rows);
        out
    }

    fn getter(self, getter: &Getter) -> String {
        let spec = &getter.spec;
        let mut out = format!("{}: {}\n\n{}", getter.full_name, spec.ty.words(), self.prose(spec.doc));
        if spec.since != FIRST_VERSION {
            let _ = writeln!(out, "\nsince {}", spec.since);
        }
        out
    }

    fn callable(self, callable: &Callable) -> String {
        let spec = &callable.spec;
        let mut out = format!("{}\n\n{}", signature(callable), self.prose(spec.doc));
        self.section(&mut out, "parameters", spec.params.iter().chain(&spec.variadic).map(param_row));
        self.section(&mut out, "options", option_entries(spec).iter().map(param_row));
        self.section(&mut out, "returns", spec.returns.iter().map(|r| [r.ty.words(), r.doc.to_string()]));
        self.section(&mut out, "raises when", spec.raises.iter().map(|r| [r.to_string()]));
        for example in &spec.examples {
            let _ = write!(out, "\nexample\n");
            wrap_lines(
                &example.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"),
                self.width,
            )
            .lines()
            .for_each(|line| out.push_str(&format!("{line}\n")));
        }
        if spec.since != FIRST_VERSION {
            let _ = writeln!(out, "\nsince {}", spec.since);
        }
        out
    }

    /// Rows below a title; nothing where there are no rows.
    fn section<const N: usize>(self, out: &mut String, title: &str, rows: impl Iterator<Item = [String; N]>) {
        let text = self.columns(rows);
        if !text.is_empty() {
            let _ = write!(out, "\n{title}\n{text}");
        }
    }

    /// Rows as aligned columns, indented by two.
    fn columns<const N: usize>(self, rows: impl Iterator<Item = [String; N]>) -> String {
        // The first column is the indentation.
        let mut table = Table::new(vec![Column::new(""); N + 1]);
        for row in rows {
            table.push([Cell::from("")].into_iter().chain(row.map(Cell::from)).collect::<Vec<_>>());
        }
        wrapped(&table, self.width)
    }

    /// Whole sentences.
    fn prose(self, text: &str) -> String {
        text.lines().flat_map(|line| wrap(line, self.width)).map(|line| line + "\n").collect()
    }
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
