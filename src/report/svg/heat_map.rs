//! A heat map: sections of rows over numbered columns.

use super::canvas::{Anchor, Canvas};

/// A coloured rectangle.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// The row in its section.
    pub row: usize,
    /// The column, counted from 0.
    pub column: usize,
    /// The class that gives the colour.
    pub class: String,
    /// What shows when pointed at.
    pub title: String,
}

/// Rows that share a heading.
#[derive(Debug, Clone, Default)]
pub struct Section {
    /// The heading; empty for none.
    pub heading: String,
    /// The labels of the rows.
    pub rows: Vec<String>,
    /// What stands below the columns, as far as there is room; empty for nothing.
    pub columns: Vec<String>,
    /// The tiles, at most one for a row and column.
    pub tiles: Vec<Tile>,
}

/// Sections one below the other, their columns in line.
#[derive(Debug, Clone)]
pub struct HeatMap {
    /// The sections, from the top.
    pub sections: Vec<Section>,
    /// Width of the drawing in units.
    pub width: f64,
    /// Height of a row in units.
    pub row_height: f64,
    /// Size of the text in units; the class `small` or `map` must say the same.
    pub text_size: f64,
    /// The class of all text.
    pub text_class: &'static str,
}

/// A tile is at most this many times as wide as high, so that a model of few blocks does not become a flag.
const WIDEST: f64 = 1.6;

impl HeatMap {
    /// The `<svg>` element.
    pub fn draw(&self, description: &str) -> String {
        let labels = self.sections.iter().flat_map(|s| &s.rows).map(|r| r.chars().count());
        let left = (labels.max().unwrap_or(0) as f64 * self.text_size * 0.58 + 8.0).min(self.width * 0.45);
        let columns = self.sections.iter().flat_map(|s| &s.tiles).map(|c| c.column + 1).max().unwrap_or(1);
        let size = ((self.width - left - 6.0) / columns as f64).min(self.row_height * WIDEST);
        let heights = self.sections.iter().map(|s| self.height_of(s));
        let mut canvas = Canvas::new(self.width, heights.sum::<f64>() + 2.0);
        let mut top = 0.0;
        for section in &self.sections {
            self.draw_section(&mut canvas, section, top, left, size);
            top += self.height_of(section);
        }
        canvas.finish(description)
    }

    fn line(&self) -> f64 {
        self.text_size * 1.5
    }

    fn height_of(&self, section: &Section) -> f64 {
        let lines = u8::from(!section.heading.is_empty()) + u8::from(!section.columns.is_empty());
        section.rows.len() as f64 * self.row_height + f64::from(lines) * self.line() + self.text_size * 0.4
    }

    fn draw_section(&self, canvas: &mut Canvas, section: &Section, top: f64, left: f64, size: f64) {
        let mut y = top;
        if !section.heading.is_empty() {
            let class = format!("{} heading", self.text_class);
            canvas.text(&class, (left, y + self.text_size * 1.1), Anchor::Start, &section.heading);
            y += self.line();
        }
        for (row, label) in section.rows.iter().enumerate() {
            let base = y + (row as f64 + 0.5) * self.row_height + self.text_size * 0.36;
            canvas.text(self.text_class, (left - 5.0, base), Anchor::End, label);
        }
        let gap = if size > 6.0 { 1.0 } else { 0.4 };
        for tile in &section.tiles {
            let at = (left + tile.column as f64 * size, y + tile.row as f64 * self.row_height);
            canvas.rectangle(&tile.class, at, (size - gap, self.row_height - 1.0), &tile.title);
        }
        let base = y + section.rows.len() as f64 * self.row_height + self.text_size * 1.15;
        let every = self.labels_every(&section.columns, size);
        for (column, label) in section.columns.iter().enumerate().step_by(every) {
            let x = left + (column as f64 + 0.5) * size - gap / 2.0;
            canvas.text(self.text_class, (x, base), Anchor::Middle, label);
        }
    }

    /// The distance between column labels that leaves room between them: 1, 2, 5, 10, …
    fn labels_every(&self, columns: &[String], size: f64) -> usize {
        let characters = columns.iter().map(|c| c.chars().count()).max().unwrap_or(0) as f64;
        let needed = (characters + 2.0) * self.text_size * 0.6 / size;
        let mut steps = (0..6).flat_map(|power| [1, 2, 5].map(|factor| factor * 10usize.pow(power)));
        steps.find(|&step| step as f64 >= needed).unwrap_or(columns.len().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(blocks: usize) -> HeatMap {
        let tiles = (0..blocks).map(|column| Tile {
            row: 0,
            column,
            class: "fp8".into(),
            title: format!("block {column}"),
        });
        let section = Section {
            heading: "language".into(),
            rows: vec!["o_proj".into()],
            columns: (0..blocks).map(|block| block.to_string()).collect(),
            tiles: tiles.collect(),
        };
        HeatMap {
            sections: vec![section],
            width: 340.0,
            row_height: 11.0,
            text_size: 9.0,
            text_class: "small",
        }
    }

    #[test]
    fn every_tile_is_drawn_and_numbers_have_room() {
        for (blocks, numbers) in [(4, 4), (36, 8), (128, 7)] {
            let svg = map(blocks).draw("d");
            assert_eq!(svg.matches("<rect").count(), blocks);
            assert_eq!(svg.matches(r#"text-anchor="middle""#).count(), numbers, "{blocks} blocks");
        }
    }

    #[test]
    fn few_columns_do_not_become_wide_bars() {
        assert!(map(2).draw("d").contains(r#"width="16.6""#), "{}", map(2).draw("d"));
    }
}
