//! How an export shows its progress: a bar on a terminal, plain lines elsewhere, nothing when quiet.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use mlua::Lua;

use super::{Verbosity, output, verbosity};
use crate::report::bytes;
use crate::shown;
use crate::write::{Progress, Silent};

const BAR: &str = "{msg} [{wide_bar}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";

/// The listener that suits standard error and the verbosity of `lua`.
pub(super) fn listener(lua: &Lua) -> Box<dyn Progress> {
    match verbosity(lua) {
        Verbosity::Quiet => Box::new(Silent),
        _ if std::io::stderr().is_terminal() => Box::new(Bar(Mutex::new(None))),
        _ => Box::new(Lines(Mutex::new(None))),
    }
}

struct Bar(Mutex<Option<ProgressBar>>);

impl Progress for Bar {
    fn begin(&self, scheme: &str, bytes: u64) {
        let bar = ProgressBar::new(bytes).with_message(shown::line(scheme).into_owned());
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style.progress_chars("=> "));
        }
        *lock(&self.0) = Some(bar);
    }

    fn note(&self, sentence: &str) {
        match lock(&self.0).as_ref() {
            Some(bar) => bar.suspend(|| output::line_to_stderr(&shown::line(sentence))),
            None => output::line_to_stderr(&shown::line(sentence)),
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = lock(&self.0).as_ref() {
            bar.inc(bytes);
        }
    }

    fn end(&self) {
        if let Some(bar) = lock(&self.0).take() {
            bar.finish_and_clear();
        }
    }

    fn abandon(&self) {
        if let Some(bar) = lock(&self.0).take() {
            bar.abandon();
        }
    }
}

struct Lines(Mutex<Option<(String, u64, Instant)>>);

impl Progress for Lines {
    fn begin(&self, scheme: &str, bytes: u64) {
        *lock(&self.0) = Some((shown::line(scheme).into_owned(), bytes, Instant::now()));
    }

    fn note(&self, sentence: &str) {
        output::line_to_stderr(&shown::line(sentence));
    }

    fn advance(&self, _: u64) {}

    fn end(&self) {
        if let Some((scheme, size, begun)) = lock(&self.0).take() {
            output::line_to_stderr(&format!(
                "{scheme}: {} in {:.1} s",
                bytes(size),
                begun.elapsed().as_secs_f64()
            ));
        }
    }

    fn abandon(&self) {
        lock(&self.0).take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
