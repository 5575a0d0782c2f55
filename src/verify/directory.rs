//! One directory: opened, read and judged.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::base::Counterparts;
use super::family::FamilyMember;
use super::reading::{self, SeenShards, ShardState};
use super::values::check_values;
use super::weights::LeftOut;
use super::{Code, Depth, Problem, RecordState, Verified, VerifyOptions};
use super::{base, blocks, companions, coverage, layers, needed, records, sizes, tensors, unknown, weights};
use crate::checkpoint::hub;
use crate::checkpoint::{HF_QUANT_CONFIG, INDEX_FILE, has_own_card};
use crate::dialect::{CONFIG, Claims, DialectId, StoredLayers};
use crate::error::{Error, Result};
use crate::format::Rounding;
use crate::input;
use crate::interrupt;
use crate::model::{Expectation, Model, expected_tensors};
use crate::record::{FileInDirectory, FoundRecord, ProvenanceRecord, files_below, require_same};

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

/// A directory, its files, its record, and the checkpoint in it.
pub(super) struct FoundDirectory {
    directory: PathBuf,
    files: Vec<FileInDirectory>,
    record: FoundRecord,
    /// The checkpoint, or why it cannot be opened.
    opened: Result<(Model, Claims)>,
}

/// What was found before all weights are read.
pub(super) struct Unjudged<'a> {
    verified: Verified,
    weights: Option<UnjudgedWeights<'a>>,
    /// The hashes of files that are no weights and may be what is on record.
    hashes: HashMap<String, String>,
    /// What sets the files beside the weights apart from those of the base.
    companions: Vec<Problem>,
}

/// Weights that are read.
struct UnjudgedWeights<'a> {
    /// Which of them are E4M3 codes.
    codes: HashSet<String>,
    /// Whether it is known what they stand for.
    is_known: bool,
    counterparts: Option<Counterparts<'a>>,
    shards: Vec<ShardState>,
}

