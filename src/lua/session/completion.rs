//! What may stand at the end of a line: names of globals, fields, methods, options and their words, as the declarations have them.
//! Nothing is called and no metamethod runs for it.

use std::collections::BTreeSet;

use mlua::{Lua, Table, Value};

use super::help::declared_name;
use super::names::Names;
use super::tokens::{KEYWORDS, Token, TokenKind, tokens};
use crate::lua::declare::{Api, Callable, ClassDeclaration, Namespace, Param};
use crate::lua::rows::is_row;
use crate::lua::types::Type;

/// A way to go on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Suggestion {
    /// What is listed.
    pub shown: String,
    /// What is inserted.
    pub text: String,
}

/// What may stand at the end of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Completions {
    /// One of these, from this byte of the line on.
    Words(usize, Vec<Suggestion>),
    /// The path of a file; the string that it is in begins at this byte.
    Path(usize),
}

/// What is known of the value of an expression.
enum Known<'a> {
    Value(Value),
    OfType(Type),
    Namespace(&'a Namespace),
    Callable(&'a Callable),
}

/// A value of the type `ty`; of one that may be nil, the value that is not.
fn of_type<'a>(ty: Type) -> Known<'a> {
    match ty {
        Type::Optional(inner) => of_type(*inner),
        ty => Known::OfType(ty),
    }
}

struct Completer<'a> {
    lua: &'a Lua,
    api: &'a Api,
    names: &'a Names,
}

/// What may stand at the end of `line`.
pub(super) fn complete(lua: &Lua, api: &Api, names: &Names, line: &str) -> Completions {
    let completer = Completer { lua, api, names };
    let Some(tokens) = tokens(line) else { return Completions::Words(line.len(), Vec::new()) };
    let is_begun =
        |token: &Token| token.kind == TokenKind::Word && token.start + token.text.len() == line.len();
    let (before, begun) = match tokens.split_last() {
        Some((last, before)) if last.kind == TokenKind::OpenText => return completer.text(before, last),
        Some((last, before)) if is_begun(last) => (before, last.text),
        _ => (&tokens[..], ""),
    };
    let names = match before.split_last() {
        // `..` puts texts together.
        Some((dot, object)) if dot.is(".") && !object.last().is_some_and(|t| t.is(".")) => {
            completer.fields(object)
        }
        Some((colon, object)) if colon.is(":") => completer.methods(object),
        _ => {
            let mut names = completer.options(before);
            names.extend(completer.globals());
            names
        }
    };
    let fitting = names.into_iter().filter(|name| name.text.starts_with(begun) && name.text != begun);
    // What begins with an underscore is asked for by one.
    let fitting = fitting.filter(|name| begun.starts_with('_') || !name.text.starts_with('_'));
    let words: BTreeSet<Suggestion> = fitting.collect();
    Completions::Words(line.len() - begun.len(), words.into_iter().collect())
}

fn plain(name: impl Into<String>) -> Suggestion {
    let text = name.into();
    Suggestion { shown: text.clone(), text }
}

impl<'a> Completer<'a> {
    /// Words for the string that `open` begins; a path where there are none.
    fn text(&self, before: &[Token], open: &Token) -> Completions {
        let words = self.words_of_option(before).unwrap_or_default();
        match words.is_empty() {
            true => Completions::Path(open.start),
            false => {
                let fitting = words.iter().filter(|word| word.starts_with(open.text));
                Completions::Words(open.start, fitting.map(|word| plain(*word)).collect())
            }
        }
    }

