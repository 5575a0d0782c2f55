//! What scripts declare that they take, and what is typed: `{"declaration": {…}, "words": […]}`.

use std::cell::OnceCell;
use std::ffi::OsString;

use qlua::lua::{Chunk, Ending, Host, Verbosity};
use qlua::options::{OptionValue, ValueKind};

use super::require_message;

/// A declaration that contradicts itself is an error of the script, words that do not fit one of usage.
const SCRIPT: &str = r#"
local ok, input = pcall(qlua.json.decode, (...))
if not ok or type(input) ~= "table" then return end
local ok, parser = pcall(qlua.cli.parser, input.declaration)
if not ok then
  assert(parser.kind == "argument" or parser.kind == "script", tostring(parser))
  return
end
assert(#parser:help() > 0)
local ok, values = pcall(parser.parse, parser, input.words)
if ok then
  for key, value in pairs(values) do
    assert(type(key) == "string" and value == value, key)
  end
else
  assert(values.kind == "usage" or values.kind == "argument", tostring(values))
end
"#;

thread_local! {
    static HOST: OnceCell<Host> = const { OnceCell::new() };
}

pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    check_values(&text);
    HOST.with(|host| {
        let host = host.get_or_init(|| Host::new(Verbosity::Quiet, None).expect("a Lua state"));
        let ending = host.run(&Chunk::code(SCRIPT), &[OsString::from(&*text)]);
        assert!(matches!(ending, Ending::Done | Ending::Stopped(_)), "{ending:?}");
    });
}

/// The text as a value of every kind.
fn check_values(text: &str) {
    use ValueKind::{
        AtLeast, Choice, CoveragePoint, Device, Glob, Integer, List, NamePart, Number, Path, Percent, Size,
        Text,
    };
    let plain = [
        Text,
        Path,
        NamePart,
        Glob,
        Integer,
        Number,
        Percent,
        CoveragePoint,
        Size,
        Device,
        Choice(vec!["a".into()]),
    ];
    let lists = plain.iter().cloned().map(|kind| List(Box::new(kind)));
    let least = [Integer, Number, Size].map(|kind| AtLeast(Box::new(kind), 3.0));
    for kind in plain.iter().cloned().chain(lists).chain(least) {
        match kind.parse(text) {
            Ok(value) => require_of_kind(&kind, &value),
            Err(error) => {
                require_message(&error);
                assert_eq!(error.kind(), "usage");
            }
        }
    }
}

fn require_of_kind(kind: &ValueKind, value: &OptionValue) {
    match (kind, value) {
        (ValueKind::List(item), OptionValue::List(values)) => {
            values.iter().for_each(|value| require_of_kind(item, value));
        }
        (ValueKind::AtLeast(kind, least), value) => {
            assert!(
                matches!(value, OptionValue::Integer(n) if *n as f64 >= *least)
                    || matches!(value, OptionValue::Number(x) if x >= least)
            );
            require_of_kind(kind, value);
        }
        (ValueKind::Percent, OptionValue::Number(x)) => assert!((0.0..=100.0).contains(x)),
        (ValueKind::CoveragePoint, OptionValue::Number(x)) => assert!(*x > 0.0 && *x <= 100.0),
        (ValueKind::Number, OptionValue::Number(x)) => assert!(x.is_finite()),
        (ValueKind::Size, OptionValue::Integer(n)) => assert!(*n > 0),
        (ValueKind::Integer, OptionValue::Integer(_)) => {}
        (ValueKind::NamePart, OptionValue::Text(text)) => assert!(!text.contains(['/', '\0'])),
        (_, OptionValue::Text(_)) => {}
        other => panic!("{other:?}"),
    }
}
