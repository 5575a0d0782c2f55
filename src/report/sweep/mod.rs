//! The report of a sweep as a page and as Markdown: a pure function of plain data, without clock, paths or network.

mod data;
mod figures;
mod html;
mod maps;
mod markdown;
mod quality;
mod shades;
mod tables;
mod words;

pub use data::{
    GroupForm, GroupRow, LayerError, MeasuredQuality, QualityKind, SchemeRow, Sharing, SweepReport,
};

#[cfg(test)]
mod tests;
