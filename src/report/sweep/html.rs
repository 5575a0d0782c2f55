//! The page. It is well-formed XML too, so that any tool can read it.

use maud::{Markup, PreEscaped, html};

use super::data::SweepReport;
use super::figures::{self, Figure};
use super::maps::{self, Grids};
use super::{quality, tables, words};
use crate::report::names::breakable;
use crate::report::table;
use crate::shown;
use crate::units;

const STYLE: &str = include_str!("style.css");
/// Maps of schemes beyond these would make the page too heavy to open.
const MOST_MAPS: usize = 60;
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

/// A chapter of the page; one without a body is left out.
struct Chapter {
    id: &'static str,
    title: &'static str,
    body: Option<Markup>,
}

impl SweepReport {
    /// The page: one file that needs no other, no network and no script.
    pub fn to_html(&self) -> String {
        // No XML holds control characters or these two, wherever they came from.
        shown::lines(&page(self).into_string()).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
    }
}

fn page(sweep: &SweepReport) -> Markup {
    let has_schemes = !sweep.schemes.is_empty();
    let chapters = [
        Chapter { id: "schemes", title: "Schemes", body: has_schemes.then(|| schemes(sweep)) },
        Chapter { id: "size", title: "Size and effective bits", body: has_schemes.then(|| size(sweep)) },
        Chapter {
            id: "quality",
            title: "Quality against size",
            body: quality::is_measured(sweep).then(|| measured_quality(sweep)),
        },
        Chapter { id: "sensitivity", title: "Sensitivity", body: Some(sensitivity(sweep)) },
        Chapter { id: "frontier", title: "Summed score", body: Some(summed_score(sweep)) },
        Chapter { id: "formats", title: "FP8 or BF16", body: has_schemes.then(|| formats(sweep)) },
        Chapter { id: "error", title: "Weight error", body: Some(weight_error(sweep)) },
    ];
    let chapters = || chapters.iter().filter_map(|c| c.body.as_ref().map(|body| (c.id, c.title, body)));
    html! {
        (PreEscaped("<!DOCTYPE html>\n"))
        html lang="en" {
            head {
                (PreEscaped(HEAD))
                title { (sweep.title) " · sweep report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        p.over { "Sweep report" }
                        h1 { (breakable(&sweep.title)) }
                        p.lead { (words::summary(sweep)) }
                        dl.facts {
                            @for (label, value) in &sweep.facts { div { dt { (label) } dd { (value) } } }
                        }
                    }
                    nav aria-label="Contents" {
                        ol { @for (id, title, _) in chapters() { li { a href={ "#" (id) } { (title) } } } }
                    }
                    @for (id, title, body) in chapters() { section id=(id) { h2 { (title) } (body) } }
                    footer { p { (words::UNITS) " Written by qlua " (env!("CARGO_PKG_VERSION")) "." } }
                }
            }
        }
        "\n"
    }
}

fn schemes(sweep: &SweepReport) -> Markup {
    html! {
        (table::html(&tables::schemes(sweep)))
        p.note { @if let Some(naming) = words::naming(sweep) { (naming) " " } (words::columns(sweep)) }
    }
}

fn size(sweep: &SweepReport) -> Markup {
    html! { div.columns { (figure(&figures::size(sweep))) (figure(&figures::effective_bits(sweep))) } }
}

fn measured_quality(sweep: &SweepReport) -> Markup {
    html! {
        (table::html(&quality::table(sweep)))
        p.note { (quality::words(sweep)) }
        div.columns { @for curve in quality::figures(sweep) { (figure(&curve)) } }
    }
}

