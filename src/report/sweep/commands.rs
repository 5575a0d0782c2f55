//! The commands that made the schemes, and those that serve them.

use super::data::{SchemeRow, SweepReport};
use super::origin::SchemeOrigin;
use crate::units::counted;

/// How many schemes are named one by one.
const NAMED: usize = 3;

/// A command and what it made.
pub(in crate::report) struct MadeBy {
    /// The command line; nothing where none is on record.
    pub command: Option<String>,
    /// The schemes in words.
    pub schemes: String,
}

/// Each command once, in the order of its first scheme.
pub(in crate::report) fn made_by(sweep: &SweepReport) -> Vec<MadeBy> {
    let mut commands: Vec<(Option<String>, Vec<String>)> = Vec::new();
    for (scheme, name) in sweep.schemes.iter().zip(sweep.short_names()) {
        let command = scheme.origin.as_ref().and_then(SchemeOrigin::command_line);
        match commands.iter_mut().find(|(known, _)| *known == command) {
            Some((_, names)) => names.push(name),
            None => commands.push((command, vec![name])),
        }
    }
    let made = |(command, names): (Option<String>, Vec<String>)| MadeBy { command, schemes: listed(&names) };
    commands.into_iter().map(made).collect()
}

/// The short name of each scheme that an engine serves, and the command.
pub(in crate::report) fn served_by(sweep: &SweepReport) -> Vec<(String, String)> {
    let command = |(scheme, name): (&SchemeRow, String)| {
        let directory = format!("./{}", scheme.name);
        Some((name, scheme.origin.as_ref()?.serve_command(&directory)?))
    };
    sweep.schemes.iter().zip(sweep.short_names()).filter_map(command).collect()
}

/// One sentence for each engine that does not read some of the schemes.
pub(in crate::report) fn refusals(sweep: &SweepReport) -> Vec<String> {
    let mut refusals: Vec<(&'static str, &str, Vec<String>)> = Vec::new();
    for (scheme, name) in sweep.schemes.iter().zip(sweep.short_names()) {
        for serving in scheme.origin.iter().flat_map(|origin| &origin.serving) {
            let Some(reason) = &serving.refusal else { continue };
            let engine = serving.engine.name();
            match refusals.iter_mut().find(|(known, other, _)| *known == engine && other == reason) {
                Some((.., names)) => names.push(name.clone()),
                None => refusals.push((engine, reason, vec![name.clone()])),
            }
        }
    }
    let sentence = |(engine, reason, names): &(&str, &str, Vec<String>)| {
        format!("{engine} does not read {}: {reason}.", listed(names))
    };
    refusals.iter().map(sentence).collect()
}

/// The first few of `names`, and how many there are.
fn listed(names: &[String]) -> String {
    match names {
        [first, .., last] if names.len() > NAMED => {
            format!("{first} to {last}, {}", counted(names.len(), "scheme"))
        }
        _ => names.join(", "),
    }
}
