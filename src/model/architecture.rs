//! What the modules of an architecture are: recorded from Transformers and vLLM, not guessed from names.
//!
//! The file is looked through once, when something is first asked, and the facts of an architecture are read when it is
//! asked for. `tests/conformance/record_architectures.py` writes them.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

use super::head::is_head;
use super::known::{KnownRow, KnownTable, Module, Name};
use super::pattern::{fold, numbers, replaced};
use super::recorded::{DATA, Facts, Kind, Line, Mixture, ModuleClass, Owners, VllmFacts, lines};

/// The file, looked through once.
static INDEX: LazyLock<ArchitectureIndex> = LazyLock::new(|| ArchitectureIndex::of(DATA));

/// What tables of tokens are called, which no language model can do without.
const TOKEN_TABLES: [&str; 5] = ["embed_tokens", "wte", "word_embeddings", "embed_in", "tok_embeddings"];

/// An architecture whose modules are known.
#[derive(Debug)]
pub struct Architecture {
    name: &'static str,
    lines: Vec<Line>,
    table: KnownTable,
    /// The spellings of rows on disk, by their folded names.
    names: HashMap<String, Vec<Name>>,
    ties: Vec<Vec<String>>,
    kept: Vec<String>,
    ignored: Vec<String>,
    experts: Vec<Mixture>,
    engine: Option<VllmFacts>,
}

