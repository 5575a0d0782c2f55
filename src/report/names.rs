//! Names of layers and directories on a page.

use maud::{Markup, PreEscaped, html};

/// A name, which may be broken after its dots and underscores.
pub(super) fn breakable(name: &str) -> Markup {
    let pieces = name.split_inclusive(['.', '_']).enumerate();
    html! {
        @for (at, piece) in pieces {
            // Written as XML has it.
            @if at > 0 { (PreEscaped("<wbr/>")) }
            (piece)
        }
    }
}
