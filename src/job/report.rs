//! The files of a report, beside the schemes.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::beside::{REPORT_HTML, REPORT_MARKDOWN};
use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::report::directory::DirectoryReport;

/// What both files hold when qlua wrote them: only such files are replaced.
const OURS: [(&str, &str); 2] =
    [(REPORT_HTML, "<meta name=\"generator\" content=\"qlua "), (REPORT_MARKDOWN, "# Sweep report: ")];

/// Writes `report` as [`REPORT_HTML`] and [`REPORT_MARKDOWN`] into `out` and returns both paths.
///
/// # Errors
/// [`Error::Exists`] when a file of that name was not written by qlua, [`Error::Io`].
pub fn write_report(out: &Path, report: &DirectoryReport) -> Result<[PathBuf; 2]> {
    require_ours(out)?;
    let files = [(REPORT_HTML, report.to_html()), (REPORT_MARKDOWN, report.to_markdown())];
    fs::create_dir_all(out).map_err(|e| Error::io("create", out, e))?;
    for (name, text) in &files {
        replace(&out.join(name), text)?;
    }
    Ok(files.map(|(name, _)| out.join(name)))
}

/// Refuses to replace reports in `out` that qlua did not write.
///
/// # Errors
/// [`Error::Exists`], [`Error::Io`].
pub(super) fn require_ours(out: &Path) -> Result<()> {
    for (name, mark) in OURS {
        let path = out.join(name);
        if path.symlink_metadata().is_err() {
            continue;
        }
        let text = input::read(&path, InputKind::Record)?;
        if !text.windows(mark.len()).any(|window| window == mark.as_bytes()) {
            return Err(Error::exists(&path, "is not a report that qlua wrote, so it is not replaced")
                .with_hint("move it away, or choose another --out"));
        }
    }
    Ok(())
}

/// Writes `text` beside `path` first, so that a reader never sees half of it.
fn replace(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let failed = |e| Error::io("write", &partial, e);
    // Never through a link, never waiting for a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    let file =
        options.write(true).create(true).truncate(true).custom_flags(flags.bits() as i32).open(&partial);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    fs::rename(&partial, path).map_err(|e| Error::io("rename", &partial, e))
}
