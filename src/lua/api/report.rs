//! `qlua.report`: tables and reports for people.

use std::sync::Arc;

use mlua::{Table, Value};

use crate::lua::declare::{Function, Namespace, Options};
use crate::lua::{Call, Key, Record, Type};
use crate::manifest::Manifest;
use crate::report::{self, markdown_table, per_layer};

const COLUMN: Record = Record {
    name: "Column",
    doc: "A column of a table.",
    keys: &[
        Key::new("key", Type::String, "the key of the rows that it shows"),
        Key::optional("title", Type::String, "its heading (default: the key)"),
        Key::optional(
            "unit",
            Type::Choice(&["bytes", "bits", "weights", "score"]),
            "`bytes` shows a number as kB, MB or GB, `bits` with three decimals, `weights` as k, M or G, `score` as 1.23e-4",
        ),
    ],
};

pub(super) fn declare() -> Namespace {
    Namespace::new("report", "Tables and reports for people.")
        .function(
            Function::new("bytes", "A size with its unit: `7.5 MB`, `4.13 GB` (decimal units).")
                .param("count", Type::IntegerIn("bytes"), "the size")
                .returns(Type::String, "the text")
                .example("assert(qlua.report.bytes(7509245952) == \"7.51 GB\")"),
            |call| {
                let count: i64 = call.get("count")?;
                Ok(report::bytes(u64::try_from(count).map_err(|_| call.refuse("count", "must not be negative"))?))
            },
        )
        .function(
            Function::new("table", "Rows as an aligned Markdown table; columns of numbers stand right.")
                .param("rows", Type::List(&Type::Table), "the rows")
                .param("columns", Type::List(&Type::Record(&COLUMN)), "the columns, from left to right")
                .returns(Type::String, "the lines of the table")
                .example("print(qlua.report.table({ { name = \"top10\", bytes = 4e9 // 1 | 0 } }, { { key = \"name\" }, { key = \"bytes\", unit = \"bytes\" } }))"),
            table,
        )
        .function(
            Function::new("per_layer", "The per-layer sensitivity report, as it lies in every scheme directory.")
                .param("manifest", Type::Handle("Manifest"), "the manifest")
                .options(Options::new().default("format", Type::Choice(&["markdown", "json"]), "markdown", "the format"))
                .returns(Type::String, "the report")
                .example("local demo = qlua.checkpoint.demo(\"demo\")\nassert(#qlua.report.per_layer(qlua.manifest.open(demo.manifest)) > 0)"),
            |call| {
                let manifest = call.handle::<Arc<Manifest>>("manifest")?;
                match call.get::<String>("format")?.as_str() {
                    "json" => Ok(call.lua().create_string(per_layer::json(&manifest))?),
                    _ => Ok(call.lua().create_string(per_layer::markdown(&manifest))?),
                }
            },
        )
}

fn table(call: &Call) -> anyhow::Result<String> {
    let rows: Vec<Table> = call.get("rows")?;
    let columns: Vec<Table> = call.get("columns")?;
    let mut cells = vec![Vec::new(); rows.len()];
    let (mut header, mut right) = (Vec::new(), Vec::new());
    for column in &columns {
        let key: String = column.raw_get("key")?;
        let unit = column.raw_get::<Option<String>>("unit")?.unwrap_or_default();
        let mut numeric = true;
        for (row, cells) in rows.iter().zip(&mut cells) {
            let value: Value = row.raw_get(key.as_str())?;
            numeric &= matches!(value, Value::Integer(_) | Value::Number(_) | Value::Nil);
            cells.push(match value {
                Value::Nil => String::new(),
                Value::Integer(n) if unit == "bytes" && n >= 0 => report::bytes(n as u64),
                Value::Integer(n) if unit == "weights" && n >= 0 => report::weights(n as u64),
                Value::Integer(n) if unit == "bits" => format!("{:.3}", n as f64),
                Value::Number(x) if unit == "bits" => format!("{x:.3}"),
                Value::Integer(n) if unit == "score" => format!("{:.3e}", n as f64),
                Value::Number(x) if unit == "score" => format!("{x:.3e}"),
                other => other.to_string()?,
            });
        }
        header.push(column.raw_get::<Option<String>>("title")?.unwrap_or(key));
        right.push(numeric);
    }
    Ok(markdown_table(&header, &cells, &right))
}
