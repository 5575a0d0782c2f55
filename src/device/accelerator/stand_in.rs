//! A device that is none: batches are quantised by the CPU, with a limit on memory and with failures where a test wants
//! them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{Accelerator, BatchLane};
use crate::format::{QuantisedGroup, Wanted, WeightGroup};
use crate::{Error, Result};

/// What happens on a stand-in.
pub(crate) struct StandIn {
    pub devices: usize,
    pub required: bool,
    /// Bytes of weights that all lanes together may hold.
    pub memory: usize,
    /// Waiting for the batch of this number fails, from 0.
    pub failing_batch: Option<usize>,
    /// What happened.
    pub log: Arc<Log>,
}

#[derive(Default)]
pub(crate) struct Log {
    /// The device and the bytes of every batch that was finished.
    batches: Mutex<Vec<(usize, usize)>>,
    /// Bytes that lanes hold.
    used: AtomicUsize,
    /// Batches that were started.
    started: AtomicUsize,
}

impl StandIn {
    /// A device with memory enough.
    pub fn new() -> Self {
        StandIn { devices: 1, required: true, memory: usize::MAX, failing_batch: None, log: Arc::default() }
    }

    /// The bytes of all finished batches.
    pub fn bytes(&self) -> Vec<usize> {
        self.log.batches.lock().unwrap().iter().map(|(_, bytes)| *bytes).collect()
    }

    /// The devices that finished them.
    pub fn used_devices(&self) -> BTreeSet<usize> {
        self.log.batches.lock().unwrap().iter().map(|(device, _)| *device).collect()
    }
}

impl Accelerator for StandIn {
    fn devices(&self) -> usize {
        self.devices
    }

    fn lane(&self, device: usize) -> Result<Box<dyn BatchLane>> {
        Ok(Box::new(StandInLane {
            device,
            memory: self.memory,
            failing_batch: self.failing_batch,
            log: self.log.clone(),
            reserved: 0,
            batch: None,
        }))
    }

    fn is_required(&self) -> bool {
        self.required
    }
}

struct StandInLane {
    device: usize,
    memory: usize,
    failing_batch: Option<usize>,
    log: Arc<Log>,
    /// As a lane of a GPU does, it keeps what its largest batch took.
    reserved: usize,
    batch: Option<(usize, Vec<WeightGroup>, Wanted)>,
}

impl BatchLane for StandInLane {
    fn submit(
        &mut self,
        groups: Vec<WeightGroup>,
        wanted: Wanted,
        touch: &(dyn Fn(&[u8]) + Sync),
    ) -> Result<()> {
        let bytes = groups.iter().map(WeightGroup::bytes).sum();
        if bytes > self.reserved {
            self.log.used.fetch_sub(self.reserved, Ordering::Relaxed);
            self.reserved = 0;
            if self.log.used.load(Ordering::Relaxed).saturating_add(bytes) > self.memory {
                return Err(Error::Device {
                    problem: format!("{bytes} bytes of memory could not be allocated"),
                    bytes: Some(bytes),
                    hint: None,
                });
            }
            self.log.used.fetch_add(bytes, Ordering::Relaxed);
            self.reserved = bytes;
        }
        for weight in groups.iter().flat_map(|group| &group.weights) {
            weight.bytes().chunks(100_000).for_each(touch);
        }
        self.batch = Some((self.log.started.fetch_add(1, Ordering::Relaxed), groups, wanted));
        Ok(())
    }

    fn wait(&mut self) -> Result<Vec<QuantisedGroup>> {
        let (number, groups, wanted) = self.batch.take().ok_or_else(|| Error::argument("nothing there"))?;
        if Some(number) == self.failing_batch {
            return Err(Error::device("the device is on fire"));
        }
        let bytes = groups.iter().map(WeightGroup::bytes).sum();
        self.log.batches.lock().unwrap().push((self.device, bytes));
        groups.iter().map(|group| group.quantise(wanted)).collect()
    }
}

impl Drop for StandInLane {
    fn drop(&mut self) {
        self.log.used.fetch_sub(self.reserved, Ordering::Relaxed);
    }
}
