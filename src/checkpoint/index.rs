//! Which files hold the weights of a directory: a single one, or those that its index names.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Component, Path};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::input::{InputKind, Watched, read_watched};
use crate::json;

/// The name of the index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
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

/// Weight files; with an index, each with the tensors that the index places there.
pub(super) type WantedFiles = Vec<(String, Option<BTreeSet<String>>)>;

/// The weight files of a directory, and its index as it was read.
pub(super) fn locate_weights(directory: &Path) -> Result<(WantedFiles, Option<Watched>)> {
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
