//! What the groups of a manifest are in a model: which of their modules can be quantised, and why the others cannot.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::member::{HEAD, MemberPlace, OTHER_EXPERTS, listed, locate, unmatched};
use crate::error::{Error, Result};
use crate::format::FormatId;
use crate::manifest::{Group, Manifest, NameIndex};
use crate::model::{Meaning, Model, ModuleClass, expert_group, fused_group, is_head};
use crate::tensor::Dtype;

const LEFT_ALONE: &str =
    "Transformers leaves it alone whatever a list says, and would take codes for weights";
const BESIDE_UNQUANTISED: &str = "loaders fuse it with a layer that the manifest leaves unquantised";
const NOT_LINEAR: &str = "not among the manifest's linear layers: no exporter packs a convolution to FP8";

/// Every group of a manifest, found once in a model or, where there is none, in the manifest itself.
#[derive(Debug, Clone)]
pub struct Located {
    /// Whose groups these are.
    manifest: Manifest,
    groups: Vec<LocatedGroup>,
    /// Every linear layer, ranked or not, in file order.
    linears: Vec<String>,
    positions: NameIndex,
    /// What loaders make one module of: a name, and the positions of its parts.
    fused: Vec<(String, Vec<usize>)>,
}

/// A group of a manifest in a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocatedGroup {
    /// The modules that own a weight, on-disk names; nothing without a model.
    pub stored: Vec<String>,
    /// The modules that can be quantised: on-disk names, or the manifest's where there is no model.
    /// Shared by every plan that quantises them.
    pub quantisable: Vec<Arc<str>>,
    /// The modules of which the group holds a part only, on-disk names.
    pub in_part: Vec<String>,
    /// Whether all members are weights on disk as they are, so that their numbers can be compared. Convolutions are counted
    /// otherwise in memory.
    pub is_whole: bool,
    /// Why the group, or a part of it, stays as it is even when it is selected.
    pub kept: Option<&'static str>,
}

impl LocatedGroup {
    /// Adds what is on disk of `member`.
    fn add(&mut self, model: &Model, member: &str) {
        let modules = model.modules();
        let (stored, is_same): (Vec<&str>, bool) = match modules.meaning(member) {
            Meaning::Module(module) => {
                (vec![module], modules.class(module) != Some(ModuleClass::Convolution))
            }
            Meaning::Experts { modules, on_disk } => (modules, on_disk),
            Meaning::Merged(modules) => (modules, false),
            Meaning::Part(whole) => {
                self.in_part.push(whole.to_string());
                (Vec::new(), false)
            }
            Meaning::Stacked
            | Meaning::Tied(_)
            | Meaning::Bare(_)
            | Meaning::UnknownExperts
            | Meaning::Nothing => (Vec::new(), false),
        };
        self.is_whole &= is_same;
        self.stored.extend(stored.into_iter().map(str::to_string));
    }

    /// The number of weights that are on disk of it.
    pub fn weights(&self, model: &Model) -> u64 {
        let weights = self.stored.iter().filter_map(|module| model.weight(module));
        weights.map(|weight| weight.elements() as u64).sum()
    }
}

impl Located {
    /// Finds the groups of `manifest` in `model`; only candidates must be there. A module is quantisable if it is a linear
    /// layer that `format` and its loaders can take; convolutions and `lm_head` are not, and neither is any part of what
    /// loaders fuse when one part is not.
    ///
    /// # Errors
    /// [`Error::NotFound`] when members of candidates match no tensor (the first few and the count): a manifest of another
    /// model; [`Error::Refused`] when one is no linear layer or its weight is of a dtype that cannot be quantised.
    pub fn in_model(manifest: &Manifest, model: &Model, format: FormatId) -> Result<Self> {
        Located::of(manifest, model, format, |dtype| dtype)
    }

