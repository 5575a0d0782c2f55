//! The manifest of an AutoQuant run of qlua's own: groups, costs and the search as ModelOpt has them
//! (`AutoQuantizeGradientSearcher`, `AutoQuantizeKLDivSearcher`), from scores that the engine has computed.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::scored::{NONE, ScoredGroup, sections};
use crate::error::{Error, Result};
use crate::format::{FormatId, Granularity};
use crate::model::{LM_HEAD, Model, RecipeGroup, recipe_group};
use crate::plan::solver::{Choice, Knapsack};
use crate::plan::{cost_of_bits, effective_bits};
use crate::selector::Globs;
use crate::words::words;

words! {
    /// How layers are scored.
    pub enum ScoringMethod: "scoring method" {
        /// By the gradient of the loss and the error of each layer's output.
        Gradient = "gradient",
        /// By the KL divergence of the model's output.
        KlDivergence = "kl_div",
    }
}

/// One layer as it was scored.
#[derive(Debug, Clone)]
pub struct ScoredLayer {
    /// Its name, in any spelling.
    pub name: String,
    /// Weights.
    pub weights: usize,
    /// A score for each format.
    pub scores: Vec<f64>,
    /// The largest magnitude of its inputs.
    pub input_amax: f32,
    /// The largest magnitude of its weight.
    pub weight_amax: f32,
    /// Whether any sample reached it.
    pub is_reached: bool,
}

/// A run: what was scored, with what, and how.
#[derive(Debug, Clone)]
pub struct AutoQuantRun {
    /// The scheme's name.
    pub name: String,
    /// How layers were scored.
    pub method: ScoringMethod,
    /// What the search solves for: mean bits of a weight.
    pub effective_bits: f64,
    /// The formats, each with the granularity of its scales.
    pub formats: Vec<(FormatId, Granularity)>,
    /// Globs of layers that stay as they are.
    pub disabled: Vec<String>,
    /// Every linear layer, in the order in which they run.
    pub layers: Vec<ScoredLayer>,
    /// What the samples were made from.
    pub dataset: Value,
    /// How the run was made.
    pub run_config: Value,
    /// Samples that scored.
    pub score_steps: usize,
}

/// The chosen format of each group, and what that amounts to.
struct SearchOutcome {
    chosen: Vec<usize>,
    effective_bits: f64,
    score: f64,
    is_satisfied: bool,
}

impl AutoQuantRun {
    /// The manifest, names as Transformers has them in memory.
    ///
    /// # Errors
    /// [`Error::Refused`] when no layer is left to score, one was not reached by any sample, or no score is above 0.
    pub fn manifest(&self, model: &Model) -> Result<Value> {
        let layers = self.in_memory(model);
        let groups = self.groups(&layers)?;
        let search = self.search(&groups)?;
        let sections = sections(&groups);
        let formats: Vec<String> = self.formats.iter().map(|format| manifest_name(*format)).collect();
        let quantised = sections.layers.values().filter(|layer| layer["quantized"] == json!(true)).count();
        let best: Map<String, Value> = groups
            .iter()
            .zip(&search.chosen)
            .map(|(group, chosen)| (group.key(), json!(group.formats[*chosen])))
            .collect();
        Ok(json!({
            "scheme": {
                "name": self.name,
                "auto_quantize_bits": self.effective_bits,
                "auto_quantize_method": self.method.word(),
                "auto_quantize_score_size": self.score_steps,
                "coverage_mode": "full",
                "coverage_fraction": 1.0,
                "quant_formats": formats,
            },
            "model": {"id": model.name()},
            "dataset": self.dataset,
            "quantization": {"formats": formats, "disabled_layers": self.disabled},
            "run_config": self.run_config,
            "num_quantized_layers": quantised,
            "layers": sections.layers,
            "autoquant_state": {
                "keys": ["candidate_stats", "best", "constraints"],
                "constraints": {"effective_bits": search.effective_bits},
                "score": search.score,
                "is_satisfied": search.is_satisfied,
            },
            "layer_sensitivity": sections.groups,
            "sensitivity_ranking": sections.ranking,
            "best": best,
            "amax": amax(&layers, &groups),
        }))
    }

