//! The groups of a ranking that go to FP8, and the rest; and the algebra of such choices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::order::Sorting;
use super::{Group, Order, Percent};
use crate::error::{Error, Result};
use crate::model::bare_name;

/// The groups of a ranking that are selected, and those that are dropped, both in ranking order.
#[derive(Debug, Clone)]
pub struct Selection {
    /// The percentage that was asked for; where none was, the share of the ranked groups that is selected.
    pub percent: Percent,
    /// The order of the ranking.
    pub order: Order,
    /// The number of ranked groups: selected and dropped together.
    pub total: usize,
    /// Keys of the candidates that were never scored, in model order, whether ranked or not.
    pub unscored: Vec<String>,
    sorting: Sorting,
    groups: Arc<Vec<Group>>,
    selected: Vec<usize>,
    dropped: Vec<usize>,
}

impl Selection {
    pub(super) fn new(
        percent: Percent,
        sorting: Sorting,
        unscored: Vec<String>,
        groups: Arc<Vec<Group>>,
        selected: Vec<usize>,
        dropped: Vec<usize>,
    ) -> Self {
        Selection {
            percent,
            order: sorting.order,
            total: selected.len() + dropped.len(),
            unscored,
            sorting,
            groups,
            selected,
            dropped,
        }
    }

    /// The selected groups in ranking order; none where nothing was chosen.
    pub fn selected(&self) -> impl ExactSizeIterator<Item = &Group> + DoubleEndedIterator + Clone {
        self.selected.iter().map(|&at| &self.groups[at])
    }

    /// The ranked groups that are not selected, in ranking order.
    pub fn dropped(&self) -> impl ExactSizeIterator<Item = &Group> + DoubleEndedIterator + Clone {
        self.dropped.iter().map(|&at| &self.groups[at])
    }

    /// The names of the selected groups in ranking order.
    pub fn selected_names(&self) -> Vec<&str> {
        self.selected().map(|g| g.name.as_str()).collect()
    }

    /// The names of the dropped groups in ranking order.
    pub fn dropped_names(&self) -> Vec<&str> {
        self.dropped().map(|g| g.name.as_str()).collect()
    }

    /// The groups that are selected here or in `other`, of all that are ranked in either. Groups of another manifest are
    /// found by their names, whatever the spelling; scores and order are those of this selection.
    ///
    /// # Errors
    /// [`Error::Argument`] when `other` ranks a group that this manifest does not have.
    pub fn union(&self, other: &Selection) -> Result<Selection> {
        let (selected, ranked) = self.positions_of(other)?;
        let ours: BTreeSet<usize> = self.selected.iter().copied().collect();
        let mut all: BTreeSet<usize> = self.selected.iter().chain(&self.dropped).copied().collect();
        all.extend(ranked);
        Ok(self.with(all, |at| ours.contains(&at) || selected.contains(&at), other))
    }

    /// The groups that are selected both here and in `other`, of those that are ranked here.
    ///
    /// # Errors
    /// As for [`Selection::union`].
    pub fn intersection(&self, other: &Selection) -> Result<Selection> {
        self.keep(other, true)
    }

    /// The groups that are selected here but not in `other`, of those that are ranked here.
    ///
    /// # Errors
    /// As for [`Selection::union`].
    pub fn difference(&self, other: &Selection) -> Result<Selection> {
        self.keep(other, false)
    }

    fn keep(&self, other: &Selection, inside: bool) -> Result<Selection> {
        let (selected, _) = self.positions_of(other)?;
        let ours: BTreeSet<usize> = self.selected.iter().copied().collect();
        let all = self.selected.iter().chain(&self.dropped).copied().collect();
        Ok(self.with(all, |at| ours.contains(&at) && selected.contains(&at) == inside, self))
    }

    /// The positions in this manifest of what `other` selects, and of what it ranks.
    fn positions_of(&self, other: &Selection) -> Result<(BTreeSet<usize>, BTreeSet<usize>)> {
        let ranked = || other.selected.iter().chain(&other.dropped).copied();
        if Arc::ptr_eq(&self.groups, &other.groups) {
            return Ok((other.selected.iter().copied().collect(), ranked().collect()));
        }
        let by_name: HashMap<&str, usize> =
            self.groups.iter().enumerate().map(|(at, g)| (bare_name(&g.name), at)).collect();
        let position = |at: &usize| {
            let name = &other.groups[*at].name;
            by_name.get(bare_name(name)).copied().ok_or_else(|| {
                Error::argument(format!("the group `{name}` of one manifest is not in the other"))
                    .with_hint("selections can be combined when their manifests are of one model")
            })
        };
        let selected = other.selected.iter().map(position).collect::<Result<_>>()?;
        Ok((selected, ranked().map(|at| position(&at)).collect::<Result<_>>()?))
    }

