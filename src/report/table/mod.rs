//! Tables: one model, shown as plain text, as Markdown or as HTML.

mod html;
mod markdown;
mod model;
mod text;

pub use html::html;
pub use markdown::{compact_markdown, markdown};
pub use model::{Align, Cell, Column, Table, Unit};
pub use text::{fitted, text, wrap, wrap_lines, wrapped};
