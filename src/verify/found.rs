//! Findings about tensors, one for all that differ in nothing but the numbers of their blocks or experts.

use std::collections::HashMap;

use crate::dialect::{CONFIG, Code, Problem};
use crate::model::fold;
use crate::units::counted;

/// How many kinds of tensors are named one by one. More have a common cause, most likely in `config.json`.
const KINDS: usize = 5;
/// How many names a summary lists.
const LISTED: usize = 3;

/// Tensors that are wrong in the same way.
pub(super) struct FoundTensors {
    code: Code,
    /// What the summary says of them after their number.
    summary: &'static str,
    /// Name and message.
    found: Vec<(String, String)>,
}

impl FoundTensors {
    pub fn new(code: Code, summary: &'static str) -> Self {
        FoundTensors { code, summary, found: Vec::new() }
    }

    /// Adds a tensor with a sentence, without a full stop, that says what is wrong with it.
    pub fn add(&mut self, name: &str, message: String) {
        self.found.push((name.to_string(), message));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// The findings, in the order in which the tensors were added.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut kinds: Vec<(usize, usize)> = Vec::new();
        let mut by_pattern: HashMap<String, usize> = HashMap::new();
        for (at, (name, _)) in self.found.iter().enumerate() {
            let kind = *by_pattern.entry(fold(name)).or_insert(kinds.len());
            match kinds.get_mut(kind) {
                Some((_, count)) => *count += 1,
                None => kinds.push((at, 1)),
            }
        }
        if kinds.len() > KINDS {
            let listed = kinds.iter().take(LISTED).map(|(first, _)| self.found[*first].1.as_str());
            let listed = listed.collect::<Vec<_>>().join("; ");
            let count = counted(self.found.len(), "tensor");
            let message = format!("{count} {}: {listed}; …", self.summary);
            return vec![Problem::new(self.code, CONFIG, message)];
        }
        let problem = |(first, count): (usize, usize)| {
            let (name, message) = &self.found[first];
            let more = match count {
                1 => String::new(),
                n => format!(" (the first of {n} such tensors)"),
            };
            Problem::new(self.code, name, format!("{message}{more}"))
        };
        kinds.into_iter().map(problem).collect()
    }
}
