//! From what was added to a writer to a directory: weights, companions and configuration, whole or not at all.

use std::fs;
use std::path::Path;

use super::Writer;
use super::description::{quantisation_files, require_describable};
use crate::checkpoint::HF_QUANT_CONFIG;
use crate::dialect::CONFIG;
use crate::error::{Error, Result};
use crate::job::directory::{Written, require_sound};
use crate::json;
use crate::model::Model;
use crate::tensor::TensorSpec;
use crate::write::companions::{companion_files, copy_file, with_quantization_config};
use crate::write::content::OutputTensor;
use crate::write::progress::{Progress, during};
use crate::write::require_space;
use crate::write::transaction::PartialDirectory;
use crate::write::weights::{WriteOptions, write_weights};

impl Writer {
    /// Writes everything, checks the directory as every loader would, and gives it its name. A `config.json` of the base
    /// gets the `quantization_config` that its FP8 layers need, and loses one when nothing is quantised any more.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no tensor or no `config.json`; [`Error::Refused`] when the writer is to describe FP8
    /// layers and no dialect describes them all; [`Error::Verification`]; those of the pass.
    pub fn finish(&self, progress: &dyn Progress) -> Result<Written> {
        let tensors: Vec<OutputTensor> = self.entries.iter().flatten().cloned().collect();
        if tensors.is_empty() {
            return Err(Error::argument(format!("`{}` would hold no tensor", self.options.out.display())));
        }
        // Where the writer is to make the configuration.
        if self.base.is_some() && self.options.companions && !self.is_given(CONFIG) {
            require_describable(&self.specs().collect::<Vec<_>>())?;
        }
        require_space(&self.options.out, self.specs().map(TensorSpec::bytes).sum())?;
        let partial = PartialDirectory::begin(&self.options.out, self.options.overwrite)?;
        let name = self.options.out.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let write_options = WriteOptions {
            max_shard_size: self.options.max_shard_size,
            threads: self.options.threads,
            progress,
        };
        let planned = self.specs().map(TensorSpec::bytes).sum();
        let bytes =
            during(progress, &name, planned, || write_weights(partial.path(), &tensors, &write_options))?;
        for (file, content) in &self.files {
            let path = partial.path().join(file);
            fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
        }
        if let Some(base) = self.base.as_ref().filter(|_| self.options.companions) {
            self.write_companions(partial.path(), base)?;
        }
        require_sound(partial.path(), &self.options.out)?;
        partial.commit()?;
        Ok(Written { name, directory: self.options.out.clone(), bytes, up_to_date: false })
    }

    /// Whether a file of this name was added, in the place of what the writer would write.
    fn is_given(&self, file: impl AsRef<Path>) -> bool {
        self.files.iter().any(|(name, _)| Path::new(name) == file.as_ref())
    }

    fn write_companions(&self, directory: &Path, base: &Model) -> Result<()> {
        for file in companion_files(base.directory())? {
            if !self.is_given(&file) {
                copy_file(&base.directory().join(&file), &directory.join(&file))?;
            }
        }
        if self.is_given(CONFIG) {
            return Ok(());
        }
        let path = directory.join(CONFIG);
        let write = |path: &Path, text: &[u8]| fs::write(path, text).map_err(|e| Error::io("write", path, e));
        let plain = plain_config(base);
        write(&path, &plain)?;
        let output = Model::open(directory)?;
        let Some(files) = quantisation_files(&output)? else { return Ok(()) };
        if let Some(value) = &files.quantization_config {
            write(&path, &with_quantization_config(&path, &plain, value)?)?;
        }
        match &files.hf_quant_config {
            Some(value) if !self.is_given(HF_QUANT_CONFIG) => {
                write(&directory.join(HF_QUANT_CONFIG), &json::pretty(value))
            }
            _ => Ok(()),
        }
    }
}

/// `config.json` of the base without a quantisation configuration: byte for byte where it has none.
fn plain_config(base: &Model) -> Vec<u8> {
    let mut config = base.config().clone();
    match config.as_object_mut().and_then(|fields| fields.shift_remove("quantization_config")) {
        None => base.config_text().to_vec(),
        Some(_) => json::pretty(&config),
    }
}