    /// The words that the option takes whose value begins after `before`, which ends in `name =`.
    fn words_of_option(&self, before: &[Token]) -> Option<&'static [&'static str]> {
        let (equals, rest) = before.split_last()?;
        let (name, rest) = rest.split_last()?;
        if !equals.is("=") || name.kind != TokenKind::Word {
            return None;
        }
        let options = self.open_options(rest)?;
        let option = options.iter().find(|option| option.name == name.text)?;
        match of_type(option.ty) {
            Known::OfType(Type::Choice(words)) => Some(words),
            _ => None,
        }
    }

    /// The options that may be named after `before`.
    fn options(&self, before: &[Token]) -> Vec<Suggestion> {
        let is_key = before.last().is_some_and(|last| last.is("{") || last.is(",") || last.is(";"));
        let options = if is_key { self.open_options(before) } else { None };
        let candidate = |option: &Param| Suggestion {
            shown: format!("{} =", option.name),
            text: format!("{} = ", option.name),
        };
        options.unwrap_or_default().iter().map(candidate).collect()
    }

    /// The options of the call whose table of options is open at the end of `tokens`.
    fn open_options(&self, tokens: &[Token]) -> Option<&'a [Param]> {
        let table = innermost_open(tokens)?;
        if !tokens[table].is("{") {
            return None;
        }
        let mut callee = &tokens[..table];
        if callee.last().is_some_and(|last| last.is("(") || last.is(",")) {
            let call = innermost_open(callee)?;
            if !callee[call].is("(") {
                return None;
            }
            callee = &callee[..call];
        }
        let Some(Known::Callable(callable)) = self.expression(callee).map(|known| self.declared(known))
        else {
            return None;
        };
        callable.spec.options.as_ref().map(|options| &options.entries[..])
    }

    fn globals(&self) -> Vec<Suggestion> {
        keys(&self.lua.globals()).into_iter().chain(KEYWORDS.map(String::from)).map(plain).collect()
    }

    /// What may follow `object.`
    fn fields(&self, object: &[Token]) -> Vec<Suggestion> {
        let names: Vec<String> = match self.expression(object) {
            Some(Known::Namespace(namespace)) => {
                let functions = namespace.functions.iter().map(|f| f.spec.name);
                let constants = namespace.constants.iter().map(|c| c.spec.name);
                let below = self
                    .api
                    .namespaces
                    .iter()
                    .map(|n| n.name)
                    .filter(|n| namespace.name.is_empty() && !n.is_empty());
                functions.chain(constants).chain(below).map(String::from).collect()
            }
            Some(Known::OfType(Type::Record(record))) => {
                record.keys.iter().map(|key| key.name.into()).collect()
            }
            Some(Known::Value(Value::Table(table))) => keys(&table),
            Some(known) => self
                .class(&known)
                .iter()
                .flat_map(|c| &c.fields)
                .map(|field| field.spec.name.into())
                .collect(),
            None => Vec::new(),
        };
        names.into_iter().map(plain).collect()
    }

    /// What may follow `object:`
    fn methods(&self, object: &[Token]) -> Vec<Suggestion> {
        let names: Vec<String> = match self.expression(object) {
            Some(
                Known::Value(Value::String(_))
                | Known::OfType(Type::String | Type::Path | Type::Bytes | Type::Choice(_)),
            ) => self
                .lua
                .globals()
                .raw_get::<Option<Table>>("string")
                .ok()
                .flatten()
                .iter()
                .flat_map(keys)
                .collect(),
            Some(Known::Value(Value::Table(table))) if !is_row(&table) && declared_name(&table).is_none() => {
                keys(&table)
            }
            Some(known) => self
                .class(&known)
                .iter()
                .flat_map(|c| &c.methods)
                .map(|method| method.spec.name.into())
                .collect(),
            None => Vec::new(),
        };
        names.into_iter().map(plain).collect()
    }

    /// The class of a handle.
    fn class(&self, known: &Known) -> Option<&'a ClassDeclaration> {
        let name = match known {
            Known::Value(Value::UserData(handle)) => handle.type_name().ok()?.to_string_lossy(),
            Known::OfType(Type::Handle(name)) => (*name).to_string(),
            _ => return None,
        };
        self.api.classes().find(|class| class.name == name)
    }

    /// What is known of the expression that `tokens` end with.
    fn expression(&self, tokens: &[Token]) -> Option<Known<'a>> {
        let (last, before) = tokens.split_last()?;
        match last.kind {
            TokenKind::Word if KEYWORDS.contains(&last.text) => None,
            TokenKind::Word => match before.split_last() {
                Some((dot, object)) if dot.is(".") || dot.is(":") => {
                    self.member(self.expression(object)?, last.text)
                }
                _ => self.lua.globals().raw_get(last.text).ok().map(|value| self.known(value)),
            },
            TokenKind::Text if is_callee(before) => self.result(self.expression(before)?),
            TokenKind::Text => Some(Known::OfType(Type::String)),
            TokenKind::Sign => {
                let open = matching(tokens)?;
                let (callee, inner) = (&tokens[..open], &tokens[open + 1..tokens.len() - 1]);
                match last.text {
                    ")" | "}" if is_callee(callee) => self.result(self.expression(callee)?),
                    ")" => self.expression(inner),
                    "]" => self.item(self.expression(callee)?, inner),
                    _ => None,
                }
            }
            TokenKind::Number | TokenKind::OpenText => None,
        }
    }

    fn known(&self, value: Value) -> Known<'a> {
        let namespace = match &value {
            Value::Table(table) => declared_name(table).and_then(|name| self.namespace(&name)),
            _ => None,
        };
        namespace.map_or(Known::Value(value), Known::Namespace)
    }

    fn namespace(&self, full_name: &str) -> Option<&'a Namespace> {
        self.api.namespaces.iter().find(|namespace| namespace.full_name() == full_name)
    }

    fn member(&self, object: Known<'a>, name: &str) -> Option<Known<'a>> {
        match object {
            Known::Value(Value::Table(table)) => table.raw_get(name).ok().map(|value| self.known(value)),
            Known::Namespace(namespace) => {
                let function =
                    namespace.functions.iter().find(|f| f.spec.name == name).map(|f| Known::Callable(f));
                let constant =
                    || namespace.constants.iter().find(|c| c.spec.name == name).map(|c| of_type(c.spec.ty));
                let below = || self.namespace(&format!("qlua.{name}")).filter(|_| namespace.name.is_empty());
                function.or_else(constant).or_else(|| below().map(Known::Namespace))
            }
            Known::OfType(Type::Record(record)) => {
                record.keys.iter().find(|key| key.name == name).map(|key| of_type(key.ty))
            }
            other => {
                let class = self.class(&other)?;
                let field = class.fields.iter().find(|f| f.spec.name == name).map(|f| of_type(f.spec.ty));
                field.or_else(|| {
                    class.methods.iter().find(|m| m.spec.name == name).map(|m| Known::Callable(m))
                })
            }
        }
    }

    /// A function of the API as its declaration.
    fn declared(&self, known: Known<'a>) -> Known<'a> {
        let Known::Value(Value::Function(function)) = &known else { return known };
        let name = self.names.get(function);
        let callable = self.api.callables().find(|callable| Some(callable.full_name.as_str()) == name);
        callable.map_or(known, |callable| Known::Callable(callable))
    }

    /// What a call gives.
    fn result(&self, callee: Known<'a>) -> Option<Known<'a>> {
        match self.declared(callee) {
            Known::Callable(callable) => callable.spec.returns.first().map(|result| of_type(result.ty)),
            _ => None,
        }
    }

    /// What a list holds.
    fn item(&self, list: Known<'a>, index: &[Token]) -> Option<Known<'a>> {
        match list {
            Known::OfType(Type::List(item) | Type::Map(item)) => Some(of_type(*item)),
            Known::Value(Value::Table(table)) => match index {
                [number] if number.kind == TokenKind::Number => {
                    let value = table.raw_get(number.text.parse::<i64>().ok()?).ok()?;
                    Some(self.known(value))
                }
                _ => None,
            },
            _ => None,
        }
    }
}

/// The keys of `table` that are names.
fn keys(table: &Table) -> Vec<String> {
    let pairs = table.pairs::<Value, Value>().flatten();
    let names = pairs.filter_map(|(key, _)| match key {
        Value::String(name) => Some(name.to_string_lossy()),
        _ => None,
    });
    names.filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).collect()
}

/// Whether what `tokens` end with can be called.
fn is_callee(tokens: &[Token]) -> bool {
    tokens.last().is_some_and(|last| match last.kind {
        TokenKind::Word => !KEYWORDS.contains(&last.text),
        TokenKind::Sign => last.text == ")" || last.text == "]",
        _ => false,
    })
}

/// Where the bracket opens that the last of `tokens` closes.
fn matching(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().rev().filter(|(_, token)| token.kind == TokenKind::Sign) {
        match token.text {
            ")" | "}" | "]" => depth += 1,
            "(" | "{" | "[" => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The last bracket of `tokens` that nothing closes.
fn innermost_open(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().rev().filter(|(_, token)| token.kind == TokenKind::Sign) {
        match token.text {
            ")" | "}" | "]" => depth += 1,
            "(" | "{" | "[" if depth == 0 => return Some(at),
            "(" | "{" | "[" => depth -= 1,
            _ => {}
        }
    }
    None
}
