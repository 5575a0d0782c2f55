//! What somebody does to a file.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A way in which a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Overwrite,
    OverwriteAndSetTheTimeBack,
    Truncate,
    Replace,
    Delete,
    Append,
}

impl Kind {
    pub const ALL: [Kind; 6] = [
        Kind::Overwrite,
        Kind::OverwriteAndSetTheTimeBack,
        Kind::Truncate,
        Kind::Replace,
        Kind::Delete,
        Kind::Append,
    ];

    /// Does it to `path`; `seed` says where.
    pub fn apply(self, path: &Path, seed: u64) {
        let write = || File::options().write(true).open(path).unwrap();
        match self {
            Kind::Overwrite => overwrite(path, seed),
            Kind::OverwriteAndSetTheTimeBack => {
                let modified = fs::metadata(path).unwrap().modified().unwrap();
                overwrite(path, seed);
                write().set_modified(modified).unwrap();
            }
            Kind::Truncate => {
                let length = fs::metadata(path).unwrap().len();
                write().set_len([0, length / 2, length - 1][seed as usize % 3]).unwrap();
            }
            Kind::Replace => {
                let new = path.with_file_name("new.safetensors").with_extension(path.extension().unwrap());
                fs::copy(path, &new).unwrap();
                overwrite(&new, seed);
                fs::rename(&new, path).unwrap();
            }
            Kind::Delete => fs::remove_file(path).unwrap(),
            Kind::Append => {
                write().write_all_at(b"\n\n", fs::metadata(path).unwrap().len()).unwrap();
            }
        }
    }
}

/// Other content of the same length that is as good: weights stay finite, JSON stays JSON.
fn overwrite(path: &Path, seed: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let content = fs::read(path).unwrap();
    if path.extension().is_some_and(|e| e == "safetensors") {
        let header = 8 + u64::from_le_bytes(*content.first_chunk().unwrap());
        let data = content.len() as u64 - header;
        for part in 0..16 {
            // The low byte of a BF16 value, all over the file.
            let at = header + ((data * part / 16 + seed * 202) % data) / 2 * 2;
            file.write_all_at(&[content[at as usize] ^ 1], at).unwrap();
        }
    } else {
        let at = content.iter().position(|byte| (b'1'..=b'8').contains(byte)).unwrap();
        file.write_all_at(&[content[at] + 1], at as u64).unwrap();
    }
}
