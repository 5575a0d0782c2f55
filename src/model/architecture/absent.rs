//! What an architecture has in memory and a checkpoint does not store.

use super::super::head::is_head;
use super::super::known::KnownRow;
use super::super::recorded::{Kind, Line, ModuleClass};
use super::Architecture;

/// What tables of tokens are called, which no language model can do without.
const TOKEN_TABLES: [&str; 5] = ["embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings"];

impl Architecture {
    /// Tables of tokens that every line has and of which `is_there` knows no spelling on disk, by the name in memory. One that is
    /// tied to another table is none of them.
    pub fn missing_tables(&self, is_there: &dyn Fn(&str) -> bool) -> Vec<&str> {
        let is_table = |row: &KnownRow| {
            let kinds = self.lines.iter().map(|line| row.kinds[*line as usize]);
            kinds.into_iter().all(|kind| kind.is_some_and(|kind| kind.class == ModuleClass::Embedding))
        };
        let spellings = |row: usize| self.names.values().flatten().filter(move |name| name.row == row);
        let on_disk = |pattern: &str| is_there(pattern) || is_there(&format!("{pattern}.weight"));
        let mut missing = Vec::new();
        for (number, row) in self.table.rows.iter().enumerate().filter(|(_, row)| is_table(row)) {
            let mut names: Vec<&str> = spellings(number).map(|name| name.pattern.as_str()).collect();
            names.sort_unstable();
            let of_tokens = |name: &&&str| {
                TOKEN_TABLES.contains(&name.rsplit('.').next().unwrap_or(name)) && !name.contains('#')
            };
            let memory: Vec<&String> = row.memory.iter().flatten().collect();
            let in_memory = |name: &&&str| memory.iter().any(|known| known == *name);
            let mut candidates = names.iter().filter(of_tokens);
            let Some(named) = names.iter().filter(of_tokens).find(in_memory).or_else(|| candidates.next())
            else {
                continue;
            };
            let mut groups = self.ties.iter().filter(|group| group.iter().any(|name| memory.contains(&name)));
            let is_another = |name: &String| !memory.contains(&name) && !is_head(name);
            if !names.iter().any(|name| on_disk(name)) && !groups.any(|group| group.iter().any(is_another)) {
                missing.push(*named);
            }
        }
        missing
    }

    /// Output heads that Transformers makes as linear layers and of which `is_there` knows no spelling on disk, as those that are
    /// tied to a table: their names in memory, in every line.
    pub fn absent_heads(&self, is_there: &dyn Fn(&str) -> bool) -> Vec<&str> {
        let mut absent: Vec<&str> = Vec::new();
        for (number, row) in self.table.rows.iter().enumerate() {
            let is_linear_head = |kind: &Kind| kind.class == ModuleClass::Head && kind.linear;
            let lines = Line::ALL
                .iter()
                .filter(|line| row.kinds[**line as usize].as_ref().is_some_and(is_linear_head));
            let memory: Vec<&str> =
                lines.flat_map(|line| &row.memory[*line as usize]).map(String::as_str).collect();
            let mut spellings = self.names.values().flatten().filter(|name| name.row == number);
            if memory.is_empty()
                || spellings.any(|name| name.pattern.contains('#') || is_there(&name.pattern))
            {
                continue;
            }
            absent.extend(memory);
        }
        absent.sort_unstable();
        absent.dedup();
        absent
    }
}
