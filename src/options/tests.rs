use clap::{Arg, ArgAction, Command};

use super::*;
use crate::Error;

fn option(name: &'static str, kind: ValueKind) -> Arg {
    Arg::new(name).long(name).allow_negative_numbers(kind.is_numeric()).value_parser(kind)
}

fn command() -> Command {
    let order = ValueKind::Choice(vec!["ascending".into(), "descending".into()]);
    Command::new("demo").bin_name("qlua demo").about("Shows everything.").args([
        option("model", ValueKind::Path).value_name("DIR").help("the base checkpoint"),
        option("top", ValueKind::List(Box::new(ValueKind::CoveragePoint)))
            .default_value("10..30:10")
            .help("coverage points"),
        option("include", ValueKind::Glob).action(ArgAction::Append).help("layers to take"),
        option("order", order).default_value("ascending").help("which end first"),
        Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue).help("write nothing"),
        Arg::new("quick")
            .long("quick")
            .action(ArgAction::SetTrue)
            .conflicts_with("model")
            .help("look briefly"),
        option("limit", ValueKind::AtLeast(Box::new(ValueKind::Integer), -5.0)).help("how many"),
        Arg::new("files")
            .value_name("FILES")
            .num_args(0..)
            .value_parser(ValueKind::Path)
            .help("what to read"),
    ])
}

fn read(words: &[&str]) -> Result<Parsed, Error> {
    parse(command(), words.iter().map(std::ffi::OsString::from))
}

/// What the words give for `name`.
fn values(words: &[&str], name: &str) -> Vec<OptionValue> {
    match read(words) {
        Ok(Parsed::Values(mut values)) => values.remove_many(name).into_iter().flatten().collect(),
        other => panic!("{words:?} gave {other:?}"),
    }
}

fn mistake(words: &[&str]) -> String {
    let error = read(words).unwrap_err();
    assert_eq!(error.kind(), "usage");
    format!("{error} | {}", error.hint().unwrap_or_default())
}

fn texts(list: &[&str]) -> Vec<OptionValue> {
    list.iter().map(|text| OptionValue::Text(text.to_string())).collect()
}

fn numbers(list: &[f64]) -> OptionValue {
    OptionValue::List(list.iter().map(|x| OptionValue::Number(*x)).collect())
}

#[test]
fn values_come_attached_or_as_the_next_word_and_defaults_are_parsed() {
    let words =
        ["--model=a=b", "--order", "descending", "x", "--dry-run", "--include", "v.*", "--include=l.*"];
    assert_eq!(values(&words, "model"), texts(&["a=b"]));
    assert_eq!(values(&words, "order"), texts(&["descending"]));
    assert_eq!(values(&words, "top"), [numbers(&[10.0, 20.0, 30.0])]);
    assert_eq!(values(&words, "include"), texts(&["v.*", "l.*"]));
    assert_eq!(values(&words, "files"), texts(&["x"]));
    assert_eq!(values(&words, "limit"), []);
}

#[test]
fn a_negative_number_is_a_value_and_double_dash_ends_the_options() {
    let words = ["--limit", "-3", "--", "--model"];
    assert_eq!(values(&words, "limit"), [OptionValue::Integer(-3)]);
    assert_eq!(values(&words, "files"), texts(&["--model"]));
}

#[test]
fn mistakes_are_named_with_a_next_step() {
    let list = "`qlua demo --help` lists what there is";
    let there_are = "there are --model, --top, --include, --order, --dry-run, --quick, --limit, --help; `qlua demo --help` explains them";
    for (words, expected) in [
        (&["--modle", "x"][..], "there is no option `--modle` | did you mean `--model`?".to_string()),
        (&["--dry_run"], "there is no option `--dry_run` | did you mean `--dry-run`?".into()),
        (&["-x"], format!("there is no option `-x` | {there_are}")),
        (&["-q"], "there is no option `-q` | it stands before the script: `qlua -q SCRIPT`".into()),
        (&["--log", "x"], "there is no option `--log` | it stands before the script: `qlua --log FILE SCRIPT`".into()),
        (&["--something-else"], format!("there is no option `--something-else` | {there_are}")),
        (&["--model"], format!("the option `--model` needs a value: `--model <DIR>` | {list}")),
        (&["--model", "--dry-run"], format!("the option `--model` needs a value: `--model <DIR>` | {list}")),
        (&["--dry-run=yes"], "the option `--dry-run` takes no value | write `--dry-run` alone".into()),
        (&["--dry-run", "--dry-run"], "the option `--dry-run` was given twice | give it once".into()),
        (&["--quick", "--model", "x"], "`--quick` and `--model` do not go together | leave one of them out".into()),
        (&["--quick", "--quick"], "the option `--quick` was given twice | give it once".into()),
        (&["--limit=1", "--limit=2"], "the option `--limit` was given twice | give it once".into()),
        (
            &["--limit", "1.5"],
            format!("the value of `--limit` must be a whole number, not `1.5` | {list}"),
        ),
        (
            &["--limit", "-6"],
            "the value of `--limit` must be at least -5, not `-6` | the least is -5".into(),
        ),
        (
            &["--order", "ascendng"],
            "the value of `--order` must be one of ascending, descending, not `ascendng` | did you mean `ascending`?"
                .into(),
        ),
    ] {
        assert_eq!(mistake(words), expected, "{words:?}");
    }
    assert!(
        mistake(&["--include", "[a"])
            .contains("the value of `--include` cannot be used: the glob `[a` does not parse")
    );
    let many =
        parse(Command::new("one").bin_name("qlua one").arg(Arg::new("file")), ["a".into(), "b".into()]);
    assert_eq!(many.unwrap_err().to_string(), "there is an argument too many: `b`");
    let none = parse(
        Command::new("one").bin_name("qlua one").arg(Arg::new("file").value_name("FILE").required(true)),
        [],
    );
    assert_eq!(none.unwrap_err().to_string(), "`FILE` is missing");
}

