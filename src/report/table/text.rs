//! Tables for a terminal.

use std::collections::BTreeSet;

use super::model::{Align, Cell, Table, widths};
use crate::shown;

/// The least columns that the last cell of a row is wrapped to, beside the other cells or below them.
const LEAST: usize = 30;

/// Columns two spaces apart below their headings; without headings where all are empty.
pub fn text(table: &Table) -> String {
    let (mut header, mut rows) = table.texts();
    for cell in header.iter_mut().chain(rows.iter_mut().flatten()) {
        *cell = shown::line(cell).into_owned();
    }
    let widths = widths(&header, &rows);
    let aligns: Vec<Align> = (0..widths.len()).map(|at| table.align_of(at)).collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).zip(&aligns).map(|((cell, &width), align)| match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let header = [header].into_iter().filter(|titles| titles.iter().any(|title| !title.is_empty()));
    header.chain(rows).map(|cells| line(&cells)).collect()
}

/// [`text`] in lines of at most `width` characters, with a last line that names what there is no room for: the first column stays, then
/// as many of the main ones have their place as there is room for, then as many of the others. A last column of text that is too long
/// is wrapped between its words where there is room beside the others; names in the first column that leave no room for the main ones
/// lose their middle, as long as no two become one.
pub fn fitted(table: &Table, width: usize) -> String {
    let table = &shortened(table, width);
    let with = |shown: &[bool]| {
        let mut table = table.clone();
        table.retain_columns(shown);
        table
    };
    let mut shown: Vec<bool> = (0..table.columns.len()).map(|at| at == 0).collect();
    let is_main = |at: &usize| table.columns[*at].is_main;
    let (main, others): (Vec<usize>, Vec<usize>) = (1..table.columns.len()).partition(is_main);
    for at in main.into_iter().chain(others) {
        shown[at] = true;
        shown[at] = longest(&text(&with(&shown))) <= width;
    }
    let mut out = text(&with(&shown));
    if let Some(last) = shown.len().checked_sub(1).filter(|last| !shown[*last]) {
        let only: Vec<bool> = (0..shown.len()).map(|at| at == last).collect();
        if let Some(beside) = wrapped_beside(&out, &with(&only), width) {
            (out, shown[last]) = (beside, true);
        }
    }
    let titles = table.columns.iter().zip(&shown).filter(|(_, shown)| !**shown);
    let mut left_out: Vec<String> = Vec::new();
    for title in titles.map(|(column, _)| format!("`{}`", column.title)) {
        if !left_out.contains(&title) {
            left_out.push(title);
        }
    }
    if !left_out.is_empty() {
        out += &wrap(&format!("no room for {}", left_out.join(", ")), width).join("\n");
        out.push('\n');
    }
    out
}

/// `table` with the text of its first column cut so that its main columns have room; as it was where that cannot be.
fn shortened(table: &Table, width: usize) -> Table {
    let main: Vec<bool> =
        table.columns.iter().enumerate().map(|(at, column)| at == 0 || column.is_main).collect();
    let mut shown = table.clone();
    shown.retain_columns(&main);
    let name = |row: &Vec<Cell>| match row.first() {
        Some(Cell::Text(name)) => Some(shown::line(name).into_owned()),
        _ => None,
    };
    let names: Vec<Option<String>> = table.rows.iter().map(name).collect();
    let widest = names.iter().flatten().map(|name| name.chars().count()).max().unwrap_or(0);
    let too_much = longest(&text(&shown)).saturating_sub(width);
    let room = widest.saturating_sub(too_much);
    if too_much == 0 || room < LEAST {
        return table.clone();
    }
    let cut: Vec<Option<String>> =
        names.iter().map(|name| name.as_ref().map(|name| without_middle(name, room))).collect();
    let distinct = |names: &[Option<String>]| names.iter().flatten().collect::<BTreeSet<_>>().len();
    let mut narrow = table.clone();
    if distinct(&cut) == distinct(&names) {
        for (row, name) in narrow.rows.iter_mut().zip(cut) {
            row.splice(..name.iter().len(), name.map(Cell::Text));
        }
    }
    narrow
}

