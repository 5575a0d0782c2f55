//! Checks of any checkpoint directory: what loaders would reject, and above all what they would accept and get wrong.
//!
//! The rules are those that vLLM, Transformers, SGLang and TensorRT-LLM were found to follow; each [`Code`] is one.

mod base;
mod blocks;
mod companions;
mod coverage;
mod family;
mod found;
mod layers;
mod needed;
mod reading;
mod records;
mod sizes;
mod tensors;
mod unknown;
mod values;
mod weights;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

pub use base::BaseComparison;
pub use family::{FamilyMember, check_family};
pub use reading::SeenFiles;
pub use records::RecordState;

use crate::checkpoint::{HF_QUANT_CONFIG, INDEX_FILE};
use crate::dialect::{CONFIG, Claims, DialectId, StoredLayers};
pub use crate::dialect::{Code, Problem};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::model::{Expectation, Model, expected_tensors};
use crate::record::{FileInDirectory, FoundRecord, files_below};
use crate::words::words;
use base::Counterparts;
use reading::{ReadWeights, TensorReading};
use weights::LeftOut;

words! {
    /// How much of a directory is read.
    pub enum Depth: "depth" {
        /// Headers, configurations and scales, names and sizes of files: milliseconds.
        Headers = "headers",
        /// Every file: hashes are compared with those on record, and every FP8 code and every other weight is looked at.
        Full = "full",
    }
}

/// What a directory is compared with, and how much of it is read.
#[derive(Clone, Copy)]
pub struct VerifyOptions<'a> {
    /// How much is read. A base needs [`Depth::Full`].
    pub depth: Depth,
    /// The checkpoint that the directory was made from.
    pub base: Option<&'a Model>,
    /// Files that were read for other directories.
    pub seen: &'a SeenFiles,
}

/// What is known of a directory once it was looked at.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What is wrong with it, and what of it is not known here ([`Code::NotChecked`]), in a fixed order.
    pub problems: Vec<Problem>,
    /// How far it was compared with its record.
    pub record: RecordState,
    /// What the comparison with the base has shown, where one was made.
    pub base: Option<BaseComparison>,
    /// What a family is judged by; nothing for a directory that cannot be opened.
    pub member: Option<FamilyMember>,
}

/// Whether an error lies in the directory that is checked. A file that is named and not there is damage too, such as a
/// link into a cache that was cleared.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Format { .. } | Error::NotFound { .. } => true,
        Error::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

/// Checks `directory` and returns what is wrong with it, and what of it is not known here ([`Code::NotChecked`]), in a fixed
/// order; nothing when all loaders read what is meant.
///
/// # Errors
/// As for [`verify_with`].
pub fn verify(directory: &Path, depth: Depth) -> Result<Vec<Problem>> {
    Ok(verify_with(directory, &VerifyOptions { depth, base: None, seen: &SeenFiles::default() })?.problems)
}

/// Checks `directory` as `options` say.
///
/// # Errors
/// [`Error::NotFound`] when `directory` is no directory, [`Error::Io`] when it cannot be read, [`Error::Changed`] when somebody
/// wrote to a checkpoint meanwhile, [`Error::Interrupted`]. Damage is a problem, not an error.
pub fn verify_with(directory: &Path, options: &VerifyOptions) -> Result<Verified> {
    if !directory.is_dir() {
        let what = if directory.symlink_metadata().is_ok() { "is no directory" } else { "does not exist" };
        return Err(Error::not_found(format!("`{}` {what}", directory.display()))
            .with_hint("name a checkpoint directory: config.json beside *.safetensors files"));
    }
    if options.base.is_some() && options.depth == Depth::Headers {
        return Err(Error::argument(
            "a comparison with the base checkpoint reads all weights, not headers alone",
        )
        .with_hint("leave out the depth, or the base"));
    }
    fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
    let files = files_below(directory)?;
    let record = FoundRecord::of(directory)?;
    let (opened, unreadable) = match open(directory) {
        Ok(opened) => (Some(opened), None),
        Err(error) if is_damage(&error) => (None, Some(error)),
        Err(error) => return Err(error),
    };
    let checkpoints = || opened.iter().map(|(model, _)| model).chain(options.base);
    if options.depth == Depth::Full {
        checkpoints().for_each(|model| model.settle());
    }
    let found = FoundDirectory { directory, files: &files, record: &record };
    let looked = found.check(opened.as_ref(), options);
    // Whatever was found, it was found in files that are others now.
    let mut verified = checkpoints().fold(looked, |looked, model| model.unchanged(looked))?;
    if let Some(error) = unreadable {
        let subject = directory.display().to_string();
        verified.problems.insert(0, Problem::new(Code::Unreadable, subject, error.to_string()));
    }
    let mut seen = BTreeSet::new();
    verified.problems.retain(|problem| {
        seen.insert((problem.code.word(), problem.subject.clone(), problem.message.clone()))
    });
    Ok(verified)
}

