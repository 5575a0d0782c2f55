//! Checkpoint directories taken apart and put together again, with serde_json and the safetensors crate as the only means:
//! what is broken here does not pass through the code under test.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};

/// A tensor as it lies in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Raw {
    pub fn new(dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> Self {
        Raw { dtype, shape: shape.into(), bytes }
    }

    /// BF16 values of any shape.
    pub fn bf16(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        Raw::new(Dtype::BF16, shape, bytes)
    }

    /// BF16 zeros.
    pub fn zeros(shape: &[usize]) -> Self {
        Raw::new(Dtype::BF16, shape, vec![0; 2 * shape.iter().product::<usize>()])
    }
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, Raw>;

/// A checkpoint directory that may be changed.
pub struct Directory(pub PathBuf);

impl Directory {
    /// A copy of `source` called `target`.
    pub fn copy(source: &Path, target: &Path) -> Self {
        fs::create_dir_all(target).unwrap();
        for entry in fs::read_dir(source).unwrap() {
            let path = entry.unwrap().path();
            let to = target.join(path.file_name().unwrap());
            if path.is_dir() {
                Directory::copy(&path, &to);
            } else {
                fs::write(to, fs::read(&path).unwrap()).unwrap();
            }
        }
        Directory(target.into())
    }

    /// A new directory with a single weight file and no index.
    pub fn create(target: &Path, config: &Value, tensors: &Tensors) -> Self {
        fs::create_dir_all(target).unwrap();
        fs::write(target.join("config.json"), config.to_string()).unwrap();
        write_safetensors(&target.join("model.safetensors"), tensors);
        Directory(target.into())
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.file(name)).unwrap()).unwrap()
    }

    /// Changes a JSON file.
    pub fn edit_json(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut value = self.json(name);
        edit(&mut value);
        fs::write(self.file(name), value.to_string()).unwrap();
    }

    /// The weight files, sorted.
    pub fn weight_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
            .collect();
        files.sort();
        files
    }

    /// All tensors of all weight files.
    pub fn tensors(&self) -> Tensors {
        self.weight_files().iter().flat_map(|file| read_safetensors(file)).collect()
    }

    /// Changes tensors; afterwards all are in the first weight file, and an index, where there is one, says so.
    pub fn edit_tensors(&self, edit: impl FnOnce(&mut Tensors)) {
        let files = self.weight_files();
        let mut tensors = self.tensors();
        edit(&mut tensors);
        files.iter().for_each(|file| fs::remove_file(file).unwrap());
        write_safetensors(&files[0], &tensors);
        if self.file(INDEX).exists() {
            let file = files[0].file_name().unwrap().to_str().unwrap();
            let map: BTreeMap<&String, &str> = tensors.keys().map(|name| (name, file)).collect();
            let total: usize = tensors.values().map(|t| t.bytes.len()).sum();
            let index = json!({"metadata": {"total_size": total}, "weight_map": map});
            fs::write(self.file(INDEX), index.to_string()).unwrap();
        }
    }

    /// Adds a weight of `bytes` bytes of BF16 zeros, in a file of its own that takes no room, beside an index. The bytes of all
    /// tensors then.
    pub fn add_sparse_weights(&self, name: &str, bytes: u64) -> u64 {
        let file = "model-00009-of-00009.safetensors";
        let header =
            json!({name: {"dtype": "BF16", "shape": [bytes / 2], "data_offsets": [0, bytes]}}).to_string();
        write_raw_safetensors(&self.file(file), &header, 0);
        let length = 8 + header.len() as u64 + bytes;
        fs::File::options().write(true).open(self.file(file)).unwrap().set_len(length).unwrap();
        let total = self.json(INDEX)["metadata"]["total_size"].as_u64().unwrap() + bytes;
        self.edit_json(INDEX, |index| {
            index["weight_map"][name] = file.into();
            index["metadata"]["total_size"] = total.into();
        });
        total
    }

    /// The first module, in name order, whose weight has `dtype` and whose name ends in `suffix`.
    pub fn module(&self, dtype: Dtype, suffix: &str) -> String {
        let tensors = self.tensors();
        let found = tensors.iter().find_map(|(name, tensor)| {
            let module = name.strip_suffix(".weight")?;
            (tensor.dtype == dtype && module.ends_with(suffix)).then(|| module.to_string())
        });
        found.unwrap_or_else(|| panic!("{} has no {dtype} {suffix}", self.0.display()))
    }
}

pub const INDEX: &str = "model.safetensors.index.json";

/// Every tensor of one file.
pub fn read_safetensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    file.tensors()
        .into_iter()
        .map(|(name, view)| (name, Raw::new(view.dtype(), view.shape(), view.data().to_vec())))
        .collect()
}

/// Writes one file.
pub fn write_safetensors(path: &Path, tensors: &Tensors) {
    let views = tensors
        .iter()
        .map(|(name, t)| (name, TensorView::new(t.dtype, t.shape.clone(), &t.bytes).unwrap()))
        .collect::<Vec<_>>();
    let metadata = Some([("format".to_string(), "pt".to_string())].into());
    fs::write(path, safetensors::serialize(views, metadata).unwrap()).unwrap();
}

/// A safetensors file with any header and this many zero bytes after it.
pub fn write_raw_safetensors(path: &Path, header: &str, data: usize) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(path, bytes).unwrap();
}
