//! `qlua.report`: tables and reports for people.

use std::io::IsTerminal;
use std::sync::Arc;

use mlua::{Table, Value};

use crate::lua::declare::{Function, Namespace, Options};
use crate::lua::{Call, Key, Record, Type};
use crate::manifest::Manifest;
use crate::options::width;
use crate::report::table::{Align, Cell, Column, Table as Rows, Unit, fitted, markdown, text};
use crate::report::{self, per_layer};
use crate::units::counted;
use crate::words::words;

const COLUMN: Record = Record {
    name: "Column",
    doc: "A column of a table.",
    keys: &[
        Key::new("key", Type::String, "the key of the rows that it shows"),
        Key::optional("title", Type::String, "its heading (default: the key)"),
        Key::optional(
            "unit",
            Type::Choice(Quantity::WORDS),
            "`bytes` shows a number as kB, MB or GB, `bits` with three decimals, `weights` as k, M or G, `score` with three \
             digits: `0.133`, `1.24e-5`; without it whole numbers are shown in full, others with six digits",
        ),
        Key::optional(
            "decimals",
            Type::Integer,
            "digits after the point of every number in the column, from 0 to 17; whole bytes and weights stay whole",
        ),
        Key::optional(
            "main",
            Type::Boolean,
            "whether it stays, before others, where a terminal has no room for all",
        ),
    ],
};

words! {
    /// What the numbers of a column are.
    enum Quantity: "unit" {
        Bytes = "bytes",
        Bits = "bits",
        Weights = "weights",
        Score = "score",
    }
}

words! {
    /// What a table is written in.
    enum TableFormat: "format" {
        Markdown = "markdown",
        Text = "text",
        Terminal = "terminal",
    }
}

words! {
    /// What the per-layer report is written in.
    enum PerLayerFormat: "format" {
        Markdown = "markdown",
        Json = "json",
    }
}

/// The most digits that say something of a number of 64 bits.
const MOST_DECIMALS: i64 = 17;

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
            Function::new("number", "A number as tables show it: whole ones in full, others with six digits at most, and `–` for nil.")
                .optional("number", Type::Number, "the number")
                .options(Options::new().option("decimals", Type::Integer, "digits after the point, from 0 to 17"))
                .returns(Type::String, "the text")
                .raises("`decimals` is not from 0 to 17")
                .example("assert(qlua.report.number(2 / 3, { decimals = 2 }) == \"0.67\" and qlua.report.number(nil) == \"–\")"),
            |call| {
                let decimals = decimals(call, "decimals", call.get("decimals")?)?;
                let column = Column { decimals, ..Column::new("") };
                Ok(column.text(&call.get::<Option<f64>>("number")?.into(), Align::Right))
            },
        )
        .function(
            Function::new("table", "Rows as a table with aligned columns; columns of numbers stand right, and a number that is missing is `–`.")
                .param("rows", Type::List(&Type::Table), "the rows")
                .param("columns", Type::List(&Type::Record(&COLUMN)), "the columns, from left to right")
                .options(Options::new().default(
                    "format",
                    Type::Choice(TableFormat::WORDS),
                    "markdown",
                    "a Markdown table, or columns of plain text; `terminal` is plain text with as many columns as the terminal has room \
                     for, a last one of text wrapped, and Markdown where standard output is none",
                ))
                .returns(Type::String, "the lines of the table")
                .raises("`decimals` is not from 0 to 17, or a cell is a table or a function")
                .example("print(qlua.report.table({ { name = \"top10\", bytes = 4e9 // 1 | 0 } }, { { key = \"name\" }, { key = \"bytes\", unit = \"bytes\" } }))"),
            table,
        )
        .function(
            Function::new("per_layer", "The per-layer sensitivity report, as it lies in every scheme directory.")
                .param("manifest", Type::Handle("Manifest"), "the manifest")
                .options(Options::new().default("format", Type::Choice(PerLayerFormat::WORDS), "markdown", "the format"))
                .returns(Type::String, "the report")
                .example("local demo = qlua.checkpoint.demo(\"demo\")\nassert(#qlua.report.per_layer(qlua.manifest.open(demo.manifest)) > 0)"),
            |call| {
                let manifest = call.handle::<Arc<Manifest>>("manifest")?;
                match call.word("format")? {
                    PerLayerFormat::Json => Ok(call.lua().create_string(per_layer::json(&manifest))?),
                    PerLayerFormat::Markdown => Ok(call.lua().create_string(per_layer::markdown(&manifest))?),
                }
            },
        )
}

fn table(call: &Call) -> anyhow::Result<String> {
    let rows: Vec<Table> = call.get("rows")?;
    let columns: Vec<Table> = call.get("columns")?;
    let mut keys: Vec<String> = Vec::new();
    let mut table = Rows::default();
    for (at, column) in columns.iter().enumerate() {
        let key: String = column.raw_get("key")?;
        let title = column.raw_get::<Option<String>>("title")?.unwrap_or_else(|| key.clone());
        let unit = match column.raw_get::<Option<String>>("unit")?.map(|word| word.parse()).transpose()? {
            Some(Quantity::Bytes) => Unit::Bytes,
            Some(Quantity::Bits) => Unit::Bits,
            Some(Quantity::Weights) => Unit::Weights,
            Some(Quantity::Score) => Unit::Score,
            None => Unit::None,
        };
        let place = format!("columns[{}].decimals", at + 1);
        let decimals = decimals(call, &place, column.raw_get("decimals")?)?;
        let align = (unit != Unit::None).then_some(Align::Right);
        let is_main = column.raw_get::<Option<bool>>("main")?.unwrap_or(false);
        table.columns.push(Column { title, unit, decimals, align, is_main });
        keys.push(key);
    }
    for (at, row) in rows.iter().enumerate() {
        let cell = |key: &String| match row.raw_get(key.as_str())? {
            Value::Nil => Ok(Cell::Empty),
            Value::Integer(count) => Ok(Cell::Integer(count)),
            Value::Number(number) => Ok(Cell::Number(number)),
            value @ (Value::Table(_) | Value::Function(_)) => {
                let place = format!("rows[{}].{key}", at + 1);
                Err(call
                    .refuse(&place, format!("is a {}, and a cell is text or a number", value.type_name())))
            }
            other => Ok(Cell::Text(other.to_string()?)),
        };
        table.push(keys.iter().map(cell).collect::<anyhow::Result<Vec<Cell>>>()?);
    }
    Ok(match call.word("format")? {
        TableFormat::Text => text(&table),
        TableFormat::Terminal if std::io::stdout().is_terminal() => fitted(&table, width()),
        TableFormat::Markdown | TableFormat::Terminal => markdown(&table),
    })
}

/// Digits after the point that were `given` at `place`.
fn decimals(call: &Call, place: &str, given: Option<i64>) -> anyhow::Result<Option<usize>> {
    match given {
        Some(given) if !(0..=MOST_DECIMALS).contains(&given) => {
            Err(call.refuse(place, format!("must be from 0 to {MOST_DECIMALS}")))
        }
        given => Ok(given.map(|given| given as usize)),
    }
}
