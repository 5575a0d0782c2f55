//! How `ignore` of compressed-tensors is spelled so that every engine reads it as it is meant.
//!
//! Transformers compares entries with the names that modules have in memory, vLLM and SGLang with names of their own, and
//! SGLang with those of fused layers, mostly without knowing what these are made of. A list of plain names is therefore read
//! differently by each. All three know regular expressions, match them from the start of a name, and leave them as they are
//! where they rename plain entries. So an entry is what all spellings of a name share, after any wrappers and up to its end,
//! and beside the members of a fused layer it has the name of the whole:
//!
//! `re:((model|language_model)\.)*layers\.(0|3)\.self_attn\.(k_proj|q_proj|qkv_proj|v_proj)$`
//!
//! Nothing but wrappers may stand before it, so that no layer of another tower or stack is hit. Engines try every entry for
//! every layer, and Python keeps 512 compiled expressions: the numbers of layers of one kind are folded into one entry, and
//! a list has as many entries as there are kinds, however large the model.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::dialect::sglang::name_in_sglang;
use crate::dialect::wholes::{unquantised_mixtures, without_adapter};
use crate::error::{Error, Result};
use crate::model::{LM_HEAD, Model, ModuleClass, WRAPPERS, bare_name, expert_group, has_known_root};
use crate::plan::Plan;

/// The layers that SGLang builds as one, with what they are made of.
const FUSED: [(&str, &[&str]); 9] = [
    ("qkv_proj", &["q_proj", "k_proj", "v_proj"]),
    ("qkv_proj", &["query", "key", "value"]),
    ("qkv_proj", &["qkv"]),
    ("gate_up_proj", &["gate_proj", "up_proj"]),
    ("gate_up_proj", &["w1", "w3"]),
    ("w13", &["w1", "w3"]),
    ("fused_qkv_a_proj_with_mqa", &["q_a_proj", "kv_a_proj_with_mqa"]),
    ("in_proj_qkvz", &["in_proj_qkv", "in_proj_z"]),
    ("in_proj_ba", &["in_proj_b", "in_proj_a"]),
];
/// vLLM and SGLang look for a mixture under these names, whatever its own are.
const EXPERTS: [(&str, &str); 3] = [("w1", "gate_proj"), ("w2", "down_proj"), ("w3", "up_proj")];

/// The names in the place of `leaf` under which engines look for a module: its own, that of the fused layer, and that of an
/// expert's part.
fn leaves<'a>(module: &str, leaf: &'a str) -> impl Iterator<Item = &'static str> + use<'a> {
    let of_expert = expert_group(module).is_some();
    let fused = FUSED.iter().filter(move |(_, members)| members.contains(&leaf)).map(|(whole, _)| *whole);
    let part = EXPERTS.iter().find(|(own, _)| of_expert && *own == leaf).map(|(_, name)| *name);
    fused.chain(part)
}

/// The parent of a module, its leaf, and the group of leaves that share an entry with it.
fn split(unwrapped: &str) -> (&str, &str, &str) {
    let (parent, leaf) = unwrapped.rsplit_once('.').unwrap_or(("", unwrapped));
    let group = FUSED.iter().find(|(_, members)| members.contains(&leaf));
    (parent, leaf, group.map_or(leaf, |(_, members)| members[0]))
}

