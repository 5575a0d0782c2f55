//! Sources in unusual but good form.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::common::directory::Directory;
use crate::common::place::{Place, export, modes, snapshot};
use crate::common::tree;
use qlua::job::FamilyOptions;
use qlua::write::Silent;

/// Every file that loaders read, with a hash of its content; records name the source directory and differ.
fn for_loaders(directory: &Path) -> Vec<(String, String)> {
    // Loaders read neither records nor the card, which names the base.
    let is_read = |name: &str| !name.starts_with("layer-sensitivity") && name != "README.md";
    let files = tree(directory).into_iter().filter(|(name, _)| is_read(name));
    files.map(|(name, content)| (name, blake3::hash(&content).to_string())).collect()
}

#[test]
fn a_read_only_source_is_read_and_its_permissions_are_not_inherited() {
    let place = Place::new();
    let expected = export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory;
    for entry in fs::read_dir(&place.model.0).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
    }
    fs::set_permissions(&place.model.0, fs::Permissions::from_mode(0o555)).unwrap();
    let before = snapshot(&place.model.0);
    let out = place.path().join("out2");
    let written = export(FamilyOptions { out, ..place.options() }, &[50.0], &Silent).unwrap();
    assert_eq!(snapshot(&place.model.0), before);
    assert_eq!(for_loaders(&written[0].directory), for_loaders(&expected));
    assert_eq!(modes(&written[0].directory), modes(&expected));
    // So that the place can be removed by others than root.
    fs::set_permissions(&place.model.0, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The hub's cache: `snapshots/<revision>/` full of links into `blobs/`, read through and never written through.
#[test]
fn a_cache_of_symlinks_is_read_through_and_left_as_it_is() {
    let place = Place::new();
    let expected = export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory;
    let cache = place.path().join("models--org--name");
    let snapshot_directory = cache.join("snapshots/0123abc");
    fs::create_dir_all(&snapshot_directory).unwrap();
    fs::create_dir_all(cache.join("blobs")).unwrap();
    for entry in fs::read_dir(&place.model.0).unwrap() {
        let path = entry.unwrap().path();
        let blob = blake3::hash(&fs::read(&path).unwrap()).to_string();
        fs::copy(&path, cache.join("blobs").join(&blob)).unwrap();
        let link = snapshot_directory.join(path.file_name().unwrap());
        symlink(Path::new("../../blobs").join(blob), link).unwrap();
    }
    let before = snapshot(&cache);
    let options =
        FamilyOptions { model: Some(snapshot_directory), out: place.path().join("out2"), ..place.options() };
    let written = export(options, &[50.0], &Silent).unwrap().remove(0).directory;
    assert_eq!(snapshot(&cache), before);
    assert_eq!(for_loaders(&written), for_loaders(&expected));
    assert_eq!(modes(&written), modes(&expected));
    let links = fs::read_dir(&written).unwrap().filter(|e| e.as_ref().unwrap().path().is_symlink());
    assert_eq!(links.count(), 0, "the output stands on its own");
}

#[test]
fn one_file_of_any_name_without_an_index_is_a_checkpoint() {
    let place = Place::new();
    let expected = export(place.options(), &[50.0], &Silent).unwrap().remove(0).directory;
    let expected = Directory(expected).tensors();
    for (number, name) in ["model.safetensors", "pytorch_model.safetensors"].into_iter().enumerate() {
        let single = Directory::copy(&place.model.0, &place.path().join(format!("single-{number}")));
        single.edit_tensors(|_| ());
        fs::remove_file(single.file("model.safetensors.index.json")).unwrap();
        fs::rename(&single.weight_files()[0], single.file(name)).unwrap();
        let out = place.path().join(format!("out-{number}"));
        let options = FamilyOptions { model: Some(single.0.clone()), out, ..place.options() };
        let written = export(options, &[50.0], &Silent).unwrap().remove(0).directory;
        assert!(Directory(written).tensors() == expected, "{name}");
    }
}
