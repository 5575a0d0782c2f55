// Numbers and structures that are mirrored in src/device/cuda/abi.rs.
#pragma once

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

struct PartialError {
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
    PartialError* parts;
    u32 wave_count;
    u32 item_count;
    u32 kept;            // halves of pieces that a block has room for in shared memory
    u32 converts;        // whether there is anything to do but measuring
};

// The argument of `decode_codes`.
struct Decode {
    const u8* codes;     // aligned to 16 bytes
    u8* values;          // aligned to 16 bytes
    const float* scales;
    u64 elements;
    u32 columns;         // 0 with one scale for the tensor
    u32 height, width;   // rows and columns that share a scale
    u32 target;          // a Dtype
};
