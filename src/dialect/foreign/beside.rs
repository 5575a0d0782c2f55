//! Which tensors hold codes, and which of a quantiser stand beside them.

use std::collections::{HashMap, HashSet};

use super::names::{self, TensorMeaning};
use crate::model::Model;
use crate::tensor::{Dtype, Tensor};

/// A tensor of a quantiser beside codes.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    /// Its whole name.
    pub name: String,
    /// Its name within the module of the codes.
    pub within: String,
    pub meaning: TensorMeaning,
}

/// What a checkpoint has of quantisers.
#[derive(Debug, Clone, Default)]
pub(super) struct FoundQuantisers {
    /// What stands beside the codes of each name.
    pub codes: HashMap<String, Vec<Beside>>,
    /// All tensors of quantisers, beside codes or elsewhere.
    pub quantisers: HashSet<String>,
    /// The first of them by name.
    pub first: Option<String>,
    /// Factors of inputs beside no codes.
    pub smoothing: Option<String>,
}

impl FoundQuantisers {
    /// Looks at the names and dtypes of all tensors of `model`.
    pub fn in_model(model: &Model) -> FoundQuantisers {
        let may_hold = model.tensors().filter(|(name, tensor)| what_codes(model, name, tensor).is_some());
        let all = Places::among(may_hold.map(|(name, _)| name).collect());
        // Codes may be of the same dtype as what scales them.
        let is_beside =
            |name: &&str| all.of(name).is_some_and(|place| !place.is_sibling && place.meaning().is_some());
        let places = Places::among(all.codes.iter().copied().filter(|name| !is_beside(name)).collect());
        let mut found = FoundQuantisers::default();
        if places.codes.is_empty() {
            return found;
        }
        found.codes = places.codes.iter().map(|name| (name.to_string(), Vec::new())).collect();
        for (name, _) in model.tensors().filter(|(name, _)| !places.codes.contains(name)) {
            let place = places.of(name);
            let beside = place.as_ref().and_then(|place| Some((place, place.meaning()?)));
            let Some(meaning) = beside.map(|(_, meaning)| meaning).or_else(|| names::meaning_anywhere(name))
            else {
                continue;
            };
            if let Some((place, meaning)) = beside {
                for codes in &place.codes {
                    let within = name.strip_prefix(place.module).unwrap_or(name).trim_start_matches('.');
                    let beside = Beside { name: name.into(), within: within.into(), meaning };
                    found.codes.entry((*codes).into()).or_default().push(beside);
                }
            } else if meaning == TensorMeaning::Smoothing && found.smoothing.is_none() {
                found.smoothing = Some(name.into());
            }
            found.quantisers.insert(name.into());
        }
        found.first = found.quantisers.iter().min().cloned();
        found
    }
}

/// Codes by the modules that they are in.
struct Places<'a> {
    codes: HashSet<&'a str>,
    modules: HashMap<&'a str, Vec<&'a str>>,
}

/// Where a tensor stands.
struct Place<'a> {
    module: &'a str,
    codes: Vec<&'a str>,
    /// What it is called in relation to them, as [`names::meaning`] takes it.
    relation: String,
    /// Whether it has nothing but the module in common with them.
    is_sibling: bool,
}

impl Place<'_> {
    fn meaning(&self) -> Option<TensorMeaning> {
        let meaning = names::meaning(&self.relation)?;
        let is_of_one =
            !self.is_sibling || !matches!(meaning, TensorMeaning::Scale | TensorMeaning::BlockScale);
        Some(if is_of_one { meaning } else { names::UNKNOWN })
    }
}

impl<'a> Places<'a> {
    fn among(codes: HashSet<&'a str>) -> Self {
        let mut modules = HashMap::<_, Vec<_>>::new();
        for name in &codes {
            if let Some((module, _)) = name.rsplit_once('.') {
                modules.entry(module).or_default().push(*name);
            }
        }
        Places { codes, modules }
    }

