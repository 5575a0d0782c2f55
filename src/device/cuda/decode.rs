//! Codes back to values on the GPU.

use cudarc::driver::{LaunchConfig, PushKernelArg};

use super::abi::{Decode, THREADS, bytes_of};
use super::gpu::{Gpu, failed};
use super::memory::DeviceBuffer;
use crate::format::scale_grid::row_length;
use crate::format::{Granularity, Scales};
use crate::tensor::{Dtype, Tensor};
use crate::{Error, Result};

impl Gpu {
    /// As [`crate::format::dequantize`], on this GPU; NaN may have other bits.
    ///
    /// # Errors
    /// As there, and [`Error::Device`].
    pub fn dequantize(&self, codes: &Tensor, scales: &Scales, target: Dtype) -> Result<Tensor> {
        if codes.dtype() != Dtype::F8E4M3 || !target.is_quantisable() {
            return Err(Error::argument(format!(
                "F8_E4M3 can be turned into BF16, F16 or F32, not {} into {target}",
                codes.dtype()
            )));
        }
        scales.check_shape(codes.shape())?;
        let (elements, columns) = (codes.elements(), row_length(codes.shape()));
        let mut values = vec![0; elements * target.size()];
        if elements == 0 {
            return Ok(Tensor::owned(target, codes.shape().to_vec(), values));
        }
        let (height, width) = match scales.granularity {
            Granularity::Tensor => (1, 1),
            Granularity::Channel => (1, columns),
            Granularity::Block => (scales.block[0], scales.block[1]),
        };
        let too_wide = |_| Error::argument("a row is too long for the GPU");
        let columns = match scales.granularity {
            Granularity::Tensor => 0,
            _ => u32::try_from(columns).map_err(too_wide)?,
        };
        self.context.bind_to_thread().map_err(failed("use the GPU"))?;
        let stream = self.context.new_stream().map_err(failed("make a stream"))?;
        let [mut on_device, mut decoded, mut of_scales] = [(); 3].map(|()| DeviceBuffer::new(&self.context));
        on_device.reserve(elements)?;
        decoded.reserve(values.len())?;
        of_scales.reserve(scales.values.len() * 4)?;
        // SAFETY: nothing is touched or freed before `synchronize`, nor after a failure, where freeing waits.
        unsafe {
            on_device.write(&stream, 0, codes.bytes())?;
            of_scales.write(&stream, 0, bytes_of(&scales.values))?;
        }
        let argument = Decode {
            codes: on_device.address(),
            values: decoded.address(),
            scales: of_scales.address(),
            elements: elements as u64,
            columns,
            height: height as u32,
            width: width as u32,
            target: match target {
                Dtype::BF16 => 0,
                Dtype::F16 => 1,
                _ => 2,
            },
        };
        let (function, blocks) = &self.kernels.decode;
        let config =
            LaunchConfig { grid_dim: (*blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: the argument is that of the kernel, its addresses are of buffers of the lengths it says.
        unsafe { stream.launch_builder(function).arg(&argument).launch(config) }
            .map_err(failed("start the kernel"))?;
        // SAFETY: as above.
        unsafe { decoded.read(&stream, 0, &mut values)? };
        stream.synchronize().map_err(failed("decode on the GPU"))?;
        Ok(Tensor::owned(target, codes.shape().to_vec(), values))
    }
}
