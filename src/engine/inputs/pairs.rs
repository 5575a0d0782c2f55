//! Pictures with captions, listed in the table `vlm_calib_samples` of an SQLite database.

use std::path::{Component, Path};
use std::time::{Duration, Instant};

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use super::MOST_SAMPLES;
use super::captions::shortened;
use super::picture_file::Upright;
use super::processor::Processor;
use super::samples::{SampleKind, SampleSource, Samples};
use super::text_file::file_name;
use crate::engine::sample::Sample;
use crate::error::{Error, Result};
use crate::input::{self, InputKind, read_watched};
use crate::interrupt;

/// What the user asks of each picture.
const QUESTION: &str = "Describe the image.";
const QUERY: &str = "SELECT image_relpath, caption FROM vlm_calib_samples WHERE ?1 IS NULL OR split = ?1 ORDER BY id LIMIT ?2";
/// Steps of SQLite's machine between two questions whether somebody asked to stop.
const STEPS: i32 = 100_000;
/// Far longer than any honest table takes; a view may go on for ever.
const LONGEST: Duration = Duration::from_secs(20);
/// The most bytes of a path or a caption, and of what a view makes of others; other columns may hold more. No caption that a model is
/// scored on comes near it.
const MOST_BYTES: i32 = 256 << 10;
/// The most bytes of a pattern that a view compares with: the time of some grows with its square.
const MOST_PATTERN: i32 = 1000;
/// The bytes of a database that say whether it has a log of its own (WAL), and what they are where it has none.
const JOURNAL_MODES: (std::ops::Range<usize>, u8) = (18..20, 1);

/// Which pairs are read.
#[derive(Debug, Clone, Copy)]
pub struct PairsFile<'a> {
    /// The database.
    pub database: &'a Path,
    /// The folder that its paths begin in.
    pub images: &'a Path,
    /// The split (`train`, `calib`, …) that a row has to be of; nothing for all rows.
    pub split: Option<&'a str>,
}

/// The first `samples` pairs, at most [`MOST_SAMPLES`], by `id`: each a chat in which the user shows the picture and asks for its
/// description, and the answer is the caption.
///
/// # Errors
/// [`Error::Format`] for what is no database, or has no such table or rows; [`Error::Refused`] for a pair of more than `max_length`
/// tokens, which cut would lose the picture's, for a picture outside the folder, and for a database that somebody writes to; those of
/// [`Processor::picture`] and of a chat template that is not there or fails; [`Error::Limit`] for a database whose views never end or
/// make texts without measure.
pub fn pairs(processor: &Processor, file: PairsFile, max_length: usize, samples: usize) -> Result<Samples> {
    let settings = processor.picture_settings()?;
    let template = processor.chat_template()?;
    let (rows, hash) = rows(&file, samples.min(MOST_SAMPLES))?;
    let sample = |(path, caption): &(String, String)| {
        interrupt::check()?;
        let what = || format!("the pair of `{path}` and `{}`", shortened(caption));
        let mut parts = Path::new(path).components();
        if !parts.all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            let problem = format!("{} has a picture outside the folder of pictures", what());
            return Err(Error::refused(problem).with_hint("write paths below the folder into the database"));
        }
        let picture = processor.picture(&file.images.join(path), &settings, Upright::AsStored)?;
        let messages = json!([
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]},
            {"role": "assistant", "content": [{"type": "text", "text": caption}]},
        ]);
        let text = template.render(&messages, false)?;
        // What follows the end of the answer is no part of it, and would be scored.
        let sample = processor.sample(text.trim_end_matches('\n'), true, vec![picture], what)?;
        match sample.tokens.len() {
            length if length > max_length => {
                let problem = format!("{} takes {length} tokens, more than {max_length}", what());
                Err(Error::refused(problem).with_hint("give a larger --max-length"))
            }
            _ => Ok(sample),
        }
    };
    let samples: Vec<Sample> = rows.iter().map(sample).collect::<Result<_>>()?;
    let source = SampleSource {
        kind: SampleKind::Pairs,
        file: file_name(file.database),
        hash,
        split: file.split.map(String::from),
        count: samples.len(),
        max_length: Some(max_length),
    };
    Ok(Samples { source, samples, counted_from: 1 })
}

