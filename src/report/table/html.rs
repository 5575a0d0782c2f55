//! Tables as HTML.

use maud::{Markup, html};

use super::model::{Align, Table};
use crate::report::names::breakable;

/// The `<table>` in a box that scrolls where the page is too narrow.
pub fn html(table: &Table) -> Markup {
    let (header, rows) = table.texts();
    let is_number = |at: usize| table.align_of(at) == Align::Right;
    let class = |at: usize| match (is_number(at), table.columns[at].is_main) {
        (true, true) => Some("number main"),
        (true, false) => Some("number"),
        (false, true) => Some("main"),
        (false, false) => None,
    };
    html! {
        div.scroll {
            table {
                thead { tr {
                    @for (at, title) in header.iter().enumerate() { th class=[class(at)] { (title) } }
                } }
                tbody {
                    @for row in &rows {
                        tr {
                            @for (at, cell) in row.iter().enumerate() {
                                td class=[class(at)] {
                                    @if is_number(at) { (cell) } @else { (breakable(cell)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
