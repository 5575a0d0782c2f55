//! Sources that somebody overwrites, cuts short, replaces or deletes while qlua works on them: an error that names the file, no
//! published directory, and no signal.

mod common;

#[path = "changing_inputs/change.rs"]
mod change;
#[path = "changing_inputs/restored.rs"]
mod restored;
#[path = "changing_inputs/scripts.rs"]
mod scripts;
#[path = "changing_inputs/stopped.rs"]
mod stopped;
#[path = "changing_inputs/workbench.rs"]
mod workbench;

use change::Kind;
use workbench::{Round, Tally, Tool, Workbench};

/// One round for every tool, object and kind, at moments that `seed` spreads over the work; `rounds` of them.
fn rounds(seed: u64) -> Vec<Round> {
    let mut rounds = Vec::new();
    for tool in Tool::ALL {
        for object in tool.objects() {
            for kind in Kind::ALL {
                rounds.push(Round { tool, object, kind, seed: seed.wrapping_add(rounds.len() as u64) });
            }
        }
    }
    rounds
}

fn attempt(rounds: impl IntoIterator<Item = Round>, places: usize) -> Tally {
    let mut bench = Workbench::new(places);
    let mut tally = Tally::default();
    for round in rounds {
        bench.attempt(round, &mut tally);
    }
    println!("{tally}");
    tally
}

#[test]
fn a_source_that_changes_is_an_error_and_nothing_is_published() {
    // A part of all, in which every tool and every kind comes.
    let tally = attempt(rounds(1).into_iter().step_by(5), 1);
    assert_eq!((tally.published, tally.signals), (0, 0), "{tally}");
}

#[test]
#[ignore = "takes some minutes"]
fn hundreds_of_sources_that_change_are_errors_and_nothing_is_published() {
    // So many places that the files of each have lain there for longer than their times are doubted.
    let tally = attempt((0..2).flat_map(|turn| rounds(1000 * turn + 7)), 48);
    assert!(tally.tried >= 200, "{tally}");
    assert_eq!((tally.published, tally.signals), (0, 0), "{tally}");
}
