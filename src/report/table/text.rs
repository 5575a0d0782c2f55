//! Tables for a terminal.

use super::model::{Align, Table, widths};
use crate::shown;

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
}
