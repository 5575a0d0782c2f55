//! The chapters of a sweep.

use maud::{Markup, PreEscaped, html};

use super::data::SweepReport;
use super::figures::{self, Figure};
use super::maps::{self, Grids};
use super::{commands, quality, tables, words};
use crate::report::names::breakable;
use crate::report::table;
use crate::units;

/// Maps of schemes beyond these would make the page too heavy to open.
const MOST_MAPS: usize = 60;

/// A chapter of the page.
pub(in crate::report) struct Chapter {
    pub id: &'static str,
    pub title: &'static str,
    pub body: Markup,
}

/// The chapters of `sweep`, those without content left out.
pub(in crate::report) fn chapters(sweep: &SweepReport) -> Vec<Chapter> {
    let has_schemes = !sweep.schemes.is_empty();
    let is_measured = quality::is_measured(sweep);
    let has_origin = sweep.schemes.iter().any(|scheme| scheme.origin.is_some());
    let chapter = |id, title, is_shown: bool, body: &dyn Fn(&SweepReport) -> Markup| {
        is_shown.then(|| Chapter { id, title, body: body(sweep) })
    };
    [
        chapter("schemes", "Schemes", has_schemes, &schemes),
        chapter("size", "Size and effective bits", has_schemes, &size),
        chapter("quality", "Quality against size", is_measured, &measured_quality),
        chapter("sensitivity", "Sensitivity", true, &sensitivity),
        chapter("frontier", "Summed score", true, &summed_score),
        chapter("formats", "FP8 or BF16", has_schemes, &formats),
        chapter("error", "Weight error", true, &weight_error),
        chapter("commands", "Commands", has_origin, &commands),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn schemes(sweep: &SweepReport) -> Markup {
    html! {
        (table::html(&tables::schemes(sweep)))
        @if let Some(knees) = words::knees(sweep) { p { (knees) } }
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
        @if !sweep.kept_groups().is_empty() {
            h3 { "Groups that stay in BF16" }
            (table::html(&tables::kept(sweep)))
        }
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

fn commands(sweep: &SweepReport) -> Markup {
    let commands = commands::made_by(sweep);
    html! {
        @for made in &commands {
            @match &made.command {
                Some(command) => pre.command { code { (words_of(command)) } },
                None => p { "No command is on record." },
            }
            p.note { (made.schemes) }
        }
        h3 { "To serve a scheme" }
        ul.commands {
            @for (name, command) in commands::served_by(sweep) {
                li { span { (breakable(&name)) } " " code { (breakable(&command)) } }
            }
        }
        @for refusal in commands::refusals(sweep) { p { (refusal) } }
        p.note { (words::SERVING) }
    }
}

/// A command line whose lines end between words, and not after the dashes of an option.
fn words_of(command: &str) -> Markup {
    html! {
        @for (at, word) in command.split(' ').enumerate() {
            @if at > 0 { " " }
            @if word.starts_with('-') { span.option { (word) } } @else { (breakable(word)) }
        }
    }
}

fn map_figure(title: &str, svg: String) -> Markup {
    html! { figure { h3 { (title) } (PreEscaped(svg)) } }
}

/// A drawing with its title, its legend and its caption.
pub(in crate::report) fn figure(figure: &Figure) -> Markup {
    html! {
        figure {
            h3 { (figure.title) }
            @if !figure.legend.is_empty() {
                ul.legend {
                    @for (class, text) in &figure.legend { li { span class={ "key " (class) } {} span { (breakable(text)) } } }
                }
            }
            (PreEscaped(&figure.svg))
            @if !figure.caption.is_empty() { figcaption { (figure.caption) } }
        }
    }
}
