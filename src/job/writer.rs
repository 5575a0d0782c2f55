//! A directory put together tensor by tensor, with the safety of a scheme: streamed, checked, whole or not at all.
//!
//! Entries are descriptions; nothing is read before [`Writer::finish`], which streams them in one pass. Only tensors that
//! were made in memory stay there until then.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::described::{describe, require_describable};
use super::directory::{Written, require_sound};
use super::held::HeldSources;
use crate::checkpoint::HF_QUANT_CONFIG;
use crate::dialect::{Decoding, Foreign};
use crate::error::{Error, Result};
use crate::format::{Encoding, Granularity, ModuleTensorKind, Rounding, ScaleRule, ScaleShape, ScaleStorage};
use crate::json;
use crate::model::Model;
use crate::tensor::{Dtype, Tensor, TensorSpec};
use crate::words::nearest;
use crate::write::content::{Content, Member, OutputTensor, ScaleGroup};
use crate::write::destination::require_writable;
use crate::write::progress::{Progress, during};
use crate::write::transaction::PartialDirectory;
use crate::write::weights::{WriteOptions, write_weights};
use crate::write::{
    Companions, require_apart, require_space, with_quantization_config, without_quantisation,
};

const CONFIG: &str = "config.json";

/// How a [`Writer`] works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The directory that will appear.
    pub out: PathBuf,
    /// Whether an existing checkpoint directory is replaced.
    pub overwrite: bool,
    /// Whether tokenizer, processor and configuration of the base come along.
    pub companions: bool,
    /// Tensor bytes that a shard holds at most.
    pub max_shard_size: u64,
    /// Threads that read, convert and write.
    pub threads: usize,
}

/// How [`Writer::quantize`] makes codes.
#[derive(Debug, Clone, Copy)]
pub struct QuantizeOptions {
    /// One scale per tensor, per output channel, or per block.
    pub granularity: Granularity,
    /// From quotient to code.
    pub rounding: Rounding,
    /// The activation scale that is stored beside it, for static activations.
    pub input_scale: Option<f32>,
}

impl QuantizeOptions {
    /// From amax to scale: as dialects store it, F32 for blocks and BF16 otherwise.
    fn rule(&self) -> ScaleRule {
        match self.granularity {
            Granularity::Block => ScaleRule::F32,
            Granularity::Tensor | Granularity::Channel => ScaleRule::Bf16Up,
        }
    }
}

/// A directory in the making.
pub struct Writer {
    options: WriterOptions,
    base: Option<Arc<Model>>,
    /// How the base is quantised, once it was asked for.
    foreign: Option<Foreign>,
    /// In the order in which they were added; nothing where one was dropped.
    entries: Vec<Option<OutputTensor>>,
    positions: HashMap<String, usize>,
    files: Vec<(String, Vec<u8>)>,
}

impl Writer {
    /// A writer without tensors. With `base`, tensors are named from it and its companions come along.
    ///
    /// # Errors
    /// [`Error::Exists`] when the directory exists and may not be replaced; [`Error::Refused`] when it touches the base, or
    /// nothing can be written there.
    pub fn new(options: WriterOptions, base: Option<Arc<Model>>) -> Result<Self> {
        require_writable(&options.out)?;
        if !options.overwrite && options.out.symlink_metadata().is_ok() {
            return Err(Error::exists(&options.out, "exists already")
                .with_hint("pass overwrite = true to replace it, or choose another directory"));
        }
        if let Some(base) = &base {
            require_apart(&options.out, base.directory())?;
        }
        Ok(Writer {
            options,
            base,
            foreign: None,
            entries: Vec::new(),
            positions: HashMap::new(),
            files: Vec::new(),
        })
    }

    /// The checkpoint that tensors are named from.
    pub fn base(&self) -> Option<&Arc<Model>> {
        self.base.as_ref()
    }

    /// The specifications of all tensors so far, in the order in which they were added.
    pub fn specs(&self) -> impl Iterator<Item = &TensorSpec> {
        self.entries.iter().flatten().map(|e| &e.spec)
    }

