//! `qlua.jobs`: several runs of scripts at once.

use mlua::{Table, Value};

use crate::error::Error;
use crate::interrupt;
use crate::job::batch::{BatchOptions, JobEnd, MachineShare, run_batch};
use crate::lua::declare::{Function, Namespace, Options, PathUse};
use crate::lua::jobs::{JobMistake, JobRequest, JobValue, jobs};
use crate::lua::rows::{row, rows};
use crate::lua::types::describe;
use crate::lua::{Call, Key, Record, Type, batch_progress, state, verbosity};
use crate::threads;
use crate::units::counted;

/// How many failed jobs an error names.
const NAMED: usize = 3;

const JOB: Record = Record {
    name: "Job",
    doc: "A script that is to be run, and how.",
    keys: &[
        Key::new("script", Type::String, "the name of a built-in script, or the path of a file"),
        Key::optional(
            "options",
            Type::Table,
            "its options by name, with `_` or `-` between words: `{ top = \"10..100:10\", dry_run = true }`; a list gives an option \
             that may be repeated several times, and any other its values separated by commas",
        ),
        Key::optional("arguments", Type::List(&Type::String), "what follows its options"),
        Key::optional(
            "name",
            Type::String,
            "what it is called, and its log (default: the name of the script)",
        ),
    ],
};

row! {
    /// How a job ended.
    const JOB_END = "JobEnd" for |end: &JobEnd| {
        /// its name
        name: Type::String => end.name.as_str(),
        /// whether it ended with exit code 0
        ok: Type::Boolean => end.is_ok(),
        /// its exit code; nil where a signal ended it
        code: Type::Optional(&Type::Integer) => end.code,
        /// how long it took
        seconds: Type::NumberIn("s") => end.seconds,
        /// why it failed; nil where it did not
        message: Type::Optional(&Type::String) => end.message.clone(),
        /// the file with all that it wrote to standard output and standard error
        log: Type::Path => end.log.display().to_string(),
    }
}

pub(super) fn declare(namespace: Namespace) -> Namespace {
    namespace.function(
        Function::new(
            "jobs",
            "Runs scripts in processes of their own, several at a time, on past those that fail. Jobs with the same `out` run one \
             after the other. Nothing begins when a script or an option is not known.",
        )
        .long()
        .param("jobs", Type::List(&Type::Record(&JOB)), "what to run, in this order")
        .options(
            Options::new()
                .default("workers", Type::Integer, 1, "how many run at a time")
                .described("threads", Type::Integer, "all cores", "threads of all of them together; each gets its share")
                .option("part", Type::String, "`I/N`: only every N-th job from the I-th on, where N machines share them")
                .default("logs", Type::Path, "batch-logs", "the directory of their logs, one a job")
                    .used_for(PathUse::WriteInside)
                .default("raise", Type::Boolean, true, "whether it raises, at the end, when one failed"),
        )
        .returns(Type::List(&Type::Record(&JOB_END)), "how each ended, in the order in which they are given")
        .raises("a script or an option of one is not known, and, at the end, one failed")
        .example(
            "local demo = qlua.checkpoint.demo(\"demo\")\n\
             local ends = qlua.jobs({\n  \
             { script = \"all_layers_topx\", options = { model = demo.model, manifest = demo.manifest, top = { 10, 50 }, dry_run = true } },\n  \
             { script = \"lm_only_topx\", options = { manifest = demo.manifest, dry_run = true } },\n\
             }, { workers = 2 })\n\
             assert(ends[1].ok and ends[2].name == \"lm_only_topx\")",
        ),
        run,
    )
}

fn run(call: &Call) -> anyhow::Result<Vec<Value>> {
    if state::is_sandbox(call.lua()) {
        return Err(Error::refused(format!("{} is not there in a sandbox", call.name())).into());
    }
    let given: Option<i64> = call.get("threads")?;
    let options = BatchOptions {
        workers: BatchOptions::require_workers(call.get("workers")?)?,
        threads: match given {
            Some(given) => usize::try_from(given)
                .ok()
                .filter(|threads| *threads > 0)
                .ok_or_else(|| call.refuse("threads", "must be at least 1"))?,
            None => threads::all(),
        },
        logs: call.get::<String>("logs")?.into(),
    };
    let share: Option<MachineShare> = match call.get::<Option<String>>("part")? {
        Some(text) => Some(text.parse()?),
        None => None,
    };
    let tables: Vec<Table> = call.get("jobs")?;
    let requests: Vec<JobRequest> =
        tables.iter().map(|table| request(call, table)).collect::<anyhow::Result<_>>()?;
    let mut jobs = match jobs(&requests, &options, verbosity(call.lua()))? {
        Ok(jobs) => jobs,
        Err((at, JobMistake { error, .. })) => {
            let hint = error.hint();
            let error = Error::argument(format!("job {} of {}: {error}", at + 1, call.name()));
            return Err(match hint {
                Some(hint) => error.with_hint(hint).into(),
                None => error.into(),
            });
        }
    };
    let mut index = 0;
    jobs.retain(|_| {
        index += 1;
        share.is_none_or(|share| share.has(index - 1))
    });
    let ends = run_batch(&jobs, &options, &*batch_progress::batch_listener(verbosity(call.lua())))?;
    interrupt::check()?;
    let ends: Vec<JobEnd> = ends.into_iter().flatten().collect();
    let failed: Vec<&JobEnd> = ends.iter().filter(|end| !end.is_ok()).collect();
    if call.get::<bool>("raise")? && !failed.is_empty() {
        let named = failed.iter().take(NAMED);
        let named: Vec<String> = named
            .map(|end| format!("`{}`: {}", end.name, end.message.as_deref().unwrap_or("no reason")))
            .collect();
        let more = if failed.len() > NAMED { "; …" } else { "" };
        let problem =
            format!("{} of {} failed: {}{more}", failed.len(), counted(ends.len(), "job"), named.join("; "));
        let hint = format!("all that they said is in `{}`", options.logs.display());
        return Err(Error::refused(problem).with_hint(hint).into());
    }
    rows(call.lua(), &ends)
}

fn request(call: &Call, table: &Table) -> anyhow::Result<JobRequest> {
    let mut options = Vec::new();
    if let Some(given) = table.raw_get::<Option<Table>>("options")? {
        for pair in given.pairs::<Value, Value>() {
            let (key, value) = pair?;
            let Value::String(key) = key else {
                return Err(call.refuse("jobs", "has options without names"));
            };
            let key = key.to_string_lossy();
            options.push((key.clone(), value_of(call, &key, &value)?));
        }
        options.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(JobRequest {
        script: table.raw_get("script")?,
        name: table.raw_get("name")?,
        options,
        common: Vec::new(),
        arguments: table.raw_get::<Option<Vec<String>>>("arguments")?.unwrap_or_default(),
    })
}

fn value_of(call: &Call, key: &str, value: &Value) -> anyhow::Result<JobValue> {
    Ok(match value {
        Value::Boolean(is_given) => JobValue::Flag(*is_given),
        Value::Table(list) => {
            let texts = list.sequence_values::<Value>().map(|item| text(call, key, &item?));
            JobValue::List(texts.collect::<anyhow::Result<_>>()?)
        }
        other => JobValue::Text(text(call, key, other)?),
    })
}

fn text(call: &Call, key: &str, value: &Value) -> anyhow::Result<String> {
    match value {
        Value::String(text) => Ok(text.to_string_lossy()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => {
            Err(call.refuse("jobs", format!("has the option `{key}`, which cannot be {}", describe(other))))
        }
    }
}
