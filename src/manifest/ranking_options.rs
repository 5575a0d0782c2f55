//! What is ranked, and how: from a manifest and the options that were asked for to a ranking.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::group_names::{first_unmatched, group_names, names_whole};
use super::order::Sorting;
use super::{Group, Manifest, Order, Ranking};
use crate::error::{Error, Result};
use crate::selector::Globs;
use crate::units::counted;
use crate::words::nearest;

/// Decides for one group whether it is ranked.
pub type Predicate<'a> = dyn Fn(&Group) -> Result<bool> + 'a;

/// The number that one group is ranked by.
pub type Criterion<'a> = dyn Fn(&Group) -> Result<f64> + 'a;

/// What is ranked, and how. The default ranks every scored candidate in ascending order.
#[derive(Default, Clone)]
pub struct RankingOptions<'a> {
    /// Which end comes first.
    pub order: Order,
    /// Only groups of which the name or a member's name matches, in the manifest's spelling; `None` for all.
    pub include: Option<Globs>,
    /// Leaves out groups of which the name or all members' names match.
    pub exclude: Globs,
    /// Ranks candidates that were never scored too: they come first in ascending order, as if they were harmless.
    pub include_unscored: bool,
    /// Only groups for which it answers true; asked after the globs, in model order.
    pub predicate: Option<&'a Predicate<'a>>,
    /// What takes the place of the score in the order of the groups; NaN counts as no number and comes last. Asked for
    /// ranked groups only, in model order.
    pub by: Option<&'a Criterion<'a>>,
}

impl Manifest {
    /// Ranks the groups that `options` choose by their score, stably: ties keep model order in either direction, as in the
    /// published ranking.
    ///
    /// # Errors
    /// [`Error::Argument`] when a glob matches nothing or when nothing is left to rank, saying why; [`Error::Refused`] when
    /// `exclude` matches only some members of a group; whatever the predicate and `by` return.
    pub fn ranking(&self, options: &RankingOptions) -> Result<Ranking> {
        for globs in options.include.iter().chain([&options.exclude]) {
            self.check_globs(globs)?;
        }
        let mut chosen = Vec::with_capacity(self.groups.len());
        for (at, group) in self.groups.iter().enumerate() {
            if options.chooses(group)? {
                chosen.push(at);
            }
        }
        let names = |test: &dyn Fn(&Group) -> bool| -> Vec<String> {
            let groups = chosen.iter().map(|&at| &self.groups[at]);
            groups.filter(|g| test(g)).map(|g| g.name.clone()).collect()
        };
        let ranked = |g: &Group| g.is_candidate() && (options.include_unscored || g.is_scored());
        let unscored = names(&|g| g.is_candidate() && !g.is_scored());
        let not_candidates = names(&|g| !g.is_candidate());
        let not_finite = names(&|g| ranked(g) && !g.score.is_finite());
        let negative = names(&|g| ranked(g) && g.has_negative_score());

        let mut ascending: Vec<usize> =
            chosen.iter().copied().filter(|&at| ranked(&self.groups[at])).collect();
        if ascending.is_empty() {
            return Err(self.nothing_to_rank(chosen.len(), unscored.len(), not_candidates.len()));
        }
        let own = match options.by {
            None => None,
            Some(by) => {
                let mut own = vec![f64::NAN; self.groups.len()];
                for &at in &ascending {
                    own[at] = by(&self.groups[at])?;
                }
                Some(own.into())
            }
        };
        let sorting = Sorting { order: options.order, own };
        let mut ordered = ascending.clone();
        Sorting { order: Order::Ascending, ..sorting.clone() }.sort(&self.groups, &mut ascending);
        match options.order {
            Order::Ascending => ordered.clone_from(&ascending),
            Order::Descending => sorting.sort(&self.groups, &mut ordered),
        }
        Ok(Ranking {
            order: options.order,
            unscored,
            not_candidates,
            not_finite,
            negative,
            sorting,
            groups: Arc::clone(&self.groups),
            ascending,
            ordered,
        })
    }

    /// Refuses globs that match no group and no member.
    fn check_globs(&self, globs: &Globs) -> Result<()> {
        let names = self.groups.iter().flat_map(group_names);
        let Some(glob) = first_unmatched(globs, self.groups.iter()) else { return Ok(()) };
        let components: BTreeSet<&str> = names.clone().flat_map(|name| name.split('.')).collect();
        // A typing error shows best in the one component that no name has.
        let literal = |c: &&str| !c.contains(['*', '?', '[']);
        let mut suspects = glob.split('.').filter(literal).filter(|c| !components.contains(c));
        let meant = suspects.find_map(|c| nearest(c, components.iter().copied()).map(|near| (c, near)));
        let hint = match (nearest(glob, names), meant) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            (None, Some((component, near))) => format!("did you mean `{near}` in place of `{component}`?"),
            (None, None) => format!("its names read like `{}`; `*` crosses dots", self.groups[0].name),
        };
        let problem = format!("the glob `{glob}` matches no group or module of `{}`", self.path.display());
        Err(Error::argument(problem).with_hint(hint))
    }

    /// What predicates may go by, of a group that has all of it.
    fn such_as(&self) -> String {
        let found = self.groups.iter().rev().find_map(|group| Some((group, group.block()?)));
        found.map_or_else(String::new, |(group, block)| {
            format!(
                "; the tower of `{}` is {}, its kind {}, its block {block}",
                group.name,
                group.tower(),
                group.kind()
            )
        })
    }

    /// Why a ranking of `chosen` groups came out empty.
    fn nothing_to_rank(&self, chosen: usize, unscored: usize, not_candidates: usize) -> Error {
        let total = self.groups.len();
        let error = |why: String| {
            Error::argument(format!("no group of `{}` can be ranked: {why}", self.path.display()))
        };
        if chosen == 0 {
            return error(format!("none of its {} is chosen", counted(total, "group")))
                .with_hint(format!("loosen `include`, `exclude` or the predicate{}", self.such_as()));
        }
        let groups = if chosen == total {
            format!("its {}", counted(total, "group"))
        } else {
            format!("the {}", counted(chosen, "chosen group"))
        };
        let (have, were, they) = if chosen == 1 { ("has", "was", "it") } else { ("have", "were", "they") };
        if unscored == 0 {
            return error(format!(
                "{groups} {have} no format but NONE: {they} {were} disabled in the search"
            ))
            .with_hint("choose groups that took part in the search, or run it again with them enabled");
        }
        let why = match not_candidates {
            0 => format!("{groups} {were} never scored (their score is exactly 0)"),
            _ => format!(
                "of {groups}, {unscored} were never scored (score exactly 0) and {not_candidates} disabled"
            ),
        };
        error(why).with_hint("score them on inputs that exercise them, or ask for unscored groups too")
    }
}

impl RankingOptions<'_> {
    fn chooses(&self, group: &Group) -> Result<bool> {
        let matches =
            |globs: &Globs| group_names(group).any(|name| globs.matches(name)) || globs.matches(&group.key());
        if self.include.as_ref().is_some_and(|globs| !matches(globs))
            || names_whole(&self.exclude, group, "`exclude`")?
        {
            return Ok(false);
        }
        self.predicate.map_or(Ok(true), |predicate| predicate(group))
    }
}
