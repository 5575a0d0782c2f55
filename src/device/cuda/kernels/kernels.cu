// FP8 E4M3 on NVIDIA GPUs: amax, codes, decoding and error sums of many weights in one launch.
//
// Codes and scales are those of the CPU (src/fp8/rounding.rs, src/fp8/scale.rs), bit for bit; error sums agree to 1e-6.
// Compiled by make_ptx.py without headers. The structures below are mirrored in src/fp8/cuda/abi.rs.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Threads of a block.
constexpr u32 THREADS = 256, WARPS = THREADS / 32;
// 16-byte loads that a thread has under way at once.
constexpr u32 UNROLL = 4;
// What a block takes of a weight with one scale at a time.
constexpr u32 GROUP_BYTES = THREADS * 16, HALF = UNROLL * GROUP_BYTES, PIECE_BYTES = 2 * HALF;
// Pieces that a block knows of at once.
constexpr u32 KNOWN = 32;
constexpr u32 BLOCK = 128;

enum Dtype : u32 { BF16 = 0, F16 = 1, F32 = 2 };
// Bits of flags, above the dtype; the bytes of a piece stand above them.
constexpr u32 DTYPE = 3, MODELOPT = 4, BF16_UP = 8, GIVEN = 16, CODES = 32, BYTES = 8;
// The highest bit of Item::what says that it is rows, not a block of 128×128; the rest is the index of the weight.
constexpr u32 ROWS = 0x80000000;

struct Weight {
    const u8* source;    // aligned to 16 bytes
    u8* codes;           // aligned to 16 bytes
    u64 elements;
    u32 rows, columns;   // of no meaning with one scale for the tensor
    u32 rows_per_item;
    u32 first_scale;     // into Launch::amax and Launch::scales
    u32 first_part;      // into Launch::parts
    u32 parts;
    u32 flags;
    u32 padding;
};

// A piece of a weight with one scale.
struct Piece {
    const u8* source;    // aligned to 16 bytes
    u8* codes;           // aligned to 16 bytes
    u32 scale;           // into Launch::measured, Launch::amax and Launch::scales; that of the scale group
    u32 group_pieces;    // of the whole scale group
    u32 part;            // into Launch::parts: what this block finds out about the weight
    u32 what;            // flags and bytes
};

// Pieces whose amax is taken together before their codes are made.
struct Wave {
    u32 first, count;    // into Launch::pieces
    u32 cached;          // whether the L2 cache holds enough of it to be worth some care
    u32 padding;
};

// Rows of a weight, or a block of it.
struct Item {
    u32 what;
    u32 index;           // first row / rows_per_item, or the number of the block
};

struct Part {
    double squared_error;
    double squares;
    float max_error;
    u32 saturated;
    u32 zeroed;
    u32 padding;
};

struct Launch {
    const Weight* weights;
    const Piece* pieces;
    const Wave* waves;
    const Item* items;
    u32* measured;       // pieces of each scale group so far, 0 at the start
    u32* amax;           // bits of F32 magnitudes, 0 at the start
    const float* scales; // where GIVEN
    Part* parts;
    u32 wave_count;
    u32 item_count;
    u32 kept;            // halves of pieces that a block has room for in shared memory
    u32 converts;        // whether there is anything to do but measuring
};

// ---- Memory ----

