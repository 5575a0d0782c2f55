//! What the report of a sweep shows, as plain data.

use std::collections::HashSet;

use super::origin::SchemeOrigin;
use crate::format::QuantisationError;
use crate::manifest::{Group, Manifest, Selection};
use crate::model::{Tower, kind_of};
use crate::plan::{CostModel, Figures, Frontier};
use crate::report::names::shortened;
use crate::units;
use crate::words::words;

/// Everything that the report of a sweep shows.
#[derive(Debug, Clone)]
pub struct SweepReport {
    /// What was swept, such as the model's name.
    pub title: String,
    /// Facts about the manifest and the layout: label and value, in this order.
    pub facts: Vec<(String, String)>,
    /// The recipe groups in model order.
    pub groups: Vec<GroupRow>,
    /// The schemes in the order of the sweep.
    pub schemes: Vec<SchemeRow>,
    /// The least summed score at each size, to measure schemes against; empty where nothing could be solved for.
    pub frontier: Frontier,
    /// What quantising each layer loses; `None` where it was not measured.
    pub layer_errors: Option<Vec<LayerError>>,
    /// What the schemes cost in quality, as far as that was measured; rows of schemes that the sweep has not are not shown.
    pub quality: Vec<MeasuredQuality>,
    /// Bytes of all tensors of the base checkpoint, where there is one.
    pub base_bytes: Option<u64>,
    /// What sharing shards saves; `None` when there are no weight files.
    pub sharing: Option<Sharing>,
}

/// Bytes of the weight files of all schemes together, as `du` counts them: a copy or a reflink is a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Each file counted once, however many names it has.
    pub unique_bytes: u64,
    /// Each file counted in every directory that holds it.
    pub copied_bytes: u64,
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
    /// Whether some format other than `NONE` was tried for it.
    pub is_candidate: bool,
    /// Whether the scoring inputs exercised it.
    pub is_scored: bool,
    /// Why it stays in BF16 whatever is selected, such as for a convolution.
    pub kept: Option<String>,
}

/// How a scheme stores a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupForm {
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
    /// The family that it belongs to: schemes with the same number do.
    pub family: usize,
    /// Where it comes from, and what serves it; nothing for one that was planned from a manifest alone.
    pub origin: Option<SchemeOrigin>,
    /// How each of [`SweepReport::groups`] is stored, in the same order.
    pub stored: Vec<GroupForm>,
    /// What it amounts to.
    pub figures: Figures,
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

words! {
    /// What a scheme was measured on.
    pub enum QualityKind: "kind of samples" {
        /// Text alone.
        Text = "text",
        /// Pictures with text.
        ImageText = "image_text" => "image + text",
    }
}

/// How the predictions of a scheme differ from those of the base checkpoint, over the tokens of some samples.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredQuality {
    /// The name of the scheme.
    pub scheme: String,
    /// What it was measured on.
    pub kind: QualityKind,
    /// KL(base ‖ scheme) in nats a token.
    pub kl: f64,
    /// The standard error of it.
    pub kl_error: f64,
    /// Perplexity of the scheme.
    pub perplexity: f64,
    /// Perplexity of the base.
    pub base_perplexity: f64,
    /// The share of tokens that both find likeliest, from 0 to 1.
    pub agreement: f64,
    /// Samples.
    pub samples: u64,
    /// Tokens that were compared.
    pub tokens: u64,
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
    fn new(group: &Group, costs: &CostModel) -> Self {
        GroupRow {
            name: group.name.clone(),
            tower: group.tower(),
            block: group.block(),
            kind: kinds(&group.members).unwrap_or_else(|| group.kind().into()),
            parameters: group.parameters().unwrap_or(0),
            score: group.score,
            is_candidate: group.is_candidate(),
            is_scored: group.is_scored(),
            kept: costs.group(&group.name).and_then(|cost| cost.kept).map(String::from),
        }
    }
}

impl SchemeRow {
    /// How many groups are in FP8.
    pub fn fp8_groups(&self) -> usize {
        self.stored.iter().filter(|s| **s == GroupForm::Fp8).count()
    }

    /// Whether every group that is selected here is selected in `other` too.
    pub(super) fn is_within(&self, other: &SchemeRow) -> bool {
        self.stored.iter().zip(&other.stored).all(|(a, b)| *a == GroupForm::Bf16 || *b != GroupForm::Bf16)
    }
}

