//! Whether globs name a group: by its own name or by those of its members.

use super::Group;
use crate::error::{Error, Result};
use crate::selector::Globs;

/// The names that a glob is held against: the group's own and its members'.
pub(super) fn group_names(group: &Group) -> impl Iterator<Item = &str> + Clone {
    let others = group.members.iter().map(String::as_str).filter(|name| *name != group.name);
    std::iter::once(group.name.as_str()).chain(others)
}

/// The first of `globs` that matches no name and no key of `groups`.
pub(super) fn first_unmatched<'g, 'a>(
    globs: &'g Globs,
    groups: impl Iterator<Item = &'a Group> + Clone,
) -> Option<&'g str> {
    // Keys are seldom meant: they are made only when names do not suffice.
    let unmatched = globs.unmatched(groups.clone().flat_map(group_names));
    let is_key = |glob: &str| {
        let alone = Globs::new([glob]).unwrap_or_default();
        groups.clone().any(|group| alone.matches(&group.key()))
    };
    unmatched.into_iter().find(|glob| !is_key(glob))
}

/// Whether `globs` name `group`: by its own name, with or without `.quant_recipe`, or by all of its members. The name of a
/// group is that of its first member and stands for all. `what` says in an error what the globs are.
pub(super) fn names_whole(globs: &Globs, group: &Group, what: &str) -> Result<bool> {
    if globs.is_empty() {
        return Ok(false);
    }
    let (inside, outside): (Vec<&str>, Vec<&str>) =
        group.members.iter().map(String::as_str).partition(|member| globs.matches(member));
    if globs.matches(&group.name) || globs.matches(&group.key()) || outside.is_empty() {
        return Ok(true);
    }
    let Some(member) = inside.first() else { return Ok(false) };
    Err(Error::refused(format!(
        "{what} splits the group `{}`: it names `{member}` but not `{}`",
        group.name, outside[0]
    ))
    .with_hint(format!(
        "loaders fuse its {} modules into one: name the group by its first member, or all of them",
        group.members.len()
    )))
}
