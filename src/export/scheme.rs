//! One scheme directory: weights, configuration, companions, and the record of how it came to be.

use std::fs;
use std::path::{Path, PathBuf};

use super::companions::{companion_files, copy_file, with_quantization_config};
use super::dialect::quantisation_files;
use super::family::{FamilyOptions, Scheme};
use super::pass::WeightErrors;
use super::provenance::{HashedFile, Model, PROVENANCE, Provenance, RECORDS, WEIGHT_ERROR, WeightFile};
use super::store::key::inputs_key;
use super::tree_hash::hash_file;
use super::weights::{shard_name, write_index};
use crate::checkpoint::{Checkpoint, HF_QUANT_CONFIG};
use crate::error::{Error, Result};
use crate::json;
use crate::manifest::{Coverage, Manifest};
use crate::plan::{InputScales, Layout, Plan};
use crate::report::per_layer;
use crate::tensor::TensorSpec;
use crate::verify::{self, Depth};

/// What all schemes of a family have in common.
pub(super) struct SchemeWriter<'a> {
    pub checkpoint: &'a Checkpoint,
    pub manifest: &'a Manifest,
    pub input_scales: Option<&'a InputScales>,
    pub layout: Layout,
    pub options: &'a FamilyOptions,
    pub model: Model,
    pub manifest_hash: HashedFile,
}

/// A shard of a scheme, and how it gets into the directory.
pub(super) struct Part<'a> {
    /// Its tensors, in file order.
    pub tensors: Vec<&'a TensorSpec>,
    /// Its record; the file is named here.
    pub weight: WeightFile,
    /// What its codes lose.
    pub errors: &'a WeightErrors,
    /// Puts it at the path that it is given.
    pub place: &'a dyn Fn(&Path) -> Result<()>,
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

impl SchemeWriter<'_> {
    /// The key of everything that `scheme` is made from; `content` is that of its tensors.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`quantisation_files`].
    pub fn inputs(&self, scheme: &Scheme, content: &str) -> Result<String> {
        let mut files = vec![self.manifest_hash.sha256.clone()];
        let companions = companion_files(self.checkpoint.directory())?;
        let paths = companions.iter().map(|file| self.checkpoint.directory().join(file));
        for path in paths.chain(self.options.state.clone()) {
            files.push(hash_file(&path)?.1);
        }
        files.push(HashedFile::of("", &coverage(scheme).to_json()).sha256);
        // A release may spell the same plan in another way.
        let said = quantisation_files(self.checkpoint, &scheme.plan, &self.layout)?;
        files.push(
            HashedFile::of("", &json::pretty(&[said.quantization_config, said.hf_quant_config])).sha256,
        );
        Ok(inputs_key(&scheme.name, &self.model, &files, content))
    }

    /// Fills `partial`, which will be called `directory`, and checks it as every loader would.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Verification`].
    pub fn write(
        &self,
        partial: &Path,
        directory: &Path,
        scheme: &Scheme,
        inputs: &str,
        parts: &[Part],
    ) -> Result<u64> {
        let mut weights = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let file = shard_name(index, parts.len());
            (part.place)(&partial.join(&file))?;
            weights.push(WeightFile { file, ..part.weight.clone() });
        }
        let bytes = write_index(partial, parts.iter().map(|part| part.tensors.iter().copied()))?;
        self.write_configuration(partial, &scheme.plan)?;
        for file in companion_files(self.checkpoint.directory())? {
            copy_file(&self.checkpoint.directory().join(&file), &partial.join(&file))?;
        }
        let errors = parts.iter().flat_map(|part| part.errors.clone()).collect();
        self.write_records(&partial.join(RECORDS), scheme, inputs, &weights, &errors)?;
        require_sound(partial, directory)?;
        Ok(bytes)
    }

    fn write_configuration(&self, directory: &Path, plan: &Plan) -> Result<()> {
        let files = quantisation_files(self.checkpoint, plan, &self.layout)?;
        let source = self.checkpoint.directory().join("config.json");
        let config = match &files.quantization_config {
            Some(value) => with_quantization_config(&source, self.checkpoint.config_text(), value)?,
            None => self.checkpoint.config_text().to_vec(),
        };
        write(&directory.join("config.json"), &config)?;
        match &files.hf_quant_config {
            Some(value) => write(&directory.join(HF_QUANT_CONFIG), &json::pretty(value)),
            None => Ok(()),
        }
    }

    fn write_records(
        &self,
        folder: &Path,
        scheme: &Scheme,
        inputs: &str,
        weights: &[WeightFile],
        errors: &WeightErrors,
    ) -> Result<()> {
        fs::create_dir(folder).map_err(|e| Error::io("create", folder, e))?;
        let name = &scheme.name;
        let mut coverage = coverage(scheme);
        coverage.baseline_dir = self.options.baseline.as_ref().map(|p| p.display().to_string());
        coverage.baseline_manifest = Some(self.options.manifest.display().to_string());
        let provenance = Provenance {
            qlua: env!("CARGO_PKG_VERSION"),
            scheme: name,
            request: &self.options.request,
            manifest: &self.manifest_hash,
            model: &self.model,
            input_scales: self.input_scales.map(|s| s.origin().display().to_string()),
            layout: (&self.layout).into(),
            inputs,
            weights,
        };
        let mut records = vec![
            (format!("{name}_coverage_from_baseline.json"), coverage.to_json()),
            ("per-layer-sensitivity.md".into(), per_layer::markdown(self.manifest).into_bytes()),
            ("per-layer-sensitivity.json".into(), per_layer::json(self.manifest)),
            (WEIGHT_ERROR.into(), json::pretty(errors)),
            (PROVENANCE.into(), json::pretty(&provenance)),
        ];
        records.push((free_name(&records, self.manifest.path()), self.manifest.bytes().to_vec()));
        if let Some(state) = &self.options.state {
            copy_file(state, &folder.join(free_name(&records, state)))?;
        }
        // The provenance says that the directory is complete, so it comes last.
        records.sort_by_key(|(file, _)| file == PROVENANCE);
        for (file, content) in &records {
            write(&folder.join(file), content)?;
        }
        Ok(())
    }
}

/// The coverage of a scheme, without the places that it was made from.
fn coverage(scheme: &Scheme) -> Coverage {
    let mut coverage = Coverage::new(&scheme.name, &scheme.selection);
    coverage.kept_in_bf16 = scheme.plan.kept.clone();
    coverage
}

/// The file name of `path`, made different from those in `records` where it has to be.
fn free_name(records: &[(String, Vec<u8>)], path: &Path) -> String {
    let mut name = path.file_name().map_or("manifest.json".into(), |n| n.to_string_lossy().into_owned());
    while records.iter().any(|(taken, _)| *taken == name) {
        name.insert_str(0, "source_");
    }
    name
}

/// Fails when the finished directory breaks any rule of [`verify`]: it must not get its name then.
pub(super) fn require_sound(partial: &Path, directory: &Path) -> Result<()> {
    let problems = verify::verify(partial, Depth::Headers)?;
    if problems.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = problems.iter().take(3).map(ToString::to_string).collect();
    Err(Error::Verification { path: directory.to_path_buf(), problems: shown.join("; ") })
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).map_err(|e| Error::io("write", path, e))
}