    /// The same in a scheme that is written already: codes of `format` stand for the weights that they were made from.
    ///
    /// # Errors
    /// Those of [`Located::in_model`].
    pub fn in_scheme(manifest: &Manifest, scheme: &Model, format: FormatId) -> Result<Self> {
        Located::of(
            manifest,
            scheme,
            format,
            |dtype| if dtype == Dtype::F8E4M3 { Dtype::BF16 } else { dtype },
        )
    }

    /// The groups in `model`, whose weights have the dtypes that `dtype_of` makes of those that are stored.
    fn of(
        manifest: &Manifest,
        model: &Model,
        format: FormatId,
        dtype_of: impl Fn(Dtype) -> Dtype,
    ) -> Result<Self> {
        let mut located = Located::new(manifest, model.modules().linears().map(str::to_string).collect());
        let mut missing = Vec::new();
        for group in manifest.groups() {
            let mut found = LocatedGroup { is_whole: true, ..LocatedGroup::default() };
            let mut are_sorted_otherwise = false;
            for member in &group.members {
                found.add(model, member);
                let meaning = model.modules().meaning(member);
                are_sorted_otherwise |= matches!(meaning, Meaning::Experts { on_disk: false, .. });
            }
            for member in group.members.iter().filter(|_| group.is_candidate()) {
                match locate(model, member, format, &dtype_of)? {
                    MemberPlace::Linear(modules) => {
                        found.quantisable.extend(modules.into_iter().map(Arc::from))
                    }
                    MemberPlace::Kept(reason) => found.kept = Some(reason),
                    MemberPlace::Missing => missing.push(member.as_str()),
                }
            }
            if are_sorted_otherwise && group.parameters().is_some_and(|n| n > 1 && n != found.weights(model))
            {
                found.quantisable.clear();
                found.kept = Some(OTHER_EXPERTS);
            }
            located.groups.push(found);
        }
        if !missing.is_empty() {
            return Err(unmatched(model, &missing));
        }
        located.require_own_modules(manifest)?;
        let unquantised: HashSet<String> = manifest
            .groups()
            .iter()
            .zip(&located.groups)
            .filter(|(group, _)| !group.is_candidate())
            .flat_map(|(_, found)| found.stored.iter().cloned())
            .collect();
        located.keep_whole(|module| {
            if unquantised.contains(module) {
                return Some(BESIDE_UNQUANTISED);
            }
            let weight = model.weight(module)?;
            let is_left_alone =
                || format.format().leaves_modules_alone() && model.modules().is_left_alone(module);
            let refused = format.format().refuses(dtype_of(weight.dtype()), weight.shape());
            refused.or_else(|| is_left_alone().then_some(LEFT_ALONE))
        });
        Ok(located)
    }

    /// The groups of `manifest` as it describes them itself: the output head and what is not among its linear layers stay as
    /// they are.
    pub fn in_manifest(manifest: &Manifest) -> Self {
        let layers: HashSet<&str> = manifest.layers().iter().map(String::as_str).collect();
        let members = || manifest.groups().iter().flat_map(|group| &group.members);
        let mut located = Located::new(manifest, members().cloned().collect());
        for group in manifest.groups() {
            let mut found = LocatedGroup::default();
            for member in group.members.iter().filter(|_| group.is_candidate()) {
                if is_head(member) {
                    found.kept = Some(HEAD);
                } else if !layers.is_empty() && !layers.contains(member.as_str()) {
                    found.kept = Some(NOT_LINEAR);
                } else {
                    found.quantisable.push(member.as_str().into());
                }
            }
            located.groups.push(found);
        }
        located
    }

    fn new(manifest: &Manifest, linears: Vec<String>) -> Self {
        let mut fused = BTreeMap::<(&str, &str), Vec<usize>>::new();
        for (at, module) in linears.iter().enumerate() {
            for key in fused_group(module).into_iter().chain(expert_group(module)) {
                fused.entry(key).or_default().push(at);
            }
        }
        let fused = fused.into_iter().map(|((prefix, name), parts)| (format!("{prefix}.{name}"), parts));
        Located {
            manifest: manifest.clone(),
            groups: Vec::with_capacity(manifest.groups().len()),
            fused: fused.collect(),
            positions: NameIndex::new(linears.len(), |at| &linears[at]),
            linears,
        }
    }

