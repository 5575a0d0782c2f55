//! One Hugging Face directory: a single file or shards with an index, mapped and never written to.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::header::{header_length, read_header};
use super::hub::{self, HubOrigin};
use super::index::{INDEX_FILE, locate_weights};
use super::quantisation;
use crate::error::{Error, Result};
use crate::input::{self, InputKind, MappedFile, Sameness, Watched, read_watched};
use crate::json;
use crate::tensor::{Dtype, Tensor};
use crate::units::counted;

/// The name of ModelOpt's own configuration file.
pub const HF_QUANT_CONFIG: &str = "hf_quant_config.json";

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
    named: PathBuf,
    hub: Option<HubOrigin>,
    config_text: Arc<[u8]>,
    config: Value,
    /// What was read beside the weights.
    watched: Arc<Mutex<Vec<Watched>>>,
    shards: Vec<MappedShard>,
    names: Vec<String>,
    tensors: HashMap<String, (usize, Tensor)>,
}

impl Checkpoint {
    /// Opens the checkpoint at `place`: a directory, or where there is none of that spelling a model of the Hugging Face Hub,
    /// `ORG/NAME` or `ORG/NAME@REVISION`, of which the snapshot in the cache on this machine is opened.
    ///
    /// # Errors
    /// Those of [`hub::find`] and [`Checkpoint::open_directory`].
    pub fn open(place: impl AsRef<Path>) -> Result<Self> {
        let place = place.as_ref();
        match hub::find(place)? {
            None => Self::open_directory(place),
            Some(snapshot) => match Self::open_directory(&snapshot.directory) {
                Ok(checkpoint) => Ok(Checkpoint { named: place.into(), ..checkpoint }),
                Err(error) => Err(snapshot.explained(error)),
            },
        }
    }

    /// Opens `directory`: `config.json`, and either `model.safetensors` (or the only `*.safetensors` file) or the shards
    /// that `model.safetensors.index.json` names. Files may be symlinks, as in a Hugging Face cache.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing directory, configuration or shard; [`Error::Format`] for damaged files, an
    /// index that names a file outside the directory or a tensor that its file does not hold.
    pub fn open_directory(directory: &Path) -> Result<Self> {
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
            named: directory.to_path_buf(),
            hub: HubOrigin::of(directory),
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

    /// The directory: as it was named, or the snapshot of the model that was.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it was opened by: the path of the directory, or the name of a model.
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// Which model of the Hugging Face Hub it is, where it lies in a cache of that.
    pub fn hub(&self) -> Option<&HubOrigin> {
        self.hub.as_ref()
    }

    /// The name of the model: `ORG/NAME` where that is known, or that of the directory.
    pub fn name(&self) -> Option<String> {
        if let Some(hub) = &self.hub {
            return Some(hub.name.clone());
        }
        let directory = self.directory.canonicalize().unwrap_or_else(|_| self.directory.clone());
        directory.file_name().map(|name| name.to_string_lossy().into_owned())
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
