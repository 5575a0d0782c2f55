//! Host → GPU → host → file, beside each part alone.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use super::data::{alone, linears};
use qlua::device::cuda::{Gpu, Lane, into_batches, quantise_batches};
use qlua::format::{Granularity, Wanted, WeightGroup};
use qlua::{Error, Result};
use rayon::prelude::*;

const CODES: Wanted = Wanted { codes: true, error: false };

/// Writes `bytes` at `offset`, some megabytes a thread.
fn write(file: &File, path: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
    bytes.par_chunks(4 << 20).enumerate().try_for_each(|(number, bytes)| {
        let at = offset + ((number as u64) << 22);
        file.write_all_at(bytes, at).map_err(|error| Error::io("write", path, error))
    })
}

fn create(path: &Path) -> Result<File> {
    let _ = std::fs::remove_file(path);
    File::create(path).map_err(|error| Error::io("create", path, error))
}

fn lanes(gpu: &Gpu, count: usize, groups: &[WeightGroup]) -> Result<Vec<Lane>> {
    (0..count)
        .map(|_| {
            let mut lane = gpu.lane()?;
            // Makes the buffers, which outlive the batches.
            lane.submit(groups.to_vec(), CODES)?;
            lane.wait()?;
            Ok(lane)
        })
        .collect()
}

pub fn all(gpu: &Gpu, folder: &Path) -> Result<()> {
    let path = folder.join("qlua-gpu-bench.codes");
    let groups = alone(&linears(), Granularity::Tensor);
    let bytes: usize = groups.iter().map(WeightGroup::bytes).sum();
    let gigabytes = bytes as f64 / 1e9;
    println!("{gigabytes:.2} GB in, {:.2} GB out", gigabytes / 2.0);
    for megabytes in [32, 128] {
        let batches = into_batches(&groups, megabytes << 20);
        for count in [1, 3] {
            let largest =
                batches.iter().max_by_key(|batch| batch.iter().map(WeightGroup::bytes).sum::<usize>());
            let make = || lanes(gpu, count, largest.expect("some batches"));
            let name = format!("{megabytes} MiB, {count} lanes");
            let ready = make()?;
            let start = Instant::now();
            quantise_batches(ready, batches.clone(), CODES, |_, _| Ok(()))?;
            let through = start.elapsed().as_secs_f64();
            let (ready, file) = (make()?, create(&path)?);
            let (start, mut offset) = (Instant::now(), 0);
            quantise_batches(ready, batches.clone(), CODES, |_, finished| {
                for (number, group) in finished.groups().iter().enumerate() {
                    for member in 0..group.weights.len() {
                        let codes = finished.codes(number, member);
                        write(&file, &path, offset, codes)?;
                        offset += codes.len() as u64;
                    }
                }
                Ok(())
            })?;
            let whole = start.elapsed().as_secs_f64();
            file.sync_all().map_err(|error| Error::io("sync", &path, error))?;
            let synced = start.elapsed().as_secs_f64();
            println!(
                "{name}: to the GPU and back {through:.3} s ({:.1} GB/s in); and to the file {whole:.3} s, synced {synced:.3} s",
                gigabytes / through
            );
        }
    }
    let start = Instant::now();
    let mut copy = vec![0u8; 128 << 20];
    let copied = Instant::now();
    for group in &groups {
        for weight in &group.weights {
            let from = weight.bytes();
            copy[..from.len()]
                .par_chunks_mut(4 << 20)
                .zip(from.par_chunks(4 << 20))
                .for_each(|(to, from)| to.copy_from_slice(from));
        }
    }
    println!(
        "host copies alone: {:.3} s (after {:.3} s)",
        copied.elapsed().as_secs_f64(),
        (copied - start).as_secs_f64()
    );
    let (file, mut offset) = (create(&path)?, 0);
    let start = Instant::now();
    for group in &groups {
        let codes = &group.weights[0].bytes()[..group.bytes() / 2];
        write(&file, &path, offset, codes)?;
        offset += codes.len() as u64;
    }
    let written = start.elapsed().as_secs_f64();
    file.sync_all().map_err(|error| Error::io("sync", &path, error))?;
    println!("file alone: {written:.3} s, synced {:.3} s", start.elapsed().as_secs_f64());
    std::fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))
}