impl Architecture {
    /// The architecture of a checkpoint, by its `config.json`: `architectures` first, then `model_type`, then both in the
    /// configuration of its language model.
    pub fn of_config(config: &Value) -> Option<&'static Architecture> {
        let text = |config: &'_ Value, key: &str| config.get(key).and_then(Value::as_str).map(str::to_string);
        let model_type = text(config, "model_type");
        let classes = config.get("architectures").and_then(Value::as_array);
        let by_class = classes.into_iter().flatten().filter_map(Value::as_str).find_map(|class| {
            let with_type = model_type.as_deref().and_then(|t| INDEX.get(&format!("{class}/{t}")));
            with_type.or_else(|| INDEX.get(class))
        });
        let by_type = || model_type.as_deref().and_then(|t| INDEX.get(&format!("/{t}")));
        by_class.or_else(by_type).or_else(|| {
            ["text_config", "llm_config"]
                .iter()
                .filter_map(|key| config.get(key))
                .find_map(Architecture::of_config)
        })
    }

    /// The architecture of the class `name`, e.g. `LlamaForCausalLM`.
    pub fn named(name: &str) -> Option<&'static Architecture> {
        INDEX.get(name)
    }

    /// The name of its class.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The lines of Transformers that know it.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// What the module or tensor `on_disk` is, in any spelling that a line loads. The names of tensors are `….weight` and
    /// `….bias`, or those of bare parameters.
    pub fn module<'a>(&'a self, on_disk: &'a str) -> Option<Module<'a>> {
        let module = |name: &'a str| {
            let found = self.names.get(&fold(name))?;
            found.iter().find_map(|spelling| {
                let numbers = numbers(&spelling.pattern, name)?;
                Some(Module { table: &self.table, spelling, numbers })
            })
        };
        let owner = || on_disk.strip_suffix(".weight").or_else(|| on_disk.strip_suffix(".bias"));
        module(on_disk).or_else(|| module(owner()?))
    }

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

    /// Whether several blocks share the weight of `module`, which is on disk once.
    pub fn is_shared(&self, module: &Module) -> bool {
        let alone = self.ties.iter().filter_map(|group| <&[String; 1]>::try_from(group.as_slice()).ok());
        alone.into_iter().any(|[name]| module.templates().any(|template| template == name))
    }

    /// Whether quantisers of Transformers leave the linear layer alone that is called `in_memory`, without being told.
    pub fn is_kept(&self, in_memory: &str) -> bool {
        let begins = |word: &str| {
            in_memory.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.kept.iter().any(|word| in_memory.ends_with(word.as_str()) || begins(word))
    }

    /// The names, with numbers folded, that are one tensor in memory when embeddings are tied.
    pub fn tied(&self) -> &[Vec<String>] {
        &self.ties
    }

    /// The stacks of blocks in memory, as `model.layers.#`.
    pub fn stacks(&self) -> &[String] {
        &self.table.stacks
    }

    /// Its mixtures of experts.
    pub fn experts(&self) -> &[Mixture] {
        &self.experts
    }

    /// Regular expressions for tensors on disk that Transformers leaves aside, such as those of layers that predict further
    /// tokens.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Whether vLLM has a class of its own for it.
    pub fn in_vllm(&self) -> bool {
        self.engine.is_some()
    }

    /// What vLLM fuses: the fused name, and the names of its parts. These may be more than a leaf, as `attn.qkv`.
    pub fn fused(&self) -> impl Iterator<Item = (&str, &[String])> {
        let fused = self.engine.iter().flat_map(|engine| engine.fused.iter().chain(&engine.stacked));
        fused.map(|(name, parts)| (name.as_str(), parts.as_slice()))
    }

    /// What vLLM's class says of what it fuses: with these parts its readers of lists find a fused layer. Of what its loader
    /// stacks besides they know nothing.
    pub fn packed(&self) -> impl Iterator<Item = (&str, &[String])> {
        let fused = self.engine.iter().flat_map(|engine| &engine.fused);
        fused.map(|(name, parts)| (name.as_str(), parts.as_slice()))
    }

    /// The prefix and the fused name of the group that `module` (in any spelling) is a part of in vLLM.
    pub fn fused_group<'n>(&self, module: &'n str) -> Option<(&'n str, &str)> {
        self.fused().find_map(|(name, parts)| {
            let prefix =
                parts.iter().find_map(|part| module.strip_suffix(part.as_str())?.strip_suffix('.'))?;
            Some((prefix, name))
        })
    }

    /// How vLLM's class calls the `gate`, `up` and `down` matrices of an expert, where its file says so.
    pub fn vllm_expert(&self, part: &str) -> Option<&str> {
        self.engine.as_ref()?.experts.get(part).map(String::as_str)
    }

    /// The name that vLLM gives to what is called `name` on disk or in memory, as its class says; nothing where it has no such
    /// class, or renames by regular expressions, which are not recorded.
    pub fn in_vllm_called(&self, name: &str) -> Option<String> {
        let engine = self.engine.as_ref().filter(|engine| !engine.more)?;
        let mut name = name.to_string();
        // Each change sees what those before it made of the name.
        for (old, new) in &engine.substr {
            if name.contains(old.as_str()) {
                name = name.replacen(old.as_str(), new, 1);
            }
        }
        for (old, new) in &engine.prefix {
            if let Some(rest) = name.strip_prefix(old.as_str()) {
                name = format!("{}{rest}", new);
            }
        }
        for (old, new) in &engine.suffix {
            if let Some(rest) = name.strip_suffix(old.as_str()) {
                name = format!("{rest}{}", new);
            }
        }
        Some(name)
    }

    /// The architecture `name` with `facts` and what vLLM has of it.
    fn of(name: &'static str, facts: &Facts, engine: Option<VllmFacts>) -> Architecture {
        let mut rows = Vec::new();
        let mut names: HashMap<String, Vec<Name>> = HashMap::new();
        let table: Vec<(String, [Option<Kind>; Line::ALL.len()])> = facts.rows().collect();
        let mut add = |pattern: String, row: usize, lines: Vec<Line>| {
            let spellings = names.entry(fold(&pattern)).or_default();
            if !spellings.iter().any(|known| known.pattern == pattern) {
                spellings.push(Name { pattern, row, lines });
            }
        };
        for (row, (pattern, _)) in table.iter().enumerate() {
            add(pattern.clone(), row, lines(&facts.loads));
        }
        for spelling in &facts.spellings {
            for (row, (pattern, _)) in table.iter().enumerate() {
                add(replaced(&spelling.rules, pattern), row, lines(&spelling.lines));
            }
        }
        for (pattern, kinds) in table {
            let memory = Line::ALL.iter().map(|line| match facts.memory.get(line) {
                Some(rules) => replaced(rules, &pattern).split('|').map(str::to_string).collect(),
                None => vec![pattern.clone()],
            });
            let memory: Vec<Vec<String>> = memory.collect();
            rows.push(KnownRow { kinds, memory: memory.try_into().unwrap_or_default() });
        }
        Architecture {
            name,
            lines: lines(&facts.lines),
            table: KnownTable { rows, stacks: facts.stacks.clone(), towers: facts.towers.clone() },
            names,
            ties: facts.ties.clone(),
            kept: facts.kept.clone(),
            ignored: facts.ignored.clone(),
            experts: facts.experts.clone(),
            engine,
        }
    }
}

