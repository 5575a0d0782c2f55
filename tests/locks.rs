//! Several runs at once, and links where unfinished work goes: one run wins, the others say why, and nothing else is touched.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use common::place::snapshot;
use common::runs::{Runs, SMALL, rounds, stderr};

/// What a run may say that did not get its turn.
const LOST: [&str; 2] = ["is being written by another process", "was written by another run in the meantime"];

/// Pairs of runs that start at once, each into a new directory or one with what a killed run left. Gives how many of them ended
/// wrong, with what was wrong printed, and how often one of two was refused.
fn race(pairs: u32) -> (u32, u32) {
    let runs = Runs::new(&SMALL);
    let modes: [&[&str]; 2] = [&["50", "80"], &["overwrite", "50", "80"]];
    let expected = modes.map(|points| {
        runs.reset();
        runs.finish(points);
        runs.hashes()
    });
    let (mut wrong, mut refused) = (0, 0);
    for pair in 0..pairs {
        runs.reset();
        let mode = pair as usize % 2;
        match pair % 3 {
            0 => {}
            1 => fs::create_dir_all(runs.out().join(".top50.partial")).unwrap(),
            _ => {
                for name in [".top50.partial", ".qlua.partial"] {
                    fs::create_dir_all(runs.out().join(name)).unwrap();
                    fs::write(runs.out().join(name).join(".qlua-lock"), "").unwrap();
                    fs::write(runs.out().join(name).join("left"), "left").unwrap();
                }
            }
        }
        let both = [runs.start(modes[mode]), runs.start(modes[mode])];
        let both = both.map(|child| child.wait_with_output().unwrap());
        let lost: Vec<String> = both.iter().filter(|o| !o.status.success()).map(stderr).collect();
        refused += lost.len() as u32;
        let is_clear = |text: &String| {
            let errors = text.lines().filter(|line| line.starts_with("qlua: error: "));
            errors.count() == 1 && LOST.iter().any(|said| text.contains(said))
        };
        let is_right = lost.len() < 2
            && lost.iter().all(is_clear)
            && runs.hidden().is_empty()
            && runs.hashes() == expected[mode];
        if !is_right {
            wrong += 1;
            println!("pair {pair}: {lost:?}, left {:?}", runs.hidden());
        }
    }
    (wrong, refused)
}

#[test]
fn of_two_runs_at_once_one_wins_and_the_other_is_done_or_refused() {
    let (wrong, refused) = race(12);
    assert_eq!(wrong, 0);
    println!("{refused} refused");
}

#[test]
#[ignore = "long: QLUA_RACES pairs, 500 unless it is set"]
fn many_pairs_of_runs_at_once() {
    let pairs = rounds("QLUA_RACES", 500);
    let (wrong, refused) = race(pairs);
    println!("races: {pairs} pairs, {wrong} wrong ({refused} times one was refused, else both were done)");
    assert_eq!(wrong, 0);
}

#[test]
fn links_where_unfinished_work_goes_are_refused_and_what_they_lead_to_stays() {
    let runs = Runs::new(&SMALL);
    let (mine, out) = (runs.path().join("mine"), runs.out());
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("file"), "mine").unwrap();
    fs::write(mine.join("journal.jsonl"), "{\"inputs\":\"x\"}\n").unwrap();
    let cases: [(&str, &Path); 4] = [
        (".qlua.partial", &mine),
        (".top50.partial", &mine),
        (".qlua.partial/.qlua-lock", &mine.join("file")),
        (".top50.partial/.qlua-lock", &mine.join("file")),
    ];
    for (name, target) in cases {
        runs.reset();
        let link = out.join(name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, &link).unwrap();
        let before = snapshot(&mine);
        let output = runs.start(&["50"]).wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {text}");
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("qlua: error: ")).collect();
        assert_eq!(errors.len(), 1, "{name}: {text}");
        assert!(errors[0].contains(&format!("{name}` is a symbolic link")), "{text}");
        assert_eq!(snapshot(&mine), before, "{name}");
        assert!(link.symlink_metadata().unwrap().is_symlink(), "{name}");
        assert!(!out.join("top50").exists(), "{name}");
        // It is nobody's leftover either.
        let cleaned = runs.command(&["clean", "out"]).output().unwrap();
        assert_eq!(snapshot(&mine), before, "{name}: {}", stderr(&cleaned));
        fs::remove_file(&link).unwrap();
        runs.finish(&["50"]);
        assert!(runs.hidden().is_empty(), "{name}: {:?}", runs.hidden());
    }
}
