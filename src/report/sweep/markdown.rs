//! The report in short, as Markdown.

use super::data::SweepReport;
use super::{commands, quality, tables, words};
use crate::plan::KNEE;
use crate::report::table::markdown;
use crate::shown;

/// The chapters of `sweep` in short, below headings of the second level.
pub(in crate::report) fn markdown_chapters(sweep: &SweepReport) -> String {
    let mut text = String::new();
    for (label, value) in &sweep.facts {
        text.push_str(&format!("- {label}: {}\n", line(value)));
    }
    if !sweep.schemes.is_empty() {
        text.push_str(&format!("\n## Schemes\n{}\n", markdown(&tables::schemes(sweep))));
        if let Some(naming) = words::naming(sweep) {
            text.push_str(&format!("{naming} "));
        }
        if let Some(knees) = words::knees(sweep) {
            text.push_str(&format!("{knees} "));
        }
        text.push_str(&format!("{} {}\n", words::columns(sweep), words::UNITS));
        let parts = markdown(&tables::parts(sweep));
        text.push_str(&format!("\n## Groups in FP8 by part of the model\n{parts}"));
        if !sweep.kept_groups().is_empty() {
            let kept = markdown(&tables::kept(sweep));
            text.push_str(&format!("\n## Groups that stay in BF16\n{kept}"));
        }
    }
    if quality::is_measured(sweep) {
        let measured = markdown(&quality::table(sweep));
        text.push_str(&format!(
            "\n## Quality against size\n{measured}\n{} {}\n",
            quality::words(sweep),
            KNEE
        ));
    }
    text.push_str(&format!("\n## The most sensitive groups\n{}", markdown(&tables::most_sensitive(sweep))));
    text.push_str("\n## Weight error\n");
    match sweep.layer_errors.as_deref() {
        Some(layers) if !layers.is_empty() => {
            let worst = markdown(&tables::worst_layers(layers));
            text.push_str(&format!("{}\n\n{worst}", words::WEIGHT_ERROR));
        }
        _ => text.push_str(&format!("{}\n", words::NOT_MEASURED)),
    }
    let made = commands::made_by(sweep);
    if made.iter().any(|made| made.command.is_some()) {
        text.push_str("\n## Commands\n");
        for made in &made {
            let command = made.command.as_deref().unwrap_or("no command is on record");
            text.push_str(&format!("- {}: `{}`\n", made.schemes, shown::code(command)));
        }
    }
    let served = commands::served_by(sweep);
    if let Some((name, command)) = served.first() {
        let more = if served.len() > 1 { ", and so on" } else { "" };
        text.push_str(&format!("- to serve {name}: `{}`{more}\n", shown::code(command)));
    }
    for refusal in commands::refusals(sweep) {
        text.push_str(&format!("- {refusal}\n"));
    }
    text
}

/// `text` on one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
