//! How a line is read: edited on a terminal, with what may follow and what was entered before; as it comes from elsewhere.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Helper};

use super::history;
use crate::error::Error;
use crate::lua::{Completions, Session, Suggestion, output};

const PROMPT: &str = "> ";

/// What was read.
pub(super) enum Entered {
    /// A whole statement or expression.
    Text(String),
    /// Ctrl-C: nothing, and what was typed is dropped.
    Dropped,
    /// Ctrl-D on an empty line, or the end of the input.
    End,
}

/// Reads lines for a session.
pub(super) struct Editor<'a> {
    lines: rustyline::Editor<LineHelper<'a>, FileHistory>,
    session: &'a Session<'a>,
    history: Option<PathBuf>,
}

impl<'a> Editor<'a> {
    /// An editor with the lines of earlier sessions, where it reads from a terminal. That they are out of reach is worth a warning.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn new(session: &'a Session<'a>) -> anyhow::Result<Self> {
        let config = Config::builder()
            .max_history_size(history::MOST_LINES)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut lines = rustyline::Editor::with_config(config)?;
        lines.set_helper(Some(LineHelper { session, files: FilenameCompleter::new() }));
        let mut editor = Editor { lines, session, history: None };
        if io::stdin().is_terminal() {
            match history::file() {
                Ok(file) => {
                    editor.history = Some(file);
                    editor.load();
                }
                Err(error) => output::line_to_stderr(&format!("warning: lines are not kept: {error}")),
            }
        }
        Ok(editor)
    }

    /// Reads until a statement or an expression is whole.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub fn read(&mut self) -> anyhow::Result<Entered> {
        if !io::stdin().is_terminal() {
            return self.read_piped();
        }
        let text = match self.lines.readline(PROMPT) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => return Ok(Entered::Dropped),
            Err(ReadlineError::Eof) => return Ok(Entered::End),
            // A terminal that went away.
            Err(ReadlineError::Io(error)) if error.raw_os_error() == Some(libc::EIO) => {
                return Ok(Entered::End);
            }
            Err(ReadlineError::Io(source)) => return Err(Error::io("read", "standard input", source).into()),
            Err(error) => return Err(error.into()),
        };
        if self.history.is_some() {
            self.keep(&text);
        }
        Ok(Entered::Text(text))
    }

    /// Reads what comes through a pipe until it is whole, or at an end: what lacks something there is a mistake, which running it
    /// says.
    fn read_piped(&self) -> anyhow::Result<Entered> {
        let mut text = String::new();
        loop {
            let length = io::stdin()
                .read_line(&mut text)
                .map_err(|source| Error::io("read", "standard input", source))?;
            if length == 0 && text.trim().is_empty() {
                return Ok(Entered::End);
            }
            if length == 0 || self.session.is_complete(&text) {
                return Ok(Entered::Text(text.trim_end_matches(['\r', '\n']).into()));
            }
        }
    }

    fn load(&mut self) {
        let Some(file) = &self.history else { return };
        if file.exists()
            && let Err(error) = self.lines.load_history(file)
        {
            let file = file.display();
            output::line_to_stderr(&format!("warning: earlier lines in {file} cannot be read: {error}"));
        }
    }

    /// Keeps `text` at once, since a session may end at any moment.
    fn keep(&mut self, text: &str) {
        let Some(file) = &self.history else { return };
        let kept = self.lines.add_history_entry(text).and_then(|_| self.lines.append_history(file));
        if let Err(error) = kept {
            output::line_to_stderr(&format!("warning: lines are not kept in {}: {error}", file.display()));
            self.history = None;
        }
    }
}

/// What an editor asks while a line is typed.
struct LineHelper<'a> {
    session: &'a Session<'a>,
    files: FilenameCompleter,
}

impl Helper for LineHelper<'_> {}

impl Highlighter for LineHelper<'_> {}

impl Hinter for LineHelper<'_> {
    type Hint = String;
}

impl Validator for LineHelper<'_> {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match self.session.is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}

impl Completer for LineHelper<'_> {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context) -> rustyline::Result<(usize, Vec<Pair>)> {
        match self.session.completions(&line[..at]) {
            Completions::Words(start, words) => {
                let pair = |word: Suggestion| Pair { display: word.shown, replacement: word.text };
                Ok((start, words.into_iter().map(pair).collect()))
            }
            Completions::Path(start) => {
                // Only what is in the string is a path.
                let (from, files) = self.files.complete_path(&line[start..at], at - start)?;
                Ok((start + from, files))
            }
        }
    }
}
