//! The ways in which directories share files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::{alone, hashes, require_schemes, schemes, sweep};
use crate::common::directory::Directory;
use crate::common::place::{Place, snapshot};
use qlua::job::FamilyOptions;
use qlua::write::{Link, LinkChoice};

const POINTS: [f64; 3] = [20.0, 50.0, 80.0];

#[test]
fn hard_links_are_read_only_and_everything_else_follows_the_umask() {
    let place = Place::new();
    let outcome = sweep(FamilyOptions { link: LinkChoice::Hardlink, ..place.options() }, &POINTS);
    assert_eq!(outcome.link, Some(Link::Hardlink));
    require_schemes(&place.out, &alone(&place, &POINTS));
    let mut shared = 0;
    for directory in schemes(&place.out) {
        let own = directory.join("config.json").metadata().unwrap().mode() & 0o777;
        for file in Directory(directory).weight_files() {
            let metadata = file.metadata().unwrap();
            let expected = if metadata.nlink() > 1 { 0o444 } else { own };
            assert_eq!(metadata.mode() & 0o777, expected, "{}", file.display());
            shared += usize::from(metadata.nlink() > 1);
        }
    }
    assert!(shared > 6, "{shared} shared files");
}

#[test]
fn copies_share_nothing_and_hold_the_same() {
    let place = Place::new();
    let out = place.path().join("copies");
    let outcome =
        sweep(FamilyOptions { link: LinkChoice::Copy, out: out.clone(), ..place.options() }, &POINTS);
    assert_eq!(outcome.link, Some(Link::Copy));
    for file in schemes(&out).into_iter().flat_map(|d| Directory(d).weight_files()) {
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.mode() & 0o200), (1, 0o200), "{}", file.display());
    }
    sweep(place.options(), &POINTS);
    assert_eq!(hashes(&out), hashes(&place.out));
}

#[test]
fn reflinks_are_used_or_refused_as_the_file_system_can() {
    let place = Place::new();
    let family = crate::common::ascending_family(
        FamilyOptions { link: LinkChoice::Reflink, ..place.options() },
        &POINTS,
    );
    match family.run(&qlua::write::Silent) {
        Ok(outcome) => {
            assert_eq!(outcome.link, Some(Link::Reflink));
            require_schemes(&place.out, &alone(&place, &POINTS));
        }
        Err(error) => {
            assert_eq!(error.kind(), "refused");
            assert!(error.hint().unwrap().contains("--link auto"));
            assert!(!place.out.exists(), "nothing is left behind");
        }
    }
}

/// `/dev/shm` is another file system than that of the model almost everywhere.
#[test]
fn a_family_on_another_file_system_than_its_model_is_complete() {
    let place = Place::new();
    let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("SKIPPED: there is no /dev/shm, and this test needs another file system");
        return;
    };
    let out = elsewhere.path().join("out");
    sweep(FamilyOptions { out: out.clone(), ..place.options() }, &POINTS);
    require_schemes(&out, &alone(&place, &POINTS));
}

#[test]
fn a_read_only_source_is_enough_and_stays_as_it_is() {
    let place = Place::new();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(&place.model.0).unwrap() {
        mode(&entry.unwrap().path(), 0o444);
    }
    mode(&place.model.0, 0o555);
    let before = snapshot(&place.model.0);
    sweep(place.options(), &POINTS);
    assert_eq!(snapshot(&place.model.0), before);
    mode(&place.model.0, 0o755);
    require_schemes(&place.out, &alone(&place, &POINTS));
}

#[test]
fn a_directory_survives_the_deletion_of_all_its_siblings() {
    let place = Place::new();
    sweep(place.options(), &POINTS);
    for gone in ["top20", "top80"] {
        fs::remove_dir_all(place.out.join(gone)).unwrap();
    }
    require_schemes(&place.out, &alone(&place, &[50.0]));
}
