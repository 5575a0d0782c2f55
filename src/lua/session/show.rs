//! How a value looks that a line gave: rows as tables, tensors as one line, other tables as they would be written.

use mlua::{Function, Table, Value};

use super::help::declared_name;
use super::names::Names;
use crate::lua::rows::is_row;
use crate::report::bytes;
use crate::report::table::{Align, Cell, Column, Table as Grid, text, wrapped};
use crate::tensor::Tensor;

/// How many rows or entries are shown.
const MOST_ROWS: usize = 20;
/// The most characters of a cell.
const LONGEST_CELL: usize = 36;
/// The columns that people choose by.
const DECIDING: [&str; 2] = ["score", "bytes"];
/// How many first values of a tensor are shown.
const MOST_VALUES: usize = 6;
/// How deep tables are shown inside one another.
const DEEPEST: usize = 3;

/// `value` in lines of about `width` characters, without a final line break.
///
/// # Errors
/// What a metamethod raises that is asked for a text or for entries.
pub(super) fn value(names: &Names, value: &Value, width: usize) -> anyhow::Result<String> {
    let shown = match value {
        Value::String(text) if text.as_bytes().contains(&b'\n') => text.to_string_lossy(),
        Value::Table(table) if is_row(table) => row(table, width)?,
        Value::Table(table) => match declared_name(table) {
            Some(name) if !is_row(table) => format!("{name}: help({name}) lists what it has"),
            _ if has_text(table) => value.to_string()?,
            _ => match list_of_rows(table)? {
                Some(items) => rows(&items, table.raw_len(), width)?,
                None => plain(table, width)?,
            },
        },
        Value::Function(function) => match names.get(function) {
            Some(name) => format!("function {name}"),
            None => word(value)?,
        },
        Value::UserData(handle) => match handle.borrow::<Tensor>() {
            Ok(tensor) => of_tensor(&tensor),
            Err(_) => value.to_string()?,
        },
        _ => word(value)?,
    };
    Ok(shown.trim_end_matches('\n').to_string())
}

/// Dtype, shape, size and the first values.
fn of_tensor(tensor: &Tensor) -> String {
    let head =
        format!("Tensor({} {:?}) {}", tensor.dtype(), tensor.shape(), bytes(tensor.bytes().len() as u64));
    let values = tensor.dtype().require_values().and_then(|()| tensor.unchanged(tensor.tolist(MOST_VALUES)));
    let Ok(values) = values else { return head };
    let more = if tensor.elements() > values.len() { ", …" } else { "" };
    let values: Vec<String> = values.iter().map(|value| crate::units::number(*value)).collect();
    format!("{head}: {}{more}", values.join(", "))
}

fn has_text(table: &Table) -> bool {
    table.metatable().is_some_and(|metatable| metatable.contains_key("__tostring").unwrap_or(false))
}

/// The entries of `table`: in its own order where it has one, else numbers first, then by name.
fn entries(table: &Table) -> anyhow::Result<Vec<(Value, Value)>> {
    let own =
        table.metatable().and_then(|metatable| metatable.raw_get::<Option<Function>>("__pairs").ok()?);
    let mut entries = Vec::new();
    if let Some(pairs) = own {
        let (next, state, mut key): (Function, Value, Value) = pairs.call(table)?;
        loop {
            let (following, value): (Value, Value) = next.call((&state, key))?;
            if following.is_nil() {
                return Ok(entries);
            }
            key = following.clone();
            entries.push((following, value));
            if entries.len() > 100 * MOST_ROWS {
                return Ok(entries);
            }
        }
    }
    for pair in table.pairs::<Value, Value>() {
        entries.push(pair?);
    }
    let rank = |key: &Value| match key {
        Value::Integer(i) => (0, *i, String::new()),
        Value::String(text) => (1, 0, text.to_string_lossy()),
        other => (2, 0, other.to_string().unwrap_or_default()),
    };
    entries.sort_by_cached_key(|(key, _)| rank(key));
    Ok(entries)
}

/// A row: a line for each key.
fn row(row: &Table, width: usize) -> anyhow::Result<String> {
    let name = declared_name(row).unwrap_or_default();
    let mut grid = Grid::new(vec![Column::new(""); 3]);
    for (key, value) in entries(row)? {
        let value = inline(&value, 1, 4 * width)?;
        grid.push(vec![Cell::from(""), key.to_string()?.into(), value.into()]);
    }
    Ok(format!("{}\n{}", name.trim_start_matches("qlua."), wrapped(&grid, width)))
}

/// The items to show of a list whose items are rows, or plain tables with names in the place of numbers.
fn list_of_rows(table: &Table) -> anyhow::Result<Option<Vec<Table>>> {
    let mut items = Vec::new();
    for at in 1..=table.raw_len().min(MOST_ROWS) {
        match table.raw_get(at)? {
            Value::Table(item)
                if item.raw_len() == 0 && (is_row(&item) || !item.is_empty() && !has_text(&item)) =>
            {
                items.push(item);
            }
            _ => return Ok(None),
        }
    }
    let has_names = table.raw_len() < MOST_ROWS && table.pairs::<Value, Value>().count() != table.raw_len();
    Ok(Some(items).filter(|items| !items.is_empty() && !has_names))
}