    /// Where `module` stands among the linear layers.
    fn position(&self, module: &str) -> Option<usize> {
        self.positions.find(module, |at| &self.linears[at])
    }

    /// Fails when two members mean the same module, under two spellings: it would be counted and chosen twice.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the module and the groups.
    fn require_own_modules(&self, manifest: &Manifest) -> Result<()> {
        let mut owners: HashMap<&str, &Group> = HashMap::new();
        for (group, found) in manifest.groups().iter().zip(&self.groups) {
            for module in &found.stored {
                let Some(other) = owners.insert(module, group) else { continue };
                if !(group.is_candidate() || other.is_candidate()) {
                    continue;
                }
                let problem = match other.name == group.name {
                    true => format!("the group `{}` has `{module}` twice, under two spellings", group.name),
                    false => format!(
                        "the groups `{}` and `{}` both have `{module}`, under two spellings",
                        other.name, group.name
                    ),
                };
                return Err(Error::refused(problem).with_hint("name every module once in the manifest"));
            }
        }
        Ok(())
    }

    /// Takes back whatever is fused with a module that `refuses` gives a reason for.
    fn keep_whole(&mut self, refuses: impl Fn(&str) -> Option<&'static str>) {
        let mut reasons: HashMap<usize, &'static str> = HashMap::new();
        for (at, module) in self.linears.iter().enumerate() {
            if let Some(reason) = refuses(module) {
                reasons.insert(at, reason);
            }
        }
        if reasons.is_empty() {
            return;
        }
        for (_, parts) in &self.fused {
            if let Some(reason) = parts.iter().find_map(|part| reasons.get(part).copied()) {
                parts.iter().for_each(|part| {
                    reasons.entry(*part).or_insert(reason);
                });
            }
        }
        for group in &mut self.groups {
            let (positions, linears) = (&self.positions, &self.linears);
            let position = |module: &str| positions.find(module, |at| &linears[at]);
            let reason = |module: &Arc<str>| position(module).and_then(|at| reasons.get(&at).copied());
            if let Some(reason) = group.quantisable.iter().find_map(reason) {
                // A group is one decision: it is quantised as a whole or not at all.
                group.quantisable.clear();
                group.kept = Some(reason);
            }
        }
    }

    /// The group called `name` in the manifest.
    pub fn group(&self, name: &str) -> Option<&LocatedGroup> {
        self.manifest.position(name).map(|at| &self.groups[at])
    }

    /// The groups in the manifest's order.
    pub fn groups(&self) -> &[LocatedGroup] {
        &self.groups
    }

    /// Every linear layer, ranked or not, in file order.
    pub fn linears(&self) -> &[String] {
        &self.linears
    }

    /// Fails when only some parts of what loaders fuse are among `modules`, and says which: a split is an error in some
    /// readers and garbage in others.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn require_whole<'a>(&self, modules: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut chosen = vec![false; self.linears.len()];
        for module in modules {
            if let Some(at) = self.position(module) {
                chosen[at] = true;
            }
        }
        for (fused, parts) in &self.fused {
            let inside = parts.iter().filter(|part| chosen[**part]).count();
            if inside == 0 || inside == parts.len() {
                continue;
            }
            let (inside, outside): (Vec<usize>, Vec<usize>) = parts.iter().partition(|part| chosen[**part]);
            let names = |parts: &[usize]| {
                listed(&parts.iter().map(|part| self.linears[*part].as_str()).collect::<Vec<_>>())
            };
            return Err(Error::refused(format!(
                "the selection splits the fused group `{fused}`: {} in FP8, {} not",
                names(&inside),
                names(&outside)
            ))
            .with_hint("loaders fuse these modules into one: select all of them or none"));
        }
        Ok(())
    }
}
