//! Choosing names by glob: the one pattern language of qlua.

use crate::error::{Error, Result};

/// A list of globs; a name is chosen when any of them matches the whole name.
///
/// `*` matches any run of characters, dots included, `?` one character, `[…]` a set. `**` means the same as `*`.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    patterns: Vec<glob::Pattern>,
}

impl Globs {
    /// Compiles `patterns`.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the first pattern that does not parse.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self> {
        let patterns = patterns.into_iter().map(|p| compile(p.as_ref())).collect::<Result<_>>()?;
        Ok(Globs { patterns })
    }

    /// Whether any pattern matches all of `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.patterns.iter().any(|p| p.matches(name))
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns that match none of `names`: most likely typing errors.
    pub fn unmatched<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Vec<&str> {
        self.patterns.iter().filter(|p| !names.clone().any(|n| p.matches(n))).map(|p| p.as_str()).collect()
    }
}

fn compile(pattern: &str) -> Result<glob::Pattern> {
    // glob gives `**` a meaning of its own (path components) and rejects it inside a word; names have no components.
    let mut collapsed = pattern.to_string();
    while collapsed.contains("**") {
        collapsed = collapsed.replace("**", "*");
    }
    glob::Pattern::new(&collapsed).map_err(|e| {
        Error::argument(format!("the glob `{pattern}` does not parse: {}", e.msg))
            .with_hint("`*` matches any run of characters, `?` one, `[ab]` a set")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names_and_stars_cross_dots() {
        let globs = Globs::new(["visual.**.qkv", "lm_head"]).unwrap();
        assert!(globs.matches("visual.blocks.0.attn.qkv"));
        assert!(!globs.matches("model.visual.blocks.0.attn.qkv"));
        assert!(globs.matches("lm_head") && !globs.matches("lm_head.weight"));
        assert_eq!(globs.unmatched(["visual.x.qkv"].into_iter()), ["lm_head"]);
    }

    #[test]
    fn a_bad_glob_is_named() {
        let error = Globs::new(["[a"]).unwrap_err().to_string();
        assert!(error.contains("`[a`"), "{error}");
    }
}
