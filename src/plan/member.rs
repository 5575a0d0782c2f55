//! Where a module that a manifest names is found in a model, and why some of them stay as they are.

use crate::error::{Error, Result};
use crate::format::FormatId;
use crate::model::{Meaning, Model, ModuleClass, is_head};
use crate::tensor::Dtype;

const TIED_HEAD: &str = "lm_head is tied to the embedding: a quantised copy would be ignored by loaders";
pub(super) const HEAD: &str = "lm_head stays in BF16: loaders disagree on a quantised output head";
const OTHER_HEAD: &str = "an output head stays in BF16: loaders disagree on a quantised one";
const ROUTER: &str = "a router: it decides by small differences, and loaders build it without scales";
const TABLE: &str = "an embedding table: rows are looked up in it, and loaders read it without scales";
const STACK: &str = "experts in one tensor: loaders read such a stack without scales";
const TRANSPOSED: &str = "a linear layer stored as [in, out]: loaders have no FP8 form of it";
const SHARED: &str = "one weight that several blocks share: loaders look for scales under the name that it has in each of them";
const UNCERTAIN: &str = "it is not certain that this is a linear layer which loaders run as one";
const NO_LINEAR_LAYER: &str = "no linear layer: there is no FP8 form of it";
const CONVOLUTION: &str = "a convolution: no exporter packs it to FP8 and no loader reads it so";
const TIED: &str = "tied to another tensor and stored under its name: the two are one for loaders";
const PART: &str =
    "a part of one tensor on disk, which Transformers splits while it loads, but not with scales";
const MERGED: &str =
    "several tensors on disk, of which Transformers makes one while it loads, but not with scales";
pub(super) const OTHER_EXPERTS: &str = "experts that Transformers sorts otherwise than they are on disk: which of those are meant is not certain";

/// How many names an error lists before it only counts.
const LISTED: usize = 5;

/// Where a member of a group is found.
pub(super) enum MemberPlace {
    /// Linear layers, by their on-disk names: one, or the experts that the member stands for.
    Linear(Vec<String>),
    /// Something that stays as it is, and why.
    Kept(&'static str),
    /// Nowhere.
    Missing,
}

/// Where `member` is found.
pub(super) fn locate(
    model: &Model,
    member: &str,
    format: FormatId,
    dtype_of: &impl Fn(Dtype) -> Dtype,
) -> Result<MemberPlace> {
    let modules = model.modules();
    if is_head(member) {
        let tied = modules.on_disk(member).is_none() || model.ties_word_embeddings();
        return Ok(MemberPlace::Kept(if tied { TIED_HEAD } else { HEAD }));
    }
    let module = match modules.meaning(member) {
        Meaning::Module(module) => module,
        Meaning::Experts { modules, .. } => {
            return Ok(MemberPlace::Linear(modules.into_iter().map(str::to_string).collect()));
        }
        Meaning::Stacked => return Ok(MemberPlace::Kept(STACK)),
        Meaning::Merged(parts) => {
            let class = parts.first().and_then(|part| modules.class(part));
            return Ok(MemberPlace::Kept(why_kept(class).unwrap_or(MERGED)));
        }
        Meaning::Part(whole) => {
            let class = modules.class(whole);
            return Ok(MemberPlace::Kept(why_kept(class).unwrap_or(PART)));
        }
        Meaning::Tied(_) => return Ok(MemberPlace::Kept(TIED)),
        Meaning::Bare(class) => return Ok(MemberPlace::Kept(why_kept(Some(class)).unwrap_or(UNCERTAIN))),
        Meaning::UnknownExperts => return Ok(MemberPlace::Kept(OTHER_EXPERTS)),
        Meaning::Nothing => return Ok(MemberPlace::Missing),
    };
    if modules.is_shared(module) {
        return Ok(MemberPlace::Kept(SHARED));
    }
    if let Some(reason) = why_kept(modules.class(module)) {
        return Ok(MemberPlace::Kept(reason));
    }
    match model.weight(module).map(|weight| dtype_of(weight.dtype())) {
        Some(dtype) if dtype.is_quantisable() => Ok(MemberPlace::Linear(vec![module.to_string()])),
        Some(dtype) => {
            Err(Error::refused(format!("`{module}.weight` is {dtype}, which has no {format} form"))
                .with_hint(format!("{format} codes are made from BF16, F16 or F32 weights")))
        }
        None => Ok(MemberPlace::Missing),
    }
}

/// Why a module of this class stays as it is; nothing for a linear layer.
fn why_kept(class: Option<ModuleClass>) -> Option<&'static str> {
    Some(match class {
        Some(ModuleClass::Linear) => return None,
        Some(ModuleClass::Head) => OTHER_HEAD,
        Some(ModuleClass::Router) => ROUTER,
        Some(ModuleClass::Embedding) => TABLE,
        Some(ModuleClass::Convolution) => CONVOLUTION,
        Some(ModuleClass::Experts) => STACK,
        Some(ModuleClass::Transposed) => TRANSPOSED,
        Some(ModuleClass::Other) => NO_LINEAR_LAYER,
        None => UNCERTAIN,
    })
}

/// The refusal of a manifest whose modules `missing` are nowhere in `model`.
pub(super) fn unmatched(model: &Model, missing: &[&str]) -> Error {
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

/// The first few of `modules`.
pub(super) fn listed(modules: &[&str]) -> String {
    let first = modules.iter().take(LISTED).map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", ");
    if modules.len() > LISTED { format!("{first}, …") } else { first }
}
