//! Memory of the device, and page-locked memory of the host, which the device copies from and to on its own.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use super::gpu::failed;
use crate::{Error, Result};

/// Device memory that grows when more is asked for; what it held is lost then.
pub(super) struct DeviceBuffer {
    context: Arc<CudaContext>,
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl DeviceBuffer {
    pub(super) fn new(context: &Arc<CudaContext>) -> Self {
        DeviceBuffer { context: context.clone(), address: 0, bytes: 0 }
    }

    pub(super) fn address(&self) -> u64 {
        self.address
    }

    /// Makes room for `bytes`. Nothing that uses the memory may be under way.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        self.free();
        self.context.bind_to_thread().map_err(failed("use the GPU"))?;
        // SAFETY: the context is bound; the memory is freed with this value.
        let address =
            unsafe { result::malloc_sync(bytes) }.map_err(|error| out_of(error, bytes, "GPU memory"))?;
        (self.address, self.bytes) = (address, bytes);
        // What lies between weights is copied along, so it must not be undefined.
        // SAFETY: the range is the allocation.
        unsafe { result::memset_d8_sync(address, 0, bytes) }.map_err(failed("clear GPU memory"))
    }

    /// Copies `from` to the offset `at`, in the order of `stream`.
    ///
    /// # Safety
    /// `from` must stay as it is until the stream has passed the copy.
    pub(super) unsafe fn write(&mut self, stream: &CudaStream, at: usize, from: &[u8]) -> Result<()> {
        assert!(at + from.len() <= self.bytes, "what is copied fits");
        if from.is_empty() {
            return Ok(());
        }
        // SAFETY: the range lies inside the allocation; the rest is the caller's promise.
        unsafe { result::memcpy_htod_async(self.address + at as u64, from, stream.cu_stream()) }
            .map_err(failed("copy to the GPU"))
    }

    /// Copies from the offset `at` into `to`, in the order of `stream`.
    ///
    /// # Safety
    /// `to` must stay alive and untouched until the stream has passed the copy.
    pub(super) unsafe fn read(&self, stream: &CudaStream, at: usize, to: &mut [u8]) -> Result<()> {
        assert!(at + to.len() <= self.bytes, "what is copied lies inside");
        if to.is_empty() {
            return Ok(());
        }
        // SAFETY: the range lies inside the allocation; the rest is the caller's promise.
        unsafe { result::memcpy_dtoh_async(to, self.address + at as u64, stream.cu_stream()) }
            .map_err(failed("copy from the GPU"))
    }

    /// Sets the first `bytes` to `value`, in the order of `stream`.
    pub(super) fn set(&mut self, stream: &CudaStream, value: u8, bytes: usize) -> Result<()> {
        assert!(bytes <= self.bytes, "what is set lies inside");
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range lies inside the allocation.
        unsafe { result::memset_d8_async(self.address, value, bytes, stream.cu_stream()) }
            .map_err(failed("clear GPU memory"))
    }

    fn free(&mut self) {
        if self.address != 0 && self.context.bind_to_thread().is_ok() {
            // SAFETY: allocated by `reserve`, freed once. A failure leaves nothing to do.
            let _ = unsafe { result::free_sync(self.address) };
        }
        (self.address, self.bytes) = (0, 0);
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        self.free();
    }
}

/// Host memory that grows when more is asked for; what it held is lost then. Page-locked up to [`PINNED_LIMIT`] and as far
/// as the system gives it, ordinary beyond: copies are slower then, and right all the same.
pub(super) struct HostBuffer {
    context: Arc<CudaContext>,
    pinned: *mut u8,
    plain: Vec<u8>,
    bytes: usize,
}

/// Page-locked memory cannot be swapped out, so one buffer takes no more than this.
const PINNED_LIMIT: usize = 1 << 30;

// SAFETY: the memory belongs to this value alone, and the driver's calls may come from any thread.
unsafe impl Send for HostBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for HostBuffer {}

impl HostBuffer {
    pub(super) fn new(context: &Arc<CudaContext>) -> Self {
        HostBuffer { context: context.clone(), pinned: std::ptr::null_mut(), plain: vec![], bytes: 0 }
    }

    /// Makes room for `bytes`. Nothing that uses the memory may be under way.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        self.free();
        self.context.bind_to_thread().map_err(failed("use the GPU"))?;
        if bytes <= PINNED_LIMIT
            // SAFETY: the context is bound; the memory is freed with this value.
            && let Ok(start) = unsafe { result::malloc_host(bytes, 0) }
        {
            // SAFETY: `bytes` were just allocated; zeroed, because a slice of them must be initialised.
            unsafe { std::ptr::write_bytes(start.cast::<u8>(), 0, bytes) };
            self.pinned = start.cast();
        } else {
            self.plain = vec![0; bytes];
        }
        self.bytes = bytes;
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        if self.pinned.is_null() {
            return &self.plain;
        }
        // SAFETY: allocated and initialised by `reserve`.
        unsafe { std::slice::from_raw_parts(self.pinned, self.bytes) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        if self.pinned.is_null() {
            return &mut self.plain;
        }
        // SAFETY: allocated and initialised by `reserve`; borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pinned, self.bytes) }
    }

    fn free(&mut self) {
        if !self.pinned.is_null() && self.context.bind_to_thread().is_ok() {
            // SAFETY: allocated by `reserve`, freed once. A failure leaves nothing to do.
            let _ = unsafe { result::free_host(self.pinned.cast()) };
        }
        (self.pinned, self.plain, self.bytes) = (std::ptr::null_mut(), vec![], 0);
    }
}

impl Drop for HostBuffer {
    fn drop(&mut self) {
        self.free();
    }
}

/// The error for `bytes` that could not be allocated.
fn out_of(error: DriverError, bytes: usize, what: &str) -> Error {
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return Error::Device {
            problem: format!("{:.2} GB of {what} could not be allocated", bytes as f64 / 1e9),
            bytes: Some(bytes),
            hint: Some("free the GPU, or use --device cpu".into()),
        };
    }
    failed("allocate memory")(error)
}
