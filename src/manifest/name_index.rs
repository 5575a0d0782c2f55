//! Positions of names in a list, found by bisection: a million of them take 4 MB, a map of as many 130.

/// The positions of the names of some list, in the order of the names. The list itself is asked for whenever it is needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameIndex {
    sorted: Vec<u32>,
}

impl NameIndex {
    /// Of a list of `count` names, of which `name` gives the one at a position.
    ///
    /// # Panics
    /// When there are more than 2^32 names: a file of that many is not read.
    pub fn new<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Self {
        let mut sorted: Vec<u32> = (0..u32::try_from(count).expect("files are smaller")).collect();
        // Equal names stay in the order of the list.
        sorted.sort_by(|&a, &b| name(a as usize).cmp(name(b as usize)));
        NameIndex { sorted }
    }

    /// Where `wanted` stands.
    pub fn find<'a>(&self, wanted: &str, name: impl Fn(usize) -> &'a str) -> Option<usize> {
        let found = self.sorted.binary_search_by(|&at| name(at as usize).cmp(wanted));
        found.ok().map(|found| self.sorted[found] as usize)
    }

    /// Two positions with the same name, the first of which the second is not the first in the list.
    pub fn duplicate<'a>(&self, name: impl Fn(usize) -> &'a str) -> Option<(usize, usize)> {
        let pairs = self.sorted.windows(2).map(|pair| (pair[0] as usize, pair[1] as usize));
        pairs.filter(|&(a, b)| name(a) == name(b)).min_by_key(|&(_, second)| second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_the_first_that_is_there_twice_are_found() {
        let names = ["b", "a", "c", "a", "b"];
        let name = |at: usize| names[at];
        let index = NameIndex::new(names.len(), name);
        assert_eq!(index.find("c", name), Some(2));
        assert_eq!((index.find("d", name), index.find("", name)), (None, None));
        assert_eq!(index.duplicate(name), Some((1, 3)));
        assert_eq!(NameIndex::new(3, name).duplicate(name), None);
    }
}
