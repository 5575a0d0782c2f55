//! From a family to directories: what is planned, how it is run, and what it leaves on record.

pub mod autoquant;
mod basis;
mod beside;
mod candidates;
mod decision;
mod described;
mod directory;
mod engines;
mod family;
mod fit;
mod held;
mod options;
mod planned;
mod quality;
mod ready;
mod recorded;
mod report;
mod run;
mod scheme;
mod scored;
mod scoring_place;
pub mod sensitivity;
mod standing;
mod sweep_facts;
mod sweeps;
mod writer;

pub use beside::{REPORT_HTML, REPORT_MARKDOWN};
pub use directory::Written;
pub use family::Family;
pub use options::FamilyOptions;
pub use planned::{Planned, PlannedFile, PlannedScheme};
pub use report::write_report;
pub use run::{Foreseen, Outcome};
pub use scoring_place::ScoringPlace;
pub use sweeps::report_directory;
pub use writer::{QuantizeOptions, Writer, WriterOptions};
