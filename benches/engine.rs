//! Forward pass and gradient scores of a checkpoint by the engine, as `benches/engine.py` asks for them: MODEL, what to do
//! (`forward` or `score`), samples, tokens of each, threads. Prints wall and processor seconds of the fastest of some rounds.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use qlua::checkpoint::Checkpoint;
use qlua::engine::{CandidateFormat, Cpu, Forgotten, Kept, Network, NetworkRun, Sample, Unobserved};

/// The arguments; `--bench` is what `cargo bench` adds.
#[derive(Parser)]
struct Options {
    model: PathBuf,
    what: String,
    samples: usize,
    tokens: usize,
    threads: usize,
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    #[arg(long)]
    bench: bool,
}

/// Seconds that the process has computed, on all threads.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes the time into what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    if std::env::args().len() < 5 {
        println!("SKIPPED: benches/engine.py runs this with a model");
        return;
    }
    let options = Options::parse();
    let checkpoint = Checkpoint::open(&options.model).expect("a checkpoint");
    let network = Network::open(&checkpoint).expect("a model that the engine computes");
    let words = network.vocabulary().min(1 << 15) as u32;
    let token = |at: usize| (at as u32).wrapping_mul(2_654_435_761) % words;
    let sample = |number: usize| Sample {
        tokens: (0..options.tokens).map(|at| token(number * options.tokens + at)).collect(),
        pictures: vec![],
    };
    let samples: Vec<Sample> = (0..options.samples).map(sample).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.threads).build().expect("threads");
    let (mut wall, mut processor) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..options.rounds {
        let (start, before) = (Instant::now(), processor_seconds());
        pool.install(|| {
            let run = NetworkRun::new(&network, &Cpu, &samples).expect("samples that fit");
            match options.what.as_str() {
                "forward" => {
                    let hidden = run.forward(&mut Unobserved, &mut Forgotten).expect("a forward pass");
                    run.loss(&hidden, &mut Unobserved, false).expect("losses");
                }
                _ => {
                    run.gradient_scores(&[CandidateFormat::FP8], &mut Kept::default(), &mut || ())
                        .expect("scores");
                }
            }
        });
        wall = wall.min(start.elapsed().as_secs_f64());
        processor = processor.min(processor_seconds() - before);
    }
    println!("{wall} {processor}");
}
