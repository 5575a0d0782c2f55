// Lines: whole vectors at equal distances, one thread's share of a place.
#pragma once

#include "amax.cuh"
#include "encode.cuh"
#include "errors.cuh"
#include "memory.cuh"

// The largest magnitude of `largest` and `count` vectors, `step` bytes apart.
template <u32 D> __device__ __forceinline__ u32 measure_line(u32 largest, const u8* from, u32 step, u32 count, u64 hint) {
    u32 done = 0;
#pragma unroll 1
    for (; done + UNROLL <= count; done += UNROLL, from += UNROLL * step) {
        uint4 v[UNROLL];
#pragma unroll
        for (u32 i = 0; i < UNROLL; i++) v[i] = load16(from + i * step, hint);
#pragma unroll
        for (u32 i = 0; i < UNROLL; i++) largest = larger<D>(largest, v[i]);
    }
#pragma unroll 1
    for (; done < count; done++, from += step) largest = larger<D>(largest, load16(from, hint));
    return largest;
}

// Once more what `convert_vectors` did, for what it has left; out of the way, because it is rare.
template <u32 D> __device__ __noinline__ Sums account_slowly(Sums sums, u32 left, const u8* from, u32 step, u32 count, Scale s) {
#pragma unroll 1
    for (u32 i = 0; i < count; i++, from += step) {
        const uint4 raw = *(const uint4*)from;
        account_rest<D>(sums, left, raw, codes_of_vector<D, PLAIN>(raw, s), s.scale);
    }
    return sums;
}

// Makes the codes of whole vectors that lie `step` elements apart and, where asked, the sums of what they lose.
template <u32 D, u32 HOW, bool ERROR, u32 VECTORS>
__device__ __forceinline__ void convert_vectors(const uint4 (&raw)[VECTORS], const u8* from, u8* to, u32 step, bool wanted, const Scale& s, Sums& sums, u64 write) {
    uint2 codes[VECTORS];
#pragma unroll
    for (u32 i = 0; i < VECTORS; i++) {
        codes[i] = codes_of_vector<D, HOW>(raw[i], s);
        if (wanted) {
            if (Traits<D>::COUNT == 8) store8(to + i * step, codes[i], write);
            else store4(to + i * step, codes[i].x, write);
        }
    }
    if constexpr (ERROR) {
        const u32 left = account<D, VECTORS>(sums, raw, codes, s);
        if (left) sums = account_slowly<D>(sums, left, from, step * Traits<D>::SIZE, VECTORS, s);
    }
}

// Vectors whose codes are made at once: fewer leave registers to the sums.
template <bool ERROR> constexpr u32 AT_ONCE = ERROR ? 2 : UNROLL;

template <u32 D, u32 HOW, bool ERROR>
__device__ __forceinline__ void convert_line_so(const u8* from, u8* to, u32 step, u32 count, bool wanted, const Scale& s, Sums& sums, u64 read, u64 write) {
    constexpr u32 SIZE = Traits<D>::SIZE, VECTORS = AT_ONCE<ERROR>;
    u32 done = 0;
#pragma unroll 1
    for (; done + VECTORS <= count; done += VECTORS, from += VECTORS * step * SIZE, to += VECTORS * step) {
        uint4 raw[VECTORS];
#pragma unroll
        for (u32 i = 0; i < VECTORS; i++) raw[i] = load16(from + i * step * SIZE, read);
        convert_vectors<D, HOW, ERROR, VECTORS>(raw, from, to, step, wanted, s, sums, write);
    }
#pragma unroll 1
    for (; done < count; done++, from += step * SIZE, to += step)
        convert_vectors<D, HOW, ERROR, 1>({load16(from, read)}, from, to, step, wanted, s, sums, write);
}

// Makes the codes of `count` vectors, `step` elements apart.
template <u32 D, bool ERROR>
__device__ __forceinline__ void convert_line(const u8* from, u8* to, u32 step, u32 count, bool wanted, const Scale& s, Sums& sums, u64 read, u64 write) {
    if (s.quick) convert_line_so<D, QUICK, ERROR>(from, to, step, count, wanted, s, sums, read, write);
    else convert_line_so<D, PLAIN, ERROR>(from, to, step, count, wanted, s, sums, read, write);
}
