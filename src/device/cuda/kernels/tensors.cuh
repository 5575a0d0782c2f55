// Weights with one scale.
//
// Every element is read twice, for the amax and for the codes, and the second time it should still be in the L2 cache.
// Hence waves of weights that fit into it; the block that measures a piece converts it, since the cache has two parts; and
// blocks convert in reverse, because what was measured last is surely still there. The very last pieces do not even leave
// the multiprocessor: they wait for their scale in shared memory.
//
// Blocks wait for each other, so all of them must run at the same time: a cooperative launch.
#pragma once

#include "amax.cuh"
#include "lines.cuh"
#include "memory.cuh"
#include "places.cuh"

struct Tensors {
    Piece pieces[2][KNOWN]; // of an even and an odd wave
    Scale scales[KNOWN];
    u32 amax[2][WARPS];
    PartialError parts[WARPS];
};

// This block's pieces of a wave. All pieces are dealt out in turn, so that who has one more in this wave has one less in
// the next.
struct Share {
    const Piece* first;
    u32 count, cached, side;
    u32 known;           // number of the first one that is known, a multiple of KNOWN

    // Begins to fetch the first pieces; `arrive` waits for them.
    __device__ __forceinline__ void begin(const Launch& launch, Tensors& shared, const Wave& wave, u32 number) {
        const u32 turn = (blockIdx.x + gridDim.x - wave.first % gridDim.x) % gridDim.x;
        first = launch.pieces + wave.first + turn;
        count = wave.count > turn ? (wave.count - turn - 1) / gridDim.x + 1 : 0;
        cached = wave.cached;
        side = number % 2;
        known = 0;
        fetch(shared, 0);
    }

    // A piece is two vectors. Those known before must be done with.
    __device__ __forceinline__ void fetch(Tensors& shared, u32 from) {
        const u32 i = threadIdx.x / 2;
        if (i < KNOWN && from + i < count)
            copy16_later((uint4*)shared.pieces[side] + threadIdx.x, (const uint4*)(first + (u64)(from + i) * gridDim.x) + threadIdx.x % 2);
    }

    __device__ __forceinline__ void arrive() {
        wait_for_copies();
        __syncthreads();
    }

    // Piece `number`; all threads ask for the same one.
    __device__ __forceinline__ const Piece& piece(Tensors& shared, u32 number) {
        const u32 from = number / KNOWN * KNOWN;
        if (known != from) {
            __syncthreads();
            fetch(shared, from);
            arrive();
            known = from;
        }
        return shared.pieces[side][number % KNOWN];
    }
};

// A piece that is short or has no ordinary scale.
template <u32 D> __device__ __forceinline__ Place<D> place_of(const Piece& piece) {
    Place<D> place;
    place.line(0, (piece.what >> BYTES) / Traits<D>::SIZE, threadIdx.x, THREADS);
    return place;
}

// This thread's places for its vectors of the halves of a piece.
struct Kept {
    uint4* last;         // place of the second half, if it has one
    u32 left;            // halves that have a place from there on

    __device__ __forceinline__ Kept(uint4* room, const Launch& launch, const Share& share, u32 number) {
        const u32 from_end = 2 * (share.count - 1 - number);
        last = room + from_end * (UNROLL * THREADS) + threadIdx.x;
        left = from_end < launch.kept ? launch.kept - from_end : 0;
    }

    // Null where the half is not kept.
    __device__ __forceinline__ uint4* place(u32 half) const {
        return 1 - half < left ? last + (1 - half) * (UNROLL * THREADS) : nullptr;
    }
};

// The largest magnitude that this thread sees of a piece, as F32 bits; keeps the piece where there is a place.
template <u32 D> __device__ __forceinline__ u32 measure_piece(const Piece& piece, const Kept& kept, u64 hint) {
    if (piece.what >> BYTES != PIECE_BYTES) return settle<D>(measure_odd<D>(place_of<D>(piece), piece.source));
    const u8* from = piece.source + threadIdx.x * 16;
    uint4 v[2][UNROLL];
    u32 largest = 0;
#pragma unroll
    for (u32 i = 0; i < 2 * UNROLL; i++) v[i / UNROLL][i % UNROLL] = load16(from + i * GROUP_BYTES, hint);
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        if (uint4* const place = kept.place(half)) {
#pragma unroll
            for (u32 i = 0; i < UNROLL; i++) place[i * THREADS] = v[half][i];
        }
#pragma unroll
        for (u32 i = 0; i < UNROLL; i++) largest = larger<D>(largest, v[half][i]);
    }
    return settle<D>(largest);
}

template <u32 D, u32 HOW, bool ERROR>
__device__ __forceinline__ void convert_piece_so(const Piece& piece, const Kept& kept, const Scale& s, Sums& sums, u64 read, u64 write) {
    constexpr u32 N = Traits<D>::COUNT;
    const bool wanted = piece.what & CODES;
#pragma unroll 1
    for (u32 half = 2; half-- > 0;) {
        const u8* from = piece.source + half * HALF + threadIdx.x * 16;
        u8* const to = piece.codes + half * (HALF / Traits<D>::SIZE) + threadIdx.x * N;
        uint4 raw[UNROLL];
        if (const uint4* const place = kept.place(half)) {
#pragma unroll
            for (u32 i = 0; i < UNROLL; i++) raw[i] = place[i * THREADS];
        } else {
#pragma unroll
            for (u32 i = 0; i < UNROLL; i++) raw[i] = load16(from + i * GROUP_BYTES, read);
        }
        convert_vectors<D, HOW, ERROR, UNROLL>(raw, from, to, THREADS * N, wanted, s, sums, write);
    }
}

