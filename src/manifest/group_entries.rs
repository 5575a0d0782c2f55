//! The recipe groups of a manifest from the entries of its `layer_sensitivity`.

use std::path::Path;
use std::sync::Arc;

use super::document::RawGroup;
use super::group::{Group, KEY_SUFFIX, RecipeFormat, preferred};
use super::name_index::NameIndex;
use crate::error::{Error, Result};
use crate::model::{self, Tower};

/// Checks the entries of `layer_sensitivity` and finds each group's members.
pub(super) fn groups(
    path: &Path,
    raw: Vec<(String, RawGroup)>,
    layers: &[String],
) -> Result<(Vec<Group>, NameIndex)> {
    let name = |at: usize| -> &str {
        let key: &str = &raw[at].0;
        key.strip_suffix(KEY_SUFFIX).unwrap_or(key)
    };
    let index = NameIndex::new(raw.len(), name);
    if let Some((_, twice)) = index.duplicate() {
        return Err(Error::format(path, format!("has the group `{}` twice", name(twice))));
    }
    let names_all =
        |(_, raw): &(String, RawGroup)| raw.module_names.as_ref().is_some_and(|names| !names.is_empty());
    let derived = match raw.iter().all(names_all) {
        true => Vec::new(),
        false => model::members(&(0..raw.len()).map(name).collect::<Vec<_>>(), layers),
    };
    let mut derived = derived.into_iter();
    let mut shared = None;
    let mut groups = Vec::with_capacity(raw.len());
    for (key, raw) in raw {
        let derived = derived.next().unwrap_or_default();
        let group = group(key, raw, derived, &mut shared);
        groups.push(
            group.map_err(|(key, problem)| Error::format(path, format!("has a group `{key}` {problem}")))?,
        );
    }
    require_own_members(path, &groups)?;
    let is_text = |group: &Group| matches!(group.tower(), Tower::Language | Tower::Head | Tower::Other);
    let is_text_only =
        groups.iter().all(is_text) && !groups.iter().any(|group| is_of_another_kind(&group.name));
    groups.iter_mut().for_each(|group| group.is_text_only = is_text_only);
    Ok((groups, index))
}

/// Fails when two groups have the same member.
fn require_own_members(path: &Path, groups: &[Group]) -> Result<()> {
    let members =
        || groups.iter().flat_map(|group| group.members.iter().map(move |member| (&**member, group)));
    let members: Vec<(&str, &Group)> = members().collect();
    let member = |at: usize| members[at].0;
    let Some((one, other)) = NameIndex::new(members.len(), member).duplicate() else { return Ok(()) };
    let groups = format!("the groups `{}` and `{}`", members[one].1.name, members[other].1.name);
    Err(Error::format(path, format!("has the module `{}` in {groups}", member(one))))
}

/// Whether a module belongs to an encoder of neither text nor images.
fn is_of_another_kind(module: &str) -> bool {
    module.split('.').any(|part| part.starts_with("audio") || part.starts_with("speech"))
}

/// The formats of the group before: most groups have the same.
struct SharedFormats {
    texts: Arc<[String]>,
    formats: Arc<[RecipeFormat]>,
}

/// Builds one group; the error is its key and the rest of the sentence.
fn group(
    key: String,
    raw: RawGroup,
    derived: Vec<String>,
    shared: &mut Option<SharedFormats>,
) -> std::result::Result<Group, (String, String)> {
    let (Some(formats), Some(scores), Some(costs)) = (raw.formats, raw.scores, raw.costs) else {
        return Err((key, "without `formats`, `scores` or `costs`".into()));
    };
    if formats.is_empty() {
        return Err((key, "without any format".into()));
    }
    for (what, count) in [("scores", scores.len()), ("costs", costs.len())] {
        if count != formats.len() {
            return Err((key, format!("with {} formats but {count} {what}", formats.len())));
        }
    }
    let parsed = match shared {
        Some(last) if Arc::ptr_eq(&last.texts, &formats) => Arc::clone(&last.formats),
        _ => {
            let mut parsed = Vec::with_capacity(formats.len());
            for text in formats.iter() {
                let Some(format) = RecipeFormat::parse(text) else {
                    let problem =
                        format!("with the format `{text}`, which does not state its effective bits");
                    return Err((key, problem));
                };
                parsed.push(format);
            }
            let formats = SharedFormats { texts: formats, formats: parsed.into() };
            Arc::clone(&shared.insert(formats).formats)
        }
    };
    let scores: Vec<f64> = scores.into_iter().map(|n| n.0).collect();
    let members = raw.module_names.filter(|names| !names.is_empty()).unwrap_or(derived);
    let costs: Vec<f64> = costs.into_iter().map(|n| n.0).collect();
    // A number of weights; what is not known at all is NaN in Python.
    if let Some(at) = costs.iter().position(|cost| *cost <= 0.0) {
        let problem = format!(
            "whose cost in `{}` is {}: a cost is a number of weights, above 0",
            parsed[at].name, costs[at]
        );
        return Err((key, problem));
    }
    let importance = raw.importance.map(|n| n.0);
    let rank = raw.rank;
    let (score, chosen, is_text_only) = (0.0, None, false);
    let mut name = key;
    let has_ending = name.ends_with(KEY_SUFFIX);
    if has_ending {
        name.truncate(name.len() - KEY_SUFFIX.len());
    }
    let mut group = Group {
        name,
        has_ending,
        members,
        formats: parsed,
        scores,
        costs,
        score,
        importance,
        rank,
        chosen,
        is_text_only,
    };
    group.choose(preferred);
    Ok(group)
}