/// The linear layers of `plan` that stay in BF16, and the output head, which loaders must be told about even where it is tied
/// and not stored.
pub(super) fn entries(model: &Model, plan: &Plan) -> Vec<String> {
    let names: Vec<(&str, String)> = listed(model, plan)
        .flat_map(|module| names(model, module).into_iter().map(move |name| (module, name)))
        .collect();
    let mut beside: Vec<String> = Vec::new();
    // What stays in BF16 of each fused group, or of each layer that is in none, by its parent, in file order.
    let mut together: Vec<(&str, BTreeSet<&str>)> = Vec::new();
    let mut index = HashMap::new();
    for (module, name) in &names {
        let (parent, leaf, group) = split(bare_name(name));
        let at = *index.entry((parent, group)).or_insert(together.len());
        if at == together.len() {
            together.push((parent, BTreeSet::new()));
        }
        together[at].1.insert(leaf);
        together[at].1.extend(leaves(module, leaf).map(|leaf| leaf as &str));
        if !has_known_root(name) {
            // Of other towers vLLM renames what is plain in a way of each model's own.
            beside.push(name.clone());
        }
    }
    // Of numbered experts each has an entry of its own, under the names that it has on disk.
    let mixtures: Vec<(bool, String)> = unquantised_mixtures(model, plan)
        .into_iter()
        .flat_map(|mixture| {
            let names = mixture.names.into_iter().enumerate();
            names.map(move |(at, name)| (mixture.is_stacked || at > 0, name))
        })
        .collect();
    let experts: Vec<String> = mixtures.iter().map(|(_, name)| format!("{}.0", bare_name(name))).collect();
    for ((by_first_expert, name), expert) in mixtures.iter().zip(&experts) {
        let (parent, leaf, _) = split(bare_name(name));
        together.push((parent, [leaf].into()));
        if *by_first_expert {
            // vLLM asks for the parts of the first expert, whatever a mixture is made of.
            together.push((expert, EXPERTS.iter().flat_map(|(own, part)| [*own, *part]).collect()));
        }
    }
    // The numbers of what differs in nothing else, in the order of its first appearance.
    type NamePattern<'a> = (Vec<NameComponent<'a>>, BTreeSet<&'a str>);
    let mut patterns: Vec<(NamePattern, BTreeSet<Vec<u64>>)> = Vec::new();
    let mut index: HashMap<NamePattern, usize> = HashMap::new();
    for (parent, leaves) in together {
        let (shape, numbers) = shape(parent);
        let pattern = (shape, leaves);
        let at = *index.entry(pattern.clone()).or_insert(patterns.len());
        if at == patterns.len() {
            patterns.push((pattern, BTreeSet::new()));
        }
        patterns[at].1.insert(numbers);
    }
    let mut entries = Vec::new();
    for ((shape, leaves), numbers) in &patterns {
        for choice in products(numbers.iter().map(Vec::as_slice)) {
            entries.push(expression(shape, &choice, leaves));
        }
    }
    entries.extend(model.modules().shared_tails().map(|tail| format!(r"re:(.*\.)?{}$", regex::escape(tail))));
    entries.extend(beside);
    entries.extend(model.modules().tied_heads().iter().filter(|head| *head != LM_HEAD).cloned());
    entries.push(LM_HEAD.into());
    entries
}

/// The names of `module` that differ in more than wrappers, that on disk first: where engines call a tower otherwise. Of a
/// module outside the known roots, all of its names in memory.
fn names(model: &Model, module: &str) -> Vec<String> {
    let in_memory = model.modules().names_in_memory(module);
    if !has_known_root(module) {
        return in_memory;
    }
    let in_engines = model.modules().in_vllm(module).into_iter().chain(name_in_sglang(model, module));
    let mut names = vec![module.to_string()];
    for name in in_memory.into_iter().chain(in_engines).chain(without_adapter(module)) {
        if names.iter().all(|known| bare_name(known) != bare_name(&name)) {
            names.push(name);
        }
    }
    names
}

/// What stays as it is and has an entry, but for the head, which has one of its own, and stacks of experts.
fn listed<'a>(model: &'a Model, plan: &'a Plan) -> impl Iterator<Item = &'a str> {
    let modules = model.modules();
    let is_stack = |module: &str| modules.class(module) == Some(ModuleClass::Experts);
    plan.listed(model).filter(move |module| *module != LM_HEAD && !is_stack(module))
}

/// A component of a name: a number, or anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum NameComponent<'a> {
    Number,
    Text(&'a str),
}

/// The components of `parent` and the numbers among them.
fn shape(parent: &str) -> (Vec<NameComponent<'_>>, Vec<u64>) {
    let mut numbers = Vec::new();
    let parts = parent.split('.').filter(|part| !part.is_empty()).map(|part| match part.parse::<u64>() {
        Ok(number) if number.to_string() == part => {
            numbers.push(number);
            NameComponent::Number
        }
        _ => NameComponent::Text(part),
    });
    (parts.collect(), numbers)
}

/// A set of numbers for each place where a name has one.
type Product = Vec<Vec<u64>>;

