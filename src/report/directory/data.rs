//! What the report of a directory shows, as plain data.

use crate::report::names::shortened;
use crate::report::sweep::{SchemeRow, SweepReport, summary};

/// How many families a title names of many.
const LISTED: usize = 3;

/// Everything that the report of a directory shows.
#[derive(Debug, Clone)]
pub struct DirectoryReport {
    /// Schemes with groups, scores and base checkpoint in common, in the order of their first names.
    pub sweeps: Vec<SweepReport>,
    /// One sentence for each scheme that is there and cannot be shown.
    pub notes: Vec<String>,
}

impl From<SweepReport> for DirectoryReport {
    fn from(sweep: SweepReport) -> Self {
        DirectoryReport { sweeps: vec![sweep], notes: Vec::new() }
    }
}

impl DirectoryReport {
    /// What was swept: the names of the models, each once.
    pub fn title(&self) -> String {
        let mut titles: Vec<&str> = Vec::new();
        for sweep in &self.sweeps {
            if !titles.contains(&sweep.title.as_str()) {
                titles.push(&sweep.title);
            }
        }
        titles.join(", ")
    }

    /// Every scheme with its sweep.
    pub fn schemes(&self) -> impl Iterator<Item = (&SweepReport, &SchemeRow)> {
        self.sweeps.iter().flat_map(|sweep| sweep.schemes.iter().map(move |scheme| (sweep, scheme)))
    }

    /// The names of all schemes without the words that all of them begin and end with.
    pub(super) fn short_names(&self) -> Vec<String> {
        shortened(&self.schemes().map(|(_, scheme)| scheme.name.as_str()).collect::<Vec<_>>())
    }

    /// What the directory holds: a sentence or two for each sweep, which name it where it is not the only one.
    pub(super) fn summaries(&self) -> Vec<String> {
        match &self.sweeps[..] {
            [only] => vec![summary(only)],
            sweeps => {
                let named = |(title, sweep): (String, &SweepReport)| format!("{title}: {}", summary(sweep));
                self.sweep_titles().into_iter().zip(sweeps).map(named).collect()
            }
        }
    }

    /// What sets each sweep apart from the others: its model and its families.
    pub(super) fn sweep_titles(&self) -> Vec<String> {
        let names = self.short_names();
        let mut from = 0;
        let mut titles = Vec::new();
        for sweep in &self.sweeps {
            let own = &names[from..from + sweep.schemes.len()];
            from += sweep.schemes.len();
            let labels = sweep.labels(&sweep.families(), own);
            titles.push(match labels.is_empty() {
                true => sweep.title.clone(),
                false => format!("{}: {}", sweep.title, listed(&labels)),
            });
        }
        titles
    }
}

/// `labels` in a row; of many the first, and how many there are besides.
fn listed(labels: &[String]) -> String {
    match labels.len().saturating_sub(LISTED) {
        0 | 1 => labels.join(", "),
        more => format!("{} and {more} more families", labels[..LISTED].join(", ")),
    }
}
