//! Source as the compiler sees it: its tokens, the names that `use` brings in, and the paths in it, wherever they stand.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Names that come right before a name that is defined.
const DEFINING: &[&str] = &["struct", "enum", "union", "trait", "type", "fn", "const", "static", "mod"];

/// What an item begins with; in other places, such as a field, what is compiled for tests alone ends at a comma.
const ITEMS: &[&str] = &[
    "pub",
    "fn",
    "mod",
    "use",
    "struct",
    "enum",
    "union",
    "trait",
    "type",
    "impl",
    "const",
    "static",
    "unsafe",
    "async",
    "extern",
    "let",
    "macro_rules",
];

/// A path that stands somewhere, and the module that it is read in: that of the file, or one that is written out in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedPath {
    pub module: String,
    pub path: Vec<String>,
}

/// A name that `use` brings into a module; `*` for all of what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedName {
    pub name: String,
    pub from: PlacedPath,
    /// Whether it is passed on to others.
    pub passed_on: bool,
}

/// One file without comments, literals and what is compiled for tests alone.
pub struct Source {
    pub tokens: Vec<String>,
    /// What `use` brings in.
    pub uses: Vec<UsedName>,
    /// Paths of more than one part in all other places, macros and the attributes of serde among them.
    pub paths: Vec<PlacedPath>,
    /// The modules below it that are compiled for tests alone.
    pub tests: Vec<String>,
}

impl Source {
    /// The file of `module` with this text.
    pub fn of(module: &str, text: &str) -> Self {
        let (tokens, tests) = without_tests(tokens(text));
        let tests = tests.iter().map(|name| joined(module, name)).collect();
        let mut source = Source { tokens, uses: Vec::new(), paths: Vec::new(), tests };
        source.read(module);
        source
    }

    /// Whether something of this name is defined in it, at any depth.
    pub fn defines(&self, name: &str) -> bool {
        let is_here = |pair: &[String]| DEFINING.contains(&&*pair[0]) && pair[1] == name;
        let is_macro = |three: &[String]| three[0] == "macro_rules" && three[1] == "!" && three[2] == name;
        self.tokens.windows(2).any(is_here) || self.tokens.windows(3).any(is_macro)
    }

    /// Whether these tokens stand in it, one after the other.
    pub fn has(&self, tokens: &[&str]) -> bool {
        self.tokens.windows(tokens.len()).any(|window| window.iter().eq(tokens))
    }

    /// The types that it defines, at any depth. What an `impl` or a trait calls its own, such as `Item`, is no name of a file.
    pub fn types(&self) -> Vec<&str> {
        let (mut types, mut blocks, mut head) = (Vec::new(), vec![false], 0);
        for (at, token) in self.tokens.iter().enumerate() {
            if !matches!(&**token, "{" | "}" | ";") {
                continue;
            }
            let text = &self.tokens[head..at];
            head = at + 1;
            let owned = blocks.last() == Some(&true);
            for pair in text.windows(2) {
                let is_type =
                    matches!(&*pair[0], "struct" | "enum" | "union" | "trait") || pair[0] == "type" && !owned;
                if is_type && pair[1].starts_with(char::is_uppercase) {
                    types.push(&*pair[1]);
                }
            }
            let has = |word: &str| text.iter().any(|token| token == word);
            match &**token {
                "{" => blocks.push((has("impl") || has("trait")) && !has("fn")),
                "}" => drop(blocks.pop()),
                _ => {}
            }
        }
        types
    }

    fn read(&mut self, file: &str) {
        let (mut module, mut blocks, mut at) = (file.to_string(), Vec::new(), 0);
        let token = |at: usize| self.tokens.get(at).map_or("", String::as_str);
        while at < self.tokens.len() {
            match token(at) {
                "mod" if token(at + 2) == "{" => {
                    let inner = joined(&module, token(at + 1));
                    blocks.push(std::mem::replace(&mut module, inner));
                    at += 3;
                }
                "{" => {
                    blocks.push(module.clone());
                    at += 1;
                }
                "}" => {
                    module = blocks.pop().unwrap_or_else(|| file.to_string());
                    at += 1;
                }
                // `use<'a>` is a bound.
                "use" if token(at + 1) != "<" => {
                    let passed_on = at > 0 && matches!(token(at - 1), "pub" | ")");
                    at += 1;
                    let mut found = Vec::new();
                    use_tree(&self.tokens, &mut at, &[], &mut found);
                    self.uses.extend(found.into_iter().map(|(name, path)| UsedName {
                        name,
                        from: PlacedPath { module: module.clone(), path },
                        passed_on,
                    }));
                }
                // Where something may be seen from is above it anyway.
                "(" if token(at + 1) == "in" => {
                    while !matches!(token(at), ")" | "") {
                        at += 1;
                    }
                }
                first if is_word(first) && token(at + 1) == "::" => {
                    let is_foreign = at > 0 && token(at - 1) == "::";
                    let mut path = vec![first.to_string()];
                    at += 1;
                    while token(at) == "::" && is_word(token(at + 1)) {
                        path.push(token(at + 1).to_string());
                        at += 2;
                    }
                    if !is_foreign && path.len() > 1 {
                        self.paths.push(PlacedPath { module: module.clone(), path });
                    }
                }
                _ => at += 1,
            }
        }
    }
}