/// Sequences of sets whose products are together exactly the `rows`, which are sorted, distinct and of one length.
fn products<'a>(rows: impl Iterator<Item = &'a [u64]>) -> Vec<Product> {
    let mut by_first: BTreeMap<u64, Vec<&[u64]>> = BTreeMap::new();
    for row in rows {
        match row.split_first() {
            Some((first, rest)) => by_first.entry(*first).or_default().push(rest),
            None => return vec![Vec::new()],
        }
    }
    let mut merged: Vec<(Vec<u64>, Vec<Product>)> = Vec::new();
    let mut index: HashMap<Vec<Product>, usize> = HashMap::new();
    for (first, rest) in by_first {
        let rest = products(rest.into_iter());
        let at = *index.entry(rest.clone()).or_insert(merged.len());
        if at == merged.len() {
            merged.push((Vec::new(), rest));
        }
        merged[at].0.push(first);
    }
    let all = merged.into_iter().flat_map(|(first, rest)| {
        rest.into_iter().map(move |rest| [first.clone()].into_iter().chain(rest).collect())
    });
    all.collect()
}

fn expression(shape: &[NameComponent], numbers: &[Vec<u64>], leaves: &BTreeSet<&str>) -> String {
    let mut numbers = numbers.iter();
    let mut text = format!(r"re:(({})\.)*", WRAPPERS.join("|"));
    for part in shape {
        match part {
            NameComponent::Text(part) => text.push_str(&regex::escape(part)),
            NameComponent::Number => {
                text.push_str(&choice(numbers.next().into_iter().flatten().map(u64::to_string)))
            }
        }
        text.push_str(r"\.");
    }
    text.push_str(&choice(leaves.iter().map(|leaf| regex::escape(leaf))));
    text.push('$');
    text
}

/// `a`, or `(a|b)`.
fn choice(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.len() == 1 { words.concat() } else { format!("({})", words.join("|")) }
}

/// Fails when an entry for a BF16 layer would hit an FP8 layer, whose name differs from it by its wrappers alone.
///
/// # Errors
/// [`Error::Refused`] naming both.
pub(super) fn require_distinct(model: &Model, plan: &Plan) -> Result<()> {
    let fp8: HashSet<&str> = plan.formats.keys().map(|module| bare_name(module)).collect();
    for module in listed(model, plan) {
        // The entries are made of the same names.
        let hit = names(model, module).iter().find_map(|name| {
            let name = bare_name(name);
            let (parent, leaf, _) = split(name);
            let others = leaves(module, leaf).map(|leaf| format!("{parent}.{leaf}"));
            [name.to_string()].into_iter().chain(others).find(|name| fp8.contains(name.as_str()))
        });
        if let Some(hit) = hit {
            let other =
                plan.formats.keys().find(|module| bare_name(module) == hit).map_or(&*hit, AsRef::as_ref);
            let problem = format!(
                "`{module}` stays in BF16 and `{other}` is in FP8, and no entry of `ignore` keeps the two apart in every \
                 engine"
            );
            return Err(Error::refused(problem).with_hint(
                "give both the same format, or choose --dialect modelopt, whose list has whole names",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_numbers_become_few_products() {
        let of = |rows: &[&[u64]]| products(rows.iter().copied());
        assert_eq!(of(&[&[]]), [Product::new()]);
        assert_eq!(of(&[&[0], &[3], &[12]]), [[vec![0, 3, 12]]]);
        let mixture: Vec<Vec<u64>> = (0..3).flat_map(|l| (0..4).map(move |e| vec![l, e])).collect();
        let rows: Vec<&[u64]> = mixture.iter().map(Vec::as_slice).collect();
        assert_eq!(of(&rows), [[vec![0, 1, 2], vec![0, 1, 2, 3]]]);
        assert_eq!(
            of(&[&[0, 0], &[0, 1], &[1, 1], &[2, 0], &[2, 1]]),
            [[vec![0, 2], vec![0, 1]], [vec![1], vec![1]]]
        );
    }

    #[test]
    fn numbers_with_leading_zeros_are_text() {
        assert_eq!(
            shape("blocks.007.attn"),
            (
                vec![NameComponent::Text("blocks"), NameComponent::Text("007"), NameComponent::Text("attn")],
                vec![]
            )
        );
        assert_eq!(shape("blocks.7"), (vec![NameComponent::Text("blocks"), NameComponent::Number], vec![7]));
    }
}