    /// Adds the tensor `name` of the base as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the base has no such tensor; [`Error::Argument`] when the name is taken.
    pub fn copy(&mut self, name: &str) -> Result<()> {
        let tensor = self.source(name)?;
        self.add(name, tensor)
    }

    /// Adds `tensor` under `name`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the name is taken.
    pub fn add(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        let spec = TensorSpec::new(name, tensor.dtype(), tensor.shape());
        self.push(OutputTensor { spec, content: Content::Bytes(tensor) })
    }

    /// Adds the tensor `name` of the base converted to BF16, F16 or F32, rounded to nearest even.
    ///
    /// # Errors
    /// As for [`Writer::copy`], and for other target dtypes.
    pub fn cast(&mut self, name: &str, target: Dtype) -> Result<()> {
        let tensor = self.source(name)?;
        if !target.is_quantisable() {
            return Err(Error::argument(format!("tensors can be cast to BF16, F16 or F32, not to {target}")));
        }
        let spec = TensorSpec::new(name, target, tensor.shape());
        let content = if tensor.dtype() == target { Content::Bytes(tensor) } else { Content::Cast(tensor) };
        self.push(OutputTensor { spec, content })
    }

    /// Adds the E4M3 codes of `module`'s weight under the weight's name, and its scales beside it: BF16 of shape `[1]` or
    /// `[out, 1]`, or for blocks F32.
    ///
    /// # Errors
    /// As for [`Writer::copy`]; [`Error::Tensor`] when the weight is not two-dimensional BF16, F16 or F32.
    pub fn quantize(&mut self, module: &str, options: &QuantizeOptions) -> Result<()> {
        let name = format!("{module}.weight");
        let weight = self.source(&name)?;
        if weight.shape().len() != 2 {
            return Err(Error::tensor(name, "has not two dimensions, so it is no linear layer"));
        }
        if !weight.dtype().is_quantisable() {
            return Err(Error::tensor(
                name,
                format!("is {}, and FP8 codes are made from BF16, F16 or F32", weight.dtype()),
            ));
        }
        let encoding = Encoding::e4m3(options.granularity, options.rule(), options.rounding);
        if let Some(reason) = encoding.format.format().refuses(weight.dtype(), weight.shape()) {
            return Err(Error::tensor(name, format!("has {reason}")));
        }
        if options.input_scale.is_some() && options.granularity == Granularity::Block {
            return Err(Error::argument(format!(
                "{} has no input scale: inputs are scaled while running",
                encoding.format
            ))
            .with_hint("leave input_scale out, or use the granularity `tensor`"));
        }
        let group = Arc::new(ScaleGroup { weights: vec![(name, weight.clone())], encoding });
        let storage = ScaleStorage { shape: ScaleShape::WithOnes, input_scale: false };
        for tensor in encoding.format.format().tensors(weight.shape(), &encoding, &storage)? {
            let member = Member { group: group.clone(), index: 0 };
            let content = match tensor.kind {
                ModuleTensorKind::Codes => Content::Codes(member),
                ModuleTensorKind::WeightScale | ModuleTensorKind::InputScale => Content::WeightScale(member),
            };
            self.push(OutputTensor { spec: tensor.spec(module), content })?;
        }
        if let Some(scale) = options.input_scale {
            let scale = half::bf16::from_f32(ScaleRule::Bf16Up.round(scale));
            let tensor = Tensor::owned(Dtype::BF16, vec![1], scale.to_le_bytes().to_vec());
            self.add(&format!("{module}.input_scale"), tensor)?;
        }
        Ok(())
    }

