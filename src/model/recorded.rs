//! `architectures.jsonl` as it is written: a line for each set of facts, with the architectures that have it.

use std::collections::HashMap;

use serde::Deserialize;

use super::pattern::Rules;
use super::place::Tower;
use crate::words::words;

/// The file.
pub(super) static DATA: &str = include_str!("architectures.jsonl");

words! {
    /// A line of Transformers: they differ in what modules are called in memory.
    #[derive(PartialOrd, Ord, Hash)]
    pub enum Line: "line of Transformers" {
        /// Transformers 4.57.
        V4 = "4",
        /// Transformers 5.
        V5 = "5",
    }
}

/// What a module or a bare parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModuleClass {
    /// A linear layer whose weight is [out, in].
    Linear,
    /// A table of embeddings.
    Embedding,
    /// A convolution of any rank.
    Convolution,
    /// What chooses experts, or weighs them.
    Router,
    /// The output head.
    Head,
    /// The matrices of several experts in one tensor, or one on disk that becomes a part of such in memory.
    Experts,
    /// A linear layer whose weight is [in, out], as GPT-2 has them.
    Transposed,
    /// Anything else: norms, bare parameters.
    Other,
}

/// The first line.
#[derive(Deserialize)]
pub(super) struct Header {
    /// The versions that the facts were recorded with, by the requirements that pin them.
    pub versions: HashMap<String, String>,
}

/// What a line begins with: whose facts it has.
#[derive(Deserialize)]
pub(super) struct Owners<'a> {
    /// Classes with model types that they serve, as `class/type`.
    #[serde(borrow, default)]
    pub of: Vec<&'a str>,
    /// Those that are meant by the class alone; all, where it is not said.
    #[serde(borrow, default)]
    pub names: Option<Vec<&'a str>>,
    /// Those that are meant by the model type alone; all, where it is not said.
    #[serde(borrow, default)]
    pub types: Option<Vec<&'a str>>,
    /// The classes of vLLM that a line of vLLM's facts is about.
    #[serde(borrow, default)]
    pub vllm: Vec<&'a str>,
}

/// A mixture of experts on disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Mixture {
    /// The name before the numbers of experts or, where they are stacked, before the stacks: `model.layers.#.mlp.experts`.
    pub at: String,
    /// Whether each expert has tensors of its own, `{at}.{number}.{part}`; otherwise `{at}.{part}` are stacks.
    pub numbered: bool,
    /// What an expert is made of, or the stacks.
    pub parts: Vec<String>,
    /// The stacks that a line merges the parts of all experts into, with the parts of which each is made.
    #[serde(default)]
    pub stacks: HashMap<Line, HashMap<String, Vec<String>>>,
}

/// A spelling on disk besides the table's.
#[derive(Deserialize)]
pub(super) struct RecordedSpelling {
    /// The lines that load it, one digit each.
    pub lines: String,
    /// What to replace in a name of the table.
    pub rules: Rules,
}

/// The facts of an architecture.
#[derive(Deserialize)]
pub(super) struct Facts {
    /// The lines that know it, one digit each.
    pub lines: String,
    /// The lines that load the table's own spelling.
    pub loads: String,
    /// The table: last parts of names and what they are, by what comes before.
    pub modules: HashMap<String, String>,
    #[serde(default)]
    pub spellings: Vec<RecordedSpelling>,
    /// What to replace in a name of the table for the name in memory.
    #[serde(default)]
    pub memory: HashMap<Line, Rules>,
    #[serde(default)]
    pub ties: Vec<Vec<String>>,
    #[serde(default)]
    pub stacks: Vec<String>,
    #[serde(default)]
    pub towers: HashMap<String, Tower>,
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Beginnings and ends of names in memory of linear layers that quantisers of Transformers leave alone of themselves.
    #[serde(default)]
    pub kept: Vec<String>,
    #[serde(default)]
    pub experts: Vec<Mixture>,
}

/// What vLLM's class of an architecture says of itself.
#[derive(Debug, Default, Deserialize)]
pub(super) struct VllmFacts {
    #[serde(default)]
    pub fused: HashMap<String, Vec<String>>,
    /// What its loader stacks besides.
    #[serde(default)]
    pub stacked: HashMap<String, Vec<String>>,
    #[serde(default)]
    pub prefix: Changes,
    #[serde(default)]
    pub substr: Changes,
    #[serde(default)]
    pub suffix: Changes,
    /// Whether it renames in other ways too.
    #[serde(default)]
    pub more: bool,
}

