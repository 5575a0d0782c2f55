//! Writes a seeded checkpoint with the tensor names, shapes, dtypes and configuration of Qwen2.5-VL-3B-Instruct (824
//! tensors, 7,509,245,952 bytes, two shards), for benchmarks that need real sizes but no real values.
//!
//! `cargo run --release --example synthetic_checkpoint -- DIR [--shape 3b|demo] [--seed N]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, value_parser};
use qlua::demo::{Qwen25VlShape, write_checkpoint};

fn command() -> Command {
    Command::new("synthetic_checkpoint")
        .about("Write a seeded checkpoint in the shape of Qwen2.5-VL")
        .arg(
            Arg::new("directory")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Directory to create; it must not exist"),
        )
        .arg(
            Arg::new("shape")
                .long("shape")
                .default_value("3b")
                .value_parser(PossibleValuesParser::new(["3b", "demo"]))
                .help("Dimensions: those of Qwen2.5-VL-3B-Instruct, or those of the embedded demo"),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .default_value("0")
                .value_parser(value_parser!(u64))
                .help("Seed of the values"),
        )
}

fn main() -> ExitCode {
    let mut options = command().get_matches();
    let directory: PathBuf = options.remove_one("directory").expect("an argument that is required");
    let seed: u64 = options.remove_one("seed").expect("an option with a default");
    let shape = match options.remove_one::<String>("shape").as_deref() {
        Some("demo") => Qwen25VlShape::DEMO,
        _ => Qwen25VlShape::REAL_3B,
    };
    let start = Instant::now();
    match write_checkpoint(&directory, &shape, seed) {
        Ok(written) => {
            let seconds = start.elapsed().as_secs_f64();
            for (name, bytes) in &written.shards {
                println!("{name}  {bytes} bytes");
            }
            println!(
                "{} tensors, {} bytes of tensor data in `{}`: {seconds:.1} s, {:.0} MB/s",
                written.tensors,
                written.bytes,
                directory.display(),
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
