//! One Hugging Face directory: a single file or shards with an index, mapped and never written to.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::header::{header_length, read_header};
use super::quantisation;
use crate::error::{Error, Result};
use crate::input::{self, InputKind, MappedFile, Sameness, Watched, read_watched};
use crate::json;
use crate::tensor::{Dtype, Tensor};
use crate::units::counted;

/// The name of the index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// The name of ModelOpt's own configuration file.
pub const HF_QUANT_CONFIG: &str = "hf_quant_config.json";
const SINGLE_FILE: &str = "model.safetensors";

/// `model.safetensors.index.json`: which file holds which tensor.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Index {
    /// Free-form; `total_size` is the sum of all tensor bytes.
    #[serde(default)]
    pub metadata: Value,
    /// Tensor name → file name, in the order of the file.
    pub weight_map: serde_json::Map<String, Value>,
}

impl Index {
    /// Parses the index that `text` (of `path`, named in errors) is.
    ///
    /// # Errors
    /// [`Error::Format`] when it is none.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self> {
        json::parse(path, text)
    }

    /// The tensors by the file that holds them; `path` is that of the index, for errors.
    ///
    /// # Errors
    /// [`Error::Format`] when there is no tensor, or a file is not named by a name inside the directory.
    pub fn by_file(&self, path: &Path) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let mut by_file = BTreeMap::<String, BTreeSet<String>>::new();
        for (tensor, file) in &self.weight_map {
            let file = file.as_str().ok_or_else(|| {
                Error::format(path, format!("places tensor `{tensor}` in something that is no name"))
            })?;
            let mut components = Path::new(file).components();
            // `a/` and `a/.` have the same one component as `a`, and name a directory.
            let is_plain = components.next() == Some(Component::Normal(OsStr::new(file)));
            if !is_plain || components.next().is_some() {
                return Err(Error::format(
                    path,
                    format!(
                        "places tensor `{tensor}` in `{file}`, which is no file name inside the directory"
                    ),
                ));
            }
            by_file.entry(file.into()).or_default().insert(tensor.clone());
        }
        if by_file.is_empty() {
            return Err(Error::format(path, "names no tensor"));
        }
        Ok(by_file)
    }
}

/// One weight file of a checkpoint.
#[derive(Debug, Clone)]
struct MappedShard {
    name: String,
    path: PathBuf,
    map: Arc<MappedFile>,
}

/// An opened checkpoint directory: memory-mapped weights and configuration. The directory is never written to.
#[derive(Clone)]
pub struct Checkpoint {
    directory: PathBuf,
    config_text: Arc<[u8]>,
    config: Value,
    /// What was read beside the weights.
    watched: Arc<Mutex<Vec<Watched>>>,
    shards: Vec<MappedShard>,
    names: Vec<String>,
    tensors: HashMap<String, (usize, Tensor)>,
}

