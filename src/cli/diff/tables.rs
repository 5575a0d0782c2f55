//! What the texts of `qlua diff` have in common.

use serde_json::Value;

use crate::diff::KeyChange;
use crate::report::table::{Cell, Table, text};
use crate::shown;

/// How many rows of a table are shown; `--json` has all.
pub(super) const ROWS: usize = 20;
/// How many characters of a value are shown.
const LONGEST: usize = 60;

/// A heading and the first rows of `table` below it; nothing where there are none.
pub(super) fn section(title: &str, mut table: Table) -> String {
    let count = table.rows.len();
    if count == 0 {
        return String::new();
    }
    table.rows.truncate(ROWS);
    let lines: String = text(&table).lines().map(|line| format!("  {line}\n")).collect();
    let more = match count.saturating_sub(ROWS) {
        0 => String::new(),
        more => format!("  … and {more} more: --json has all\n"),
    };
    format!("\n{title}\n{lines}{more}")
}

/// Both sides of a change as cells.
pub(super) fn sides(change: &KeyChange) -> [Cell; 2] {
    [&change.a, &change.b].map(|side| Cell::Text(side.as_ref().map_or("–".into(), value)))
}

/// A value of a configuration on one line.
fn value(value: &Value) -> String {
    let text = value.to_string();
    let text = shown::line(&text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// `one` where both are the same, else `one → other`.
pub(super) fn arrow(one: String, other: String) -> String {
    if one == other { one } else { format!("{one} → {other}") }
}

/// Those of `counted` that there are, in one sentence.
pub(super) fn sentence(counted: impl IntoIterator<Item = (usize, String)>) -> String {
    let said = counted.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text);
    said.collect::<Vec<_>>().join(", ")
}