    /// Adds the weight `name` of the base, a tensor or the module that it belongs to, as `code × scale`, rounded to `target`.
    /// Scales are found and read as [`Foreign`] says. Returns whether there are any: where nothing tells of scales, codes are
    /// taken for the values.
    ///
    /// # Errors
    /// As for [`Writer::copy`]; those of [`Foreign::decoding`].
    pub fn dequantize(&mut self, name: &str, target: Dtype) -> Result<bool> {
        let is_tensor = self.base.as_ref().is_some_and(|base| base.tensor(name).is_some());
        let name = if is_tensor { name.to_string() } else { format!("{name}.weight") };
        let codes = self.source(&name)?;
        if !target.is_quantisable() {
            return Err(Error::argument(format!(
                "weights can be dequantised to BF16, F16 or F32, not to {target}"
            )));
        }
        let spec = TensorSpec::new(&name, target, codes.shape());
        let content = match self.decoding(&name)? {
            Decoding::Scaled(scales) => Content::Dequantised { codes, scales: Arc::new(scales) },
            Decoding::Unscaled => Content::Cast(codes),
        };
        let is_scaled = matches!(content, Content::Dequantised { .. });
        self.push(OutputTensor { spec, content })?;
        Ok(is_scaled)
    }

    fn decoding(&mut self, name: &str) -> Result<Decoding> {
        let Some(base) = &self.base else { return Ok(Decoding::Unscaled) };
        let foreign = match self.foreign.take() {
            Some(foreign) => foreign,
            None => Foreign::of(base)?,
        };
        self.foreign.insert(foreign).decoding(base, name)
    }

    /// Gives the added tensor `name` another name.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing of that name was added; [`Error::Argument`] when the new name is taken.
    pub fn rename(&mut self, name: &str, new_name: &str) -> Result<()> {
        if name == new_name {
            return self.position(name).map(|_| ());
        }
        if self.positions.contains_key(new_name) {
            return Err(taken(new_name));
        }
        let index = self.position(name)?;
        self.positions.remove(name);
        self.positions.insert(new_name.into(), index);
        if let Some(entry) = &mut self.entries[index] {
            entry.spec.name = new_name.into();
        }
        Ok(())
    }

    /// Takes the added tensor `name` out again.
    ///
    /// # Errors
    /// [`Error::NotFound`] when nothing of that name was added.
    pub fn drop_tensor(&mut self, name: &str) -> Result<()> {
        let index = self.position(name)?;
        self.positions.remove(name);
        self.entries[index] = None;
        Ok(())
    }

    /// Adds a file with this content; it takes the place of a companion of the same name.
    ///
    /// # Errors
    /// [`Error::Argument`] when `name` is no plain file name, or is that of weights or their index.
    pub fn file(&mut self, name: &str, content: Vec<u8>) -> Result<()> {
        let plain = Path::new(name).file_name().is_some_and(|n| n == name);
        if !plain || name.ends_with(".safetensors") || name.ends_with(".index.json") {
            return Err(Error::argument(format!("`{name}` is no name of a file beside the weights")));
        }
        self.files.retain(|(known, _)| known != name);
        self.files.push((name.into(), content));
        Ok(())
    }

    /// Writes everything, checks the directory as every loader would, and gives it its name. A `config.json` of the base
    /// gets the `quantization_config` that its FP8 layers need, and loses one when nothing is quantised any more.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no tensor or no `config.json`; [`Error::Refused`] when the writer is to describe FP8
    /// layers and no dialect describes them all; [`Error::Changed`] when a source was changed since it was opened;
    /// [`Error::Verification`]; those of the pass.
    pub fn finish(&self, progress: &dyn Progress) -> Result<Written> {
        let tensors: Vec<OutputTensor> = self.entries.iter().flatten().cloned().collect();
        if tensors.is_empty() {
            return Err(Error::argument(format!("`{}` would hold no tensor", self.options.out.display())));
        }
        self.require_describable()?;
        require_space(&self.options.out, self.specs().map(TensorSpec::bytes).sum())?;
        let companions = self.companions(progress)?;
        let held = HeldSources::of(self.base.as_deref(), companions.as_ref(), &tensors)?;
        self.write(&tensors, companions.as_ref(), &held, progress).map_err(|error| held.explained(error))
    }

