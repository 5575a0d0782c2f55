//! The log file (`--log FILE`): all that is said on standard error, what `-v` would say and results for people, each line with
//! the time. It is added to, so that several runs can share one.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};
use crate::input;
use crate::shown;

static LOG: OnceLock<Mutex<File>> = OnceLock::new();

/// Keeps a log in `path` from now on.
///
/// # Errors
/// [`Error::Usage`] when there is something at `path` that is no file; [`Error::Io`] when it cannot be written.
pub fn log_to(path: &Path) -> Result<()> {
    if let Ok(found) = path.metadata()
        && !found.is_file()
    {
        let what = input::special(found.file_type()).unwrap_or("no file");
        return Err(Error::usage(format!("the log `{}` is {what}", path.display()))
            .with_hint("name a file that is there, or one that can be made"));
    }
    let file = OpenOptions::new().create(true).append(true).open(path);
    let file = file.map_err(|error| Error::io("write", path, error))?;
    // A second one would be asked for by a second command line.
    let _ = LOG.set(Mutex::new(file));
    Ok(())
}

/// Whether a log is kept.
pub fn is_kept() -> bool {
    LOG.get().is_some()
}

/// Adds `text` to the log, where there is one, each line with the time in UTC.
pub fn write(text: &str) {
    let Some(log) = LOG.get() else { return };
    let time = time_of(SystemTime::now());
    let lines = shown::lines(text.trim_end_matches('\n')).replace('\n', &format!("\n{time}  "));
    let mut file = log.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // A full disk must not end the work that is logged.
    let _ = file.write_all(format!("{time} {lines}\n").as_bytes());
}

/// `time` as `2026-01-31T23:59:59Z`.
fn time_of(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date_of(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of the Gregorian calendar, so many `days` after the first of January 1970.
fn date_of(mut days: u64) -> (u64, u64, u64) {
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    (year, month as u64 + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Times as `date -u -d @N` prints them.
    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds| time_of(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(at(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
