//! What is said of the disk before and after a run, against the files that lie there.

use std::fs;

use super::{sweep, unique_bytes};
use crate::common::ascending_family;
use crate::common::directory::Directory;
use crate::common::place::Place;
use qlua::job::{FamilyOptions, OnDisk};
use qlua::write::{LinkChoice, Silent, detach};

/// Runs `percents` beside whatever is there. What was foreseen, what the run says and what the report says is what lies there then.
fn require_what_lies_there(options: FamilyOptions, percents: &[f64]) -> OnDisk {
    let family = ascending_family(options.clone(), percents);
    let foreseen = family.check().unwrap().on_disk;
    let on_disk = family.run(&Silent).unwrap().on_disk;
    assert_eq!(foreseen, on_disk);
    for (percent, files) in percents.iter().zip(&on_disk.files) {
        let directory = Directory(options.out.join(format!("top{percent}")));
        let mut lying: Vec<(String, u64)> = Vec::new();
        for path in directory.weight_files() {
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            lying.push((name, path.metadata().unwrap().len()));
        }
        lying.sort();
        let said: Vec<(String, u64)> = files.iter().map(|file| (file.file.clone(), file.bytes)).collect();
        assert_eq!(said, lying, "top{percent}");
    }
    family.write_report(&family.report().unwrap()).unwrap();
    let report = family.report().unwrap();
    let sharing = report.sweeps[0].sharing.unwrap();
    assert_eq!((sharing.unique_bytes, sharing.copied_bytes), (on_disk.unique_bytes, on_disk.copied_bytes));
    for name in ["report.html", "report.md"] {
        fs::remove_file(options.out.join(name)).unwrap();
    }
    assert_eq!(on_disk.unique_bytes, unique_bytes(&options.out));
    on_disk
}

#[test]
fn schemes_that_are_added_to_others_are_counted_with_what_is_there() {
    let place = Place::new();
    let first = require_what_lies_there(place.options(), &[10.0, 50.0]);
    assert!(first.unique_bytes < first.copied_bytes);
    let anew = ascending_family(place.options(), &[10.0, 50.0, 60.0]).planned().unwrap();
    let more = require_what_lies_there(place.options(), &[10.0, 50.0, 60.0]);
    assert!(more.unique_bytes > anew.unique_bytes().unwrap(), "shards of finished schemes are not cut anew");
    assert_eq!(require_what_lies_there(place.options(), &[10.0, 50.0, 60.0]), more, "a rerun");
}

#[test]
fn copies_and_directories_that_stopped_sharing_count_each() {
    let place = Place::new();
    let copying = FamilyOptions { link: LinkChoice::Copy, ..place.options() };
    let copies = require_what_lies_there(copying, &[10.0, 50.0]);
    assert_eq!(copies.unique_bytes, copies.copied_bytes);
    let place = Place::new();
    sweep(place.options(), &[10.0, 50.0]);
    detach(&place.out.join("top50")).unwrap();
    let detached = require_what_lies_there(place.options(), &[10.0, 50.0, 70.0]);
    assert!(detached.files[1].iter().any(|file| file.schemes == 1));
}