/// `name` below `module`.
pub fn joined(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_string() } else { format!("{module}::{name}") }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names and paths of the use tree at `at`, below `prefix`. A path that begins with `::` is one of another crate.
fn use_tree(tokens: &[String], at: &mut usize, prefix: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let mut path = prefix.to_vec();
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    loop {
        match token(*at) {
            "::" => {
                if path.is_empty() {
                    path.push("::".into());
                }
                *at += 1;
            }
            "{" => {
                *at += 1;
                while !matches!(token(*at), "}" | "") {
                    let before = *at;
                    use_tree(tokens, at, &path, found);
                    if token(*at) == "," || *at == before {
                        *at += 1;
                    }
                }
                *at += 1;
                return;
            }
            "*" => {
                *at += 1;
                path.push("*".into());
                found.push(("*".into(), path));
                return;
            }
            word if is_word(word) => {
                path.push(word.into());
                *at += 1;
                if token(*at) == "::" {
                    continue;
                }
                let own = path.iter().rev().find(|part| *part != "self").cloned().unwrap_or_default();
                let name = if token(*at) == "as" { token(*at + 1).to_string() } else { own };
                *at += if token(*at) == "as" { 2 } else { 0 };
                found.push((name, path));
                return;
            }
            _ => return,
        }
    }
}

/// Every token; a literal is `""`.
fn tokens(text: &str) -> Vec<String> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{error} in: {text}"));
    let mut found = Vec::new();
    flatten(stream, &mut found);
    found
}

fn flatten(stream: TokenStream, found: &mut Vec<String>) {
    let mut trees = stream.into_iter().peekable();
    while let Some(tree) = trees.next() {
        match tree {
            TokenTree::Ident(word) => {
                let word = word.to_string();
                // A raw name is the name, unless the name alone would mean something else.
                let bare = word.strip_prefix("r#").filter(|bare| !ITEMS.contains(bare) && *bare != "as");
                found.push(bare.unwrap_or(&word).into());
            }
            TokenTree::Literal(_) => found.push("\"\"".into()),
            TokenTree::Punct(mark) => match (mark.as_char(), trees.peek()) {
                (':', Some(TokenTree::Punct(next)))
                    if mark.spacing() == Spacing::Joint && next.as_char() == ':' =>
                {
                    trees.next();
                    found.push("::".into());
                }
                // A lifetime.
                ('\'', Some(TokenTree::Ident(_))) => drop(trees.next()),
                // In a macro `$crate` is `crate`.
                ('$', Some(TokenTree::Ident(word))) if *word == "crate" => {}
                (mark, _) => found.push(mark.into()),
            },
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::None => ("", ""),
                };
                found.push(open.into());
                if is_serde(&group.stream()) {
                    flatten_named(group.stream(), found);
                } else {
                    flatten(group.stream(), found);
                }
                found.push(close.into());
            }
        }
    }
    found.retain(|token| !token.is_empty());
}

/// Whether this is what stands in an attribute of serde, which names functions and types by strings.
fn is_serde(stream: &TokenStream) -> bool {
    let mut trees = stream.clone().into_iter();
    let is_word = |tree: Option<TokenTree>| matches!(tree, Some(TokenTree::Ident(word)) if word == "serde");
    is_word(trees.next()) && matches!(trees.next(), Some(TokenTree::Group(_))) && trees.next().is_none()
}

/// As [`flatten`], with what strings hold.
fn flatten_named(stream: TokenStream, found: &mut Vec<String>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => flatten_named(group.stream(), found),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                match text.trim_matches('"').parse::<TokenStream>() {
                    Ok(named) => flatten(named, found),
                    Err(_) => found.push("\"\"".into()),
                }
                found.push(",".into());
            }
            other => flatten(other.into(), found),
        }
    }
}

/// `tokens` without what is compiled for tests alone, and the names of the modules among that.
fn without_tests(tokens: Vec<String>) -> (Vec<String>, Vec<String>) {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut modules, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        let rest = &tokens[at..];
        if rest.len() < TEST.len() || !rest.iter().zip(TEST).all(|(token, test)| token == test) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let item = &rest[TEST.len()..];
        let length = item_length(item);
        if let Some(place) = item[..length].iter().position(|token| token == "mod")
            && item.get(place + 2).is_some_and(|token| token == ";")
        {
            modules.push(item[place + 1].clone());
        }
        at += TEST.len() + length;
    }
    (kept, modules)
}

/// How many tokens the item that `tokens` begin with has: up to its block, or its semicolon.
fn item_length(tokens: &[String]) -> usize {
    let mut start = 0;
    while tokens.get(start).is_some_and(|token| token == "#") {
        let mut depth = 0;
        start += 1 + tokens[start + 1..]
            .iter()
            .take_while(|token| {
                depth += i32::from(*token == "[") - i32::from(*token == "]");
                depth > 0
            })
            .count();
        start += 1;
    }
    let is_item = tokens.get(start).is_some_and(|token| ITEMS.contains(&&**token));
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match &**token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" if depth == 0 => return at,
            "}" if depth == 1 => return at + 1,
            "}" | ")" | "]" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            "," if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
