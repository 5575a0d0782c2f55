//! Regular expressions of configurations, which are Python's: matched as `re.match` does, from the start of a name.
//!
//! Most are such that this crate's engine reads them in the same way and in linear time. The others, with look-ahead and the
//! like, go to one that tries and goes back, with a bound on how often: what it cannot decide is not guessed.

use std::cell::Cell;

use fancy_regex::{Error, ParseError};
use regex::Regex;

/// How often an expression may go back on one name; those that people write need a few hundred.
const STEPS: usize = 50_000;

/// The most bytes that all expressions of one list may take together, compiled. Thousands of the kind that people write fit.
const BUDGET: usize = 32 << 20;
/// The bytes that one expression is given, until they suffice; it is charged with all of them.
const SHARES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// The most bytes that an engine may remember while it matches.
const CACHE: usize = 128 << 10;

/// What the expressions of one list may still take: a configuration of a stranger's must not fill the memory.
pub struct ExpressionBudget {
    left: usize,
}

impl Default for ExpressionBudget {
    fn default() -> Self {
        ExpressionBudget { left: BUDGET }
    }
}

impl ExpressionBudget {
    /// Reads `pattern`, which is anchored as it has to be already and needs no look-ahead.
    pub(super) fn linear(&mut self, pattern: &str) -> Result<Regex, Flaw> {
        self.compile(1, |share| {
            let built = regex::RegexBuilder::new(pattern).size_limit(share).dfa_size_limit(CACHE).build();
            built.map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => Failed::TooBig,
                _ => Failed::For(Flaw::Broken),
            })
        })
    }

    /// Reads `pattern` for an engine that tries and goes back, and compiles each part that needs no such by itself.
    fn trying(&mut self, pattern: &str) -> Result<fancy_regex::Regex, Flaw> {
        let parts = 1 + pattern.bytes().filter(|b| *b == b'(').count();
        self.compile(parts, |share| {
            let mut builder = fancy_regex::RegexBuilder::new(pattern);
            builder.backtrack_limit(STEPS).delegate_size_limit(share).delegate_dfa_size_limit(CACHE);
            builder.build().map_err(|error| match &error {
                Error::CompileError(_) => Failed::TooBig,
                _ => Failed::For(flaw(&error)),
            })
        })
    }

    /// Gives `build` the least share that suffices for each of so many `parts`, and charges all that were tried.
    fn compile<T>(&mut self, parts: usize, build: impl Fn(usize) -> Result<T, Failed>) -> Result<T, Flaw> {
        for share in SHARES {
            let charged = share.saturating_mul(parts);
            if charged > self.left {
                return Err(Flaw::Unknown);
            }
            // What turns out to be too large has taken its time all the same.
            self.left -= charged;
            match build(share) {
                Ok(built) => return Ok(built),
                Err(Failed::For(flaw)) => return Err(flaw),
                Err(Failed::TooBig) => (),
            }
        }
        Err(Flaw::Unknown)
    }
}

/// Why an expression was not compiled.
enum Failed {
    TooBig,
    For(Flaw),
}

/// An expression that is understood.
pub struct Expression {
    engine: MatchedBy,
    /// Whether it took too many steps on some name, so that it is not known what it matches.
    gave_up: Cell<bool>,
}

enum MatchedBy {
    Linear(Regex),
    Trying(fancy_regex::Regex),
}

/// Why there is no [`Expression`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Python does not read it either.
    Broken,
    /// It is not known here what Python makes of it, or it is too large to find out.
    Unknown,
}

impl Expression {
    /// Reads `pattern`, which takes of `budget`.
    ///
    /// # Errors
    /// What keeps it from being read.
    pub fn new(pattern: &str, budget: &mut ExpressionBudget) -> Result<Self, Flaw> {
        if pattern.starts_with(['*', '+', '?']) {
            return Err(Flaw::Broken);
        }
        if closes_too_often(pattern) {
            // A comment may hold any parenthesis.
            return Err(if pattern.contains('#') { Flaw::Unknown } else { Flaw::Broken });
        }
        let anchored = format!(r"\A(?:{})", translated(pattern).ok_or(Flaw::Unknown)?);
        let engine = match budget.linear(&anchored) {
            Ok(regex) => MatchedBy::Linear(regex),
            Err(Flaw::Unknown) => return Err(Flaw::Unknown),
            Err(Flaw::Broken) => MatchedBy::Trying(budget.trying(&anchored)?),
        };
        Ok(Expression { engine, gave_up: Cell::new(false) })
    }

    /// Whether it matches the beginning of `name`. Once it has given up it matches nothing any more.
    pub fn is_match(&self, name: &str) -> bool {
        match &self.engine {
            MatchedBy::Linear(regex) => regex.is_match(name),
            MatchedBy::Trying(_) if self.gave_up.get() => false,
            MatchedBy::Trying(regex) => regex.is_match(name).unwrap_or_else(|_| {
                self.gave_up.set(true);
                false
            }),
        }
    }

    /// Whether it gave up on some name.
    pub fn gave_up(&self) -> bool {
        self.gave_up.get()
    }
}

fn flaw(error: &Error) -> Flaw {
    match error {
        Error::ParseError(
            _,
            ParseError::UnclosedOpenParen | ParseError::TrailingBackslash | ParseError::InvalidClass,
        ) => Flaw::Broken,
        _ => Flaw::Unknown,
    }
}