/// Where the facts of each architecture are in the file.
struct ArchitectureIndex {
    slots: Vec<Slot>,
    /// By class, by `class/type` and by `/type`.
    by_name: HashMap<String, usize>,
    vllm: HashMap<&'static str, &'static str>,
}

struct Slot {
    name: &'static str,
    facts: &'static str,
    architecture: OnceLock<Option<Architecture>>,
}

impl ArchitectureIndex {
    fn of(data: &'static str) -> ArchitectureIndex {
        let mut index =
            ArchitectureIndex { slots: Vec::new(), by_name: HashMap::new(), vllm: HashMap::new() };
        for facts in data.lines().skip(1) {
            let Ok(owners) = serde_json::from_str::<Owners>(facts) else { continue };
            for key in owners.of {
                let Some((name, model_type)) = key.split_once('/') else { continue };
                let slot = index.slots.len();
                index.slots.push(Slot { name, facts, architecture: OnceLock::new() });
                index.by_name.insert(key.to_string(), slot);
                let meant = |some: &Option<Vec<&str>>| some.as_ref().is_none_or(|keys| keys.contains(&key));
                if meant(&owners.names) {
                    index.by_name.insert(name.to_string(), slot);
                }
                if meant(&owners.types) {
                    index.by_name.insert(format!("/{model_type}"), slot);
                }
            }
            index.vllm.extend(owners.vllm.into_iter().map(|name| (name, facts)));
        }
        index
    }

    /// The architecture of a class, of `class/type`, or of `/type`.
    fn get(&self, key: &str) -> Option<&Architecture> {
        let slot = &self.slots[*self.by_name.get(key)?];
        let read = || {
            let engine = self.vllm.get(slot.name).and_then(|facts| serde_json::from_str(facts).ok());
            let facts = serde_json::from_str(slot.facts).ok()?;
            Some(Architecture::of(slot.name, &facts, engine))
        };
        slot.architecture.get_or_init(read).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::place::Tower;
    use serde_json::json;
    use std::time::Instant;

    fn named(name: &str) -> &'static Architecture {
        Architecture::named(name).unwrap_or_else(|| panic!("{name} is recorded"))
    }

    /// The class in the newest line, what both lines call it in memory, and the tower.
    fn seen(name: &str, on_disk: &str) -> (ModuleClass, String, String, Tower) {
        let module = named(name).module(on_disk).unwrap_or_else(|| panic!("{on_disk} of {name} is recorded"));
        let line = *Line::ALL.iter().rev().find(|line| module.class(**line).is_some()).unwrap();
        let memory = |line| module.in_memory(line).join("|");
        (module.class(line).unwrap(), memory(Line::V4), memory(Line::V5), module.tower())
    }

    fn check(name: &str, on_disk: &str, class: ModuleClass, in_memory: &str, tower: Tower) {
        let expected = (class, in_memory.to_string(), in_memory.to_string(), tower);
        assert_eq!(seen(name, on_disk), expected, "{on_disk} of {name}");
    }

