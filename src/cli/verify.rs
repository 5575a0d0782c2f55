//! `qlua verify`: checks of directories, with exit code 3 when something is wrong.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use serde_json::{Value, json};

use super::built_in::Said;
use super::console::{answer, json_flag, print_findings};
use super::directories;
use crate::error::{Error, Result};
use crate::job::{REPORT_HTML, REPORT_MARKDOWN};
use crate::lua::Verbosity;
use crate::lua::progress::CheckProgress;
use crate::shown;
use crate::units::counted;
use crate::verify::{
    BaseComparison, Code, Depth, FamilyMember, Problem, RecordState, Verified, VerifyOptions, check_family,
    open_base, verify_all,
};

/// Exit code when verification found problems.
const PROBLEMS: u8 = 3;
/// Exit code when a directory could not be looked at, and no problem was found in others.
const UNSEEN: u8 = 1;

pub(super) fn declare(command: Command) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    command
        .arg(flag("headers").conflicts_with("base").help(
            "The quick look: headers, configurations, names and sizes of files, but neither weights nor hashes",
        ))
        .arg(
            Arg::new("base")
                .long("base")
                .value_name("DIR")
                .value_hint(ValueHint::DirPath)
                .value_parser(value_parser!(PathBuf))
                .help(
                    "The checkpoint that the directories were made from: what is not quantised must be the same bit for bit, codes \
                     the exact encoding, companions the same files",
                ),
        )
        .arg(flag("family").help(
            "The directories are coverage points of one sweep: made from one base, selections nested, no two the same, and none \
             may bear another's name",
        ))
        .arg(json_flag("Print everything as JSON"))
        .arg(directories::threads())
        .arg(directories::argument())
}

/// A directory and what came of looking at it.
struct Looked {
    directory: String,
    outcome: Result<Verified>,
}

pub(super) fn verify(mut values: ArgMatches, said: &Said) -> anyhow::Result<u8> {
    directories::bound_threads(&mut values)?;
    let depth = if values.get_flag("headers") { Depth::Headers } else { Depth::Full };
    let base = values.remove_one::<PathBuf>("base").map(|base| open_base(&base)).transpose()?;
    let paths = without_reports(directories::of(&mut values));
    let what = match &paths[..] {
        [only] => only.file_name().unwrap_or(only.as_os_str()).to_string_lossy().into_owned(),
        several => format!("{} directories", several.len()),
    };
    let progress = CheckProgress::new(what, said.verbosity);
    let outcomes = verify_all(&paths, &VerifyOptions { depth, base: base.as_ref() }, &progress);
    let directories = paths.iter().map(|path| path.display().to_string());
    let looked: Vec<Looked> =
        directories.zip(outcomes).map(|(directory, outcome)| Looked { directory, outcome }).collect();
    let is_interrupted = looked.iter().any(Looked::is_interrupted);
    progress.end(is_interrupted);
    // Of a part of a family nothing is known.
    let family = (values.get_flag("family") && !is_interrupted).then(|| {
        let members = looked.iter().filter_map(|one| Some((one.directory.clone(), one.member()?)));
        let mut problems = check_family(&members.collect::<Vec<(String, &FamilyMember)>>());
        let unseen = looked.iter().filter(|one| one.member().is_none());
        problems.extend(unseen.map(|one| {
            let message = format!("`{}` could not be looked at, so nothing is known of it", one.directory);
            Problem::new(Code::Family, one.directory.clone(), message)
        }));
        problems
    });
    for one in &looked {
        said.debug(|| one.described());
    }
    // With -q only what has something to say.
    let is_quiet = said.verbosity == Verbosity::Quiet;
    let is_shown =
        |one: &&Looked| !is_quiet || one.problems().iter().any(Problem::is_fault) || one.outcome.is_err();
    let shown: Vec<&Looked> = looked.iter().filter(is_shown).collect();
    let is_sound = family.iter().flatten().all(|problem| !problem.is_fault());
    let shown_family = family.as_deref().filter(|_| !is_quiet || !is_sound);
    let text = as_text(&shown, shown_family, looked.len(), depth);
    match values.get_flag("json") {
        true => answer(said, Some(&as_json(&looked, family.as_deref())), &text)?,
        false => print_findings(&text)?,
    };
    if is_interrupted {
        return Err(Error::Interrupted.into());
    }
    let found = looked.iter().flat_map(Looked::problems).chain(family.iter().flatten());
    Ok(match () {
        () if found.filter(|problem| problem.is_fault()).count() > 0 => PROBLEMS,
        () if looked.iter().any(|one| one.outcome.is_err()) => UNSEEN,
        () => 0,
    })
}

/// The paths but for a sweep's reports, which lie beside its directories, so that `verify sweep/*` means the directories.
fn without_reports(paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let is_report = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str);
        path.is_file() && name.is_some_and(|name| [REPORT_HTML, REPORT_MARKDOWN].contains(&name))
    };
    let (reports, others): (Vec<PathBuf>, Vec<PathBuf>) = paths.into_iter().partition(is_report);
    if others.is_empty() { reports } else { others }
}

