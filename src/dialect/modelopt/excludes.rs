//! What loaders make of `exclude_modules`. A mixture of experts has tens of thousands of entries and as many layers, so plain
//! names are looked up, and parts of names found by one automaton.

use std::collections::{HashMap, HashSet};

use aho_corasick::AhoCorasick;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::selector::Globs;

/// Fails when an entry of `list` hits a layer that `plan` quantises: vLLM looks for entries within names.
///
/// # Errors
/// [`Error::Refused`] naming the layer and the entry.
pub(super) fn require_distinct(list: &[String], plan: &Plan) -> Result<()> {
    let entries = Value::from(list);
    let excludes = Excludes::new(&entries)?;
    let hit = plan.formats.keys().find_map(|module| Some((module, excludes.anywhere(module)?)));
    let Some((module, entry)) = hit else { return Ok(()) };
    Err(Error::refused(format!(
        "`{module}` would be FP8 while `{entry}` stays in BF16, and vLLM takes that entry of exclude_modules for both, as it \
         looks for entries within names"
    ))
    .with_hint("choose --dialect compressed-tensors, whose list keeps them apart, or leave this layer out"))
}

/// `exclude_modules` as two kinds of loaders read it.
pub(super) struct Excludes<'a> {
    entries: Vec<&'a str>,
    /// The first position of every entry without a wildcard, which matches itself: TensorRT-LLM and SGLang.
    plain: HashMap<&'a str, usize>,
    /// Every other entry as a wildcard over the whole name, with its position.
    wildcards: Vec<(usize, Globs)>,
    /// vLLM's reading of a final `*`: the module itself, or anything below it.
    branches: HashSet<&'a str>,
    /// Branches with a wildcard of their own.
    wild_branches: Globs,
    /// Every entry, without its final `*`, as a part of a name.
    parts: AhoCorasick,
}

impl<'a> Excludes<'a> {
    pub fn new(list: &'a Value) -> Result<Self> {
        let entries: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (mut plain, mut wildcards) = (HashMap::new(), Vec::new());
        let (mut branches, mut wild_branches) = (HashSet::new(), Vec::new());
        for (position, &entry) in entries.iter().enumerate() {
            if is_plain(entry) {
                plain.entry(entry).or_insert(position);
            } else {
                wildcards.push((position, Globs::new([entry])?));
            }
            match stem(entry) {
                Some(stem) if is_plain(stem) => drop(branches.insert(stem)),
                Some(stem) => wild_branches.extend([stem.to_string(), format!("{stem}.*")]),
                None if !is_plain(entry) => wild_branches.push(entry.to_string()),
                None => {}
            }
        }
        let wild_branches = Globs::new(wild_branches)?;
        let parts = AhoCorasick::new(entries.iter().map(|entry| stem(entry).unwrap_or(entry)));
        let parts = parts.map_err(|e| Error::argument(format!("exclude_modules is too long: {e}")))?;
        Ok(Excludes { entries, plain, wildcards, branches, wild_branches, parts })
    }

    /// Whether every loader leaves the module alone.
    pub fn everywhere(&self, module: &str) -> bool {
        self.by_wildcard(module).is_some() && (self.parts.is_match(module) || self.is_in_branch(module))
    }

    /// The entry by which some loader leaves the module alone.
    pub fn anywhere(&self, module: &str) -> Option<&'a str> {
        self.by_substring(module).or_else(|| self.by_wildcard(module))
    }

    /// The first entry that matches the whole name.
    fn by_wildcard(&self, module: &str) -> Option<&'a str> {
        let plain = self.plain.get(module).copied();
        let before = |position: &usize| plain.is_none_or(|plain| *position < plain);
        let wildcards = self.wildcards.iter().take_while(|(position, _)| before(position));
        let wild = { wildcards }.find(|(_, glob)| glob.matches(module)).map(|(position, _)| *position);
        wild.or(plain).map(|position| self.entries[position])
    }

    /// vLLM takes every entry, without its final `*`, for a substring as well: `model.layers.1` hits layers 10 to 19. The first
    /// such entry.
    fn by_substring(&self, module: &str) -> Option<&'a str> {
        let hits = self.parts.find_overlapping_iter(module).map(|hit| hit.pattern().as_usize());
        hits.min().map(|position| self.entries[position])
    }

    fn is_in_branch(&self, module: &str) -> bool {
        let ends = module.match_indices('.').map(|(dot, _)| dot).chain([module.len()]);
        let mut above = ends.map(|end| &module[..end]);
        self.plain.contains_key(module)
            || above.any(|above| self.branches.contains(above))
            || self.wild_branches.matches(module)
    }
}

/// What is left of a wildcard that ends in `*` but not in `.*`, which vLLM reads as the name of a branch.
fn stem(entry: &str) -> Option<&str> {
    entry.strip_suffix('*').filter(|stem| !stem.is_empty() && !stem.ends_with('.'))
}

/// Whether a glob matches nothing but itself.
fn is_plain(entry: &str) -> bool {
    !entry.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The readings entry by entry, as the loaders go through the list.
    struct OneByOne(Vec<String>);

    impl OneByOne {
        fn find(&self, test: impl Fn(&str) -> bool) -> Option<&str> {
            self.0.iter().map(String::as_str).find(|entry| test(entry))
        }

        fn wildcard(&self, module: &str) -> Option<&str> {
            self.find(|entry| Globs::new([entry]).unwrap().matches(module))
        }

        fn substring(&self, module: &str) -> Option<&str> {
            self.find(|entry| module.contains(stem(entry).unwrap_or(entry)))
        }

        fn branch(&self, module: &str) -> bool {
            let matches = |pattern: &str| Globs::new([pattern]).unwrap().matches(module);
            let found = self.find(|entry| match stem(entry) {
                Some(stem) => matches(stem) || matches(&format!("{stem}.*")),
                None => matches(entry),
            });
            found.is_some()
        }
    }

    #[test]
    fn answers_are_those_of_going_through_the_list() {
        let lists = [
            vec!["lm_head", "model.layers.1", "*.mlp.gate*", "model.layers.1.mlp.*", "visual*"],
            vec!["*", "lm_head"],
            vec!["model.layers.?.self_attn*", "model.layers.[0-3]*", "model.layers.12.mlp.up_proj"],
            vec!["model.layers.12.mlp.up_proj", "*up_proj", "up_proj", "layers.1*", ""],
            vec!["model.layers.12*", "a.b", "a.b", "a*", "model.layers.12.mlp*"],
            vec![],
        ];
        let modules = [
            "lm_head",
            "model.layers.1",
            "model.layers.1.mlp.gate_proj",
            "model.layers.12.mlp.up_proj",
            "model.layers.12",
            "model.layers.2.self_attn.q_proj",
            "visual.blocks.0.attn.qkv",
            "visuals",
            "a.b",
            "a.b.c",
            "other",
        ];
        for list in lists {
            let value = json!(list);
            let excludes = Excludes::new(&value).unwrap();
            let slow = OneByOne(list.iter().map(|entry| entry.to_string()).collect());
            for module in modules {
                let anywhere = slow.substring(module).or_else(|| slow.wildcard(module));
                assert_eq!(excludes.anywhere(module), anywhere, "{module} in {list:?}");
                let everywhere = slow.wildcard(module).is_some()
                    && (slow.substring(module).is_some() || slow.branch(module));
                assert_eq!(excludes.everywhere(module), everywhere, "{module} in {list:?}");
            }
        }
    }

    #[test]
    fn an_entry_that_does_not_parse_is_an_error() {
        assert!(Excludes::new(&json!(["lm_head", "model.[0"])).is_err());
    }
}
