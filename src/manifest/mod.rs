//! The sensitivity manifest: how much each recipe group of a model suffers from being quantised.
//!
//! A manifest is what an AutoQuant run of NVIDIA ModelOpt publishes as `*_quant_manifest.json`. It becomes a
//! [`Ranking`], and a coverage point of that a [`Selection`].

mod amax;
mod combine;
mod correlation;
mod coverage;
mod document;
mod group;
mod group_entries;
mod group_names;
mod join;
mod name_index;
mod order;
mod percent;
mod ranking;
mod ranking_options;
mod saved_state;
mod selection;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

pub use amax::RecordedAmax;
pub use combine::{Normalise, combine};
pub use correlation::Correlation;
pub use coverage::{Coverage, KeptLayer};
pub use group::{Candidate, Group, RecipeFormat, compare_scores};
pub(crate) use name_index::NameIndex;
pub use order::Order;
pub use percent::Percent;
pub use ranking::Ranking;
pub use ranking_options::{Criterion, Predicate, RankingOptions};
pub use saved_state::require_saved_state;
pub use selection::Selection;

use crate::error::{Error, Result};
use crate::input::{InputKind, Watched, read_watched};
use crate::json::Number;
use document::{Document, GroupEntries, ManifestSection, RawGroup, first_duplicate};
use group::KEY_SUFFIX;
use group_entries::groups;

/// A sensitivity manifest of any published version.
#[derive(Debug, Clone)]
pub struct Manifest {
    path: PathBuf,
    bytes: Arc<[u8]>,
    /// The files that it was read from, as they were then.
    watched: Arc<[Watched]>,
    version: u8,
    scheme: Value,
    model: Value,
    autoquant_state: Value,
    quant_formats: Vec<String>,
    layers: Arc<[String]>,
    groups: Arc<Vec<Group>>,
    index: Arc<NameIndex>,
    /// Names of groups that became parts of another.
    joined: Arc<HashMap<String, usize>>,
    published_ranking: Option<Arc<[String]>>,
    amax: Option<Arc<RecordedAmax>>,
}