impl Looked {
    /// What was looked at, in a line.
    fn described(&self) -> String {
        let said = match &self.outcome {
            Ok(verified) => format!(
                "record: {}, {}",
                record(verified.record),
                counted(verified.problems.len(), "finding")
            ),
            Err(error) => error.to_string(),
        };
        format!("{}: {said}", self.directory)
    }

    fn is_interrupted(&self) -> bool {
        matches!(self.outcome, Err(Error::Interrupted))
    }

    fn problems(&self) -> &[Problem] {
        self.outcome.as_ref().map_or(&[], |verified| &verified.problems)
    }

    fn member(&self) -> Option<&FamilyMember> {
        self.outcome.as_ref().ok()?.member.as_ref()
    }
}

/// `ok`, `2 problems`, and what is not checked.
fn judgement(problems: &[Problem], depth: Depth) -> String {
    let faults = problems.iter().filter(|problem| problem.is_fault()).count();
    let unknown = problems.len() - faults;
    let said = match (faults, depth) {
        (0, Depth::Full) => "ok".into(),
        (0, Depth::Headers) => "ok by its headers".into(),
        (faults, _) => counted(faults, "problem"),
    };
    match unknown {
        0 => said,
        _ if faults == 0 => format!("not checked in {}", counted(unknown, "respect")),
        _ => format!("{said}, and not checked in {}", counted(unknown, "respect")),
    }
}

fn as_text(looked: &[&Looked], family: Option<&[Problem]>, count: usize, depth: Depth) -> String {
    let mut lines = Vec::new();
    for Looked { directory, outcome } in looked {
        // Whoever named a directory must not be able to say that another is fine.
        let directory = shown::line(directory);
        match outcome {
            Ok(verified) => {
                lines.push(format!("{directory}: {}", judgement(&verified.problems, depth)));
                list(&verified.problems, &mut lines);
                lines.extend(verified.base.iter().flat_map(compared));
            }
            Err(Error::Interrupted) => lines.push(format!("{directory}: not looked at to the end")),
            Err(error) => {
                lines.push(format!(
                    "{directory}: could not be looked at: {}",
                    shown::line(&error.to_string())
                ));
                lines.extend(error.hint().map(|hint| format!("    hint: {}", shown::line(&hint))));
            }
        }
    }
    if let Some(problems) = family {
        lines.push(format!("family of {count}: {}", judgement(problems, Depth::Full)));
        list(problems, &mut lines);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Each finding, with what to do about it where the next one is of another kind.
fn list(problems: &[Problem], lines: &mut Vec<String>) {
    for (at, problem) in problems.iter().enumerate() {
        lines.push(format!("  {problem}"));
        let is_last_of_its_kind =
            problems.get(at + 1).is_none_or(|next| next.code.hint() != problem.code.hint());
        if problem.is_fault() && is_last_of_its_kind {
            lines.push(format!("    hint: {}", problem.code.hint()));
        }
    }
}

fn compared(base: &BaseComparison) -> Vec<String> {
    let same = counted(base.identical, "tensor");
    let exact = counted(base.exact, "tensor");
    let mut lines = vec![format!("  with the base: {same} the same bit for bit, the codes of {exact} exact")];
    if let Some((name, worst)) = &base.worst {
        lines.push(format!(
            "  SQNR {:.2} dB, the least {worst:.2} dB in `{}`",
            base.error.sqnr_db(),
            shown::line(name)
        ));
    }
    lines
}

fn as_json(looked: &[Looked], family: Option<&[Problem]>) -> Value {
    let mut said = json!({"directories": looked.iter().map(one_as_json).collect::<Vec<_>>()});
    if let Some(problems) = family {
        said["family"] = problems.iter().map(problem_as_json).collect();
    }
    said
}

/// What a directory has on record, in a word.
fn record(state: RecordState) -> &'static str {
    match state {
        RecordState::None => "none",
        RecordState::Sizes => "sizes",
        RecordState::Hashes => "hashes",
        RecordState::WeightHashes => "hashes of weights",
        RecordState::Damaged => "damaged",
    }
}

fn one_as_json(one: &Looked) -> Value {
    let verified = match &one.outcome {
        Ok(verified) => verified,
        Err(error) => {
            let error = json!({"kind": error.kind(), "message": error.to_string(), "hint": error.hint()});
            return json!({"directory": one.directory, "error": error});
        }
    };
    let record = record(verified.record);
    let faults = verified.problems.iter().filter(|problem| problem.is_fault()).count();
    let mut said = json!({
        "directory": one.directory,
        "ok": faults == 0,
        "record": record,
        "findings": verified.problems.iter().map(problem_as_json).collect::<Vec<_>>(),
    });
    if let Some(base) = &verified.base {
        // JSON has no infinity.
        let decibels = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
        said["base"] = json!({
            "identical": base.identical,
            "exact": base.exact,
            "different": base.different,
            "sqnr_db": decibels(base.error.sqnr_db()),
            "saturated": base.error.saturated,
            "worst": base.worst.as_ref().map(|(name, sqnr)| json!({"tensor": name, "sqnr_db": decibels(*sqnr)})),
        });
    }
    said
}

fn problem_as_json(problem: &Problem) -> Value {
    json!({
        "code": problem.code.word(),
        "fault": problem.is_fault(),
        "subject": problem.subject,
        "message": problem.message,
        "hint": problem.code.hint(),
    })
}
