//! The one error type of the library.
//!
//! A message is one sentence that names the file, tensor, layer or option. Where a next step exists, [`Error::hint`]
//! says it; [`Error::kind`] is the stable word that Lua scripts and the exit code are chosen by.

use std::io;
use std::path::{Path, PathBuf};

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in the core, each variant one kind of cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused to read, write, map or rename something.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `map`, `create`, …
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The operating system's own error.
        source: io::Error,
    },
    /// The operating system refused to take what goes to the standard output.
    #[error("cannot write to the standard output: {source}")]
    Output {
        /// The operating system's own error.
        source: io::Error,
    },
    /// The content of a file breaks its format.
    #[error("`{}` {problem}", path.display())]
    Format {
        /// The file at fault.
        path: PathBuf,
        /// The rest of the sentence that begins with the file's name.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A file became another while it was in use, so that what was made from it is worth nothing.
    #[error("`{}` {how} while it was in use", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What happened to it, such as `was cut short`.
        how: String,
    },
    /// An option, argument or combination of options makes no sense.
    #[error("{problem}")]
    Argument {
        /// The whole sentence.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// What was asked for on the command line, or a word that was given, is none of those that there are.
    #[error("{problem}")]
    Usage {
        /// The whole sentence.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Something that was named does not exist (a file, tensor, layer, group or script).
    #[error("{problem}")]
    NotFound {
        /// The whole sentence.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Something is in the way (an output directory, a partial directory of other inputs).
    #[error("`{}` {problem}", path.display())]
    Exists {
        /// What is in the way.
        path: PathBuf,
        /// The rest of the sentence.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A tensor's values or dtype cannot be used (NaN, infinity, already FP8).
    #[error("tensor `{tensor}` {problem}")]
    Tensor {
        /// The tensor's on-disk name.
        tensor: String,
        /// The rest of the sentence.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// What was asked for would be read wrongly by a loader, so it is refused.
    #[error("{problem}")]
    Refused {
        /// The whole sentence.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A checkpoint that was just written did not pass its own checks.
    #[error("`{}` did not pass its checks: {problems}", path.display())]
    Verification {
        /// The directory that was checked.
        path: PathBuf,
        /// The first problems, separated by semicolons.
        problems: String,
    },
    /// A GPU is missing, too old, or out of memory.
    #[error("{problem}")]
    Device {
        /// The whole sentence.
        problem: String,
        /// Bytes that could not be allocated, when memory ran out.
        bytes: Option<usize>,
        /// What to do about it.
        hint: Option<String>,
    },
    /// A script used up what it may use: memory, time or instructions.
    #[error("{problem}")]
    Limit {
        /// The whole sentence.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The user asked to stop (Ctrl-C, or a termination signal).
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Error::Io { action, path: path.as_ref().to_path_buf(), source: without_place(source) }
    }

    /// An [`Error::Format`] for `path`; `problem` continues the sentence after the file's name.
    pub fn format(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Error::Format { path: path.as_ref().to_path_buf(), problem: problem.into(), hint: None }
    }

    /// An [`Error::Changed`] for `path`; `how` continues the sentence after the file's name: `was cut short`.
    pub fn changed(path: impl AsRef<Path>, how: impl Into<String>) -> Self {
        Error::Changed { path: path.as_ref().to_path_buf(), how: how.into() }
    }

    /// An [`Error::Argument`] with `problem` as the whole sentence.
    pub fn argument(problem: impl Into<String>) -> Self {
        Error::Argument { problem: problem.into(), hint: None }
    }

    /// An [`Error::Usage`] with `problem` as the whole sentence.
    pub fn usage(problem: impl Into<String>) -> Self {
        Error::Usage { problem: problem.into(), hint: None }
    }

    /// An [`Error::NotFound`] with `problem` as the whole sentence.
    pub fn not_found(problem: impl Into<String>) -> Self {
        Error::NotFound { problem: problem.into(), hint: None }
    }

    /// An [`Error::Exists`] for `path`; `problem` continues the sentence after the path.
    pub fn exists(path: impl AsRef<Path>, problem: impl Into<String>) -> Self {
        Error::Exists { path: path.as_ref().to_path_buf(), problem: problem.into(), hint: None }
    }

    /// An [`Error::Tensor`] for `tensor`; `problem` continues the sentence after its name.
    pub fn tensor(tensor: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Tensor { tensor: tensor.into(), problem: problem.into(), hint: None }
    }

    /// An [`Error::Refused`] with `problem` as the whole sentence.
    pub fn refused(problem: impl Into<String>) -> Self {
        Error::Refused { problem: problem.into(), hint: None }
    }

    /// An [`Error::Device`] with `problem` as the whole sentence.
    pub fn device(problem: impl Into<String>) -> Self {
        Error::Device { problem: problem.into(), bytes: None, hint: None }
    }

    /// The same error with a next step; variants that carry no hint are returned unchanged.
    pub fn with_hint(mut self, text: impl Into<String>) -> Self {
        match &mut self {
            Error::Format { hint, .. }
            | Error::Argument { hint, .. }
            | Error::Usage { hint, .. }
            | Error::NotFound { hint, .. }
            | Error::Exists { hint, .. }
            | Error::Tensor { hint, .. }
            | Error::Refused { hint, .. }
            | Error::Device { hint, .. }
            | Error::Limit { hint, .. } => *hint = Some(text.into()),
            Error::Io { .. }
            | Error::Output { .. }
            | Error::Changed { .. }
            | Error::Verification { .. }
            | Error::Interrupted => {}
        }
        self
    }

    /// The next step, where one exists.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Format { hint, .. }
            | Error::Argument { hint, .. }
            | Error::Usage { hint, .. }
            | Error::NotFound { hint, .. }
            | Error::Exists { hint, .. }
            | Error::Tensor { hint, .. }
            | Error::Refused { hint, .. }
            | Error::Device { hint, .. }
            | Error::Limit { hint, .. } => hint.clone(),
            Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or choose another --out; nothing was left behind".into())
            }
            Error::Output { source } if source.kind() == io::ErrorKind::StorageFull => Some(
                "free some space where it goes, or send it elsewhere: what is there is not complete".into(),
            ),
            Error::Changed { .. } => Some("run again when nothing writes to it".into()),
            Error::Io { .. } | Error::Output { .. } | Error::Verification { .. } | Error::Interrupted => None,
        }
    }

    /// The stable word for the kind of error, as Lua scripts see it in `err.kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Io { .. } | Error::Output { .. } => "io",
            Error::Format { .. } => "format",
            Error::Changed { .. } => "changed",
            Error::Argument { .. } => "argument",
            Error::Usage { .. } => "usage",
            Error::NotFound { .. } => "not_found",
            Error::Exists { .. } => "exists",
            Error::Tensor { .. } => "tensor",
            Error::Refused { .. } => "refused",
            Error::Verification { .. } => "verification",
            Error::Device { .. } => "device",
            Error::Limit { .. } => "limit",
            Error::Interrupted => "interrupted",
        }
    }
}

/// `source` without the name of a temporary file, which `tempfile` adds: the error names what was to be written.
fn without_place(source: io::Error) -> io::Error {
    match source.to_string().split_once(" at path \"") {
        Some((problem, _)) if source.raw_os_error().is_none() => {
            io::Error::new(source.kind(), problem.to_string())
        }
        _ => source,
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn a_temporary_file_is_not_named() {
        let source = tempfile::NamedTempFile::new_in("/nothing/here").unwrap_err();
        assert!(source.to_string().contains("/nothing/here"));
        let problem = std::io::Error::from_raw_os_error(2).to_string();
        let error = Error::io("write", "out/a.json", source);
        assert_eq!(error.to_string(), format!("cannot write `out/a.json`: {problem}"));
        assert!(matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound));
    }
}
