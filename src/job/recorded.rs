//! The schemes of a directory that are on record, read back from what lies in them: whatever run wrote them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::basis::joined;
use super::candidates::with_candidates_of;
use crate::checkpoint::{HF_QUANT_CONFIG, INDEX_FILE, RECORDS};
use crate::dialect::{DialectId, Foreign, TensorRole};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::manifest::{Coverage, Manifest};
use crate::model::Model;
use crate::plan::{Activations, CostModel, Located};
use crate::record::{FoundRecord, HashedFile, ProvenanceRecord, WEIGHT_ERROR, hash_file};
use crate::tensor::Dtype;
use crate::units::counted;
use crate::write::WeightErrors;
use crate::write::weight_errors::read_weight_errors;

/// What tells loaders how a scheme is read: with another one it is not the scheme that its record describes.
const CONFIGURATIONS: [&str; 3] = ["config.json", HF_QUANT_CONFIG, INDEX_FILE];

/// A scheme that is on record, and what its record says of it.
pub(super) struct RecordedScheme {
    /// The name of its directory.
    pub name: String,
    /// Its record.
    pub record: ProvenanceRecord,
    /// Which groups were selected for it.
    pub coverage: Coverage,
    /// The manifest that it was selected by, whose candidates are those of its format.
    pub manifest: Arc<Manifest>,
    /// What its groups cost.
    pub costs: CostModel,
    /// Its tensors.
    pub model: Model,
    /// Its conventions.
    pub dialect: DialectId,
    /// How its inputs are scaled.
    pub activations: Activations,
    /// Elements of all tensors but those of quantisers, such as scales: as many as the base checkpoint has.
    pub elements: u64,
    /// What its codes lose.
    pub errors: WeightErrors,
}

/// The schemes of a directory.
#[derive(Default)]
pub(super) struct RecordedSchemes {
    /// By name.
    pub schemes: Vec<RecordedScheme>,
    /// One sentence for each that has a record and cannot be shown.
    pub notes: Vec<String>,
}

impl RecordedSchemes {
    /// Looks into the folders of `directory`. One whose record, configuration or sizes of weight files are
    /// no longer what was written is left out, and a note says so; bytes of weights are not looked at.
    ///
    /// # Errors
    /// [`Error::Io`] when `directory` cannot be listed, [`Error::Interrupted`].
    pub fn below(directory: &Path) -> Result<Self> {
        let unlisted = |error| Error::io("list", directory, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(directory).map_err(unlisted)? {
            let name = entry.map_err(unlisted)?.file_name();
            names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
        }
        names.sort();
        let mut found = RecordedSchemes::default();
        for name in names {
            crate::interrupt::check()?;
            match RecordedScheme::open(&directory.join(&name)) {
                Ok(Some(scheme)) => found.schemes.push(scheme),
                Ok(None) => {}
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => {
                    found.notes.push(format!("`{name}` is left out: {}", reason(directory, &error)))
                }
            }
        }
        Ok(found)
    }
}

/// `error` without the folder: reports are the same wherever they are made.
fn reason(directory: &Path, error: &Error) -> String {
    error.to_string().replace(&format!("{}/", directory.display()), "")
}

impl RecordedScheme {
    /// The scheme in `directory`; nothing where there is no record.
    fn open(directory: &Path) -> Result<Option<Self>> {
        let record = match FoundRecord::of(directory)? {
            FoundRecord::Absent => return Ok(None),
            FoundRecord::Damaged(problem) => {
                return Err(Error::format(directory.join(crate::record::record_path()), problem));
            }
            FoundRecord::Read(record) => record,
        };
        require_sizes(directory, &record)?;
        for file in CONFIGURATIONS {
            require_recorded(directory, &record, &directory.join(file))?;
        }
        let name = directory.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let scheme = record.scheme.clone().unwrap_or_else(|| name.clone());
        let coverage = directory.join(RECORDS).join(format!("{scheme}_coverage_from_baseline.json"));
        require_recorded(directory, &record, &coverage)?;
        let coverage = Coverage::open(&coverage)?;
        require_recorded(directory, &record, &directory.join(RECORDS).join(WEIGHT_ERROR))?;
        let errors = read_weight_errors(directory);
        let (dialect, activations): (DialectId, Activations) =
            (record.layout.dialect.parse()?, record.layout.activations.parse()?);
        let is_unsure = |word: &String| word.starts_with("--format-from");
        if record.base_bytes.is_none() && record.command.iter().any(is_unsure) {
            return Err(Error::refused(
                "an older release wrote it, which did not record whose scores decided",
            ));
        }
        let model = Model::open(directory)?;
        let manifest = recorded_manifest(directory, &record)?;
        let (manifest, _) =
            with_candidates_of(&manifest, dialect, activations, record.format_from.as_deref())?;
        let (manifest, _) = joined(&manifest, Some(&model));
        let located = Located::in_scheme(&manifest, &model, dialect.dialect().format())?;
        let costs = CostModel::of_manifest(&manifest, &located);
        let foreign = Foreign::of(&model)?;
        let is_weight = |name: &str| foreign.role(name) != TensorRole::Quantiser;
        let weights = model.tensors().filter(|(name, _)| is_weight(name));
        let elements = weights.map(|(_, tensor)| tensor.elements() as u64).sum();
        let scheme = RecordedScheme {
            elements,
            name,
            coverage,
            manifest: Arc::new(manifest),
            costs,
            model,
            dialect,
            activations,
            errors,
            record,
        };
        scheme.require_consistent()?;
        Ok(Some(scheme))
    }

