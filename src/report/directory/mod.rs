//! The report of a directory: every sweep in it, alone and side by side. One model that the page, the Markdown, the JSON and the
//! terminal show.

mod data;
mod html;
mod json;
mod markdown;
mod side_by_side;
mod text;

pub use data::DirectoryReport;
