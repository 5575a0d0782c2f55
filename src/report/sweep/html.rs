//! The page. It is well-formed XML too, so that any tool can read it.

use super::figures::{self, Figure};
use super::maps::{self, Layout};
use super::tables::{self, Table};
use super::{Sweep, numbers, words};
use crate::report::svg::escape;

const STYLE: &str = include_str!("style.css");
/// Maps of schemes beyond these would make the page too heavy to open.
const MOST_MAPS: usize = 60;

/// A part of the page.
struct Part {
    id: &'static str,
    title: &'static str,
    body: String,
}

/// The whole page.
pub(super) fn page(sweep: &Sweep) -> String {
    let parts = [
        Part { id: "schemes", title: "Schemes", body: schemes(sweep) },
        Part { id: "size", title: "Size and effective bits", body: size(sweep) },
        Part { id: "sensitivity", title: "Sensitivity", body: sensitivity(sweep) },
        Part { id: "frontier", title: "Summed score", body: summed_score(sweep) },
        Part { id: "formats", title: "FP8 or BF16", body: formats(sweep) },
        Part { id: "error", title: "Weight error", body: weight_error(sweep) },
    ];
    let parts = || parts.iter().filter(|part| !part.body.is_empty());
    let contents: String =
        parts().map(|p| format!("<li><a href=\"#{}\">{}</a></li>\n", p.id, escape(p.title))).collect();
    let body: String = parts()
        .map(|p| format!("<section id=\"{}\">\n<h2>{}</h2>\n{}</section>\n", p.id, escape(p.title), p.body))
        .collect();
    let facts: String = sweep
        .facts
        .iter()
        .map(|(label, value)| format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(label), escape(value)))
        .collect();
    let (title, version) = (escape(&sweep.title), env!("CARGO_PKG_VERSION"));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n\
         <meta name=\"generator\" content=\"qlua {version}\"/>\n\
         <title>{title} · sweep report</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p class=\"over\">Sweep report</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n\
         <dl class=\"facts\">\n{facts}</dl>\n</header>\n\
         <nav aria-label=\"Contents\">\n<ol>\n{contents}</ol>\n</nav>\n{body}\
         <footer>\n<p>{} Written by qlua {version}.</p>\n</footer>\n</main>\n</body>\n</html>\n",
        breakable(&sweep.title),
        escape(&words::summary(sweep)),
        escape(words::UNITS),
    )
}

fn schemes(sweep: &Sweep) -> String {
    if sweep.schemes.is_empty() {
        return String::new();
    }
    let note = [words::naming(sweep), Some(words::columns(sweep))].into_iter().flatten().collect::<Vec<_>>();
    table(&tables::schemes(sweep)) + &paragraph("note", &note.join(" "))
}

fn size(sweep: &Sweep) -> String {
    if sweep.schemes.is_empty() {
        return String::new();
    }
    columns(&[figure(&figures::size(sweep)), figure(&figures::effective_bits(sweep))])
}

fn sensitivity(sweep: &Sweep) -> String {
    let layout = Layout::of_groups(&sweep.groups);
    let shades = maps::score_shades(&sweep.groups);
    let maps: Vec<String> = layout
        .grids
        .iter()
        .map(|grid| map_figure(&format!("Scores, {}", grid.tower), &maps::of_scores(sweep, grid, &shades)))
        .collect();
    let outside = outside(&layout, |at| {
        let (class, score) = maps::score_look(&sweep.groups, &shades, &[at]);
        (class, sweep.groups[at].name.as_str(), score)
    });
    let legend = format!("<div class=\"ramp\">\n{}</div>\n", shades.legend());
    let worst = format!(
        "<figure>\n<h3>The most sensitive groups</h3>\n{}</figure>\n",
        table(&tables::most_sensitive(sweep))
    );
    let words = "Score of each group by block and kind of module, on a logarithmic scale. The darker (on a dark page, the \
                 brighter), the more harmful to quantise.";
    paragraph("", words) + &legend + &columns(&maps) + &columns(&[worst, outside])
}

fn summed_score(sweep: &Sweep) -> String {
    let mut figures = vec![figure(&figures::cumulative(sweep))];
    if !sweep.frontier.points.is_empty() {
        figures.push(figure(&figures::frontier(sweep)));
    }
    columns(&figures)
}