    /// The modules that are stored in FP8, by their on-disk names.
    pub fn quantised(&self) -> impl Iterator<Item = &str> {
        let codes = self.model.tensors().filter(|(_, tensor)| tensor.dtype() == Dtype::F8E4M3);
        codes.filter_map(|(name, _)| name.strip_suffix(".weight"))
    }

    /// Fails where what was selected and what is stored are not the same number of layers.
    fn require_consistent(&self) -> Result<()> {
        let selected = self.coverage.selected_layers.iter();
        let groups = selected.filter_map(|key| self.manifest.group(key));
        let expected = self.costs.figures(groups).quantised_layers;
        let stored = self.quantised().count();
        match expected == stored {
            true => Ok(()),
            false => Err(Error::refused(format!(
                "it holds {} in FP8 and its coverage manifest selects {expected}",
                counted(stored, "layer")
            ))),
        }
    }
}

/// Fails where a weight file is not there, or not as long as it was written.
fn require_sizes(directory: &Path, record: &ProvenanceRecord) -> Result<()> {
    for weight in &record.weights {
        let path = directory.join(&weight.file);
        let found = fs::metadata(&path).map_err(|error| Error::io("read", &path, error))?;
        if found.len() != weight.bytes {
            return Err(Error::format(&path, "has another size than on record"));
        }
    }
    Ok(())
}

/// Fails where the record has another hash of the file at `path`, which lies below `directory`.
fn require_recorded(directory: &Path, record: &ProvenanceRecord, path: &Path) -> Result<()> {
    let inside = path.strip_prefix(directory).unwrap_or(path);
    let name = crate::record::name_in_record(inside);
    let Some(recorded) = record.files.iter().flatten().find(|file| file.file == name) else { return Ok(()) };
    match hash_file(path)?.1 == recorded.blake3 {
        true => Ok(()),
        false => Err(Error::format(path, "was changed since it was written")),
    }
}

/// The manifest that lies in the records of `directory`: the file whose hash is that of the one that decided.
fn recorded_manifest(directory: &Path, record: &ProvenanceRecord) -> Result<Manifest> {
    let folder = directory.join(RECORDS);
    let named = record.manifest.as_ref().ok_or_else(|| Error::refused("its record names no manifest"))?;
    let entries = fs::read_dir(&folder).map_err(|error| Error::io("list", &folder, error))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    // The one with the name that was given most likely is it.
    let name = Path::new(&named.file).file_name();
    paths.sort_by_key(|path| path.file_name() != name);
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let text = input::read(path, InputKind::Data)?;
        if HashedFile::of("", &text).sha256 == named.sha256 {
            return Manifest::parse(path, text);
        }
    }
    Err(Error::refused("the manifest that it was selected by is not among its records"))
}
