//! Opening and reading regular files.

use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use super::kind::InputKind;
use crate::error::{Error, Result};
use crate::units;

/// Opens the regular file at `path`, links followed, for reading.
///
/// # Errors
/// [`Error::Format`] when it is a directory, a pipe, a socket or a device; [`Error::Io`] when it cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    let failed = |e| Error::io("read", path, e);
    // Opening a device can have effects of its own, so it is asked for first what it is.
    require_regular(path, fs::metadata(path).map_err(failed)?.file_type())?;
    // Whatever takes its place in between is opened without waiting for it, and asked again.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    require_regular(path, file.metadata().map_err(failed)?.file_type())?;
    Ok(file)
}

/// The content of the regular file at `path`.
///
/// # Errors
/// Those of [`open`]; [`Error::Format`] when it has more bytes than a file of this `kind` may have.
pub fn read(path: &Path, kind: InputKind) -> Result<Vec<u8>> {
    read_to(path, kind.most_bytes(), kind.name())
}

fn read_to(path: &Path, most: u64, name: &str) -> Result<Vec<u8>> {
    read_file(path, &open(path)?, most, name)
}

/// The content of `path`, which is open as `file`.
pub(super) fn read_file(path: &Path, file: &File, most: u64, name: &str) -> Result<Vec<u8>> {
    let failed = |e| Error::io("read", path, e);
    let length = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    // What procfs and its like hold has no length before it is read.
    if length <= most {
        bytes.try_reserve_exact(length as usize).map_err(|e| failed(io::Error::other(e)))?;
        file.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if length > most || bytes.len() as u64 > most {
        let problem = format!("is larger than {}, the most that {name} may have", units::bytes(most));
        return Err(Error::format(path, problem).with_hint("give the file that was meant"));
    }
    Ok(bytes)
}

/// Whether an error says that there is no such file.
pub fn is_missing(error: &Error) -> bool {
    let missing = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
    matches!(error, Error::Io { source, .. } if missing.contains(&source.kind()))
}

/// Fails unless `kind`, that of what stands at `path`, is a regular file.
///
/// # Errors
/// [`Error::Format`] saying what it is.
pub fn require_regular(path: &Path, kind: FileType) -> Result<()> {
    match special(kind) {
        None => Ok(()),
        Some(what) => Err(Error::format(path, format!("is {what}, not a regular file"))
            .with_hint("give a regular file, or put one in its place")),
    }
}

/// What is no regular file, in words; nothing for a regular file.
pub fn special(kind: FileType) -> Option<&'static str> {
    match kind {
        _ if kind.is_file() => None,
        _ if kind.is_dir() => Some("a directory"),
        _ if kind.is_fifo() => Some("a pipe"),
        _ if kind.is_socket() => Some("a socket"),
        _ if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        _ => Some("something else"),
    }
}

/// What stands at `path` where a directory is wanted, as the rest of a sentence that begins with its name; nothing for a directory,
/// links followed.
pub fn no_directory(path: &Path) -> Option<String> {
    let error = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return None,
        Ok(metadata) => {
            let what = special(metadata.file_type()).unwrap_or("a file");
            return Some(format!("is {what}, not a directory"));
        }
        Err(error) => error,
    };
    Some(match error.kind() {
        io::ErrorKind::NotFound if path.symlink_metadata().is_ok() => "is a link to nothing".into(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => "does not exist".into(),
        _ if error.raw_os_error() == Some(libc::ELOOP) => "is a link in a circle".into(),
        _ => format!("cannot be looked at: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_nothing_waits() {
        let place = tempfile::tempdir().unwrap();
        let [pipe, socket, file, link] = ["pipe", "socket", "file", "link"].map(|n| place.path().join(n));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        fs::write(&file, "text").unwrap();
        let cases = [
            (pipe.as_path(), "is a pipe"),
            (&link, "is a pipe"),
            (&socket, "is a socket"),
            (place.path(), "is a directory"),
            (Path::new("/dev/zero"), "is a device"),
        ];
        for (path, what) in cases {
            let error = read(path, InputKind::Manifest).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        assert_eq!(read(&file, InputKind::Manifest).unwrap(), b"text");
        assert!(is_missing(&read(&place.path().join("none"), InputKind::Manifest).unwrap_err()));
    }

    #[test]
    fn what_is_no_directory_is_called_what_it_is() {
        let place = tempfile::tempdir().unwrap();
        let [pipe, socket, file, circle, dangling, none] =
            ["pipe", "socket", "file", "circle", "dangling", "none"].map(|n| place.path().join(n));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        std::os::unix::fs::symlink(&none, &dangling).unwrap();
        fs::write(&file, "text").unwrap();
        let cases = [
            (pipe.as_path(), "is a pipe, not a directory"),
            (&socket, "is a socket, not a directory"),
            (Path::new("/dev/null"), "is a device, not a directory"),
            (&file, "is a file, not a directory"),
            (&circle, "is a link in a circle"),
            (&dangling, "is a link to nothing"),
            (&none, "does not exist"),
            (&file.join("below"), "does not exist"),
        ];
        for (path, what) in cases {
            assert_eq!(no_directory(path).as_deref(), Some(what));
        }
        assert_eq!(no_directory(place.path()), None);
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_to(&path, 5, "a thing").unwrap(), b"12345");
        let error = read_to(&path, 4, "a thing").unwrap_err().to_string();
        assert!(error.ends_with("is larger than 4 B, the most that a thing may have"), "{error}");
        // Sparse: it would take a terabyte of memory, and takes none of the disk.
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(read(&path, InputKind::Data).is_err());
    }
}