fn formats(sweep: &Sweep) -> String {
    if sweep.schemes.is_empty() {
        return String::new();
    }
    let layout = Layout::of_groups(&sweep.groups);
    let any = |class: &str, maps: &str| maps.contains(&format!("class=\"{class}\""));
    let maps: String = sweep
        .schemes
        .iter()
        .zip(sweep.short_names())
        .take(MOST_MAPS)
        .map(|(scheme, name)| {
            let svg = maps::of_scheme(sweep, &layout, scheme, &name);
            let bits = format!("{}, {:.2} bits", numbers::groups(scheme.fp8_groups()), scheme.effective_bits);
            format!("<figure>\n<h3>{} <small>{bits}</small></h3>\n{svg}</figure>\n", escape(&name))
        })
        .collect();
    let legend: String =
        [("fp8", "FP8"), ("mixed", "partly FP8"), ("kept", "selected, but kept in BF16"), ("bf16", "BF16")]
            .into_iter()
            .filter(|(class, _)| any(class, &maps))
            .map(|(class, text)| format!("<li><span class=\"key cell {class}\"></span>{text}</li>\n"))
            .collect();
    let more = match sweep.schemes.len() {
        count if count > MOST_MAPS => {
            paragraph("note", &format!("The first {MOST_MAPS} of {count} schemes."))
        }
        _ => String::new(),
    };
    format!("<ul class=\"legend\">\n{legend}</ul>\n<div class=\"maps\">\n{maps}</div>\n{more}")
        + "<h3>Groups in FP8 by part of the model</h3>\n"
        + &table(&tables::parts(sweep))
}

fn weight_error(sweep: &Sweep) -> String {
    let Some(layers) = sweep.layer_errors.as_deref().filter(|layers| !layers.is_empty()) else {
        return paragraph("", words::NOT_MEASURED);
    };
    let (layout, shades) = (Layout::of_layers(layers), maps::error_shades(layers));
    let maps: Vec<String> = layout
        .grids
        .iter()
        .map(|grid| map_figure(&format!("SQNR, {}", grid.tower), &maps::of_errors(layers, grid, &shades)))
        .collect();
    let worst = format!("<h3>The layers that lose most</h3>\n{}", table(&tables::worst_layers(layers)));
    paragraph("intro", words::WEIGHT_ERROR)
        + &format!("<div class=\"ramp\">\n{}</div>\n", shades.legend())
        + &columns(&maps)
        + &worst
}

/// The items outside of blocks as a list; `look` gives class, name and value of each.
fn outside<'a>(layout: &Layout, look: impl Fn(usize) -> (String, &'a str, String)) -> String {
    let item = |&at: &usize| {
        let (class, name, value) = look(at);
        let name = breakable(name);
        format!("<li><span class=\"key cell {class}\"></span><code>{name}</code> <span>{value}</span></li>\n")
    };
    match layout.outside.iter().map(item).collect::<String>().as_str() {
        "" => String::new(),
        list => {
            format!("<figure>\n<h3>Outside of blocks</h3>\n<ul class=\"list\">\n{list}</ul>\n</figure>\n")
        }
    }
}

fn paragraph(class: &str, text: &str) -> String {
    match class {
        "" => format!("<p>{}</p>\n", escape(text)),
        class => format!("<p class=\"{class}\">{}</p>\n", escape(text)),
    }
}

/// A name, which may be broken after its dots and underscores.
fn breakable(name: &str) -> String {
    escape(name).replace('.', ".<wbr/>").replace('_', "_<wbr/>")
}

/// Figures beside each other where the page is wide enough.
fn columns(figures: &[String]) -> String {
    format!("<div class=\"columns\">\n{}</div>\n", figures.concat())
}

fn map_figure(title: &str, svg: &str) -> String {
    format!("<figure>\n<h3>{}</h3>\n{svg}</figure>\n", escape(title))
}

fn figure(figure: &Figure) -> String {
    let legend: String = figure
        .legend
        .iter()
        .map(|(class, text)| format!("<li><span class=\"key {class}\"></span>{}</li>\n", escape(text)))
        .collect();
    let legend = if legend.is_empty() { legend } else { format!("<ul class=\"legend\">\n{legend}</ul>\n") };
    let caption = match figure.caption.as_str() {
        "" => String::new(),
        text => format!("<figcaption>{}</figcaption>\n", escape(text)),
    };
    format!("<figure>\n<h3>{}</h3>\n{legend}{}{caption}</figure>\n", escape(&figure.title), figure.svg)
}

fn table(table: &Table) -> String {
    let class = |column: usize| if table.right[column] { " class=\"number\"" } else { "" };
    let head: String = table
        .header
        .iter()
        .enumerate()
        .map(|(at, h)| format!("<th{}>{}</th>", class(at), escape(h)))
        .collect();
    let cell = |at: usize, text: &str| if table.right[at] { escape(text) } else { breakable(text) };
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate().map(|(at, c)| format!("<td{}>{}</td>", class(at), cell(at, c)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let body: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\">\n<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
    )
}
