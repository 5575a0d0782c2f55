//! Recipes: batches in TOML, for those who do not write Lua.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Error, Result};
use crate::input::{self, InputKind};
use crate::lua::jobs::{JobMistake, JobRequest, JobValue, given_twice, twin};
use crate::words::nearest;

/// Keys at the top that are options of every policy that takes them.
const COMMON: [&str; 3] = ["model", "manifest", "out"];
const WORKERS: &str = "workers";
const THREADS: &str = "threads";
const LOGS: &str = "logs";
const OPTIONS: &str = "options";
const POLICIES: &str = "policies";
/// All keys at the top.
const KEYS: [&str; 8] = ["model", "manifest", "out", WORKERS, THREADS, LOGS, OPTIONS, POLICIES];
/// The keys of a policy.
const POLICY_KEYS: [&str; 4] = ["script", "name", OPTIONS, "arguments"];

/// What a recipe says.
#[derive(Debug, Default)]
pub(super) struct Recipe {
    /// How many run at a time.
    pub workers: Option<i64>,
    /// Threads of all of them together.
    pub threads: Option<i64>,
    /// The directory of the logs.
    pub logs: Option<String>,
    /// The policies, in their order.
    pub jobs: Vec<JobRequest>,
    places: Vec<JobPlaces>,
}

/// The lines of a policy.
#[derive(Debug, Default)]
struct JobPlaces {
    /// Where it begins.
    line: usize,
    /// Those of its keys and options.
    keys: Vec<(String, usize)>,
}

