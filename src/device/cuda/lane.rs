//! One batch on its way through the GPU: buffers, a stream, and what waits for them.

mod results;
mod submitted;

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, LaunchConfig, PushKernelArg, sys};
use rayon::prelude::*;

use super::abi::{self, HALF_BYTES, Launch, PartialError, Piece, THREADS, bytes_of};
use super::batch::Batch;
use super::gpu::{Gpu, failed};
use super::memory::{DeviceBuffer, HostBuffer};
use super::schedule::Tuning;
use crate::device::accelerator::BatchLane;
use crate::format::{QuantisedGroup, Wanted, WeightGroup};
use crate::{Error, Result};

pub use results::BatchResults;
use submitted::{COPY_BYTES, Submitted};

/// Takes one batch at a time through the GPU: [`submit`](Lane::submit) returns at once, [`wait`](Lane::wait) gives the
/// results. With two or three lanes the copies and kernels of one overlap with the host's work for another. The buffers
/// grow to the largest batch and are kept.
pub struct Lane {
    gpu: Gpu,
    stream: Arc<CudaStream>,
    done: CudaEvent,
    host: HostBuffers,
    device: DeviceBuffers,
    batch: Option<Submitted>,
}

struct HostBuffers {
    source: HostBuffer,
    tables: HostBuffer,
    codes: HostBuffer,
    results: HostBuffer,
}

struct DeviceBuffers {
    source: DeviceBuffer,
    tables: DeviceBuffer,
    codes: DeviceBuffer,
    /// A counter for each scale, and the amax values.
    state: DeviceBuffer,
    parts: DeviceBuffer,
    totals: DeviceBuffer,
}

impl Gpu {
    /// A lane of its own, without buffers yet.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver refuses a stream.
    pub fn lane(&self) -> Result<Lane> {
        let context = &self.context;
        context.bind_to_thread().map_err(failed("use the GPU"))?;
        let flags = sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        let (host, device) = (|| HostBuffer::new(context), || DeviceBuffer::new(context));
        Ok(Lane {
            stream: context.new_stream().map_err(failed("make a stream"))?,
            done: context.new_event(Some(flags)).map_err(failed("make an event"))?,
            host: HostBuffers { source: host(), tables: host(), codes: host(), results: host() },
            device: DeviceBuffers {
                source: device(),
                tables: device(),
                codes: device(),
                state: device(),
                parts: device(),
                totals: device(),
            },
            batch: None,
            gpu: self.clone(),
        })
    }
}

impl Lane {
    /// Starts quantising `groups`: copies their bytes to page-locked memory, with all threads of the current pool, and
    /// queues the copy to the GPU, the kernels, and the copy back. What was submitted before is waited for and forgotten.
    ///
    /// # Errors
    /// As [`WeightGroup::scale_shape`]; [`Error::Device`] when memory runs out (then `bytes` says how much was asked for)
    /// or the driver fails.
    pub fn submit(&mut self, groups: Vec<WeightGroup>, wanted: Wanted) -> Result<()> {
        BatchLane::submit(self, groups, wanted, &|_| ())
    }

