//! How much a script may use, and what is said when it used that up.

use std::time::Duration;

use crate::error::Error;

/// What a script may use at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory for Lua's values.
    pub memory: usize,
    /// Time of its own: what qlua spends on weights does not count.
    pub time: Option<Duration>,
    /// Instructions of Lua's virtual machine.
    pub instructions: Option<u64>,
    /// Real time of everything, what qlua spends on weights included.
    pub total: Option<Duration>,
    /// Bytes that the process writes, to files and to its standard output and error.
    pub written: Option<u64>,
}

impl Limits {
    /// Those of a script that is trusted: memory alone.
    pub const TRUSTED: Limits =
        Limits { memory: 4 << 30, time: None, instructions: None, total: None, written: None };
    /// Those of a sandbox that writes nothing but what it says.
    pub const SANDBOX: Limits = Limits {
        memory: 512 << 20,
        time: Some(Duration::from_secs(60)),
        instructions: Some(20_000_000_000),
        total: Some(Duration::from_secs(3600)),
        written: Some(1 << 30),
    };
    /// Those of a policy that a trusted script loads; it has a process of its own, and no files.
    pub const POLICY: Limits = Limits {
        memory: 512 << 20,
        time: Some(Duration::from_secs(10)),
        instructions: Some(5_000_000_000),
        total: None,
        written: None,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::TRUSTED
    }
}

/// Something that there is only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptLimit {
    /// [`Limits::memory`]
    Memory,
    /// [`Limits::time`]
    Time,
    /// [`Limits::instructions`]
    Instructions,
    /// [`Limits::total`]
    Total,
    /// [`Limits::written`]
    Written,
}

impl ScriptLimit {
    /// The error of a script that used it up.
    pub fn error(self, limits: &Limits) -> Error {
        let error = |problem: String| Error::Limit { problem, hint: None };
        match self {
            ScriptLimit::Memory => error(format!(
                "the script needs more memory than the {} that it may use",
                size(limits.memory)
            ))
            .with_hint("`--memory SIZE` before the script allows more, such as `--memory 16GiB`"),
            ScriptLimit::Time => {
                let seconds = limits.time.unwrap_or_default().as_secs_f64();
                error(format!("the script used up the {seconds} s that it may take"))
                    .with_hint("`--seconds N` before the script allows more")
            }
            ScriptLimit::Instructions => {
                let instructions = limits.instructions.unwrap_or_default();
                error(format!("the script used up the {instructions} instructions that it may take"))
                    .with_hint("`--instructions N` before the script allows more")
            }
            ScriptLimit::Total => {
                let seconds = limits.total.unwrap_or_default().as_secs_f64();
                error(format!("the script used up the {seconds} s that all of it may take"))
                    .with_hint("`--total-seconds N` before the script allows more")
            }
            ScriptLimit::Written => {
                let bytes = usize::try_from(limits.written.unwrap_or_default()).unwrap_or(usize::MAX);
                error(format!("the script wrote more than the {} that it may write", size(bytes))).with_hint(
                    "`--write-limit SIZE` before the script allows more, such as `--write-limit 100GiB`",
                )
            }
        }
    }
}

/// A size in the unit that it is a whole number of.
fn size(bytes: usize) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("kiB", 1 << 10)];
    match units.iter().find(|(_, unit): &&(_, usize)| bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}
