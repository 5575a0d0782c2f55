//! The files beside the weights, without which a checkpoint is not complete: tokenizer, processor, code, licence, adapters, and
//! whatever else its authors put there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Checkpoint;
use super::ballast::{is_ballast, is_made_anew, is_weights};
use super::card::{CARD, has_own_card};
use crate::error::{Error, Result};
use crate::input::{self, InputKind, Watched};
use crate::units::counted;

/// How many names a note lists before it only counts.
const LISTED: usize = 6;
/// JSON files that are larger name no folders; vocabularies are.
const LARGEST_JSON: u64 = 1 << 20;
const MODULES: &str = "modules.json";
const ADAPTER: &str = "adapter_config.json";

/// What of a source directory goes into every checkpoint that is made from it, and what does not.
///
/// Everything does but weights, their indices, what each checkpoint has of its own (`config.json`, quantisation
/// configurations, records), what begins with a dot, other formats' folders, caches and what training leaves. Folders that
/// JSON files at the top name, and those of adapters, come with their weights.
#[derive(Debug, Clone, Default)]
pub struct Companions {
    directory: PathBuf,
    files: Vec<PathBuf>,
    left: Vec<PathBuf>,
    obstacles: Vec<(PathBuf, String)>,
}

impl Companions {
    /// Looks through the directory of `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder cannot be read.
    pub fn beside(checkpoint: &Checkpoint) -> Result<Self> {
        let read: Vec<&str> = checkpoint.shards().map(|(file, _, _)| file).collect();
        Companions::of(checkpoint.directory(), &read)
    }

    /// Looks through `directory`, of which `read` are the weight files that are read for themselves.
    fn of(directory: &Path, read: &[&str]) -> Result<Self> {
        let mut found = Companions { directory: directory.into(), ..Companions::default() };
        let named = named_folders(directory)?;
        let root = directory.canonicalize().map_err(|e| Error::io("read", directory, e))?;
        found.walk(Path::new(""), &Walk { named: &named, read, with_weights: false, above: vec![root] })?;
        found.files.sort();
        found.left.sort();
        Ok(found)
    }

    /// The files that come along, as paths relative to the directory, sorted.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Every file that comes along, as it is now.
    ///
    /// # Errors
    /// Those of [`Watched::at`].
    pub fn watched(&self) -> Result<Vec<Watched>> {
        self.files.iter().map(|file| Watched::at(&self.path(file))).collect()
    }

    /// Where the file `relative` of [`Companions::files`] lies.
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.directory.join(relative)
    }

    /// One line on what is left behind; nothing where nothing is.
    pub fn note(&self) -> Option<String> {
        let names: Vec<String> =
            self.left.iter().take(LISTED).map(|path| format!("`{}`", path.display())).collect();
        let more = match self.left.len().saturating_sub(LISTED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        (!names.is_empty()).then(|| {
            format!(
                "left behind in `{}`, as weights in other formats, caches and the like: {}{more}",
                self.directory.display(),
                names.join(", ")
            )
        })
    }

    /// Fails unless every file that is to come along can be copied.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the first that cannot.
    pub fn require_copyable(&self) -> Result<()> {
        let Some((path, problem)) = self.obstacles.first() else { return Ok(()) };
        let more = match self.obstacles.len() - 1 {
            0 => String::new(),
            n => format!(", and {} beside it cannot be copied either", counted(n, "file")),
        };
        Err(Error::refused(format!("`{}` {problem}{more}", self.directory.join(path).display()))
            .with_hint("put the file itself there, or remove it if the model does not need it"))
    }

    /// Copies the files into `directory`, but for those of which `is_given` says that it has them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(crate) fn copy_into(&self, directory: &Path, is_given: impl Fn(&Path) -> bool) -> Result<()> {
        let mut files = self.files.iter().filter(|file| !is_given(file));
        files.try_for_each(|file| copy_file(&self.path(file), &directory.join(file)))
    }

    fn walk(&mut self, folder: &Path, walk: &Walk) -> Result<()> {
        let entries = list(&self.directory.join(folder))?;
        let has_adapter = entries.iter().any(|name| name == ADAPTER);
        let has_weights = entries.iter().any(|name| is_weights(name));
        let is_top = folder.as_os_str().is_empty();
        // At the top an adapter would be loaded in the place of the model.
        let with_weights = walk.with_weights || has_adapter && has_weights && !is_top;
        for name in entries {
            let path = folder.join(&name);
            let target = fs::metadata(self.directory.join(&path));
            let is_folder = target.as_ref().is_ok_and(Metadata::is_dir);
            let is_named = walk.named.contains(&path);
            let is_read = walk.read.iter().any(|read| name == *read);
            if is_top
                && (is_read
                    || is_made_anew(&name)
                    || name == CARD && has_own_card(&self.directory).unwrap_or(false))
            {
                continue;
            }
            let is_left = is_ballast(&name, is_folder) && !is_named
                || !is_folder && !with_weights && is_weights(&name)
                || name == ADAPTER && !with_weights;
            if is_left {
                // The index of the weights that are read is made anew.
                let is_own = is_top && walk.read.iter().any(|read| is_index_of(&name, read));
                self.left.extend((!is_own).then_some(path));
            } else if is_folder {
                let inner = fs::canonicalize(self.directory.join(&path))
                    .map_err(|e| Error::io("read", self.directory.join(&path), e))?;
                if walk.above.contains(&inner) {
                    self.obstacles.push((path, "is a link to a folder that it lies in".into()));
                    continue;
                }
                let above = walk.above.iter().cloned().chain([inner]).collect();
                let with_weights = with_weights && !is_top || is_named;
                self.walk(&path, &Walk { with_weights, above, ..*walk })?;
            } else {
                match obstacle(&self.directory.join(&path), target) {
                    Some(problem) => self.obstacles.push((path, problem)),
                    None => self.files.push(path),
                }
            }
        }
        Ok(())
    }
}

