// FP8 E4M3 on NVIDIA GPUs: amax, codes, decoding and error sums of many weights in one launch.
//
// Codes and scales are those of the CPU (src/fp8/rounding.rs, src/fp8/scale.rs), bit for bit; error sums agree to 1e-6.
// Compiled by make_ptx.py without headers. The structures below are mirrored in src/fp8/cuda/abi.rs.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

// Threads of a block that work on elements; one more warp fetches their next item meanwhile.
constexpr u32 WORKERS = 256;
constexpr u32 WARPS = WORKERS / 32;
constexpr u32 THREADS = WORKERS + 32;
// 16-byte loads that a thread has under way at once.
constexpr u32 UNROLL = 4;
constexpr u32 BLOCK = 128;

enum Dtype : u32 { BF16 = 0, F16 = 1, F32 = 2 };
// Bits of Weight::flags, above the dtype.
constexpr u32 DTYPE = 3, MODELOPT = 4, BF16_UP = 8, GIVEN = 16, CODES = 32;
// The upper bits of Item::what; the rest is the index of the weight.
constexpr u32 KIND = 28, MEASURE = 0, CONVERT = 1, ROWS = 2, BLOCKS = 3;
// Bits of Launch::hints.
constexpr u32 KEEP_MEASURED = 1, DROP_CONVERTED = 2, DROP_CODES = 4;

struct Weight {
    const u8* source;    // aligned to 16 bytes
    u8* codes;           // aligned to 16 bytes
    u64 elements;
    u32 rows, columns;   // of no meaning with one scale for the tensor
    u32 rows_per_item;
    u32 first_scale;     // into Launch::amax and Launch::scales; shared by the members of a scale group
    u32 first_part;      // into Launch::parts
    u32 parts;
    u32 group;           // into Launch::measured
    u32 group_chunks;    // MEASURE items of the whole scale group
    u32 flags;
    u32 padding;
};

struct Item {
    u32 what;
    u32 index;           // chunk, first row / rows_per_item, or block
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
    const Item* items;
    u32* ticket;         // 0 at the start
    u32* measured;       // for each scale group 0 at the start
    u32* amax;           // bits of F32 magnitudes, 0 at the start
    const float* scales; // where GIVEN
    Part* parts;
    u32 item_count;
    u32 chunk_bytes;     // of a weight; a multiple of 16
    u32 hints;
    u32 padding;
};

// ---- Memory ----

__device__ __forceinline__ u64 policy(bool last, bool first) {
    u64 policy;
    if (last) asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
    else if (first) asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
    else asm volatile("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(policy));
    return policy;
}

// Zeros where `wanted` is not set; no branch, so that several are under way at once.
__device__ __forceinline__ uint4 load16_if(bool wanted, const u8* from, u64 policy) {
    uint4 v;
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %6, 0;\n"
                 "mov.u32 %0, 0; mov.u32 %1, 0; mov.u32 %2, 0; mov.u32 %3, 0;\n"
                 "@p ld.global.nc.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5; }"
                 : "=&r"(v.x), "=&r"(v.y), "=&r"(v.z), "=&r"(v.w) : "l"(from), "l"(policy), "r"((u32)wanted));
    return v;
}

__device__ __forceinline__ void store8(u8* to, uint2 v, u64 policy) {
    asm volatile("st.global.L2::cache_hint.v2.u32 [%0], {%1, %2}, %3;" :: "l"(to), "r"(v.x), "r"(v.y), "l"(policy) : "memory");
}

