//! One batch on its way through the GPU: buffers, a stream, and what waits for them.

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, LaunchConfig, PushKernelArg, sys};
use rayon::prelude::*;

use super::abi::{self, Launch, Part, THREADS, bytes_of};
use super::batch::Batch;
use super::gpu::{Gpu, failed};
use super::memory::{DeviceBuffer, HostBuffer};
use super::schedule::Tuning;
use crate::fp8::accelerator::BatchLane;
use crate::fp8::{Amax, QuantisationError, QuantisedGroup, Wanted, WeightGroup};
use crate::tensor::{Dtype, Tensor};
use crate::{Error, Result};

/// Bytes that a thread copies at a time.
const COPY_BYTES: usize = 1 << 20;

/// Takes one batch at a time through the GPU: [`submit`](Lane::submit) returns at once, [`wait`](Lane::wait) gives the
/// results. With two or three lanes the copies and kernels of one overlap with the host's work for another. The buffers
/// grow to the largest batch and are kept.
pub struct Lane {
    gpu: Gpu,
    stream: Arc<CudaStream>,
    done: CudaEvent,
    host: Host,
    device: OnDevice,
    batch: Option<Submitted>,
}

struct Host {
    source: HostBuffer,
    tables: HostBuffer,
    codes: HostBuffer,
    results: HostBuffer,
}

struct OnDevice {
    source: DeviceBuffer,
    tables: DeviceBuffer,
    codes: DeviceBuffer,
    /// The ticket, a counter for each group, and the amax values.
    state: DeviceBuffer,
    parts: DeviceBuffer,
    totals: DeviceBuffer,
}

struct Submitted {
    groups: Vec<WeightGroup>,
    wanted: Wanted,
    batch: Batch,
}

impl Submitted {
    fn state_bytes(&self) -> usize {
        self.first_amax() + 4 * self.batch.scale_count
    }

    /// Where the amax values begin in the state.
    fn first_amax(&self) -> usize {
        4 + 4 * self.batch.places.len()
    }

