//! The directories of one sweep against each other.

use std::collections::{BTreeSet, HashMap};

use super::{Code, Problem};
use crate::dialect::StoredLayers;
use crate::units::counted;

/// What a family is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FamilyMember {
    /// The modules that are FP8, by their names on disk.
    pub quantised: BTreeSet<String>,
    /// Sum of all tensor bytes.
    pub bytes: u64,
    /// The hashes of its weight files, sorted; nothing where they were not read.
    pub hashes: Option<Vec<String>>,
}

impl FamilyMember {
    /// Of a checkpoint with the layers `stored`, whose weight files were not read yet.
    pub(super) fn of(stored: &StoredLayers) -> Self {
        FamilyMember {
            quantised: stored.fp8().map(|layer| layer.name.to_string()).collect(),
            bytes: stored.model.bytes(),
            hashes: None,
        }
    }

    /// The same once weight files are known to have the hashes `read`.
    pub(super) fn with_hashes(self, read: &HashMap<String, (u64, String)>) -> Self {
        let mut hashes: Vec<String> = read.values().map(|(_, hash)| hash.clone()).collect();
        hashes.sort();
        FamilyMember { hashes: Some(hashes), ..self }
    }
}

/// What is wrong with directories that are to be the coverage points of one sweep: each name with what is in it. Selections are
/// nested, what quantises more is smaller, and no two are the same.
pub fn check_family(members: &[(String, &FamilyMember)]) -> Vec<Problem> {
    let mut sorted: Vec<&(String, &FamilyMember)> = members.iter().collect();
    sorted.sort_by(|(a, x), (b, y)| x.quantised.len().cmp(&y.quantised.len()).then_with(|| a.cmp(b)));
    let mut problems = Vec::new();
    for (name, _) in sorted.iter().filter(|(_, member)| member.quantised.is_empty()) {
        let message = format!("`{name}` quantises nothing, so it is no scheme of a sweep");
        problems.push(Problem::new(Code::Family, name.clone(), message));
    }
    for pair in sorted.windows(2) {
        let [(smaller, few), (larger, many)] = pair else { continue };
        let mut problem =
            |message: String| problems.push(Problem::new(Code::Family, larger.clone(), message));
        if few.quantised == many.quantised {
            let is_same = few.hashes.is_some() && few.hashes == many.hashes;
            let count = counted(few.quantised.len(), "layer");
            problem(match is_same {
                true => format!("`{smaller}` and `{larger}` have the same weights, byte for byte"),
                false => format!("`{smaller}` and `{larger}` quantise the same {count}"),
            });
            continue;
        }
        if let Some(lost) = few.quantised.difference(&many.quantised).next() {
            let count = counted(few.quantised.difference(&many.quantised).count(), "layer");
            problem(format!(
                "`{smaller}` quantises {count} that `{larger}`, which quantises more, does not, such as `{lost}`"
            ));
        }
        if many.bytes >= few.bytes {
            let (more, less) = (many.bytes, few.bytes);
            problem(format!(
                "`{larger}` quantises more than `{smaller}` and has {more} bytes of tensors beside {less}"
            ));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(quantised: &[&str], bytes: u64, hash: &str) -> FamilyMember {
        let quantised = quantised.iter().map(ToString::to_string).collect();
        FamilyMember { quantised, bytes, hashes: Some(vec![hash.into()]) }
    }

    #[test]
    fn a_sweep_is_nested_and_what_quantises_more_is_smaller() {
        let (small, large) = (member(&["a"], 90, "x"), member(&["a", "b"], 80, "y"));
        let named = |members: &[(&str, &FamilyMember)]| {
            let members: Vec<(String, &FamilyMember)> =
                members.iter().map(|(n, m)| (n.to_string(), *m)).collect();
            check_family(&members).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        assert_eq!(named(&[("top20", &large), ("top10", &small)]), [""; 0]);
        let found = named(&[("one", &small), ("two", &small)]);
        assert_eq!(found, ["`one` and `two` have the same weights, byte for byte"]);
        let other = member(&["b", "c"], 95, "z");
        let found = named(&[("top10", &small), ("top20", &other)]);
        assert!(found[0].contains("1 layer") && found[0].contains("such as `a`"), "{found:?}");
        assert!(found[1].contains("95 bytes of tensors beside 90"), "{found:?}");
        let plain = member(&[], 100, "v");
        assert_eq!(
            named(&[("base", &plain), ("top10", &small)]),
            ["`base` quantises nothing, so it is no scheme of a sweep"]
        );
        let same = member(&["a"], 90, "w");
        assert!(named(&[("one", &small), ("two", &same)])[0].ends_with("quantise the same 1 layer"));
    }
}
