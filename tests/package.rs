//! `cargo package` makes a package that is small and that cargo has nothing to say about.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The most bytes of the packed file.
const LARGEST: u64 = 4_000_000;

#[test]
fn the_package_is_small_and_cargo_warns_of_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if root.join("Cargo.toml.orig").exists() {
        eprintln!("SKIPPED: this is a package already");
        return;
    }
    let target = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["package", "--no-verify", "--allow-dirty", "--offline", "--target-dir"])
        .arg(target.path())
        .current_dir(root)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
    let file = format!("package/qlua-{}.crate", env!("CARGO_PKG_VERSION"));
    let bytes = fs::metadata(target.path().join(file)).unwrap().len();
    println!("package: {bytes} bytes");
    assert!(bytes < LARGEST, "{bytes} bytes");
}

/// The change log tells of the version, and the lock file of the fuzz targets follows.
#[test]
fn the_version_is_the_same_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let version = env!("CARGO_PKG_VERSION");
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
    let log = read("CHANGELOG.md");
    let newest = log.lines().find_map(|line| line.strip_prefix("## [")?.split(']').next()).unwrap();
    assert_eq!(newest, version);
    for lock in ["Cargo.lock", "fuzz/Cargo.lock"].map(read).iter().filter(|lock| !lock.is_empty()) {
        assert!(lock.contains(&format!("name = \"qlua\"\nversion = \"{version}\"\n")));
    }
}
