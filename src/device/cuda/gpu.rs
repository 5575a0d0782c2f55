//! One NVIDIA GPU with the kernels loaded.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, DriverError, sys};
use cudarc::nvrtc::Ptx;

use super::abi::{HALF_BYTES, THREADS};
use super::schedule::Tuning;
use crate::format::Wanted;
use crate::{Error, Result};

/// PTX for compute capability 8.0, without conversion instructions for E4M3.
const PTX_80: &str = include_str!("kernels/kernels.sm80.ptx");
/// PTX for compute capability 8.9 and newer, with them.
const PTX_89: &str = include_str!("kernels/kernels.sm89.ptx");

/// An open GPU; cheap to clone.
#[derive(Clone)]
pub struct Gpu {
    pub(super) context: Arc<CudaContext>,
    pub(super) kernels: Arc<Kernels>,
    pub(super) tuning: Tuning,
    name: String,
}

/// The functions of the kernels and how many blocks of each fit on the whole device at once.
pub(super) struct Kernels {
    tensors: Cooperative,
    tensors_with_error: Cooperative,
    tiles: (CudaFunction, u32),
    tiles_with_error: (CudaFunction, u32),
    pub add_parts: CudaFunction,
    pub decode: (CudaFunction, u32),
}

/// A kernel whose blocks wait for each other.
pub(super) struct Cooperative {
    pub function: CudaFunction,
    /// Blocks that fit on the whole device at once.
    pub blocks: u32,
    /// Halves of pieces that each of them has room for in shared memory.
    pub kept: usize,
}

impl Gpu {
    /// The number of GPUs that the driver shows; 0 without a driver.
    pub fn count() -> usize {
        // SAFETY: looks whether the driver's library can be loaded.
        if !unsafe { sys::is_culib_present() } {
            return 0;
        }
        // A driver without a device says so with an error.
        cudarc::driver::result::init()
            .and_then(|()| CudaContext::device_count())
            .map_or(0, |count| usize::try_from(count).unwrap_or(0))
    }

    /// Opens the GPU `ordinal` and loads the kernels: hardware conversion where there is some.
    ///
    /// # Errors
    /// [`Error::Device`] without a driver, without such a GPU, or when it is older than compute capability 8.0.
    pub fn open(ordinal: usize) -> Result<Gpu> {
        // SAFETY: looks whether the driver's library can be loaded; all other calls would panic without it.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::device("there is no NVIDIA driver on this machine")
                .with_hint("use --device cpu, or --device auto to take a GPU only where there is one"));
        }
        let count = Gpu::count();
        if ordinal >= count {
            let problem = match count {
                0 => "the NVIDIA driver shows no GPU".to_string(),
                _ => format!("there is no GPU {ordinal}: the driver shows {count}, counted from 0"),
            };
            return Err(Error::device(problem).with_hint("see nvidia-smi and CUDA_VISIBLE_DEVICES"));
        }
        let context = CudaContext::new(ordinal).map_err(failed("open the GPU"))?;
        let capability = context.compute_capability().map_err(failed("ask the GPU"))?;
        let name = context.name().map_err(failed("ask the GPU"))?;
        let ptx = match capability {
            (8, 9..) | (9.., _) => PTX_89,
            (8, _) => PTX_80,
            (major, minor) => {
                return Err(Error::device(format!(
                    "the kernels need compute capability 8.0, but {name} has {major}.{minor}"
                ))
                .with_hint("use --device cpu"));
            }
        };
        Gpu::with_ptx(context, name, ptx)
    }

    /// The same GPU with the kernels for compute capability 8.0, whatever it has; codes do not change.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver does not load them.
    pub fn without_hardware_conversion(&self) -> Result<Gpu> {
        Gpu::with_ptx(self.context.clone(), self.name.clone(), PTX_80)
    }

    fn with_ptx(context: Arc<CudaContext>, name: String, ptx: &str) -> Result<Gpu> {
        let module = context.load_module(Ptx::from_src(ptx)).map_err(|error| {
            failed("load the kernels")(error).with_hint("the kernels need driver 530 or newer")
        })?;
        let processors = context
            .attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(failed("ask the GPU"))?;
        let kernels = Kernels::load(&module, u32::try_from(processors).unwrap_or(1))?;
        Ok(Gpu { context, kernels: Arc::new(kernels), tuning: Tuning::default(), name })
    }

    /// The same GPU with other limits of the schedule; results do not change.
    pub fn with_tuning(&self, tuning: Tuning) -> Gpu {
        Gpu { tuning, ..self.clone() }
    }

    /// The vendor's name of the GPU.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number, from 0.
    pub fn ordinal(&self) -> usize {
        self.context.ordinal()
    }

    /// Free and total memory in bytes.
    ///
    /// # Errors
    /// [`Error::Device`] when the driver does not say.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.context.mem_get_info().map_err(failed("ask the GPU"))
    }
}

