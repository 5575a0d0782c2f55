//! `library/qlua.lua`: annotations for lua-language-server.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{option_entries, records_of};
use crate::lua::declare::{Api, Callable, ClassDeclaration, FIRST_VERSION, Namespace, Param};
use crate::lua::types::{Record, Type};

/// What every text but one is not, and no value else: the type of a key that a table does not take. lua-language-server shows it.
/// The ticks are for EmmyLua, which would have the keys that there are be of this type as well, and with ticks passes over it.
const NO_OPTION: &str = "---@field [`string`] \"there is no such option\"\n";
const NO_KEY: &str = "---@field [`string`] \"there is no such key\"\n";

/// What scripts catch. It is no type of the API's: any function may raise one.
const ERROR: &str = "
---What `pcall` gives where a function of qlua raises; `tostring` gives the message. Servers take it for what the function gives
---when it does not: `---@cast problem +qlua.Error, -?` tells them.
---@class qlua.Error
---@field kind string what kind of problem it is, such as `usage` or `not_found`; `script` where Lua itself raised
---@field message string one sentence that names the thing
---@field hint? string what to do about it
---@field traceback string where it was raised
";

/// The annotations as a Lua file that is never run.
pub fn annotations(api: &Api) -> String {
    let mut out = String::from(
        "---@meta qlua\n-- Made from the declarations in src/lua/api; `QLUA_BLESS=1 cargo test --test lua_api` writes it anew.\n",
    );
    out.push_str(ERROR);
    let rows = rows(api);
    for namespace in &api.namespaces {
        for record in records_of(api, namespace) {
            write_record(&mut out, record);
            // Scripts may add keys to a row; a table that they give has no others.
            if !rows.contains(record.name) {
                out.push_str(NO_KEY);
            }
        }
        write_options(&mut out, namespace.functions.iter().map(|f| &**f));
        for class in &namespace.classes {
            write_options(&mut out, class.methods.iter().map(|m| &**m));
        }
        write_namespace(&mut out, namespace);
        for class in &namespace.classes {
            write_class(&mut out, class);
        }
    }
    out.push_str("\nreturn qlua\n");
    out
}

/// The names of the records that scripts are given.
fn rows(api: &Api) -> BTreeSet<&'static str> {
    let constants = api.namespaces.iter().flat_map(|n| &n.constants).map(|c| c.spec.ty);
    let fields = api.classes().flat_map(|c| &c.fields).map(|f| f.spec.ty);
    let results = api.callables().flat_map(|c| &c.spec.returns).map(|r| r.ty);
    let all = constants.chain(fields).chain(results).flat_map(|ty| ty.records());
    all.map(|record| record.name).collect()
}

fn write_namespace(out: &mut String, namespace: &Namespace) {
    let name = namespace.full_name();
    out.push('\n');
    comment(out, namespace.doc);
    let _ = writeln!(out, "---@class {name}");
    for constant in &namespace.constants {
        field(out, constant.spec.name, false, &constant.spec.ty, constant.spec.doc);
    }
    let _ = writeln!(out, "{name} = {{}}");
    for function in &namespace.functions {
        write_callable(out, function, &function.full_name);
    }
}

fn write_class(out: &mut String, class: &ClassDeclaration) {
    out.push('\n');
    comment(out, class.doc);
    let _ = writeln!(out, "---@class qlua.{}", class.name);
    for getter in &class.fields {
        field(out, getter.spec.name, false, &getter.spec.ty, getter.spec.doc);
    }
    if class.length.is_some() {
        out.push_str("---@operator len: integer\n");
    }
    for operator in &class.operators {
        let name = class.name;
        let _ = writeln!(out, "---@operator {}(qlua.{name}): qlua.{name}", operator.operator.name());
    }
    let _ = writeln!(out, "local {} = {{}}", class.name);
    for method in &class.methods {
        write_callable(out, method, &method.full_name);
    }
}

fn write_record(out: &mut String, record: &Record) {
    out.push('\n');
    comment(out, record.doc);
    let _ = writeln!(out, "---@class qlua.{}", record.name);
    for key in record.keys {
        field(out, key.name, key.optional, &key.ty, key.doc);
    }
}

fn write_options<'a>(out: &mut String, callables: impl Iterator<Item = &'a Callable>) {
    for callable in callables.filter(|c| c.spec.options.is_some()) {
        let _ =
            writeln!(out, "\n---Options of {}.\n---@class {}", callable.full_name, options_class(callable));
        for entry in option_entries(&callable.spec) {
            field(out, entry.name, entry.is_optional(), &entry.ty, &with_default(entry));
        }
        out.push_str(NO_OPTION);
    }
}

fn write_callable(out: &mut String, callable: &Callable, name: &str) {
    let spec = &callable.spec;
    out.push('\n');
    comment(out, spec.doc);
    for condition in &spec.raises {
        let _ = writeln!(out, "---\n---Raises when {condition}.");
    }
    for example in &spec.examples {
        out.push_str("---\n---```lua\n");
        comment(out, example);
        out.push_str("---```\n");
    }
    if spec.since != FIRST_VERSION {
        let _ = writeln!(out, "---\n---Since {}.", spec.since);
    }
    for param in &spec.params {
        let mark = if param.is_optional() { "?" } else { "" };
        let _ =
            writeln!(out, "---@param {}{mark} {} {}", param.name, param.ty.annotation(), with_default(param));
    }
    if spec.options.is_some() {
        let mark = if spec.options_are_optional() { "?" } else { "" };
        let names: Vec<String> = option_entries(spec).iter().map(|o| format!("`{}`", o.name)).collect();
        let _ = writeln!(out, "---@param options{mark} {} {}", options_class(callable), names.join(", "));
    }
    if let Some(variadic) = &spec.variadic {
        let _ = writeln!(out, "---@param ... {} {}", variadic.ty.annotation(), variadic.doc);
    }
    for result in &spec.returns {
        let _ = writeln!(out, "---@return {} # {}", result.ty.annotation(), result.doc);
    }
    let params = spec.params.iter().map(|p| p.name);
    let options = spec.options.iter().map(|_| "options");
    let rest = spec.variadic.iter().map(|_| "...");
    let names: Vec<&str> = params.chain(options).chain(rest).collect();
    let _ = writeln!(out, "function {name}({}) end", names.join(", "));
}

fn options_class(callable: &Callable) -> String {
    let name = callable.full_name.replace(':', ".");
    let name = name.strip_prefix("qlua.").unwrap_or(&name);
    format!("qlua.{name}.Options")
}

fn with_default(param: &Param) -> String {
    let default = param.default.to_string();
    if default.is_empty() { param.doc.to_string() } else { format!("{} (default: {default})", param.doc) }
}

fn field(out: &mut String, name: &str, optional: bool, ty: &Type, doc: &str) {
    let mark = if optional { "?" } else { "" };
    let _ = writeln!(out, "---@field {name}{mark} {} {doc}", ty.annotation());
}

fn comment(out: &mut String, text: &str) {
    for line in text.lines() {
        let _ = writeln!(out, "---{line}");
    }
}