/// `name` in at most `room` characters: a third of them of its beginning, the others of its end, which tells names apart.
fn without_middle(name: &str, room: usize) -> String {
    let count = name.chars().count();
    if count <= room {
        return name.to_string();
    }
    let beginning = room / 3;
    let end = room - beginning - 1;
    let parts = |from: usize, many: usize| name.chars().skip(from).take(many).collect::<String>();
    format!("{}…{}", parts(0, beginning), parts(count - end, end))
}

/// `lines`, a table, with the one column of `last` to their right, wrapped between its words; `None` where it has numbers, or there is
/// no room.
fn wrapped_beside(lines: &str, last: &Table, width: usize) -> Option<String> {
    let indent = longest(lines) + 2;
    let room = width.checked_sub(indent).filter(|room| *room >= LEAST)?;
    let beside = text(last);
    if last.align_of(0) != Align::Left || lines.lines().count() != beside.lines().count() {
        return None;
    }
    let mut out = String::new();
    for (line, cell) in lines.lines().zip(beside.lines()) {
        let mut before = line;
        for part in wrap(cell, room) {
            out += format!("{before:indent$}{part}").trim_end();
            out.push('\n');
            before = "";
        }
    }
    (longest(&out) <= width).then_some(out)
}

/// The characters of the longest of `lines`.
fn longest(lines: &str) -> usize {
    lines.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Columns two spaces apart, without headings, in lines of at most `width` characters: the last cell of each row is wrapped
/// between its words. Where the cells before it take too much of the width, it begins on the next line.
pub fn wrapped(table: &Table, width: usize) -> String {
    let (_, mut rows) = table.texts();
    rows.iter_mut().flatten().for_each(|cell| *cell = shown::line(cell).into_owned());
    let room = width.saturating_sub(LEAST).min(width / 2 + 4);
    let length = |cells: &[String]| cells.iter().map(|cell| cell.chars().count() + 2).sum::<usize>();
    let is_narrow = |cells: &&Vec<String>| length(&cells[..cells.len().saturating_sub(1)]) <= room;
    // Those that are wide make nobody else's columns so.
    let narrow: Vec<Vec<String>> = rows.iter().filter(is_narrow).cloned().collect();
    let columns = widths(&vec![String::new(); table.columns.len()], &narrow);
    let before = |columns: &[usize]| columns.iter().map(|column| column + 2).sum::<usize>();
    let indent = before(&columns[..columns.len().saturating_sub(1)]).min(room);
    let mut out = String::new();
    for row in &rows {
        let Some((last, others)) = row.split_last() else { continue };
        let mut line = String::new();
        for (cell, column) in others.iter().zip(&columns) {
            line += &format!("{cell:<column$}  ");
        }
        let fits = line.chars().count() <= indent;
        if !fits {
            out += line.trim_end();
            out.push('\n');
            line.clear();
        }
        line += &" ".repeat(indent - line.chars().count().min(indent));
        for part in wrap(last, width.saturating_sub(indent).max(LEAST)) {
            line += &part;
            out += line.trim_end();
            out.push('\n');
            line = " ".repeat(indent);
        }
    }
    out
}

/// `text` with its lines broken between words where they have more than `width` characters: what follows is indented by two more than
/// the line is, so that it is told from the next one.
pub fn wrap_lines(text: &str, width: usize) -> String {
    let line = |line: &str| {
        let words = line.trim_start_matches(' ');
        let indent = line.len() - words.len();
        if line.chars().count() <= width || indent + LEAST > width {
            return line.to_string();
        }
        // The first part may be longer by as much as the others are indented.
        let first = wrap(words, width - indent).swap_remove(0);
        let rest = words[first.len()..].trim_start_matches(' ');
        let more = wrap(rest, width - indent - 2);
        let more =
            more.iter().filter(|part| !part.is_empty()).map(|part| format!("\n{:indent$}  {part}", ""));
        format!("{:indent$}{first}{}", "", more.collect::<String>())
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// `text` in lines of at most `width` characters, broken between words; a longer word has a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            lines.push(String::new());
            column = 0;
        }
        if let Some(line) = lines.last_mut() {
            if column > 0 {
                line.push(' ');
                column += 1;
            }
            line.push_str(word);
            column += length;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::model::Column;
    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_stands_behind_the_last_word() {
        let mut table = Table::new(["name", "count", "what"].map(Column::new));
        table.push(["a".into(), 10usize.into(), "first".into()]);
        table.push(["long".into(), 5usize.into(), "".into()]);
        assert_eq!(text(&table), "name  count  what\na        10  first\nlong      5\n");
        table.columns.iter_mut().for_each(|column| column.title.clear());
        assert_eq!(text(&table), "a     10  first\nlong   5\n");
    }

    #[test]
    fn long_lines_are_broken_between_words_and_what_follows_is_indented() {
        let long = "words of a sentence that is longer than thirty-four\n  hint: of another that is as long as that\nshort";
        let expected = "words of a sentence that is longer\n  than thirty-four\n  hint: of another that is as long\n    as that\nshort";
        assert_eq!(wrap_lines(long, 34), expected);
        let path = "a/path/without/any/place/to/break/it/in";
        assert_eq!(wrap_lines(&format!("in {path}"), 32), format!("in\n  {path}"));
        assert_eq!(wrap_lines(path, 32), path);
        assert_eq!(
            wrap_lines("a narrow terminal is left to itself", 20),
            "a narrow terminal is left to itself"
        );
    }

    #[test]
    fn main_columns_have_room_before_others() {
        let columns =
            [Column::new("name"), Column::new("wide enough"), Column::new("n"), Column::new("size").main()];
        let mut table = Table::new(columns);
        table.push(["a_long_name".into(), 1usize.into(), 2usize.into(), 3usize.into()]);
        assert_eq!(fitted(&table, 80), text(&table));
        assert_eq!(
            fitted(&table, 21),
            "name         n  size\na_long_name  2     3\nno room for `wide\nenough`\n"
        );
        assert_eq!(fitted(&table, 17).lines().next(), Some("name         size"));
        assert_eq!(fitted(&table, 5).lines().next(), Some("name"));
    }

    #[test]
    fn long_names_lose_their_middle_for_the_main_columns_and_stay_apart() {
        let mut table = Table::new([Column::new("scheme"), Column::new("size").main(), Column::new("n")]);
        let name = |percent: usize| format!("fp8_autoquant_a_name_of_many_words_top{percent}_coco2017");
        table.push([name(10).into(), 100usize.into(), 1usize.into()]);
        table.push([name(20).into(), 90usize.into(), 2usize.into()]);
        let expected = format!(
            "{:<34}  size\nfp8_autoqua…y_words_top10_coco2017   100\nfp8_autoqua…y_words_top20_coco2017    90\nno room for `n`\n",
            "scheme"
        );
        assert_eq!(fitted(&table, 40), expected);
        // What differs in the middle alone is not cut.
        table.push([name(10).replace("quant_a", "quant_b").into(), 80usize.into(), 3usize.into()]);
        assert!(fitted(&table, 40).contains(&name(10)));
    }

    #[test]
    fn a_last_column_of_text_is_wrapped_beside_the_others() {
        let mut table = Table::new(["n", "what comes next"].map(Column::new));
        table.push([1usize.into(), "layers.0.q_proj, layers.0.k_proj, layers.0.v_proj".into()]);
        table.push([20usize.into(), "".into()]);
        let expected =
            " n  what comes next\n 1  layers.0.q_proj, layers.0.k_proj,\n    layers.0.v_proj\n20\n";
        assert_eq!(fitted(&table, 40), expected);
        assert_eq!(fitted(&table, 30), " n\n 1\n20\nno room for `what comes next`\n");
        table.push([3usize.into(), "a_word_that_is_longer_than_the_room_for_it".into()]);
        assert!(fitted(&table, 40).ends_with("no room for `what comes next`\n"));
    }

    #[test]
    fn the_last_column_is_wrapped_between_words_and_a_wide_row_takes_two_lines() {
        let mut table = Table::new(vec![Column::new(""); 2]);
        table.push(["name".into(), "what it does, in more words than there is room for".into()]);
        let wide = "a_name_that_is_far_too_wide_for_its_column";
        table.push([wide.into(), "short".into()]);
        let expected =
            format!("name  what it does, in more words than\n      there is room for\n{wide}\n      short\n");
        assert_eq!(wrapped(&table, 40), expected);
        assert_eq!(wrap("a word_that_is_long b", 6), ["a", "word_that_is_long", "b"]);
    }
}
