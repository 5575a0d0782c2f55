//! Which weights with one scale are measured together before their codes are made.
//!
//! Every element of them is read twice: for the amax, and for the codes once the amax of its whole scale group is known.
//! Groups form *waves* that fit into the L2 cache, so that the second read finds most of a wave there. A larger group is a
//! wave of its own; of it the cache still holds the end, which is converted first.

/// Limits of the schedule. They change the time that a launch takes, never its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Small groups are joined to waves of about this many bytes.
    pub wave_bytes: usize,
    /// Halves of pieces that a block of threads keeps in shared memory until they are converted, where there is room for them.
    pub kept: usize,
}

/// Of larger waves the cache holds too little to be worth care. In bytes.
pub(super) const LARGE_WAVE: usize = 96 << 20;

impl Default for Tuning {
    fn default() -> Self {
        // Measured on an H200 with the linears of Qwen2.5-VL-3B.
        Tuning { wave_bytes: 40 << 20, kept: 3 }
    }
}

/// The waves of groups of these `bytes`, in order: how many groups each takes.
pub(super) fn waves(bytes: impl Iterator<Item = usize>, tuning: &Tuning) -> Vec<usize> {
    let mut waves: Vec<usize> = vec![];
    let mut filled = usize::MAX;
    for group in bytes {
        filled = filled.saturating_add(group);
        match waves.last_mut() {
            Some(groups) if filled <= tuning.wave_bytes => *groups += 1,
            _ => {
                filled = group;
                waves.push(1);
            }
        }
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_take_what_fits_and_larger_groups_alone() {
        let waves_of = |wave_bytes, groups: &[usize]| {
            waves(groups.iter().copied(), &Tuning { wave_bytes, ..Tuning::default() })
        };
        assert_eq!(waves_of(10, &[4, 6, 1, 30, 0, 10, 10, 3, 3]), [2, 1, 1, 2, 1, 2]);
        assert_eq!(waves_of(0, &[4, 0, 5]), [1, 1, 1]);
        assert_eq!(waves_of(100, &[4, 0, 5]), [3]);
        assert!(waves_of(100, &[]).is_empty());
    }
}