fn sensitivity(sweep: &SweepReport) -> Markup {
    let grids = Grids::of_groups(&sweep.groups);
    let shades = maps::score_shades(&sweep.groups);
    let look = |&at: &usize| {
        let (class, score) = maps::score_look(&sweep.groups, &shades, &[at]);
        (class, sweep.groups[at].name.as_str(), score)
    };
    html! {
        p {
            "Score of each group by block and kind of module, on a logarithmic scale. The darker (on a dark page, the \
             brighter), the more harmful to quantise."
        }
        div.ramp { (PreEscaped(shades.legend())) }
        div.columns {
            @for grid in &grids.towers {
                (map_figure(&format!("Scores, {}", grid.tower), maps::of_scores(sweep, grid, &shades)))
            }
        }
        div.columns {
            figure { h3 { "The most sensitive groups" } (table::html(&tables::most_sensitive(sweep))) }
            @if !grids.outside.is_empty() {
                figure {
                    h3 { "Outside of blocks" }
                    ul.list {
                        @for (class, name, score) in grids.outside.iter().map(look) {
                            li { span class={ "key cell " (class) } {} code { (breakable(name)) } " " span { (score) } }
                        }
                    }
                }
            }
        }
    }
}

fn summed_score(sweep: &SweepReport) -> Markup {
    html! {
        div.columns {
            (figure(&figures::cumulative(sweep)))
            @if !sweep.frontier.points.is_empty() { (figure(&figures::frontier(sweep))) }
        }
    }
}

fn formats(sweep: &SweepReport) -> Markup {
    let grids = Grids::of_groups(&sweep.groups);
    let shown = || sweep.schemes.iter().zip(sweep.short_names()).take(MOST_MAPS);
    let maps: Vec<String> =
        shown().map(|(scheme, name)| maps::of_scheme(sweep, &grids, scheme, &name)).collect();
    let is_used = |class: &str| maps.iter().any(|map| map.contains(&format!("class=\"{class}\"")));
    let legend =
        [("fp8", "FP8"), ("mixed", "partly FP8"), ("kept", "selected, but kept in BF16"), ("bf16", "BF16")];
    html! {
        ul.legend {
            @for (class, text) in legend.into_iter().filter(|(class, _)| is_used(class)) {
                li { span class={ "key cell " (class) } {} (text) }
            }
        }
        div.maps {
            @for ((scheme, name), map) in shown().zip(&maps) {
                figure {
                    h3 {
                        (name) " "
                        small {
                            (units::counted(scheme.fp8_groups(), "group"))
                            @if let Some(bits) = scheme.figures.effective_bits { (format!(", {bits:.2} bits")) }
                        }
                    }
                    (PreEscaped(map))
                }
            }
        }
        @if sweep.schemes.len() > MOST_MAPS {
            p.note { "The first " (MOST_MAPS) " of " (sweep.schemes.len()) " schemes." }
        }
        h3 { "Groups in FP8 by part of the model" }
        (table::html(&tables::parts(sweep)))
    }
}

fn weight_error(sweep: &SweepReport) -> Markup {
    let Some(layers) = sweep.layer_errors.as_deref().filter(|layers| !layers.is_empty()) else {
        return html! { p { (words::NOT_MEASURED) } };
    };
    let (grids, shades) = (Grids::of_layers(layers), maps::error_shades(layers));
    html! {
        p.intro { (words::WEIGHT_ERROR) }
        div.ramp { (PreEscaped(shades.legend())) }
        div.columns {
            @for grid in &grids.towers {
                (map_figure(&format!("SQNR, {}", grid.tower), maps::of_errors(layers, grid, &shades)))
            }
        }
        h3 { "The layers that lose most" }
        (table::html(&tables::worst_layers(layers)))
    }
}

fn map_figure(title: &str, svg: String) -> Markup {
    html! { figure { h3 { (title) } (PreEscaped(svg)) } }
}

fn figure(figure: &Figure) -> Markup {
    html! {
        figure {
            h3 { (figure.title) }
            @if !figure.legend.is_empty() {
                ul.legend {
                    @for (class, text) in &figure.legend { li { span class={ "key " (class) } {} (text) } }
                }
            }
            (PreEscaped(&figure.svg))
            @if !figure.caption.is_empty() { figcaption { (figure.caption) } }
        }
    }
}
