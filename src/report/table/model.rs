//! Columns with their units, and rows of cells.

use crate::units::{self, ByteUnit};

/// What the numbers of a column are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Unit {
    /// Plain numbers: whole ones in full, others with six digits.
    #[default]
    None,
    /// Bytes, each with the unit that suits it.
    Bytes,
    /// Bytes in one unit, which the heading names.
    BytesIn(ByteUnit),
    /// Bits for a weight, with three decimals.
    Bits,
    /// Weights, as k, M or G.
    Weights,
    /// Large counts in words.
    Count,
    /// Scores, with three digits.
    Score,
    /// Shares of 1, as percentages.
    Share,
    /// Decibels, which the heading names.
    Decibels,
}

/// On which side the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Left, as text does.
    Left,
    /// Right, as numbers do.
    Right,
}

/// What stands in one place of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Cell {
    /// Nothing: a dash among numbers, empty among text.
    #[default]
    Empty,
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
}

/// A column: a heading, and how its cells are written.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// The heading, without the unit.
    pub title: String,
    /// What its numbers are.
    pub unit: Unit,
    /// Digits after the point of each number; `None` for as many as suit the unit.
    pub decimals: Option<usize>,
    /// Where its cells stand; `None` for the right when all are numbers.
    pub align: Option<Align>,
    /// Whether it has to be in view where there is little room: such columns come first.
    pub is_main: bool,
}

/// Columns and rows; a row may be shorter than there are columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The columns from left to right.
    pub columns: Vec<Column>,
    /// The rows from the top.
    pub rows: Vec<Vec<Cell>>,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Cell::from(count as u64)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        i64::try_from(count).map_or(Cell::Number(count as f64), Cell::Integer)
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Cell::Number(number)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(cell: Option<T>) -> Self {
        cell.map_or(Cell::Empty, Into::into)
    }
}

impl Column {
    /// A column of text, or of plain numbers.
    pub fn new(title: impl Into<String>) -> Self {
        Column { title: title.into(), unit: Unit::None, decimals: None, align: None, is_main: false }
    }

    /// The same for numbers of `unit`.
    pub fn of(title: impl Into<String>, unit: Unit) -> Self {
        Column { unit, ..Column::new(title) }
    }

    /// The same with `decimals` digits after the point.
    pub fn decimals(self, decimals: usize) -> Self {
        Column { decimals: Some(decimals), ..self }
    }

    /// The same with its cells on the side that `align` says.
    pub fn align(self, align: Align) -> Self {
        Column { align: Some(align), ..self }
    }

    /// The same as one that has to be in view where there is little room.
    pub fn main(self) -> Self {
        Column { is_main: true, ..self }
    }

    /// The heading, with the unit where the cells do not name it.
    pub(super) fn heading(&self) -> String {
        match self.unit {
            Unit::BytesIn(unit) => format!("{} ({})", self.title, unit.name),
            Unit::Decibels => format!("{} (dB)", self.title),
            _ => self.title.clone(),
        }
    }

    /// The text of `cell` in this column, whose cells stand where `align` says.
    pub fn text(&self, cell: &Cell, align: Align) -> String {
        match cell {
            Cell::Empty if align == Align::Right => "–".into(),
            Cell::Empty => String::new(),
            Cell::Text(text) => text.clone(),
            Cell::Integer(count) if (self.unit, self.decimals) == (Unit::None, None) => count.to_string(),
            Cell::Integer(count) => self.number(*count as f64),
            Cell::Number(value) => self.number(*value),
        }
    }

    fn number(&self, value: f64) -> String {
        let has_own_word = matches!(self.unit, Unit::Decibels | Unit::Score);
        if let (Some(word), false) = (units::not_finite(value), has_own_word) {
            return word.into();
        }
        // Sizes and counts are whole; what is below 0 keeps its sign.
        let whole = |write: &dyn Fn(u64) -> String| {
            let text = write(value.abs().round() as u64);
            if value < 0.0 { format!("-{text}") } else { text }
        };
        match (self.unit, self.decimals) {
            (Unit::None, None) => units::number(value),
            (Unit::None, Some(decimals)) => format!("{value:.decimals$}"),
            (Unit::Bytes, None) => whole(&units::bytes),
            (Unit::Bytes, Some(decimals)) => whole(&|n| units::bytes_to(n, decimals)),
            (Unit::BytesIn(unit), None) => whole(&|n| unit.number(n)),
            (Unit::BytesIn(unit), Some(decimals)) => whole(&|n| format!("{:.decimals$}", unit.value(n))),
            (Unit::Bits, decimals) => format!("{value:.*}", decimals.unwrap_or(3)),
            (Unit::Weights, None) => whole(&units::weights),
            (Unit::Weights, Some(decimals)) => whole(&|n| units::weights_to(n, decimals)),
            (Unit::Count, _) => whole(&units::count),
            (Unit::Score, None) => units::score(value),
            (Unit::Score, Some(decimals)) => units::score_to(value, decimals),
            (Unit::Share, decimals) => format!("{:.*} %", decimals.unwrap_or(1), value * 100.0),
            (Unit::Decibels, None) => units::decibels(value),
            (Unit::Decibels, Some(decimals)) if value.is_finite() => format!("{value:.decimals$}"),
            (Unit::Decibels, Some(_)) => units::decibels(value),
        }
    }
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Table { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: impl Into<Vec<Cell>>) {
        self.rows.push(row.into());
    }