/// Opens the checkpoint in `directory`, unless something stands where loaders read a file that is none, and might never end
/// being read.
fn open(directory: &Path) -> Result<(Model, Claims)> {
    let is_read = |name: &str| {
        [CONFIG, INDEX_FILE].contains(&name)
            || name.ends_with(HF_QUANT_CONFIG)
            || name.ends_with(".safetensors")
    };
    for entry in fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))? {
        let path = entry.map_err(|e| Error::io("read", directory, e))?.path();
        let is_read = path.file_name().and_then(|name| name.to_str()).is_some_and(is_read);
        if is_read && path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::format(path, "is no file"));
        }
    }
    let model = Model::open(directory)?;
    let claims = Claims::read(&model)?;
    Ok((model, claims))
}

/// A directory, its files and its record.
struct FoundDirectory<'a> {
    directory: &'a Path,
    files: &'a [FileInDirectory],
    record: &'a FoundRecord,
}

impl FoundDirectory<'_> {
    /// Checks it, and the checkpoint in it where that could be opened.
    fn check(&self, opened: Option<&(Model, Claims)>, options: &VerifyOptions) -> Result<Verified> {
        let FoundDirectory { directory, files, record } = self;
        let mut verified = Verified {
            problems: records::check_special(files),
            record: RecordState::None,
            base: None,
            member: None,
        };
        let mut hashes = HashMap::new();
        if let Some((model, claims)) = opened {
            let read = OpenedDirectory { model, claims, files, record }.check(options, &mut verified)?;
            hashes = read.map(|read| read.files).unwrap_or_default();
        }
        let (problems, state) = records::check(directory, record, files, &hashes, options.depth)?;
        verified.problems.extend(problems);
        verified.record = state;
        if let Some(base) = options.base {
            verified.problems.extend(companions::check(directory, files, base)?);
        }
        Ok(verified)
    }
}

/// A directory whose checkpoint could be opened.
struct OpenedDirectory<'a> {
    model: &'a Model,
    claims: &'a Claims,
    files: &'a [FileInDirectory],
    record: &'a FoundRecord,
}

impl OpenedDirectory<'_> {
    /// Checks it, and gives what was read of its weights.
    fn check(&self, options: &VerifyOptions, verified: &mut Verified) -> Result<Option<ReadWeights>> {
        let OpenedDirectory { model, claims, files, record } = self;
        let stored = StoredLayers::of(model);
        verified.member = Some(FamilyMember::of(&stored));
        let problems = &mut verified.problems;
        let (found, left_out) = weights::check(model)?;
        problems.extend(found);
        problems.extend(sizes::check_config(model.config()));
        problems.extend(needed::check(model, files));
        problems.extend(coverage::check(model, &stored, files));
        let record = match record {
            FoundRecord::Read(record) => Some(record),
            _ => None,
        };
        problems.extend(record.iter().flat_map(|record| coverage::check_claims(record, claims)));
        let unknown = unknown::check(claims, &stored);
        if let Some(unknown) = &unknown {
            problems.push(unknown.clone());
        } else {
            problems.extend(check_model(model, claims, &left_out, options.base.is_some()));
            problems.extend(layers::check(&stored));
            problems.extend(check_covered(claims, &stored));
            problems.extend(coverage::check_half_claim(claims, &stored));
            for id in DialectId::ALL {
                problems.extend(id.dialect().check(claims, &stored));
            }
        }
        if options.depth == Depth::Headers {
            return Ok(None);
        }
        let rounding = record.and_then(|record| record.layout.rounding.parse::<Rounding>().ok());
        let counterparts = options.base.map(|base| Counterparts::find(model, base, rounding)).transpose()?;
        let codes: HashSet<String> = stored.fp8().map(|layer| format!("{}.weight", layer.name)).collect();
        let none = HashMap::new();
        let by_name = counterparts.as_ref().map_or(&none, |found| &found.by_name);
        let read = reading::read(model, &|name| codes.contains(name), by_name, options.seen)?;
        if unknown.is_none() {
            problems.extend(check_values(model, &codes, &read));
        }
        if let (Some(counterparts), Some(base)) = (&counterparts, options.base) {
            let difference =
                |name: &str| read.tensors.get(name).map(|found| found.difference).unwrap_or_default();
            let (differences, comparison) = counterparts.judge(model, &difference);
            problems.extend(base::check_config(model, base));
            problems.extend(counterparts.problems.iter().cloned());
            problems.extend(differences);
            verified.base = Some(comparison);
        }
        verified.member = verified.member.take().map(|member| member.with_hashes(&read.files));
        Ok(Some(read))
    }
}