/// What is known on the way down.
struct Walk<'a> {
    /// Folders that a JSON file names.
    named: &'a BTreeSet<PathBuf>,
    /// The weight files that are read for themselves.
    read: &'a [&'a str],
    /// Whether weights come along.
    with_weights: bool,
    /// The folders that lead here, without links.
    above: Vec<PathBuf>,
}

/// Why what stands at `path` cannot be copied.
fn obstacle(path: &Path, target: std::io::Result<Metadata>) -> Option<String> {
    match target {
        Err(_) if path.is_symlink() => {
            let to = fs::read_link(path).unwrap_or_default();
            Some(format!("is a link to `{}`, which is not there", to.display()))
        }
        Err(error) => Some(format!("cannot be read: {error}")),
        Ok(metadata) => match input::special(metadata.file_type()) {
            Some(what) => Some(format!("is no file that can be copied, but {what}")),
            None => File::open(path).err().map(|error| format!("cannot be read: {error}")),
        },
    }
}

/// Whether `name` is the index of weights such as `file`.
fn is_index_of(name: &std::ffi::OsStr, file: &str) -> bool {
    let ending = file.rsplit('.').next().unwrap_or(file);
    name.to_string_lossy().ends_with(&format!("{ending}.index.json"))
}

fn list(directory: &Path) -> Result<Vec<OsString>> {
    let entries = fs::read_dir(directory).map_err(|e| Error::io("read", directory, e))?;
    let names = entries.map(|entry| Ok(entry.map_err(|e| Error::io("read", directory, e))?.file_name()));
    names.collect()
}

/// The folders that JSON files at the top name: `modules.json` each by its `path`, any other by a string that is the path of a
/// folder.
fn named_folders(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut folders = BTreeSet::new();
    let entries = list(directory)?;
    if !entries.iter().any(|name| directory.join(name).is_dir()) {
        return Ok(folders);
    }
    for name in entries.iter().filter(|name| Path::new(name).extension().is_some_and(|e| e == "json")) {
        let path = directory.join(name);
        let is_small = fs::metadata(&path).is_ok_and(|m| m.len() <= LARGEST_JSON);
        // What does not parse is copied all the same, and names nothing.
        let Some(value) =
            is_small.then(|| crate::json::read::<Value>(&path, InputKind::Configuration).ok()).flatten()
        else {
            continue;
        };
        let mut add = |text: &str| {
            let plain: PathBuf = Path::new(text).components().filter(|c| c.as_os_str() != ".").collect();
            let inside = plain.components().all(|c| matches!(c, std::path::Component::Normal(_)));
            let is_ballast = name != MODULES && plain.iter().any(|part| is_ballast(part, true));
            if inside && !plain.as_os_str().is_empty() && !is_ballast && directory.join(&plain).is_dir() {
                folders.insert(plain);
            }
        };
        strings(&value, &mut add);
    }
    Ok(folders)
}

/// Every string in `value`.
fn strings(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, found)),
        _ => {}
    }
}

/// Copies the content of `from` to `to`, following symlinks; permissions follow the umask, not the source.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    }
    let mut source = input::open(from)?;
    let mut target = File::create_new(to).map_err(|e| Error::io("create", to, e))?;
    std::io::copy(&mut source, &mut target).map_err(|e| Error::io("write", to, e))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(names: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for name in names {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        place
    }

    fn shown(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().map(|path| path.to_str().unwrap()).collect()
    }

    #[test]
    fn everything_travels_but_weights_and_what_is_made_anew() {
        let place = place(&[
            "config.json",
            "tokenizer.json",
            "README.md",
            "tables/speakers.pt",
            "old_hf_quant_config.json",
            "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
            "model.fp16.safetensors",
            "pytorch_model.bin.index.json",
            "original/params.json",
            ".hidden.json",
        ]);
        let found = Companions::of(place.path(), &["model-00001-of-00001.safetensors"]).unwrap();
        assert_eq!(shown(&found.files), ["README.md", "tables/speakers.pt", "tokenizer.json"]);
        assert_eq!(
            shown(&found.left),
            [".hidden.json", "model.fp16.safetensors", "original", "pytorch_model.bin.index.json"]
        );
        assert!(found.note().unwrap().ends_with("`original`, `pytorch_model.bin.index.json`"));
        found.require_copyable().unwrap();
    }

    #[test]
    fn folders_that_json_files_name_and_adapters_come_with_their_weights() {
        let place = place(&[
            "model.safetensors",
            "2_Dense/model.safetensors",
            "speech/adapter_config.json",
            "speech/adapter_model.safetensors",
            "lonely/adapter_config.json",
            "draft/pytorch_model.bin",
            "other/pytorch_model.bin",
            "other/notes.txt",
            "adapter_config.json",
            "adapter_model.bin",
        ]);
        fs::write(place.path().join("modules.json"), r#"[{"path": ""}, {"path": "2_Dense"}]"#).unwrap();
        fs::write(place.path().join("extra.json"), r#"{"a": {"folder": "./draft"}}"#).unwrap();
        let found = Companions::of(place.path(), &["model.safetensors"]).unwrap();
        assert_eq!(
            shown(&found.files),
            [
                "2_Dense/model.safetensors",
                "draft/pytorch_model.bin",
                "extra.json",
                "modules.json",
                "other/notes.txt",
                "speech/adapter_config.json",
                "speech/adapter_model.safetensors",
            ]
        );
        assert_eq!(
            shown(&found.left),
            [
                "adapter_config.json",
                "adapter_model.bin",
                "lonely/adapter_config.json",
                "other/pytorch_model.bin"
            ]
        );
    }
}
