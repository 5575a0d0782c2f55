//! The CPU or a GPU behind one type: the same codes and scales, bit for bit, wherever they are made.

pub(crate) mod accelerator;
pub mod cuda;

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use self::accelerator::{Accelerator, InOrder, quantise_all};
use self::cuda::{Gpu, Gpus};
use crate::format::{QuantisedGroup, Scales, Wanted, WeightGroup, dequantize};
use crate::tensor::{Dtype, Tensor};
use crate::words::unknown;
use crate::{Error, Result};

/// Where to compute: what `--device` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// Every GPU that can be used, else the CPU; also the CPU where the memory of the GPUs does not suffice.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU of this number, or every one that can be used; without one there is an error.
    Cuda(Option<usize>),
}

impl DeviceChoice {
    /// The words for one, with `N` for the number of a GPU.
    pub const WORDS: &'static [&'static str] = &["auto", "cpu", "cuda", "cuda:N"];
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let numbered =
            || word.strip_prefix("cuda:")?.parse().ok().map(|number| DeviceChoice::Cuda(Some(number)));
        let plain = [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(None)];
        let named = plain.into_iter().find(|choice| choice.to_string() == word);
        named.or_else(numbered).ok_or_else(|| {
            let error = unknown("device", word, Self::WORDS);
            // By the letters `cpu` is nearer.
            match word.strip_prefix("gpu") {
                Some(number) => error.with_hint(format!(
                    "did you mean `cuda{number}`? The words are {}",
                    Self::WORDS.join(", ")
                )),
                None => error,
            }
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => f.write_str("auto"),
            DeviceChoice::Cpu => f.write_str("cpu"),
            DeviceChoice::Cuda(None) => f.write_str("cuda"),
            DeviceChoice::Cuda(Some(number)) => write!(f, "cuda:{number}"),
        }
    }
}

/// Where codes, scales and errors are computed; cheap to clone.
#[derive(Clone)]
pub enum Device {
    /// The threads of this process; with the reason why it is no GPU, where one was looked for.
    Cpu(Option<String>),
    /// GPUs that share the work.
    Cuda(Gpus),
}

impl Device {
    /// Opens what `choice` names.
    ///
    /// # Errors
    /// [`Error::Device`] when a GPU was asked for by name and there is none, or it cannot be used.
    pub fn open(choice: DeviceChoice) -> Result<Device> {
        match choice {
            DeviceChoice::Cpu => Ok(Device::Cpu(None)),
            DeviceChoice::Cuda(Some(number)) => Gpus::one(number).map(Device::Cuda),
            DeviceChoice::Cuda(None) => Gpus::all(true).map(Device::Cuda),
            DeviceChoice::Auto => Ok(match Gpus::all(false) {
                Ok(gpus) => Device::Cuda(gpus),
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
    /// As [`WeightGroup::quantise`]; [`Error::Device`] when a GPU fails, or was named and has no memory even for one group
    /// at a time.
    pub fn quantise(&self, groups: &[WeightGroup], wanted: Wanted) -> Result<Vec<QuantisedGroup>> {
        match self {
            Device::Cpu(_) => groups.iter().map(|group| on_cpu(group, wanted)).collect(),
            Device::Cuda(gpus) => quantise_on(gpus, groups, wanted),
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

    /// What batches can be given to; nothing for the CPU.
    pub(crate) fn accelerator(&self) -> Option<&dyn Accelerator> {
        match self {
            Device::Cpu(_) => None,
            Device::Cuda(gpus) => Some(gpus),
        }
    }

    /// The values of F8_E4M3 codes, as [`dequantize`]; of several GPUs the first does it.
    ///
    /// # Errors
    /// As [`dequantize`], and [`Error::Device`].
    pub fn dequantize(&self, codes: &Tensor, scales: &Scales, target: Dtype) -> Result<Tensor> {
        match self {
            Device::Cpu(_) => dequantize(codes, scales, target),
            Device::Cuda(gpus) => gpus.first().dequantize(codes, scales, target),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu(None) => f.write_str("the CPU"),
            Device::Cpu(Some(reason)) => write!(f, "the CPU ({reason})"),
            Device::Cuda(gpus) => gpus.fmt(f),
        }
    }
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Self {
        Device::Cuda(gpu.into())
    }
}

/// Quantises on `accelerator`, and on the CPU what it has no memory for.
fn quantise_on(
    accelerator: &dyn Accelerator,
    groups: &[WeightGroup],
    wanted: Wanted,
) -> Result<Vec<QuantisedGroup>> {
    let work = InOrder::new(groups);
    quantise_all(accelerator, &work, wanted)?;
    let results = work.into_results().into_iter().zip(groups);
    results.map(|(result, group)| result.map_or_else(|| on_cpu(group, wanted), Ok)).collect()
}

fn on_cpu(group: &WeightGroup, wanted: Wanted) -> Result<QuantisedGroup> {
    group.encoding.format.format().quantise(group, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::accelerator::stand_in::StandIn;
    use crate::format::{Encoding, Granularity, Rounding, ScaleRule};

    #[test]
    fn choices_are_read_as_they_are_shown() {
        let cuda = [DeviceChoice::Cuda(None), DeviceChoice::Cuda(Some(0)), DeviceChoice::Cuda(Some(7))];
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu].into_iter().chain(cuda) {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().ok(), Some(choice));
        }
        for wrong in ["gpu", "cuda:", "cuda:-1", "cuda:x", "CUDA", ""] {
            let error = wrong.parse::<DeviceChoice>().unwrap_err();
            assert_eq!(error.to_string(), format!("there is no device `{wrong}`"));
            assert!(error.hint().unwrap().contains("cuda"));
        }
    }

    #[test]
    fn without_a_driver_a_gpu_is_an_error_and_auto_is_the_cpu() {
        if Gpu::count() > 0 {
            eprintln!("SKIPPED: this machine has a GPU");
            return;
        }
        for number in [None, Some(0)] {
            let error = Device::open(DeviceChoice::Cuda(number)).err();
            let error = error.map(|error| (error.kind(), error.hint()));
            assert!(
                matches!(error, Some(("device", Some(hint))) if hint.contains("--device") || hint.contains("nvidia-smi"))
            );
        }
        assert!(matches!(Device::open(DeviceChoice::Auto), Ok(Device::Cpu(Some(_)))));
        assert!(matches!(Device::open(DeviceChoice::Cpu), Ok(Device::Cpu(None))));
    }

    #[test]
    fn what_a_device_has_no_memory_for_is_done_by_the_cpu() {
        let wanted = Wanted { codes: true, error: true };
        let groups: Vec<WeightGroup> = [10usize, 2000, 30]
            .map(|count| {
                let values = (0..count).flat_map(|i| (i as f32 - 7.5).to_le_bytes()).collect();
                let weight = Tensor::owned(Dtype::F32, vec![count], values);
                WeightGroup::one(weight, Encoding::e4m3(Granularity::Tensor, ScaleRule::F32, Rounding::Exact))
            })
            .into();
        for (required, memory) in [(false, 1000), (true, 8000)] {
            let device = StandIn { required, memory, ..StandIn::new() };
            let done = quantise_on(&device, &groups, wanted).unwrap();
            for (group, done) in groups.iter().zip(done) {
                assert_eq!(done.codes[0].bytes(), group.quantise(wanted).unwrap().codes[0].bytes());
            }
        }
        let device = StandIn { required: true, memory: 1000, ..StandIn::new() };
        let error = quantise_on(&device, &groups, wanted).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("8000 bytes of memory could not be allocated"));
    }
}
