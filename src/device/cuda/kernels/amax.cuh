// The largest magnitudes.
#pragma once

#include "elements.cuh"

__device__ __forceinline__ u32 max_bf16x2(u32 a, u32 b) {
    u32 m;
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(m) : "r"(a), "r"(b));
    return m;
}

__device__ __forceinline__ u32 max_f16x2(u32 a, u32 b) {
    u32 m;
    asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(m) : "r"(a), "r"(b));
    return m;
}

// The largest magnitudes of `m` and `v`: for 16-bit dtypes two side by side, else one in `m`.
template <u32 D> __device__ __forceinline__ u32 larger(u32 m, uint4 v) {
    constexpr u32 MASK = D == F32 ? 0x7fffffff : 0x7fff7fff;
    const u32 words[4] = {v.x & MASK, v.y & MASK, v.z & MASK, v.w & MASK};
    for (u32 word : words) {
        if constexpr (D == BF16) m = max_bf16x2(m, word);
        else if constexpr (D == F16) m = max_f16x2(m, word);
        else m = m > word ? m : word;
    }
    return m;
}

// The bits of the larger of the two as F32.
template <u32 D> __device__ __forceinline__ u32 settle(u32 m) {
    if constexpr (D == F32) return m;
    const u32 low = m & 0xffff, high = m >> 16;
    const u32 bits = low > high ? low : high;
    if constexpr (D == BF16) return bits << 16;
    float value, zero;
    f16x2_to_f32(bits, value, zero);
    return __float_as_uint(value);
}

// The largest of all threads; for each of them. `of_warps` may be used again once all threads have gone on.
__device__ __forceinline__ u32 max_across_block(u32 value, u32 (&of_warps)[WARPS]) {
    const u32 of_warp = __reduce_max_sync(~0u, value);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = of_warp;
    __syncthreads();
    u32 largest = 0;
#pragma unroll
    for (u32 i = 0; i < WARPS; i++) largest = max(largest, of_warps[i]);
    return largest;
}
