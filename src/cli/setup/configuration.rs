//! What `.luarc.json` says: JSON with dotted keys (`"runtime.version"`), or with objects in their place.

use serde_json::{Map, Value, json};

use super::comments::without_comments;
use crate::error::{Error, Result};
use crate::json;

/// The version of Lua that qlua runs, as lua-language-server calls it.
const LUA: &str = "Lua 5.4";

/// The warning about keys that a script adds to a row, which it may; what is read-only raises.
const ADDED_KEYS: &str = "inject-field";

/// A `.luarc.json`.
#[derive(Default)]
pub(super) struct Configuration {
    entries: Map<String, Value>,
    is_changed: bool,
    has_comments: bool,
}

impl Configuration {
    /// Reads `text`, or says what is wrong with it.
    pub fn parse(text: &[u8]) -> std::result::Result<Self, &'static str> {
        let text = json::without_mark(text);
        if text.trim_ascii().is_empty() {
            return Ok(Configuration::default());
        }
        let (value, has_comments) = match serde_json::from_slice(text) {
            Ok(value) => (value, false),
            Err(_) => match serde_json::from_slice(&without_comments(text)) {
                Ok(value) => (value, true),
                Err(_) => return Err("is no JSON"),
            },
        };
        match value {
            Value::Object(entries) => Ok(Configuration { entries, is_changed: false, has_comments }),
            _ => Err("is no JSON object"),
        }
    }

    /// Whether it holds what [`Configuration::text`] would leave out.
    pub fn has_comments(&self) -> bool {
        self.has_comments
    }

    /// Whether it says something else than what was read.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Its text.
    pub fn text(&self) -> Vec<u8> {
        json::pretty(&self.entries)
    }

    /// Has it know the declarations in `library`, and gives what it says otherwise and goes on saying.
    ///
    /// # Errors
    /// When its list of libraries is no list.
    pub fn know(&mut self, library: &str) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        match self.entry("runtime", "version") {
            Some(version) if version.as_str() == Some(LUA) => {}
            Some(version) => notes.push(format!("it says that Lua is {version}; qlua runs {LUA}")),
            None => self.add("runtime.version", json!(LUA)),
        }
        match self.entry("workspace", "library") {
            None => self.add("workspace.library", json!([library])),
            Some(Value::Array(paths)) => {
                if !paths.iter().any(|path| path.as_str() == Some(library)) {
                    paths.push(json!(library));
                    self.is_changed = true;
                }
            }
            Some(_) => {
                return Err(Error::refused("`workspace.library` of .luarc.json is no list")
                    .with_hint(format!("make it a list of paths, {} among them", json!(library))));
            }
        }
        // Nothing that has to be written by hand.
        if !self.has_comments && self.entry("diagnostics", "disable").is_none() {
            self.add("diagnostics.disable", json!([ADDED_KEYS]));
        }
        Ok(notes)
    }

    fn add(&mut self, key: &str, value: Value) {
        self.entries.insert(key.into(), value);
        self.is_changed = true;
    }

    /// What is said of `section.name`, in whichever way it is written.
    fn entry(&mut self, section: &str, name: &str) -> Option<&mut Value> {
        let (dotted, whole) = (format!("{section}.{name}"), format!("Lua.{section}.{name}"));
        let lua = format!("Lua.{section}");
        let ways: [&[&str]; 6] = [
            &[&dotted],
            &[&whole],
            &[section, name],
            &["Lua", &dotted],
            &["Lua", section, name],
            &[&lua, name],
        ];
        let way = ways.into_iter().find(|way| {
            let mut keys = way.iter();
            let first = keys.next().and_then(|key| self.entries.get(*key));
            keys.try_fold(first, |value, key| Some(value?.get(*key))).flatten().is_some()
        })?;
        let (last, before) = way.split_last()?;
        let mut at = &mut self.entries;
        for key in before {
            at = at.get_mut(*key)?.as_object_mut()?;
        }
        at.get_mut(*last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `text` becomes, and the notes.
    fn known(text: &str) -> (Value, Vec<String>, bool) {
        let mut configuration = Configuration::parse(text.as_bytes()).unwrap();
        let notes = configuration.know("/lib").unwrap();
        (serde_json::from_slice(&configuration.text()).unwrap(), notes, configuration.is_changed())
    }

    #[test]
    fn what_is_there_stays_in_whichever_way_it_is_written() {
        let fresh = json!({
            "runtime.version": "Lua 5.4", "diagnostics.disable": ["inject-field"], "workspace.library": ["/lib"],
        });
        assert_eq!(known(""), (fresh.clone(), vec![], true));
        assert_eq!(known(&fresh.to_string()), (fresh, vec![], false));
        let (value, notes, _) = known(
            r#"{"Lua": {"workspace": {"library": ["/own"]}, "diagnostics.disable": []}, "runtime.version": "LuaJIT"}"#,
        );
        assert_eq!(
            value,
            json!({"Lua": {"workspace": {"library": ["/own", "/lib"]}, "diagnostics.disable": []}, "runtime.version": "LuaJIT"})
        );
        assert_eq!(notes, ["it says that Lua is \"LuaJIT\"; qlua runs Lua 5.4"]);
        for section in [r#"{"workspace.library": ["/lib"]}"#, r#"{"workspace": {"library": ["/lib"]}}"#] {
            assert_eq!(known(section).0["runtime.version"], "Lua 5.4");
            assert_eq!(known(section).0.as_object().unwrap().len(), 3);
        }
    }

    #[test]
    fn what_cannot_be_changed_without_loss_is_refused() {
        assert!(Configuration::parse(b"// mine\n{").is_err());
        assert!(Configuration::parse(b"[]").is_err());
        let mut configuration = Configuration::parse(br#"{"workspace.library": "x"}"#).unwrap();
        assert!(configuration.know("/lib").unwrap_err().to_string().contains("is no list"));
    }
}
