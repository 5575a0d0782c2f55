use super::*;

fn command() -> Command {
    let mut model = Parameter::new("model", Kind::Path, "the base checkpoint");
    model.metavar = "DIR".into();
    let mut top = Parameter::new("top", Kind::List(Box::new(Kind::Percent)), "coverage points");
    top.default = Some("10..30:10".into());
    let mut include = Parameter::new("include", Kind::Glob, "layers to take");
    include.repeated = true;
    let order = Kind::Choice(vec!["ascending".into(), "descending".into()]);
    let mut order = Parameter::new("order", order, "which end first");
    order.default = Some("ascending".into());
    let dry_run = Parameter::new("dry-run", Kind::Flag, "write nothing");
    let limit = Parameter::new("limit", Kind::Integer, "how many");
    let mut files = Parameter::new("files", Kind::Path, "what to read");
    files.repeated = true;
    Command {
        name: "demo".into(),
        about: "Shows everything.".into(),
        options: vec![model, top, include, order, dry_run, limit],
        arguments: vec![files],
    }
}

fn parse(words: &[&str]) -> Vec<(String, Value)> {
    match command().parse(words) {
        Ok(Parsed::Values(values)) => values,
        other => panic!("{words:?} gave {other:?}"),
    }
}

fn value<'a>(values: &'a [(String, Value)], key: &str) -> Option<&'a Value> {
    values.iter().find(|(k, _)| k == key).map(|(_, v)| v)
}

fn mistake(words: &[&str]) -> String {
    let error = command().parse(words).unwrap_err();
    format!("{} | {}", error.message, error.hint.unwrap_or_default())
}

fn numbers(list: &[f64]) -> Value {
    Value::List(list.iter().map(|x| Value::Number(*x)).collect())
}

#[test]
fn the_declaration_is_sound() {
    assert_eq!(command().check(), Ok(()));
}

#[test]
fn values_come_attached_or_as_the_next_word_and_defaults_are_parsed() {
    let values = parse(&[
        "--model=a=b",
        "--order",
        "descending",
        "x",
        "--dry-run",
        "--include",
        "v.*",
        "--include=l.*",
    ]);
    assert_eq!(value(&values, "model"), Some(&Value::Text("a=b".into())));
    assert_eq!(value(&values, "order"), Some(&Value::Text("descending".into())));
    assert_eq!(value(&values, "dry_run"), Some(&Value::Flag));
    assert_eq!(value(&values, "top"), Some(&numbers(&[10.0, 20.0, 30.0])));
    let globs = Value::List(vec![Value::Text("v.*".into()), Value::Text("l.*".into())]);
    assert_eq!(value(&values, "include"), Some(&globs));
    assert_eq!(value(&values, "files"), Some(&Value::List(vec![Value::Text("x".into())])));
    assert_eq!(value(&values, "limit"), None);
}

#[test]
fn a_negative_number_is_a_value_and_double_dash_ends_the_options() {
    let values = parse(&["--limit", "-3", "--", "--model"]);
    assert_eq!(value(&values, "limit"), Some(&Value::Integer(-3)));
    assert_eq!(value(&values, "files"), Some(&Value::List(vec![Value::Text("--model".into())])));
}

#[test]
fn mistakes_are_named_with_a_next_step() {
    assert_eq!(mistake(&["--modle", "x"]), "there is no option `--modle` | did you mean `--model`?");
    assert_eq!(mistake(&["--dry_run"]), "there is no option `--dry_run` | did you mean `--dry-run`?");
    assert_eq!(mistake(&["-x"]), "there is no option `-x` | `demo --help` lists what there is");
    assert_eq!(mistake(&["--model"]), "the option `--model` needs a value: a path | ");
    assert_eq!(mistake(&["--model", "--dry-run"]), "the option `--model` needs a value: a path | ");
    assert_eq!(mistake(&["--dry-run=yes"]), "the option `--dry-run` takes no value | ");
    assert_eq!(mistake(&["--limit", "1.5"]), "the value of `--limit` must be a whole number, not `1.5` | ");
    assert_eq!(mistake(&["--limit=1", "--limit=2"]), "the option `--limit` was given twice | ");
    assert!(mistake(&["--order", "ascendng"]).contains("did you mean `ascending`?"));
    assert!(mistake(&["--include", "[a"]).contains("the glob `[a` does not parse"));
}

#[test]
fn percent_lists_take_numbers_and_ranges() {
    assert_eq!(parse_percents("10,20,12.5"), Ok(vec![10.0, 20.0, 12.5]));
    assert_eq!(parse_percents("5, 10..40:10"), Ok(vec![5.0, 10.0, 20.0, 30.0, 40.0]));
    assert_eq!(parse_percents("0.1..0.4:0.1"), Ok(vec![0.1, 0.2, 0.3, 0.4]));
    for bad in ["", "x", "10,,20", "-1", "101", "1e1", "10..20", "10..20:0", "10,10", "inf"] {
        assert!(parse_percents(bad).is_err(), "`{bad}` was accepted");
    }
}

#[test]
fn sizes_are_bytes_in_decimal_and_binary_units() {
    let size = |text: &str| Kind::Size.parse(text).ok();
    for (text, bytes) in [
        ("6GiB", 6 << 30),
        ("5.5GB", 5_500_000_000),
        ("800 MB", 800_000_000),
        ("1.5KiB", 1536),
        ("64kB", 64_000),
        ("2TB", 2_000_000_000_000),
        ("1024", 1024),
        ("12B", 12),
        ("0.0015kB", 1),
    ] {
        assert_eq!(size(text), Some(Value::Integer(bytes)), "{text}");
    }
    for bad in ["", "GB", "-1GB", "0GB", "6 gib", "6Gb", "1e3MB", "1.2.3GB", "inf", "nan", "99999TB"] {
        assert_eq!(size(bad), None, "`{bad}` was accepted");
    }
}

#[test]
fn help_is_aligned_and_tells_defaults() {
    assert_eq!(
        command().help(),
        "\
usage: demo [options] [FILES…]

Shows everything.

arguments:
  FILES              what to read (may be repeated)

options:
  --model DIR        the base checkpoint
  --top TOP          coverage points (default: 10..30:10)
  --include INCLUDE  layers to take (may be repeated)
  --order ORDER      which end first (one of ascending, descending; default: ascending)
  --dry-run          write nothing
  --limit LIMIT      how many
  -h, --help         show this help and exit
"
    );
    assert_eq!(command().parse(&["--limit", "3", "-h"]), Ok(Parsed::Help));
}
