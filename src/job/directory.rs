//! One scheme directory: weights, configuration, companions, and the record of how it came to be.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::card::{CardSources, card};
use super::options::FamilyOptions;
use super::planned::PlannedScheme;
use crate::checkpoint::{CARD, HF_QUANT_CONFIG, RECORDS, copy_file};
use crate::dialect::DialectId;
use crate::error::{Error, Result};
use crate::json;
use crate::manifest::Manifest;
use crate::model::Model;
use crate::plan::{InputScales, Layout, Plan};
use crate::record::{
    HashedFile, LayoutWords, PROVENANCE, Provenance, RecordedFile, Source, WEIGHT_ERROR, WeightFile,
    files_below, hash_file,
};
use crate::report::card::CarriedMetadata;
use crate::report::per_layer;
use crate::tensor::TensorSpec;
use crate::verify::{self, Depth, Problem};
use crate::write::store::key::inputs_key;
use crate::write::weights::write_index;
use crate::write::{Companions, WeightErrors, with_quantization_config};

/// What all schemes of a family have in common.
pub(super) struct DirectoryWriter<'a> {
    pub model: &'a Model,
    pub manifest: &'a Manifest,
    pub input_scales: Option<&'a InputScales>,
    pub dialect: DialectId,
    pub layout: Layout,
    pub options: &'a FamilyOptions,
    pub manifest_hash: HashedFile,
    /// What comes along from the base checkpoint.
    pub companions: Companions,
    /// What the model cards take from that of the base checkpoint; nothing where there are to be none.
    pub carried: Option<CarriedMetadata>,
}

/// What a scheme directory is filled with besides what all have in common.
pub(super) struct Contents<'a> {
    pub scheme: &'a PlannedScheme,
    /// The hashes of the base checkpoint.
    pub source: &'a Source,
    /// See [`DirectoryWriter::inputs`].
    pub inputs: &'a str,
    /// The weight files, which are in place.
    pub weights: &'a [WeightFile],
    /// The tensors of each weight file.
    pub tensors: &'a [Vec<&'a TensorSpec>],
    /// What its codes lose.
    pub errors: &'a WeightErrors,
}

/// A scheme directory that is there.
#[derive(Debug, Clone)]
pub struct Written {
    /// The name, which is its directory's.
    pub name: String,
    /// The directory.
    pub directory: PathBuf,
    /// Sum of all tensor bytes.
    pub bytes: u64,
    /// Whether it was there already, made from the same inputs.
    pub up_to_date: bool,
}

