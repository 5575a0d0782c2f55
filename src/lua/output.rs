//! Standard output and standard error shared with Lua, whose own output goes through the C library's buffers.
//!
//! Whatever Rust writes comes after what the script wrote before: the C buffers are flushed first.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use super::state::Verbosity;
use super::{colour, log_file};
use crate::report::table::wrap_lines;
use crate::shown;

/// Writes `text` to standard output, after everything that scripts wrote so far.
///
/// # Errors
/// What the operating system says; [`io::ErrorKind::BrokenPipe`] when nobody reads any more.
pub fn write_stdout(text: &str) -> io::Result<()> {
    bytes_to_stdout(text.as_bytes())
}

/// Writes `bytes` as [`write_stdout`] does.
///
/// # Errors
/// Those of [`write_stdout`].
pub fn bytes_to_stdout(bytes: &[u8]) -> io::Result<()> {
    flush_scripts()?;
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes `text` and a line break to standard error, after everything that scripts wrote so far. Whatever it was made of, it does
/// nothing to a terminal: see [`shown::lines`].
pub fn line_to_stderr(text: &str) {
    // Where standard error is closed nothing is left to tell anybody.
    let _ = flush_scripts();
    log_file::write(text);
    let shown = shown::lines(text);
    let shown = match columns(&io::stderr()) {
        Some(columns) => wrap_lines(&shown, columns).into(),
        None => shown,
    };
    let mut stderr = io::stderr().lock();
    let _ = match colour::is_wanted(&stderr) {
        true => writeln!(stderr, "{}", colour::message(&shown)),
        false => writeln!(stderr, "{shown}"),
    };
}

/// How many columns `stream` has; nothing where it is no terminal.
fn columns(stream: &(impl IsTerminal + AsFd)) -> Option<usize> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Says what helps to find a mistake: on standard error with `-v`, and in the log where one is kept.
pub fn debug(verbosity: Verbosity, text: impl FnOnce() -> String) {
    match verbosity {
        Verbosity::Verbose => line_to_stderr(&format!("debug: {}", text())),
        _ if log_file::is_kept() => log_file::write(&format!("debug: {}", text())),
        _ => {}
    }
}

/// Hands what scripts wrote to the operating system.
///
/// # Errors
/// As for [`write_stdout`].
pub fn flush_scripts() -> io::Result<()> {
    // SAFETY: a null stream means all output streams of the C library; the call takes their locks itself.
    let result = unsafe { libc::fflush(std::ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
