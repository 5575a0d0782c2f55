//! What Lua says of a nil that came from a row, as a sentence about that row.

use super::types::{Key, Record};

/// What a script last read from a row that does not have it.
pub(super) struct Absent {
    pub record: &'static Record,
    pub key: &'static Key,
    /// The row's own name, where it has one.
    pub subject: Option<String>,
    /// Where it was read.
    pub position: Option<String>,
}

impl Absent {
    /// Sentence and hint for `message`, an error of Lua itself without its position, where it is one about a nil that may
    /// be this one: raised at `position`, where that is given.
    pub fn explain(&self, message: &str, position: Option<&str>) -> Option<(String, String)> {
        let Absent { record, key, subject, position: read_at } = self;
        let is_about_nil =
            message.starts_with("attempt to ") && message.contains("nil") || message.contains("got nil");
        let is_elsewhere = position.is_some() && position != read_at.as_deref();
        let is_other = message.contains("(field '") && !message.contains(&format!("(field '{}')", key.name));
        if !is_about_nil || is_elsewhere || is_other {
            return None;
        }
        let subject = subject.as_ref().map_or(format!("this {}", record.name), |name| format!("`{name}`"));
        let when = key.doc.split_once("; nil ").map_or(String::new(), |(_, when)| format!(" {when}"));
        let variable = record.name.to_lowercase();
        Some((
            format!("{subject} has no `{}`: it is nil{when} ({message})", key.name),
            format!("test it first: `{variable}.{} and …`", key.name),
        ))
    }
}
