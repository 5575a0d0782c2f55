//! A place to work in: a copy of the demo to damage, and everything that must not change while an export fails.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use qlua::error::{Error, Result};
use qlua::job::{Family, FamilyOptions, Written};
use qlua::write::{Progress, Silent};

use super::directory::Directory;
use super::options;

/// A directory with `model/`, `manifest.json`, and room for `out/`.
pub struct Place {
    pub base: tempfile::TempDir,
    pub model: Directory,
    pub manifest: PathBuf,
    pub out: PathBuf,
}

impl Place {
    /// With the demo in it.
    pub fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        // Resolved, so that paths in messages can be compared.
        let path = base.path().canonicalize().unwrap();
        qlua::demo::build(&path).unwrap();
        for extra in ["demo.json", "second-manifest.json", "inputs.safetensors"] {
            fs::remove_file(path.join(extra)).unwrap();
        }
        Place {
            model: Directory(path.join("model")),
            manifest: path.join("manifest.json"),
            out: path.join("out"),
            base,
        }
    }

    pub fn path(&self) -> &Path {
        self.model.0.parent().unwrap()
    }

    pub fn options(&self) -> FamilyOptions {
        options(&self.model.0, &self.manifest, &self.out)
    }

    /// Everything in the place, as it must stay: names, kinds, permissions, times and content.
    pub fn snapshot(&self) -> Vec<String> {
        snapshot(self.path())
    }

    /// The error of an export with `options` that must fail and change nothing, neither the sources nor what lies beside
    /// them. It is one sentence.
    pub fn refused_with(&self, options: FamilyOptions) -> Error {
        let before = self.snapshot();
        let error = export(options, &[50.0], &Silent).expect_err("the export is refused");
        assert_eq!(self.snapshot(), before, "nothing is left behind or touched after: {error}");
        require_sentence(&error);
        error
    }

    /// The same with default options.
    pub fn refused(&self) -> Error {
        self.refused_with(self.options())
    }
}

/// Writes the least sensitive `percents` of the manifest.
pub fn export(options: FamilyOptions, percents: &[f64], progress: &dyn Progress) -> Result<Vec<Written>> {
    let mut family = Family::open(options)?;
    let ranking = family.manifest().ranking(&Default::default())?;
    for percent in percents {
        family.add(&format!("top{percent}"), ranking.lowest(*percent)?)?;
    }
    Ok(family.run(progress)?.schemes)
}

/// One line for everything below `base`. Times of directories are left out, but for those of `model`: their content is
/// compared anyway, and what comes and goes beside the model may touch them.
pub fn snapshot(base: &Path) -> Vec<String> {
    fn walk(base: &Path, directory: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let name = path.strip_prefix(base).unwrap();
            let time = match metadata.is_dir() && !name.starts_with("model") {
                true => (0, 0),
                false => (metadata.mtime(), metadata.mtime_nsec()),
            };
            let content = match () {
                () if metadata.is_dir() => "directory".to_string(),
                () if metadata.is_symlink() => fs::read_link(&path).unwrap().display().to_string(),
                () => blake3::hash(&fs::read(&path).unwrap()).to_string(),
            };
            lines.push(format!("{} {:o} {time:?} {content}", name.display(), metadata.mode()));
            if metadata.is_dir() {
                walk(base, &path, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(base, base, &mut lines);
    lines.sort();
    lines
}

/// Sentences that were looked at so far.
static SENTENCES: AtomicU32 = AtomicU32::new(0);

/// A message is one sentence on one line, without a full stop, and a hint is too.
pub fn require_sentence(error: &Error) {
    for text in [Some(error.to_string()), error.hint()].into_iter().flatten() {
        assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{text:?}");
        assert!(!text.contains(". "), "more than one sentence: {text:?}");
    }
    println!("hostile inputs: {} refused with one sentence", SENTENCES.fetch_add(1, Ordering::Relaxed) + 1);
}

/// Fails unless the message holds every one of `parts`, and a hint is there when `hint` is not empty.
pub fn require_message(error: &Error, parts: &[&str], hint: &str) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    let given = error.hint().unwrap_or_default();
    assert!(given.contains(hint), "`{hint}` is not in the hint: {given:?}");
    assert_eq!(given.is_empty(), hint.is_empty(), "{message}: {given:?}");
}

/// The permissions of every file and directory below `base`, with their names.
pub fn modes(base: &Path) -> Vec<(String, u32)> {
    let lines = snapshot(base);
    let mode = |line: &String| {
        let mut words = line.split(' ');
        let name = words.next().unwrap().to_string();
        (name, u32::from_str_radix(words.next().unwrap(), 8).unwrap() & 0o7777)
    };
    lines.iter().map(mode).collect()
}
