//! `qlua.report`: tables and reports for people.

use std::sync::Arc;

use mlua::{Table, Value};

use crate::lua::declare::{Function, Namespace, Options};
use crate::lua::{Call, Key, Record, Type};
use crate::manifest::Manifest;
use crate::report::{self, markdown_table, per_layer};
use crate::words::{counted, words};

const COLUMN: Record = Record {
    name: "Column",
    doc: "A column of a table.",
    keys: &[
        Key::new("key", Type::String, "the key of the rows that it shows"),
        Key::optional("title", Type::String, "its heading (default: the key)"),
        Key::optional(
            "unit",
            Type::Choice(Unit::WORDS),
            "`bytes` shows a number as kB, MB or GB, `bits` with three decimals, `weights` as k, M or G, `score` as 1.234e-4",
        ),
        Key::optional(
            "decimals",
            Type::Integer,
            "digits after the point (default: as many as the column's numbers need, 4 at most)",
        ),
    ],
};

words! {
    /// How a column shows its numbers.
    enum Unit: "unit" {
        Bytes = "bytes",
        Bits = "bits",
        Weights = "weights",
        Score = "score",
    }
}

words! {
    /// What the per-layer report is written in.
    enum Format: "format" {
        Markdown = "markdown",
        Json = "json",
    }
}

/// More digits after the point than this are noise in a table.
const MOST_DECIMALS: usize = 4;

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
            Function::new("count", "So many of something: `1 group`, `2 groups`.")
                .param("count", Type::Integer, "how many")
                .param("noun", Type::String, "what, in the singular")
                .returns(Type::String, "the text")
                .example("assert(qlua.report.count(1, \"group\") == \"1 group\")"),
            |call| {
                let count: i64 = call.get("count")?;
                let count = usize::try_from(count).map_err(|_| call.refuse("count", "must not be negative"))?;
                Ok(counted(count, &call.get::<String>("noun")?))
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
                .options(Options::new().default("format", Type::Choice(Format::WORDS), "markdown", "the format"))
                .returns(Type::String, "the report")
                .example("local demo = qlua.checkpoint.demo(\"demo\")\nassert(#qlua.report.per_layer(qlua.manifest.open(demo.manifest)) > 0)"),
            |call| {
                let manifest = call.handle::<Arc<Manifest>>("manifest")?;
                match call.word("format")? {
                    Format::Json => Ok(call.lua().create_string(per_layer::json(&manifest))?),
                    Format::Markdown => Ok(call.lua().create_string(per_layer::markdown(&manifest))?),
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
        let unit = column.raw_get::<Option<String>>("unit")?.map(|word| word.parse()).transpose()?;
        let values: Vec<Value> =
            rows.iter().map(|row| row.raw_get(key.as_str())).collect::<mlua::Result<_>>()?;
        let decimals = match column.raw_get::<Option<i64>>("decimals")? {
            Some(given) => usize::try_from(given).ok().filter(|given| *given <= 17).ok_or_else(|| {
                call.refuse("columns", format!("has {given} decimals; there can be 0 to 17"))
            })?,
            None => decimals(&values),
        };
        right.push(
            values.iter().all(|value| matches!(value, Value::Integer(_) | Value::Number(_) | Value::Nil)),
        );
        for (value, cells) in values.into_iter().zip(&mut cells) {
            cells.push(cell(value, unit, decimals)?);
        }
        header.push(column.raw_get::<Option<String>>("title")?.unwrap_or(key));
    }
    Ok(markdown_table(&header, &cells, &right))
}

/// The decimals that a column of `values` needs so that all its points stand below each other: four at most.
fn decimals(values: &[Value]) -> usize {
    let needed = |value: &Value| {
        let Value::Number(x) = value else { return 0 };
        (0..MOST_DECIMALS)
            .find(|decimals| {
                let scale = 10f64.powi(*decimals as i32);
                !x.is_finite() || ((x * scale).round() / scale - x).abs() <= x.abs() * 1e-12
            })
            .unwrap_or(MOST_DECIMALS)
    };
    values.iter().map(needed).max().unwrap_or(0)
}

/// A value as the text of its cell.
fn cell(value: Value, unit: Option<Unit>, decimals: usize) -> anyhow::Result<String> {
    let number = match &value {
        Value::Nil => return Ok(String::new()),
        Value::Integer(n) => *n as f64,
        Value::Number(x) => *x,
        other => return Ok(other.to_string()?),
    };
    let whole = number >= 0.0 && number.fract() == 0.0 && number < u64::MAX as f64;
    let vanishes = number != 0.0 && number.abs() < 0.5 * 10f64.powi(-(decimals as i32));
    Ok(match (unit, &value) {
        (Some(Unit::Bytes), _) if whole => report::bytes(number as u64),
        (Some(Unit::Weights), _) if whole => report::weights(number as u64),
        (Some(Unit::Bits), _) => format!("{number:.3}"),
        (Some(Unit::Score), _) => report::score(number),
        (None, Value::Integer(n)) if decimals == 0 => n.to_string(),
        _ if vanishes => report::score(number),
        _ => format!("{number:.decimals$}"),
    })
}
