//! What the value of an option may be, and how its text is read.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use clap::builder::{PossibleValue, TypedValueParser};

use crate::checkpoint::hub;
use crate::device::DeviceChoice;
use crate::error::Error;
use crate::manifest::{Percent, require_saved_state};
use crate::selector::Globs;
use crate::shown;
use crate::threads;
use crate::words::nearest;

/// The most bytes of a part of a name: file systems take 255 for the whole.
const LONGEST_NAME_PART: usize = 100;
/// More coverage points than this in one range are a typing error.
const MOST_POINTS: usize = 10_000;

/// What the value of an option must be.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueKind {
    /// Any text.
    Text,
    /// A path; not empty.
    Path,
    /// A path at which there is a file.
    File,
    /// A path at which there is a directory.
    Directory,
    /// The directory of a checkpoint, or the name of a model of the Hugging Face Hub that lies in the cache.
    Checkpoint,
    /// The path of a saved AutoQuant state.
    SavedState,
    /// Text that can stand in the name of a file or directory.
    NamePart,
    /// A glob that parses.
    Glob,
    /// A whole number.
    Integer,
    /// How many threads.
    Threads,
    /// A finite number.
    Number,
    /// A share in percent, from 0 to 100.
    Percent,
    /// A coverage point: a percentage above 0 and up to 100.
    CoveragePoint,
    /// A size in bytes: `6GiB`, `5.5GB`, `800MB`, `1024`.
    Size,
    /// Where to compute: `auto`, `cpu`, `cuda`, `cuda:N`.
    Device,
    /// One of these words.
    Choice(Vec<String>),
    /// A whole number, number or size that is not below this.
    AtLeast(Box<ValueKind>, f64),
    /// Values separated by commas; percentages also as ranges, `10..100:10`.
    List(Box<ValueKind>),
}

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub enum OptionValue {
    /// Text, a path, a glob or a word.
    Text(String),
    /// A whole number, or a size in bytes.
    Integer(i64),
    /// A number or a percentage.
    Number(f64),
    /// The values of a list.
    List(Vec<OptionValue>),
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ValueKind::Text => f.write_str("a text"),
            ValueKind::Path => f.write_str("a path"),
            ValueKind::File => f.write_str("a file that is there"),
            ValueKind::Directory | ValueKind::Checkpoint => f.write_str("a directory that is there"),
            ValueKind::SavedState => f.write_str("a saved AutoQuant state"),
            ValueKind::NamePart => f.write_str("a part of a directory's name, without `/`"),
            ValueKind::Glob => f.write_str("a glob"),
            ValueKind::Integer => f.write_str("a whole number"),
            ValueKind::Number => f.write_str("a number"),
            ValueKind::Percent => f.write_str("a percentage from 0 to 100"),
            ValueKind::CoveragePoint => f.write_str("a percentage above 0 and up to 100"),
            ValueKind::Size => f.write_str("a size such as 6GiB, 5.5GB or 800MB"),
            ValueKind::Threads => f.write_str(&threads::demanded()),
            ValueKind::Device => write!(f, "one of {}", DeviceChoice::WORDS.join(", ")),
            ValueKind::Choice(words) => write!(f, "one of {}", words.join(", ")),
            ValueKind::AtLeast(kind, least) => write!(f, "{kind}, at least {}", kind.shown(*least)),
            ValueKind::List(item) if item.is_percentage() => {
                f.write_str("percentages such as 10,20,12.5 or 10..100:10")
            }
            ValueKind::List(item) => write!(f, "a list, separated by commas, each {item}"),
        }
    }
}