    #[test]
    fn published_names_are_found_in_memory() {
        use ModuleClass::*;
        let qwen = "Qwen2_5_VLForConditionalGeneration";
        let up = "model.language_model.layers.3.mlp.up_proj";
        for spelling in ["model.layers.3.mlp.up_proj", "model.layers.3.mlp.up_proj.weight", up] {
            check(qwen, spelling, Linear, up, Tower::Language);
        }
        check(qwen, "visual.blocks.31.attn.qkv", Linear, "model.visual.blocks.31.attn.qkv", Tower::Vision);
        check(qwen, "visual.merger.mlp.2", Linear, "model.visual.merger.mlp.2", Tower::Merger);
        check(qwen, "visual.patch_embed.proj", Convolution, "model.visual.patch_embed.proj", Tower::Vision);
        check(qwen, "lm_head", Head, "lm_head", Tower::Head);
        check(qwen, "model.embed_tokens", Embedding, "model.language_model.embed_tokens", Tower::Language);
        let llava = "LlavaForConditionalGeneration";
        let q = "model.language_model.layers.0.self_attn.q_proj";
        check(llava, "language_model.model.layers.0.self_attn.q_proj", Linear, q, Tower::Language);
        check(llava, q, Linear, q, Tower::Language);
        check(llava, "language_model.lm_head", Head, "lm_head", Tower::Head);
        let projector = "model.multi_modal_projector.linear_1";
        check(llava, "multi_modal_projector.linear_1", Linear, projector, Tower::Merger);
        let gemma = "Gemma3ForConditionalGeneration";
        let matrix = "model.multi_modal_projector.mm_input_projection_weight";
        check(gemma, "multi_modal_projector.mm_input_projection_weight", Other, matrix, Tower::Merger);
        let q = "model.language_model.layers.7.self_attn.q_proj";
        check(gemma, "language_model.model.layers.7.self_attn.q_proj", Linear, q, Tower::Language);
        let internvl = "InternVLForConditionalGeneration";
        let q = "model.language_model.layers.2.self_attn.q_proj";
        check(internvl, "language_model.model.layers.2.self_attn.q_proj", Linear, q, Tower::Language);
        let projector = "model.multi_modal_projector.linear_2";
        check(internvl, "multi_modal_projector.linear_2", Linear, projector, Tower::Merger);
    }

    #[test]
    fn names_deceive_and_facts_do_not() {
        use ModuleClass::*;
        let patches = seen(
            "Lfm2VlForConditionalGeneration",
            "model.vision_tower.vision_model.embeddings.patch_embedding",
        );
        assert_eq!((patches.0, patches.3), (Linear, Tower::Vision));
        let gemma = "Gemma3nForConditionalGeneration";
        let projection = "model.embed_vision.embedding_projection";
        assert_eq!(seen(gemma, projection).0, Linear);
        assert_eq!(seen(gemma, "model.embed_vision.embedding").0, Embedding);
        assert_eq!(seen("GPT2LMHeadModel", "transformer.h.0.attn.c_attn").0, Transposed);
        assert_eq!(seen("GPT2LMHeadModel", "h.11.mlp.c_fc.weight").2, "transformer.h.11.mlp.c_fc");
        let head = seen("GPTNeoXForCausalLM", "embed_out");
        assert_eq!((head.0, head.1.as_str(), head.2.as_str()), (Head, "embed_out", "lm_head"));
        assert_eq!(seen("GPTNeoXForCausalLM", "gpt_neox.embed_in").0, Embedding);
        let shared = "model.layers.0.mlp.shared_expert_gate";
        assert_eq!(seen("Qwen2MoeForCausalLM", shared).0, Router);
        assert_eq!(seen("Qwen3NextForCausalLM", "model.layers.0.linear_attn.conv1d").0, Convolution);
    }