#[test]
fn coverage_points_take_numbers_and_ranges_and_are_those_that_rankings_take() {
    let points = |text: &str| ValueKind::List(Box::new(ValueKind::CoveragePoint)).parse(text).ok();
    assert_eq!(points("10,20,12.5"), Some(numbers(&[10.0, 20.0, 12.5])));
    assert_eq!(points("5, 10..40:10"), Some(numbers(&[5.0, 10.0, 20.0, 30.0, 40.0])));
    assert_eq!(points("0.1..0.4:0.1"), Some(numbers(&[0.1, 0.2, 0.3, 0.4])));
    let bad = [
        "",
        "x",
        "10,,20",
        "-1",
        "101",
        "1e1",
        "10..20",
        "10..20:0",
        "20..10:5",
        "10,10",
        "inf",
        "0",
        "0..20:10",
        "33.3333",
        "0.001..100:0.001",
    ];
    for bad in bad {
        assert_eq!(points(bad), None, "`{bad}` was accepted");
    }
    // A share may be nothing at all.
    assert_eq!(ValueKind::Percent.parse("0").ok(), Some(OptionValue::Number(0.0)));
    assert!(ValueKind::Percent.parse("33.3333").is_err());
}

#[test]
fn sizes_are_bytes_in_decimal_and_binary_units() {
    let size = |text: &str| ValueKind::Size.parse(text).ok();
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
        assert_eq!(size(text), Some(OptionValue::Integer(bytes)), "{text}");
    }
    for bad in ["", "GB", "-1GB", "0GB", "6 gib", "6Gb", "1e3MB", "1.2.3GB", "inf", "nan", "99999TB"] {
        assert_eq!(size(bad), None, "`{bad}` was accepted");
    }
}

#[test]
fn numbers_have_a_least_value_that_is_said() {
    let size = ValueKind::AtLeast(Box::new(ValueKind::Size), 100_000.0);
    assert_eq!(size.parse("100kB").ok(), Some(OptionValue::Integer(100_000)));
    let error = size.parse("10").unwrap_err();
    assert_eq!(error.to_string(), "must be at least 100kB, not `10`");
    assert!(error.hint().unwrap().contains("the least is 100kB"));
    assert!(ValueKind::AtLeast(Box::new(ValueKind::Number), 0.5).parse("0.25").is_err());
    let list = ValueKind::List(Box::new(ValueKind::Number)).at_least(1.0).unwrap();
    assert!(list.parse("11,1").is_ok());
    assert_eq!(list.parse("11,-3").unwrap_err().to_string(), "must be at least 1, not `-3`");
    assert!(ValueKind::List(Box::new(ValueKind::Text)).at_least(1.0).is_none());
}

#[test]
fn help_wraps_at_the_width_and_breaks_no_word() {
    let help = command().term_width(40).render_help().to_string();
    assert!(help.starts_with("Shows everything.\n\nUsage: qlua demo [OPTIONS] [FILES]...\n"), "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 40), "{help}");
    let words: Vec<&str> = help.split_whitespace().collect();
    assert!(words.windows(2).any(|pair| pair == ["[default:", "10..30:10]"]), "{help}");
    assert!(
        words.windows(4).any(|four| four == ["[possible", "values:", "ascending,", "descending]"]),
        "{help}"
    );
    assert!(
        matches!(read(&["--limit", "3", "-h"]), Ok(Parsed::Text(text)) if text.contains("Usage: qlua demo"))
    );
}