impl Checkpoint {
    /// Opens `directory`: `config.json`, and either `model.safetensors` (or the only `*.safetensors` file) or the shards
    /// that `model.safetensors.index.json` names. Files may be symlinks, as in a Hugging Face cache.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing directory, configuration or shard; [`Error::Format`] for damaged files, an
    /// index that names a file outside the directory or a tensor that its file does not hold.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        if let Some(what) = input::no_directory(directory) {
            return Err(Error::not_found(format!(
                "the checkpoint directory `{}` {what}",
                directory.display()
            ))
            .with_hint("pass a Hugging Face model directory: config.json beside *.safetensors files"));
        }
        let config_path = directory.join("config.json");
        let (config_text, config_file) = match read_watched(&config_path, InputKind::Configuration) {
            Err(e) if input::is_missing(&e) => {
                return Err(Error::not_found(format!("`{}` holds no config.json", directory.display()))
                    .with_hint(
                        "pass a Hugging Face model directory: config.json beside *.safetensors files",
                    ));
            }
            other => other?,
        };
        let config: Value = json::parse(&config_path, &config_text)?;
        if !config.is_object() {
            return Err(Error::format(&config_path, "is not a JSON object"));
        }

        let (plan, index_file) = locate_weights(directory)?;
        let watched = [config_file].into_iter().chain(index_file).collect();
        let mut checkpoint = Checkpoint {
            directory: directory.to_path_buf(),
            config_text: config_text.into(),
            config,
            watched: Arc::new(Mutex::new(watched)),
            shards: Vec::new(),
            names: Vec::new(),
            tensors: HashMap::new(),
        };
        for (file, wanted) in plan {
            checkpoint.add_shard(&file, wanted.as_ref())?;
        }
        Ok(checkpoint)
    }

    fn add_shard(&mut self, file: &str, wanted: Option<&BTreeSet<String>>) -> Result<()> {
        let path = self.directory.join(file);
        let mut map = MappedFile::open(&path).map_err(|error| match input::is_missing(&error) {
            true => Error::not_found(format!(
                "the shard `{}` is missing, although {INDEX_FILE} names it",
                path.display()
            ))
            .with_hint("download the missing file; the other shards are not enough"),
            false => error,
        })?;
        map.note_start(0..header_length(&map));
        let entries = read_header(&path, &map);
        map.require_readable()?;
        let entries = entries?;
        let map = Arc::new(map);
        let index = self.shards.len();
        let mut missing = wanted.cloned().unwrap_or_default();
        for entry in entries {
            if wanted.is_some_and(|w| !w.contains(&entry.name)) {
                continue; // not in the index: no reader that follows the index sees it
            }
            missing.remove(&entry.name);
            let tensor = Tensor::mapped(entry.dtype, entry.shape, map.clone(), entry.range);
            if let Some((other, _)) = self.tensors.insert(entry.name.clone(), (index, tensor)) {
                let other: &MappedShard = &self.shards[other];
                let problem = format!("holds tensor `{}`, which `{}` holds too", entry.name, other.name);
                return Err(Error::format(&path, problem));
            }
            self.names.push(entry.name);
        }
        if let Some(first) = missing.first() {
            return Err(Error::format(
                &path,
                format!(
                    "lacks {} that {INDEX_FILE} places there, such as `{first}`",
                    counted(missing.len(), "tensor")
                ),
            ));
        }
        self.shards.push(MappedShard { name: file.into(), path, map });
        Ok(())
    }

    /// The directory as it was named.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `config.json` as parsed.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// `config.json` as it stands in the file.
    pub fn config_text(&self) -> &[u8] {
        &self.config_text
    }

    /// What the configuration says of quantisation, wherever loaders look for it; nothing where it says nothing.
    pub fn quantization_config(&self) -> Option<&Value> {
        quantisation::quantization_config(&self.config)
    }

    /// `model_type` of the configuration, such as `qwen2_5_vl`.
    pub fn model_type(&self) -> Option<&str> {
        self.config["model_type"].as_str()
    }

    /// The first of `architectures`, such as `Qwen2_5_VLForConditionalGeneration`; some releases of Transformers write it into
    /// `text_config` alone.
    pub fn architecture(&self) -> Option<&str> {
        [&self.config, &self.config["text_config"]].into_iter().find_map(|c| c["architectures"][0].as_str())
    }

    /// Whether `lm_head` shares the embedding (`tie_word_embeddings`, at the top or in `text_config`).
    pub fn ties_word_embeddings(&self) -> bool {
        let flag = |v: &Value| v["tie_word_embeddings"].as_bool();
        flag(&self.config).or_else(|| flag(&self.config["text_config"])).unwrap_or(false)
    }

    /// All tensors in file order, shard after shard.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.names.iter().map(|name| (name.as_str(), &self.tensors[name].1))
    }

    /// The tensor called `name` on disk.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name).map(|(_, tensor)| tensor)
    }

    /// The file name of the shard that holds `name`.
    pub fn shard_of(&self, name: &str) -> Option<&str> {
        self.tensors.get(name).map(|(shard, _)| self.shards[*shard].name.as_str())
    }

    /// File name, path and mapped bytes of every shard, in index order.
    pub fn shards(&self) -> impl Iterator<Item = (&str, &Path, &[u8])> {
        self.shards.iter().map(|s| (s.name.as_str(), s.path.as_path(), &s.map[..]))
    }

    /// File name and map of every shard, in index order.
    pub fn maps(&self) -> impl Iterator<Item = (&str, &MappedFile)> {
        self.shards.iter().map(|s| (s.name.as_str(), &*s.map))
    }

    /// Reads the file `name` of the directory, which is watched from now on; nothing where there is none.
    ///
    /// # Errors
    /// Those of [`read_watched`].
    pub fn read_beside(&self, name: &str, kind: InputKind) -> Result<Option<Vec<u8>>> {
        match read_watched(&self.directory.join(name), kind) {
            Ok((bytes, watched)) => {
                self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
                Ok(Some(bytes))
            }
            Err(error) if input::is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every file that was read, as it was then.
    pub fn watched(&self) -> Vec<Watched> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        watched.extend(self.shards.iter().map(|shard| shard.map.watched().clone()));
        watched
    }

    /// Fails when a file that was read is another one now, or its bytes were not there when they were read. The weight files of
    /// which nothing but their content can tell are returned: see [`Sameness::Doubtful`].
    ///
    /// # Errors
    /// [`Error::Changed`]; those of [`Watched::recheck`].
    pub fn require_unchanged(&self) -> Result<Vec<&Watched>> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        watched.iter().try_for_each(|file| file.recheck().map(drop))?;
        let mut doubtful = Vec::new();
        for MappedShard { map, .. } in &self.shards {
            map.require_readable()?;
            if map.watched().recheck()? == Sameness::Doubtful {
                doubtful.push(map.watched());
            }
        }
        Ok(doubtful)
    }

    /// `result`, unless a file is another one by now: then that is the error, and the reason of whatever else went wrong. Nothing
    /// that was made from a checkpoint is of use before this.
    ///
    /// # Errors
    /// That of `result`; those of [`Checkpoint::require_unchanged`]. An interruption stays one.
    pub fn unchanged<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Interrupted) = result {
            return result;
        }
        self.require_unchanged().and(result)
    }

    /// Waits until every later change of a weight file is seen by its times: see [`Watched::settle`].
    pub fn settle(&self) {
        self.shards.iter().for_each(|shard| shard.map.watched().settle());
    }

    /// File name, mapped bytes and first state of every shard, in index order.
    pub fn shards_watched(&self) -> impl Iterator<Item = (&str, &[u8], &Watched)> {
        self.shards.iter().map(|s| (s.name.as_str(), &s.map[..], s.map.watched()))
    }

    /// Sum of all tensor bytes.
    pub fn bytes(&self) -> u64 {
        self.tensors().map(|(_, t)| t.bytes().len() as u64).sum()
    }

    /// Fails when this is not a plain checkpoint: it carries FP8 tensors or a quantisation configuration already.
    ///
    /// # Errors
    /// [`Error::Refused`] with what was found.
    pub fn require_unquantised(&self) -> Result<()> {
        let hint = "start from the BF16 checkpoint; examples/dequantize.lua makes one from an FP8 directory";
        if let Some((name, t)) =
            self.tensors().find(|(_, t)| matches!(t.dtype(), Dtype::F8E4M3 | Dtype::F8E5M2))
        {
            let problem = format!(
                "`{}` is quantised already: tensor `{name}` is {}",
                self.directory.display(),
                t.dtype()
            );
            return Err(Error::refused(problem).with_hint(hint));
        }
        if let Some(said) = self.quantization_config() {
            let method = quantisation::method(said).unwrap_or("unknown");
            let problem = format!(
                "`{}` is quantised already: its config.json says quant_method `{method}`",
                self.directory.display()
            );
            return Err(Error::refused(problem).with_hint(hint));
        }
        Ok(())
    }
}

