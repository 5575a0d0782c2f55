//! Which scale groups go to the device next, and how much of what it made is still there.
//!
//! Groups are given out in the order in which the makers of blocks are expected to need them, as long as the codes that
//! were made ahead fit into a window. A maker that waits for a group that was not given out *demands* it, and demands come
//! first, whatever the window says. So nobody can wait for ever: a maker waits only for what was given out, which the device
//! brings, or for what it has demanded, which is given out next; and giving out waits for makers only while none of them
//! waits for anything new.
//!
//! The order of need is a guess, so demands alone could still let codes pile up: of groups whose members lie in different
//! files, one member is used long before the other. Beyond a limit, a demand is refused and the maker takes the group to the
//! CPU, which needs no memory for it. Memory is then bounded whatever the layout of the files.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// The size of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Bytes of its weights.
    pub source: usize,
    /// Bytes of the codes that will be needed.
    pub codes: usize,
}

/// Which groups were given out, and what there is of their codes.
pub(super) struct Feed {
    /// By group.
    sizes: Vec<Size>,
    /// The groups that the device is to quantise, in the order of need.
    order: Vec<usize>,
    /// Bytes of codes that are made ahead.
    window: usize,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// By group.
    stages: Vec<Stage>,
    /// All groups in `order` before this one were given out.
    next: usize,
    demanded: VecDeque<usize>,
    /// Bytes of codes of groups that were given out or demanded, and are still needed.
    outstanding: usize,
    halted: bool,
    ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Demanded,
    GivenOut,
    /// The device brought it, or it is the CPU's.
    Over,
}