impl FoundDirectory {
    /// Opens `directory`.
    ///
    /// # Errors
    /// Those of [`super::verify_with`].
    pub fn open(directory: &Path, options: &VerifyOptions) -> Result<Self> {
        interrupt::check()?;
        let directory = &hub::directory(directory)?;
        if let Some(what) = input::no_directory(directory) {
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
        let opened = match open(directory) {
            Err(error) if !is_damage(&error) => return Err(error),
            opened => opened,
        };
        let found = FoundDirectory { directory: directory.to_path_buf(), files, record, opened };
        if options.depth == Depth::Full {
            found.checkpoints(options).for_each(|model| model.settle());
        }
        Ok(found)
    }

    fn checkpoints<'a>(&'a self, options: &VerifyOptions<'a>) -> impl Iterator<Item = &'a Model> {
        self.opened.iter().map(|(model, _)| model).chain(options.base)
    }

    /// Checks it, and reads its files, but for weights that somebody else reads: of what was read to the end all is known, also when
    /// the rest is interrupted.
    ///
    /// # Errors
    /// Those of [`super::verify_with`]. Give them to [`Self::judge`], which knows whether a file was changed meanwhile.
    pub fn look<'a>(&'a self, options: &VerifyOptions<'a>, seen: &SeenShards) -> Result<Unjudged<'a>> {
        let mut verified = Verified {
            problems: records::check_special(&self.files),
            record: RecordState::None,
            base: None,
            member: None,
        };
        let companions = options.base.map(|base| companions::check(&self.directory, &self.files, base));
        let companions = companions.transpose()?.unwrap_or_default();
        let is_weights =
            |name: &str| self.opened.iter().any(|(model, _)| model.maps().any(|(map, _)| map == name));
        let hashes = match options.depth {
            Depth::Headers => HashMap::new(),
            Depth::Full => records::hash(&self.directory, &self.record, &self.files, &is_weights)?,
        };
        let Ok((model, claims)) = &self.opened else {
            return Ok(Unjudged { verified, weights: None, hashes, companions });
        };
        let stored = StoredLayers::of(model);
        verified.member = Some(FamilyMember::of(&self.directory, &stored, self.record()));
        let check_headers = || self.check_headers(model, claims, &stored, options);
        if options.depth == Depth::Headers {
            verified.problems.extend(check_headers()?.0);
            return Ok(Unjudged { verified, weights: None, hashes, companions });
        }
        let rounding = self.record().and_then(|record| record.layout.rounding.parse::<Rounding>().ok());
        let counterparts = options.base.map(|base| Counterparts::find(model, base, rounding)).transpose()?;
        let codes: HashSet<String> = stored.fp8().map(|layer| format!("{}.weight", layer.name)).collect();
        let none = HashMap::new();
        let by_name = counterparts.as_ref().map_or(&none, |found| &found.by_name);
        let read = || reading::read(model, &|name| codes.contains(name), by_name, seen);
        let (headers, shards) = rayon::join(check_headers, read);
        let ((problems, is_known), shards) = (headers?, shards?);
        verified.problems.extend(problems);
        let weights = Some(UnjudgedWeights { codes, is_known, counterparts, shards });
        Ok(Unjudged { verified, weights, hashes, companions })
    }

    /// The record, where there is one that can be trusted.
    fn record(&self) -> Option<&ProvenanceRecord> {
        match &self.record {
            FoundRecord::Read(record) => Some(record),
            _ => None,
        }
    }

    /// What is wrong with headers and configurations, and whether it is known what the weights stand for.
    fn check_headers(
        &self,
        model: &Model,
        claims: &Claims,
        stored: &StoredLayers,
        options: &VerifyOptions,
    ) -> Result<(Vec<Problem>, bool)> {
        let (mut problems, left_out) = weights::check(model)?;
        problems.extend(sizes::check_config(model.config()));
        problems.extend(needed::check(model, &self.files));
        problems.extend(coverage::check(model, stored, &self.files));
        problems.extend(self.record().iter().flat_map(|record| coverage::check_claims(record, claims)));
        if let Some(unknown) = unknown::check(claims, stored) {
            problems.push(unknown);
            return Ok((problems, false));
        }
        problems.extend(check_model(model, claims, &left_out, options.base.is_some()));
        problems.extend(layers::check(stored));
        problems.extend(check_covered(claims, stored));
        problems.extend(coverage::check_half_claim(claims, stored));
        for id in DialectId::ALL {
            problems.extend(id.dialect().check(claims, stored));
        }
        // A scheme of qlua's never says so. What ModelOpt wrote always does, and is as it should be.
        if matches!(self.record, FoundRecord::Absent) {
            for problem in problems.iter_mut().filter(|problem| problem.code == Code::ModeloptMethod) {
                problem.code = Code::ModeloptExport;
            }
        }
        Ok((problems, true))
    }

    /// What is to be said of it, once all weights were read.
    ///
    /// # Errors
    /// Those of [`super::verify_with`].
    pub fn judge(
        &self,
        looked: Result<Unjudged>,
        options: &VerifyOptions,
        seen: &SeenShards,
    ) -> Result<Verified> {
        let verified = looked.and_then(|looked| self.conclude(looked, options, seen));
        // Whatever was found, it was found in files that are others now.
        let verified = self.checkpoints(options).fold(verified, |verified, model| model.unchanged(verified));
        let mut verified = match verified {
            Err(Error::Interrupted | Error::Changed { .. }) => verified?,
            verified => require_same(&self.directory, &self.files).and(verified)?,
        };
        if let Err(error) = &self.opened {
            let subject = self.directory.display().to_string();
            verified.problems.insert(0, Problem::new(Code::Unreadable, subject, error.to_string()));
        }
        let mut seen = BTreeSet::new();
        verified.problems.retain(|problem| {
            seen.insert((problem.code.word(), problem.subject.clone(), problem.message.clone()))
        });
        Ok(verified)
    }

    fn conclude(&self, looked: Unjudged, options: &VerifyOptions, seen: &SeenShards) -> Result<Verified> {
        let Unjudged { mut verified, weights, mut hashes, companions } = looked;
        let problems = &mut verified.problems;
        if let (Ok((model, _)), Some(weights)) = (&self.opened, weights) {
            let UnjudgedWeights { codes, is_known, counterparts, shards } = weights;
            let read = reading::collect(model, &|name| codes.contains(name), shards, seen)?;
            if is_known {
                let unusable = |name: &str| read.tensors.get(name).map_or(0, |found| found.unusable);
                problems.extend(check_values(model, &codes, &unusable));
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
            hashes.extend(read.files.into_iter().map(|(name, (_, hash))| (name, hash)));
        }
        let (found, state) =
            records::check(&self.record, &self.files, &hashes, has_own_card(&self.directory)?, options.depth);
        problems.extend(found);
        problems.extend(companions);
        verified.record = state;
        Ok(verified)
    }
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
