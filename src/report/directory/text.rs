//! The report in short, for a terminal.

use super::data::DirectoryReport;
use super::side_by_side;
use crate::report::sweep::{SweepReport, scheme_table, scheme_words};
use crate::report::table::{Table, text};

impl DirectoryReport {
    /// What decides, in tables no wider than `width` columns where that leaves out no more than the columns that come last.
    pub fn to_text(&self, width: usize) -> String {
        let mut said = format!("{}\n{}\n", self.title(), self.summary());
        for note in &self.notes {
            said.push_str(&format!("warning: {note}\n"));
        }
        if side_by_side::families(self).len() > 1 {
            said.push_str(&format!("\n{}", fitted(side_by_side::table(self), width)));
        }
        for (sweep, title) in self.sweeps.iter().zip(self.sweep_titles()) {
            let title = if self.sweeps.len() > 1 { format!("{title}\n") } else { String::new() };
            said.push_str(&format!("\n{title}{}{}", fitted(scheme_table(sweep), width), words(sweep)));
        }
        said
    }
}

fn words(sweep: &SweepReport) -> String {
    scheme_words(sweep).map_or_else(String::new, |words| format!("{words}\n"))
}

/// `table` without the last columns that `width` has no room for; main columns stay.
fn fitted(mut table: Table, width: usize) -> String {
    loop {
        let said = text(&table);
        let is_wide = said.lines().any(|line| line.chars().count() > width);
        let last = table.columns.len().saturating_sub(1);
        if !is_wide || table.columns.get(last).is_none_or(|column| column.is_main) {
            return said;
        }
        let shown: Vec<bool> = (0..=last).map(|at| at < last).collect();
        table.retain_columns(&shown);
    }
}
