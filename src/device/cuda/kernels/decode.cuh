// Codes back to values.
#pragma once

#include "codes.cuh"

__device__ __forceinline__ u32 round_to_16_bits(float a, float b, u32 target) {
    u32 both;
    if (target == BF16) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(b), "f"(a));
    else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(b), "f"(a));
    return both;
}

// Four elements a thread: code × scale in F32, then rounded to the target.
extern "C" __global__ void __launch_bounds__(THREADS) decode_codes(const __grid_constant__ Decode d) {
    const u64 step = (u64)gridDim.x * THREADS * 4;
    for (u64 first = ((u64)blockIdx.x * THREADS + threadIdx.x) * 4; first < d.elements; first += step) {
        const u32 count = (u32)min((u64)4, d.elements - first);
        u32 codes = 0;
        if (count == 4) codes = *(const u32*)(d.codes + first);
        else for (u32 i = 0; i < count; i++) codes |= (u32)d.codes[first + i] << 8 * i;
        float v[4];
        values_of(codes, v);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            u64 index = 0;
            if (d.columns && i < count) {
                const u64 row = (first + i) / d.columns, column = (first + i) % d.columns;
                index = row / d.height * ((d.columns + d.width - 1) / d.width) + column / d.width;
            }
            v[i] = __fmul_rn(v[i], d.scales[index]);
        }
        if (d.target == F32) {
            float* to = (float*)d.values + first;
            if (count == 4) *(float4*)to = make_float4(v[0], v[1], v[2], v[3]);
            else for (u32 i = 0; i < count; i++) to[i] = v[i];
        } else {
            u16* to = (u16*)d.values + first;
            const u32 low = round_to_16_bits(v[0], v[1], d.target), high = round_to_16_bits(v[2], v[3], d.target);
            if (count == 4) *(uint2*)to = make_uint2(low, high);
            else for (u32 i = 0; i < count; i++) to[i] = (u16)((i < 2 ? low : high) >> 16 * (i % 2));
        }
    }
}
