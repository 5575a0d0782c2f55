// FP8 E4M3 on NVIDIA GPUs: amax, codes, decoding and error sums of many weights in one launch. One subject a file; the
// kernels are in tensors.cuh, tiles.cuh, totals.cuh and decode.cuh.
//
// Codes and scales are those of the CPU (src/format/fp8/rounding.rs, src/format/scale.rs), bit for bit; error sums agree to
// 1e-6. Compiled by make_ptx.py, without headers but these.
#include "tensors.cuh"
#include "tiles.cuh"
#include "totals.cuh"
#include "decode.cuh"
