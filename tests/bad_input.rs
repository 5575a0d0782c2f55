//! Bad input: one clear sentence, nothing left behind, and the source as it was.

mod common;

#[path = "bad_input/files.rs"]
mod files;
#[path = "bad_input/inputs.rs"]
mod inputs;
#[path = "bad_input/outputs.rs"]
mod outputs;
#[path = "bad_input/overwriting.rs"]
mod overwriting;
#[path = "bad_input/plans.rs"]
mod plans;
#[path = "bad_input/processes.rs"]
mod processes;
#[path = "bad_input/sources.rs"]
mod sources;
#[path = "bad_input/values.rs"]
mod values;
#[path = "bad_input/writer.rs"]
mod writer;
