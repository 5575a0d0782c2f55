//! From selected recipe groups to the modules of one scheme that are stored in FP8.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::manifest::{Group, Kept};
use crate::model::Model;
use crate::model::{expert_group, fused_group};

/// The word for what a plan stores in FP8.
pub(super) const FP8: &str = "FP8";

/// How many names an error lists before it only counts.
const LISTED: usize = 5;

/// The decision for one scheme: the linear layers stored in FP8, everything else as in the base checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// On-disk names of the modules in FP8.
    pub fp8: BTreeSet<String>,
    /// Selected groups that stay in BF16 all the same, in the order of the selection.
    pub kept: Vec<Kept>,
}

impl Plan {
    /// Resolves `groups` against `checkpoint`. Convolutions and `lm_head` stay in BF16 and are listed in
    /// [`Plan::kept`]: no exporter packs the former, and loaders either ignore a quantised head or read it differently.
    ///
    /// # Errors
    /// [`Error::NotFound`] when members match no tensor (the first few and the count); [`Error::Refused`] when a fused
    /// group would be split, a member is no linear layer, or its weight is of a dtype that has no FP8 form.
    pub fn resolve<'a>(model: &Model, groups: impl IntoIterator<Item = &'a Group>) -> Result<Self> {
        let mut plan = Plan { fp8: BTreeSet::new(), kept: Vec::new() };
        let mut missing = Vec::new();
        for group in groups {
            for member in &group.members {
                match locate(model, member)? {
                    Place::Linear(module) => {
                        plan.fp8.insert(module.to_string());
                    }
                    Place::Kept(reason) => {
                        plan.kept.push(Kept { layer: group.key.clone(), reason: reason.into() });
                    }
                    Place::Missing => missing.push(member.as_str()),
                }
            }
        }
        if !missing.is_empty() {
            return Err(unmatched(model, &missing));
        }
        require_whole_fused_groups(model, &plan.fp8)?;
        Ok(plan)
    }

    /// Fails when some `members` match no tensor of `checkpoint`: a manifest of another model.
    ///
    /// # Errors
    /// [`Error::NotFound`] with the first few names and the count.
    pub fn require_members<'a>(model: &Model, members: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut missing = Vec::new();
        for member in members {
            if matches!(locate(model, member)?, Place::Missing) {
                missing.push(member);
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(unmatched(model, &missing)) }
    }

    /// Every module that owns a weight, by its on-disk name in file order, with its format: `FP8`, or the dtype that it keeps.
    pub fn formats<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = (&'a str, String)> {
        model.tensors().filter_map(|(name, tensor)| {
            let module = name.strip_suffix(".weight")?;
            let is_fp8 = self.fp8.contains(module);
            Some((module, if is_fp8 { FP8.to_string() } else { tensor.dtype().to_string() }))
        })
    }

    /// Why `group` stays in BF16 although it is selected, as [`Plan::kept`] would say; `None` when it can be stored in FP8,
    /// or cannot be resolved at all.
    pub fn reason_to_keep(model: &Model, group: &Group) -> Option<&'static str> {
        group.members.iter().find_map(|member| match locate(model, member) {
            Ok(Place::Kept(reason)) => Some(reason),
            _ => None,
        })
    }

    /// On-disk names of the linear layers that stay in BF16, in file order. A stored `lm_head` is among them.
    pub fn bf16_linears<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = &'a str> {
        model.modules().linears().filter(|module| !self.fp8.contains(*module))
    }
}

/// Where a member of a group is found.
pub(super) enum Place<'a> {
    /// A linear layer, by its on-disk name.
    Linear(&'a str),
    /// Something that stays as it is, and why.
    Kept(&'static str),
    /// Nowhere.
    Missing,
}

pub(super) fn locate<'a>(model: &'a Model, member: &str) -> Result<Place<'a>> {
    let modules = model.modules();
    if member == "lm_head" || member.ends_with(".lm_head") {
        return Ok(Place::Kept(if modules.on_disk("lm_head").is_none() || model.ties_word_embeddings() {
            "lm_head is tied to the embedding: a quantised copy would be ignored by loaders"
        } else {
            "lm_head stays in BF16: loaders disagree on a quantised output head"
        }));
    }
    let Some(module) = modules.on_disk(member) else { return Ok(Place::Missing) };
    if modules.is_convolution(module) {
        return Ok(Place::Kept("a convolution: no exporter packs it to FP8 and no loader reads it so"));
    }
    if !modules.is_linear(module) {
        return Err(Error::refused(format!(
            "the manifest ranks `{member}`, which is no linear layer on disk"
        )));
    }
    let dtype = model.tensor(&format!("{module}.weight")).map(|t| t.dtype());
    match dtype {
        Some(dtype) if dtype.is_quantisable() => Ok(Place::Linear(module)),
        Some(dtype) => Err(Error::refused(format!("`{module}.weight` is {dtype}, which has no FP8 form"))
            .with_hint("FP8 codes are made from BF16, F16 or F32 weights")),
        None => Ok(Place::Missing),
    }
}

fn unmatched(model: &Model, missing: &[&str]) -> Error {
    let modules =
        if missing.len() == 1 { "module of the manifest matches" } else { "modules of the manifest match" };
    Error::not_found(format!(
        "{} {modules} no tensor in `{}`: {}",
        missing.len(),
        model.directory().display(),
        listed(missing)
    ))
    .with_hint("is the manifest of another model? `qlua inspect` shows what each of the two holds")
}

/// vLLM fuses {q,k,v}, {gate,up} and the experts of a mixture: all FP8 or none. A split is an error in some of its readers
/// and garbage in others.
fn require_whole_fused_groups(model: &Model, fp8: &BTreeSet<String>) -> Result<()> {
    require_whole(model.modules().linears(), |module| fp8.contains(module))
}

/// Fails when only some of the `modules` that loaders fuse are in FP8, and says which.
pub(super) fn require_whole<'a>(
    modules: impl Iterator<Item = &'a str>,
    is_fp8: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut groups = BTreeMap::<(&str, &str), Vec<&str>>::new();
    for module in modules {
        for key in fused_group(module).into_iter().chain(expert_group(module)) {
            groups.entry(key).or_default().push(module);
        }
    }
    for ((prefix, fused), members) in groups {
        let (inside, outside): (Vec<&str>, Vec<&str>) = members.iter().partition(|m| is_fp8(m));
        if !inside.is_empty() && !outside.is_empty() {
            return Err(Error::refused(format!(
                "the selection splits the fused group `{prefix}.{fused}`: {} in FP8, {} not",
                listed(&inside),
                listed(&outside)
            ))
            .with_hint("loaders fuse these modules into one: select all of them or none"));
        }
    }
    Ok(())
}

/// The first few of `modules`.
fn listed(modules: &[&str]) -> String {
    let first = modules.iter().take(LISTED).map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", ");
    if modules.len() > LISTED { format!("{first}, …") } else { first }
}
