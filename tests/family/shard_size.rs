//! The largest weight file that a run asks for, where schemes are there that were made with another.

use std::path::Path;

use super::{alone, require_schemes, sweep};
use crate::common::ascending_family;
use crate::common::directory::{Directory, read_safetensors};
use crate::common::place::{Place, require_message, snapshot};
use qlua::job::FamilyOptions;
use qlua::write::Silent;

const LIMIT: u64 = 150_000;

fn limited(place: &Place) -> FamilyOptions {
    FamilyOptions { max_shard_size: LIMIT, ..place.options() }
}

/// Whether every weight file of `scheme` keeps to the limit, as far as files can: a tensor is never cut.
fn keeps_to_limit(scheme: &Path) -> bool {
    Directory(scheme.into()).weight_files().iter().map(|file| read_safetensors(file)).all(|tensors| {
        let bytes: usize = tensors.values().map(|tensor| tensor.bytes.len()).sum();
        bytes as u64 <= LIMIT || tensors.len() == 1
    })
}

#[test]
fn a_scheme_with_larger_files_is_not_up_to_date() {
    let place = Place::new();
    sweep(place.options(), &[50.0]);
    assert!(!keeps_to_limit(&place.out.join("top50")), "else nothing is shown here");
    let before = snapshot(place.path());
    let foreseen = ascending_family(limited(&place), &[50.0]).check().unwrap_err();
    let error = ascending_family(limited(&place), &[50.0]).run(&Silent).unwrap_err();
    assert_eq!(error.to_string(), foreseen.to_string());
    assert_eq!(error.kind(), "exists");
    let parts = ["top50` exists already, with a weight file larger than 150", ".safetensors`"];
    require_message(&error, &parts, "--overwrite");
    assert_eq!(snapshot(place.path()), before);
    sweep(FamilyOptions { overwrite: true, ..limited(&place) }, &[50.0]);
    assert!(keeps_to_limit(&place.out.join("top50")));
    require_schemes(&place.out, &alone(&place, &[50.0]));
}

#[test]
fn a_scheme_with_smaller_files_is_up_to_date() {
    let place = Place::new();
    sweep(limited(&place), &[50.0]);
    assert!(keeps_to_limit(&place.out.join("top50")));
    for options in [limited(&place), place.options()] {
        assert!(sweep(options, &[50.0]).schemes[0].up_to_date);
    }
}

#[test]
fn larger_files_of_other_schemes_are_not_reused() {
    let place = Place::new();
    sweep(place.options(), &[20.0, 80.0]);
    let outcome = sweep(limited(&place), &[50.0]);
    assert!(keeps_to_limit(&place.out.join("top50")), "{outcome:?}");
    require_schemes(&place.out, &alone(&place, &[20.0, 50.0, 80.0]));
    // What is small enough is reused in either direction.
    let outcome = sweep(limited(&place), &[35.0]);
    assert!(outcome.reused_bytes > 0 && keeps_to_limit(&place.out.join("top35")), "{outcome:?}");
    assert!(sweep(place.options(), &[60.0]).reused_bytes > 0);
    require_schemes(&place.out, &alone(&place, &[20.0, 35.0, 50.0, 60.0, 80.0]));
}

#[test]
fn a_damaged_scheme_with_larger_files_is_repaired_with_smaller_ones() {
    let place = Place::new();
    sweep(place.options(), &[50.0]);
    std::fs::remove_file(place.out.join("top50/config.json")).unwrap();
    sweep(limited(&place), &[50.0]);
    assert!(keeps_to_limit(&place.out.join("top50")));
    require_schemes(&place.out, &alone(&place, &[50.0]));
}