    /// The amax of every eligible layer's inputs, as a file of its own.
    pub fn input_amax(manifest: &Value) -> Value {
        let all = manifest["amax"].as_object().cloned().unwrap_or_default();
        Value::Object(all.into_iter().filter(|(name, _)| name.ends_with("input_quantizer")).collect())
    }

    /// The first module of each group of `manifest` that may be quantised and suffers from no format, as its weights, inputs or
    /// gradients are zeros. ModelOpt gives it the score 0 too, which is how rankings know what was never scored.
    pub fn without_error(manifest: &Value) -> Vec<String> {
        let groups = manifest["layer_sensitivity"].as_object().into_iter().flat_map(|groups| groups.values());
        let is_without = |group: &&Value| {
            group["importance"] == json!(0.0) && group["formats"].as_array().is_some_and(|all| all.len() > 1)
        };
        groups
            .filter(is_without)
            .filter_map(|group| group["module_names"][0].as_str().map(str::to_owned))
            .collect()
    }

    /// The layers by their names in memory.
    fn in_memory(&self, model: &Model) -> Vec<(String, &ScoredLayer)> {
        let names = model.modules();
        let in_memory = |name: &str| match names.on_disk(name) {
            Some(on_disk) if name != LM_HEAD => names.in_memory(on_disk),
            _ => name.to_string(),
        };
        self.layers.iter().map(|layer| (in_memory(&layer.name), layer)).collect()
    }

    fn groups(&self, layers: &[(String, &ScoredLayer)]) -> Result<Vec<ScoredGroup>> {
        let disabled = Globs::new(&self.disabled)?;
        let mut order: Vec<Vec<usize>> = vec![];
        let mut places: HashMap<RecipeGroup, usize> = HashMap::new();
        for (at, (name, _)) in layers.iter().enumerate() {
            let place = match recipe_group(name) {
                Some(group) => *places.entry(group).or_insert(order.len()),
                None => order.len(),
            };
            match order.get_mut(place) {
                Some(group) => group.push(at),
                None => order.push(vec![at]),
            }
        }
        let groups = order.into_iter().map(|members| {
            let full = members.iter().map(|at| layers[*at].1.weights as f64).sum::<f64>();
            let modules: Vec<String> = members.iter().map(|at| layers[*at].0.clone()).collect();
            // A disabled member makes the whole group one that stays.
            if modules.iter().any(|module| disabled.matches(module)) {
                let (formats, scores, costs) = (vec![NONE.into()], vec![0.0], vec![full]);
                return Ok(ScoredGroup { modules, formats, scores, costs });
            }
            let mut formats: Vec<String> = vec![];
            let (mut scores, mut costs) = (vec![], vec![]);
            // As in ModelOpt, no format counts for more than one that has fewer bits or as many and came before it.
            let mut previous = f64::INFINITY;
            for (which, format) in self.formats.iter().enumerate() {
                let of_member = |at: &usize| layers[*at].1.scores[which];
                let score = match self.method {
                    ScoringMethod::Gradient => members.iter().map(of_member).sum::<f64>(),
                    ScoringMethod::KlDivergence => members.first().map_or(0.0, of_member),
                };
                if !score.is_finite() {
                    return Err(Error::refused(format!("`{}` has the score {score}", modules[0]))
                        .with_hint("its inputs or gradients overflow: the checkpoint may be damaged"));
                }
                previous = score.min(previous);
                let bits = format.0.format().bits();
                formats.push(format!("{}(effective-bits: {bits:.1})", manifest_name(*format)));
                scores.push(previous);
                costs.push(cost_of_bits(bits, full));
            }
            formats.push(NONE.into());
            scores.push(0.0);
            costs.push(full);
            Ok(ScoredGroup { modules, formats, scores, costs })
        });
        let groups: Vec<ScoredGroup> = groups.collect::<Result<_>>()?;
        let candidates = || groups.iter().filter(|group| group.is_candidate());
        if candidates().next().is_none() {
            return Err(Error::refused("no layer is left to score: all are disabled"));
        }
        let reached: HashSet<&str> =
            layers.iter().filter(|(_, layer)| layer.is_reached).map(|(name, _)| name.as_str()).collect();
        let mut modules = candidates().flat_map(|group| &group.modules);
        if let Some(module) = modules.find(|module| !reached.contains(module.as_str())) {
            return Err(Error::refused(format!("`{module}` was not scored: no sample reaches it"))
                .with_hint(
                    "calibrate with data that reaches every layer, such as pairs of pictures and captions",
                ));
        }
        if candidates().all(|group| group.importance() == 0.0) {
            return Err(Error::refused("no layer suffers from any format: every score is 0")
                .with_hint("the checkpoint may be damaged: try `qlua verify`"));
        }
        Ok(groups)
    }

