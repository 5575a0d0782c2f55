//! Schemes that are added to a finished family, and runs that are repeated.

use qlua::dialect::{DialectChoice, DialectId};
use std::fs;

use super::{alone, hashes, require_schemes, sweep};
use crate::common::ascending_family;
use crate::common::place::{Place, require_message, snapshot};
use qlua::job::FamilyOptions;
use qlua::write::Silent;

#[test]
fn a_further_point_reuses_every_shard_that_fits() {
    let place = Place::new();
    sweep(place.options(), &[20.0, 50.0, 80.0]);
    let before = hashes(&place.out);
    let outcome = sweep(place.options(), &[35.0]);
    require_schemes(&place.out, &alone(&place, &[20.0, 35.0, 50.0, 80.0]));
    let after = hashes(&place.out);
    assert!(before.iter().all(|(name, hash)| after[name] == *hash), "finished schemes are not touched");
    // Only the groups between 20 % and 50 % are in no shard that fits.
    assert!(outcome.reused_bytes > 2 * outcome.written_bytes, "{outcome:?}");
    let total: u64 = fs::read_dir(place.out.join("top35"))
        .unwrap()
        .map(|e| e.unwrap())
        .filter(|e| e.file_name().to_string_lossy().ends_with(".safetensors"))
        .map(|e| e.metadata().unwrap().len())
        .sum();
    assert_eq!(outcome.reused_bytes + outcome.written_bytes, total);
}

#[test]
fn a_sweep_with_more_points_writes_the_new_ones_only() {
    let place = Place::new();
    sweep(place.options(), &[20.0, 80.0]);
    let times = |name: &str| fs::metadata(place.out.join(name)).unwrap().modified().unwrap();
    let before = times("top20");
    let outcome = sweep(place.options(), &[20.0, 50.0, 80.0]);
    let up_to_date: Vec<bool> = outcome.schemes.iter().map(|s| s.up_to_date).collect();
    assert_eq!(up_to_date, [true, false, true]);
    assert_eq!(times("top20"), before);
    require_schemes(&place.out, &alone(&place, &[20.0, 50.0, 80.0]));
}

#[test]
fn a_rerun_is_up_to_date_and_touches_nothing() {
    let place = Place::new();
    sweep(place.options(), &[20.0, 50.0]);
    let before = snapshot(place.path());
    let outcome = sweep(place.options(), &[50.0, 20.0]);
    assert!(outcome.schemes.iter().all(|s| s.up_to_date));
    assert_eq!((outcome.written_bytes, outcome.reused_bytes, outcome.resumed_bytes), (0, 0, 0));
    assert_eq!(snapshot(place.path()), before);
}

#[test]
fn other_inputs_need_overwrite() {
    let place = Place::new();
    sweep(place.options(), &[50.0]);
    let before = hashes(&place.out);
    let other = || FamilyOptions { dialect: DialectChoice::Named(DialectId::ModelOpt), ..place.options() };
    let error = ascending_family(other(), &[50.0]).run(&Silent).unwrap_err();
    assert_eq!(error.kind(), "exists");
    require_message(&error, &["top50` exists already and was made from other inputs"], "--overwrite");
    assert_eq!(hashes(&place.out), before);
    sweep(FamilyOptions { overwrite: true, ..other() }, &[50.0]);
    assert_ne!(hashes(&place.out), before);

    // A weight of the source that differs in one bit is another input, whatever the file's size and time.
    let damaged = place.out.join("top50");
    place.model.edit_tensors(|tensors| {
        tensors.values_mut().last().unwrap().bytes[0] ^= 1;
    });
    let error = ascending_family(other(), &[50.0]).run(&Silent).unwrap_err();
    require_message(&error, &[&damaged.display().to_string(), "made from other inputs"], "--overwrite");
}

#[test]
fn a_finished_scheme_that_lost_a_file_is_written_anew() {
    let place = Place::new();
    sweep(place.options(), &[50.0]);
    let files = crate::common::directory::Directory(place.out.join("top50")).weight_files();
    let before = hashes(&place.out);
    fs::remove_file(&files[0]).unwrap();
    let outcome = sweep(place.options(), &[50.0]);
    assert!(!outcome.schemes[0].up_to_date);
    assert_eq!(hashes(&place.out), before);
}

/// The hash that was recorded decides, not the name and not the size.
#[test]
fn a_shard_that_was_changed_since_is_not_reused() {
    let place = Place::new();
    sweep(place.options(), &[50.0]);
    for file in crate::common::directory::Directory(place.out.join("top50")).weight_files() {
        let mut bytes = fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::remove_file(&file).unwrap();
        fs::write(&file, bytes).unwrap();
    }
    let outcome = sweep(place.options(), &[80.0]);
    assert_eq!(outcome.reused_bytes, 0);
    fs::remove_dir_all(place.out.join("top50")).unwrap();
    require_schemes(&place.out, &alone(&place, &[80.0]));
}
