//! Groups in order of sensitivity, and what can be selected of them.

use std::collections::HashSet;
use std::sync::Arc;

use super::group_names::{first_unmatched, group_names, names_whole};
use super::order::Sorting;
use super::{Group, Order, Percent, Selection};
use crate::error::{Error, Result};
use crate::selector::Globs;
use crate::words::nearest;

/// Candidates in order of sensitivity. Cloning shares the groups.
#[derive(Debug, Clone)]
pub struct Ranking {
    /// Which end comes first.
    pub order: Order,
    /// Candidates among the chosen groups that were never scored, by name in model order, whether ranked or not.
    pub unscored: Vec<String>,
    /// Chosen groups that have no format but `NONE`, by name in model order; never ranked.
    pub not_candidates: Vec<String>,
    /// Ranked groups whose score is infinite or NaN, by name in model order; ranked as the most sensitive.
    pub not_finite: Vec<String>,
    /// Ranked groups with a score below 0 that counts, which no scoring of AutoQuant gives, by name in model order; ranked as
    /// they are.
    pub negative: Vec<String>,
    pub(super) sorting: Sorting,
    pub(super) groups: Arc<Vec<Group>>,
    /// Indices in ascending order, ties in model order.
    pub(super) ascending: Vec<usize>,
    /// Indices in this ranking's order, ties in model order.
    pub(super) ordered: Vec<usize>,
}

impl Ranking {
    /// The number of ranked groups; never 0.
    pub fn len(&self) -> usize {
        self.ordered.len()
    }