/// A table of `items`, the first of `count`: as many columns as have room.
fn rows(items: &[Table], count: usize, width: usize) -> anyhow::Result<String> {
    let mut keys: Vec<String> = Vec::new();
    let mut cells: Vec<Vec<(String, Cell)>> = Vec::new();
    for item in items {
        let mut row = Vec::new();
        for (key, value) in entries(item)? {
            let key = key.to_string()?;
            if !keys.contains(&key) {
                keys.push(key.clone());
            }
            row.push((key, cell(&value)?));
        }
        cells.push(row);
    }
    let grid_of = |chosen: &[&String]| {
        let columns = chosen.iter().map(|key| Column::new(key.as_str()));
        let mut grid =
            Grid::new([Column::new("").align(Align::Right)].into_iter().chain(columns).collect::<Vec<_>>());
        for (at, row) in cells.iter().enumerate() {
            let of = |key: &&String| {
                row.iter().find(|(own, _)| own == *key).map_or(Cell::Empty, |(_, cell)| cell.clone())
            };
            let number = Cell::from(at + 1);
            grid.push(std::iter::once(number).chain(chosen.iter().map(of)).collect::<Vec<_>>());
        }
        grid
    };
    let longest = |grid: &Grid| text(grid).lines().map(|line| line.chars().count()).max().unwrap_or(0);
    // The first column says which row it is; of the others first what decides, then those that are narrow, so that many are seen.
    let (first, others) = keys.split_at(keys.len().min(1));
    let mut by_width: Vec<&String> = others.iter().collect();
    by_width.sort_by_cached_key(|key| (!DECIDING.contains(&key.as_str()), longest(&grid_of(&[key]))));
    let mut chosen: Vec<&String> = first.iter().collect();
    for key in by_width {
        let mut wider: Vec<&String> = keys.iter().filter(|own| chosen.contains(own) || *own == key).collect();
        if longest(&grid_of(&wider)) <= width {
            std::mem::swap(&mut chosen, &mut wider);
        }
    }
    let left_out: Vec<&str> = keys.iter().filter(|key| !chosen.contains(key)).map(String::as_str).collect();
    let mut out = text(&grid_of(&chosen));
    if count > items.len() {
        out += &format!("… {} more\n", count - items.len());
    }
    if !left_out.is_empty() {
        out += &crate::report::table::wrap(&format!("no room for {}", left_out.join(", ")), width).join("\n");
    }
    Ok(out)
}

fn cell(value: &Value) -> anyhow::Result<Cell> {
    Ok(match value {
        Value::Integer(i) => Cell::Integer(*i),
        Value::Number(x) => Cell::Number(*x),
        Value::String(text) => {
            let text = text.to_string_lossy();
            // What tells the names of layers apart stands at their end.
            match text.contains(char::is_whitespace) {
                true => cut(&text, LONGEST_CELL).into(),
                false => end_of(&text, LONGEST_CELL).into(),
            }
        }
        Value::Table(table) if table.metatable().is_none() && (table.raw_len() > 0 || table.is_empty()) => {
            format!("list of {}", table.raw_len()).into()
        }
        Value::Table(table) if table.metatable().is_none() => "a table".into(),
        other => cut(&other.to_string()?, LONGEST_CELL).into(),
    })
}

/// A table that is no row, as a script would write it.
fn plain(table: &Table, width: usize) -> anyhow::Result<String> {
    let line = inline(&Value::Table(table.clone()), 0, width + 1)?;
    if line.chars().count() <= width && !line.contains('…') {
        return Ok(line);
    }
    let all = entries(table)?;
    let mut out = String::from("{\n");
    for (key, value) in all.iter().take(MOST_ROWS) {
        let text = format!("{}{}", name_of(key)?, inline(value, 1, width)?);
        out += &format!("  {},\n", cut(&text, width.saturating_sub(4)));
    }
    if all.len() > MOST_ROWS {
        out += &format!("  … {} more\n", all.len() - MOST_ROWS);
    }
    Ok(out + "}")
}

/// A value in one line of about `width` characters.
fn inline(value: &Value, depth: usize, width: usize) -> anyhow::Result<String> {
    let Value::Table(table) = value else { return word(value) };
    if has_text(table) {
        return Ok(value.to_string()?);
    }
    if depth == DEEPEST {
        return Ok("{ … }".into());
    }
    let mut line = String::from("{ ");
    for (at, (key, value)) in entries(table)?.iter().enumerate() {
        let is_next = matches!(key, Value::Integer(i) if usize::try_from(*i) == Ok(at + 1));
        if at > 0 {
            line += ", ";
        }
        if line.len() > width {
            return Ok(line + "… }");
        }
        if !is_next {
            line += &name_of(key)?;
        }
        line += &inline(value, depth + 1, width)?;
    }
    Ok(if line.len() == 2 { "{}".into() } else { line + " }" })
}

/// `name = `, or `[key] = ` where a key is no name.
fn name_of(key: &Value) -> anyhow::Result<String> {
    let text = word(key)?;
    let bare = text.trim_matches('"');
    let is_name = key.is_string()
        && !bare.starts_with(|c: char| c.is_ascii_digit())
        && !bare.is_empty()
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    Ok(if is_name { format!("{bare} = ") } else { format!("[{text}] = ") })
}

/// A value that is no table.
fn word(value: &Value) -> anyhow::Result<String> {
    Ok(match value {
        Value::String(text) => {
            let escaped = text.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{}\"", escaped.replace('\n', "\\n").replace('\t', "\\t"))
        }
        Value::Function(function) => {
            let info = function.info();
            let source = info.source.unwrap_or_default();
            match (source.trim_start_matches(['@', '=']), info.line_defined) {
                (name, Some(line)) if line > 0 && !name.starts_with('[') => {
                    format!("function: {name}:{line}")
                }
                _ => "function: of Lua".into(),
            }
        }
        // All digits, as Lua's source has them: told from an integer, and with an exponent where it is large or small.
        Value::Number(number) => format!("{number:?}"),
        other => other.to_string()?,
    })
}

fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.into(),
    }
}

fn end_of(text: &str, most: usize) -> String {
    let count = text.chars().count();
    match count > most {
        true => std::iter::once('…').chain(text.chars().skip(count + 1 - most)).collect(),
        false => text.into(),
    }
}