    /// The groups in `all` for which `choose` answers true, and the rest, in this selection's order.
    fn with(&self, all: BTreeSet<usize>, choose: impl Fn(usize) -> bool, other: &Selection) -> Selection {
        let mut ordered: Vec<usize> = all.into_iter().collect();
        self.sorting.sort(&self.groups, &mut ordered);
        let (selected, dropped): (Vec<usize>, Vec<usize>) = ordered.into_iter().partition(|&at| choose(at));
        let mut unscored = self.unscored.clone();
        unscored.extend(other.unscored.iter().filter(|key| !self.unscored.contains(key)).cloned());
        let percent = Percent::of_share(selected.len(), selected.len() + dropped.len());
        Selection::new(percent, self.sorting.clone(), unscored, Arc::clone(&self.groups), selected, dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Manifest, RankingOptions};

    fn manifest(prefix: &str, scores: [f64; 5]) -> Manifest {
        let entry = |(at, score): (usize, &f64)| {
            format!(
                r#""{prefix}layers.{at}.o_proj.quant_recipe": {{"formats": ["F(effective-bits: 8.0)"], "scores": [{score}], "costs": [1]}}"#
            )
        };
        let groups: Vec<String> = scores.iter().enumerate().map(entry).collect();
        let text = format!(r#"{{"layer_sensitivity": {{{}}}}}"#, groups.join(","));
        Manifest::parse("m.json", text).unwrap()
    }

    fn blocks(selection: &Selection) -> Vec<u32> {
        selection.selected().map(|g| g.block().unwrap()).collect()
    }

    #[test]
    fn the_algebra_is_that_of_sets_in_ranking_order() {
        let manifest = manifest("", [5.0, 1.0, 4.0, 2.0, 3.0]);
        let ranking = manifest.ranking(&RankingOptions::default()).unwrap();
        let (low, high) = (ranking.lowest(60.0).unwrap(), ranking.highest(60.0).unwrap());
        assert_eq!((blocks(&low), blocks(&high)), (vec![1, 3, 4], vec![4, 2, 0]));
        let union = low.union(&high).unwrap();
        assert_eq!(
            (blocks(&union), union.total, union.percent.to_string()),
            (vec![1, 3, 4, 2, 0], 5, "100".into())
        );
        assert_eq!(blocks(&low.intersection(&high).unwrap()), [4]);
        let difference = low.difference(&high).unwrap();
        assert_eq!((blocks(&difference), difference.dropped().len()), (vec![1, 3], 3));
        let nothing = low.difference(&low).unwrap();
        assert_eq!((nothing.selected().len(), nothing.percent.to_string()), (0, "0".into()));
    }

    #[test]
    fn selections_of_two_spellings_of_one_model_meet() {
        let ours = manifest("model.language_model.", [5.0, 1.0, 4.0, 2.0, 3.0]);
        let theirs = manifest("", [1.0, 2.0, 3.0, 4.0, 5.0]);
        let lowest = |m: &Manifest| m.ranking(&RankingOptions::default()).unwrap().lowest(40.0).unwrap();
        assert_eq!(blocks(&lowest(&ours).union(&lowest(&theirs)).unwrap()), [1, 3, 0]);
        assert_eq!(blocks(&lowest(&ours).intersection(&lowest(&theirs)).unwrap()), [1]);
        let other = manifest("visual.", [1.0; 5]);
        let error = lowest(&ours).union(&lowest(&other)).unwrap_err();
        assert!(error.to_string().contains("`visual.layers.0.o_proj`"), "{error}");
    }

    #[test]
    fn what_was_ranked_apart_is_ranked_together_in_a_union() {
        let manifest = manifest("", [5.0, 1.0, 4.0, 2.0, 3.0]);
        let ranking = |blocks: std::ops::Range<u32>| {
            let predicate = move |g: &Group| Ok(g.block().is_some_and(|b| blocks.contains(&b)));
            let options = RankingOptions { predicate: Some(&predicate), ..Default::default() };
            manifest.ranking(&options).unwrap()
        };
        let union = ranking(0..2).lowest(50.0).unwrap().union(&ranking(3..5).lowest(50.0).unwrap()).unwrap();
        assert_eq!((blocks(&union), union.total), (vec![1, 3], 4));
        assert_eq!(union.dropped().map(|g| g.block().unwrap()).collect::<Vec<_>>(), [4, 0]);
    }
}
