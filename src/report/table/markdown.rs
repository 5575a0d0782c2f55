//! Tables as Markdown.

use super::model::{Align, Table, widths};
use crate::shown;

/// A Markdown table with aligned columns, which reads well as plain text too.
pub fn markdown(table: &Table) -> String {
    let (header, rows) = escaped(table);
    // A rule has three dashes at least.
    let widths: Vec<usize> = widths(&header, &rows).into_iter().map(|width| width.max(3)).collect();
    let is_right = |column: usize| table.align_of(column) == Align::Right;
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match is_right(at) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rules: Vec<String> = widths
        .iter()
        .enumerate()
        .map(
            |(at, &width)| {
                if is_right(at) { format!("{}:", "-".repeat(width - 1)) } else { "-".repeat(width) }
            },
        )
        .collect();
    let rows = rows.iter().map(|row| line(row));
    [line(&header), line(&rules)].into_iter().chain(rows).collect()
}

/// A Markdown table without spaces, all columns to the left: the layout of AutoQuant's published tables.
pub fn compact_markdown(table: &Table) -> String {
    let (header, rows) = escaped(table);
    let line = |cells: &[String]| format!("|{}|\n", cells.join("|"));
    let rule = format!("|{}\n", " :--- |".repeat(header.len()));
    let rows = rows.iter().map(|row| line(row));
    [line(&header), rule].into_iter().chain(rows).collect()
}

/// The texts of `table` in which nothing ends a cell or a row.
fn escaped(table: &Table) -> (Vec<String>, Vec<Vec<String>>) {
    let (mut header, mut rows) = table.texts();
    for cell in header.iter_mut().chain(rows.iter_mut().flatten()) {
        *cell = shown::markdown_cell(cell);
    }
    (header, rows)
}

#[cfg(test)]
mod tests {
    use super::super::model::{Column, Unit};
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Column::new("name"), Column::of("GB", Unit::Bits).decimals(1)]);
        table.push(["a|b".into(), 10.5.into()]);
        table.push(["long name".into(), 1.0.into()]);
        table
    }

    #[test]
    fn columns_are_aligned_and_numbers_stand_right() {
        let expected =
            "| name      |   GB |\n| --------- | ---: |\n| a\\|b      | 10.5 |\n| long name |  1.0 |\n";
        assert_eq!(markdown(&table()), expected);
    }

    #[test]
    fn the_published_layout_has_no_padding() {
        let expected = "|name|GB|\n| :--- | :--- |\n|a\\|b|10.5|\n|long name|1.0|\n";
        assert_eq!(compact_markdown(&table()), expected);
    }
}
