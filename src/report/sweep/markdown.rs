//! The report in short, as Markdown.

use super::tables::{self, Table};
use super::{Sweep, words};
use crate::report::markdown_table;

/// The whole document.
pub(super) fn report(sweep: &Sweep) -> String {
    let mut text = format!("# Sweep report: {}\n\n{}\n\n", line(&sweep.title), words::summary(sweep));
    for (label, value) in &sweep.facts {
        text.push_str(&format!("- {label}: {}\n", line(value)));
    }
    if !sweep.schemes.is_empty() {
        text.push_str(&format!("\n## Schemes\n{}\n", table(&tables::schemes(sweep))));
        if let Some(naming) = words::naming(sweep) {
            text.push_str(&format!("{naming} "));
        }
        text.push_str(&format!("{} {}\n", words::columns(sweep), words::UNITS));
        text.push_str(&format!("\n## Groups in FP8 by part of the model\n{}", table(&tables::parts(sweep))));
    }
    text.push_str(&format!("\n## The most sensitive groups\n{}", table(&tables::most_sensitive(sweep))));
    text.push_str("\n## Weight error\n");
    match sweep.layer_errors.as_deref() {
        Some(layers) if !layers.is_empty() => {
            text.push_str(&format!("{}\n\n{}", words::WEIGHT_ERROR, table(&tables::worst_layers(layers))));
        }
        _ => text.push_str(&format!("{}\n", words::NOT_MEASURED)),
    }
    text.push_str("\n`report.html` shows the same with charts and heat maps.\n");
    text
}

fn table(table: &Table) -> String {
    let cells = |row: &Vec<String>| row.iter().map(|c| c.replace('|', "\\|")).collect::<Vec<_>>();
    markdown_table(&table.header, &table.rows.iter().map(cells).collect::<Vec<_>>(), &table.right)
}

/// `text` on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
