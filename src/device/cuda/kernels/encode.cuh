// Scales, and the codes of elements under them.
#pragma once

#include "codes.cuh"

struct Scale {
    float scale;
    float inverse;     // 1 / scale, rounded to nearest
    float rest;        // 1 / scale - inverse
    float limit;       // 512 × scale
    bool plain;        // whether quotients may be made from `inverse`
    bool modelopt;
    bool given;        // so that codes may be saturated
    bool quick;        // plain, and neither `modelopt` nor `given`
};

// As ScaleRule::scale.
__device__ __forceinline__ float scale_of(u32 amax, u32 flags) {
    if (amax == 0) return 1.0f;
    const float scale = __fdiv_rn(__uint_as_float(amax), 448.0f);
    if (scale < 1.17549435e-38f) return 1.17549435e-38f;
    const u32 bits = __float_as_uint(scale);
    const bool finite = (bits & 0x7f800000) != 0x7f800000;
    return (flags & BF16_UP) && finite ? __uint_as_float((bits + 0xffff) & 0xffff0000) : scale;
}

__device__ __forceinline__ Scale prepare(float scale, u32 flags) {
    Scale s;
    s.scale = scale;
    s.plain = scale >= 8.0779357e-28f && scale <= 1.2379400e27f; // 2^-90 to 2^90
    s.inverse = __frcp_rn(scale);
    s.rest = __fmul_rn(__fmaf_rn(-s.inverse, scale, 1.0f), s.inverse);
    s.limit = __fmul_rn(512.0f, scale);
    s.modelopt = flags & MODELOPT;
    s.given = flags & GIVEN;
    s.quick = s.plain && !(flags & (MODELOPT | GIVEN));
    return s;
}

// x / scale, correctly rounded, but that zeros may lose their sign.
//
// `q` is x × (inverse + rest), within half a unit in the last place and a little, hence one of the two neighbours of the
// quotient; with `inverse` correctly rounded, one step with the exact remainder then gives the rounded quotient
// (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990, theorem on division).
// The remainder is exact wherever the code is not zero anyway, because the scale is not near the ends of the range.
__device__ __forceinline__ float quotient(float x, const Scale& s) {
    const float q = __fmaf_rn(x, s.inverse, __fmul_rn(x, s.rest));
    return __fmaf_rn(__fmaf_rn(-q, s.scale, x), s.inverse, q);
}

// min(|x| / scale, 512); NaN stays NaN.
__device__ __noinline__ float quotient_anywhere(float x, float scale) {
    return min_nan(__fdiv_rn(fabsf(x), scale), 512.0f);
}

// The nearest BF16 values, ties to even.
__device__ __forceinline__ void round_to_bf16(float& a, float& b) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(b), "f"(a));
    a = __uint_as_float(both << 16);
    b = __uint_as_float(both & 0xffff0000);
}

// How codes are made: in any way that a scale asks for, if its quotients are plain, or if it is quick.
enum How : u32 { ANY = 0, PLAIN = 1, QUICK = 2 };

// The codes of 16 bytes of elements.
template <u32 D, u32 HOW> __device__ __forceinline__ uint2 codes_of_vector(uint4 raw, const Scale& s) {
    constexpr u32 N = Traits<D>::COUNT;
    float q[N];
    elements<D>(raw, q);
    if (HOW == ANY) {
#pragma unroll
        for (u32 i = 0; i < N; i++) q[i] = quotient_anywhere(q[i], s.scale);
    } else {
        // With a scale that was made from the amax no quotient is beyond 448 by more than rounding.
#pragma unroll
        for (u32 i = 0; i < N; i++) q[i] = quotient(HOW == PLAIN ? min_nan(fabsf(q[i]), s.limit) : q[i], s);
    }
    if (HOW != QUICK && s.modelopt) {
#pragma unroll
        for (u32 i = 0; i < N; i += 2) round_to_bf16(q[i], q[i + 1]);
    }
    const uint2 sign = signs<D>(raw);
    uint2 codes = make_uint2(codes_of(q[0], q[1], q[2], q[3]) | sign.x, 0);
    if constexpr (N == 8) codes.y = codes_of(q[4], q[5], q[6], q[7]) | sign.y;
    return codes;
}