/// The distinct kinds of `members` in short; the ending that all share is written once: `q,k,v_proj`.
pub(super) fn kinds(members: &[String]) -> Option<String> {
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

impl SweepReport {
    /// A report about `manifest`, whose groups cost what `costs` says, without schemes.
    pub fn new(title: impl Into<String>, manifest: &Manifest, costs: &CostModel) -> Self {
        let groups: Vec<GroupRow> = manifest.groups().iter().map(|g| GroupRow::new(g, costs)).collect();
        SweepReport {
            title: title.into(),
            facts: facts(manifest, &groups),
            frontier: Frontier::default(),
            groups,
            schemes: Vec::new(),
            layer_errors: None,
            quality: Vec::new(),
            base_bytes: None,
            sharing: None,
        }
    }

    /// Adds a scheme of the first family that stores the groups of `selection` in FP8, and amounts to `figures`.
    pub fn add(&mut self, name: &str, selection: &Selection, figures: Figures) {
        let selected: HashSet<&str> = selection.selected().map(|g| g.name.as_str()).collect();
        let stored = |group: &GroupRow| match selected.contains(group.name.as_str()) {
            true if group.kept.is_some() => GroupForm::Kept,
            true => GroupForm::Fp8,
            false => GroupForm::Bf16,
        };
        self.schemes.push(SchemeRow {
            name: name.into(),
            percent: Some(selection.percent.as_f64()),
            family: 0,
            origin: None,
            stored: self.groups.iter().map(stored).collect(),
            figures,
        });
    }

    /// The names of the schemes without the words that all of them begin and end with: `top10`.
    pub(super) fn short_names(&self) -> Vec<String> {
        shortened(&self.schemes.iter().map(|scheme| scheme.name.as_str()).collect::<Vec<_>>())
    }

    /// Whether some scheme could store `group` in FP8, and its finite score says what that costs. One that was never scored
    /// counts where a scheme stores it so all the same.
    pub(super) fn is_choice(&self, group: usize) -> bool {
        let row = &self.groups[group];
        let is_used = || self.schemes.iter().any(|s| s.stored[group] == GroupForm::Fp8);
        row.is_candidate && row.kept.is_none() && row.score.is_finite() && (row.is_scored || is_used())
    }

    /// Whether the schemes at `places` by rising coverage hold each what the one before holds: the coverage points of one
    /// order. Others have nothing in common that a line between them could show.
    pub(super) fn is_nested(&self, places: &[usize]) -> bool {
        let mut schemes: Vec<&SchemeRow> = places.iter().map(|&at| &self.schemes[at]).collect();
        schemes.sort_by_key(|s| s.stored.iter().filter(|stored| **stored != GroupForm::Bf16).count());
        schemes.windows(2).all(|pair| pair[0].is_within(pair[1]))
    }
}

fn facts(manifest: &Manifest, groups: &[GroupRow]) -> Vec<(String, String)> {
    let candidates = groups.iter().filter(|g| g.is_candidate);
    let unscored = candidates.clone().filter(|g| !g.is_scored).count();
    let kept = candidates.clone().filter(|g| g.kept.is_some()).count();
    let broken = candidates.clone().filter(|g| !g.score.is_finite()).count();
    let counted = |count: usize| units::counted(count, "group");
    let mut facts = Vec::new();
    let mut fact = |label: &str, value: String| facts.push((label.to_string(), value));
    if let Some(name) = manifest.scheme_name() {
        fact("Search", name.to_string());
    }
    if let Some(method) = manifest.method() {
        fact("Scored by", method.to_string());
    }
    if !manifest.quant_formats().is_empty() {
        fact("Formats scored", manifest.quant_formats().join(", "));
    }
    fact("Candidates", format!("{} of {}", candidates.count(), counted(groups.len())));
    fact("Weights in groups", units::count(groups.iter().map(|g| g.parameters).sum()));
    if kept > 0 {
        fact("Kept in BF16", format!("{}, whatever is selected", counted(kept)));
    }
    if unscored > 0 {
        fact("Never scored", counted(unscored));
    }
    if broken > 0 {
        fact("Without a finite score", counted(broken));
    }
    facts
}
