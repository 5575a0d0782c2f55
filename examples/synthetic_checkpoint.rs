//! Writes a seeded checkpoint with the tensor names, shapes, dtypes and configuration of Qwen2.5-VL-3B-Instruct (824
//! tensors, 7,509,245,952 bytes, two shards), for benchmarks that need real sizes but no real values.
//!
//! `cargo run --release --example synthetic_checkpoint -- DIR [--shape 3b|demo] [--seed N]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use qlua::demo::{Qwen25VlShape, write_checkpoint};

/// Write a seeded checkpoint in the shape of Qwen2.5-VL.
#[derive(Parser)]
struct Options {
    /// Directory to create; it must not exist
    directory: PathBuf,
    /// Dimensions: those of Qwen2.5-VL-3B-Instruct, or those of the embedded demo
    #[arg(long, value_enum, default_value = "3b")]
    shape: Shape,
    /// Seed of the values
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shape {
    #[value(name = "3b")]
    Real3b,
    Demo,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let shape = match options.shape {
        Shape::Real3b => Qwen25VlShape::REAL_3B,
        Shape::Demo => Qwen25VlShape::DEMO,
    };
    let start = Instant::now();
    match write_checkpoint(&options.directory, &shape, options.seed) {
        Ok(written) => {
            let seconds = start.elapsed().as_secs_f64();
            for (name, bytes) in &written.shards {
                println!("{name}  {bytes} bytes");
            }
            println!(
                "{} tensors, {} bytes of tensor data in `{}`: {seconds:.1} s, {:.0} MB/s",
                written.tensors,
                written.bytes,
                options.directory.display(),
                written.bytes as f64 / 1e6 / seconds,
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
