//! Choosing names by glob: the one pattern language of qlua.

use crate::error::{Error, Result};

/// A list of globs; a name is chosen when any of them matches the whole name.
///
/// `*` matches any run of characters, dots included, `?` one character, `[…]` a set. `**` means the same as `*`.
#[derive(Debug, Clone, Default)]
pub struct Globs {
    patterns: Vec<Compiled>,
}

/// One glob.
#[derive(Debug, Clone)]
struct Compiled {
    pattern: glob::Pattern,
    /// Its longest run of characters that stand for themselves: whatever it matches contains it, and to look for that takes a
    /// tenth of the time.
    literal: String,
}

impl Compiled {
    fn matches(&self, name: &str) -> bool {
        name.contains(self.literal.as_str()) && self.pattern.matches(name)
    }
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
        self.patterns.iter().any(|glob| glob.matches(name))
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns that match none of `names`: most likely typing errors.
    pub fn unmatched<'a>(&self, names: impl Iterator<Item = &'a str> + Clone) -> Vec<&str> {
        let unmatched = self.patterns.iter().filter(|glob| !names.clone().any(|name| glob.matches(name)));
        unmatched.map(|glob| glob.pattern.as_str()).collect()
    }
}

fn compile(pattern: &str) -> Result<Compiled> {
    // glob gives `**` a meaning of its own (path components) and rejects it inside a word; names have no components.
    let mut collapsed = pattern.to_string();
    while collapsed.contains("**") {
        collapsed = collapsed.replace("**", "*");
    }
    let compiled = glob::Pattern::new(&collapsed).map_err(|e| {
        Error::argument(format!("the glob `{pattern}` does not parse: {}", e.msg))
            .with_hint("`*` matches any run of characters, `?` one, `[ab]` a set")
    })?;
    Ok(Compiled { pattern: compiled, literal: longest_literal(&collapsed).to_string() })
}

/// The longest run without `*` and `?` before the first set and after the last one.
fn longest_literal(pattern: &str) -> &str {
    let before = pattern.split('[').next().unwrap_or(pattern);
    let after = if before.len() < pattern.len() { pattern.rsplit(']').next().unwrap_or("") } else { "" };
    let runs = [before, after].into_iter().flat_map(|text| text.split(['*', '?']));
    runs.max_by_key(|run| run.len()).unwrap_or("")
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
    fn sets_and_the_characters_around_them_match_as_they_are_written() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("a[*]b", &["a*b"], &["axb", "a[*]b"]),
            ("[ab]*.mlp", &["a.mlp", "bx.mlp"], &["c.mlp", "a.mlp.x"]),
            ("x[]]y", &["x]y"], &["xy", "x[]]y"]),
            ("x[!]]longer", &["x.longer"], &["x]longer"]),
            ("[a]longest[b]?", &["alongestbx"], &["along", "alongestb"]),
            ("a]b", &["a]b"], &["ab"]),
            ("*", &["", "x"], &[]),
        ];
        for (glob, matching, others) in cases {
            let globs = Globs::new([glob]).unwrap();
            assert!(matching.iter().all(|name| globs.matches(name)), "{glob}");
            assert!(!others.iter().any(|name| globs.matches(name)), "{glob}");
        }
    }

    #[test]
    fn a_bad_glob_is_named() {
        let error = Globs::new(["[a"]).unwrap_err().to_string();
        assert!(error.contains("`[a`"), "{error}");
    }
}