template <u32 D, bool ERROR>
__device__ __forceinline__ void convert_piece(const Piece& piece, const Kept& kept, const Scale& s, Sums& sums, u64 read, u64 write) {
    if (piece.what >> BYTES == PIECE_BYTES && s.quick) {
        convert_piece_so<D, QUICK, ERROR>(piece, kept, s, sums, read, write);
    } else if (piece.what >> BYTES == PIECE_BYTES && s.plain) {
        convert_piece_so<D, PLAIN, ERROR>(piece, kept, s, sums, read, write);
    } else {
        u8* const target = piece.what & CODES ? piece.codes : nullptr;
        sums = convert_odd<D, ERROR>(place_of<D>(piece), piece.source, target, s, sums);
    }
}

// Measures all pieces and says so.
__device__ __forceinline__ void measure_share(const Launch& launch, Tensors& shared, uint4* room, Share& share, u32& turn) {
    const u64 hint = policy(false);
    u32 largest = 0, pieces = 0;
#pragma unroll 1
    for (u32 number = 0; number < share.count; number++) {
        const Piece& piece = share.piece(shared, number);
        const u32 scale = piece.scale, what = piece.what;
        if (what & GIVEN) continue;
        const Kept kept(room, launch, share, number);
        switch (what & DTYPE) {
            case BF16: largest = max(largest, measure_piece<BF16>(piece, kept, hint)); break;
            case F16: largest = max(largest, measure_piece<F16>(piece, kept, hint)); break;
            default: largest = max(largest, measure_piece<F32>(piece, kept, hint)); break;
        }
        pieces++;
        if (number + 1 == share.count || share.piece(shared, number + 1).scale != scale) {
            // Two turns are never at work at once: between them lies a barrier.
            largest = max_across_block(largest, shared.amax[turn++ % 2]);
            if (threadIdx.x == 0) {
                atomicMax(launch.amax + scale, largest);
                add_release(launch.measured + scale, pieces);
            }
            largest = pieces = 0;
        }
    }
}

// The scale of a piece, once its whole scale group is measured.
__device__ __forceinline__ Scale wait_for_scale(const Launch& launch, const Piece& piece) {
    if (piece.what & GIVEN) return prepare(launch.scales[piece.scale], piece.what);
    const u64 start = nanoseconds();
    while (load_acquire(launch.measured + piece.scale) < piece.group_pieces) {
        __nanosleep(20);
        // A defect must not hang the device.
        if (nanoseconds() - start > 30000000000ull) asm volatile("trap;");
    }
    return prepare(scale_of(load_acquire(launch.amax + piece.scale), piece.what), piece.what);
}

template <bool ERROR>
__device__ __forceinline__ void convert_share(const Launch& launch, Tensors& shared, uint4* room, Share& share) {
    const u64 read = policy(share.cached), write = policy(true);
    Sums sums = no_sums();
#pragma unroll 1
    for (u32 number = share.count; number-- > 0;) {
        const Piece& piece = share.piece(shared, number);
        if (number + 1 == share.count || number % KNOWN == KNOWN - 1) {
            __syncthreads(); // the scales before are done with
            const u32 known = number % KNOWN;
            if (threadIdx.x <= known) shared.scales[threadIdx.x] = wait_for_scale(launch, shared.pieces[share.side][threadIdx.x]);
            __syncthreads();
        }
        const Scale s = shared.scales[number % KNOWN];
        Kept kept(room, launch, share, number);
        if (piece.what & GIVEN) kept.left = 0;
        switch (piece.what & DTYPE) {
            case BF16: convert_piece<BF16, ERROR>(piece, kept, s, sums, read, write); break;
            case F16: convert_piece<F16, ERROR>(piece, kept, s, sums, read, write); break;
            default: convert_piece<F32, ERROR>(piece, kept, s, sums, read, write); break;
        }
        if constexpr (ERROR) {
            const u32 part = piece.part;
            if (number == 0 || share.piece(shared, number - 1).part != part) {
                write_part(sums, launch.parts + part, shared.parts);
                sums = no_sums();
            }
        }
    }
}

template <bool ERROR> __device__ __forceinline__ void quantise_tensors(const Launch& launch) {
    __shared__ Tensors shared;
    extern __shared__ uint4 room[];
    const auto wave_of = [&](u32 number) { return number < launch.wave_count ? launch.waves[number] : Wave{0, 0, 0, 0}; };
    Share share, next;
    u32 turn = 0;
    share.begin(launch, shared, wave_of(0), 0);
    Wave following = wave_of(1);
#pragma unroll 1
    for (u32 number = 0; number < launch.wave_count; number++, share = next) {
        share.arrive();
        // The pieces of the next wave come while this one is worked on.
        next.begin(launch, shared, following, number + 1);
        following = wave_of(number + 2);
        measure_share(launch, shared, room, share, turn);
        if (launch.converts) convert_share<ERROR>(launch, shared, room, share);
        __syncthreads(); // the pieces of this wave are done with
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 4) quantise_tensors(const __grid_constant__ Launch launch) {
    quantise_tensors<false>(launch);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) quantise_tensors_with_error(const __grid_constant__ Launch launch) {
    quantise_tensors<true>(launch);
}
