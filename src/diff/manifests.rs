//! What sets two sensitivity manifests apart.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::keys::{KeyChange, changes};
use super::sections::{RestOfEntries, RestOfEntry, SectionHash};
use crate::error::{Error, Result};
use crate::json;
use crate::manifest::{Correlation, Group, Manifest, RankingOptions, RecordedAmax};
use crate::model::bare_name;
use crate::words::words;

words! {
    /// What of a group differs.
    #[derive(PartialOrd, Ord)]
    pub enum GroupPart: "part of a group" {
        /// The modules that share the decision.
        Members = "members",
        /// The formats that were tried.
        Formats = "formats",
        /// The format that is the candidate.
        Candidate = "candidate",
        /// The score of some format, or the one that ranks the group.
        Scores = "scores",
        /// The cost of some format.
        Costs = "costs",
        /// The place in the ranking of the groups that both manifests rank.
        Rank = "rank",
        /// Keys of its entry that policies do not read.
        Others = "others",
    }
}

/// A format that groups may take, and how many may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatCount {
    /// Its name, such as `FP8_DEFAULT_CFG`.
    pub name: String,
    /// Groups of the first that may take it.
    pub a: usize,
    /// Groups of the second.
    pub b: usize,
}

/// How a group stands in one manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStanding {
    /// Its place, from 1 for the least sensitive, among the groups that both manifests rank; nothing where one of them does not.
    pub rank: Option<usize>,
    /// The score that ranks it.
    pub score: f64,
    /// The candidate's format; nothing where it has none but `NONE`.
    pub candidate: Option<String>,
    /// The candidate's cost, in weights of 16 bits.
    pub cost: Option<f64>,
}

/// A group of both manifests that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupChange {
    /// Its name in the first.
    pub name: String,
    /// What differs.
    pub parts: Vec<GroupPart>,
    /// How it stands in the first.
    pub a: GroupStanding,
    /// How it stands in the second.
    pub b: GroupStanding,
}

impl GroupChange {
    /// By how many places it is more sensitive in the second; nothing where it is not ranked in both.
    pub fn shift(&self) -> Option<i64> {
        Some(self.b.rank? as i64 - self.a.rank? as i64)
    }
}

/// What sets two manifests apart.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestDiff {
    /// The first file, as it was named.
    pub a: String,
    /// The second.
    pub b: String,
    /// The number of groups of each.
    pub groups: [usize; 2],
    /// What the manifests say beside groups: model, dataset, configuration of the run.
    pub keys: Vec<KeyChange>,
    /// Which lists differ as a whole: `layers`, `sensitivity_ranking`, `amax`.
    pub lists: Vec<&'static str>,
    /// Formats that not as many groups may take in both.
    pub formats: Vec<FormatCount>,
    /// Groups of the first alone.
    pub only_in_a: Vec<String>,
    /// Groups of the second alone.
    pub only_in_b: Vec<String>,
    /// The number of groups that both rank.
    pub ranked: usize,
    /// How far both agree on the order of the groups that both scored; nothing where those are fewer than two.
    pub correlation: Option<Correlation>,
    /// Groups of both that differ: first those that move furthest, the others in the order of the first manifest.
    pub changed: Vec<GroupChange>,
}

impl ManifestDiff {
    /// Whether nothing differs but the layout of the file.
    pub fn is_same(&self) -> bool {
        self.keys.is_empty()
            && self.lists.is_empty()
            && self.formats.is_empty()
            && self.only_in_a.is_empty()
            && self.only_in_b.is_empty()
            && self.changed.is_empty()
    }
}

/// What a manifest says beside its groups and long lists.
#[derive(Deserialize)]
struct BesideGroups {
    #[serde(rename = "layer_sensitivity", default)]
    rests: RestOfEntries,
    #[serde(rename = "sensitivity_ranking")]
    ranking: Option<SectionHash>,
    layers: Option<SectionHash>,
    #[serde(rename = "amax")]
    _amax: Option<IgnoredAny>,
    #[serde(flatten)]
    keys: Map<String, Value>,
}