    /// Waits for the batch that was submitted last.
    ///
    /// # Errors
    /// [`Error::Device`] when the GPU failed, [`Error::Argument`] when nothing was submitted.
    pub fn wait(&mut self) -> Result<BatchResults<'_>> {
        self.done.synchronize().map_err(failed("quantise on the GPU"))?;
        match &self.batch {
            Some(submitted) => {
                let (codes, results) = (self.host.codes.bytes(), self.host.results.bytes());
                Ok(BatchResults { submitted, codes, results })
            }
            None => Err(nothing_submitted()),
        }
    }

    /// Runs the kernels of the batch submitted last again, on the data that is on the GPU, and gives the milliseconds
    /// of each run, by the GPU's own clock. For measuring.
    ///
    /// # Errors
    /// [`Error::Device`] when the GPU failed.
    pub fn time_kernels(&mut self, runs: usize) -> Result<Vec<f32>> {
        self.finish()?;
        let event = || self.gpu.context.new_event(Some(sys::CUevent_flags::CU_EVENT_DEFAULT));
        let (start, end) =
            (event().map_err(failed("make an event"))?, event().map_err(failed("make an event"))?);
        (0..runs)
            .map(|_| {
                start.record(&self.stream).map_err(failed("record an event"))?;
                self.launch()?;
                end.record(&self.stream).map_err(failed("record an event"))?;
                start.elapsed_ms(&end).map_err(failed("run the kernels"))
            })
            .collect()
    }

    /// Schedules the batch submitted last anew, with other limits. For measuring; the results do not change.
    ///
    /// # Errors
    /// As [`Lane::submit`].
    pub fn reschedule(&mut self, tuning: Tuning) -> Result<()> {
        self.finish()?;
        let mut submitted = self.batch.take().ok_or_else(nothing_submitted)?;
        self.gpu.tuning = tuning;
        submitted.batch = self.batch_of(&submitted.groups, submitted.wanted)?;
        self.reserve(&submitted)?;
        self.fill_tables(&submitted.batch);
        self.batch = Some(submitted);
        self.upload_tables()
    }

    fn batch_of(&self, groups: &[WeightGroup], wanted: Wanted) -> Result<Batch> {
        let blocks = self.gpu.kernels.tensors(wanted).blocks as usize;
        Batch::new(groups, wanted, blocks, &self.gpu.tuning)
    }

    fn finish(&mut self) -> Result<()> {
        self.gpu.context.bind_to_thread().map_err(failed("use the GPU"))?;
        self.stream.synchronize().map_err(failed("wait for the GPU"))
    }

    fn reserve(&mut self, submitted: &Submitted) -> Result<()> {
        let Submitted { batch, wanted, .. } = submitted;
        let code_bytes = if wanted.codes { batch.code_bytes } else { 0 };
        let results = submitted.state_bytes() + submitted.total_bytes();
        self.device.source.reserve(batch.source_bytes)?;
        self.device.codes.reserve(code_bytes)?;
        self.device.tables.reserve(tables_bytes(batch))?;
        self.device.state.reserve(submitted.state_bytes())?;
        if wanted.error {
            self.device.parts.reserve(batch.part_count * size_of::<PartialError>())?;
            self.device.totals.reserve(submitted.total_bytes())?;
        }
        self.host.source.reserve(batch.source_bytes)?;
        self.host.tables.reserve(tables_bytes(batch))?;
        self.host.codes.reserve(code_bytes)?;
        self.host.results.reserve(results)
    }

    /// Copies the weights to where the device fetches them; `touch` sees the bytes before.
    fn fill(&mut self, submitted: &Submitted, touch: &(dyn Fn(&[u8]) + Sync)) {
        let Submitted { groups, batch, .. } = submitted;
        let mut rest = self.host.source.bytes_mut();
        let mut at = 0;
        let mut copies = vec![];
        let weights = groups.iter().flat_map(|group| &group.weights);
        for (weight, spot) in weights.zip(&batch.weight_offsets) {
            let (_, from_here) = rest.split_at_mut(spot.source - at);
            let (here, after) = from_here.split_at_mut(weight.bytes().len());
            copies.extend(here.chunks_mut(COPY_BYTES).zip(weight.bytes().chunks(COPY_BYTES)));
            (at, rest) = (spot.source + weight.bytes().len(), after);
        }
        copies.into_par_iter().for_each(|(to, from)| {
            touch(from);
            to.copy_from_slice(from);
        });
    }

    /// Writes the tables of the kernels, with the addresses of this lane's buffers.
    fn fill_tables(&mut self, batch: &Batch) {
        let (source, codes) = (self.device.source.address(), self.device.codes.address());
        let weights: Vec<abi::Weight> = batch
            .weights
            .iter()
            .map(|weight| abi::Weight {
                source: source + weight.source,
                codes: codes + weight.codes,
                ..*weight
            })
            .collect();
        let pieces: Vec<Piece> = batch
            .pieces
            .iter()
            .map(|piece| Piece { source: source + piece.source, codes: codes + piece.codes, ..*piece })
            .collect();
        let tables = [
            bytes_of(&weights),
            bytes_of(&pieces),
            bytes_of(&batch.waves),
            bytes_of(&batch.items),
            bytes_of(&batch.given),
        ];
        let to = self.host.tables.bytes_mut();
        for (at, table) in table_offsets(batch).into_iter().zip(tables) {
            to[at..at + table.len()].copy_from_slice(table);
        }
    }

    fn upload(&mut self) -> Result<()> {
        let submitted = self.batch.as_ref().ok_or_else(nothing_submitted)?;
        let source = &self.host.source.bytes()[..submitted.batch.source_bytes];
        // SAFETY: the host's buffers are not touched before `finish` or `wait` has waited for the stream.
        unsafe { self.device.source.write(&self.stream, 0, source) }
    }

    fn upload_tables(&mut self) -> Result<()> {
        let submitted = self.batch.as_ref().ok_or_else(nothing_submitted)?;
        let tables = &self.host.tables.bytes()[..tables_bytes(&submitted.batch)];
        // SAFETY: as in `upload`.
        unsafe { self.device.tables.write(&self.stream, 0, tables) }
    }

    fn launch(&mut self) -> Result<()> {
        let submitted = self.batch.as_ref().ok_or_else(nothing_submitted)?;
        let (batch, wanted) = (&submitted.batch, submitted.wanted);
        self.device.state.set(&self.stream, 0, submitted.state_bytes())?;
        let tables = self.device.tables.address();
        let [weights, pieces, waves, items, scales, _] = table_offsets(batch).map(|at| tables + at as u64);
        let (state, parts) = (self.device.state.address(), self.device.parts.address());
        let kernels = &self.gpu.kernels;
        let tensors = kernels.tensors(wanted);
        let kept = tensors.kept.min(self.gpu.tuning.kept);
        let launch = Launch {
            weights,
            pieces,
            waves,
            items,
            measured: state,
            amax: state + submitted.first_amax() as u64,
            scales,
            parts,
            wave_count: batch.waves.len() as u32,
            item_count: batch.items.len() as u32,
            kept: kept as u32,
            converts: u32::from(wanted.codes || wanted.error),
        };
        let config = |blocks: u32, threads: u32| LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        if !batch.pieces.is_empty() {
            let config = LaunchConfig {
                shared_mem_bytes: (kept * HALF_BYTES) as u32,
                ..config(batch.blocks as u32, THREADS)
            };
            // SAFETY: the argument is that of the kernel, every address and index in it lies inside the buffers that
            // `reserve` made for this batch, and the stream keeps the order. Blocks wait for each other: cooperative.
            unsafe { self.stream.launch_builder(&tensors.function).arg(&launch).launch_cooperative(config) }
                .map_err(failed("start the kernel"))?;
        }
        if !batch.items.is_empty() {
            let (function, blocks) = kernels.tiles(wanted);
            let blocks = (*blocks).min(launch.item_count);
            // SAFETY: as above; no block waits for another.
            unsafe { self.stream.launch_builder(function).arg(&launch).launch(config(blocks, THREADS)) }
                .map_err(failed("start the kernel"))?;
        }
        if wanted.error && !batch.weights.is_empty() {
            let totals = self.device.totals.address();
            let mut builder = self.stream.launch_builder(&kernels.add_parts);
            builder.arg(&weights).arg(&parts).arg(&totals);
            // SAFETY: as above; one block for each weight.
            unsafe { builder.launch(config(batch.weights.len() as u32, 1024)) }
                .map_err(failed("start the kernel"))?;
        }
        Ok(())
    }

    fn download(&mut self) -> Result<()> {
        let submitted = self.batch.as_ref().ok_or_else(nothing_submitted)?;
        let code_bytes = if submitted.wanted.codes { submitted.batch.code_bytes } else { 0 };
        let (state, totals) = (submitted.state_bytes(), submitted.total_bytes());
        let stream = &self.stream;
        let (of_state, of_totals) = self.host.results.bytes_mut()[..state + totals].split_at_mut(state);
        // SAFETY: the host's buffers are not touched before `finish` or `wait` has waited for the stream.
        unsafe {
            self.device.codes.read(stream, 0, &mut self.host.codes.bytes_mut()[..code_bytes])?;
            self.device.state.read(stream, 0, of_state)?;
            self.device.totals.read(stream, 0, of_totals)
        }
    }
}

