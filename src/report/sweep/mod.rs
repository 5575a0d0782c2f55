//! The report of a sweep as a page and as Markdown: a pure function of plain data, without clock, paths or network.

mod figures;
mod frontier;
mod html;
mod maps;
mod markdown;
mod numbers;
mod shades;
mod tables;
mod words;

use crate::format::QuantisationError;
use crate::manifest::{Group, Manifest};
use crate::model::{Tower, block_of, kind_of};

/// Everything that the report of a sweep shows.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// What was swept, such as the model's name.
    pub title: String,
    /// Facts about the manifest and the layout: label and value, in this order.
    pub facts: Vec<(String, String)>,
    /// The recipe groups in model order.
    pub groups: Vec<GroupRow>,
    /// The schemes in the order of the sweep.
    pub schemes: Vec<SchemeRow>,
    /// The summed score to measure schemes against, at each size.
    pub frontier: Frontier,
    /// What quantising each layer loses; `None` where it was not measured.
    pub layer_errors: Option<Vec<LayerError>>,
    /// Bytes of all tensors of the base checkpoint, where there is one.
    pub base_bytes: Option<u64>,
    /// Bytes that the whole family takes on disk when schemes share shards; `None` when nothing is shared.
    pub unique_bytes: Option<u64>,
}

/// A recipe group: where it stands in the model, and what it suffers.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupRow {
    /// The name of the first member, in the manifest's spelling.
    pub name: String,
    /// The part of the model.
    pub tower: Tower,
    /// The block's number, where it belongs to one.
    pub block: Option<u32>,
    /// The kinds of its members in short: `o_proj`, `q,k,v_proj`.
    pub kind: String,
    /// Number of weights.
    pub parameters: u64,
    /// The sensitivity score; higher is more harmful, not finite where scoring failed.
    pub score: f64,
    /// Bits per weight once quantised; `None` for a group that no format but `NONE` was tried for.
    pub candidate_bits: Option<f64>,
    /// Whether the scoring inputs exercised it.
    pub scored: bool,
    /// Why the checkpoint keeps it in BF16 whatever is selected, such as for a convolution.
    pub kept: Option<String>,
}

/// How a scheme stores a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// As in the base checkpoint.
    Bf16,
    /// In FP8.
    Fp8,
    /// Selected for FP8, but kept as in the base checkpoint.
    Kept,
}

/// One scheme of the sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemeRow {
    /// The name, which is its directory's.
    pub name: String,
    /// The coverage point in percent, for a policy that has them.
    pub percent: Option<f64>,
    /// How each of [`Sweep::groups`] is stored, in the same order.
    pub stored: Vec<Stored>,
    /// Linear layers in FP8.
    pub fp8_layers: usize,
    /// Bytes of all its tensors.
    pub bytes: u64,
    /// Bits per weight over all groups, by ModelOpt's cost model.
    pub effective_bits: f64,
    /// The summed score of the groups in FP8.
    pub score: f64,
}

/// Summed scores that are attainable, by rising effective bits: the least ones where a solver found them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Frontier {
    /// How it was found, as the report names it: `Pareto frontier`, `greedy frontier`.
    pub name: String,
    /// The points.
    pub points: Vec<FrontierPoint>,
}

/// A point of the frontier.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrontierPoint {
    /// Bits per weight over all groups, by ModelOpt's cost model.
    pub effective_bits: f64,
    /// Summed score.
    pub score: f64,
}

/// What quantising one layer loses.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerError {
    /// The module's name, in any spelling.
    pub module: String,
    /// Signal to quantisation noise in decibels; infinite when nothing is lost.
    pub sqnr_db: f64,
    /// Mean squared error.
    pub mse: f64,
    /// Share of the weights beyond the largest code, from 0 to 1.
    pub saturated: f64,
    /// Share of the weights that become zero, from 0 to 1.
    pub zeroed: f64,
}

impl LayerError {
    /// The row of `module`, from the sums of the export pass.
    pub fn new(module: impl Into<String>, error: &QuantisationError) -> Self {
        LayerError {
            module: module.into(),
            sqnr_db: error.sqnr_db(),
            mse: error.mse(),
            saturated: error.saturated_share(),
            zeroed: error.zeroed_share(),
        }
    }
}

impl GroupRow {
    /// The row of `group`; `kept` says why the checkpoint cannot store it in FP8, where it cannot.
    pub fn new(group: &Group, kept: Option<String>) -> Self {
        GroupRow {
            name: group.name.clone(),
            tower: group.tower(),
            block: group.block(),
            kind: kinds(&group.members).unwrap_or_else(|| group.kind().into()),
            parameters: group.parameters().unwrap_or(0),
            score: group.score,
            candidate_bits: group.candidate().map(|c| c.format.effective_bits),
            scored: group.is_scored(),
            kept,
        }
    }

    /// Whether some scheme could store it in FP8, and its score says what that costs.
    fn is_choice(&self) -> bool {
        self.candidate_bits.is_some() && self.scored && self.kept.is_none()
    }
}

