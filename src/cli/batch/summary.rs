//! What is said at the end of a batch.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::job::batch::{BatchJob, JobEnd};
use crate::shown;

/// What became of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SummaryResult {
    /// It ended with this exit code.
    Ended(i32),
    /// A signal ended it.
    Killed,
    /// The batch was stopped before.
    NotBegun,
}

/// One of those that were to be run.
pub(super) struct SummaryRow {
    /// What it is called.
    pub name: String,
    /// What became of it.
    pub result: SummaryResult,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, and where more is said.
    pub message: Option<String>,
}

impl SummaryRow {
    /// The row of a job, and how it ended where it began.
    pub fn of(job: &BatchJob, end: Option<&JobEnd>) -> Self {
        let Some(end) = end else { return SummaryRow::not_begun(job.name.clone()) };
        let message = end.message.as_ref().map(|message| format!("{message}\nlog: {}", end.log.display()));
        let result = end.code.map_or(SummaryResult::Killed, SummaryResult::Ended);
        SummaryRow { name: end.name.clone(), result, seconds: end.seconds, message }
    }

    /// The row of what the batch did not come to.
    pub fn not_begun(name: String) -> Self {
        SummaryRow { name, result: SummaryResult::NotBegun, seconds: 0.0, message: None }
    }
}

/// A table of `rows`, each a `what`, then why those failed that did, and how many.
pub(super) fn summary(what: &str, rows: &[SummaryRow]) -> String {
    let name = |row: &SummaryRow| shown::line(&row.name).into_owned();
    let width = rows.iter().map(|r| name(r).chars().count()).max().unwrap_or(0).max(what.len());
    let mut out = format!("\n{what:<width$}  {:<11}  seconds\n", "result");
    for row in rows {
        let result = match row.result {
            SummaryResult::Ended(0) => "ok".into(),
            SummaryResult::Ended(code) => format!("exit code {code}"),
            SummaryResult::Killed => "killed".into(),
            SummaryResult::NotBegun => {
                let _ = writeln!(out, "{:<width$}  not begun", name(row));
                continue;
            }
        };
        let _ = writeln!(out, "{:<width$}  {result:<11}  {:>7.1}", name(row), row.seconds);
    }
    for row in rows {
        if let Some(message) = &row.message {
            let _ = writeln!(out, "{}: {}", name(row), shown::indented(message));
        }
    }
    let failed = rows.iter().filter(|row| row.is_failed()).count();
    let open = rows.iter().filter(|row| row.result == SummaryResult::NotBegun).count();
    let _ = match (failed, open) {
        (0, 0) => writeln!(out, "all {} ok", rows.len()),
        (_, 0) => writeln!(out, "{failed} of {} failed", rows.len()),
        (0, _) => writeln!(out, "{open} of {} not begun", rows.len()),
        _ => writeln!(out, "{failed} of {} failed, {open} not begun", rows.len()),
    };
    out
}

impl SummaryRow {
    /// Whether it began and did not do what it was to do.
    pub fn is_failed(&self) -> bool {
        !matches!(self.result, SummaryResult::Ended(0) | SummaryResult::NotBegun)
    }
}

/// The same for programs.
pub(super) fn to_json(jobs: &[BatchJob], ends: &[Option<JobEnd>]) -> Value {
    let job = |(job, end): (&BatchJob, &Option<JobEnd>)| {
        let Some(end) = end else {
            return json!({
                "name": job.name, "ok": false, "code": null, "seconds": 0.0, "message": "not begun", "log": null,
            });
        };
        json!({
            "name": end.name,
            "ok": end.is_ok(),
            "code": end.code,
            "seconds": end.seconds,
            "message": end.message,
            "log": end.log.display().to_string(),
        })
    };
    json!({
        "jobs": jobs.iter().zip(ends).map(job).collect::<Vec<_>>(),
        "failed": ends.iter().flatten().filter(|end| !end.is_ok()).count(),
    })
}
