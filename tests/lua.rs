//! Each file in tests/lua is one test: it runs in a fresh process in an empty directory and fails by raising.

use std::path::Path;

fn run_lua_test(path: &str) {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let output =
        assert_cmd::Command::cargo_bin("qlua").unwrap().current_dir(&folder).arg(&script).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{path} fails:\n{out}{err}");
}

include!(concat!(env!("OUT_DIR"), "/lua_tests.rs"));