/// Compares two manifests of whatever version; groups are found by their names in whatever spelling.
///
/// # Errors
/// [`Error::Format`] when what stands beside the groups is no JSON that can be compared.
pub fn diff_manifests(a: &Manifest, b: &Manifest) -> Result<ManifestDiff> {
    let beside = |manifest: &Manifest| -> Result<BesideGroups> {
        json::parse_marked(manifest.path(), json::without_mark(manifest.bytes()))
    };
    let (beside_a, beside_b) = (beside(a)?, beside(b)?);
    let lists = [
        ("layers", a.layers() != b.layers() || beside_a.layers != beside_b.layers),
        ("sensitivity_ranking", beside_a.ranking != beside_b.ranking),
        ("amax", !is_same_amax(a.amax(), b.amax())),
    ];
    let by_name = |manifest: &Manifest| -> HashMap<String, usize> {
        let names = manifest.groups().iter().enumerate();
        names.map(|(at, group)| (bare_name(&group.name).to_string(), at)).collect()
    };
    let (in_a, in_b) = (by_name(a), by_name(b));
    let alone = |of: &Manifest, other: &HashMap<String, usize>| -> Vec<String> {
        let names = of.groups().iter().map(|group| group.name.clone());
        names.filter(|name| !other.contains_key(bare_name(name))).collect()
    };
    let (order_a, order_b) = (ranked_names(a), ranked_names(b));
    let (ranks_a, ranks_b) = (ranks(&order_a, &order_b), ranks(&order_b, &order_a));
    let mut changed: Vec<GroupChange> = Vec::new();
    for group in a.groups() {
        let name = bare_name(&group.name);
        let Some(other) = in_b.get(name).and_then(|at| b.groups().get(*at)) else { continue };
        let standing = |group: &Group, ranks: &HashMap<&str, usize>| GroupStanding {
            rank: ranks.get(name).copied(),
            score: group.score,
            candidate: group.candidate().map(|found| found.format.name.clone()),
            cost: group.candidate().map(|found| found.cost),
        };
        let (rest_a, rest_b) = (beside_a.rests.of(&group.key()), beside_b.rests.of(&other.key()));
        let (a, b) = (standing(group, &ranks_a), standing(other, &ranks_b));
        let parts = parts(group, (&a, rest_a), other, (&b, rest_b));
        if !parts.is_empty() {
            changed.push(GroupChange { name: group.name.clone(), parts, a, b });
        }
    }
    changed.sort_by_key(|change| std::cmp::Reverse(change.shift().unwrap_or(0).unsigned_abs()));
    Ok(ManifestDiff {
        a: a.path().display().to_string(),
        b: b.path().display().to_string(),
        groups: [a.groups().len(), b.groups().len()],
        keys: changes(&Value::Object(beside_a.keys), &Value::Object(beside_b.keys)),
        lists: lists.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect(),
        formats: formats(a, b),
        only_in_a: alone(a, &in_b),
        only_in_b: alone(b, &in_a),
        ranked: ranks_a.len(),
        correlation: match Correlation::of(a, b) {
            Ok(correlation) => Some(correlation),
            Err(Error::Argument { .. }) => None,
            Err(error) => return Err(error),
        },
        changed,
    })
}

/// The ranked groups, the least sensitive first; none where nothing can be ranked.
fn ranked_names(manifest: &Manifest) -> Vec<String> {
    let ranking = manifest.ranking(&RankingOptions::default());
    ranking.map_or(Vec::new(), |ranking| {
        ranking.groups().map(|group| bare_name(&group.name).to_string()).collect()
    })
}

/// The places of those of `order` that are in `other` too.
fn ranks<'a>(order: &'a [String], other: &[String]) -> HashMap<&'a str, usize> {
    let others: std::collections::HashSet<&str> = other.iter().map(String::as_str).collect();
    let common = order.iter().map(String::as_str).filter(|name| others.contains(name));
    common.enumerate().map(|(at, name)| (name, at + 1)).collect()
}

fn parts(
    a: &Group,
    (standing_a, rest_a): (&GroupStanding, RestOfEntry),
    b: &Group,
    (standing_b, rest_b): (&GroupStanding, RestOfEntry),
) -> Vec<GroupPart> {
    // A NaN that stays is no change.
    let differ = |one: &[f64], other: &[f64]| {
        one.len() != other.len() || one.iter().zip(other).any(|(a, b)| a != b && !(a.is_nan() && b.is_nan()))
    };
    let names =
        |group: &'_ Group| group.members.iter().map(|name| bare_name(name).to_string()).collect::<Vec<_>>();
    let found = [
        (GroupPart::Members, names(a) != names(b)),
        (GroupPart::Formats, a.formats != b.formats),
        (GroupPart::Candidate, standing_a.candidate != standing_b.candidate),
        (
            GroupPart::Scores,
            differ(&a.scores, &b.scores)
                || differ(&[a.score], &[b.score])
                || rest_a.importance != rest_b.importance,
        ),
        (GroupPart::Costs, differ(&a.costs, &b.costs)),
        (GroupPart::Rank, standing_a.rank != standing_b.rank),
        (GroupPart::Others, rest_a.others != rest_b.others),
    ];
    found.into_iter().filter_map(|(part, differs)| differs.then_some(part)).collect()
}

/// Whether both name the same quantizers in the same order, with the same values; a NaN that stays is no change.
fn is_same_amax(a: Option<&RecordedAmax>, b: Option<&RecordedAmax>) -> bool {
    let is_same = |((name_a, a), (name_b, b)): ((&str, f64), (&str, f64))| {
        name_a == name_b && (a == b || a.is_nan() && b.is_nan())
    };
    match (a, b) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(is_same),
        _ => a.is_none() && b.is_none(),
    }
}

fn formats(a: &Manifest, b: &Manifest) -> Vec<FormatCount> {
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for (side, manifest) in [a, b].into_iter().enumerate() {
        for format in manifest.groups().iter().flat_map(|group| group.formats.iter()) {
            counts.entry(&format.name).or_default()[side] += 1;
        }
    }
    let differing = counts.into_iter().filter(|(_, [a, b])| a != b);
    differing.map(|(name, [a, b])| FormatCount { name: name.into(), a, b }).collect()
}