    /// Leaves out the columns for which `shown` is false, in the order of the columns.
    pub fn retain_columns(&mut self, shown: &[bool]) {
        let is_shown = |at: usize| shown.get(at).copied().unwrap_or(true);
        let mut at = 0..;
        self.columns.retain(|_| is_shown(at.next().unwrap_or(0)));
        for row in &mut self.rows {
            let mut at = 0..;
            row.retain(|_| is_shown(at.next().unwrap_or(0)));
        }
    }

    /// Where the cells of the column stand.
    pub(super) fn align_of(&self, column: usize) -> Align {
        let cells = || self.rows.iter().filter_map(|row| row.get(column));
        let is_text = |cell: &Cell| matches!(cell, Cell::Text(_));
        let is_number = |cell: &Cell| matches!(cell, Cell::Integer(_) | Cell::Number(_));
        match self.columns[column].align {
            Some(align) => align,
            None if cells().any(is_number) && !cells().any(is_text) => Align::Right,
            None => Align::Left,
        }
    }

    /// The text of the cell in `row` and `column`.
    pub(super) fn text(&self, row: &[Cell], column: usize) -> String {
        self.columns[column].text(row.get(column).unwrap_or(&Cell::Empty), self.align_of(column))
    }

    /// The headings, and the texts of all cells.
    pub(super) fn texts(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let header = self.columns.iter().map(Column::heading).collect();
        let row = |row: &Vec<Cell>| (0..self.columns.len()).map(|at| self.text(row, at)).collect();
        (header, self.rows.iter().map(row).collect())
    }
}

/// The width of each column in characters.
pub(super) fn widths(header: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let width =
        |at: usize| rows.iter().map(|row| &row[at]).chain([&header[at]]).map(|c| c.chars().count()).max();
    (0..header.len()).map(|at| width(at).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(column: Column, cells: Vec<Cell>) -> (Align, Vec<String>) {
        let mut table = Table::new([column]);
        cells.into_iter().for_each(|cell| table.push([cell]));
        (table.align_of(0), table.texts().1.concat())
    }

    #[test]
    fn numbers_are_written_by_the_unit_of_their_column() {
        let (align, texts) =
            cells(Column::of("", Unit::Bytes), vec![Cell::Integer(7_509_245_952), Cell::Number(-2e3)]);
        assert_eq!((align, texts), (Align::Right, vec!["7.51 GB".into(), "-2.0 kB".into()]));
        let (_, texts) =
            cells(Column::of("", Unit::Score), vec![1.12.into(), f64::INFINITY.into(), f64::NAN.into()]);
        assert_eq!(texts, ["1.12", units::NOT_FINITE, units::NOT_FINITE]);
        let (_, texts) = cells(Column::new(""), vec![f64::INFINITY.into(), f64::NAN.into()]);
        assert_eq!(texts, ["infinite", "not a number"]);
        let (_, texts) = cells(Column::new(""), vec![Cell::Integer(12_345_678), (0.1 + 0.2).into()]);
        assert_eq!(texts, ["12345678", "0.3"]);
    }

    #[test]
    fn decimals_hold_for_every_number_of_the_column() {
        let (_, texts) = cells(Column::new("").decimals(2), vec![Cell::Integer(3), 2.0f64.sqrt().into()]);
        assert_eq!(texts, ["3.00", "1.41"]);
        let (_, texts) = cells(Column::of("", Unit::Bytes).decimals(3), vec![Cell::Integer(7_509_245_952)]);
        assert_eq!(texts, ["7.509 GB"]);
        let (_, texts) = cells(Column::of("", Unit::Bits).decimals(0), vec![10.5.into()]);
        assert_eq!(texts, ["10"]);
    }

    #[test]
    fn what_is_missing_is_a_dash_among_numbers_alone() {
        assert_eq!(cells(Column::new(""), vec![Cell::Empty, Cell::Integer(1)]).1, ["–", "1"]);
        assert_eq!(cells(Column::new(""), vec![Cell::Empty, "a".into()]).1, ["", "a"]);
        assert_eq!(cells(Column::new(""), vec![Cell::Empty]).0, Align::Left);
    }
}