/// Weight files; with an index, each with the tensors that the index places there.
type WantedFiles = Vec<(String, Option<BTreeSet<String>>)>;

/// The weight files of a directory, and its index as it was read.
fn locate_weights(directory: &Path) -> Result<(WantedFiles, Option<Watched>)> {
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .map_err(|e| Error::io("read", directory, e))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension() == Some(OsStr::new("safetensors")))
        .collect();
    files.sort();
    let (index, index_file) = match read_index_watched(directory)? {
        Some((index, file)) => (Some(index), Some(file)),
        None => (None, None),
    };
    let has_single = files.iter().any(|f| f == SINGLE_FILE);
    let located = match (index, has_single) {
        (Some(index), single) => {
            let by_file = index.by_file(&directory.join(INDEX_FILE))?;
            // Transformers reads model.safetensors first, vLLM the index: with both, they would load different weights.
            if single && !by_file.contains_key(SINGLE_FILE) {
                return Err(Error::format(
                    directory.join(INDEX_FILE),
                    format!("does not name `{SINGLE_FILE}`, which lies beside it: loaders disagree which one to read"),
                )
                .with_hint("remove whichever is stale"));
            }
            by_file.into_iter().map(|(file, names)| (file, Some(names))).collect()
        }
        (None, true) => vec![(SINGLE_FILE.into(), None)],
        (None, false) => match files.len() {
            1 => vec![(files.remove(0), None)],
            0 => {
                return Err(Error::not_found(format!(
                    "`{}` holds no *.safetensors file",
                    directory.display()
                ))
                .with_hint("qlua reads safetensors only; convert *.bin checkpoints first"));
            }
            n => {
                return Err(Error::not_found(format!(
                    "`{}` holds {n} *.safetensors files and no {INDEX_FILE}",
                    directory.display()
                )));
            }
        },
    };
    Ok((located, index_file))
}

/// Reads the index of `directory`, if it has one.
///
/// # Errors
/// [`Error::Format`] when it does not parse.
pub fn read_index(directory: &Path) -> Result<Option<Index>> {
    Ok(read_index_watched(directory)?.map(|(index, _)| index))
}

fn read_index_watched(directory: &Path) -> Result<Option<(Index, Watched)>> {
    let path = directory.join(INDEX_FILE);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let (text, watched) = read_watched(&path, InputKind::Index)?;
    Ok(Some((Index::parse(&path, &text)?, watched)))
}