impl Feed {
    /// For groups of these sizes, of which the device is to quantise those in `order`.
    pub fn new(sizes: Vec<Size>, order: Vec<usize>, window: usize) -> Self {
        let mut stages = vec![Stage::Over; sizes.len()];
        order.iter().for_each(|&group| stages[group] = Stage::Waiting);
        let state =
            State { stages, next: 0, demanded: VecDeque::new(), outstanding: 0, halted: false, ended: false };
        Feed { sizes, order, window, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next groups: what is demanded, then what fits into the window, together at most `bytes` unless one is larger.
    /// Waits until there is something. Nothing when all were given out, and after [`Feed::halt`] or [`Feed::end`].
    pub fn next(&self, bytes: usize) -> Option<Vec<usize>> {
        let mut state = self.lock();
        loop {
            if state.halted || state.ended {
                return None;
            }
            let batch = self.batch(&mut state, bytes);
            if !batch.is_empty() {
                return Some(batch);
            }
            if state.next == self.order.len() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    fn batch(&self, state: &mut State, bytes: usize) -> Vec<usize> {
        let (mut batch, mut filled) = (vec![], 0usize);
        let mut takes = |batch: &mut Vec<usize>, group: usize| {
            let fits = batch.is_empty() || filled + self.sizes[group].source <= bytes;
            if fits {
                filled += self.sizes[group].source;
                batch.push(group);
            }
            fits
        };
        while let Some(&group) = state.demanded.front()
            && takes(&mut batch, group)
        {
            state.demanded.pop_front();
            state.stages[group] = Stage::GivenOut;
        }
        // Small batches are slow: begin when there is room for a whole one, with two bytes of a weight for each code.
        let room = state.outstanding == 0 || state.outstanding + bytes / 2 <= self.window;
        if batch.is_empty() && !room {
            return batch;
        }
        while let Some(&group) = self.order.get(state.next) {
            if state.stages[group] == Stage::Waiting {
                let full = state.outstanding > 0 && state.outstanding + self.sizes[group].codes > self.window;
                if full || !takes(&mut batch, group) {
                    break;
                }
                state.stages[group] = Stage::GivenOut;
                state.outstanding += self.sizes[group].codes;
            }
            state.next += 1;
        }
        batch
    }

    /// The groups that are expected to be needed after those given out, of about `bytes`.
    pub fn ahead(&self, bytes: usize) -> Vec<usize> {
        let state = self.lock();
        let mut filled = 0;
        let rest = self.order[state.next..].iter().copied().filter(|&g| state.stages[g] == Stage::Waiting);
        rest.take_while(|&group| {
            filled += self.sizes[group].source;
            filled <= bytes
        })
        .collect()
    }

    /// Says that somebody waits for `group`. False when the device will not bring it: then it is the caller's.
    pub fn demand(&self, group: usize) -> bool {
        let mut state = self.lock();
        if state.stages[group] != Stage::Waiting {
            return true;
        }
        if state.ended || state.outstanding > self.limit() {
            state.stages[group] = Stage::Over;
            // Perhaps it was the last one.
            self.changed.notify_all();
            return false;
        }
        state.stages[group] = Stage::Demanded;
        state.outstanding += self.sizes[group].codes;
        state.demanded.push_back(group);
        self.changed.notify_all();
        true
    }

    /// Bytes of codes beyond which a demand is refused.
    fn limit(&self) -> usize {
        self.window.saturating_mul(2)
    }

    /// Whether the device is to quantise `group`, and nobody has asked for it yet.
    pub fn is_waiting(&self, group: usize) -> bool {
        self.lock().stages[group] == Stage::Waiting
    }

    /// The device brought `group`; `usable` says whether its codes are kept until they were used.
    pub fn delivered(&self, group: usize, usable: bool) {
        self.lock().stages[group] = Stage::Over;
        if !usable {
            self.freed(self.sizes[group].codes);
        }
    }

    /// So many bytes of codes are needed no more.
    pub fn freed(&self, bytes: usize) {
        let mut state = self.lock();
        state.outstanding = state.outstanding.saturating_sub(bytes);
        self.changed.notify_all();
    }

    /// Lets [`Feed::next`] give nothing until [`Feed::again`].
    pub fn halt(&self) {
        self.lock().halted = true;
        self.changed.notify_all();
    }

    /// What was given out and not delivered will be given out again, first of all: somebody may wait for it.
    pub fn again(&self) {
        let mut state = self.lock();
        state.halted = false;
        let lost = self.order.iter().filter(|&&group| state.stages[group] == Stage::GivenOut);
        let lost: Vec<usize> = lost.copied().collect();
        for group in lost.into_iter().rev() {
            state.stages[group] = Stage::Demanded;
            state.demanded.push_front(group);
        }
    }

    /// Gives nothing out any more.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Gives nothing out any more, and says which groups the device will not bring.
    pub fn give_up(&self) -> Vec<usize> {
        let mut state = self.lock();
        state.ended = true;
        let lost: Vec<usize> =
            self.order.iter().copied().filter(|&group| state.stages[group] != Stage::Over).collect();
        lost.iter().for_each(|&group| state.stages[group] = Stage::Over);
        lost
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of 100 bytes that give 50 codes each.
    fn feed(groups: usize, window: usize) -> Feed {
        Feed::new(vec![Size { source: 100, codes: 50 }; groups], (0..groups).collect(), window)
    }

    #[test]
    fn groups_are_given_out_in_order_while_their_codes_fit_into_the_window() {
        let feed = feed(7, 200);
        assert_eq!(feed.next(300), Some(vec![0, 1, 2]));
        feed.freed(50);
        feed.freed(50);
        // 50 bytes are there: a batch of 150 codes fits.
        assert_eq!(feed.next(300), Some(vec![3, 4, 5]));
        assert_eq!(feed.ahead(1000), [6]);
        std::thread::scope(|scope| {
            let next = scope.spawn(|| feed.next(300));
            feed.freed(200);
            assert_eq!(next.join().unwrap(), Some(vec![6]));
        });
        assert_eq!(feed.next(300), None);
    }

    #[test]
    fn a_window_of_nothing_lets_one_group_after_another_through() {
        let feed = feed(3, 0);
        for group in 0..3 {
            assert_eq!(feed.next(1000), Some(vec![group]));
            feed.delivered(group, false);
        }
        assert_eq!(feed.next(1000), None);
    }

    #[test]
    fn what_is_demanded_comes_first_and_beyond_the_limit_goes_to_the_cpu() {
        let feed = feed(9, 100);
        assert_eq!(feed.next(1000), Some(vec![0, 1]));
        for group in [5, 7, 8] {
            assert!(feed.demand(group) && feed.demand(group), "once is enough");
        }
        assert!(!feed.demand(6), "250 bytes of codes are more than twice the window");
        assert_eq!(feed.next(200), Some(vec![5, 7]));
        assert_eq!(feed.next(200), Some(vec![8]));
        feed.freed(250);
        assert_eq!(feed.next(1000), Some(vec![2, 3]), "5 to 8 were given out");
        feed.freed(100);
        assert_eq!(feed.next(1000), Some(vec![4]));
        assert_eq!(feed.next(1000), None);
    }

    #[test]
    fn what_a_failure_lost_is_given_out_again_unless_it_is_given_up() {
        let feed = feed(5, 1000);
        assert_eq!(feed.next(200), Some(vec![0, 1]));
        assert_eq!(feed.next(200), Some(vec![2, 3]));
        feed.delivered(0, true);
        feed.halt();
        assert_eq!(feed.next(200), None);
        feed.again();
        assert_eq!(feed.next(0), Some(vec![1]));
        assert!(feed.demand(2), "it will be brought");
        assert_eq!(feed.give_up(), [1, 2, 3, 4]);
        assert_eq!(feed.next(200), None);
    }

    #[test]
    fn the_end_wakes_whoever_waits() {
        let feed = feed(5, 50);
        assert_eq!(feed.next(200), Some(vec![0]));
        std::thread::scope(|scope| {
            let next = scope.spawn(|| feed.next(200));
            feed.end();
            assert_eq!(next.join().unwrap(), None);
        });
        assert!(!feed.demand(4));
    }
}