/// Values that no weight has. Those of scales are findings whatever is read.
fn check_values(model: &Model, codes: &HashSet<String>, read: &ReadWeights) -> Vec<Problem> {
    let is_scale = |name: &str| name.ends_with("_scale") || name.ends_with("_scale_inv");
    let tensors = model.tensors().map(|(name, _)| name).filter(|name| !is_scale(name));
    let unusable =
        |name: &&str| read.tensors.get(*name).map_or(0, |TensorReading { unusable, .. }| *unusable) > 0;
    let problem = |name: &str| {
        let count = read.tensors[name].unusable;
        if codes.contains(name) {
            let layer = name.strip_suffix(".weight").unwrap_or(name);
            return Problem::new(Code::NanCodes, layer, format!("`{name}` holds {count} NaN codes"));
        }
        let (values, verb) = if count == 1 { ("value", "is") } else { ("values", "are") };
        let message = format!(
            "`{name}` holds {count} {values} that {verb} NaN or infinite: every output that passes through is lost"
        );
        Problem::new(Code::NonFinite, name, message)
    };
    tensors.filter(unusable).map(problem).collect()
}

/// The tensors of the model, where its architecture is known. What quantisers of unknown methods make of them is not. Sizes that
/// do not follow from the configuration are not checked, unless they are compared with a base.
fn check_model(model: &Model, claims: &Claims, left_out: &LeftOut, has_base: bool) -> Vec<Problem> {
    if claims.method().is_some_and(|method| !is_known(method)) {
        return Vec::new();
    }
    let count = model.tensors().count();
    let expected = expected_tensors(model.config(), count, &|name| model.tensor(name).is_some());
    let mut problems = match expected {
        Expectation::Tensors(expected) => tensors::check(model, &expected, left_out),
        Expectation::TooMany { key, stated } => {
            let message =
                format!("config.json says {key} {stated}, and the checkpoint has {count} tensors in all");
            vec![Problem::new(Code::Blocks, CONFIG, message)]
        }
        Expectation::Unknown(why) => {
            let mut problems = blocks::check(model, left_out);
            problems.push(sizes::not_compared(model, &why));
            problems
        }
    };
    problems.retain(|problem| problem.is_fault() || !has_base);
    let is_packed = claims.method().is_some() || !claims.modelopt.is_empty();
    problems.extend(sizes::check_dtypes(model, is_packed));
    problems
}

/// Whether some dialect has this `quant_method`.
fn is_known(method: &str) -> bool {
    DialectId::ALL.iter().any(|id| id.dialect().methods().contains(&method))
}

/// Whether anything says that the FP8 layers, if there are any, are FP8.
fn check_covered(claims: &Claims, stored: &StoredLayers) -> Option<Problem> {
    let first = stored.fp8().next()?.name;
    let layers = match stored.fp8().count() {
        1 => format!("`{first}` is FP8"),
        count => format!("{count} layers are FP8, such as `{first}`"),
    };
    if claims.are_none() {
        let message = format!("{layers}, and no configuration says so: their codes are taken for weights");
        return Some(Problem::new(Code::Unconfigured, CONFIG, message));
    }
    let method = claims.method()?;
    let is_known = is_known(method);
    let message = || format!("{layers}, and the quant_method {method} of config.json knows no such layers");
    (!is_known).then(|| Problem::new(Code::Configuration, CONFIG, message()))
}