    /// Whether nothing is ranked: never so, since such a ranking is refused.
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// The ranked groups in this ranking's order.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &Group> + DoubleEndedIterator + Clone {
        self.ordered.iter().map(|&at| &self.groups[at])
    }

    /// The group at `rank`, counted from 0 in this ranking's order.
    pub fn get(&self, rank: usize) -> Option<&Group> {
        self.ordered.get(rank).map(|&at| &self.groups[at])
    }

    /// The first `percent` of the groups in this ranking's own order.
    ///
    /// # Errors
    /// [`Error::Argument`] when `percent` is none.
    pub fn first<P>(&self, percent: P) -> Result<Selection>
    where
        P: TryInto<Percent>,
        Error: From<P::Error>,
    {
        let percent = percent.try_into()?;
        Ok(self.select(percent, &self.ordered[..percent.count_of(self.len())]))
    }

    /// The least sensitive `percent` of the groups, whatever this ranking's order; of equal scores those that come first in
    /// the model.
    ///
    /// # Errors
    /// [`Error::Argument`] when `percent` is none.
    pub fn lowest<P>(&self, percent: P) -> Result<Selection>
    where
        P: TryInto<Percent>,
        Error: From<P::Error>,
    {
        let percent = percent.try_into()?;
        Ok(self.select(percent, &self.ascending[..percent.count_of(self.len())]))
    }

    /// The most sensitive `percent` of the groups, whatever this ranking's order: what [`Ranking::lowest`] leaves over, so
    /// of equal scores those that come last in the model.
    ///
    /// # Errors
    /// [`Error::Argument`] when `percent` is none.
    pub fn highest<P>(&self, percent: P) -> Result<Selection>
    where
        P: TryInto<Percent>,
        Error: From<P::Error>,
    {
        let percent = percent.try_into()?;
        let dropped = self.len() - percent.count_of(self.len());
        Ok(self.select(percent, &self.ascending[dropped..]))
    }

    /// The groups for which `choose` answers true, given their rank, counted from 0 in this ranking's order; none at all is
    /// an empty selection.
    pub fn pick(&self, mut choose: impl FnMut(usize) -> bool) -> Selection {
        let chosen: Vec<usize> =
            self.ordered.iter().enumerate().filter(|(rank, _)| choose(*rank)).map(|(_, &at)| at).collect();
        self.select(Percent::of_share(chosen.len(), self.len()), &chosen)
    }

    /// The groups for which `choose` answers true, asked in this ranking's order.
    ///
    /// # Errors
    /// What `choose` returns.
    pub fn filter(&self, mut choose: impl FnMut(&Group) -> Result<bool>) -> Result<Selection> {
        let answers = self.groups().map(&mut choose).collect::<Result<Vec<bool>>>()?;
        Ok(self.pick(|rank| answers[rank]))
    }

    /// The groups that `globs` name: by their own name, with or without `.quant_recipe`, or by all of their members. The name
    /// of a group is that of its first member and stands for all.
    ///
    /// # Errors
    /// [`Error::Argument`] when a glob matches nothing that is ranked; [`Error::Refused`] when the globs match only some
    /// members of a group, which loaders fuse: it says which.
    pub fn named(&self, globs: &Globs) -> Result<Selection> {
        if let Some(glob) = first_unmatched(globs, self.groups()) {
            return Err(self.matches_nothing(glob));
        }
        self.filter(|group| names_whole(globs, group, "the selection"))
    }

    fn matches_nothing(&self, glob: &str) -> Error {
        let alone = Globs::new([glob]).unwrap_or_default();
        let error = |problem: String| Error::argument(problem);
        match self.groups.iter().find(|g| group_names(g).any(|name| alone.matches(name))) {
            Some(group) if !group.is_candidate() => {
                error(format!("the glob `{glob}` matches `{}`, which has no format but NONE", group.name))
                    .with_hint("it was disabled in the search, so its score is unknown")
            }
            Some(group) if !group.is_scored() => {
                error(format!("the glob `{glob}` matches `{}`, which was never scored", group.name))
                    .with_hint("rank with `unscored` to select such groups all the same")
            }
            Some(group) => error(format!("the glob `{glob}` matches `{}`, which is not ranked", group.name))
                .with_hint("loosen `include`, `exclude` or the predicate of the ranking"),
            None => {
                let error = error(format!("the glob `{glob}` matches no ranked group or module"));
                match nearest(glob, self.groups.iter().flat_map(group_names)) {
                    Some(name) => error.with_hint(format!("did you mean `{name}`?")),
                    None => error.with_hint(format!(
                        "names read like `{}`; `*` crosses dots",
                        self.groups[self.ordered[0]].name
                    )),
                }
            }
        }
    }

    /// The first groups in this ranking's own order that together make up `percent` of all by `weight`, such as their
    /// parameters; the last one reaches it. Groups of weight 0 add nothing but are selected on the way.
    ///
    /// # Errors
    /// [`Error::Argument`] when `percent` is none or all weights are 0.
    pub fn cover<P>(&self, percent: P, weight: impl Fn(&Group) -> u64) -> Result<Selection>
    where
        P: TryInto<Percent>,
        Error: From<P::Error>,
    {
        let percent = percent.try_into()?;
        let weights: Vec<u64> = self.groups().map(weight).collect();
        self.cover_weights(percent, &weights, |sum, whole| percent.is_reached_by(sum, whole))
    }

    /// The first groups in this ranking's own order that together make up `percent` of the summed `score`; the last one
    /// reaches it.
    ///
    /// # Errors
    /// [`Error::Argument`] when `percent` is none, a score is negative or not finite, or all are 0.
    pub fn cover_score<P>(&self, percent: P, score: impl Fn(&Group) -> f64) -> Result<Selection>
    where
        P: TryInto<Percent>,
        Error: From<P::Error>,
    {
        let percent = percent.try_into()?;
        let scores: Vec<f64> = self.groups().map(&score).collect();
        if let Some((group, score)) = self.groups().zip(&scores).find(|(_, s)| !(s.is_finite() && **s >= 0.0))
        {
            let problem =
                format!("the score of `{}` is {score}, which has no share of the whole", group.name);
            return Err(Error::argument(problem).with_hint("leave such groups out of the ranking"));
        }
        self.cover_weights(percent, &scores, |sum, whole| percent.is_reached_by_score(sum, whole))
    }

    /// The first groups up to that at which the sum of `weights`, one for each ranked group, reaches the percentage.
    fn cover_weights<W>(
        &self,
        percent: Percent,
        weights: &[W],
        is_reached: impl Fn(W, W) -> bool,
    ) -> Result<Selection>
    where
        W: Copy + Default + PartialEq + std::ops::Add<Output = W>,
    {
        // In one order, so that the whole is exactly the sum of its parts.
        let whole = weights.iter().fold(W::default(), |sum, &weight| sum + weight);
        if whole == W::default() {
            return Err(Error::argument("the ranked groups have nothing that could be covered"));
        }
        let mut sum = W::default();
        let is_short = |&&weight: &&W| {
            let is_short = !is_reached(sum, whole);
            sum = sum + weight;
            is_short
        };
        let count = weights.iter().take_while(is_short).count();
        Ok(self.select(percent, &self.ordered[..count]))
    }

    /// The keys of the groups in `unscored`, as published.
    fn unscored_keys(&self) -> Vec<String> {
        let unscored: HashSet<&str> = self.unscored.iter().map(String::as_str).collect();
        self.groups
            .iter()
            .filter(|g| unscored.contains(g.name.as_str()))
            .map(|g| g.key().into_owned())
            .collect()
    }

    /// Splits the ranking at `chosen`, both parts in ranking order.
    fn select(&self, percent: Percent, chosen: &[usize]) -> Selection {
        let mut is_chosen = vec![false; self.groups.len()];
        for &at in chosen {
            is_chosen[at] = true;
        }
        let (selected, dropped) = self.ordered.iter().partition(|&&at| is_chosen[at]);
        let (sorting, groups) = (self.sorting.clone(), Arc::clone(&self.groups));
        Selection::new(percent, sorting, self.unscored_keys(), groups, selected, dropped)
    }
}

#[cfg(test)]
#[path = "ranking_tests.rs"]
mod tests;