impl BatchLane for Lane {
    fn submit(
        &mut self,
        groups: Vec<WeightGroup>,
        wanted: Wanted,
        touch: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<()> {
        self.finish()?;
        let batch = self.batch_of(&groups, wanted)?;
        let submitted = Submitted { groups, wanted, batch };
        self.reserve(&submitted)?;
        self.fill(&submitted, touch);
        self.fill_tables(&submitted.batch);
        self.batch = Some(submitted);
        self.upload()?;
        self.upload_tables()?;
        self.launch()?;
        self.download()?;
        self.done.record(&self.stream).map_err(failed("record an event"))
    }

    fn wait(&mut self) -> Result<Vec<QuantisedGroup>> {
        Ok(Lane::wait(self)?.to_groups())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The device may still be copying from and to the buffers. A failure leaves nothing to do.
        let _ = self.finish();
    }
}

fn nothing_submitted() -> Error {
    Error::argument("nothing was submitted to the GPU")
}

/// Where weights, pieces, waves, items and given scales begin in the tables, and where these end.
fn table_offsets(batch: &Batch) -> [usize; 6] {
    let sizes = [
        size_of_val(batch.weights.as_slice()),
        size_of_val(batch.pieces.as_slice()),
        size_of_val(batch.waves.as_slice()),
        size_of_val(batch.items.as_slice()),
        size_of_val(batch.given.as_slice()),
    ];
    let mut offsets = [0; 6];
    for (number, size) in sizes.into_iter().enumerate() {
        // Pieces are read 16 bytes at a time.
        offsets[number + 1] = (offsets[number] + size).next_multiple_of(16);
    }
    offsets
}

fn tables_bytes(batch: &Batch) -> usize {
    table_offsets(batch)[5]
}
