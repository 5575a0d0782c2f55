//! Groups that are joined, because loaders make one module of parts that were scored apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::group::{KEY_SUFFIX, preferred};
use super::{Group, Manifest, NameIndex};

impl Manifest {
    /// The manifest with those candidates joined that hold parts of the same whole, and how many groups became how many.
    /// `wholes` names the wholes that a module is a part of. A joined group has the formats that all its groups may take,
    /// with the sums of their scores and costs, as ModelOpt sums over the members of a group; groups without a common format
    /// stay apart. It is called after the first of its groups, and found by the names of all.
    pub fn joined<'a, N, W>(&'a self, wholes: impl Fn(&'a str) -> W) -> (Self, Option<(usize, usize)>)
    where
        N: std::hash::Hash + Eq,
        W: IntoIterator<Item = N>,
    {
        let mut first: Vec<usize> = (0..self.groups.len()).collect();
        let mut owners: HashMap<N, usize> = HashMap::new();
        for (at, group) in self.groups.iter().enumerate().filter(|(_, group)| group.is_candidate()) {
            for whole in group.members.iter().flat_map(|member| wholes(member)) {
                let owner = *owners.entry(whole).or_insert(at);
                let (a, b) = (root(&mut first, owner), root(&mut first, at));
                first[a.max(b)] = a.min(b);
            }
        }
        let mut together: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in 0..self.groups.len() {
            together.entry(root(&mut first, at)).or_default().push(at);
        }
        if together.len() == self.groups.len() {
            return (self.clone(), None);
        }
        let (mut groups, mut by_name) = (Vec::new(), HashMap::new());
        let (mut before, mut after) = (0, 0);
        for parts in together.into_values() {
            let parts: Vec<&Group> = parts.into_iter().map(|at| &self.groups[at]).collect();
            let whole = if parts.len() > 1 { join(&parts) } else { None };
            match whole {
                Some(whole) => {
                    by_name.extend(parts.iter().map(|part| (part.name.clone(), groups.len())));
                    groups.push(whole);
                    (before, after) = (before + parts.len(), after + 1);
                }
                None => {
                    for part in parts {
                        groups.push(part.clone());
                    }
                }
            }
        }
        if after == 0 {
            return (self.clone(), None);
        }
        let index = NameIndex::new(groups.len(), |at| &groups[at].name);
        let published_ranking = self.published_ranking.as_ref().map(|keys| -> Arc<[String]> {
            let is_own = |key: &&String| {
                let name = key.strip_suffix(KEY_SUFFIX).unwrap_or(key);
                index.find(name, |at| &groups[at].name).is_some()
            };
            keys.iter().filter(is_own).cloned().collect()
        });
        let joined = Manifest {
            groups: Arc::new(groups),
            index: Arc::new(index),
            joined: Arc::new(by_name),
            published_ranking,
            ..self.clone()
        };
        (joined, Some((before, after)))
    }
}

/// The first of the groups that `at` is joined with.
fn root(first: &mut [usize], mut at: usize) -> usize {
    while first[at] != at {
        first[at] = first[first[at]];
        at = first[at];
    }
    at
}

/// One group of `parts`; nothing where they have no format in common that quantises.
fn join(parts: &[&Group]) -> Option<Group> {
    let (one, rest) = parts.split_first()?;
    let at = |group: &Group, name: &str| group.formats.iter().position(|format| format.name == name);
    let mut whole = Group { scores: vec![], costs: vec![], members: vec![], ..(*one).clone() };
    let mut formats = Vec::new();
    for format in one.formats.iter() {
        let Some(places) = parts.iter().map(|part| at(part, &format.name)).collect::<Option<Vec<_>>>() else {
            continue;
        };
        formats.push(format.clone());
        whole.scores.push(parts.iter().zip(&places).map(|(part, &at)| part.scores[at]).sum());
        whole.costs.push(parts.iter().zip(&places).map(|(part, &at)| part.costs[at]).sum());
    }
    if formats.iter().all(|format| format.is_none()) {
        return None;
    }
    whole.formats = formats.into();
    whole.members = parts.iter().flat_map(|part| part.members.iter().cloned()).collect();
    whole.importance = one
        .importance
        .and_then(|first| rest.iter().try_fold(first, |sum, part| Some(sum + part.importance?)));
    whole.choose(preferred);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn group(name: &str, score: f64, cost: f64, formats: &[&str]) -> (String, Value) {
        let spelt: Vec<String> = formats.iter().map(|f| format!("{f}(effective-bits: 8.0)")).collect();
        let (scores, costs) = (vec![score; formats.len()], vec![cost; formats.len()]);
        let group = json!({"formats": spelt, "scores": scores, "costs": costs, "importance": score});
        (format!("{name}.quant_recipe"), group)
    }

    fn manifest(groups: &[(String, Value)]) -> Manifest {
        let groups: serde_json::Map<String, Value> = groups.iter().cloned().collect();
        let text = json!({"layer_sensitivity": groups}).to_string();
        Manifest::parse("m.json", text).unwrap()
    }

    /// Parts are those with the same name before the last dot whose last part begins with `in_`.
    fn wholes(module: &str) -> Option<&str> {
        module.rsplit_once('.').filter(|(_, leaf)| leaf.starts_with("in_")).map(|(parent, _)| parent)
    }

    #[test]
    fn parts_that_were_scored_apart_become_one_group_with_the_sum_of_their_scores() {
        let fp8 = ["FP8_DEFAULT_CFG"];
        let apart = manifest(&[
            group("a.in_x", 1.0, 8.0, &fp8),
            group("a.out", 2.0, 4.0, &fp8),
            group("a.in_z", 4.0, 16.0, &fp8),
            group("b.in_x", 8.0, 2.0, &fp8),
        ]);
        let (joined, counts) = apart.joined(wholes);
        assert_eq!(counts, Some((2, 1)));
        let seen: Vec<_> =
            joined.groups().iter().map(|g| (g.members.join("+"), g.score, g.costs[0])).collect();
        let expected = [("a.in_x+a.in_z", 5.0, 24.0), ("a.out", 2.0, 4.0), ("b.in_x", 8.0, 2.0)];
        assert_eq!(seen, expected.map(|(members, score, cost)| (members.to_string(), score, cost)));
        assert_eq!(joined.group("a.in_z").map(|g| g.name.as_str()), Some("a.in_x"));
        assert_eq!(apart.groups().len(), 4, "the manifest itself stays");
    }

    #[test]
    fn parts_without_a_common_format_and_parts_that_are_no_candidates_stay_apart() {
        let apart = manifest(&[
            group("a.in_x", 1.0, 8.0, &["FP8_DEFAULT_CFG"]),
            group("a.in_z", 4.0, 16.0, &["NVFP4_DEFAULT_CFG"]),
            group("b.in_x", 1.0, 8.0, &["FP8_DEFAULT_CFG"]),
            group("b.in_z", 4.0, 16.0, &["NONE"]),
        ]);
        let (joined, counts) = apart.joined(wholes);
        assert_eq!((counts, joined.groups().len()), (None, 4));
    }
}
