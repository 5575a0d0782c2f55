//! Whether the committed PTX is that of kernels.cu and what it includes.

use std::path::{Path, PathBuf};

use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use sha2::{Digest, Sha256};

const ARCHITECTURES: [(&str, &str); 2] = [
    ("kernels.sm80.ptx", "--gpu-architecture=compute_80"),
    ("kernels.sm89.ptx", "--gpu-architecture=compute_89"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/device/cuda/kernels")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

/// All sources, in the order of their names.
fn sources() -> Vec<u8> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|e| e == "cu" || e == "cuh");
    let mut paths: Vec<PathBuf> = entries.filter(is_source).collect();
    paths.sort();
    paths.iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[test]
fn the_committed_ptx_was_made_from_the_committed_source() {
    let digest: String = Sha256::digest(sources()).iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, _) in ARCHITECTURES {
        let first = read(name).lines().next().unwrap_or_default().to_string();
        assert!(
            first.ends_with(&digest),
            "{name} is stale: run src/device/cuda/kernels/make_ptx.py and commit what it writes"
        );
    }
}

#[test]
fn nvrtc_makes_the_committed_ptx_again() {
    // SAFETY: looks whether the library can be loaded; compiling would panic without it.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        eprintln!(
            "SKIPPED: NVRTC is not installed (pip install nvidia-cuda-nvrtc-cu12==12.1.105, LD_LIBRARY_PATH)"
        );
        return;
    }
    for (name, architecture) in ARCHITECTURES {
        let options = CompileOptions {
            options: ["--std=c++17", "--fmad=false", architecture].map(String::from).into(),
            include_paths: vec![folder().display().to_string()],
            name: Some("kernels.cu".into()),
            ..CompileOptions::default()
        };
        let made = compile_ptx_with_opts(read("kernels.cu"), options).unwrap().to_src();
        let committed = read(name);
        let (_, committed) = committed.split_once('\n').unwrap();
        let release =
            |ptx: &str| ptx.lines().find(|line| line.contains("release")).unwrap_or_default().to_string();
        if release(&made) != release(committed) {
            eprintln!("SKIPPED: NVRTC here is{}, the PTX was made by{}", release(&made), release(committed));
            return;
        }
        assert!(
            made.trim_end_matches('\0') == committed,
            "{name} is stale: run src/device/cuda/kernels/make_ptx.py and commit what it writes"
        );
    }
}
