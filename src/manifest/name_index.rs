//! Positions of names in a list: five bytes for each where a map of the names themselves takes a hundred.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

/// The positions of the names of some list, by the hashes of the names. The list itself is asked for whenever it is needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameIndex {
    /// Seeded anew for each index: names that collide on purpose cannot be made.
    hasher: RandomState,
    positions: HashTable<u32>,
    duplicate: Option<(usize, usize)>,
}

impl NameIndex {
    /// Of a list of `count` names, of which `name` gives the one at a position.
    ///
    /// # Panics
    /// When there are more than 2^32 names: a file of that many is not read.
    pub fn new<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Self {
        let hasher = RandomState::new();
        let mut positions = HashTable::with_capacity(count);
        let mut duplicate = None;
        for at in 0..u32::try_from(count).expect("files are smaller") {
            let own = name(at as usize);
            let hash = hasher.hash_one(own);
            match positions.find(hash, |&other| name(other as usize) == own) {
                Some(&first) => duplicate = duplicate.or(Some((first as usize, at as usize))),
                None => {
                    positions.insert_unique(hash, at, |&at| hasher.hash_one(name(at as usize)));
                }
            }
        }
        NameIndex { hasher, positions, duplicate }
    }

    /// Where `wanted` stands; the first place of a name that is there twice.
    pub fn find<'a>(&self, wanted: &str, name: impl Fn(usize) -> &'a str) -> Option<usize> {
        let found = self.positions.find(self.hasher.hash_one(wanted), |&at| name(at as usize) == wanted);
        found.map(|&at| at as usize)
    }

    /// Two positions with the same name, the second of which is the first in the list that any name is repeated at.
    pub fn duplicate(&self) -> Option<(usize, usize)> {
        self.duplicate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_first_that_is_there_twice_are_found() {
        let names = ["b", "a", "c", "a", "b", "a"];
        let name = |at: usize| names[at];
        let index = NameIndex::new(names.len(), name);
        assert_eq!((index.find("c", name), index.find("a", name)), (Some(2), Some(1)));
        assert_eq!((index.find("d", name), index.find("", name)), (None, None));
        assert_eq!(index.duplicate(), Some((1, 3)));
        assert_eq!(NameIndex::new(3, name).duplicate(), None);
    }

    #[test]
    fn every_name_of_many_is_found_where_it_stands() {
        let names: Vec<String> = (0..10_000).map(|at| format!("model.layers.{at}.mlp.down_proj")).collect();
        let name = |at: usize| names[at].as_str();
        let index = NameIndex::new(names.len(), name);
        assert!((0..names.len()).all(|at| index.find(name(at), name) == Some(at)));
        assert_eq!((index.duplicate(), index.find("model.layers.10000.mlp.down_proj", name)), (None, None));
    }
}