/// Path and caption of each row.
type PairRows = Vec<(String, String)>;

/// The first `most` rows, and the hash of the database. It is read into memory first: so what is hashed is what is asked, and SQLite
/// neither locks the file nor leaves another beside it.
fn rows(file: &PairsFile, most: usize) -> Result<(PairRows, String)> {
    let path = file.database;
    for ending in ["-wal", "-journal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(ending);
        match input::Watched::at(Path::new(&beside)) {
            Ok(watched) if watched.identity().length() > 0 => {
                let problem =
                    format!("somebody writes to `{}`: there is a `{ending}` beside it", path.display());
                return Err(Error::refused(problem)
                    .with_hint("close the program that writes, or let sqlite3 open it once"));
            }
            Err(error) if !input::is_missing(&error) => return Err(error),
            _ => {}
        }
    }
    let (mut bytes, watched) = read_watched(path, InputKind::Data)?;
    // With its log empty the database is the same without one, and one in memory can have none.
    let (modes, without_log) = JOURNAL_MODES;
    bytes.get_mut(modes).into_iter().for_each(|modes| modes.fill(without_log));
    let rows = query(&bytes, file.split, most).map_err(|error| failed(path, &error))?;
    if rows.is_empty() {
        let of = file.split.map_or(String::new(), |split| format!(" of the split `{split}`"));
        return Err(Error::format(path, format!("holds no pairs{of}"))
            .with_hint("its table vlm_calib_samples needs rows with split, image_relpath and caption"));
    }
    Ok((rows, watched.hash().unwrap_or_default()))
}

fn query(bytes: &[u8], split: Option<&str>, most: usize) -> rusqlite::Result<PairRows> {
    let mut connection = Connection::open_in_memory_with_flags(OpenFlags::default())?;
    connection.deserialize_read_exact("main", bytes, bytes.len(), true)?;
    // Views of a database from elsewhere may call nothing that has effects.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MOST_BYTES)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, MOST_PATTERN)?;
    // What is sorted goes into no file elsewhere.
    connection.pragma_update(None, "temp_store", "memory")?;
    let begun = Instant::now();
    connection.progress_handler(STEPS, Some(move || interrupt::requested() || begun.elapsed() > LONGEST))?;
    let mut statement = connection.prepare(QUERY)?;
    let rows = statement.query_map((split, most as i64), |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn failed(path: &Path, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    let problem = match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) if interrupt::requested() => return Error::Interrupted,
        Some(ErrorCode::OperationInterrupted) => {
            return Error::Limit {
                problem: format!(
                    "`{}` takes longer than {} s to give its pairs",
                    path.display(),
                    LONGEST.as_secs()
                ),
                hint: Some("give a plain table of them, no view".into()),
            };
        }
        Some(ErrorCode::TooBig) => {
            return Error::Limit {
                problem: format!(
                    "`{}` has a path or a caption of more than {MOST_BYTES} bytes",
                    path.display()
                ),
                hint: Some("cut it, or leave it out".into()),
            };
        }
        Some(ErrorCode::NotADatabase) => "is no SQLite database".into(),
        Some(ErrorCode::DatabaseCorrupt) => "is a damaged SQLite database".into(),
        _ => match error.to_string() {
            said if said.contains("no such table") => "has no table vlm_calib_samples".into(),
            said => format!("cannot be asked for its pairs: {said}"),
        },
    };
    Error::format(path, problem)
        .with_hint("a database of pairs has the table vlm_calib_samples (id, split, image_relpath, caption)")
}
