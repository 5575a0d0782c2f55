//! Which modules share one decision: ModelOpt's recipe grouping rules, over dotted components.
//!
//! The rules are those of `AutoQuantizeSearcher` (NVIDIA ModelOpt 0.33–0.47), in its order, where the first match wins.
//! They are all anchored at the end of the name, so the last components decide and no regular expression is needed.

use std::collections::{HashMap, HashSet};

/// One of ModelOpt's grouping rules, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `^(.*?)\.(q_proj|k_proj|v_proj)$`
    Attention,
    /// `^(.*?\.mlp\.experts)\.\d+\.(gate_proj|up_proj|down_proj)$`
    MlpExperts,
    /// `^(.*?\.mixer\.experts)\.\d+\.(up_proj|down_proj)$`
    MixerExperts,
    /// `^(.*?\.mlp\.experts\.local_experts)\.\d+\.(linear_fc1|linear_fc2)$`
    LocalExperts,
    /// `^(.*?)\.(gate_proj|up_proj)$`
    GateUp,
    /// `^(.*?)\.(\d+\.(w1|w2|w3))$`
    NumberedExperts,
    /// `^(.*?)\.((w1_linear|w2_linear|w3_linear)\.\d+)$`
    LinearExperts,
    /// `^(.*?)\.(in_proj_qkv|in_proj_z)$`
    LinearAttentionQkvz,
    /// `^(.*?)\.(in_proj_a|in_proj_b)$`
    LinearAttentionAb,
}

/// What identifies a recipe group: modules with equal values share one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecipeGroup<'a> {
    /// The rule that matched.
    pub rule: Rule,
    /// What the rule captured of the name, e.g. `model.layers.0.self_attn`.
    pub prefix: &'a str,
}

/// The recipe group that `module` belongs to, or `None` when it decides for itself alone.
pub fn recipe_group(module: &str) -> Option<RecipeGroup<'_>> {
    let (parent, last) = module.rsplit_once('.')?;
    let group = |rule, prefix| Some(RecipeGroup { rule, prefix });
    // `parent` with its number dropped, when the name reads `<prefix>.<number>.<last>`.
    let numbered =
        || parent.rsplit_once('.').filter(|(_, number)| is_number(number)).map(|(prefix, _)| prefix);
    let numbered_below =
        |suffix: &str| numbered().filter(|p| p.strip_suffix(suffix).is_some_and(|p| p.ends_with('.')));
    match last {
        "q_proj" | "k_proj" | "v_proj" => group(Rule::Attention, parent),
        "gate_proj" | "up_proj" | "down_proj" => {
            if let Some(prefix) = numbered_below("mlp.experts") {
                return group(Rule::MlpExperts, prefix);
            }
            if last != "gate_proj"
                && let Some(prefix) = numbered_below("mixer.experts")
            {
                return group(Rule::MixerExperts, prefix);
            }
            if last == "down_proj" { None } else { group(Rule::GateUp, parent) }
        }
        "linear_fc1" | "linear_fc2" => {
            numbered_below("mlp.experts.local_experts").and_then(|prefix| group(Rule::LocalExperts, prefix))
        }
        "w1" | "w2" | "w3" => numbered().and_then(|prefix| group(Rule::NumberedExperts, prefix)),
        "in_proj_qkv" | "in_proj_z" => group(Rule::LinearAttentionQkvz, parent),
        "in_proj_a" | "in_proj_b" => group(Rule::LinearAttentionAb, parent),
        _ if is_number(last) => match parent.rsplit_once('.') {
            Some((prefix, "w1_linear" | "w2_linear" | "w3_linear")) => group(Rule::LinearExperts, prefix),
            _ => None,
        },
        _ => None,
    }
}

fn is_number(component: &str) -> bool {
    !component.is_empty() && component.bytes().all(|b| b.is_ascii_digit())
}