// For the L2 cache: whether what is accessed may go first.
__device__ __forceinline__ u64 policy(bool first) {
    u64 policy;
    if (first) asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    else asm volatile("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

__device__ __forceinline__ uint4 load16(const u8* from, u64 policy) {
    uint4 v;
    asm volatile("ld.global.nc.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(from), "l"(policy));
    return v;
}

__device__ __forceinline__ void store8(u8* to, uint2 v, u64 policy) {
    asm volatile("st.global.L2::cache_hint.v2.u32 [%0], {%1, %2}, %3;" :: "l"(to), "r"(v.x), "r"(v.y), "l"(policy) : "memory");
}

__device__ __forceinline__ void store4(u8* to, u32 v, u64 policy) {
    asm volatile("st.global.L2::cache_hint.u32 [%0], %1, %2;" :: "l"(to), "r"(v), "l"(policy) : "memory");
}

// Copies 16 bytes to shared memory while the thread goes on.
__device__ __forceinline__ void copy16_later(uint4* to, const uint4* from) {
    const u32 address = (u32)__cvta_generic_to_shared(to);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(address), "l"(from) : "memory");
}

__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

__device__ __forceinline__ u32 load_acquire(const u32* from) {
    u32 v;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
    return v;
}

__device__ __forceinline__ u64 nanoseconds() {
    u64 now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
}

__device__ __forceinline__ void add_release(u32* to, u32 v) {
    asm volatile("red.release.gpu.global.add.u32 [%0], %1;" :: "l"(to), "r"(v) : "memory");
}

// ---- Elements ----

template <u32 D> struct Traits {
    static constexpr u32 SIZE = D == F32 ? 4 : 2;
    static constexpr u32 COUNT = 16 / SIZE; // elements of 16 bytes
};

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

__device__ __forceinline__ void f16x2_to_f32(u32 both, float& a, float& b) {
    asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }" : "=f"(a), "=f"(b) : "r"(both));
}

__device__ __forceinline__ float min_nan(float a, float b) {
    float m;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(m) : "f"(a), "f"(b));
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

// ---- Scales and codes ----

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

// ---- Error sums ----

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
__device__ __forceinline__ Part add_across_warp(const Sums& sums) {
    Part part;
    part.squared_error = add_across_warp(sums.squared_error);
    part.squares = add_across_warp(sums.squares);
    part.max_error = __uint_as_float(__reduce_max_sync(~0u, __float_as_uint(sums.max_error)));
    part.saturated = __reduce_add_sync(~0u, sums.saturated);
    part.zeroed = __reduce_add_sync(~0u, sums.zeroed);
    part.padding = 0;
    return part;
}

// The sum of `count` parts, in order.
__device__ __forceinline__ Part add_up(const Part* parts, u32 count) {
    Part total = parts[0];
    for (u32 i = 1; i < count; i++) {
        total.squared_error += parts[i].squared_error;
        total.squares += parts[i].squares;
        total.max_error = fmaxf(total.max_error, parts[i].max_error);
        total.saturated += parts[i].saturated;
        total.zeroed += parts[i].zeroed;
    }
    return total;
}

// ---- Odd places: short or unaligned vectors, and scales of any size ----

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

// ---- Lines: whole vectors at equal distances, one thread's share of a place ----

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

// ---- What the threads of a block find out together ----

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

// Writes the sums of all threads, in a fixed order.
__device__ __noinline__ void write_part(Sums sums, Part* to, Part (&of_warps)[WARPS]) {
    const Part part = add_across_warp(sums);
    __syncthreads(); // what was here before is read
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = part;
    __syncthreads();
    if (threadIdx.x == 0) *to = add_up(of_warps, WARPS);
}

// ---- Weights with one scale ----
//
// Every element is read twice, for the amax and for the codes, and the second time it should still be in the L2 cache.
// Hence waves of weights that fit into it; the block that measures a piece converts it, since the cache has two parts; and
// blocks convert in reverse, because what was measured last is surely still there. The very last pieces do not even leave
// the multiprocessor: they wait for their scale in shared memory.
//
// Blocks wait for each other, so all of them must run at the same time: a cooperative launch.

struct Tensors {
    Piece pieces[2][KNOWN]; // of an even and an odd wave
    Scale scales[KNOWN];
    u32 amax[2][WARPS];
    Part parts[WARPS];
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

// ---- Weights with a scale for each row or block ----

struct Tiles {
    Weight weight;
    u32 amax[WARPS];
    Part parts[WARPS];
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

// ---- Sums of weights ----

// Adds the parts of each weight, one block for each, in a fixed order.
extern "C" __global__ void __launch_bounds__(1024) add_parts(const Weight* weights, const Part* parts, Part* totals) {
    __shared__ Part of_warps[32];
    const Weight& w = weights[blockIdx.x];
    Sums sums = no_sums();
    for (u32 i = threadIdx.x; i < w.parts; i += 1024) {
        const Part part = parts[w.first_part + i];
        sums.squared_error += part.squared_error;
        sums.squares += part.squares;
        sums.max_error = fmaxf(sums.max_error, part.max_error);
        sums.saturated += part.saturated;
        sums.zeroed += part.zeroed;
    }
    const Part part = add_across_warp(sums);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = part;
    __syncthreads();
    if (threadIdx.x == 0) totals[blockIdx.x] = add_up(of_warps, 32);
}

// ---- Decoding ----

struct Decode {
    const u8* codes;     // aligned to 16 bytes
    u8* values;          // aligned to 16 bytes
    const float* scales;
    u64 elements;
    u32 columns;         // 0 with one scale for the tensor
    u32 height, width;   // rows and columns that share a scale
    u32 target;          // a Dtype
};

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
