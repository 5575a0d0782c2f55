//! How an export shows its progress: a bar on a terminal, plain lines elsewhere, nothing when quiet.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use mlua::Lua;

use super::{Verbosity, log_file, output, verbosity};
use crate::report::bytes;
use crate::shown;
use crate::verify::VerifyListener;
use crate::write::{Progress, Silent};

/// The most columns of a name beside the bar: 80 columns then hold a bar of 16 and what it counts.
const NAME: usize = 24;
const BAR: &str = "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";

/// The listener that suits standard error and the verbosity of `lua`.
pub(super) fn listener(lua: &Lua) -> Box<dyn Progress> {
    match verbosity(lua) {
        Verbosity::Quiet if log_file::is_kept() => {
            Box::new(Lines { begun: Mutex::new(None), is_quiet: true })
        }
        Verbosity::Quiet => Box::new(Silent),
        _ if std::io::stderr().is_terminal() => Box::new(Bar(Mutex::new(None))),
        _ => Box::new(Lines { begun: Mutex::new(None), is_quiet: false }),
    }
}

/// A check of weights, which is called `what`: a bar on a terminal, which ends with the time taken; nothing elsewhere but in the log.
pub struct CheckProgress {
    what: String,
    progress: Box<dyn Progress>,
}

impl CheckProgress {
    /// What suits standard error and `verbosity`.
    pub fn new(what: String, verbosity: Verbosity) -> Self {
        let progress: Box<dyn Progress> = match std::io::stderr().is_terminal() {
            true if verbosity != Verbosity::Quiet => Box::new(Bar(Mutex::new(None))),
            _ => Box::new(Lines { begun: Mutex::new(None), is_quiet: true }),
        };
        CheckProgress { what, progress }
    }

    /// The check has come to its end, or was interrupted.
    pub fn end(&self, is_interrupted: bool) {
        match is_interrupted {
            true => self.progress.abandon(),
            false => self.progress.end(),
        }
    }
}

impl VerifyListener for CheckProgress {
    fn begin(&self, bytes: u64) {
        if bytes > 0 {
            self.progress.begin(&self.what, bytes);
        }
    }

    fn advance(&self, bytes: u64) {
        self.progress.advance(bytes);
    }
}

/// What is said of a scheme that is complete: its size and the time that it took.
fn finished(scheme: &str, size: u64, begun: Instant) -> String {
    match size {
        0 => format!("{scheme}: no weights were left to write"),
        size => format!("{scheme}: {} in {:.1} s", bytes(size), begun.elapsed().as_secs_f64()),
    }
}

/// `name` in at most [`NAME`] columns: its end, which tells the schemes of a sweep apart.
fn beside_bar(name: &str) -> String {
    let name = shown::line(name);
    let count = name.chars().count();
    match count > NAME {
        true => format!("…{}", name.chars().skip(count + 1 - NAME).collect::<String>()),
        false => name.into_owned(),
    }
}

/// A bar, and whose it is since when.
struct Bar(Mutex<Option<(ProgressBar, String, Instant)>>);

impl Progress for Bar {
    fn begin(&self, scheme: &str, bytes: u64) {
        let bar = ProgressBar::new(bytes).with_message(beside_bar(scheme));
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        *lock(&self.0) = Some((bar, scheme.into(), Instant::now()));
    }

    fn note(&self, sentence: &str) {
        match lock(&self.0).as_ref() {
            Some((bar, ..)) => bar.suspend(|| output::line_to_stderr(&shown::line(sentence))),
            None => output::line_to_stderr(&shown::line(sentence)),
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some((bar, ..)) = lock(&self.0).as_ref() {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some((bar, scheme, begun)) = lock(&self.0).take() {
            let size = bar.length().unwrap_or(0);
            bar.finish_and_clear();
            output::line_to_stderr(&finished(&scheme, size, begun));
        }
    }

    fn abandon(&self) {
        if let Some((bar, ..)) = lock(&self.0).take() {
            // Left there, it would stand before the error on one line.
            bar.finish_and_clear();
        }
    }
}

/// Lines, which go to the log alone where little is said.
struct Lines {
    begun: Mutex<Option<(String, u64, Instant)>>,
    is_quiet: bool,
}

impl Lines {
    fn say(&self, line: &str) {
        match self.is_quiet {
            true => log_file::write(line),
            false => output::line_to_stderr(line),
        }
    }
}

impl Progress for Lines {
    fn begin(&self, scheme: &str, bytes: u64) {
        *lock(&self.begun) = Some((shown::line(scheme).into_owned(), bytes, Instant::now()));
    }

    fn note(&self, sentence: &str) {
        self.say(&shown::line(sentence));
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {
        if let Some((scheme, size, begun)) = lock(&self.begun).take() {
            self.say(&finished(&scheme, size, begun));
        }
    }

    fn abandon(&self) {
        lock(&self.begun).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal of 80 columns that keeps what is written to it.
    #[derive(Debug, Default)]
    struct Terminal(std::sync::Arc<Mutex<String>>);

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            lock(&self.0).push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> std::io::Result<()> {
            lock(&self.0).clear();
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_left_of_the_bar_of_what_failed() {
        let written = std::sync::Arc::new(Mutex::new(String::new()));
        let target = ProgressDrawTarget::term_like(Box::new(Terminal(written.clone())));
        let drawn = ProgressBar::with_draw_target(Some(1000), target).with_message("top10");
        drawn.set_style(ProgressStyle::with_template(BAR).unwrap());
        drawn.tick();
        assert!(lock(&written).contains("top10"));
        let bar = Bar(Mutex::new(Some((drawn, "top10".into(), Instant::now()))));
        bar.abandon();
        assert_eq!(lock(&written).trim(), "");
    }

    #[test]
    fn a_bar_of_eighty_columns_can_be_read_whatever_the_name() {
        let written = std::sync::Arc::new(Mutex::new(String::new()));
        let target = ProgressDrawTarget::term_like(Box::new(Terminal(written.clone())));
        let name = beside_bar("fp8_autoquant_all_layers_top10_coco2017");
        assert_eq!(name, "…l_layers_top10_coco2017");
        let bar = ProgressBar::with_draw_target(Some(53_500_000_000), target).with_message(name.clone());
        bar.set_style(ProgressStyle::with_template(BAR).unwrap().progress_chars("=> "));
        bar.set_position(20_000_000_000);
        bar.tick();
        let line = lock(&written).trim_end().to_string();
        assert!(line.starts_with(&name) && line.chars().count() <= 80, "{line}");
        let inside = line.split(['[', ']']).nth(1).unwrap().chars().count();
        assert!(inside >= 12, "{inside} columns: {line}");
    }
}