/// Whether a parenthesis closes what none opened. Put between others, such an expression would close these: Python, which puts
/// none around it, rejects it.
fn closes_too_often(pattern: &str) -> bool {
    let mut open = 0usize;
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => {
                characters.next();
            }
            '[' => {
                characters.next_if_eq(&'^');
                // A bracket that closes at once is one of the characters.
                characters.next_if_eq(&']');
                while let Some(inside) = characters.next().filter(|c| *c != ']') {
                    if inside == '\\' {
                        characters.next();
                    }
                }
            }
            '(' => open += 1,
            ')' if open == 0 => return true,
            ')' => open -= 1,
            _ => {}
        }
    }
    false
}

/// `pattern` in the words of this language's engines: inside of a class Python knows no classes and no operations on them, its
/// `\Z` is the end, and `{,3}` begins at none. Nothing for what begins with a backslash and means something here alone.
fn translated(pattern: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = pattern.chars().peekable();
    // Inside of a class: how many characters of it came before.
    let mut class: Option<usize> = None;
    while let Some(c) = characters.next() {
        let position = class;
        class = class.map(|before| before + 1);
        match (c, position) {
            ('\\', _) => match characters.next() {
                Some('Z') if position.is_none() => out.push_str(r"\z"),
                Some('h' | 'H' | 'R' | 'X' | 'K' | 'G' | 'O' | 'z' | 'p' | 'P' | 'e' | '<' | '>') => {
                    return None;
                }
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            ('[', None) => {
                class = Some(0);
                out.push('[');
                if characters.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A bracket that closes at once is one of the characters.
                if characters.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                    class = Some(1);
                }
            }
            (']', Some(_)) => {
                class = None;
                out.push(']');
            }
            ('[' | '&' | '~', Some(_)) => out.extend(['\\', c]),
            ('-', Some(_)) if characters.peek() == Some(&'-') => out.push_str(r"\-"),
            ('{', None) if characters.peek() == Some(&',') => out.push_str("{0"),
            _ => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expression(pattern: &str) -> Result<Expression, Flaw> {
        Expression::new(pattern, &mut ExpressionBudget::default())
    }

    fn matches(pattern: &str, name: &str) -> bool {
        expression(pattern).unwrap_or_else(|flaw| panic!("{pattern}: {flaw:?}")).is_match(name)
    }

    /// What Python 3.12's `re.match` says.
    #[test]
    fn expressions_match_as_python_matches_them() {
        let gate = "model.layers.3.mlp.gate";
        for (pattern, name, expected) in [
            (".*mlp.gate$", gate, true),
            ("mlp.gate$", gate, false),
            ("(?!.*experts).*", gate, true),
            ("(?!.*experts).*", "model.layers.3.mlp.experts.0.up_proj", false),
            (r".*experts\.\d+\.(?!down).*_proj", "model.layers.3.mlp.experts.0.up_proj", true),
            (r".*experts\.\d+\.(?!down).*_proj", "model.layers.3.mlp.experts.0.down_proj", false),
            (r".*(?<=shared_)expert\.", "a.shared_expert.up_proj", true),
            (r"(?P<n>layers)\.\d{,2}\.x\Z", "layers.12.x", true),
            (r"(?P<n>layers)\.\d{,2}\.x\Z", "layers.123.x", false),
            ("[[a]b", "[b", true),
            ("[]x]+$", "]x", true),
            ("[^]x]", "]", false),
            (r"(\)|[)])[])]", ")]", true),
            ("[a&&b]+$", "&&", true),
            ("(?i)MODEL", gate, true),
            (r"(a|b)\1", "bb", true),
            (r"(a|b)\1", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn what_python_rejects_is_told_from_what_is_not_known() {
        for broken in ["(", "a[", "*experts", "a\\", ")a|(b", "a)", "(a))|(b", r"\()|(a"] {
            assert_eq!(expression(broken).err(), Some(Flaw::Broken), "{broken}");
        }
        assert_eq!(expression(r"\p{Lu}.*").err(), Some(Flaw::Unknown));
    }

    #[test]
    fn an_expression_that_takes_too_long_gives_up_and_says_so() {
        let expression = expression(r"(?:(?:a|a(?!b))+)+[^a]$").unwrap();
        let name = "a".repeat(60);
        assert!(!expression.is_match(&name));
        assert!(expression.gave_up() && !expression.is_match("ab"));
    }

    #[test]
    fn all_expressions_of_a_list_together_are_bounded() {
        let mut budget = ExpressionBudget::default();
        assert_eq!(Expression::new(r"\w{150}", &mut budget).err(), Some(Flaw::Unknown), "too large for one");
        assert_eq!(Expression::new(r"(?!a)\w{150}", &mut budget).err(), Some(Flaw::Unknown));
        let read = (0..1000).filter(|_| Expression::new(r"\w{20}", &mut budget).is_ok()).count();
        assert!((3..100).contains(&read), "{read}");
        let mut budget = ExpressionBudget::default();
        for layer in 0..2000 {
            let pattern = format!(r".*layers\.{layer}\.self_attn\.(q|k|v)_proj$");
            assert!(Expression::new(&pattern, &mut budget).is_ok(), "{layer}");
        }
    }
}