    /// What the search chooses: by scores the least sum within the budget, by divergences the lowest threshold.
    fn search(&self, groups: &[ScoredGroup]) -> Result<SearchOutcome> {
        let total: f64 = groups.iter().map(|group| group.costs.last().copied().unwrap_or(0.0)).sum();
        let budget = cost_of_bits(self.effective_bits, total);
        let chosen = match self.method {
            ScoringMethod::Gradient => {
                let choices = |group: &ScoredGroup| {
                    let pairs = group.scores.iter().zip(&group.costs);
                    pairs.map(|(score, cost)| Choice { score: *score, cost: *cost }).collect()
                };
                let knapsack = Knapsack::new(groups.iter().map(choices).collect())?;
                knapsack.solve(budget).map(|solution| solution.choices)
            }
            ScoringMethod::KlDivergence => Some(below_threshold(groups, budget)),
        };
        // Where nothing fits, everything is quantised, as in ModelOpt.
        let chosen = chosen.unwrap_or_else(|| vec![0; groups.len()]);
        let sum = |values: fn(&ScoredGroup) -> &Vec<f64>| {
            groups.iter().zip(&chosen).map(|(group, at)| values(group)[*at]).sum::<f64>()
        };
        let cost = sum(|group| &group.costs);
        let is_satisfied = cost <= budget * (1.0 + 1e-9);
        Ok(SearchOutcome {
            effective_bits: effective_bits(cost, total),
            score: sum(|group| &group.scores),
            chosen,
            is_satisfied,
        })
    }
}

/// For each group the first format whose divergence is at most a threshold, which a hundred halvings make the least that fits
/// the budget (`AutoQuantizeKLDivSearcher.run_search_with_stats`).
fn below_threshold(groups: &[ScoredGroup], budget: f64) -> Vec<usize> {
    let all = || groups.iter().flat_map(|group| group.scores.iter().copied());
    let (mut low, mut high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let choose = |threshold: f64| -> Vec<usize> {
        let first =
            |group: &ScoredGroup| group.scores.iter().position(|score| *score <= threshold).unwrap_or(0);
        groups.iter().map(first).collect()
    };
    let mut chosen = vec![];
    for _ in 0..100 {
        let threshold = (low + high) / 2.0;
        chosen = choose(threshold);
        let cost: f64 = groups.iter().zip(&chosen).map(|(group, at)| group.costs[*at]).sum();
        if cost <= budget {
            high = threshold;
        } else {
            low = threshold;
        }
    }
    chosen
}

/// What manifests call a format.
fn manifest_name((format, granularity): (FormatId, Granularity)) -> String {
    format.manifest_name(granularity).unwrap_or("CUSTOM").to_string()
}

/// The amax of inputs and weights of every layer of a group that may be quantised, by quantiser.
fn amax(layers: &[(String, &ScoredLayer)], groups: &[ScoredGroup]) -> Map<String, Value> {
    let eligible: HashSet<&str> = groups
        .iter()
        .filter(|group| group.is_candidate())
        .flat_map(|group| &group.modules)
        .map(String::as_str)
        .collect();
    layers
        .iter()
        .filter(|(name, _)| eligible.contains(name.as_str()))
        .flat_map(|(name, layer)| {
            [
                (format!("{name}.input_quantizer"), json!(f64::from(layer.input_amax))),
                (format!("{name}.weight_quantizer"), json!(f64::from(layer.weight_amax))),
            ]
        })
        .collect()
}
