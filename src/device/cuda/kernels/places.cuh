// Odd places: short or unaligned vectors, and scales of any size.
#pragma once

#include "amax.cuh"
#include "encode.cuh"
#include "errors.cuh"

// A rectangle of elements, cut into vectors of up to 16 bytes, of which every thread takes one in turn.
template <u32 D> struct Place {
    static constexpr u32 N = Traits<D>::COUNT;
    u64 first;           // element
    u32 columns;         // elements from one row to the next
    u32 width, height;
    u32 shift;           // log2 of the vectors that a row has room for
    u32 thread, threads; // of those that share the place

    // Elements in a row.
    __device__ __forceinline__ void line(u64 from, u32 length, u32 this_thread, u32 all_threads) {
        first = from;
        columns = 0;
        width = length;
        height = 1;
        shift = 31;
        thread = this_thread;
        threads = all_threads;
    }

    // Block `block` of 128×128, or less at the edges.
    __device__ __forceinline__ void square(const Weight& w, u32 block) {
        const u32 blocks_per_row = (w.columns + BLOCK - 1) / BLOCK;
        const u32 row = block / blocks_per_row * BLOCK, column = block % blocks_per_row * BLOCK;
        first = (u64)row * w.columns + column;
        columns = w.columns;
        width = min(BLOCK, w.columns - column);
        height = min(BLOCK, w.rows - row);
        shift = N == 8 ? 4 : 5;
        thread = threadIdx.x;
        threads = THREADS;
    }

    // The vectors of the place.
    __device__ __forceinline__ u32 vectors() const {
        return shift == 31 ? (width + N - 1) / N : height << shift;
    }

    // A vector: its first element, and how many it has, none beyond the place.
    __device__ __forceinline__ u64 vector(u32 number, u32& count) const {
        const u32 row = number >> shift, at = (number & ((1u << shift) - 1)) * N;
        count = row < height && at < width ? min(width - at, N) : 0;
        return first + (u64)row * columns + at;
    }
};

// A vector that is short or not aligned.
template <u32 D> __device__ __forceinline__ uint4 load_odd(const u8* from, u32 count) {
    constexpr u32 N = Traits<D>::COUNT;
    if (count == N && (u64)from % 8 == 0) {
        const uint2 a = *(const uint2*)from, b = *(const uint2*)(from + 8);
        return make_uint4(a.x, a.y, b.x, b.y);
    }
    u32 words[4] = {0, 0, 0, 0};
#pragma unroll
    for (u32 i = 0; i < N; i++) {
        if constexpr (D == F32) { if (i < count) words[i] = ((const u32*)from)[i]; }
        else if (i < count) words[i / 2] |= (u32)((const u16*)from)[i] << 16 * (i % 2);
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
}

// The first `count` of eight codes, wherever they go.
__device__ __forceinline__ void store_odd(u8* to, uint2 codes, u32 count) {
    if (count == 8 && (u64)to % 4 == 0) {
        ((u32*)to)[0] = codes.x;
        ((u32*)to)[1] = codes.y;
        return;
    }
    for (u32 i = 0; i < count; i++) {
        to[i] = (u8)codes.x;
        codes.x = codes.x >> 8 | codes.y << 24;
        codes.y >>= 8;
    }
}

// The largest magnitude that this thread sees, as `larger`.
template <u32 D> __device__ __noinline__ u32 measure_odd(Place<D> place, const u8* source) {
    u32 largest = 0;
#pragma unroll 1
    for (u32 number = place.thread; number < place.vectors(); number += place.threads) {
        u32 count;
        const u64 element = place.vector(number, count);
        if (count > 0) largest = larger<D>(largest, load_odd<D>(source + element * Traits<D>::SIZE, count));
    }
    return largest;
}

// Makes codes where `target` is not null and, where asked, the sums of what they lose.
template <u32 D, bool ERROR>
__device__ __noinline__ Sums convert_odd(Place<D> place, const u8* source, u8* target, Scale s, Sums sums) {
#pragma unroll 1
    for (u32 number = place.thread; number < place.vectors(); number += place.threads) {
        u32 count;
        const u64 element = place.vector(number, count);
        if (count == 0) continue;
        const uint4 raw = load_odd<D>(source + element * Traits<D>::SIZE, count);
        const uint2 codes = s.plain ? codes_of_vector<D, PLAIN>(raw, s) : codes_of_vector<D, ANY>(raw, s);
        // Beyond a short vector the elements are zeros, which lose nothing.
        if constexpr (ERROR) {
            const u32 left = account<D, 1>(sums, {raw}, {codes}, s);
            if (left) account_rest<D>(sums, left, raw, codes, s.scale);
        }
        if (target) store_odd(target + element, codes, count);
    }
    return sums;
}
