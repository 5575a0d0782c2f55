//! The report in short, as Markdown.

use super::data::DirectoryReport;
use super::side_by_side;
use crate::report::sweep::markdown_chapters;
use crate::report::table::markdown;
use crate::shown;

impl DirectoryReport {
    /// The report in short, as Markdown.
    pub fn to_markdown(&self) -> String {
        let summaries: Vec<String> = self.summaries().iter().map(|said| line(said)).collect();
        let mut text = format!("# Sweep report: {}\n\n{}\n\n", line(&self.title()), summaries.join("\n\n"));
        for note in &self.notes {
            text.push_str(&format!("- {}\n", line(note)));
        }
        if side_by_side::families(self).len() > 1 {
            let table = markdown(&side_by_side::table(self));
            text.push_str(&format!("\n## Families side by side\n{table}\n{}\n\n", side_by_side::words(self)));
        }
        match &self.sweeps[..] {
            [only] => text.push_str(&markdown_chapters(only)),
            sweeps => {
                for (sweep, name) in sweeps.iter().zip(self.sweep_titles()) {
                    let chapters = markdown_chapters(sweep).replace("\n## ", "\n### ");
                    text.push_str(&format!("\n## {}\n{chapters}", line(&name)));
                }
            }
        }
        text.push_str("\n`report.html` shows the same with charts and heat maps.\n");
        shown::lines(&text).into_owned()
    }
}

/// `text` on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