impl ValueKind {
    /// Reads a value.
    ///
    /// # Errors
    /// [`Error::Usage`] with the rest of a sentence that begins with the option: "must be …, not `x`".
    pub fn parse(&self, text: &str) -> Result<OptionValue, Error> {
        let bad = || Error::usage(format!("must be {self}, not `{text}`"));
        match self {
            ValueKind::Text => Ok(OptionValue::Text(text.into())),
            kind if kind.is_path() && text.is_empty() => Err(Error::usage("is an empty path")),
            ValueKind::Path => Ok(OptionValue::Text(text.into())),
            ValueKind::File | ValueKind::Directory => self.existing(text),
            ValueKind::Checkpoint => match hub::find(Path::new(text)) {
                Ok(Some(_)) => Ok(OptionValue::Text(text.into())),
                Ok(None) => self.existing(text),
                Err(error) => Err(unusable(&error)),
            },
            ValueKind::SavedState => {
                let path = ValueKind::File.existing(text)?;
                require_saved_state(Path::new(text)).map(|()| path).map_err(|e| unusable(&e))
            }
            ValueKind::NamePart if text.contains('/') => {
                Err(bad().with_hint("leave out the `/`; --out says where directories go"))
            }
            ValueKind::NamePart if !is_name_part(text) => {
                Err(Error::usage(format!("must be {self}, not `{}`", shown::line(text))).with_hint(
                    "use letters, digits, `-`, `_` and single dots between them, at most 100 in all",
                ))
            }
            ValueKind::NamePart => Ok(OptionValue::Text(text.into())),
            ValueKind::Glob => {
                Globs::new([text]).map(|_| OptionValue::Text(text.into())).map_err(|e| unusable(&e))
            }
            ValueKind::Integer => text.parse().map(OptionValue::Integer).map_err(|_| bad()),
            ValueKind::Threads => {
                let threads = text.parse().ok().filter(|given| threads::counted(*given).is_some());
                threads.map(OptionValue::Integer).ok_or_else(|| bad().with_hint("leave it out for all cores"))
            }
            ValueKind::Number => finite(text).map(OptionValue::Number).ok_or_else(bad),
            ValueKind::Percent | ValueKind::CoveragePoint => {
                self.percentage(text).map(|p| OptionValue::Number(p.as_f64()))
            }
            ValueKind::Size => size(text).map(OptionValue::Integer).ok_or_else(bad),
            ValueKind::Device => {
                text.parse::<DeviceChoice>().map(|_| OptionValue::Text(text.into())).map_err(|e| unusable(&e))
            }
            ValueKind::Choice(words) if words.iter().any(|w| w == text) => Ok(OptionValue::Text(text.into())),
            ValueKind::Choice(words) => Err(match nearest(text, words.iter().map(String::as_str)) {
                Some(near) => bad().with_hint(format!("did you mean `{near}`?")),
                None => bad(),
            }),
            ValueKind::AtLeast(kind, least) => match kind.parse(text)? {
                OptionValue::Integer(n) if (n as f64) < *least => Err(self.too_small(*least, text)),
                OptionValue::Number(x) if x < *least => Err(self.too_small(*least, text)),
                value => Ok(value),
            },
            ValueKind::List(item) if item.is_percentage() => item.percentages(text),
            ValueKind::List(item) => text
                .split(',')
                .map(|part| item.parse(part.trim()))
                .collect::<Result<_, _>>()
                .map(OptionValue::List),
        }
    }

    /// The same kind, of which a value, or each item of a list, is at least `least`; `None` for what is no number or size.
    pub fn at_least(self, least: f64) -> Option<ValueKind> {
        match self {
            ValueKind::Integer | ValueKind::Number | ValueKind::Size => {
                Some(ValueKind::AtLeast(Box::new(self), least))
            }
            ValueKind::List(item) => item.at_least(least).map(|item| ValueKind::List(Box::new(item))),
            _ => None,
        }
    }

    /// Whether it is a path; the items of a list are asked themselves.
    pub fn is_path(&self) -> bool {
        use ValueKind::{Checkpoint, Directory, File, Path, SavedState};
        matches!(self, Path | File | Directory | Checkpoint | SavedState)
    }

    /// The same value as text, of which nothing is asked of the disk.
    pub fn as_text(&self) -> ValueKind {
        match self {
            kind if kind.is_path() => ValueKind::Path,
            ValueKind::List(item) => ValueKind::List(Box::new(item.as_text())),
            other => other.clone(),
        }
    }

    /// A path to what is there, whatever of the two this asks for.
    fn existing(&self, text: &str) -> Result<OptionValue, Error> {
        let path = Path::new(text);
        let (is_right, wanted) = match self {
            ValueKind::Directory | ValueKind::Checkpoint => (path.is_dir(), "directory"),
            _ => (path.is_file(), "file"),
        };
        if is_right {
            return Ok(OptionValue::Text(text.into()));
        }
        Err(match path.symlink_metadata() {
            Ok(_) => Error::usage(format!("must be {self}, and `{text}` is none"))
                .with_hint(format!("give the path of a {wanted}")),
            Err(_) => Error::usage(format!("must be {self}, and there is no `{text}`"))
                .with_hint("check the path; a relative one begins in the current directory"),
        })
    }

    /// The words that the value may be, where there are only so many.
    pub fn words(&self) -> Vec<&str> {
        match self {
            ValueKind::Device => {
                DeviceChoice::WORDS.iter().copied().filter(|word| !word.contains(':')).collect()
            }
            ValueKind::Choice(words) => words.iter().map(String::as_str).collect(),
            ValueKind::List(item) | ValueKind::AtLeast(item, _) => item.words(),
            _ => Vec::new(),
        }
    }

