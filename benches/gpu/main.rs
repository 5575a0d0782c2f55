//! What the GPU does, against the CPU (`check`) and against the clock (`time`). Run by benches/gpu.sh, on a machine with an
//! NVIDIA GPU:
//!
//! ```sh
//! gpu check [ELEMENTS]         # codes, scales and errors equal those of the CPU
//! gpu small                    # the same on little data, for compute-sanitizer
//! gpu time [TORCH.json]        # the table, beside what PyTorch takes on the same machine
//! gpu sweep                    # the limits of the schedule, on resident data
//! gpu profile                  # a few launches, to look at with ncu
//! gpu file DIR                 # host → GPU → host → file, beside each part alone
//! ```

mod check;
mod data;
mod file;
mod time;

use qlua::Result;
use qlua::device::cuda::Gpu;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if Gpu::count() == 0 {
        println!("SKIPPED: there is no NVIDIA GPU here");
        return Ok(());
    }
    let gpu = Gpu::open(0)?;
    let (free, total) = gpu.memory()?;
    println!("{}: {:.1} of {:.1} GB free", gpu.name(), free as f64 / 1e9, total as f64 / 1e9);
    match words[..] {
        ["check"] => check::all(&gpu, 1 << 30),
        ["check", elements] => check::all(&gpu, elements.parse().expect("a number of elements")),
        ["small"] => check::small(&gpu),
        ["time"] => time::all(&gpu, None),
        ["time", torch] => time::all(&gpu, Some(torch.as_ref())),
        ["sweep"] => time::sweep(&gpu),
        ["profile"] => time::profile(&gpu),
        ["file", folder] => file::all(&gpu, folder.as_ref()),
        _ => panic!("gpu check [ELEMENTS] | small | time [TORCH.json] | sweep | profile | file DIR"),
    }
}
