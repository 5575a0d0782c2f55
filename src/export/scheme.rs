//! One scheme directory: weights, configuration, companions, and the record of how it came to be.

use std::fs;
use std::path::{Path, PathBuf};

use super::companions::{companion_files, copy_file, with_quantization_config};
use super::dialect::quantisation_files;
use super::family::FamilyOptions;
use super::outputs::scheme_outputs;
use super::progress::Progress;
use super::provenance::{HashedFile, Model, Provenance};
use super::transaction::PartialDirectory;
use super::weights::{WriteOptions, write_weights};
use crate::checkpoint::{Checkpoint, HF_QUANT_CONFIG};
use crate::error::{Error, Result};
use crate::json;
use crate::manifest::{Coverage, Manifest, Selection};
use crate::plan::{InputScales, Layout, Plan};
use crate::report::per_layer;
use crate::verify::{self, Depth};

/// The folder of a scheme that says how it was decided.
const RECORDS: &str = "layer-sensitivity";

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

/// A scheme that was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The name, which is its directory's.
    pub name: String,
    /// The directory.
    pub directory: PathBuf,
    /// Sum of all tensor bytes.
    pub bytes: u64,
}

impl SchemeWriter<'_> {
    /// Writes the scheme into a hidden sibling, checks it as every loader would, and gives it its name.
    pub fn write(
        &self,
        directory: &Path,
        name: &str,
        selection: &Selection,
        plan: &Plan,
        progress: &dyn Progress,
    ) -> Result<Written> {
        let partial = PartialDirectory::begin(directory, self.options.overwrite)?;
        let outputs = scheme_outputs(self.checkpoint, plan, &self.layout, self.input_scales)?;
        let write_options = WriteOptions {
            max_shard_size: self.options.max_shard_size,
            threads: self.options.threads,
            progress,
        };
        let bytes = write_weights(partial.path(), &outputs, &write_options)?;
        self.write_configuration(partial.path(), plan)?;
        for file in companion_files(self.checkpoint.directory())? {
            copy_file(&self.checkpoint.directory().join(&file), &partial.path().join(&file))?;
        }
        self.write_records(&partial.path().join(RECORDS), name, selection, plan)?;
        require_sound(partial.path(), directory)?;
        partial.commit()?;
        Ok(Written { name: name.into(), directory: directory.to_path_buf(), bytes })
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

    fn write_records(&self, folder: &Path, name: &str, selection: &Selection, plan: &Plan) -> Result<()> {
        fs::create_dir(folder).map_err(|e| Error::io("create", folder, e))?;
        let mut coverage = Coverage::new(name, selection);
        coverage.baseline_dir = self.options.baseline.as_ref().map(|p| p.display().to_string());
        coverage.baseline_manifest = Some(self.options.manifest.display().to_string());
        coverage.kept_in_bf16 = plan.kept.clone();
        let provenance = Provenance {
            qlua: env!("CARGO_PKG_VERSION"),
            scheme: name,
            request: &self.options.request,
            manifest: &self.manifest_hash,
            model: &self.model,
            input_scales: self.input_scales.map(|s| s.origin().display().to_string()),
            layout: (&self.layout).into(),
        };
        let mut records = vec![
            (format!("{name}_coverage_from_baseline.json"), coverage.to_json()),
            ("per-layer-sensitivity.md".into(), per_layer::markdown(self.manifest).into_bytes()),
            ("per-layer-sensitivity.json".into(), per_layer::json(self.manifest)),
            ("provenance.json".into(), json::pretty(&provenance)),
        ];
        records.push((free_name(&records, self.manifest.path()), self.manifest.bytes().to_vec()));
        for (file, content) in &records {
            write(&folder.join(file), content)?;
        }
        match &self.options.state {
            Some(state) => copy_file(state, &folder.join(free_name(&records, state))),
            None => Ok(()),
        }
    }
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