impl DirectoryWriter<'_> {
    /// The key of everything that `scheme` is made from; `content` is that of its tensors.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn inputs(&self, source: &Source, scheme: &PlannedScheme, content: &str) -> Result<String> {
        let mut files = vec![self.manifest_hash.sha256.clone()];
        let mut names = Vec::new();
        for file in self.companions.files() {
            names.extend_from_slice(file.as_os_str().as_bytes());
            names.push(0);
        }
        files.push(HashedFile::of("", &names).sha256);
        for path in self.others() {
            files.push(hash_file(&path)?.1);
        }
        files.push(HashedFile::of("", &scheme.coverage().to_json()).sha256);
        // A release may spell the same plan in another way.
        let said = self.dialect.dialect().files(self.model, &scheme.plan, &self.layout);
        files.push(
            HashedFile::of("", &json::pretty(&[said.quantization_config, said.hf_quant_config])).sha256,
        );
        // Schemes of older releases have no card, and are what was asked for all the same.
        files.extend(self.carried.is_none().then(|| "no card".to_string()));
        Ok(inputs_key(&scheme.name, source, &files, content))
    }

    /// Bytes of what a scheme directory holds beside its weights, but for records whose size depends on the scheme, which
    /// are small.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn other_bytes(&self) -> Result<u64> {
        let mut bytes = (self.model.config_text().len() + self.manifest.bytes().len()) as u64;
        for path in self.others() {
            bytes += fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?.len();
        }
        Ok(bytes)
    }

    /// Fills `partial`, which holds the weight files and will be called `directory`, and checks it as every loader would. What is
    /// wrong with it as it is with the base checkpoint is returned.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Verification`].
    pub fn fill(&self, partial: &Path, directory: &Path, contents: &Contents) -> Result<Vec<Problem>> {
        write_index(partial, contents.tensors.iter().map(|tensors| tensors.iter().copied()))?;
        self.write_configuration(partial, &contents.scheme.plan)?;
        self.companions.copy_into(partial, |file| self.carried.is_some() && file == Path::new(CARD))?;
        if let Some(carried) = &self.carried {
            let card = card(&CardSources {
                model: self.model,
                manifest: self.manifest,
                options: self.options,
                dialect: self.dialect,
                layout: self.layout,
                carried,
                scheme: contents.scheme,
                inputs: contents.inputs,
            });
            write(&partial.join(CARD), card.as_bytes())?;
        }
        self.write_records(partial, contents)?;
        require_sound(partial, directory)
    }

    /// The files that are copied.
    fn others(&self) -> impl Iterator<Item = PathBuf> {
        let companions = self.companions.files().iter().map(|file| self.companions.path(file));
        companions.chain(self.options.state.clone())
    }

    fn write_configuration(&self, directory: &Path, plan: &Plan) -> Result<()> {
        let files = self.dialect.dialect().files(self.model, plan, &self.layout);
        let source = self.model.directory().join("config.json");
        let config = match &files.quantization_config {
            Some(value) => with_quantization_config(&source, self.model.config_text(), value)?,
            None => self.model.config_text().to_vec(),
        };
        write(&directory.join("config.json"), &config)?;
        match &files.hf_quant_config {
            Some(value) => write(&directory.join(HF_QUANT_CONFIG), &json::pretty(value)),
            None => Ok(()),
        }
    }

    fn write_records(&self, directory: &Path, contents: &Contents) -> Result<()> {
        let folder = &directory.join(RECORDS);
        fs::create_dir(folder).map_err(|e| Error::io("create", folder, e))?;
        let name = &contents.scheme.name;
        let mut coverage = contents.scheme.coverage();
        coverage.baseline_dir = self.options.baseline.as_ref().map(|p| p.display().to_string());
        coverage.baseline_manifest = Some(self.options.manifest.display().to_string());
        let mut records = vec![
            (format!("{name}_coverage_from_baseline.json"), coverage.to_json()),
            ("per-layer-sensitivity.md".into(), per_layer::markdown(self.manifest).into_bytes()),
            ("per-layer-sensitivity.json".into(), per_layer::json(self.manifest)),
            (WEIGHT_ERROR.into(), json::pretty(contents.errors)),
        ];
        let taken = |name: &str, records: &[(String, Vec<u8>)]| {
            name == PROVENANCE || records.iter().any(|(taken, _)| taken == name)
        };
        let manifest = free_name(self.manifest.path(), |name| taken(name, &records));
        records.push((manifest, self.manifest.bytes().to_vec()));
        if let Some(state) = &self.options.state {
            copy_file(state, &folder.join(free_name(state, |name| taken(name, &records))))?;
        }
        for (file, content) in &records {
            write(&folder.join(file), content)?;
        }
        // The provenance says that the directory is complete, so it comes last.
        let provenance = Provenance {
            qlua: env!("CARGO_PKG_VERSION"),
            scheme: name,
            request: &self.options.request,
            manifest: &self.manifest_hash,
            format_from: self.options.format_from.as_deref(),
            model: contents.source,
            base_bytes: self.model.bytes(),
            input_scales: self.input_scales.map(|s| s.origin().display().to_string()),
            layout: LayoutWords::of(self.dialect, &self.layout),
            inputs: contents.inputs,
            weights: contents.weights,
            files: &recorded_files(directory, contents.weights)?,
        };
        write(&folder.join(PROVENANCE), &provenance.to_json())
    }
}

/// The files of `directory` beside its weights, with their hashes.
fn recorded_files(directory: &Path, weights: &[WeightFile]) -> Result<Vec<RecordedFile>> {
    let files = files_below(directory)?;
    let others = files.iter().filter(|found| !weights.iter().any(|weight| weight.file == found.name));
    others.map(|found| RecordedFile::read(directory, found)).collect()
}

/// The file name of `path`, made different where it is taken.
fn free_name(path: &Path, is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = path.file_name().map_or("manifest.json".into(), |n| n.to_string_lossy().into_owned());
    while is_taken(&name) {
        name.insert_str(0, "source_");
    }
    name
}

/// Fails when the finished directory breaks any rule of [`verify`] by what was made here: it must not get its name then. What it has
/// or lacks as the base checkpoint does is what was asked for, and is returned.
pub(super) fn require_sound(partial: &Path, directory: &Path) -> Result<Vec<Problem>> {
    let mut problems = verify::verify(partial, Depth::Headers)?;
    // What was copied from a checkpoint of another tool may be unknown to the checks; what is made here never is.
    problems.retain(Problem::is_fault);
    let (inherited, problems): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(Problem::is_of_the_model);
    if problems.is_empty() {
        return Ok(inherited);
    }
    let shown: Vec<String> = problems.iter().take(3).map(ToString::to_string).collect();
    Err(Error::Verification { path: directory.to_path_buf(), problems: shown.join("; ") })
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(|e| Error::io("write", path, e))
}
