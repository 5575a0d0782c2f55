// What codes lose: sums of a thread, of a warp and of a block.
#pragma once

#include "encode.cuh"

struct Sums {
    double squared_error, squares;
    float max_error;
    u32 saturated, zeroed;
};

// Whether a sum of F32 squares is far from where F32 loses digits.
__device__ __forceinline__ bool is_usual(float sum) {
    return sum > 1e-24f && sum < 1e30f;
}

// The highest bit of each code's byte is set where the element is not zero but its code is.
template <u32 D> __device__ __forceinline__ uint2 zeroed(uint4 raw, uint2 codes) {
    constexpr u32 MAGNITUDE = D == F32 ? 0x7fffffff : 0x7fff7fff;
    const uint4 carried = make_uint4((raw.x & MAGNITUDE) + MAGNITUDE, (raw.y & MAGNITUDE) + MAGNITUDE,
                                     (raw.z & MAGNITUDE) + MAGNITUDE, (raw.w & MAGNITUDE) + MAGNITUDE);
    const uint2 nonzero = signs<D>(carried);
    return make_uint2((0x80808080 - (codes.x & 0x7f7f7f7f)) & nonzero.x, (0x80808080 - (codes.y & 0x7f7f7f7f)) & nonzero.y);
}

// What `account` leaves to `account_rest`.
constexpr u32 SQUARES = 1, SATURATED = 2;

// Adds what `codes` lose of the elements `raw`: of some vectors at once, so that little is added in F64.
// Says what was not added, because F32 would overflow or lose digits, or because it is rare.
template <u32 D, u32 VECTORS>
__device__ __forceinline__ u32 account(Sums& sums, const uint4 (&raw)[VECTORS], const uint2 (&codes)[VECTORS], const Scale& s) {
    constexpr u32 N = Traits<D>::COUNT;
    // Sums of eight terms at most, then of the vectors: good to 7e-7 in F32.
    float squared_error = 0, squares = 0;
    // The highest bit of each byte: a code is zero; a code is 0x7e (or NaN). Only given scales can be too small.
    u32 any_zero = 0, any_largest = 0;
#pragma unroll
    for (u32 vector = 0; vector < VECTORS; vector++) {
        float x[N], lost = 0, whole = 0;
        elements<D>(raw[vector], x);
#pragma unroll
        for (u32 half = 0; half < N / 4; half++) {
            const u32 four = half ? codes[vector].y : codes[vector].x;
            float v[4];
            values_of(four, v);
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                const float weight = x[4 * half + i];
                const float error = __fsub_rn(weight, __fmul_rn(v[i], s.scale));
                lost = __fmaf_rn(error, error, lost);
                whole = __fmaf_rn(weight, weight, whole);
                sums.max_error = fmaxf(sums.max_error, fabsf(error));
            }
            any_zero |= 0x80808080 - (four & 0x7f7f7f7f);
            any_largest |= (four & 0x7f7f7f7f) + 0x02020202;
        }
        squared_error += lost;
        squares += whole;
    }
    if (any_zero & 0x80808080) {
#pragma unroll
        for (u32 vector = 0; vector < VECTORS; vector++) {
            const uint2 bits = zeroed<D>(raw[vector], codes[vector]);
            sums.zeroed += __popc(bits.x) + (N == 8 ? __popc(bits.y) : 0);
        }
    }
    u32 left = s.given && any_largest & 0x80808080 ? SATURATED : 0;
    if (is_usual(squared_error) && is_usual(squares)) {
        sums.squared_error += squared_error;
        sums.squares += squares;
    } else {
        left |= SQUARES;
    }
    return left;
}

// Adds what `account` has left out of a vector: sums of squares in F64, and how many elements are saturated.
template <u32 D> __device__ __forceinline__ void account_rest(Sums& sums, u32 left, uint4 raw, uint2 codes, float scale) {
    constexpr u32 N = Traits<D>::COUNT;
    float x[N], v[8];
    elements<D>(raw, x);
    values_of(codes.x, v);
    values_of(codes.y, v + 4);
#pragma unroll
    for (u32 i = 0; i < N; i++) {
        if (left & SQUARES) {
            const double error = (double)x[i] - (double)__fmul_rn(v[i], scale);
            sums.squared_error += error * error;
            sums.squares += (double)x[i] * (double)x[i];
        }
        const u32 code = (i < 4 ? codes.x >> 8 * i : codes.y >> 8 * (i - 4)) & 0x7f;
        if (left & SATURATED && code == 0x7e) sums.saturated += quotient_anywhere(x[i], scale) > 448.00003f;
    }
}

__device__ __forceinline__ Sums no_sums() {
    Sums sums;
    sums.squared_error = sums.squares = 0.0;
    sums.max_error = 0.0f;
    sums.saturated = sums.zeroed = 0;
    return sums;
}

__device__ __forceinline__ double add_across_warp(double value) {
#pragma unroll
    for (u32 distance = 16; distance > 0; distance /= 2) {
        const u64 bits = __double_as_longlong(value);
        const u32 low = __shfl_xor_sync(~0u, (u32)bits, distance), high = __shfl_xor_sync(~0u, (u32)(bits >> 32), distance);
        value += __longlong_as_double((u64)high << 32 | low);
    }
    return value;
}

// The sums of the threads of a warp, in a fixed order; for all of them.
__device__ __forceinline__ PartialError add_across_warp(const Sums& sums) {
    PartialError part;
    part.squared_error = add_across_warp(sums.squared_error);
    part.squares = add_across_warp(sums.squares);
    part.max_error = __uint_as_float(__reduce_max_sync(~0u, __float_as_uint(sums.max_error)));
    part.saturated = __reduce_add_sync(~0u, sums.saturated);
    part.zeroed = __reduce_add_sync(~0u, sums.zeroed);
    part.padding = 0;
    return part;
}

// The sum of `count` parts, in order.
__device__ __forceinline__ PartialError add_up(const PartialError* parts, u32 count) {
    PartialError total = parts[0];
    for (u32 i = 1; i < count; i++) {
        total.squared_error += parts[i].squared_error;
        total.squares += parts[i].squares;
        total.max_error = fmaxf(total.max_error, parts[i].max_error);
        total.saturated += parts[i].saturated;
        total.zeroed += parts[i].zeroed;
    }
    return total;
}


// Writes the sums of all threads, in a fixed order.
__device__ __noinline__ void write_part(Sums sums, PartialError* to, PartialError (&of_warps)[WARPS]) {
    const PartialError part = add_across_warp(sums);
    __syncthreads(); // what was here before is read
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = part;
    __syncthreads();
    if (threadIdx.x == 0) *to = add_up(of_warps, WARPS);
}
