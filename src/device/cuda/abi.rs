//! The structures that kernels/structures.cuh and this program share, field by field.

use cudarc::driver::DeviceRepr;

/// Threads of a block.
pub(super) const THREADS: u32 = 256;
/// Bytes of a piece: what a block of threads takes of a weight with one scale at a time.
pub(super) const PIECE_BYTES: usize = 2 * HALF_BYTES;
/// What a block keeps at a time.
pub(super) const HALF_BYTES: usize = 4 * 16 * THREADS as usize;

/// Bits of flags, of weights and of pieces; the lowest two are the dtype.
pub(super) const MODELOPT: u32 = 4;
/// Scales are rounded up to BF16.
pub(super) const BF16_UP: u32 = 8;
/// Scales are given, not made from an amax.
pub(super) const GIVEN: u32 = 16;
/// Codes are wanted.
pub(super) const CODES: u32 = 32;
/// Where the bytes of a piece stand in [`Piece::what`], above the flags.
pub(super) const BYTES: u32 = 8;

/// The bit of [`Item::what`] that says that it is rows, not a block of 128×128; the rest is the index of the weight.
pub(super) const ROWS: u32 = 0x8000_0000;

/// One weight of a batch; addresses are the device's, counts and indices as in structures.cuh.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weight {
    pub source: u64,
    pub codes: u64,
    pub elements: u64,
    pub rows: u32,
    pub columns: u32,
    pub rows_per_item: u32,
    pub first_scale: u32,
    pub first_part: u32,
    pub parts: u32,
    pub flags: u32,
    pub padding: u32,
}

/// A piece of a weight with one scale.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Piece {
    pub source: u64,
    pub codes: u64,
    pub scale: u32,
    pub group_pieces: u32,
    pub part: u32,
    pub what: u32,
}

/// Pieces whose amax is taken together before their codes are made.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Wave {
    pub first: u32,
    pub count: u32,
    pub cached: u32,
    pub padding: u32,
}

/// Rows of a weight, or a block of it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Item {
    pub what: u32,
    pub index: u32,
}

/// Error sums.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PartialError {
    pub squared_error: f64,
    pub squares: f64,
    pub max_error: f32,
    pub saturated: u32,
    pub zeroed: u32,
    pub padding: u32,
}

/// The argument of `quantise_tensors` and `quantise_tiles`; the addresses are the device's.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Launch {
    pub weights: u64,
    pub pieces: u64,
    pub waves: u64,
    pub items: u64,
    pub measured: u64,
    pub amax: u64,
    pub scales: u64,
    pub parts: u64,
    pub wave_count: u32,
    pub item_count: u32,
    pub kept: u32,
    pub converts: u32,
}

/// The argument of `decode_codes`; the addresses are the device's.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Decode {
    pub codes: u64,
    pub values: u64,
    pub scales: u64,
    pub elements: u64,
    pub columns: u32,
    pub height: u32,
    pub width: u32,
    pub target: u32,
}

// SAFETY: plain data, laid out as the structures of the same names in structures.cuh.
unsafe impl DeviceRepr for Launch {}
// SAFETY: as above.
unsafe impl DeviceRepr for Decode {}

/// The bytes of plain structures.
pub(super) fn bytes_of<T: Copy>(values: &[T]) -> &[u8] {
    // SAFETY: only called with the structures above and with numbers, none of which has padding that is not a field.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_long_as_their_fields() {
        assert_eq!([size_of::<Weight>(), size_of::<Item>(), size_of::<PartialError>()], [56, 8, 32]);
        assert_eq!([size_of::<Piece>(), size_of::<Wave>()], [32, 16]);
        assert_eq!([size_of::<Launch>(), size_of::<Decode>()], [80, 48]);
    }
}
