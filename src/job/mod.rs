//! From a family to directories: what is planned, how it is run, and what it leaves on record.

mod family;
mod files;
mod report;
mod run;
mod scheme;
pub mod sensitivity;
mod writer;

pub use family::{Decision, Family, FamilyOptions, PlannedScheme};
pub use files::PlannedFile;
pub use report::{REPORT_HTML, REPORT_MARKDOWN};
pub use run::Outcome;
pub use scheme::Written;
pub use writer::{QuantizeOptions, Writer, WriterOptions};
