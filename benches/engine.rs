//! Forward pass and gradient scores of a checkpoint by the engine, as `benches/engine.py` asks for them: MODEL, what to do
//! (`forward` or `score`), samples, tokens of each, threads. Prints wall and processor seconds.

use std::ffi::{c_int, c_long};
use std::time::Instant;

use qlua::checkpoint::Checkpoint;
use qlua::engine::{CandidateFormat, Cpu, Forgotten, Kept, Network, NetworkRun, Sample, Unobserved};
use qlua::format::Granularity;

/// The allocator of the program, as it is while a model runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    fn mi_option_set(option: c_int, value: c_long);
}

/// Seconds that the process has computed, on all threads.
fn processor_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock writes the time into what it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

fn main() {
    // SAFETY: options are numbers in a table; there is no other thread yet. These are the ones of `keep_free_memory` in main.rs.
    for (option, value) in [(43, 0), (23, 1 << 20), (15, 1000)] {
        unsafe { mi_option_set(option, value) };
    }
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [model, what, numbers @ ..] = given.as_slice() else {
        println!("SKIPPED: benches/engine.py runs this with a model");
        return;
    };
    let numbers: Vec<usize> = numbers.iter().map(|number| number.parse().expect("a number")).collect();
    let &[sample_count, token_count, threads] = numbers.as_slice() else {
        panic!("samples, tokens, threads")
    };
    let checkpoint = Checkpoint::open(model).expect("a checkpoint");
    let network = Network::open(&checkpoint).expect("a model that the engine computes");
    let words = network.vocabulary().min(1 << 15) as u32;
    let token = |at: usize| (at as u32).wrapping_mul(2_654_435_761) % words;
    let sample = |number: usize| Sample {
        tokens: (0..token_count).map(|at| token(number * token_count + at)).collect(),
        pictures: vec![],
    };
    let samples: Vec<Sample> = (0..sample_count).map(sample).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let (start, before) = (Instant::now(), processor_seconds());
    pool.install(|| {
        let run = NetworkRun::new(&network, &Cpu, &samples).expect("samples that fit");
        match what.as_str() {
            "forward" => {
                let hidden = run.forward(&mut Unobserved, &mut Forgotten).expect("a forward pass");
                run.losses(&hidden, &mut Unobserved).expect("losses");
            }
            _ => {
                run.gradient_scores(
                    &[CandidateFormat::with_scales(Granularity::Tensor)],
                    &mut Kept::default(),
                    &mut || (),
                )
                .expect("scores");
            }
        }
    });
    println!("{} {}", start.elapsed().as_secs_f64(), processor_seconds() - before);
}
