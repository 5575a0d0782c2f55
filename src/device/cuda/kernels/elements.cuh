// Elements of the three dtypes, 16 bytes at a time.
#pragma once

#include "structures.cuh"

template <u32 D> struct Traits {
    static constexpr u32 SIZE = D == F32 ? 4 : 2;
    static constexpr u32 COUNT = 16 / SIZE; // elements of 16 bytes
};

__device__ __forceinline__ void f16x2_to_f32(u32 both, float& a, float& b) {
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }" : "=f"(a), "=f"(b) : "r"(both));
}

__device__ __forceinline__ float min_nan(float a, float b) {
    float m;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(a), "f"(b));
    return m;
}

// The values of 16 bytes of elements.
template <u32 D> __device__ __forceinline__ void elements(uint4 v, float* x) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        if constexpr (D == BF16) {
            x[2 * i] = __uint_as_float(words[i] << 16);
            x[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000);
        } else if constexpr (D == F16) {
            f16x2_to_f32(words[i], x[2 * i], x[2 * i + 1]);
        } else {
            x[i] = __uint_as_float(words[i]);
        }
    }
}

// The sign bits of 16 bytes of elements where their codes have them.
template <u32 D> __device__ __forceinline__ uint2 signs(uint4 v) {
    if constexpr (D == F32) {
        const u32 both = __byte_perm(__byte_perm(v.x, v.y, 0x0073), __byte_perm(v.z, v.w, 0x0073), 0x5410);
        return make_uint2(both & 0x80808080, 0);
    } else {
        return make_uint2(__byte_perm(v.x, v.y, 0x7531) & 0x80808080, __byte_perm(v.z, v.w, 0x7531) & 0x80808080);
    }
}