    #[test]
    fn mixtures_say_what_becomes_of_experts() {
        let module = named("Qwen3MoeForCausalLM").module("model.layers.3.mlp.experts.12.up_proj").unwrap();
        assert_eq!(module.class(Line::V5), Some(ModuleClass::Experts));
        assert_eq!(module.in_memory(Line::V5), ["model.layers.3.mlp.experts.gate_up_proj"]);
        assert_eq!(module.class(Line::V4), Some(ModuleClass::Linear));
        assert_eq!(module.in_memory(Line::V4), ["model.layers.3.mlp.experts.12.up_proj"]);
        assert_eq!(module.block(), Some(("model.layers.#", 3)));
        let gate = named("Qwen3MoeForCausalLM").module("model.layers.3.mlp.gate").unwrap();
        assert_eq!(gate.class(Line::V5), Some(ModuleClass::Router));
        assert!(gate.is_linear_module(Line::V4) && !gate.is_linear_module(Line::V5));

        let deepseek = named("DeepseekV3ForCausalLM");
        let [mixture] = deepseek.experts().iter().filter(|m| m.numbered).collect::<Vec<_>>()[..] else {
            panic!("one mixture: {:?}", deepseek.experts())
        };
        assert_eq!(mixture.at, "model.layers.#.mlp.experts");
        assert_eq!(mixture.parts, ["down_proj", "gate_proj", "up_proj"]);
        assert_eq!(mixture.stacks[&Line::V5]["gate_up_proj"], ["gate_proj", "up_proj"]);
        let group = deepseek.fused_group("model.layers.0.self_attn.kv_a_proj_with_mqa");
        assert_eq!(group, Some(("model.layers.0.self_attn", "fused_qkv_a_proj")));
        assert!(deepseek.ignored().iter().any(|expression| expression.contains("61")));

        let llama = named("Llama4ForConditionalGeneration");
        let stack = llama.module("language_model.model.layers.1.feed_forward.experts.gate_up_proj").unwrap();
        assert_eq!((stack.class(Line::V5), stack.rank(Line::V5)), (Some(ModuleClass::Experts), Some(3)));
        assert!(stack.is_bare(Line::V5));
    }

    #[test]
    fn every_architecture_is_read() {
        assert!(INDEX.slots.len() > 250);
        for key in INDEX.by_name.keys() {
            assert!(INDEX.get(key).is_some(), "{key}");
        }
    }

    #[test]
    fn configurations_name_architectures() {
        let of = |config: Value| Architecture::of_config(&config).map(Architecture::name);
        let llama = Some("LlamaForCausalLM");
        assert_eq!(of(json!({"architectures": ["LlamaForCausalLM"], "model_type": "x"})), llama);
        assert_eq!(of(json!({"architectures": ["None"], "model_type": "llama"})), llama);
        assert_eq!(of(json!({"model_type": "none", "text_config": {"model_type": "llama"}})), llama);
        assert_eq!(of(json!({"model_type": "none"})), None);
        assert_eq!(of(json!({"architectures": 3, "text_config": "x"})), None);
        let gemma = of(json!({"model_type": "gemma3"}));
        assert_eq!(gemma, Some("Gemma3ForConditionalGeneration"));
    }

    #[test]
    fn vllm_says_its_own_names() {
        let qwen = named("Qwen2_5_VLForConditionalGeneration");
        let name = |name| qwen.in_vllm_called(name);
        assert_eq!(
            name("model.layers.0.mlp.up_proj").as_deref(),
            Some("language_model.model.layers.0.mlp.up_proj")
        );
        assert_eq!(name("model.visual.merger.mlp.0").as_deref(), Some("visual.merger.mlp.0"));
        let group = qwen.fused_group("visual.blocks.0.mlp.gate_proj");
        assert_eq!(group, Some(("visual.blocks.0.mlp", "gate_up_proj")));
        assert_eq!(qwen.tied(), [["lm_head", "model.language_model.embed_tokens"]]);
    }

    #[test]
    fn names_of_many_experts_are_found_in_no_time() {
        let deepseek = named("DeepseekV3ForCausalLM");
        let names: Vec<String> = (3..61)
            .flat_map(|layer| {
                (0..256).map(move |expert| format!("model.layers.{layer}.mlp.experts.{expert}.up_proj"))
            })
            .collect();
        let start = Instant::now();
        assert!(names.iter().all(|name| deepseek.module(name).is_some()));
        assert!(start.elapsed().as_millis() < 1000, "{:?} in a build without optimisation", start.elapsed());
    }
}
