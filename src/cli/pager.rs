//! Long texts on a terminal: through the user's pager.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::{Command, Stdio};

use super::console::print;
use super::signals;
use crate::huge_pages;
use crate::shown;

/// The pager where `PAGER` names none.
const USUAL: &str = "command -v less >/dev/null || exit 127; exec less";

/// Prints `text`; where it is longer than the terminal, through `$PAGER`. Exit code 0.
///
/// # Errors
/// Those of [`print`].
pub(super) fn page(text: &str) -> anyhow::Result<u8> {
    let rows = match io::stdout().is_terminal() {
        true => rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_row)),
        false => 0,
    };
    // The shell's next prompt takes a row, too.
    if rows == 0 || text.lines().count() < rows {
        return print(text);
    }
    let pager = std::env::var("PAGER").unwrap_or_else(|_| USUAL.into());
    match pager.trim() {
        "" | "cat" => print(text),
        pager if run(pager, text).unwrap_or(false) => Ok(0),
        // There is no such pager.
        _ => print(text),
    }
}

/// Runs `pager` on `text`; false where the shell does not find it.
fn run(pager: &str, text: &str) -> io::Result<bool> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // As other programs have it: it ends at once where all fits, and leaves the text on the screen.
        command.env("LESS", "FRX");
    }
    huge_pages::lend(true);
    let started = command.spawn();
    huge_pages::lend(false);
    let mut child = started?;
    // The pager decides what Ctrl-C does, as it does in a shell.
    let _lent = signals::lend_terminal();
    if let Some(mut input) = child.stdin.take() {
        // Who leaves the pager early has read enough.
        let _ = input.write_all(shown::lines(text).as_bytes());
    }
    let status = child.wait()?;
    Ok(!matches!(status.code(), Some(126 | 127)))
}