    fn total_bytes(&self) -> usize {
        if self.wanted.error { self.batch.weights.len() * size_of::<Part>() } else { 0 }
    }
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
            host: Host { source: host(), tables: host(), codes: host(), results: host() },
            device: OnDevice {
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
    pub fn wait(&mut self) -> Result<Finished<'_>> {
        self.done.synchronize().map_err(failed("quantise on the GPU"))?;
        match &self.batch {
            Some(submitted) => Ok(Finished { lane: self, submitted }),
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
        submitted.batch = Batch::new(&submitted.groups, submitted.wanted, &tuning)?;
        self.reserve(&submitted)?;
        self.fill_tables(&submitted.batch);
        self.batch = Some(submitted);
        self.upload_tables()
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
            self.device.parts.reserve(batch.part_count * size_of::<Part>())?;
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
        for (weight, spot) in weights.zip(&batch.spots) {
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

    /// Writes the tables of the kernel, with the addresses of this lane's buffers.
    fn fill_tables(&mut self, batch: &Batch) {
        let (source, codes) = (self.device.source.address(), self.device.codes.address());
        let placed: Vec<abi::Weight> = batch
            .weights
            .iter()
            .map(|weight| abi::Weight {
                source: source + weight.source,
                codes: codes + weight.codes,
                ..*weight
            })
            .collect();
        let tables = self.host.tables.bytes_mut();
        let [weights, items, given] = table_offsets(batch);
        tables[weights..items].copy_from_slice(bytes_of(&placed));
        tables[items..given].copy_from_slice(bytes_of(&batch.items));
        tables[given..tables_bytes(batch)].copy_from_slice(bytes_of(&batch.given));
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
        let (batch, error) = (&submitted.batch, submitted.wanted.error);
        let (state_bytes, first_amax) = (submitted.state_bytes(), submitted.first_amax() as u64);
        self.device.state.set(&self.stream, 0, state_bytes)?;
        if batch.items.is_empty() {
            return match error {
                true => self.device.totals.set(&self.stream, 0, submitted.total_bytes()),
                false => Ok(()),
            };
        }
        let [weights, items, given] = table_offsets(batch).map(|at| self.device.tables.address() + at as u64);
        let state = self.device.state.address();
        let parts = self.device.parts.address();
        let launch = Launch {
            weights,
            items,
            ticket: state,
            measured: state + 4,
            amax: state + first_amax,
            scales: given,
            parts,
            item_count: batch.items.len() as u32,
            chunk_bytes: batch.chunk_bytes as u32,
            hints: self.gpu.tuning.hints,
            padding: 0,
        };
        let kernels = &self.gpu.kernels;
        let (function, blocks) = if error { &kernels.quantise_with_error } else { &kernels.quantise };
        let config = |blocks: u32, threads: u32| LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (threads, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the argument is that of the kernel, every address and index in it lies inside the buffers that `reserve`
        // made for this batch, and the stream keeps the order.
        unsafe {
            let blocks = (*blocks).min(launch.item_count);
            self.stream.launch_builder(function).arg(&launch).launch(config(blocks, THREADS))
        }
        .map_err(failed("start the kernel"))?;
        if error {
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
        let batch = Batch::new(&groups, wanted, &self.gpu.tuning)?;
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

/// A copy made by all threads: first of all, its pages are made here.
fn copy_of(bytes: &[u8]) -> Vec<u8> {
    let mut copy = vec![0; bytes.len()];
    let parts = copy.par_chunks_mut(COPY_BYTES).zip(bytes.par_chunks(COPY_BYTES));
    parts.for_each(|(to, from)| to.copy_from_slice(from));
    copy
}

fn nothing_submitted() -> Error {
    Error::argument("nothing was submitted to the GPU")
}

/// Where weights, items and given scales begin in the tables.
fn table_offsets(batch: &Batch) -> [usize; 3] {
    let items = size_of_val(batch.weights.as_slice());
    [0, items, items + size_of_val(batch.items.as_slice())]
}

fn tables_bytes(batch: &Batch) -> usize {
    table_offsets(batch)[2] + size_of_val(batch.given.as_slice())
}

/// The results of a batch, in the lane's page-locked memory.
pub struct Finished<'a> {
    lane: &'a Lane,
    submitted: &'a Submitted,
}

impl Finished<'_> {
    /// The groups as they were submitted.
    pub fn groups(&self) -> &[WeightGroup] {
        &self.submitted.groups
    }

    /// The amax of group `number`; nothing when its scales were given.
    pub fn amax(&self, number: usize) -> Option<Amax> {
        let (group, place) = (&self.submitted.groups[number], &self.submitted.batch.places[number]);
        if group.scales.is_some() {
            return None;
        }
        let count = place.scale_shape.iter().product::<usize>();
        let first = self.submitted.first_amax() + 4 * place.first_scale;
        let bits = self.lane.host.results.bytes()[first..first + 4 * count].as_chunks().0;
        let values = bits.iter().map(|bits| f32::from_le_bytes(*bits)).collect();
        Some(Amax { granularity: group.granularity, shape: place.scale_shape.clone(), values })
    }

    /// Amax, scales and errors of group `number`, without its codes.
    pub fn group(&self, number: usize) -> QuantisedGroup {
        let group = &self.submitted.groups[number];
        let mut quantised = QuantisedGroup::before_codes(group, self.amax(number));
        if self.submitted.wanted.error && quantised.is_finite() {
            let first = self.submitted.batch.places[number].first_weight;
            quantised.errors = (0..group.weights.len()).map(|member| self.error(first + member)).collect();
        }
        quantised
    }

    /// The codes of weight `member` of group `number`; meaningless when the group is not finite or no codes were wanted.
    pub fn codes(&self, number: usize, member: usize) -> &[u8] {
        let spot = &self.submitted.batch.spots[self.submitted.batch.places[number].first_weight + member];
        &self.lane.host.codes.bytes()[spot.codes..spot.codes + spot.elements]
    }

    /// All groups, with copies of their codes.
    pub fn to_groups(&self) -> Vec<QuantisedGroup> {
        let numbers = 0..self.submitted.groups.len();
        numbers
            .map(|number| {
                let mut quantised = self.group(number);
                if self.submitted.wanted.codes && quantised.is_finite() {
                    let weights = self.submitted.groups[number].weights.iter().enumerate();
                    quantised.codes = weights
                        .map(|(member, weight)| {
                            let codes = copy_of(self.codes(number, member));
                            Tensor::owned(Dtype::F8E4M3, weight.shape().to_vec(), codes)
                        })
                        .collect();
                }
                quantised
            })
            .collect()
    }

    fn error(&self, weight: usize) -> QuantisationError {
        let elements = self.submitted.batch.spots[weight].elements as u64;
        let at = self.submitted.state_bytes() + weight * size_of::<Part>();
        let bytes = &self.lane.host.results.bytes()[at..at + size_of::<Part>()];
        let f64_at = |at: usize| f64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        QuantisationError {
            elements,
            sum_squared_error: f64_at(0),
            sum_squares: f64_at(8),
            max_error: f32::from_bits(u32_at(16)).into(),
            saturated: u32_at(20).into(),
            zeroed: u32_at(24).into(),
        }
    }
}
