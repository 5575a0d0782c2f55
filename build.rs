//! Lists the Lua files that become part of the binary, makes a Rust test of each file in tests/lua, says whether a sanitizer is
//! built in, and has the lines for traces compressed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));

    let mut embedded = String::from("static EMBEDDED: &[Embedded] = &[\n");
    for file in ["scripts", "examples"].iter().flat_map(|folder| lua_files(&root, folder)) {
        let path = slashes(&file);
        let source = root.join(&file);
        writeln!(embedded, "    Embedded {{ path: {path:?}, source: include_str!({source:?}) }},").unwrap();
    }
    embedded.push_str("];\n");
    fs::write(out.join("embedded.rs"), embedded)?;

    let mut tests = String::new();
    for file in lua_files(&root, "tests/lua") {
        let name = file.file_stem().and_then(|s| s.to_str()).expect("test files have plain names");
        writeln!(tests, "#[test]\nfn {name}() {{\n    run_lua_test({:?});\n}}", slashes(&file)).unwrap();
    }
    fs::write(out.join("lua_tests.rs"), tests)?;

    // `cfg(sanitize)` itself is known to nightly compilers alone.
    println!("cargo::rustc-check-cfg=cfg(sanitized)");
    if env::var_os("CARGO_CFG_SANITIZE").is_some() {
        println!("cargo::rustc-cfg=sanitized");
    }
    // Traces of panics read them all the same, and the binary is half as large.
    let of = |name: &str| env::var(name).unwrap_or_default();
    if of("CARGO_CFG_TARGET_OS") == "linux" && of("PROFILE") == "release" {
        println!("cargo::rustc-link-arg-bins=-Wl,--compress-debug-sections=zlib");
    }
    Ok(())
}

/// The `.lua` files below `folder`, relative to `root`, sorted; cargo is told to look at the folder again.
fn lua_files(root: &Path, folder: &str) -> Vec<PathBuf> {
    println!("cargo::rerun-if-changed={folder}");
    let mut files = Vec::new();
    collect(root, Path::new(folder), &mut files);
    files.sort();
    files
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
        let path = folder.join(entry.file_name());
        if root.join(&path).is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|e| e == "lua") {
            files.push(path);
        }
    }
}

fn slashes(path: &Path) -> String {
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