/// The members of the groups `names` (in file order), found among `layers` by ModelOpt's rules.
///
/// A group is named after its first member, so every name is a member of its own group, and a layer that is a group's
/// name belongs to no other. What no rule finds (such as a Conv3d, which `layers` leaves out) stands for itself.
pub(crate) fn members(names: &[&str], layers: &[String]) -> Vec<Vec<String>> {
    let known: HashSet<&str> = names.iter().copied().collect();
    let mut found: HashMap<RecipeGroup, Vec<&str>> = HashMap::new();
    for layer in layers {
        if let Some(group) = recipe_group(layer) {
            found.entry(group).or_default().push(layer);
        }
    }
    names
        .iter()
        .map(|&name| {
            let together = recipe_group(name).and_then(|group| found.remove(&group)).unwrap_or_default();
            let mut members: Vec<String> = together
                .into_iter()
                .filter(|&layer| layer == name || !known.contains(layer))
                .map(str::to_string)
                .collect();
            if !members.iter().any(|m| m == name) {
                members.insert(0, name.to_string());
            }
            members
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(module: &str) -> Option<(Rule, &str)> {
        recipe_group(module).map(|g| (g.rule, g.prefix))
    }

    #[test]
    fn each_rule_captures_what_its_expression_would() {
        let cases = [
            ("m.layers.0.self_attn.v_proj", Rule::Attention, "m.layers.0.self_attn"),
            ("m.layers.0.mlp.experts.7.down_proj", Rule::MlpExperts, "m.layers.0.mlp.experts"),
            ("m.layers.0.mlp.experts.7.gate_proj", Rule::MlpExperts, "m.layers.0.mlp.experts"),
            ("m.layers.0.mixer.experts.12.up_proj", Rule::MixerExperts, "m.layers.0.mixer.experts"),
            (
                "m.0.mlp.experts.local_experts.3.linear_fc2",
                Rule::LocalExperts,
                "m.0.mlp.experts.local_experts",
            ),
            ("m.layers.0.mlp.up_proj", Rule::GateUp, "m.layers.0.mlp"),
            ("m.layers.0.mixer.experts.12.gate_proj", Rule::GateUp, "m.layers.0.mixer.experts.12"),
            ("m.block_sparse_moe.experts.4.w2", Rule::NumberedExperts, "m.block_sparse_moe.experts"),
            ("m.ffn.experts.mlp.w3_linear.15", Rule::LinearExperts, "m.ffn.experts.mlp"),
            ("m.linear_attn.in_proj_z", Rule::LinearAttentionQkvz, "m.linear_attn"),
            ("m.linear_attn.in_proj_b", Rule::LinearAttentionAb, "m.linear_attn"),
        ];
        for (module, rule, prefix) in cases {
            assert_eq!(captured(module), Some((rule, prefix)), "{module}");
        }
    }

    #[test]
    fn names_outside_every_rule_stand_alone() {
        for module in [
            "q_proj",
            "lm_head",
            "m.layers.0.mlp.down_proj",
            "m.visual.blocks.0.mlp.linear_fc1",
            "visual.merger.mlp.0",
            "m.experts.w1",
            "m.shared.w1",
            "mlp.experts.0.down_proj",
            "m.xmlp.experts.0.down_proj",
            "m.self_attn.o_proj",
        ] {
            assert_eq!(captured(module), None, "{module}");
        }
    }

    #[test]
    fn a_group_without_layers_is_its_own_member_and_layers_come_in_model_order() {
        let layers: Vec<String> =
            ["a.q_proj", "a.k_proj", "a.v_proj", "a.o_proj", "m.gate_proj", "m.up_proj"]
                .map(String::from)
                .into();
        let members = members(&["patch_embed.proj", "a.q_proj", "a.o_proj", "m.gate_proj"], &layers);
        assert_eq!(members[0], ["patch_embed.proj"]);
        assert_eq!(members[1], ["a.q_proj", "a.k_proj", "a.v_proj"]);
        assert_eq!(members[2], ["a.o_proj"]);
        assert_eq!(members[3], ["m.gate_proj", "m.up_proj"]);
    }

    #[test]
    fn no_module_is_claimed_by_two_groups() {
        let layers: Vec<String> = ["a.q_proj", "a.k_proj", "a.v_proj"].map(String::from).into();
        let members = members(&["a.q_proj", "a.k_proj"], &layers);
        assert_eq!(members, [vec!["a.q_proj", "a.v_proj"], vec!["a.k_proj"]]);
    }
}
