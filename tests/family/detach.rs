//! Directories that stop sharing.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{alone, hashes, require_schemes, sweep};
use crate::common::directory::Directory;
use crate::common::place::Place;
use qlua::write::detach;

#[test]
fn a_detached_directory_shares_no_file_and_nothing_else_changes() {
    let place = Place::new();
    sweep(place.options(), &[20.0, 50.0, 80.0]);
    let before = hashes(&place.out);
    let directory = place.out.join("top50");
    let files = Directory(directory.clone()).weight_files();
    let shared: Vec<u64> =
        files.iter().map(|f| f.metadata().unwrap()).filter(|m| m.nlink() > 1).map(|m| m.len()).collect();
    let detached = detach(&directory).unwrap();
    assert!(!shared.is_empty());
    assert_eq!((detached.files, detached.bytes), (shared.len(), shared.iter().sum()));
    let own = directory.join("config.json").metadata().unwrap().mode();
    for file in &files {
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.mode()), (1, own), "{}", file.display());
    }
    assert_eq!(hashes(&place.out), before);
    assert_eq!(detach(&directory).unwrap().files, 0, "there is nothing left to do");

    fs::write(&files[0], "changed").unwrap();
    for sibling in ["top20", "top80"] {
        fs::rename(place.out.join(sibling), place.path().join(sibling)).unwrap();
    }
    fs::remove_dir_all(&place.out).unwrap();
    fs::create_dir(&place.out).unwrap();
    for sibling in ["top20", "top80"] {
        fs::rename(place.path().join(sibling), place.out.join(sibling)).unwrap();
    }
    require_schemes(&place.out, &alone(&place, &[20.0, 80.0]));
}

#[test]
fn what_is_no_checkpoint_is_named() {
    let place = Place::new();
    let error = detach(&place.path().join("nothing")).unwrap_err();
    assert_eq!(error.kind(), "not_found");
    assert!(error.to_string().contains("nothing"), "{error}");
}