/// Parts of names that vLLM replaces.
pub(super) type Changes = Vec<(String, String)>;

/// The lines that `digits` names.
pub(super) fn lines(digits: &str) -> Vec<Line> {
    Line::ALL.iter().copied().filter(|line| digits.contains(line.word())).collect()
}

/// What a line makes of a module, as the table has it: a letter for the class, the rank where the class does not say it,
/// `l` for an `nn.Linear` of another use, `p` for a bare parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub class: ModuleClass,
    pub rank: u8,
    pub linear: bool,
    pub bare: bool,
}

impl Kind {
    /// Reads `code`; nothing where it is none, such as `-` for a module that a line does not have.
    fn read(code: &str) -> Option<Kind> {
        let class = match code.as_bytes().first()? {
            b'L' => ModuleClass::Linear,
            b'E' => ModuleClass::Embedding,
            b'C' => ModuleClass::Convolution,
            b'R' => ModuleClass::Router,
            b'H' => ModuleClass::Head,
            b'S' => ModuleClass::Experts,
            b'T' => ModuleClass::Transposed,
            b'O' => ModuleClass::Other,
            _ => return None,
        };
        let rank = code.bytes().find(u8::is_ascii_digit).map_or(2, |digit| digit - b'0');
        let linear = class == ModuleClass::Linear || code.ends_with('l');
        Some(Kind { class, rank, linear, bare: code.ends_with('p') })
    }
}

impl Facts {
    /// The rows of the table: the name, and what each line makes of it.
    pub fn rows(&self) -> impl Iterator<Item = (String, [Option<Kind>; Line::ALL.len()])> {
        let known = lines(&self.lines);
        self.modules.iter().flat_map(move |(parent, leaves)| {
            let known = known.clone();
            leaves.split(' ').map(move |leaf| {
                let (leaf, code) = leaf.split_once(':').unwrap_or((leaf, "L"));
                let name = if parent.is_empty() { leaf.to_string() } else { format!("{parent}.{leaf}") };
                let mut codes = code.split('/');
                let first = codes.next().unwrap_or_default();
                let mut kinds = [None; Line::ALL.len()];
                for line in &known {
                    let position = *line as usize;
                    // One code stands for all lines that know the architecture, several for each in turn.
                    let code =
                        if code.contains('/') && *line != known[0] { codes.next() } else { Some(first) };
                    kinds[position] = code.and_then(Kind::read);
                }
                (name, kinds)
            })
        })
    }
}

/// The versions that the facts were recorded with, by the requirements that pin them.
pub fn recorded_with() -> HashMap<String, String> {
    let header = DATA.lines().next().and_then(|line| serde_json::from_str::<Header>(line).ok());
    header.map_or_else(HashMap::new, |header| header.versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recording anew needs the engines; that what is pinned is what was recorded does not.
    #[test]
    fn the_file_is_of_the_versions_that_are_pinned() {
        let pinned = |environment: &str, package: &str| {
            let path =
                format!("{}/tests/conformance/requirements/{environment}.txt", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).unwrap();
            let version = text.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
            version.unwrap().to_string()
        };
        let recorded = recorded_with();
        for (environment, package) in
            [("transformers", "transformers"), ("transformers-4.57", "transformers"), ("vllm", "vllm")]
        {
            assert_eq!(recorded[environment], pinned(environment, package), "{environment}: record anew");
        }
    }

    #[test]
    fn every_line_is_read_whole() {
        for line in DATA.lines().skip(1) {
            let owners: Owners = serde_json::from_str(line).unwrap();
            if owners.of.is_empty() {
                assert!(!owners.vllm.is_empty());
                serde_json::from_str::<VllmFacts>(line).unwrap();
                continue;
            }
            let facts: Facts = serde_json::from_str(line).unwrap();
            assert!(!lines(&facts.lines).is_empty());
            for (name, kinds) in facts.rows() {
                assert!(kinds.iter().any(Option::is_some), "{name} of {:?}", owners.of);
            }
        }
    }

    #[test]
    fn codes_say_what_a_module_is() {
        let kind = |class, rank, linear, bare| Some(Kind { class, rank, linear, bare });
        assert_eq!(Kind::read("L"), kind(ModuleClass::Linear, 2, true, false));
        assert_eq!(Kind::read("Rl"), kind(ModuleClass::Router, 2, true, false));
        assert_eq!(Kind::read("S3p"), kind(ModuleClass::Experts, 3, false, true));
        assert_eq!(Kind::read("-"), None);
        assert_eq!(Kind::read(""), None);
    }
}
