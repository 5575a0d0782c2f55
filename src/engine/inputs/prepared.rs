//! Tensors that somebody prepared, with Transformers for instance: `text.N.input_ids`, or `vlm.N.` with `input_ids`, `pixel_values`,
//! `image_grid_thw` and `mm_token_type_ids`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::MOST_SAMPLES;
use super::pixel_levels::PixelLevels;
use super::processor::Processor;
use super::samples::{SampleKind, SampleSource, Samples};
use super::text_file::file_name;
use super::vision_tokens::VisionTokens;
use crate::checkpoint::{header_metadata, read_header};
use crate::engine::sample::{Picture, Sample};
use crate::error::{Error, Result};
use crate::input::MappedFile;
use crate::interrupt;
use crate::tensor::{Dtype, Tensor};
use crate::words::words;

words! {
    /// The kinds of samples in a file of prepared tensors.
    pub enum PreparedKind: "kind of prepared samples" {
        /// Tokens alone.
        Text = "text",
        /// With pictures.
        Vision = "vlm",
    }
}

/// The metadata by which a file says for which type of model its samples are, and the BLAKE3 hash of whose `tokenizer.json` made their
/// tokens, in hexadecimal.
const MODEL_TYPE: &str = "model_type";
/// See [`MODEL_TYPE`].
const TOKENIZER: &str = "tokenizer_blake3";

/// The first `samples` samples of this `kind` in the safetensors file `file`, at most [`MOST_SAMPLES`], by their number.
///
/// # Errors
/// [`Error::Format`] for what is no safetensors file, holds no such samples, or tensors of other shapes and types;
/// [`Error::Refused`] for labels that are not the tokens, padding, inputs that are not known, and samples that do not fit the model or
/// were made for another one, as far as that shows: by metadata, tokens that the tokenizer lacks, and pixels that are normalised in
/// another way;
/// [`Error::Changed`] when the file is written to meanwhile.
pub fn prepared(processor: &Processor, file: &Path, kind: PreparedKind, samples: usize) -> Result<Samples> {
    let map = Arc::new(MappedFile::open(file)?);
    let mut numbered: BTreeMap<u64, BTreeMap<String, Tensor>> = BTreeMap::new();
    for entry in read_header(file, &map)? {
        let parts: Vec<&str> = entry.name.split('.').collect();
        if let [this, number, input] = parts[..]
            && this == kind.word()
            && let Ok(number) = number.parse()
        {
            let tensor = Tensor::mapped(entry.dtype, entry.shape, map.clone(), entry.range);
            numbered.entry(number).or_default().insert(input.into(), tensor);
        }
    }
    if numbered.is_empty() {
        return Err(Error::format(file, format!("holds no `{kind}.N.input_ids`"))
            .with_hint("tensors are named text.N.input_ids, or vlm.N.input_ids with vlm.N.pixel_values"));
    }
    require_same_model(processor, file, &header_metadata(&map))?;
    let levels = processor.pixel_levels()?;
    let sample = |(number, inputs): (&u64, &BTreeMap<String, Tensor>)| {
        interrupt::check()?;
        let inputs = PreparedInputs { file, prefix: format!("{kind}.{number}"), inputs };
        let sample = match kind {
            PreparedKind::Text => inputs.text(),
            PreparedKind::Vision => inputs.vision(processor.require_vision()?, levels.as_ref()),
        }?;
        processor.require_usable(&sample, || format!("`{}` of `{}`", inputs.prefix, file.display()))?;
        inputs.require_tokens_of(processor, &sample)?;
        Ok(sample)
    };
    let samples: Result<Vec<Sample>> = numbered.iter().take(samples.min(MOST_SAMPLES)).map(sample).collect();
    let hash = blake3::hash(&map).to_hex().to_string();
    map.require_intact()?;
    let samples = samples?;
    let source = SampleSource {
        kind: SampleKind::Prepared,
        file: file_name(file),
        hash,
        split: None,
        count: samples.len(),
        max_length: None,
    };
    Ok(Samples { source, samples, counted_from: 1 })
}

