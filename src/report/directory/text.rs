//! The report in short, for a terminal.

use super::data::DirectoryReport;
use super::side_by_side;
use crate::report::sweep::{SweepReport, scheme_table, scheme_words};
use crate::report::table::{fitted, wrap};

impl DirectoryReport {
    /// What decides, in lines of at most `width` columns.
    pub fn to_text(&self, width: usize) -> String {
        let mut said = format!(
            "{}\n{}\n",
            self.title(),
            self.summaries().iter().map(|said| wrap(said, width).join("\n")).collect::<Vec<_>>().join("\n")
        );
        for note in &self.notes {
            said.push_str(&format!("warning: {note}\n"));
        }
        if side_by_side::families(self).len() > 1 {
            said.push_str(&format!("\n{}", fitted(&side_by_side::table(self), width)));
        }
        for (sweep, title) in self.sweeps.iter().zip(self.sweep_titles()) {
            let title = if self.sweeps.len() > 1 {
                format!("{}\n", wrap(&title, width).join("\n"))
            } else {
                String::new()
            };
            said.push_str(&format!(
                "\n{title}{}{}",
                fitted(&scheme_table(sweep), width),
                words(sweep, width)
            ));
        }
        said
    }
}

fn words(sweep: &SweepReport, width: usize) -> String {
    scheme_words(sweep).map_or_else(String::new, |words| format!("{}\n", wrap(&words, width).join("\n")))
}
