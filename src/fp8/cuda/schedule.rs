//! The order in which the blocks of threads take their work.
//!
//! With one scale for a tensor, every chunk is read twice: for the amax, and for the codes once the amax of its whole scale
//! group is known. The order keeps both reads of a chunk close together, so that the second one finds it in the L2 cache:
//! groups form *waves* that fit into the cache, a wave is converted soon after it was measured, and backwards, because what
//! was measured last is surely still there. Between the two, the first part of the next wave is measured, so that nobody
//! waits for the last chunks of this one.

use super::abi::{self, Item};

/// Limits of the schedule. They change the time that a launch takes, never its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Small groups are joined to waves of about this many bytes.
    pub wave_bytes: usize,
    /// This much of the next wave is measured before a wave is converted.
    pub ahead_bytes: usize,
    /// Bytes that a block of threads takes at a time, a multiple of 16; less where a batch is small.
    pub chunk_bytes: usize,
    /// Bits of cache hints, as in kernels.cu: keep what is measured (1), drop what is converted (2), drop codes (4).
    pub hints: u32,
}

/// A few for every block of threads of a large GPU.
const ENOUGH_CHUNKS: usize = 2048;
/// Below this a chunk costs more than it takes to read.
const SMALLEST_CHUNK: usize = 16 << 10;

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            // Measured on an H200 with the linears of Qwen2.5-VL-3B; smaller chunks find more in the L2 cache, but their
            // own costs outweigh that.
            wave_bytes: 40 << 20,
            ahead_bytes: 40 << 20,
            chunk_bytes: 256 << 10,
            hints: 0,
        }
    }
}

impl Tuning {
    /// The same with chunks small enough for every block of threads to get some of a batch of `bytes`.
    pub(super) fn for_batch(self, bytes: usize) -> Tuning {
        let share = (bytes / ENOUGH_CHUNKS).next_power_of_two().max(SMALLEST_CHUNK);
        Tuning { chunk_bytes: self.chunk_bytes.min(share), ..self }
    }
}

/// What the schedule knows of a scale group.
pub(super) struct Planned {
    /// Index of its first weight in the batch, and the items of each weight.
    pub first_weight: usize,
    pub items: Vec<usize>,
    /// [`abi::ROWS`], [`abi::BLOCKS`], or [`abi::CONVERT`] for one scale.
    pub kind: u32,
    /// Whether chunks are measured; whether they are converted.
    pub measured: bool,
    pub converted: bool,
    pub bytes: usize,
}

/// Two lists of items: what is measured, and what is converted after that.
#[derive(Default)]
struct Wave {
    measured: Vec<Item>,
    converted: Vec<Item>,
    bytes: usize,
}

impl Wave {
    fn add(&mut self, group: &Planned) {
        self.bytes += group.bytes;
        let of_kind = |kind| {
            let weights = group.items.iter().enumerate();
            weights.flat_map(move |(weight, &items)| {
                (0..items).map(move |index| Item::new(kind, group.first_weight + weight, index))
            })
        };
        if group.kind != abi::CONVERT {
            self.converted.extend(of_kind(group.kind));
            return;
        }
        if group.measured {
            self.measured.extend(of_kind(abi::MEASURE));
        }
        if group.converted {
            self.converted.extend(of_kind(abi::CONVERT));
        }
    }
}

/// All items of a batch, in the order of their tickets. An item that waits stands behind all that it waits for.
pub(super) fn schedule(groups: &[Planned], tuning: &Tuning) -> Vec<Item> {
    let mut waves: Vec<Wave> = vec![];
    for group in groups {
        match waves.last_mut() {
            Some(wave) if wave.bytes + group.bytes <= tuning.wave_bytes => wave.add(group),
            _ => {
                let mut wave = Wave::default();
                wave.add(group);
                waves.push(wave);
            }
        }
    }
    let ahead = tuning.ahead_bytes / tuning.chunk_bytes.max(1);
    let mut items = vec![];
    let mut before: Vec<Item> = vec![];
    for wave in waves {
        let (first, rest) = wave.measured.split_at(ahead.min(wave.measured.len()));
        items.extend_from_slice(first);
        items.extend(before.into_iter().rev());
        items.extend_from_slice(rest);
        before = wave.converted;
    }
    items.extend(before.into_iter().rev());
    items
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn group(first_weight: usize, items: &[usize], kind: u32) -> Planned {
        let bytes = items.iter().sum::<usize>() * (16 << 10);
        Planned { first_weight, items: items.to_vec(), kind, measured: true, converted: true, bytes }
    }

    #[test]
    fn every_item_comes_once_and_none_before_what_it_waits_for() {
        let mut groups = vec![];
        let mut weights = 0;
        for number in 0..40usize {
            let items: Vec<usize> = (0..1 + number % 3).map(|i| (number * 37 + i * 11) % 700).collect();
            let kind = if number % 7 == 3 { abi::ROWS } else { abi::CONVERT };
            groups.push(group(weights, &items, kind));
            weights += items.len();
        }
        for (wave, ahead) in [(0, 0), (1 << 20, 4 << 20), (8 << 20, 8 << 20), (1 << 40, 1 << 40)] {
            let tuning = Tuning { wave_bytes: wave, ahead_bytes: ahead, chunk_bytes: 16 << 10, hints: 0 };
            let items = schedule(&groups, &tuning);
            let expected: usize = groups
                .iter()
                .map(|g| g.items.iter().sum::<usize>() * if g.kind == abi::ROWS { 1 } else { 2 })
                .sum();
            assert_eq!(items.len(), expected);
            let mut seen = HashSet::new();
            for item in &items {
                assert!(seen.insert((item.what, item.index)), "twice");
                let (kind, weight) = (item.what >> abi::KIND, (item.what & 0xfff_ffff) as usize);
                if kind == abi::CONVERT {
                    let group = groups.iter().rfind(|group| group.first_weight <= weight);
                    let group = group.expect("every weight has a group");
                    for (member, &count) in group.items.iter().enumerate() {
                        for index in 0..count {
                            let measure = Item::new(abi::MEASURE, group.first_weight + member, index);
                            assert!(seen.contains(&(measure.what, measure.index)));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_wave_is_converted_backwards_after_the_start_of_the_next() {
        let groups = [group(0, &[2], abi::CONVERT), group(1, &[3], abi::CONVERT)];
        let tuning = Tuning { wave_bytes: 0, ahead_bytes: 16 << 10, chunk_bytes: 16 << 10, hints: 0 };
        let short: Vec<(u32, u32, u32)> = schedule(&groups, &tuning)
            .iter()
            .map(|item| (item.what >> abi::KIND, item.what & 0xfff_ffff, item.index))
            .collect();
        let (m, c) = (abi::MEASURE, abi::CONVERT);
        let expected = [
            (m, 0, 0),
            (m, 0, 1),
            (m, 1, 0),
            (c, 0, 1),
            (c, 0, 0),
            (m, 1, 1),
            (m, 1, 2),
            (c, 1, 2),
            (c, 1, 1),
            (c, 1, 0),
        ];
        // The first wave has nobody before it, so its own start is split in vain.
        assert_eq!(short, expected);
    }
}