type RecipeEntry<'a, 'i> = (&'a str, usize, &'a Spanned<DeValue<'i>>);

/// The text of a recipe, and what its mistakes are said of.
struct RecipeText<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Recipe {
    /// Reads the recipe at `path`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] with the line of what is wrong: no TOML, a key that there is not, a value of another kind.
    pub fn read(path: &Path) -> Result<Self> {
        let text = input::read(path, InputKind::Script)?;
        let text = String::from_utf8(text)
            .map_err(|_| Error::usage(format!("`{}` is no text in UTF-8", path.display())))?;
        RecipeText { path, text: &text }.recipe()
    }

    /// `mistake` of the policy at `at` as one of the recipe at `path`.
    pub fn explained(&self, path: &Path, at: usize, mistake: JobMistake) -> Error {
        let places = &self.places[at];
        let line =
            places.keys.iter().find(|(key, _)| *key == mistake.key).map_or(places.line, |(_, line)| *line);
        let error = Error::usage(format!("`{}` line {line}: {}", path.display(), mistake.error));
        match mistake.error.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl RecipeText<'_> {
    fn recipe(&self) -> Result<Recipe> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(self.line(at), format!("this is no TOML: {}", error.message()))
        })?;
        let mut recipe = Recipe::default();
        let mut common = Vec::new();
        let mut policies = None;
        for (key, line, value) in self.entries(table.get_ref(), &KEYS, "a recipe")? {
            match key {
                WORKERS => recipe.workers = Some(self.integer(key, line, value)?),
                THREADS => recipe.threads = Some(self.integer(key, line, value)?),
                LOGS => recipe.logs = Some(self.text(key, line, value)?),
                OPTIONS => {
                    for (key, line, value) in self.options(line, value)? {
                        self.add(&mut common, line, key, value)?;
                    }
                }
                POLICIES => policies = Some((line, value)),
                _ if COMMON.contains(&key) => {
                    let text = self.text(key, line, value)?;
                    self.add(&mut common, line, key.to_string(), JobValue::Text(text))?;
                }
                _ => {}
            }
        }
        let missing = || {
            Error::usage(format!("`{}` has no policies", self.path.display())).with_hint(
                "each begins with a line `[[policies]]`, and `script = \"all_layers_topx\"` below it",
            )
        };
        let (line, policies) = policies.ok_or_else(missing)?;
        let Some(policies) = policies.get_ref().as_array() else {
            return Err(self.wrong(line, "`policies` must be written `[[policies]]`".into()));
        };
        for policy in policies.iter() {
            let line = self.line(policy.span().start);
            let Some(table) = policy.get_ref().as_table() else {
                return Err(self.wrong(line, "`policies` must be written `[[policies]]`".into()));
            };
            let (mut job, places) = self.policy(line, table)?;
            job.common = common.clone();
            recipe.jobs.push(job);
            recipe.places.push(places);
        }
        if recipe.jobs.is_empty() { Err(missing()) } else { Ok(recipe) }
    }

    /// Adds an option to `options`, which has no other of its name.
    fn add(
        &self,
        options: &mut Vec<(String, JobValue)>,
        line: usize,
        key: String,
        value: JobValue,
    ) -> Result<()> {
        if let Some(earlier) = twin(options, &key) {
            let error = given_twice(earlier, &key);
            return Err(self.wrong(line, error.to_string()).with_hint(error.hint().unwrap_or_default()));
        }
        options.push((key, value));
        Ok(())
    }

    fn policy(&self, line: usize, table: &DeTable<'_>) -> Result<(JobRequest, JobPlaces)> {
        let mut job = JobRequest::default();
        let mut places = JobPlaces { line, keys: Vec::new() };
        for (key, line, value) in self.entries(table, &POLICY_KEYS, "a policy")? {
            places.keys.push((key.to_string(), line));
            match key {
                "script" => job.script = self.text(key, line, value)?,
                "name" => job.name = Some(self.text(key, line, value)?),
                "arguments" => {
                    job.arguments = match self.value(key, line, value)? {
                        JobValue::List(values) => values,
                        _ => return Err(self.wrong(line, "`arguments` must be a list of texts".into())),
                    }
                }
                _ => {
                    for (key, line, value) in self.options(line, value)? {
                        places.keys.push((key.clone(), line));
                        job.options.push((key, value));
                    }
                }
            }
        }
        match job.script.is_empty() {
            true => Err(self.wrong(line, "the policy has no `script`".into()).with_hint(
                "give the name of a built-in one (`qlua list` shows them), or the path of a file",
            )),
            false => Ok((job, places)),
        }
    }

    /// The entries of `table`, in their order, all of which are among `known`.
    fn entries<'a, 'i>(
        &self,
        table: &'a DeTable<'i>,
        known: &[&str],
        what: &str,
    ) -> Result<Vec<RecipeEntry<'a, 'i>>> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&'a Spanned<_>, &'a Spanned<DeValue<'i>>)| {
            let (name, line): (&'a std::borrow::Cow<'i, str>, _) =
                (key.get_ref(), self.line(key.span().start));
            if known.contains(&name.as_ref()) {
                return Ok((name.as_ref(), line, value));
            }
            let error = self.wrong(line, format!("{what} has no key `{name}`"));
            Err(match nearest(name, known.iter().copied()) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None if what == "a policy" => error.with_hint(
                    "options of the script stand below `[policies.options]`, or in `options = { … }`",
                ),
                None => error.with_hint(format!("its keys are {}", known.join(", "))),
            })
        };
        entries.into_iter().map(entry).collect()
    }

    fn options(&self, line: usize, value: &Spanned<DeValue<'_>>) -> Result<Vec<(String, usize, JobValue)>> {
        let Some(table) = value.get_ref().as_table() else {
            return Err(self.wrong(line, "`options` must be a table: `options = { top = \"10,50\" }`".into()));
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let option = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            let line = self.line(key.span().start);
            Ok((key.get_ref().to_string(), line, self.value(key.get_ref(), line, value)?))
        };
        entries.into_iter().map(option).collect()
    }

    fn value(&self, key: &str, line: usize, value: &Spanned<DeValue<'_>>) -> Result<JobValue> {
        let scalar = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            // Numbers go on as they are written, but for what TOML alone writes so.
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
            }
            DeValue::Float(number) => Some(number.as_str().to_string()),
            _ => None,
        };
        let found = match value.get_ref() {
            DeValue::Boolean(is_given) => Some(JobValue::Flag(*is_given)),
            DeValue::Array(items) => items
                .iter()
                .map(|item| scalar(item.get_ref()))
                .collect::<Option<Vec<_>>>()
                .map(JobValue::List),
            other => scalar(other).map(JobValue::Text),
        };
        found.ok_or_else(|| {
            self.wrong(
                line,
                format!("`{key}` must be a text, a number, true or false, or a list of texts or numbers"),
            )
        })
    }

    fn text(&self, key: &str, line: usize, value: &Spanned<DeValue<'_>>) -> Result<String> {
        match value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Ok(text.to_string()),
            _ => Err(self.wrong(line, format!("`{key}` must be a text in quotes, and not empty"))),
        }
    }

    fn integer(&self, key: &str, line: usize, value: &Spanned<DeValue<'_>>) -> Result<i64> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        number.ok_or_else(|| self.wrong(line, format!("`{key}` must be a whole number")))
    }

    /// The number of the line that has the byte `at`.
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
    }

    fn wrong(&self, line: usize, problem: String) -> Error {
        Error::usage(format!("`{}` line {line}: {problem}", self.path.display()))
    }
}