    fn write(
        &self,
        tensors: &[OutputTensor],
        companions: Option<&Companions>,
        held: &HeldSources,
        progress: &dyn Progress,
    ) -> Result<Written> {
        let partial = PartialDirectory::begin(&self.options.out, self.options.overwrite)?;
        let name = self.options.out.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let write_options = WriteOptions {
            max_shard_size: self.options.max_shard_size,
            threads: self.options.threads,
            progress,
        };
        let planned = self.specs().map(TensorSpec::bytes).sum();
        let bytes =
            during(progress, &name, planned, || write_weights(partial.path(), tensors, &write_options))?;
        for (file, content) in &self.files {
            let path = partial.path().join(file);
            fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
        }
        if let (Some(base), Some(companions)) = (&self.base, companions) {
            self.write_companions(partial.path(), base, companions)?;
        }
        require_sound(partial.path(), &self.options.out)?;
        held.require_same_content()?;
        if let Some(kept) = partial.commit_if(|| held.require_unchanged())? {
            progress.note(&kept.note(&self.options.out));
        }
        Ok(Written { name, directory: self.options.out.clone(), bytes, up_to_date: false })
    }

    /// What comes along from the base, which can all be copied.
    fn companions(&self, progress: &dyn Progress) -> Result<Option<Companions>> {
        let Some(base) = self.base.as_ref().filter(|_| self.options.companions) else { return Ok(None) };
        let companions = Companions::beside(base)?;
        companions.require_copyable()?;
        companions.note().iter().for_each(|note| progress.note(note));
        Ok(Some(companions))
    }

    fn write_companions(&self, directory: &Path, base: &Model, companions: &Companions) -> Result<()> {
        let given = |file: &Path| self.files.iter().any(|(name, _)| Path::new(name) == file);
        companions.copy_into(directory, given)?;
        if given(Path::new(CONFIG)) {
            return Ok(());
        }
        let path = directory.join(CONFIG);
        let write = |path: &Path, text: &[u8]| fs::write(path, text).map_err(|e| Error::io("write", path, e));
        let plain = without_quantisation(base.config(), base.config_text());
        write(&path, &plain)?;
        let output = Model::open(directory)?;
        let Some(files) = describe(&output)? else { return Ok(()) };
        if let Some(value) = &files.quantization_config {
            write(&path, &with_quantization_config(&path, &plain, value)?)?;
        }
        match &files.hf_quant_config {
            Some(value) if !given(Path::new(HF_QUANT_CONFIG)) => {
                write(&directory.join(HF_QUANT_CONFIG), &json::pretty(value))
            }
            _ => Ok(()),
        }
    }

    /// That one configuration describes all FP8 layers, where the writer is to make it.
    ///
    /// # Errors
    /// Those of [`require_describable`].
    fn require_describable(&self) -> Result<()> {
        let is_given = self.files.iter().any(|(name, _)| name == CONFIG);
        if is_given || self.base.is_none() || !self.options.companions {
            return Ok(());
        }
        require_describable(self.specs())
    }

    fn source(&self, name: &str) -> Result<Tensor> {
        let Some(base) = &self.base else {
            return Err(Error::argument(format!("the writer has no base checkpoint to take `{name}` from")));
        };
        base.tensor(name).cloned().ok_or_else(|| {
            let problem = format!("`{}` holds no tensor `{name}`", base.directory().display());
            match nearest(name, base.tensors().map(|(n, _)| n)) {
                Some(near) => Error::not_found(problem).with_hint(format!("did you mean `{near}`?")),
                None => Error::not_found(problem),
            }
        })
    }

    fn position(&self, name: &str) -> Result<usize> {
        let position = self.positions.get(name).copied();
        position.ok_or_else(|| Error::not_found(format!("no tensor `{name}` was added to the writer")))
    }

    fn push(&mut self, entry: OutputTensor) -> Result<()> {
        if self.positions.contains_key(&entry.spec.name) {
            return Err(taken(&entry.spec.name));
        }
        self.positions.insert(entry.spec.name.clone(), self.entries.len());
        self.entries.push(Some(entry));
        Ok(())
    }
}

fn taken(name: &str) -> Error {
    Error::argument(format!("the tensor name `{name}` is used twice"))
}