impl Manifest {
    /// Reads the manifest at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is no regular file or too large, otherwise as for
    /// [`Manifest::parse`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let (bytes, watched) = read_watched(path, InputKind::Manifest)?;
        Ok(Self::parse(path, bytes)?.watching([watched]))
    }

    /// Parses `bytes`; `path` is remembered and named in errors.
    ///
    /// # Errors
    /// [`Error::Format`] naming the file, and the group where one is at fault; a file that is another of the formats that
    /// lie beside a manifest is told so.
    pub fn parse(path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>) -> Result<Self> {
        let (path, bytes) = (path.as_ref(), bytes.into());
        let mut document = Document::parse(path, &bytes)?;
        let Some(GroupEntries(ManifestSection::Object(raw))) = document.layer_sensitivity.take() else {
            return Err(Error::format(path, "has no `layer_sensitivity`"));
        };
        if raw.is_empty() {
            return Err(Error::format(path, "has a `layer_sensitivity` without any group"));
        }
        let layers = match document.layers.take() {
            None => Vec::new(),
            Some(ManifestSection::Object(layers)) => layers.into_iter().map(|(name, _)| name).collect(),
            Some(ManifestSection::Other) => {
                return Err(Error::format(path, "has `layers` that are not an object"));
            }
        };
        if let Some(name) = first_duplicate(layers.iter()) {
            return Err(Error::format(path, format!("has the layer `{name}` twice")));
        }
        let version = version(&document, &raw);
        let amax =
            document.amax.take().map(|section| RecordedAmax::from_section(path, section)).transpose()?;
        let (groups, index) = groups(path, raw, &layers)?;
        Ok(Manifest {
            path: path.to_path_buf(),
            bytes: bytes.into(),
            watched: Arc::default(),
            version,
            quant_formats: strings(&document.scheme["quant_formats"]),
            scheme: document.scheme,
            model: document.model,
            autoquant_state: document.autoquant_state,
            layers: layers.into(),
            groups: Arc::new(groups),
            index: Arc::new(index),
            joined: Arc::default(),
            published_ranking: document
                .sensitivity_ranking
                .map(|ranking| ranking.into_iter().map(|entry| entry.name).collect::<Vec<_>>().into()),
            amax: amax.map(Arc::new),
        })
    }

    /// The same manifest, made from these files.
    fn watching(self, watched: impl IntoIterator<Item = Watched>) -> Self {
        Manifest { watched: watched.into_iter().collect(), ..self }
    }

    /// The files that it was read from, as they were then; none for one that was made in memory.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// The same manifest with other candidates: of each group the format for which `rank` answers the least; a group
    /// without a format that has a rank is no candidate. Scores that rank the groups follow.
    pub fn with_candidates(&self, rank: impl Fn(&RecipeFormat) -> Option<u8>) -> Self {
        // Large manifests are not copied for nothing.
        if self.groups.iter().all(|group| group.best(&rank) == group.chosen) {
            return self.clone();
        }
        let mut groups = self.groups.to_vec();
        groups.iter_mut().for_each(|group| group.choose(&rank));
        Manifest { groups: Arc::new(groups), ..self.clone() }
    }

    /// The same manifest with every candidate counted as `bits` for each weight: another format is written than was scored.
    pub fn with_candidate_bits(&self, bits: f64) -> Self {
        let is_counted =
            |group: &Group| group.candidate().is_none_or(|found| found.format.effective_bits == bits);
        if self.groups.iter().all(is_counted) {
            return self.clone();
        }
        let mut groups = self.groups.to_vec();
        for group in &mut groups {
            if let (Some(at), Some(parameters)) = (group.chosen, group.parameters()) {
                group.costs[at] = parameters as f64 * bits / 16.0;
                let mut formats = group.formats.to_vec();
                formats[at].effective_bits = bits;
                group.formats = formats.into();
            }
        }
        Manifest { groups: Arc::new(groups), ..self.clone() }
    }

    /// The names of all formats that some group may take, `NONE` left out, sorted.
    pub fn formats(&self) -> std::collections::BTreeSet<&str> {
        let formats = self.groups.iter().flat_map(|group| group.formats.iter());
        formats.filter(|format| !format.is_none()).map(|format| format.name.as_str()).collect()
    }

    /// Where the manifest was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file as it was read, for a copy byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The version of the format, 0–4, told by the keys that are there: 1 adds `importance`, `rank` and
    /// `sensitivity_ranking`, 2 `model`, 3 `dataset`, 4 `quantization` and `run_config`.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The name of the scheme that was searched, e.g. `fp8_autoquant_all_layers_fp8`.
    pub fn scheme_name(&self) -> Option<&str> {
        self.scheme["name"].as_str()
    }

    /// The model as the run named it, often a path on the machine of the run.
    pub fn model_id(&self) -> Option<&str> {
        self.model["id"].as_str()
    }

    /// The effective bits per weight that the search ended at.
    pub fn effective_bits(&self) -> Option<f64> {
        number(&self.autoquant_state["constraints"]["effective_bits"])
    }

    /// The sum of the scores that the search ended at.
    pub fn score(&self) -> Option<f64> {
        number(&self.autoquant_state["score"])
    }

    /// Whether the search met its constraint.
    pub fn is_satisfied(&self) -> Option<bool> {
        self.autoquant_state["is_satisfied"].as_bool()
    }

    /// How groups were scored: `gradient` or `kl_div`.
    pub fn method(&self) -> Option<&str> {
        self.scheme["auto_quantize_method"].as_str()
    }

    /// The configurations that the search chose from, e.g. `FP8_DEFAULT_CFG`.
    pub fn quant_formats(&self) -> &[String] {
        &self.quant_formats
    }

    /// Every quantisable Linear as published under `layers`, in model order; empty where a manifest has no such list. It is
    /// never a selection, and leaves out what is no Linear.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }

    /// The recipe groups in file order, which is model order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group named `name`, with or without `.quant_recipe`.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.position(name).map(|at| &self.groups[at])
    }

    /// Where the group named `name`, with or without `.quant_recipe`, stands among [`Manifest::groups`].
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let name = name.strip_suffix(KEY_SUFFIX).unwrap_or(name);
        let own = self.index.find(name, |at| &self.groups[at].name);
        own.or_else(|| self.joined.get(name).copied())
    }

    /// The keys of the published `sensitivity_ranking`, where there is one. It also ranks groups that are no candidates or
    /// were never scored, so a selection is not made from it but from [`Manifest::ranking`].
    pub fn published_ranking(&self) -> Option<&[String]> {
        self.published_ranking.as_deref()
    }

    /// The published ranks between the first and the last that no group has, in ascending order: groups that were ranked and
    /// left out.
    pub fn rank_gaps(&self) -> Vec<u64> {
        let ranks: std::collections::BTreeSet<u64> =
            self.groups.iter().filter_map(|group| group.rank).collect();
        let (Some(&first), Some(&last)) = (ranks.first(), ranks.last()) else { return Vec::new() };
        // A rank that is no rank is no reason to count to it.
        let most = 2 * self.groups.len() as u64;
        (first..=last.min(first.saturating_add(most))).filter(|rank| !ranks.contains(rank)).collect()
    }

    /// What calibration saw, by quantizer name, where the manifest carries it.
    pub fn amax(&self) -> Option<&RecordedAmax> {
        self.amax.as_deref()
    }

    /// `scheme` as published (null when missing).
    pub(crate) fn scheme(&self) -> &Value {
        &self.scheme
    }

    /// `model` as published (null when missing).
    pub(crate) fn model(&self) -> &Value {
        &self.model
    }

    /// `autoquant_state` as published (null when missing).
    pub(crate) fn autoquant_state(&self) -> &Value {
        &self.autoquant_state
    }
}

fn version(document: &Document, groups: &[(String, RawGroup)]) -> u8 {
    let ranked = || groups.iter().any(|(_, g)| g.importance.is_some() || g.rank.is_some());
    if document.has("quantization") || document.has("run_config") {
        4
    } else if document.has("dataset") {
        3
    } else if document.has("model") {
        2
    } else {
        u8::from(document.has("sensitivity_ranking") || ranked())
    }
}

/// A number that Python may have written as a bare token.
fn number(value: &Value) -> Option<f64> {
    serde_json::from_value::<Number>(value.clone()).ok().map(|n| n.0)
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_string).collect()
}

#[cfg(test)]
mod tests;
