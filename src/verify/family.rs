//! The directories of one sweep against each other.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use super::{Code, Problem};
use crate::dialect::StoredLayers;
use crate::record::ProvenanceRecord;
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
    /// What its directory is called.
    pub name: String,
    /// The name that it was written under; nothing where that is not on record.
    pub scheme: Option<String>,
    /// The hashes of the weight files of the base checkpoint that it was made from, sorted; nothing where they are not on record.
    pub base: Option<Vec<String>>,
}

impl FamilyMember {
    /// Of the checkpoint in `directory` with the layers `stored`, whose weight files were not read yet.
    pub(super) fn of(directory: &Path, stored: &StoredLayers, record: Option<&ProvenanceRecord>) -> Self {
        // `.` and `..` have no name of their own.
        let full = || directory.canonicalize().ok()?.file_name().map(ToOwned::to_owned);
        let name = directory.file_name().map(ToOwned::to_owned).or_else(full).unwrap_or_default();
        FamilyMember {
            name: name.to_string_lossy().into_owned(),
            scheme: record.and_then(|record| record.scheme.clone()),
            base: record.map(|record| {
                let mut hashes: Vec<String> =
                    record.model.shards.iter().map(|shard| shard.blake3.clone()).collect();
                hashes.sort();
                hashes
            }),
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
/// nested, what quantises more is smaller, no two are the same, all were made from one base checkpoint, and none bears the name that
/// another was written under. A name that none was written under is its owner's choice.
pub fn check_family(members: &[(String, &FamilyMember)]) -> Vec<Problem> {
    let mut sorted: Vec<&(String, &FamilyMember)> = members.iter().collect();
    sorted.sort_by(|(a, x), (b, y)| x.quantised.len().cmp(&y.quantised.len()).then_with(|| a.cmp(b)));
    let mut problems = Vec::new();
    for (name, _) in sorted.iter().filter(|(_, member)| member.quantised.is_empty()) {
        let message = format!("`{name}` quantises nothing, so it is no scheme of a sweep");
        problems.push(Problem::new(Code::Family, name.clone(), message));
    }
    for (name, member) in &sorted {
        let Some(scheme) = member.scheme.as_deref().filter(|scheme| *scheme != member.name) else { continue };
        let rightful = sorted.iter().find(|(_, other)| other.scheme.as_deref() == Some(&member.name));
        if let Some((other, _)) = rightful {
            let message = format!(
                "`{name}` was written as `{scheme}`, and `{other}` as `{}`: directories bear each other's names",
                member.name
            );
            problems.push(Problem::new(Code::Family, name.clone(), message));
        }
    }
    let mut with_base = sorted.iter().filter_map(|(name, member)| Some((name, member.base.as_ref()?)));
    if let Some((first, base)) = with_base.next() {
        for (name, _) in with_base.filter(|(_, other)| *other != base) {
            let message = format!("`{name}` was made from another base checkpoint than `{first}`");
            problems.push(Problem::new(Code::Family, name.clone(), message));
        }
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
        let (name, hashes) = ("here".into(), Some(vec![hash.into()]));
        FamilyMember { quantised, bytes, hashes, name, scheme: None, base: None }
    }

    #[test]
    fn no_directory_bears_the_name_that_another_was_written_under() {
        let called = |name: &str, scheme: Option<&str>, layers: &[&str]| FamilyMember {
            name: name.into(),
            scheme: scheme.map(Into::into),
            ..member(layers, 100 - layers.len() as u64, name)
        };
        let found = |[one, other]: [FamilyMember; 2]| {
            let members = [("a/one".to_string(), &one), ("a/other".to_string(), &other)];
            check_family(&members).into_iter().map(|problem| problem.subject).collect::<Vec<_>>()
        };
        let few = |name, scheme| called(name, scheme, &["x"]);
        let many = |name, scheme| called(name, scheme, &["x", "y"]);
        let (top10, top20) = (Some("top10"), Some("top20"));
        assert_eq!(found([few("top10", top10), many("top20", top20)]), [""; 0]);
        assert_eq!(found([few("top20", top10), many("top10", top20)]), ["a/one", "a/other"]);
        // One of them is called as it may be, the other bears its name.
        assert_eq!(found([few("top20", top10), many("best", top20)]), ["a/one"]);
        assert_eq!(found([few("best", top10), many("good", top20)]), [""; 0]);
        assert_eq!(found([few("top20", top10), many("top10", None)]), [""; 0]);
        // The same name in two places.
        assert_eq!(found([few("top10", top10), many("top10", top10)]), [""; 0]);
    }

    #[test]
    fn a_sweep_has_one_base_checkpoint() {
        let of = |layers: &[&str], base: Option<&str>| FamilyMember {
            base: base.map(|hash| vec![hash.into()]),
            ..member(layers, 100 - layers.len() as u64, "w")
        };
        let found = |few: FamilyMember, many: FamilyMember| {
            let members = [("few".to_string(), &few), ("many".to_string(), &many)];
            check_family(&members).into_iter().map(|problem| problem.message).collect::<Vec<_>>()
        };
        let (few, many) = (|base| of(&["x"], base), |base| of(&["x", "y"], base));
        assert_eq!(found(few(Some("one")), many(Some("one"))), [""; 0]);
        assert_eq!(found(few(Some("one")), many(None)), [""; 0]);
        let other = ["`many` was made from another base checkpoint than `few`"];
        assert_eq!(found(few(Some("one")), many(Some("other"))), other);
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
