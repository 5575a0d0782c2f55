//! The tensors of language models.

use super::sizes::{Gap, Sizes, times};
use super::tensors::{Size, TensorList};

/// The blocks of language models whose shapes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextFamily {
    Llama,
    Mistral,
    /// With biases of queries, keys and values.
    Qwen2,
    /// With norms of queries and keys.
    Qwen3,
    /// The same with mixtures of experts.
    Qwen3Moe,
}

impl TextFamily {
    /// The size of a head.
    fn head_size(self, config: Sizes) -> Size {
        if let Some(stated) = config.number("head_dim") {
            return Some(stated);
        }
        // Releases differ in what they take where nothing is stated.
        if matches!(self, TextFamily::Qwen3 | TextFamily::Qwen3Moe) {
            return None;
        }
        config.number("hidden_size")?.checked_div(config.number("num_attention_heads")?)
    }

    /// The number of heads of keys and values.
    fn key_value_heads(self, config: Sizes) -> Size {
        let is_for_each_query = config.is_null("num_key_value_heads")
            || self == TextFamily::Llama && !config.has("num_key_value_heads");
        config.number(if is_for_each_query { "num_attention_heads" } else { "num_key_value_heads" })
    }
}

/// The tensors of the language model that `config` describes, whose blocks and embedding are below `prefix`; a gap where it
/// does not say of how many blocks it consists, or says more than `most`. `is_there` says whether a tensor is on disk, for what is written in two ways.
pub(super) fn add_text(
    list: &mut TensorList,
    family: TextFamily,
    config: Sizes,
    prefix: &str,
    most: usize,
    is_there: &dyn Fn(&str) -> bool,
) -> Result<(), Gap> {
    let hidden = config.number("hidden_size");
    let blocks = config.count("num_hidden_layers", most)?;
    let mixtures = Mixtures::of(family, config)?;
    let has_stacks =
        (0..blocks).any(|number| mixtures.are_stacked(&format!("{prefix}layers.{number}.mlp"), is_there));
    let count = (0..blocks).filter(|number| mixtures.is_one(*number)).count();
    if !has_stacks && mixtures.experts > most / count.max(1) {
        return Err(Gap::TooMany { key: "num_experts", stated: mixtures.experts });
    }
    let head = family.head_size(config);
    let queries = times(head, config.number("num_attention_heads"));
    let keys = times(head, family.key_value_heads(config));
    let (input_bias, output_bias) = match family {
        TextFamily::Mistral => (false, false),
        TextFamily::Qwen2 => (true, false),
        TextFamily::Llama | TextFamily::Qwen3 | TextFamily::Qwen3Moe => {
            (config.is_on("attention_bias"), config.is_on("attention_bias"))
        }
    };
    list.add(format!("{prefix}embed_tokens.weight"), &[config.number("vocab_size"), hidden]);
    for number in 0..blocks {
        let block = format!("{prefix}layers.{number}");
        list.add_norm(&format!("{block}.input_layernorm"), hidden, false);
        list.add_norm(&format!("{block}.post_attention_layernorm"), hidden, false);
        let attention = format!("{block}.self_attn");
        for (name, rows) in [("q_proj", queries), ("k_proj", keys), ("v_proj", keys)] {
            list.add_linear(&format!("{attention}.{name}"), rows, hidden, input_bias);
        }
        list.add_linear(&format!("{attention}.o_proj"), hidden, queries, output_bias);
        if matches!(family, TextFamily::Qwen3 | TextFamily::Qwen3Moe) {
            list.add_norm(&format!("{attention}.q_norm"), head, false);
            list.add_norm(&format!("{attention}.k_norm"), head, false);
        }
        let mlp = format!("{block}.mlp");
        if mixtures.is_one(number) {
            mixtures.add(list, &mlp, hidden, is_there);
        } else {
            let has_bias = family == TextFamily::Llama && config.is_on("mlp_bias");
            add_mlp(list, &mlp, hidden, config.number("intermediate_size"), has_bias);
        }
    }
    list.add_norm(&format!("{prefix}norm"), hidden, false);
    Ok(())
}

fn add_mlp(list: &mut TensorList, name: &str, hidden: Size, inner: Size, has_bias: bool) {
    list.add_linear(&format!("{name}.gate_proj"), inner, hidden, has_bias);
    list.add_linear(&format!("{name}.up_proj"), inner, hidden, has_bias);
    list.add_linear(&format!("{name}.down_proj"), hidden, inner, has_bias);
}

/// Which blocks have experts, and which experts.
struct Mixtures {
    experts: usize,
    inner: Size,
    every: usize,
    without: Vec<usize>,
}

impl Mixtures {
    /// A gap where `config` does not say how many experts there are.
    fn of(family: TextFamily, config: Sizes) -> Result<Mixtures, Gap> {
        if family != TextFamily::Qwen3Moe {
            return Ok(Mixtures { experts: 0, inner: None, every: 1, without: vec![] });
        }
        let every = config.number_or("decoder_sparse_step", 1).filter(|step| *step > 0);
        let without = config.numbers_or("mlp_only_layers", &[]);
        Ok(Mixtures {
            experts: config.count("num_experts", usize::MAX)?,
            inner: config.number("moe_intermediate_size"),
            every: every.ok_or(Gap::NotStated("decoder_sparse_step"))?,
            without: without.ok_or(Gap::NotStated("mlp_only_layers"))?,
        })
    }

    /// The names of the experts in one tensor each.
    fn stacks(mlp: &str) -> [String; 2] {
        ["gate_up_proj", "down_proj"].map(|stack| format!("{mlp}.experts.{stack}"))
    }

    fn are_stacked(&self, mlp: &str, is_there: &dyn Fn(&str) -> bool) -> bool {
        self.experts > 0 && Mixtures::stacks(mlp).iter().any(|stack| is_there(stack))
    }

    fn is_one(&self, block: usize) -> bool {
        self.experts > 0 && !self.without.contains(&block) && (block + 1).is_multiple_of(self.every)
    }

    fn add(&self, list: &mut TensorList, mlp: &str, hidden: Size, is_there: &dyn Fn(&str) -> bool) {
        list.add(format!("{mlp}.gate.weight"), &[Some(self.experts), hidden]);
        if self.are_stacked(mlp, is_there) {
            // Which of the last two dimensions comes first differs from release to release.
            Mixtures::stacks(mlp).into_iter().for_each(|stack| list.add(stack, &[None]));
            return;
        }
        for expert in 0..self.experts {
            add_mlp(list, &format!("{mlp}.experts.{expert}"), hidden, self.inner, false);
        }
    }
}
