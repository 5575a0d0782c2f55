//! Tables as HTML.

use maud::{Markup, html};

use super::model::{Align, Table};
use crate::report::names::breakable;

/// The `<table>` in a box that scrolls where the page is too narrow.
pub fn html(table: &Table) -> Markup {
    let (header, rows) = table.texts();
    let class = |at: usize| (table.align_of(at) == Align::Right).then_some("number");
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
                                    @if class(at).is_some() { (cell) } @else { (breakable(cell)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
