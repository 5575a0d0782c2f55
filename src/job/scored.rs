//! The sections of a sensitivity manifest that hold scores, in the newest published schema.

use serde_json::{Map, Value, json};

/// What a manifest calls a group that stays as it is.
pub(super) const NONE: &str = "NONE(effective-bits: 16.0)";

/// A recipe group with a score and a cost for each of its formats.
#[derive(Debug, Clone)]
pub(super) struct ScoredGroup {
    /// The modules that share the decision, as Transformers has them in memory.
    pub modules: Vec<String>,
    /// The formats as a manifest calls them, [`NONE`] last.
    pub formats: Vec<String>,
    /// A score for each format.
    pub scores: Vec<f64>,
    /// A cost for each format, in weights of 16 bits.
    pub costs: Vec<f64>,
}

/// The sections that follow from the groups.
pub(super) struct Sections {
    /// `layers`.
    pub layers: Map<String, Value>,
    /// `layer_sensitivity`.
    pub groups: Map<String, Value>,
    /// `sensitivity_ranking`.
    pub ranking: Vec<Value>,
}

impl ScoredGroup {
    /// The key of the group: that of its first member.
    pub fn key(&self) -> String {
        format!("{}.quant_recipe", self.modules.first().map_or("", String::as_str))
    }

    /// The largest score, as in ModelOpt.
    pub fn importance(&self) -> f64 {
        self.scores.iter().copied().fold(0.0, f64::max)
    }

    /// Whether it has a format other than NONE.
    pub fn is_candidate(&self) -> bool {
        self.formats.len() > 1
    }
}

/// The sections of `groups`, which are in model order.
pub(super) fn sections(groups: &[ScoredGroup]) -> Sections {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by(|&a, &b| groups[a].importance().total_cmp(&groups[b].importance()));
    let mut ranks = vec![0; groups.len()];
    for (rank, &index) in (1..).zip(&order) {
        ranks[index] = rank;
    }
    let mut layers = Map::new();
    for group in groups {
        for module in &group.modules {
            let layer = json!({"quantized": group.is_candidate(), "module_type": "QuantLinear"});
            layers.insert(module.clone(), layer);
        }
    }
    let entry = |(group, rank): (&ScoredGroup, i32)| {
        let entry = json!({"formats": group.formats, "scores": group.scores, "costs": group.costs,
                           "importance": group.importance(), "module_names": group.modules, "rank": rank});
        (group.key(), entry)
    };
    Sections {
        layers,
        groups: groups.iter().zip(ranks).map(entry).collect(),
        ranking: order
            .iter()
            .map(|&i| json!({"name": groups[i].key(), "importance": groups[i].importance()}))
            .collect(),
    }
}