/// The distinct kinds of `members` in short; the ending that all share is written once: `q,k,v_proj`.
fn kinds(members: &[String]) -> Option<String> {
    let mut kinds: Vec<&str> = Vec::new();
    for member in members {
        let kind = kind_of(member);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let (first, rest) = kinds.split_first()?;
    let ending = first.rfind('_').map_or("", |at| &first[at..]);
    let stems: Option<Vec<&str>> = rest.iter().map(|k| k.strip_suffix(ending)).collect();
    Some(match (rest, stems) {
        ([], _) => first.to_string(),
        (_, Some(stems)) if !ending.is_empty() => {
            let first = &first[..first.len() - ending.len()];
            format!("{first},{}{ending}", stems.join(","))
        }
        _ => kinds.join(","),
    })
}

impl Sweep {
    /// A report about `manifest` without schemes; `kept` says of a group why the checkpoint cannot store it in FP8. The
    /// frontier is the greedy one until a better one takes its place.
    pub fn new(
        title: impl Into<String>,
        manifest: &Manifest,
        kept: impl Fn(&Group) -> Option<String>,
    ) -> Self {
        let groups: Vec<GroupRow> = manifest.groups().iter().map(|g| GroupRow::new(g, kept(g))).collect();
        Sweep {
            title: title.into(),
            facts: facts(manifest, &groups),
            frontier: frontier::greedy(&groups),
            groups,
            schemes: Vec::new(),
            layer_errors: None,
            base_bytes: None,
            unique_bytes: None,
        }
    }

    /// Adds a scheme that stores the groups as `stored` says, in the order of [`Sweep::groups`].
    ///
    /// # Panics
    /// When `stored` is not as long as there are groups: a defect of the caller.
    pub fn add(
        &mut self,
        name: &str,
        percent: Option<f64>,
        stored: Vec<Stored>,
        fp8_layers: usize,
        bytes: u64,
    ) {
        assert_eq!(stored.len(), self.groups.len(), "one format for each group");
        let fp8 = self.groups.iter().zip(&stored).map(|(g, s)| (g, *s == Stored::Fp8));
        self.schemes.push(SchemeRow {
            name: name.into(),
            percent,
            effective_bits: effective_bits(fp8.clone()),
            score: fp8.filter(|(_, fp8)| *fp8).map(|(g, _)| g.score).sum(),
            stored,
            fp8_layers,
            bytes,
        });
    }

    /// The page: one file that needs no other, no network and no script.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// The same in short, as Markdown.
    pub fn to_markdown(&self) -> String {
        markdown::report(self)
    }

    /// The names of the schemes without the words that all of them begin and end with: `top10`.
    fn short_names(&self) -> Vec<String> {
        let words: Vec<Vec<&str>> = self.schemes.iter().map(|s| s.name.split('_').collect()).collect();
        let shortest = words.iter().map(Vec::len).min().unwrap_or(0);
        if words.len() < 2 {
            return self.schemes.iter().map(|s| s.name.clone()).collect();
        }
        let common = |from: fn(&[&str], usize) -> String| {
            (0..shortest).take_while(|&at| words.iter().all(|w| from(w, at) == from(&words[0], at))).count()
        };
        let begin = common(|words, at| words[at].to_string());
        let end = common(|words, at| words[words.len() - 1 - at].to_string()).min(shortest - begin);
        let short = |w: &Vec<&str>| w[begin..w.len() - end].join("_");
        match words.iter().map(short).collect::<Vec<_>>() {
            names if names.iter().any(String::is_empty) => {
                self.schemes.iter().map(|s| s.name.clone()).collect()
            }
            names => names,
        }
    }
}

/// Bits per weight over all groups, by ModelOpt's cost model: Σ cost ÷ Σ parameters × 16, scales and unranked weights not
/// counted.
fn effective_bits<'a>(groups: impl Iterator<Item = (&'a GroupRow, bool)>) -> f64 {
    let (mut bits, mut parameters) = (0.0, 0.0);
    for (group, quantised) in groups {
        let each = group.candidate_bits.filter(|_| quantised).unwrap_or(16.0);
        bits += group.parameters as f64 * each;
        parameters += group.parameters as f64;
    }
    if parameters > 0.0 { bits / parameters } else { 16.0 }
}

fn facts(manifest: &Manifest, groups: &[GroupRow]) -> Vec<(String, String)> {
    let candidates = groups.iter().filter(|g| g.candidate_bits.is_some());
    let unscored = candidates.clone().filter(|g| !g.scored).count();
    let kept = candidates.clone().filter(|g| g.kept.is_some()).count();
    let broken = candidates.clone().filter(|g| !g.score.is_finite()).count();
    let mut facts = Vec::new();
    let mut fact = |label: &str, value: String| facts.push((label.to_string(), value));
    if let Some(name) = manifest.scheme_name() {
        fact("Search", name.to_string());
    }
    if let Some(method) = manifest.method() {
        fact("Scored by", method.to_string());
    }
    if !manifest.quant_formats().is_empty() {
        fact("Format", manifest.quant_formats().join(", "));
    }
    fact("Candidates", format!("{} of {}", candidates.count(), numbers::groups(groups.len())));
    fact("Weights in groups", numbers::count(groups.iter().map(|g| g.parameters).sum()));
    if kept > 0 {
        fact("Kept in BF16", format!("{}, whatever is selected", numbers::groups(kept)));
    }
    if unscored > 0 {
        fact("Never scored", numbers::groups(unscored));
    }
    if broken > 0 {
        fact("Without a finite score", numbers::groups(broken));
    }
    facts
}

/// The tower, block and kind of a module by its name alone.
fn place_of(module: &str) -> (Tower, Option<u32>, &str) {
    (Tower::of(module), block_of(module), kind_of(module))
}

#[cfg(test)]
mod tests;
