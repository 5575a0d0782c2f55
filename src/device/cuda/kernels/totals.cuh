// The error sums of whole weights.
#pragma once

#include "errors.cuh"

// Adds the parts of each weight, one block for each, in a fixed order.
extern "C" __global__ void __launch_bounds__(1024) add_parts(const Weight* weights, const PartialError* parts, PartialError* totals) {
    __shared__ PartialError of_warps[32];
    const Weight& w = weights[blockIdx.x];
    Sums sums = no_sums();
    for (u32 i = threadIdx.x; i < w.parts; i += 1024) {
        const PartialError part = parts[w.first_part + i];
        sums.squared_error += part.squared_error;
        sums.squares += part.squares;
        sums.max_error = fmaxf(sums.max_error, part.max_error);
        sums.saturated += part.saturated;
        sums.zeroed += part.zeroed;
    }
    const PartialError part = add_across_warp(sums);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = part;
    __syncthreads();
    if (threadIdx.x == 0) totals[blockIdx.x] = add_up(of_warps, 32);
}