__device__ __forceinline__ void store4(u8* to, u32 v, u64 policy) {
    asm volatile("st.global.L2::cache_hint.u32 [%0], %1, %2;" :: "l"(to), "r"(v), "l"(policy) : "memory");
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

// The magnitudes of 16 bytes of elements.
template <u32 D> __device__ __forceinline__ void magnitudes(uint4 v, float* x) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (u32 i = 0; i < 4; i++) {
        if constexpr (D == BF16) {
            x[2 * i] = fabsf(__uint_as_float(words[i] << 16));
            x[2 * i + 1] = fabsf(__uint_as_float(words[i] & 0xffff0000));
        } else if constexpr (D == F16) {
            f16x2_to_f32(words[i] & 0x7fff7fff, x[2 * i], x[2 * i + 1]);
        } else {
            x[i] = fabsf(__uint_as_float(words[i]));
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
    return s;
}

// min(x / scale, about 512), correctly rounded up to there; NaN stays NaN.
//
// `q` is x × (inverse + rest), within half a unit in the last place and a little, hence one of the two neighbours of the
// quotient; with `inverse` correctly rounded, one step with the exact remainder then gives the rounded quotient
// (Markstein, "Computation of elementary functions on the IBM RISC System/6000 processor", 1990, theorem on division).
// The remainder is exact wherever the code is not zero anyway, because the scale is not near the ends of the range.
__device__ __forceinline__ float quotient(float x, const Scale& s) {
    x = min_nan(x, s.limit);
    const float q = __fmaf_rn(x, s.inverse, __fmul_rn(x, s.rest));
    return __fmaf_rn(__fmaf_rn(-q, s.scale, x), s.inverse, q);
}

__device__ __noinline__ float quotient_anywhere(float x, float scale) {
    return min_nan(__fdiv_rn(x, scale), 512.0f);
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

// Four codes from four magnitudes.
__device__ __forceinline__ u32 codes_of(float a, float b, float c, float d) {
#if __CUDA_ARCH__ >= 890
    u32 codes;
    asm("{ .reg .b16 low, high;\n"
        "cvt.rn.satfinite.e4m3x2.f32 low, %2, %1; cvt.rn.satfinite.e4m3x2.f32 high, %4, %3;\n"
        "mov.b32 %0, {low, high}; }" : "=r"(codes) : "f"(a), "f"(b), "f"(c), "f"(d));
    return codes;
#else
    return code_of(a) | code_of(b) << 8 | code_of(c) << 16 | code_of(d) << 24;
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

// The codes of 16 bytes of elements, without their signs.
template <u32 D, bool PLAIN> __device__ __forceinline__ uint2 codes_of_vector(uint4 raw, const Scale& s) {
    constexpr u32 N = Traits<D>::COUNT;
    float q[N];
    magnitudes<D>(raw, q);
#pragma unroll
    for (u32 i = 0; i < N; i++) q[i] = PLAIN ? quotient(q[i], s) : quotient_anywhere(q[i], s.scale);
    if (s.modelopt) {
#pragma unroll
        for (u32 i = 0; i < N; i += 2) round_to_bf16(q[i], q[i + 1]);
    }
    uint2 codes = make_uint2(codes_of(q[0], q[1], q[2], q[3]), 0);
    if constexpr (N == 8) codes.y = codes_of(q[4], q[5], q[6], q[7]);
    return codes;
}

// ---- Error sums ----

struct Sums {
    double squared_error, squares;
    float max_error;
    u32 saturated, zeroed;
};

// The sums of squares of a few elements in F64: where F32 would overflow, underflow or be NaN.
template <u32 D> __device__ __noinline__ double2 precise_squares(uint4 raw, uint2 codes, float scale) {
    constexpr u32 N = Traits<D>::COUNT;
    float x[N], v[8];
    magnitudes<D>(raw, x);
    values_of(codes.x & 0x7f7f7f7f, v);
    values_of(codes.y & 0x7f7f7f7f, v + 4);
    double2 sums = make_double2(0.0, 0.0);
#pragma unroll
    for (u32 i = 0; i < N; i++) {
        const double error = (double)x[i] - (double)__fmul_rn(v[i], scale);
        sums.x += error * error;
        sums.y += (double)x[i] * (double)x[i];
    }
    return sums;
}

// How many elements are saturated, and how many are not zero although their code is.
template <u32 D> __device__ __noinline__ uint2 count_odd(uint4 raw, uint2 codes, float scale) {
    constexpr u32 N = Traits<D>::COUNT;
    float x[N];
    magnitudes<D>(raw, x);
    uint2 counts = make_uint2(0, 0);
#pragma unroll
    for (u32 i = 0; i < N; i++) {
        const u32 code = (i < 4 ? codes.x >> 8 * i : codes.y >> 8 * (i - 4)) & 0xff;
        if (code == 0x7e) counts.x += quotient_anywhere(x[i], scale) > 448.00003f;
        if (code == 0) counts.y += x[i] != 0.0f;
    }
    return counts;
}

// Whether a sum of F32 squares is far from where F32 loses digits.
__device__ __forceinline__ bool is_usual(float sum) {
    return sum > 1e-24f && sum < 1e30f;
}

// Adds what `codes`, without signs, lose of the elements `raw`.
template <u32 D> __device__ __forceinline__ void account(Sums& sums, uint4 raw, uint2 codes, float scale) {
    constexpr u32 N = Traits<D>::COUNT;
    float x[N];
    magnitudes<D>(raw, x);
    // Eight terms at most, so that the F32 sums are good to 6e-7.
    float squared_error = 0, squares = 0;
    u32 odd = 0;
#pragma unroll
    for (u32 half = 0; half < N / 4; half++) {
        const u32 four = half ? codes.y : codes.x;
        float v[4];
        values_of(four, v);
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            const float weight = x[4 * half + i];
            const float error = __fsub_rn(weight, __fmul_rn(v[i], scale));
            squared_error = __fmaf_rn(error, error, squared_error);
            squares = __fmaf_rn(weight, weight, squares);
            sums.max_error = fmaxf(sums.max_error, fabsf(error));
        }
        // The highest bit of each byte: the code is 0x7e (or NaN), or it is zero.
        odd |= ((four + 0x02020202) | (0x80808080 - four)) & 0x80808080;
    }
    if (is_usual(squared_error) && is_usual(squares)) {
        sums.squared_error += squared_error;
        sums.squares += squares;
    } else {
        const double2 precise = precise_squares<D>(raw, codes, scale);
        sums.squared_error += precise.x;
        sums.squares += precise.y;
    }
    if (odd) {
        const uint2 counts = count_odd<D>(raw, codes, scale);
        sums.saturated += counts.x;
        sums.zeroed += counts.y;
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

// ---- Places: which elements the threads of a block or of a warp take ----

// A rectangle of elements, cut into vectors of up to 16 bytes: a chunk, a row, or a block of 128×128. Every thread takes a
// vector of each group of `threads` vectors; the groups that hold nothing but whole, aligned vectors come first.
template <u32 D> struct Place {
    static constexpr u32 N = Traits<D>::COUNT;
    u64 first;           // element
    u32 columns;         // elements from one row to the next
    u32 width, height;
    u32 shift;           // log2 of the vectors that a row has room for
    u32 thread, threads; // of those that share the place
    u32 groups, whole;   // groups of vectors; those of whole ones
    u32 step;            // elements from one group to the next, within the whole ones

    // Elements in a row.
    __device__ __forceinline__ void line(u64 from, u32 length, u32 this_thread, u32 all_threads) {
        first = from;
        columns = 0;
        width = length;
        height = 1;
        shift = 31;
        thread = this_thread;
        threads = all_threads;
        step = all_threads * N;
        groups = (length + N * all_threads - 1) / (N * all_threads);
        whole = from % N == 0 ? length / (N * all_threads) : 0;
    }

    // A block of 128×128, or less at the edges.
    __device__ __forceinline__ void square(const Weight& w, u32 block) {
        const u32 blocks_per_row = (w.columns + BLOCK - 1) / BLOCK;
        const u32 row = block / blocks_per_row * BLOCK, column = block % blocks_per_row * BLOCK;
        first = (u64)row * w.columns + column;
        columns = w.columns;
        width = min(BLOCK, w.columns - column);
        height = min(BLOCK, w.rows - row);
        shift = N == 8 ? 4 : 5;
        thread = threadIdx.x;
        threads = WORKERS;
        step = (WORKERS >> shift) * columns;
        groups = ((height << shift) + WORKERS - 1) / WORKERS;
        whole = w.columns % N == 0 && width == BLOCK ? (height << shift) / WORKERS : 0;
    }

    // The first element of this thread's vector of the first group.
    __device__ __forceinline__ u64 start() const {
        return first + (u64)(thread >> shift) * columns + (thread & ((1u << shift) - 1)) * N;
    }

    // This thread's vector of any group: its first element, and how many it has, none beyond the place.
    __device__ __forceinline__ u64 odd(u32 group, u32& count) const {
        const u32 number = group * threads + thread, row = number >> shift, at = (number & ((1u << shift) - 1)) * N;
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

template <u32 D> __device__ __forceinline__ uint2 with_signs(uint2 codes, uint4 raw) {
    const uint2 sign = signs<D>(raw);
    return make_uint2(codes.x | sign.x, codes.y | sign.y);
}

// As `measure` and `convert` do, for the groups from `group` on, whatever their vectors, and for any scale.
template <u32 D> __device__ __noinline__ u32 measure_odd(Place<D> place, u32 group, const u8* source) {
    u32 largest = 0;
#pragma unroll 1
    for (; group < place.groups; group++) {
        u32 count;
        const u64 element = place.odd(group, count);
        if (count > 0) largest = larger<D>(largest, load_odd<D>(source + element * Traits<D>::SIZE, count));
    }
    return largest;
}

template <u32 D, bool ERROR>
__device__ __noinline__ Sums convert_odd(Place<D> place, u32 group, const u8* source, u8* target, Scale s, Sums sums) {
#pragma unroll 1
    for (; group < place.groups; group++) {
        u32 count;
        const u64 element = place.odd(group, count);
        if (count == 0) continue;
        const uint4 raw = load_odd<D>(source + element * Traits<D>::SIZE, count);
        const uint2 codes = s.plain ? codes_of_vector<D, true>(raw, s) : codes_of_vector<D, false>(raw, s);
        // Beyond a short vector the elements are zeros, which lose nothing.
        if constexpr (ERROR) account<D>(sums, raw, codes, s.scale);
        if (target) store_odd(target + element, with_signs<D>(codes, raw), count);
    }
    return sums;
}

// The largest magnitude that this thread sees, as F32 bits.
template <u32 D> __device__ __forceinline__ u32 measure(const Place<D>& place, const u8* source, bool keep) {
    constexpr u32 SIZE = Traits<D>::SIZE;
    const u64 hint = policy(keep, false);
    u32 largest = 0;
    const u8* from = source + place.start() * SIZE;
    const u32 step = place.step * SIZE;
#pragma unroll 1
    for (u32 group = 0; group < place.whole; group += UNROLL) {
        uint4 v[UNROLL];
#pragma unroll
        for (u32 i = 0; i < UNROLL; i++) {
            v[i] = load16_if(group + i < place.whole, from, hint);
            from += step;
        }
#pragma unroll
        for (u32 i = 0; i < UNROLL; i++) largest = larger<D>(largest, v[i]);
    }
    if (place.whole < place.groups) largest = larger<D>(largest, make_uint4(measure_odd<D>(place, place.whole, source), 0, 0, 0));
    return settle<D>(largest);
}

// Makes the codes of a place and, where asked, the sums of what they lose.
template <u32 D, bool ERROR>
__device__ __forceinline__ void convert(const Place<D>& place, const Weight& w, const Scale& s, Sums& sums, u32 hints) {
    constexpr u32 SIZE = Traits<D>::SIZE, N = Traits<D>::COUNT;
    const u64 read = policy(false, hints & DROP_CONVERTED), write = policy(false, hints & DROP_CODES);
    u8* const target = w.flags & CODES ? w.codes : nullptr;
    const u32 whole = s.plain ? place.whole : 0, step = place.step;
    const u8* from = w.source + place.start() * SIZE;
    u8* to = target + place.start();
#pragma unroll 1
    for (u32 group = 0; group < whole; group += UNROLL) {
        uint4 v[UNROLL];
#pragma unroll
        for (u32 i = 0; i < UNROLL; i++) {
            v[i] = load16_if(group + i < whole, from, read);
            from += step * SIZE;
        }
#pragma unroll
        for (u32 i = 0; i < UNROLL; i++) {
            if (group + i < whole) {
                const uint2 codes = codes_of_vector<D, true>(v[i], s);
                if constexpr (ERROR) account<D>(sums, v[i], codes, s.scale);
                if (target) {
                    const uint2 signed_codes = with_signs<D>(codes, v[i]);
                    if (N == 8) store8(to, signed_codes, write);
                    else store4(to, signed_codes.x, write);
                }
            }
            to += step;
        }
    }
    if (whole < place.groups) sums = convert_odd<D, ERROR>(place, whole, w.source, target, s, sums);
}

// ---- The persistent kernel ----

// An item that is being worked on, or the next one.
struct Slot {
    Weight weight;
    Item item;           // `what` is all ones when there is nothing more
    Scale scale;         // of a chunk that is converted
    u32 amax[WARPS];
    Part parts[WARPS];
};

// The largest of all workers; for each of them.
__device__ __forceinline__ u32 max_across_workers(u32 value, Slot& slot) {
    const u32 of_warp = __reduce_max_sync(~0u, value);
    if (threadIdx.x % 32 == 0) slot.amax[threadIdx.x / 32] = of_warp;
    asm volatile("bar.sync 1, %0;" :: "n"(WORKERS) : "memory");
    u32 largest = 0;
#pragma unroll
    for (u32 i = 0; i < WARPS; i++) largest = max(largest, slot.amax[i]);
    return largest;
}

// What the workers do with an item.
template <u32 D, bool ERROR> __device__ __forceinline__ void work(const Launch& launch, Slot& slot) {
    const Weight& w = slot.weight;
    const u32 index = slot.item.index, kind = slot.item.what >> KIND;
    const bool measured_here = kind == MEASURE || (kind != CONVERT && !(w.flags & GIVEN));
    const bool converted_here = kind != MEASURE && (ERROR || w.flags & CODES);
    u32 row = kind == ROWS ? index * w.rows_per_item + threadIdx.x / 32 : 0;
    const u32 end = kind == ROWS ? min(w.rows, (index + 1) * w.rows_per_item) : 1;
    Scale scale = slot.scale;
    Sums sums = no_sums();
    // Once, but for ROWS: there each warp takes a row at a time.
    for (; row < end; row += WARPS) {
        Place<D> place;
        u32 number = w.first_scale;
        if (kind < ROWS) {
            const u64 length = launch.chunk_bytes / Traits<D>::SIZE, first = index * length;
            place.line(first, (u32)min(length, w.elements - first), threadIdx.x, WORKERS);
        } else if (kind == ROWS) {
            place.line((u64)row * w.columns, w.columns, threadIdx.x % 32, 32);
            number += row;
        } else {
            place.square(w, index);
            number += index;
        }
        if (measured_here) {
            const u32 mine = measure<D>(place, w.source, launch.hints & KEEP_MEASURED);
            u32 largest;
            if (kind == BLOCKS) {
                largest = max_across_workers(mine, slot);
            } else {
                largest = __reduce_max_sync(~0u, mine);
                if (kind == MEASURE) {
                    if (threadIdx.x % 32 == 0) slot.amax[threadIdx.x / 32] = largest;
                    return;
                }
            }
            if (place.thread == 0) launch.amax[number] = largest;
            scale = prepare(scale_of(largest, w.flags), w.flags);
        } else if (kind != CONVERT) {
            scale = prepare(launch.scales[number], w.flags);
        }
        if (converted_here) convert<D, ERROR>(place, w, scale, sums, launch.hints);
    }
    if constexpr (ERROR) {
        const Part part = add_across_warp(sums);
        if (threadIdx.x % 32 == 0) slot.parts[threadIdx.x / 32] = part;
    }
}

// The fetching warp: says what the workers found out about the item of `slot`, which they have left.
template <bool ERROR> __device__ __forceinline__ void publish(const Launch& launch, const Slot& slot) {
    if (threadIdx.x == WORKERS) {
        const Weight& w = slot.weight;
        if (slot.item.what >> KIND == MEASURE) {
            u32 largest = 0;
            for (u32 i = 0; i < WARPS; i++) largest = max(largest, slot.amax[i]);
            atomicMax(launch.amax + w.first_scale, largest);
            add_release(launch.measured + w.group, 1);
        } else if (ERROR) {
            launch.parts[w.first_part + slot.item.index] = add_up(slot.parts, WARPS);
        }
    }
    __syncwarp();
}

// The fetching warp: puts the item of `ticket`, which only thread WORKERS knows, into `slot`.
__device__ __forceinline__ void fetch(const Launch& launch, u32 ticket, Slot& slot) {
    ticket = __shfl_sync(~0u, ticket, 0);
    const u32 lane = threadIdx.x - WORKERS;
    Item item = {~0u, 0};
    if (ticket < launch.item_count) {
        item = launch.items[ticket];
        const u32* from = (const u32*)(launch.weights + (item.what & ((1u << KIND) - 1)));
        if (lane < sizeof(Weight) / 4) ((u32*)&slot.weight)[lane] = from[lane];
    }
    if (lane == 0) slot.item = item;
    __syncwarp();
}

// The fetching warp: before the codes of a chunk are made, waits for the amax of its scale group.
__device__ __forceinline__ void wait_for_scale(const Launch& launch, Slot& slot) {
    if (threadIdx.x == WORKERS) {
        const Weight& w = slot.weight;
        float scale;
        if (w.flags & GIVEN) {
            scale = launch.scales[w.first_scale];
        } else {
            const u64 start = nanoseconds();
            while (load_acquire(launch.measured + w.group) < w.group_chunks) {
                __nanosleep(40);
                // A defect must not hang the device.
                if (nanoseconds() - start > 30000000000ull) asm volatile("trap;");
            }
            scale = scale_of(load_acquire(launch.amax + w.first_scale), w.flags);
        }
        slot.scale = prepare(scale, w.flags);
    }
    __syncwarp();
}

// While the workers of a block work on one item, its fetching warp publishes the last one and fetches the next.
//
// Nobody waits for ever: an item that is converted waits for measured ones of lower tickets, so blocks that run have taken
// them. Each is worked on without waiting, unless it is itself behind an item of the same block, of a still lower ticket;
// and the fetching warp waits for others only when it has nothing left to publish.
template <bool ERROR> __device__ __forceinline__ void quantise(const Launch& launch) {
    __shared__ Slot slots[2];
    if (threadIdx.x < WORKERS) {
        for (u32 number = 0;; number++) {
            __syncthreads(); // the item is there
            Slot& slot = slots[number % 2];
            if (slot.item.what == ~0u) return;
            switch (slot.weight.flags & DTYPE) {
                case BF16: work<BF16, ERROR>(launch, slot); break;
                case F16: work<F16, ERROR>(launch, slot); break;
                default: work<F32, ERROR>(launch, slot); break;
            }
            asm volatile("bar.arrive 2, %0;" :: "n"(THREADS) : "memory"); // the item is done
        }
    }
    u32 ticket = 0;
    if (threadIdx.x == WORKERS) ticket = atomicAdd(launch.ticket, 1);
    fetch(launch, ticket, slots[0]);
    if (slots[0].item.what >> KIND == CONVERT) wait_for_scale(launch, slots[0]);
    bool published = true;
    for (u32 number = 0;; number++) {
        __syncthreads();
        const Slot& slot = slots[number % 2];
        Slot& other = slots[~number % 2];
        const u32 kind = slot.item.what >> KIND;
        const bool end = slot.item.what == ~0u;
        if (!end && threadIdx.x == WORKERS) ticket = atomicAdd(launch.ticket, 1);
        if (!published) publish<ERROR>(launch, other);
        if (end) return;
        published = false;
        fetch(launch, ticket, other);
        const bool waits = other.item.what >> KIND == CONVERT;
        if (waits && kind != MEASURE) wait_for_scale(launch, other);
        asm volatile("bar.sync 2, %0;" :: "n"(THREADS) : "memory");
        if (waits && kind == MEASURE) {
            publish<ERROR>(launch, slot);
            published = true;
            wait_for_scale(launch, other);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 4) quantise_weights(const __grid_constant__ Launch launch) {
    quantise<false>(launch);
}

extern "C" __global__ void __launch_bounds__(THREADS, 3) quantise_weights_with_error(const __grid_constant__ Launch launch) {
    quantise<true>(launch);
}

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
extern "C" __global__ void __launch_bounds__(WORKERS) decode_codes(const __grid_constant__ Decode d) {
    const u64 step = (u64)gridDim.x * WORKERS * 4;
    for (u64 first = ((u64)blockIdx.x * WORKERS + threadIdx.x) * 4; first < d.elements; first += step) {
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
