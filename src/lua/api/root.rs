//! The table `qlua` itself.

use mlua::{Function as LuaFunction, MultiValue, Table, Value};

use crate::lua::declare::{Function, Namespace};
use crate::lua::{Call, Type};

pub(super) fn declare() -> Namespace {
    Namespace::new("", "The toolkit: `local qlua = require \"qlua\"`, also a global.")
        .constant("version", Type::String, "The version of qlua, such as `\"0.2.0\"`.", |_| {
            Ok(env!("CARGO_PKG_VERSION"))
        })
        .function(
            Function::new(
                "sorted",
                "Iterates over a table in the order of its keys: numbers first, then strings. \
                 The order of `pairs` differs from run to run, so it must never decide about an output.",
            )
            .param("table", Type::Table, "any table whose keys are numbers and strings")
            .returns(Type::Function("fun(): any, any"), "an iterator over keys and values, for `for`")
            .raises("a key is neither a number nor a string")
            .example(
                "local names = {}\nfor name in qlua.sorted{ b = 1, a = 2 } do names[#names + 1] = name end\n\
                 assert(table.concat(names) == \"ab\")",
            ),
            sorted,
        )
}

fn sorted(call: &Call) -> anyhow::Result<LuaFunction> {
    let table: Table = call.get("table")?;
    let (mut numbers, mut strings) = (Vec::new(), Vec::new());
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        match &key {
            Value::Integer(i) => numbers.push((*i as f64, key, value)),
            Value::Number(x) => numbers.push((*x, key, value)),
            Value::String(s) => strings.push((s.as_bytes().to_vec(), key, value)),
            _ => return Err(call.refuse("table", "has a key that is neither a number nor a string")),
        }
    }
    numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
    strings.sort_by(|a, b| a.0.cmp(&b.0));
    let ordered: Vec<_> = numbers
        .into_iter()
        .map(|(_, key, value)| (key, value))
        .chain(strings.into_iter().map(|(_, key, value)| (key, value)))
        .collect();
    let position = std::cell::Cell::new(0);
    Ok(call.lua().create_function(move |_, _: MultiValue| {
        let i = position.replace(position.get() + 1);
        Ok(ordered.get(i).cloned().unwrap_or((Value::Nil, Value::Nil)))
    })?)
}