impl Kernels {
    fn load(module: &Arc<CudaModule>, processors: u32) -> Result<Kernels> {
        let function = |name: &str| module.load_function(name).map_err(failed("load the kernels"));
        let persistent = |name: &str| -> Result<(CudaFunction, u32)> {
            let function = function(name)?;
            let blocks = function
                .occupancy_max_active_blocks_per_multiprocessor(THREADS, 0, None)
                .map_err(failed("ask the GPU"))?;
            Ok((function, blocks.max(1) * processors))
        };
        Ok(Kernels {
            tensors: Cooperative::new(persistent("quantise_tensors")?, processors)?,
            tensors_with_error: Cooperative::new(persistent("quantise_tensors_with_error")?, processors)?,
            tiles: persistent("quantise_tiles")?,
            tiles_with_error: persistent("quantise_tiles_with_error")?,
            add_parts: function("add_parts")?,
            decode: persistent("decode_codes")?,
        })
    }
}

impl Kernels {
    /// For weights with one scale.
    pub(super) fn tensors(&self, wanted: Wanted) -> &Cooperative {
        if wanted.error { &self.tensors_with_error } else { &self.tensors }
    }

    /// For weights with a scale for each row or block.
    pub(super) fn tiles(&self, wanted: Wanted) -> &(CudaFunction, u32) {
        if wanted.error { &self.tiles_with_error } else { &self.tiles }
    }
}

impl Cooperative {
    /// Takes what shared memory is left over when as many blocks as without it are to fit.
    fn new((function, blocks): (CudaFunction, u32), processors: u32) -> Result<Cooperative> {
        use sys::CUfunction_attribute_enum::{
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as LIMIT,
            CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT as SHARE,
        };
        const MOST: usize = 8;
        function.set_attribute(SHARE, 100).map_err(failed("set up the kernel"))?;
        let fits = |halves: usize| {
            let bytes = halves * HALF_BYTES;
            // More than the device has is refused.
            function.set_attribute(LIMIT, bytes as i32).is_ok()
                && function
                    .occupancy_max_active_blocks_per_multiprocessor(THREADS, bytes, None)
                    .is_ok_and(|fitting| fitting * processors >= blocks)
        };
        let kept = (1..=MOST).take_while(|&halves| fits(halves)).count();
        function.set_attribute(LIMIT, (kept * HALF_BYTES) as i32).map_err(failed("set up the kernel"))?;
        Ok(Cooperative { function, blocks, kept })
    }
}

/// Turns a driver's error into one of this crate; `action` completes "cannot …".
pub(super) fn failed(action: &str) -> impl Fn(DriverError) -> Error + '_ {
    move |error| {
        let name = error.error_name().ok().and_then(|name| name.to_str().ok().map(str::to_owned));
        Error::device(format!("cannot {action}: {}", name.unwrap_or_else(|| format!("{:?}", error.0))))
    }
}
