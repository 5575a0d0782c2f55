//! The beginning of a line of Lua in tokens, as far as completing it needs them.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or a keyword.
    Word,
    /// A number.
    Number,
    /// A whole string.
    Text,
    /// A string that has not ended; its token is what stands in it.
    OpenText,
    /// Anything else, one character each.
    Sign,
}

/// A token, and where it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub kind: TokenKind,
    pub text: &'a str,
    pub start: usize,
}

impl Token<'_> {
    /// Whether it is this sign.
    pub fn is(&self, sign: &str) -> bool {
        self.kind == TokenKind::Sign && self.text == sign
    }
}

/// The words that are no names.
pub(super) const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// The tokens of `line`; comments are none. Nothing where it ends in a comment.
pub(super) fn tokens(line: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = line[at..].chars().next() {
        let rest = &line[at..];
        let (kind, length) = if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        } else if let Some(comment) = rest.strip_prefix("--") {
            match long_bracket(comment) {
                Some(length) => at += 2 + length?,
                None => at += rest.find('\n')?,
            }
            continue;
        } else if let Some(length) = long_bracket(rest) {
            match length {
                Some(length) => (TokenKind::Text, length),
                None => return None,
            }
        } else if c == '"' || c == '\'' {
            match end_of_text(rest, c) {
                Some(length) => (TokenKind::Text, length),
                None => {
                    tokens.push(Token { kind: TokenKind::OpenText, text: &rest[1..], start: at + 1 });
                    return Some(tokens);
                }
            }
        } else if c.is_ascii_digit() {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '.';
            (TokenKind::Number, rest.find(|c| !is_part(c)).unwrap_or(rest.len()))
        } else if c.is_ascii_alphabetic() || c == '_' {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            (TokenKind::Word, rest.find(|c| !is_part(c)).unwrap_or(rest.len()))
        } else {
            (TokenKind::Sign, c.len_utf8())
        };
        tokens.push(Token { kind, text: &rest[..length], start: at });
        at += length;
    }
    Some(tokens)
}

/// The length of the long bracket (`[[…]]`, `[=[…]=]`) that `text` begins with: `None` where it begins with none, `Some(None)`
/// where that does not end.
fn long_bracket(text: &str) -> Option<Option<usize>> {
    let level = text.strip_prefix('[')?.bytes().take_while(|b| *b == b'=').count();
    text[1 + level..].starts_with('[').then(|| {
        let close = format!("]{}]", "=".repeat(level));
        text.find(&close).map(|at| at + close.len())
    })
}

/// The length of the string in `quote`s that `text` begins with.
fn end_of_text(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_comments_are_seen_as_lua_sees_them() {
        let texts = |line| tokens(line).map(|all| all.iter().map(|t| t.text).collect::<Vec<_>>());
        assert_eq!(
            texts("a.b:c('x\\'', 1.5e3)").unwrap(),
            ["a", ".", "b", ":", "c", "(", "'x\\''", ",", "1.5e3", ")"]
        );
        assert_eq!(texts("x --[[ y ]] z").unwrap(), ["x", "z"]);
        assert_eq!(texts("x = [==[ ] ]==] .. y").unwrap(), ["x", "=", "[==[ ] ]==]", ".", ".", "y"]);
        assert_eq!((texts("x -- y"), texts("[[ x")), (None, None));
        let open = tokens("f(\"a b").unwrap();
        assert_eq!((open[2].kind, open[2].text, open[2].start), (TokenKind::OpenText, "a b", 3));
    }
}
