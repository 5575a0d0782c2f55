//! The structures that kernels.cu and this program share, field by field.

use cudarc::driver::DeviceRepr;

/// Threads of a block that work on elements.
pub(super) const WORKERS: u32 = 256;
/// Threads of a block that quantises: a warp more, which fetches the next item.
pub(super) const THREADS: u32 = WORKERS + 32;

/// Bits of [`Weight::flags`]; the lowest two are the dtype.
pub(super) const MODELOPT: u32 = 4;
/// Scales are rounded up to BF16.
pub(super) const BF16_UP: u32 = 8;
/// Scales are given, not made from an amax.
pub(super) const GIVEN: u32 = 16;
/// Codes are wanted.
pub(super) const CODES: u32 = 32;

/// The kinds of [`Item`]: the largest magnitude of a chunk.
pub(super) const MEASURE: u32 = 0;
/// The codes of a chunk, once its whole scale group is measured.
pub(super) const CONVERT: u32 = 1;
/// Some rows, each with its own scale.
pub(super) const ROWS: u32 = 2;
/// One 128×128 block.
pub(super) const BLOCKS: u32 = 3;
/// Where the kind stands in [`Item::what`].
pub(super) const KIND: u32 = 28;

/// One weight of a batch; addresses are the device's, counts and indices as in kernels.cu.
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
    pub group: u32,
    pub group_chunks: u32,
    pub flags: u32,
    pub padding: u32,
}

/// A piece of work for one block of threads.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Item {
    pub what: u32,
    pub index: u32,
}

impl Item {
    pub(super) fn new(kind: u32, weight: usize, index: usize) -> Item {
        Item { what: kind << KIND | weight as u32, index: index as u32 }
    }
}

/// Error sums.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    pub squared_error: f64,
    pub squares: f64,
    pub max_error: f32,
    pub saturated: u32,
    pub zeroed: u32,
    pub padding: u32,
}

/// The argument of `quantise_weights`; the addresses are the device's.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Launch {
    pub weights: u64,
    pub items: u64,
    pub ticket: u64,
    pub measured: u64,
    pub amax: u64,
    pub scales: u64,
    pub parts: u64,
    pub item_count: u32,
    pub chunk_bytes: u32,
    pub hints: u32,
    pub padding: u32,
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

// SAFETY: plain data, laid out as the structures of the same names in kernels.cu.
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
        assert_eq!([size_of::<Weight>(), size_of::<Item>(), size_of::<Part>()], [64, 8, 32]);
        assert_eq!([size_of::<Launch>(), size_of::<Decode>()], [72, 48]);
    }
}
