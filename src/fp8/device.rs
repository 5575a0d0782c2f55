//! The CPU or a GPU behind one type: the same codes and scales, bit for bit, wherever they are made.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use super::cuda::{Gpu, into_batches, quantise_batches};
use super::{QuantisedGroup, Scales, Wanted, WeightGroup, dequantize};
use crate::tensor::{Dtype, Tensor};
use crate::{Error, Result};

/// Bytes of a batch on the GPU, unless one group is larger.
const BATCH_BYTES: usize = 128 << 20;
/// Batches that are under way at the same time.
const LANES: usize = 3;

/// Where to compute: what `--device` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU where there is one that can be used, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number; without it there is an error.
    Cuda(usize),
}

/// Names no [`DeviceChoice`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device `{0}`: it is `auto`, `cpu`, `cuda` or `cuda:N`")]
pub struct UnknownDevice(pub String);

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(name: &str) -> Result<Self, UnknownDevice> {
        match name {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => name
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(DeviceChoice::Cuda)
                .ok_or_else(|| UnknownDevice(name.into())),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

/// Where codes, scales and errors are computed; cheap to clone.
#[derive(Clone)]
pub enum Device {
    /// The threads of this process; with the reason why it is no GPU, where one was looked for.
    Cpu(Option<String>),
    /// A GPU.
    Cuda(Gpu),
}

impl Device {
    /// Opens what `choice` names.
    ///
    /// # Errors
    /// [`Error::Device`] when a GPU was asked for by name and there is none, or it cannot be used.
    pub fn open(choice: DeviceChoice) -> Result<Device> {
        match choice {
            DeviceChoice::Cpu => Ok(Device::Cpu(None)),
            DeviceChoice::Cuda(number) => Gpu::open(number).map(Device::Cuda),
            DeviceChoice::Auto => Ok(match Gpu::open(0) {
                Ok(gpu) => Device::Cuda(gpu),
                Err(error) => Device::Cpu(Some(error.to_string())),
            }),
        }
    }

    /// As [`Device::open`], but a GPU is opened once in a process.
    ///
    /// # Errors
    /// As [`Device::open`].
    pub fn shared(choice: DeviceChoice) -> Result<Device> {
        static OPEN: Mutex<Vec<(DeviceChoice, Device)>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((_, device)) = open.iter().find(|(known, _)| *known == choice) {
            return Ok(device.clone());
        }
        let device = Device::open(choice)?;
        open.push((choice, device.clone()));
        Ok(device)
    }

    /// Quantises `groups`; codes and scales are the same on every device, sums of errors equal to 1e-6.
    ///
    /// # Errors
    /// As [`WeightGroup::quantise`]; [`Error::Device`] when the GPU fails, or has no memory even for one group at a time.
    pub fn quantise(&self, groups: &[WeightGroup], wanted: Wanted) -> Result<Vec<QuantisedGroup>> {
        match self {
            Device::Cpu(_) => groups.iter().map(|group| group.quantise(wanted)).collect(),
            Device::Cuda(gpu) => {
                let (mut bytes, mut lanes) = (BATCH_BYTES, LANES);
                loop {
                    match quantise_on(gpu, groups, wanted, bytes, lanes) {
                        Err(Error::Device { bytes: Some(_), .. }) if bytes > 0 || lanes > 1 => {
                            // Down to single groups, then to one of them at a time.
                            (bytes, lanes) = (bytes / 4, if bytes < 4 { 1 } else { lanes });
                        }
                        other => return other,
                    }
                }
            }
        }
    }

    /// Quantises one group.
    ///
    /// # Errors
    /// As [`Device::quantise`].
    pub fn quantise_one(&self, group: WeightGroup, wanted: Wanted) -> Result<QuantisedGroup> {
        let mut groups = self.quantise(std::slice::from_ref(&group), wanted)?;
        groups.pop().ok_or_else(|| Error::argument("one group gives one result"))
    }

    /// The values of F8_E4M3 codes, as [`dequantize`].
    ///
    /// # Errors
    /// As [`dequantize`], and [`Error::Device`].
    pub fn dequantize(&self, codes: &Tensor, scales: &Scales, target: Dtype) -> Result<Tensor> {
        match self {
            Device::Cpu(_) => dequantize(codes, scales, target),
            Device::Cuda(gpu) => gpu.dequantize(codes, scales, target),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu(None) => f.write_str("the CPU"),
            Device::Cpu(Some(reason)) => write!(f, "the CPU ({reason})"),
            Device::Cuda(gpu) => write!(f, "cuda:{} ({})", gpu.ordinal(), gpu.name()),
        }
    }
}

fn quantise_on(
    gpu: &Gpu,
    groups: &[WeightGroup],
    wanted: Wanted,
    batch_bytes: usize,
    lanes: usize,
) -> Result<Vec<QuantisedGroup>> {
    let batches = into_batches(groups, batch_bytes);
    let lanes = (0..lanes.min(batches.len()).max(1)).map(|_| gpu.lane()).collect::<Result<_>>()?;
    let mut results = Vec::with_capacity(groups.len());
    quantise_batches(lanes, batches, wanted, |_, finished| {
        results.extend(finished.to_groups());
        Ok(())
    })?;
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_shown() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(7)] {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for wrong in ["gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA", ""] {
            assert!(wrong.parse::<DeviceChoice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_a_driver_a_gpu_is_an_error_and_auto_is_the_cpu() {
        if Gpu::count() > 0 {
            eprintln!("SKIPPED: this machine has a GPU");
            return;
        }
        let error = Device::open(DeviceChoice::Cuda(0)).err().map(|error| (error.kind(), error.hint()));
        assert!(
            matches!(error, Some(("device", Some(hint))) if hint.contains("--device") || hint.contains("nvidia-smi"))
        );
        assert!(matches!(Device::open(DeviceChoice::Auto), Ok(Device::Cpu(Some(_)))));
        assert!(matches!(Device::open(DeviceChoice::Cpu), Ok(Device::Cpu(None))));
    }
}
