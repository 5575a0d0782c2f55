//! The files beside the weights against those of the base checkpoint.

use std::collections::HashMap;
use std::path::Path;

use super::{Code, Problem};
use crate::checkpoint::{CARD, Companions, HF_QUANT_CONFIG, INDEX_FILE, RECORDS, has_own_card};
use crate::dialect::CONFIG;
use crate::error::Result;
use crate::model::Model;
use crate::record::{FileInDirectory, FileKind, hash_file};

/// That each file which comes along from `base` is there as it is there, and nothing else but what a scheme has of its own.
///
/// # Errors
/// [`crate::Error::Io`], [`crate::Error::Interrupted`].
pub(super) fn check(directory: &Path, files: &[FileInDirectory], base: &Model) -> Result<Vec<Problem>> {
    let companions = Companions::beside(base)?;
    let there: HashMap<&Path, &FileInDirectory> =
        files.iter().map(|found| (found.path.as_path(), found)).collect();
    let mut problems = Vec::new();
    let has_card = has_own_card(directory)?;
    for path in companions.files().iter().filter(|path| !has_card || *path != Path::new(CARD)) {
        let source = companions.path(path);
        let name = path.display();
        match there.get(path.as_path()).map(|found| found.kind) {
            Some(FileKind::Regular(bytes)) => {
                let is_same = source.metadata().is_ok_and(|m| m.len() == bytes)
                    && hash_file(&source)?.1 == hash_file(&directory.join(path))?.1;
                if !is_same {
                    let message = format!("`{name}` is not the file of that name of the base checkpoint");
                    problems.push(Problem::new(Code::Base, name.to_string(), message));
                }
            }
            _ => {
                let message = format!("`{name}` of the base checkpoint is missing");
                problems.push(Problem::new(Code::MissingFile, name.to_string(), message));
            }
        }
    }
    let records = format!("{RECORDS}/");
    let is_own = |found: &&FileInDirectory| {
        has_card && found.name == CARD
            || [CONFIG, HF_QUANT_CONFIG, INDEX_FILE].contains(&found.name.as_str())
            || found.name.starts_with(&records)
            || found.name.ends_with(".safetensors") && !found.name.contains('/')
            || companions.files().contains(&found.path)
    };
    for found in files.iter().filter(|found| !is_own(found) && found.kind != FileKind::Special) {
        let message = format!("`{}` is not in the base checkpoint", found.name);
        problems.push(Problem::new(Code::StrangeFile, &found.name, message));
    }
    Ok(problems)
}
