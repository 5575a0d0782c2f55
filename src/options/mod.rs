//! Command lines: what the values of options may be, how their text is read, and what to say when a command line is none.
//!
//! [`clap`] knows the options; scripts and the built-in commands are declared with it and share what is here.

mod usage;
mod value;

pub use usage::{Parsed, parse, width};
pub use value::{OptionValue, ValueKind};

#[cfg(test)]
mod tests;
