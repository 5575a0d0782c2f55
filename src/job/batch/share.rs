//! The jobs of one machine of several.

use std::str::FromStr;

use crate::error::Error;

/// Which jobs one machine does when several do a batch: every `of`-th, from the `number`-th on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MachineShare {
    /// The number of this machine, from 1.
    number: usize,
    /// How many there are.
    of: usize,
}

impl MachineShare {
    /// Whether the job at `index`, from 0, is one of them.
    pub fn has(self, index: usize) -> bool {
        index % self.of == self.number - 1
    }
}

impl FromStr for MachineShare {
    type Err = Error;

    /// Reads `I/N`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let numbers = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse::<usize>().ok()?, of.parse::<usize>().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(MachineShare { number, of }),
            _ => Err(Error::usage(format!("a part must be I/N with I from 1 to N, not `{text}`"))
                .with_hint("`1/2` does the first job of two, the third, the fifth, …")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_machines_are_all_jobs_once() {
        let shares: Vec<MachineShare> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).into();
        for index in 0..10 {
            assert_eq!(shares.iter().filter(|share| share.has(index)).count(), 1, "{index}");
        }
        for text in ["", "1", "0/2", "3/2", "a/b", "1/0", "-1/2", "1/2/3"] {
            assert!(text.parse::<MachineShare>().is_err(), "{text}");
        }
    }
}
