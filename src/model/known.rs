//! What is known of a module on disk, once its architecture is.

use std::collections::HashMap;

use super::pattern::{after, filled};
use super::place::Tower;
use super::recorded::{Kind, Line, ModuleClass};

/// A row of the table: what each line makes of it, and calls it in memory.
#[derive(Debug)]
pub(super) struct KnownRow {
    pub kinds: [Option<Kind>; Line::ALL.len()],
    pub memory: [Vec<String>; Line::ALL.len()],
}

/// A spelling of a row, with the lines that load it.
#[derive(Debug)]
pub(super) struct Name {
    pub pattern: String,
    pub row: usize,
    pub lines: Vec<Line>,
}

/// What is the same for all modules of an architecture.
#[derive(Debug)]
pub(super) struct KnownTable {
    pub rows: Vec<KnownRow>,
    pub stacks: Vec<String>,
    pub towers: HashMap<String, Tower>,
}

/// A module or bare parameter on disk whose architecture is known.
#[derive(Debug, Clone)]
pub struct Module<'a> {
    pub(super) table: &'a KnownTable,
    pub(super) spelling: &'a Name,
    pub(super) numbers: Vec<&'a str>,
}

impl<'a> Module<'a> {
    fn row(&self) -> &'a KnownRow {
        &self.table.rows[self.spelling.row]
    }

    fn kind(&self, line: Line) -> Option<Kind> {
        self.row().kinds[line as usize]
    }

    /// What it is in `line`; nothing where that line does not have it.
    pub fn class(&self, line: Line) -> Option<ModuleClass> {
        self.kind(line).map(|kind| kind.class)
    }

    /// The rank of its weight in memory, or of the parameter.
    pub fn rank(&self, line: Line) -> Option<usize> {
        self.kind(line).map(|kind| kind.rank.into())
    }

    /// Whether it is an `nn.Linear` in memory, as routers and heads may be too: what quantisers of Transformers look for.
    pub fn is_linear_module(&self, line: Line) -> bool {
        self.kind(line).is_some_and(|kind| kind.linear)
    }

    /// Whether it is a parameter of its own in memory, and not the `weight` of a module.
    pub fn is_bare(&self, line: Line) -> bool {
        self.kind(line).is_some_and(|kind| kind.bare)
    }

    /// Whether `line` loads it as it is spelled.
    pub fn loads(&self, line: Line) -> bool {
        self.spelling.lines.contains(&line)
    }

    /// What `line` calls it in memory: the module, or the bare parameter that it is or becomes a part of. Several where one
    /// tensor is split; none where the line does not have it.
    pub fn in_memory(&self, line: Line) -> Vec<String> {
        let known = self.kind(line).is_some();
        let templates = self.row().memory[line as usize].iter().filter(|_| known);
        templates.map(|template| filled(template, &self.numbers)).collect()
    }

    /// The folded name that the newest line that knows it gives it in memory.
    fn template(&self) -> Option<&'a str> {
        let line = Line::ALL.iter().rev().find(|line| self.kind(**line).is_some())?;
        self.row().memory[*line as usize].first().map(String::as_str)
    }

    /// Its names in memory, in any line, with the numbers folded.
    pub(super) fn templates(&self) -> impl Iterator<Item = &'a str> {
        self.row().memory.iter().flatten().map(String::as_str)
    }

    /// The stack of blocks that it is in, and the number of its block.
    pub fn block(&self) -> Option<(&'a str, u64)> {
        let template = self.template()?;
        let stack = self.table.stacks.iter().find(|stack| after(template, stack).is_some())?;
        let position = stack.matches('#').count().checked_sub(1)?;
        Some((stack, self.numbers.get(position)?.parse().ok()?))
    }

    /// The part of the model that it is in.
    pub fn tower(&self) -> Tower {
        if Line::ALL.iter().any(|line| self.class(*line) == Some(ModuleClass::Head)) {
            return Tower::Head;
        }
        let template = self.template().unwrap_or_default();
        let towers = self.table.towers.iter().filter(|(prefix, _)| after(template, prefix).is_some());
        towers.max_by_key(|(prefix, _)| prefix.len()).map_or(Tower::Other, |(_, tower)| *tower)
    }
}
