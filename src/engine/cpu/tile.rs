//! The innermost loops of a matrix product: one tile of the result from packed panels.

/// The most values of a tile of any kernel.
pub(super) const MOST: usize = 12 * 32;

/// How a tile is computed: its size and the loop. Panels hold `rows` (of the left side) and `columns` (of the right side) values
/// for each step of the inner dimension, one step after the other.
#[derive(Clone, Copy)]
pub(super) struct ProductTile {
    pub rows: usize,
    pub columns: usize,
    run: unsafe fn(steps: usize, left: &[f32], right: &[f32], out: Out),
}

/// Where a whole tile is written: rows of values, `stride` apart.
#[derive(Clone, Copy)]
struct Out {
    values: *mut f32,
    stride: usize,
    /// Whether the tile is added to what stands there.
    add: bool,
}

impl ProductTile {
    /// The fastest that this machine has.
    pub fn best() -> ProductTile {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return ProductTile { rows: 12, columns: 32, run: avx512 };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return ProductTile { rows: 6, columns: 16, run: avx2 };
            }
        }
        ProductTile { rows: 4, columns: 8, run: baseline }
    }

    /// All that this machine has.
    #[cfg(test)]
    pub fn available() -> Vec<ProductTile> {
        let mut tiles = vec![ProductTile { rows: 4, columns: 8, run: baseline }];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                tiles.push(ProductTile { rows: 6, columns: 16, run: avx2 });
            }
            if is_x86_feature_detected!("avx512f") {
                tiles.push(ProductTile { rows: 12, columns: 32, run: avx512 });
            }
        }
        tiles
    }

    /// The sums of products over `steps` steps, row after row, at the start of `tile`.
    pub fn run(&self, steps: usize, left: &[f32], right: &[f32], tile: &mut [f32; MOST]) {
        debug_assert!(self.rows * self.columns <= MOST);
        let out = Out { values: tile.as_mut_ptr(), stride: self.columns, add: false };
        self.check(steps, left, right);
        // SAFETY: such a tile is made only after the machine was found to have its instructions, the panels are long enough, and
        // the largest tile has room in `tile`.
        unsafe { (self.run)(steps, left, right, out) }
    }

    /// The same into rows that are `stride` values apart; with `add`, added to what stands there.
    ///
    /// # Safety
    /// From `values` on there have to be all rows and columns of the tile, and nobody else may use them meanwhile.
    pub unsafe fn run_into(
        &self,
        steps: usize,
        left: &[f32],
        right: &[f32],
        values: *mut f32,
        stride: usize,
        add: bool,
    ) {
        self.check(steps, left, right);
        // SAFETY: as above, and the caller answers for the place.
        unsafe { (self.run)(steps, left, right, Out { values, stride, add }) }
    }

    fn check(&self, steps: usize, left: &[f32], right: &[f32]) {
        assert!(left.len() >= steps * self.rows && right.len() >= steps * self.columns);
    }
}

/// A tile of 4 × 8, on any machine.
///
/// # Safety
/// `out` has room for 4 rows of 8 that nobody else uses.
unsafe fn baseline(steps: usize, left: &[f32], right: &[f32], out: Out) {
    let mut sums = [[0.0f32; 8]; 4];
    for (left, right) in left.as_chunks::<4>().0.iter().zip(right.as_chunks::<8>().0).take(steps) {
        for (sums, left) in sums.iter_mut().zip(left) {
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum += left * right;
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller answers for 4 rows of 8.
        let to = unsafe { std::slice::from_raw_parts_mut(out.values.add(row * out.stride), 8) };
        match out.add {
            true => to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum),
            false => to.copy_from_slice(sums),
        }
    }
}

/// A tile of 6 × 16.
///
/// # Safety
/// The machine has AVX2 and FMA, the panels hold `steps` steps, and `out` has room for 6 rows of 16 that nobody else uses.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(steps: usize, left: &[f32], right: &[f32], out: Out) {
    use std::arch::x86_64::*;
    let (mut left, mut right) = (left.as_ptr(), right.as_ptr());
    for row in 0..6 {
        // What the sums are added to comes from memory; it shall be there when they are done. A prefetch reads nothing.
        _mm_prefetch::<_MM_HINT_T0>(out.values.wrapping_add(row * out.stride).cast());
    }
    let mut sums = [[_mm256_setzero_ps(); 2]; 6];
    for _ in 0..steps {
        // SAFETY: the caller has checked that the panels hold as many steps.
        unsafe {
            let columns = [_mm256_loadu_ps(right), _mm256_loadu_ps(right.add(8))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = _mm256_broadcast_ss(&*left.add(row));
                sums[0] = _mm256_fmadd_ps(value, columns[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(value, columns[1], sums[1]);
            }
            left = left.add(6);
            right = right.add(16);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller answers for 6 rows of 16.
        unsafe {
            let to = out.values.add(row * out.stride);
            let [mut first, mut second] = *sums;
            if out.add {
                first = _mm256_add_ps(_mm256_loadu_ps(to), first);
                second = _mm256_add_ps(_mm256_loadu_ps(to.add(8)), second);
            }
            _mm256_storeu_ps(to, first);
            _mm256_storeu_ps(to.add(8), second);
        }
    }
}

/// A tile of 12 × 32.
///
/// # Safety
/// The machine has AVX-512F, the panels hold `steps` steps, and `out` has room for 12 rows of 32 that nobody else uses.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(steps: usize, left: &[f32], right: &[f32], out: Out) {
    use std::arch::x86_64::*;
    let (mut left, mut right) = (left.as_ptr(), right.as_ptr());
    for row in 0..12 {
        // What the sums are added to comes from memory; it shall be there when they are done. A prefetch reads nothing.
        _mm_prefetch::<_MM_HINT_T0>(out.values.wrapping_add(row * out.stride).cast());
    }
    let mut sums = [[_mm512_setzero_ps(); 2]; 12];
    for _ in 0..steps {
        // SAFETY: the caller has checked that the panels hold as many steps.
        unsafe {
            let columns = [_mm512_loadu_ps(right), _mm512_loadu_ps(right.add(16))];
            for (row, sums) in sums.iter_mut().enumerate() {
                let value = _mm512_set1_ps(*left.add(row));
                sums[0] = _mm512_fmadd_ps(value, columns[0], sums[0]);
                sums[1] = _mm512_fmadd_ps(value, columns[1], sums[1]);
            }
            left = left.add(12);
            right = right.add(32);
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: the caller answers for 12 rows of 32.
        unsafe {
            let to = out.values.add(row * out.stride);
            let [mut first, mut second] = *sums;
            if out.add {
                first = _mm512_add_ps(_mm512_loadu_ps(to), first);
                second = _mm512_add_ps(_mm512_loadu_ps(to.add(16)), second);
            }
            _mm512_storeu_ps(to, first);
            _mm512_storeu_ps(to.add(16), second);
        }
    }
}
