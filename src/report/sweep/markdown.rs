//! The report in short, as Markdown.

use super::data::SweepReport;
use super::{quality, tables, words};
use crate::report::table::markdown;
use crate::shown;

impl SweepReport {
    /// The report in short, as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("# Sweep report: {}\n\n{}\n\n", line(&self.title), words::summary(self));
        for (label, value) in &self.facts {
            text.push_str(&format!("- {label}: {}\n", line(value)));
        }
        if !self.schemes.is_empty() {
            text.push_str(&format!("\n## Schemes\n{}\n", markdown(&tables::schemes(self))));
            if let Some(naming) = words::naming(self) {
                text.push_str(&format!("{naming} "));
            }
            text.push_str(&format!("{} {}\n", words::columns(self), words::UNITS));
            let parts = markdown(&tables::parts(self));
            text.push_str(&format!("\n## Groups in FP8 by part of the model\n{parts}"));
        }
        if quality::is_measured(self) {
            let measured = markdown(&quality::table(self));
            text.push_str(&format!(
                "\n## Quality against size\n{measured}\n{} {}\n",
                quality::words(self),
                quality::KNEE
            ));
        }
        text.push_str(&format!(
            "\n## The most sensitive groups\n{}",
            markdown(&tables::most_sensitive(self))
        ));
        text.push_str("\n## Weight error\n");
        match self.layer_errors.as_deref() {
            Some(layers) if !layers.is_empty() => {
                let worst = markdown(&tables::worst_layers(layers));
                text.push_str(&format!("{}\n\n{worst}", words::WEIGHT_ERROR));
            }
            _ => text.push_str(&format!("{}\n", words::NOT_MEASURED)),
        }
        text.push_str("\n`report.html` shows the same with charts and heat maps.\n");
        shown::lines(&text).into_owned()
    }
}

/// `text` on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
