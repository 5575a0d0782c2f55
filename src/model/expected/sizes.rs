//! Reading of the numbers of a configuration. What is not stated is not known, but for defaults that all releases share.

use serde_json::Value;

use super::tensors::Size;

/// One part of a configuration.
#[derive(Clone, Copy)]
pub(super) struct Sizes<'a>(pub &'a Value);

impl<'a> Sizes<'a> {
    /// The part of `config` that is called `key`.
    pub fn part(config: &'a Value, key: &str) -> Option<Sizes<'a>> {
        config.get(key).filter(|part| part.is_object()).map(Sizes)
    }

    /// A number that is stated.
    pub fn number(&self, key: &str) -> Size {
        self.0.get(key)?.as_u64()?.try_into().ok()
    }

    /// How many there are of something of which each has a tensor of its own, and there are at most `most`.
    pub fn count(&self, key: &'static str, most: usize) -> Result<usize, Gap> {
        let stated = self.number(key).ok_or(Gap::NotStated(key))?;
        if stated > most { Err(Gap::TooMany { key, stated }) } else { Ok(stated) }
    }

    /// A number, or what it is where nothing is stated.
    pub fn number_or(&self, key: &str, default: usize) -> Size {
        if self.has(key) { self.number(key) } else { Some(default) }
    }

    /// Whether a key is stated, as null too.
    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    /// Whether a key is stated as null.
    pub fn is_null(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(Value::is_null)
    }

    /// A switch, off where nothing is stated.
    pub fn is_on(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A list of numbers; nothing where it is stated and is none.
    pub fn numbers_or(&self, key: &str, default: &[usize]) -> Option<Vec<usize>> {
        match self.0.get(key) {
            None => Some(default.into()),
            Some(list) => list.as_array()?.iter().map(|value| value.as_u64()?.try_into().ok()).collect(),
        }
    }
}

/// Why the tensors do not follow from a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The key is not there, or is none of what it can be.
    NotStated(&'static str),
    /// There are more of something than there are tensors.
    TooMany { key: &'static str, stated: usize },
}

/// The product of two sizes.
pub(super) fn times(one: Size, other: Size) -> Size {
    one?.checked_mul(other?)
}
