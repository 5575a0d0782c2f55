//! The page. It is well-formed XML too, so that any tool can read it.

use maud::{Markup, PreEscaped, html};

use super::data::DirectoryReport;
use super::side_by_side;
use crate::report::names::breakable;
use crate::report::sweep::{self, UNITS};
use crate::report::table;
use crate::shown;

const STYLE: &str = include_str!("style.css");
/// The first lines of the head. Written out because XML closes elements that HTML leaves open; qlua knows its own pages by
/// the last.
const HEAD: &str = concat!(
    "<meta charset=\"utf-8\"/>\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n",
    "<meta name=\"color-scheme\" content=\"light dark\"/>\n",
    "<meta name=\"generator\" content=\"qlua ",
    env!("CARGO_PKG_VERSION"),
    "\"/>\n"
);

/// A part of the page that the contents lead to.
struct PagePart {
    id: String,
    title: String,
    body: Markup,
}

impl DirectoryReport {
    /// The page: one file that needs no other, no network and no script.
    pub fn to_html(&self) -> String {
        // No XML holds control characters or these two, wherever they came from.
        shown::lines(&page(self).into_string()).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
    }
}

fn page(report: &DirectoryReport) -> Markup {
    let parts = parts(report);
    html! {
        (PreEscaped("<!DOCTYPE html>\n"))
        html lang="en" {
            head {
                (PreEscaped(HEAD))
                title { (report.title()) " · sweep report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        p.over { "Sweep report" }
                        h1 { (breakable(&report.title())) }
                        @for said in report.summaries() { p.lead { (breakable(&said)) } }
                        @if let [only] = &report.sweeps[..] { (facts(&only.facts)) }
                        @for note in &report.notes { p.warning { (breakable(note)) } }
                    }
                    nav aria-label="Contents" {
                        ol { @for part in &parts { li { a href={ "#" (part.id) } { (breakable(&part.title)) } } } }
                    }
                    @for part in &parts { section id=(part.id) { h2 { (breakable(&part.title)) } (part.body) } }
                    footer { p { (UNITS) " Written by qlua " (env!("CARGO_PKG_VERSION")) "." } }
                }
            }
        }
        "\n"
    }
}

fn parts(report: &DirectoryReport) -> Vec<PagePart> {
    let mut parts = Vec::new();
    if side_by_side::families(report).len() > 1 {
        let body = html! {
            (table::html(&side_by_side::table(report)))
            p.note { (side_by_side::words(report)) }
            div.columns { @for figure in side_by_side::figures(report) { (sweep::figure(&figure)) } }
        };
        parts.push(PagePart { id: "families".into(), title: "Families side by side".into(), body });
    }
    let is_only = report.sweeps.len() == 1;
    for (number, (sweep, name)) in report.sweeps.iter().zip(report.sweep_titles()).enumerate() {
        let chapters = sweep::chapters(sweep);
        if is_only {
            let part = |chapter: sweep::Chapter| PagePart {
                id: chapter.id.into(),
                title: chapter.title.into(),
                body: chapter.body,
            };
            parts.extend(chapters.into_iter().map(part));
            continue;
        }
        let body = html! {
            (facts(&sweep.facts))
            @for chapter in &chapters { div.chapter { h3.chapter { (chapter.title) } (chapter.body) } }
        };
        parts.push(PagePart { id: format!("sweep-{}", number + 1), title: name, body });
    }
    parts
}

fn facts(facts: &[(String, String)]) -> Markup {
    html! {
        dl.facts { @for (label, value) in facts { div { dt { (label) } dd { (breakable(value)) } } } }
    }
}