    /// Whether a value may begin with a minus.
    pub fn is_numeric(&self) -> bool {
        match self {
            ValueKind::Integer
            | ValueKind::Threads
            | ValueKind::Number
            | ValueKind::Percent
            | ValueKind::CoveragePoint
            | ValueKind::Size => true,
            ValueKind::List(item) | ValueKind::AtLeast(item, _) => item.is_numeric(),
            _ => false,
        }
    }

    fn is_percentage(&self) -> bool {
        matches!(self, ValueKind::Percent | ValueKind::CoveragePoint)
    }

    /// A number of this kind as it would be typed.
    fn shown(&self, number: f64) -> String {
        let unit =
            UNITS.iter().rev().find(|(_, bytes)| number >= *bytes as f64 && number % *bytes as f64 == 0.0);
        match unit {
            Some((unit, bytes)) if *self == ValueKind::Size => format!("{}{unit}", number / *bytes as f64),
            _ => number.to_string(),
        }
    }

    fn too_small(&self, least: f64, text: &str) -> Error {
        let ValueKind::AtLeast(kind, _) = self else {
            return Error::usage(format!("must be {self}, not `{text}`"));
        };
        let error = Error::usage(format!("must be at least {}, not `{text}`", kind.shown(least)));
        let hint = format!("the least is {}", kind.shown(least));
        error.with_hint(match **kind {
            ValueKind::Size => format!("{hint}; a size without a unit is in bytes"),
            _ => hint,
        })
    }

    fn percentage(&self, text: &str) -> Result<Percent, Error> {
        let percent = if *self == ValueKind::Percent { Percent::share(text) } else { text.parse() };
        percent.map_err(|e| unusable(&e))
    }

    /// Reads percentages: `10,20,12.5`, and ranges with a step, `10..100:10`, in the order in which they stand.
    fn percentages(&self, text: &str) -> Result<OptionValue, Error> {
        let hint = "write 10,20,12.5 or a range with a step, 10..100:10";
        let mut percents: Vec<Percent> = Vec::new();
        for part in text.split(',').map(str::trim) {
            for percent in self.range(part).map_err(|e| e.with_hint(hint))? {
                if percents.contains(&percent) {
                    return Err(Error::usage(format!("names {percent} % twice")).with_hint("name it once"));
                }
                percents.push(percent);
            }
        }
        Ok(OptionValue::List(
            percents.into_iter().map(|percent| OptionValue::Number(percent.as_f64())).collect(),
        ))
    }

    fn range(&self, part: &str) -> Result<Vec<Percent>, Error> {
        let Some((first, rest)) = part.split_once("..") else { return Ok(vec![self.percentage(part)?]) };
        let Some((last, step)) = rest.split_once(':') else {
            return Err(Error::usage(format!("has the range `{part}` without a step")));
        };
        let (first, last, step) =
            (self.percentage(first)?, self.percentage(last)?, ValueKind::CoveragePoint.percentage(step)?);
        let points: Vec<Percent> = Percent::range(first, last, step).take(MOST_POINTS + 1).collect();
        if points.is_empty() || points.len() > MOST_POINTS {
            let problem = format!("has the range `{part}`, which has no points, or more than {MOST_POINTS}");
            return Err(Error::usage(problem));
        }
        Ok(points)
    }
}

/// Whether `text` may be a part of a name: nothing in it leads to another directory, hides the name, or does not show.
fn is_name_part(text: &str) -> bool {
    let is_path =
        text.starts_with('.') || text.ends_with('.') || text.contains("..") || text.contains(['/', '\\']);
    !is_path && text.len() <= LONGEST_NAME_PART && shown::line(text) == text
}

/// The rest of the sentence for a value whose own error says why.
fn unusable(error: &Error) -> Error {
    let usage = Error::usage(format!("cannot be used: {error}"));
    match error.hint() {
        Some(hint) => usage.with_hint(hint),
        None => usage,
    }
}

impl TypedValueParser for ValueKind {
    type Value = OptionValue;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<OptionValue, clap::Error> {
        let kind = self.clone();
        (move |text: &str| kind.parse(text)).parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words: Vec<PossibleValue> =
            self.words().into_iter().map(|word| PossibleValue::new(word.to_string())).collect();
        (!words.is_empty()).then(|| Box::new(words.into_iter()) as Box<dyn Iterator<Item = PossibleValue>>)
    }
}

/// The units of a size, decimal and binary; without one, bytes.
const UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a size above 0, rounded down to whole bytes.
fn size(text: &str) -> Option<i64> {
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (number, unit) = unit.unwrap_or((text.strip_suffix('B').unwrap_or(text), 1));
    let number = number.trim_end();
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    // Below 2^53 the product is exact to the byte.
    (1.0..9_007_199_254_740_992.0).contains(&bytes).then_some(bytes as i64)
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|x: &f64| x.is_finite())
}
