//! What is said at the end of a batch.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::job::batch::JobEnd;
use crate::shown;

/// One that was run.
pub(super) struct SummaryRow {
    /// What it is called.
    pub name: String,
    /// Its exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// How long it took.
    pub seconds: f64,
    /// Why it failed, and where more is said.
    pub message: Option<String>,
}

impl SummaryRow {
    /// The row of a job.
    pub fn of(end: &JobEnd) -> Self {
        let message = end.message.as_ref().map(|message| format!("{message}\nlog: {}", end.log.display()));
        SummaryRow { name: end.name.clone(), code: end.code, seconds: end.seconds, message }
    }
}

/// A table of `rows`, each a `what`, then why those failed that did, and how many.
pub(super) fn summary(what: &str, rows: &[SummaryRow]) -> String {
    let name = |row: &SummaryRow| shown::line(&row.name).into_owned();
    let width = rows.iter().map(|r| name(r).chars().count()).max().unwrap_or(0).max(what.len());
    let mut out = format!("\n{what:<width$}  {:<11}  seconds\n", "result");
    for row in rows {
        let result = match row.code {
            Some(0) => "ok".into(),
            Some(code) => format!("exit code {code}"),
            None => "killed".into(),
        };
        let _ = writeln!(out, "{:<width$}  {result:<11}  {:>7.1}", name(row), row.seconds);
    }
    for row in rows {
        if let Some(message) = &row.message {
            let _ = writeln!(out, "{}: {}", name(row), shown::indented(message));
        }
    }
    let failed = rows.iter().filter(|row| row.code != Some(0)).count();
    let _ = match failed {
        0 => writeln!(out, "all {} ok", rows.len()),
        _ => writeln!(out, "{failed} of {} failed", rows.len()),
    };
    out
}

/// The same for programs.
pub(super) fn to_json(ends: &[JobEnd]) -> Value {
    let job = |end: &JobEnd| {
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
        "jobs": ends.iter().map(job).collect::<Vec<_>>(),
        "failed": ends.iter().filter(|end| !end.is_ok()).count(),
    })
}