/// Fails when the metadata of `file` names another type of model or another tokenizer.
fn require_same_model(processor: &Processor, file: &Path, said: &BTreeMap<String, String>) -> Result<()> {
    let file = file.display();
    let hint = "prepare the samples again, with the processor of this model";
    if let (Some(theirs), Some(own)) = (said.get(MODEL_TYPE), processor.model_type())
        && theirs != own
    {
        let problem =
            format!("`{file}` is made for a model of type `{theirs}`, and this one is of type `{own}`");
        return Err(Error::refused(problem).with_hint(hint));
    }
    let tokenizer = processor.tokenizer();
    if said.get(TOKENIZER).is_some_and(|theirs| theirs != tokenizer.hash()) {
        let problem =
            format!("the tokens of `{file}` are of another tokenizer than `{}`", tokenizer.path().display());
        return Err(Error::refused(problem).with_hint(hint));
    }
    Ok(())
}

/// The tensors of one sample.
struct PreparedInputs<'a> {
    file: &'a Path,
    prefix: String,
    inputs: &'a BTreeMap<String, Tensor>,
}

impl PreparedInputs<'_> {
    fn text(&self) -> Result<Sample> {
        Ok(Sample { tokens: self.tokens(&[])?, pictures: Vec::new() })
    }

    fn vision(&self, vision: &VisionTokens, levels: Option<&PixelLevels>) -> Result<Sample> {
        let tokens = self.tokens(&["pixel_values", "image_grid_thw", "mm_token_type_ids"])?;
        if let Some(kinds) = self.inputs.get("mm_token_type_ids") {
            let seen = self.integers("mm_token_type_ids", kinds)?;
            if seen != tokens.iter().map(|token| i64::from(*token == vision.image)).collect::<Vec<_>>() {
                return Err(self.refused("mm_token_type_ids", "does not mark the image tokens"));
            }
        }
        let sizes = self.integers("image_grid_thw", self.require("image_grid_thw")?)?;
        let (grids, rest) = sizes.as_chunks::<3>();
        let grid = |grid: &[i64; 3]| {
            let sizes =
                grid.map(|size| usize::try_from(size).ok().filter(|size| (1..1 << 16).contains(size)));
            let [Some(frames), Some(rows), Some(columns)] = sizes else { return None };
            (rows.is_multiple_of(vision.merge) && columns.is_multiple_of(vision.merge))
                .then_some([frames, rows, columns])
        };
        let grids: Option<Vec<[usize; 3]>> = grids.iter().map(grid).collect();
        let grids = grids.filter(|_| rest.is_empty()).ok_or_else(|| {
            self.wrong(
                "image_grid_thw",
                "holds something else than frames, rows and columns of merged patches",
            )
        })?;
        let pixels = self.require("pixel_values")?;
        let count: usize = grids.iter().map(|grid| grid.iter().product::<usize>()).sum();
        if pixels.shape() != [count, vision.patch_values()] {
            let problem = format!(
                "has the shape {:?}, and image_grid_thw and config.json make it [{count}, {}]",
                pixels.shape(),
                vision.patch_values()
            );
            return Err(self.wrong("pixel_values", &problem));
        }
        if !matches!(pixels.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
            return Err(
                self.wrong("pixel_values", &format!("is {}, no type of real numbers", pixels.dtype()))
            );
        }
        let mut values = pixels.to_f64_iter().map(|value| value as f32);
        let pictures: Vec<Picture> = grids
            .iter()
            .map(|grid| {
                let length = grid.iter().product::<usize>() * vision.patch_values();
                Picture { grid: *grid, patches: values.by_ref().take(length).collect() }
            })
            .collect();
        if pictures.iter().any(|picture| picture.patches.iter().any(|value| !value.is_finite())) {
            return Err(self.wrong("pixel_values", "holds values that are not finite"));
        }
        let per_channel = vision.patch_values() / vision.channels;
        let levels = levels.filter(|_| vision.channels == 3);
        let misfit = |picture: &Picture| levels?.misfit(&picture.patches, per_channel, pixels.dtype());
        if let Some(problem) = pictures.iter().find_map(misfit) {
            return Err(self.wrong("pixel_values", &problem));
        }
        Ok(Sample { tokens, pictures })
    }

    /// The tokens. Beside them only `more`, labels that are the tokens, and a mask that hides nothing may stand.
    fn tokens(&self, more: &[&str]) -> Result<Vec<u32>> {
        let integers = self.integers("input_ids", self.require("input_ids")?)?;
        for (name, tensor) in self.inputs {
            match name.as_str() {
                "input_ids" => {}
                "labels" if self.integers(name, tensor)? == integers => {}
                "labels" => {
                    return Err(self.refused(name, "differs from input_ids, and every token counts here"));
                }
                "attention_mask" if self.integers(name, tensor)? == vec![1; integers.len()] => {}
                "attention_mask" => {
                    return Err(self.refused(name, "hides tokens: prepare each sample without padding"));
                }
                other if more.contains(&other) => {}
                other => return Err(self.refused(other, "is an input that is not known")),
            }
        }
        let tokens: Option<Vec<u32>> = integers.iter().map(|id| u32::try_from(*id).ok()).collect();
        let tokens = tokens.ok_or_else(|| self.wrong("input_ids", "holds something that is no token"))?;
        match tokens.len() {
            0 | 1 => {
                Err(self.wrong("input_ids", "has fewer than two tokens, which leaves nothing to predict"))
            }
            _ => Ok(tokens),
        }
    }

    /// Fails when the tokenizer lacks one of the tokens.
    fn require_tokens_of(&self, processor: &Processor, sample: &Sample) -> Result<()> {
        let tokens: BTreeSet<u32> = sample.tokens.iter().copied().collect();
        match tokens.into_iter().find(|token| !processor.tokenizer().has(*token)) {
            Some(token) => Err(self.wrong(
                "input_ids",
                &format!("holds {token}, a token that the tokenizer of this model lacks"),
            )),
            None => Ok(()),
        }
    }

    fn require(&self, name: &str) -> Result<&Tensor> {
        self.inputs.get(name).ok_or_else(|| {
            Error::format(self.file, format!("lacks `{}.{name}`", self.prefix))
                .with_hint("prepare it again, whole")
        })
    }

    /// The integers of a tensor: of one sequence, or of a batch that is one.
    fn integers(&self, name: &str, tensor: &Tensor) -> Result<Vec<i64>> {
        if !matches!(tensor.dtype(), Dtype::I64 | Dtype::I32) {
            return Err(self.wrong(name, &format!("is {}, not I64 or I32", tensor.dtype())));
        }
        if name != "image_grid_thw" && !matches!(tensor.shape(), [_] | [1, _]) {
            let problem = format!("has the shape {:?}: prepare each sequence by itself", tensor.shape());
            return Err(self.wrong(name, &problem));
        }
        let bytes = tensor.bytes();
        Ok(match tensor.dtype() {
            Dtype::I32 => {
                bytes.as_chunks().0.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect()
            }
            _ => bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        })
    }

    fn wrong(&self, name: &str, problem: &str) -> Error {
        Error::tensor(format!("{}.{name}", self.prefix), problem)
            .with_hint("prepare it with the processor of this model, in Transformers")
    }

    fn refused(&self, name: &str, problem: &str) -> Error {
        Error::refused(format!("tensor `{}.{name}` of `{}` {problem}", self.prefix, self.file.display()))
            .with_hint("leave the tensor out, or prepare the samples again")
    }
}