    /// The codes that the tensor `name` stands beside, taken as one of `module`.
    fn in_module(&self, name: &'a str, module: &'a str) -> Option<Place<'a>> {
        let part = name[module.len()..].trim_start_matches('.');
        let here = self.modules.get(module).map_or(&[][..], |codes| codes);
        let stem = |codes: &&'a str| {
            let stem = codes.rsplit('.').next().unwrap_or(codes);
            let rest = part.strip_prefix(stem).filter(|rest| rest.starts_with(['_', '.']));
            rest.filter(|_| stem != "weight").map(|rest| (*codes, rest))
        };
        if let Some((codes, rest)) = here.iter().filter_map(stem).min_by_key(|(_, rest)| rest.len()) {
            let relation = format!("*{rest}");
            return Some(Place { module, codes: vec![codes], relation, is_sibling: false });
        }
        let weight = |codes: &&&str| **codes != name && codes.strip_prefix(module) == Some(".weight");
        if let Some(codes) = here.iter().find(weight) {
            return Some(Place { module, codes: vec![codes], relation: part.into(), is_sibling: false });
        }
        if let Some(codes) = self.codes.get(module) {
            let (outer, stem) = module.rsplit_once('.').unwrap_or(("", module));
            let stem = if stem == "weight" { stem } else { "*" };
            let relation = format!("{stem}.{part}");
            return Some(Place { module: outer, codes: vec![codes], relation, is_sibling: false });
        }
        let codes: Vec<&str> = here.iter().copied().filter(|codes| *codes != name).collect();
        (!codes.is_empty()).then(|| Place { module, codes, relation: part.into(), is_sibling: true })
    }

    /// The codes that the tensor `name` stands beside; nothing where there are none.
    fn of(&self, name: &'a str) -> Option<Place<'a>> {
        let (mut module, _) = name.rsplit_once('.')?;
        loop {
            if let Some(place) = self.in_module(name, module) {
                return Some(place);
            }
            let (outer, part) = module.rsplit_once('.')?;
            if !names::is_part_of_quantiser(part) {
                return None;
            }
            module = outer;
        }
    }
}

/// What the tensor holds in the place of weights, if it is no tensor of a quantiser; nothing for a plain one.
pub(super) fn what_codes(model: &Model, name: &str, tensor: &Tensor) -> Option<String> {
    if names::meaning_anywhere(name).is_some() {
        return None;
    }
    let exists = |name: &str| model.tensor(name).is_some();
    let is_encoded = |name: &str| model.tensor(name).is_some_and(|owner| !owner.dtype().is_quantisable());
    let (module, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    match tensor.dtype() {
        Dtype::BF16 | Dtype::F16 | Dtype::F32 | Dtype::F64 | Dtype::C64 | Dtype::Bool => None,
        // Those of packed weights are FP8 too.
        _ if leaf.starts_with("scale") && (is_encoded(module) || is_encoded(&format!("{module}.weight"))) => {
            None
        }
        dtype @ (Dtype::F8E4M3 | Dtype::F8E5M2 | Dtype::F8E4M3Fnuz | Dtype::F8E5M2Fnuz) => {
            Some(format!("{dtype} codes"))
        }
        // Exponents alone are scales.
        Dtype::F8E8M0 => None,
        dtype => names::packed(name, exists).map(str::to_string).or_else(|| {
            let mut scales =
                names::scales().chain(["scales"]).filter_map(|scale| match name.strip_suffix(".weight") {
                    Some(module) if !scale.starts_with('*') => Some(format!("{module}.{scale}")),
                    None => scale.strip_prefix('*').map(|ending| format!("{name}{ending}")),
                    Some(_) => None,
                });
            scales.any(|scale| exists(&scale)).then(|| match dtype {
                Dtype::I8 => "I8 codes, integers or packed FP4".to_string(),
                other => format!("{other} codes"),
            })
        }),
    }
}
