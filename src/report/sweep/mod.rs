//! The report of a sweep as a page and as Markdown: a pure function of plain data, without clock, paths or network.

mod commands;
mod data;
mod decisive;
mod families;
mod figures;
mod html;
mod maps;
mod markdown;
mod origin;
mod quality;
mod shades;
mod tables;
mod words;

pub use data::{
    GroupForm, GroupRow, LayerError, MeasuredQuality, QualityKind, SchemeRow, Sharing, SweepReport,
};
pub use families::FamilyRow;
pub(super) use families::{colour, name_within};
pub(super) use figures::{Figure, label};
pub(super) use html::{Chapter, chapters, figure};
pub(super) use markdown::markdown_chapters;
pub use origin::{SchemeOrigin, Serving};
pub(super) use tables::schemes as scheme_table;
pub(super) use words::{UNITS, knees as scheme_words, summary};

#[cfg(test)]
mod tests;
