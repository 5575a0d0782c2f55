// Weights with a scale for each row or block.
#pragma once

#include "amax.cuh"
#include "lines.cuh"
#include "memory.cuh"
#include "places.cuh"

struct Tiles {
    Weight weight;
    u32 amax[WARPS];
    PartialError parts[WARPS];
};

// Rows of a weight, of which each warp takes one at a time.
template <u32 D, bool ERROR> __device__ __noinline__ Sums quantise_rows(const Launch& launch, const Weight& w, u32 index) {
    constexpr u32 N = Traits<D>::COUNT, SIZE = Traits<D>::SIZE;
    const u64 read = policy(false), write = policy(true);
    const u32 lane = threadIdx.x % 32, columns = w.columns;
    // Whole vectors of each thread, where rows begin at vectors; then the rest of the row.
    const u32 whole = columns % N == 0 ? columns / (32 * N) : 0;
    const u32 end = min(w.rows, (index + 1) * w.rows_per_item);
    const bool wanted = w.flags & CODES;
    u8* const target = wanted ? w.codes : nullptr;
    Sums sums = no_sums();
#pragma unroll 1
    for (u32 row = index * w.rows_per_item + threadIdx.x / 32; row < end; row += WARPS) {
        const u64 first = (u64)row * columns;
        const u8* from = w.source + first * SIZE + lane * 16;
        Place<D> rest;
        rest.line(first + whole * 32 * N, columns - whole * 32 * N, lane, 32);
        float scale;
        if (w.flags & GIVEN) {
            scale = launch.scales[w.first_scale + row];
        } else {
            u32 largest = measure_line<D>(0, from, 512, whole, read);
            if (rest.width > 0) largest = larger<D>(largest, make_uint4(measure_odd<D>(rest, w.source), 0, 0, 0));
            largest = __reduce_max_sync(~0u, settle<D>(largest));
            if (lane == 0) launch.amax[w.first_scale + row] = largest;
            scale = scale_of(largest, w.flags);
        }
        if (!launch.converts) continue;
        const Scale s = prepare(scale, w.flags);
        if (s.plain) convert_line<D, ERROR>(from, target + first + lane * N, 32 * N, whole, wanted, s, sums, read, write);
        else rest.line(first, columns, lane, 32);
        if (rest.width > 0) sums = convert_odd<D, ERROR>(rest, w.source, target, s, sums);
    }
    return sums;
}

// A block of 128×128.
template <u32 D, bool ERROR> __device__ __noinline__ Sums quantise_block(const Launch& launch, const Weight& w, u32 index, u32 (&amax)[WARPS]) {
    constexpr u32 N = Traits<D>::COUNT, SIZE = Traits<D>::SIZE, PER_ROW = BLOCK / N, ROWS_AT_ONCE = THREADS / PER_ROW;
    const u64 read = policy(false), write = policy(true);
    Place<D> place;
    place.square(w, index);
    const bool whole = w.columns % N == 0 && place.width == BLOCK && place.height == BLOCK;
    const u64 first = place.first + (u64)(threadIdx.x / PER_ROW) * w.columns + threadIdx.x % PER_ROW * N;
    const u8* from = w.source + first * SIZE;
    const u32 number = w.first_scale + index, step = ROWS_AT_ONCE * w.columns;
    const bool wanted = w.flags & CODES;
    u8* const target = wanted ? w.codes : nullptr;
    float scale;
    if (w.flags & GIVEN) {
        scale = launch.scales[number];
    } else {
        const u32 mine = whole ? measure_line<D>(0, from, step * SIZE, BLOCK / ROWS_AT_ONCE, read) : measure_odd<D>(place, w.source);
        const u32 largest = max_across_block(settle<D>(mine), amax);
        if (threadIdx.x == 0) launch.amax[number] = largest;
        scale = scale_of(largest, w.flags);
    }
    Sums sums = no_sums();
    if (!launch.converts) return sums;
    const Scale s = prepare(scale, w.flags);
    if (whole && s.plain) convert_line<D, ERROR>(from, target + first, step, BLOCK / ROWS_AT_ONCE, wanted, s, sums, read, write);
    else sums = convert_odd<D, ERROR>(place, w.source, target, s, sums);
    return sums;
}

template <u32 D, bool ERROR> __device__ __forceinline__ Sums quantise_tile(const Launch& launch, Tiles& shared, Item item) {
    return item.what & ROWS ? quantise_rows<D, ERROR>(launch, shared.weight, item.index)
                            : quantise_block<D, ERROR>(launch, shared.weight, item.index, shared.amax);
}

template <bool ERROR> __device__ __forceinline__ void quantise_tiles(const Launch& launch) {
    __shared__ Tiles shared;
#pragma unroll 1
    for (u32 number = blockIdx.x; number < launch.item_count; number += gridDim.x) {
        const Item item = launch.items[number];
        __syncthreads(); // the item before is done with
        if (threadIdx.x < sizeof(Weight) / 4)
            ((u32*)&shared.weight)[threadIdx.x] = ((const u32*)(launch.weights + (item.what & ~ROWS)))[threadIdx.x];
        __syncthreads();
        Sums sums;
        switch (shared.weight.flags & DTYPE) {
            case BF16: sums = quantise_tile<BF16, ERROR>(launch, shared, item); break;
            case F16: sums = quantise_tile<F16, ERROR>(launch, shared, item); break;
            default: sums = quantise_tile<F32, ERROR>(launch, shared, item); break;
        }
        if constexpr (ERROR) write_part(sums, launch.parts + shared.weight.first_part + item.index, shared.parts);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 4) quantise_tiles(const __grid_constant__ Launch launch) {
    quantise_tiles<false>(launch);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4) quantise_tiles_with_error(const __grid_constant__ Launch launch) {
    quantise_tiles<true>(launch);
}
