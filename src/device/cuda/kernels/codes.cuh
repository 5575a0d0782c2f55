// E4M3 codes from values and values from codes.
#pragma once

#include "elements.cuh"

// As code::encode for a magnitude.
__device__ __forceinline__ u32 code_of(float magnitude) {
    const float clamped = min_nan(magnitude, 448.0f);
    const float binade = __uint_as_float(__float_as_uint(clamped) & 0x7f800000);
    const u32 anchor = __float_as_uint(binade > 0.015625f ? binade : 0.015625f) + (20u << 23);
    const u32 steps = __float_as_uint(__fadd_rn(clamped, __uint_as_float(anchor))) - anchor;
    const u32 code = steps + (anchor >> 20) - ((127 - 6 + 20) << 3);
    return magnitude != magnitude ? 0x7f : code & 0xff;
}

// Four codes from four values; whether they have the signs of the values is not said.
__device__ __forceinline__ u32 codes_of(float a, float b, float c, float d) {
#if __CUDA_ARCH__ >= 890
    u32 codes;
    asm("{ .reg .b16 low, high;\n"
        "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1; cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
        "mov.b32 %0, {low, high}; }" : "=r"(codes) : "f"(a), "f"(b), "f"(c), "f"(d));
    return codes;
#else
    return code_of(fabsf(a)) | code_of(fabsf(b)) << 8 | code_of(fabsf(c)) << 16 | code_of(fabsf(d)) << 24;
#endif
}

__device__ __forceinline__ float value_of(u32 code) {
    const u32 magnitude = code & 0x7f;
    const float value = __fmul_rn(__uint_as_float(magnitude << 20), 1.32922800e36f); // 2^120
    return __uint_as_float((magnitude == 0x7f ? 0x7fc00000 : __float_as_uint(value)) | (code & 0x80) << 24);
}

// The values of four codes.
__device__ __forceinline__ void values_of(u32 codes, float* v) {
#if __CUDA_ARCH__ >= 890
    u32 low, high;
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2;\n"
        "cvt.rn.f16x2.e4m3x2 %0, l; cvt.rn.f16x2.e4m3x2 %1, h; }" : "=r"(low), "=r"(high) : "r"(codes));
    f16x2_to_f32(low, v[0], v[1]);
    f16x2_to_f32(high, v[2], v[3]);
#else
#pragma unroll
    for (u32 i = 0; i < 4; i++) v[i] = value_of(codes >> 8 * i & 0xff);
#endif
}
