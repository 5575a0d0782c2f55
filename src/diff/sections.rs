//! What stands in the long sections of a manifest beside what policies read. A section may have a million entries, so that what is
//! only compared is kept as a hash.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// What of an entry of `layer_sensitivity` is compared as numbers and names, not here.
const COMPARED: [&str; 5] = ["formats", "scores", "costs", "module_names", "rank"];

/// What an entry of `layer_sensitivity` says beside what is compared otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct RestOfEntry {
    /// The `importance` as it stands there: the bits of a number, the hash of anything else.
    pub importance: Option<u64>,
    /// The hash of all other keys; nothing where there are none.
    pub others: Option<u64>,
}

/// The rest of each entry of `layer_sensitivity` that has one, by its key.
#[derive(Debug, Default)]
pub(super) struct RestOfEntries(HashMap<String, RestOfEntry>);

impl RestOfEntries {
    /// The rest of the entry `key`.
    pub fn of(&self, key: &str) -> RestOfEntry {
        self.0.get(key).copied().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for RestOfEntries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut rests = HashMap::new();
        let mut take_in = |key: Value, entry: Value| {
            let (Value::String(key), Value::Object(mut entry)) = (key, entry) else { return };
            let importance = entry
                .remove("importance")
                .map(|value| value.as_f64().map_or_else(|| hash(&value), f64::to_bits));
            COMPARED.iter().for_each(|key| drop(entry.remove(*key)));
            let others = (!entry.is_empty()).then(|| hash(&entry));
            let rest = RestOfEntry { importance, others };
            if rest != RestOfEntry::default() {
                rests.insert(key, rest);
            }
        };
        deserializer.deserialize_any(Entries(&mut take_in))?;
        Ok(RestOfEntries(rests))
    }
}

/// All that a section holds, whatever it is; the order of keys is no difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SectionHash(u64);

impl<'de> Deserialize<'de> for SectionHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut sum = 0u64;
        deserializer
            .deserialize_any(Entries(&mut |key, entry| sum = sum.wrapping_add(hash(&(key, entry)))))?;
        Ok(SectionHash(sum))
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hands over each entry of an object or a list with its key or place, and anything else as one.
struct Entries<'a>(&'a mut dyn FnMut(Value, Value));

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a section of a manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, entry)) = map.next_entry::<String, Value>()? {
            (self.0)(Value::String(key), entry);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut place = 0u64;
        while let Some(entry) = list.next_element::<Value>()? {
            (self.0)(Value::from(place), entry);
            place += 1;
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        (self.0)(Value::Null, Value::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        (self.0)(Value::Null, Value::Bool(value));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        (self.0)(Value::Null, Value::from(text));
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        (self.0)(Value::Null, Value::from(number));
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        (self.0)(Value::Null, Value::from(number));
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        (self.0)(Value::Null, Value::from(number));
        Ok(())
    }
}
