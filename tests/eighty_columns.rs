//! What qlua shows on a terminal of 80 columns: bars that can be read and end with the time taken, and tables that fit.

mod common;

use std::process::Command;

use common::place::Place;
use common::terminal::Terminal;

/// All that is shown of a run on such a terminal.
fn shown(place: &Place, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlua"));
    command.args(words).current_dir(place.path());
    let (status, shown) = Terminal::start(command, 80).end();
    assert!(status.success(), "{shown}");
    shown
}

fn require_narrow(shown: &str) {
    // A bar is drawn again and again on one line.
    for line in shown.lines().filter(|line| !line.contains('[')) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn what_runs_a_model_has_a_bar_and_says_how_long_it_took() {
    let place = Place::new();
    shown(&place, &["-q", "all_layers_topx"]);
    for (words, done) in [
        (&["autoquant", "--out", "a", "--name", "fp8"][..], "scored in "),
        (&["autoquant", "--out", "b", "--name", "fp8", "--method", "kl_div"], "scored in "),
        (&["evaluate"], "measured in "),
    ] {
        let shown = shown(&place, words);
        let verb = done.split(' ').next().unwrap();
        let begins = format!("{verb} [");
        let bars = shown.split(&begins).skip(1).map(|bar| bar.split(']').next().unwrap());
        assert!(bars.clone().count() > 0, "{shown}");
        bars.for_each(|bar| assert!((30..70).contains(&bar.chars().count()), "{bar:?}"));
        let end = shown.lines().find_map(|line| line.split(done).nth(1)).unwrap_or_else(|| panic!("{shown}"));
        assert!(end.strip_suffix(" s").is_some_and(|seconds| seconds.parse::<f64>().is_ok()), "{end}");
        require_narrow(&shown);
    }
    let quiet = shown(&place, &["-q", "evaluate"]);
    assert!(!quiet.contains("measured"), "{quiet}");
}

#[test]
fn names_that_are_too_long_for_a_table_go_on_below() {
    let place = Place::new();
    let shown = shown(&place, &["pareto", "--dry-run"]);
    require_narrow(&shown);
    assert!(shown.starts_with("no --model: built the demo") && shown.contains("  next to FP8\n"), "{shown}");
    assert!(shown.contains("(the knee)") && shown.contains("model.language_model.layers.3.mlp.gate_proj"));
}

#[test]
fn inspect_marks_what_it_leaves_out_of_a_ranking() {
    let place = Place::new();
    let shown = shown(&place, &["inspect", "manifest.json"]);
    require_narrow(&shown);
    let rows: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("rank  group")).skip(1).collect();
    let ranks: Vec<&str> = rows.iter().filter_map(|row| row.split_whitespace().next()).collect();
    assert_eq!(ranks, ["1", "2", "3", "4", "5", "…", "27", "28", "29", "30", "31"], "{shown}");
}
