//! How far each scale group is: who is to quantise it, the device or the CPU, and what came of it. One machine for all.
//!
//! ```text
//! Waiting ─► Demanded ─► GivenOut ─► Ready ─► Released
//!    │           └──── device ────┘    ▲
//!    └───────────► Measuring (CPU) ────┴─► Failed
//! ```
//!
//! Groups are given out to the device in the order in which the makers of blocks are expected to need them, as long as the
//! codes that were made ahead fit into a window. A maker that waits for a group that was not given out *demands* it, and
//! demands come first, whatever the window says. So nobody can wait for ever: a maker waits only for what was given out,
//! which the device brings, or for what it has demanded, which is given out next; and giving out waits for makers only while
//! none of them waits for anything new.
//!
//! The order of need is a guess, so demands alone could still let codes pile up: of groups whose members lie in different
//! files, one member is used long before the other. Beyond a limit, a demand is refused and the maker takes the group to the
//! CPU, which needs no memory for it. Memory is then bounded whatever the layout of the files.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// The size of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Bytes of its weights.
    pub source: usize,
    /// Bytes of the codes that will be needed.
    pub codes: usize,
}

/// The stages of all groups; `T` is what encoding one needs.
pub(super) struct Stages<T> {
    /// By group.
    sizes: Vec<Size>,
    /// The groups that the device is to quantise, in the order of need.
    order: Vec<usize>,
    /// Bytes of codes that are made ahead.
    window: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// By group.
    stages: Vec<Stage<T>>,
    /// All groups in `order` before this one were given out.
    next: usize,
    demanded: VecDeque<usize>,
    /// Bytes of codes of groups that were given out or demanded, and are still needed.
    outstanding: usize,
    halted: bool,
    ended: bool,
}

enum Stage<T> {
    /// The device is to bring it, and nobody has asked for it yet.
    Waiting,
    /// Somebody waits for it: the device gets it next.
    Demanded,
    /// The device has it.
    GivenOut,
    /// The CPU's: whoever needs it measures it.
    Measuring,
    Ready(Arc<T>),
    Failed,
    /// Nobody needs it any more.
    Released,
}

impl<T> Stage<T> {
    /// Whether the device will bring it.
    fn is_awaited(&self) -> bool {
        matches!(self, Stage::Waiting | Stage::Demanded | Stage::GivenOut)
    }
}

/// What becomes of the groups that the device does not bring any more.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lost {
    /// The CPU does them.
    ToCpu,
    /// The pass fails because of them.
    Failed,
}

impl<T> Stages<T> {
    /// For groups of these sizes, of which the device is to quantise those in `order` and the CPU all others.
    pub fn new(sizes: Vec<Size>, order: Vec<usize>, window: usize) -> Self {
        let mut stages: Vec<Stage<T>> = sizes.iter().map(|_| Stage::Measuring).collect();
        order.iter().for_each(|&group| stages[group] = Stage::Waiting);
        let state =
            State { stages, next: 0, demanded: VecDeque::new(), outstanding: 0, halted: false, ended: false };
        Stages { sizes, order, window, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// For makers: waits while the device is to bring `group`, and says whether it is the caller's to measure, because the
    /// device will not bring it.
    pub fn claim(&self, group: usize) -> bool {
        let mut state = self.lock();
        if matches!(state.stages[group], Stage::Waiting) {
            if state.ended || state.outstanding > self.limit() {
                state.stages[group] = Stage::Measuring;
            } else {
                state.stages[group] = Stage::Demanded;
                state.outstanding += self.sizes[group].codes;
                state.demanded.push_back(group);
            }
            // The device has more to do, or less: perhaps it was the last one.
            self.changed.notify_all();
        }
        matches!(self.wait_while(state, group, Stage::is_awaited).stages[group], Stage::Measuring)
    }

    /// For makers: what a claimed group needs for its codes, once those who measure it are done. Nothing when it failed.
    pub fn get(&self, group: usize) -> Option<Arc<T>> {
        let state = self.wait_while(self.lock(), group, |stage| matches!(stage, Stage::Measuring));
        match &state.stages[group] {
            Stage::Ready(ready) => Some(Arc::clone(ready)),
            _ => None,
        }
    }

    /// For makers: the CPU has measured `group`; without a result it failed.
    pub fn settle(&self, group: usize, ready: Option<T>) {
        self.lock().stages[group] = ready.map_or(Stage::Failed, |ready| Stage::Ready(Arc::new(ready)));
        self.changed.notify_all();
    }

    /// For makers: nobody needs `group` any more, so that memory does not grow with the number of groups.
    pub fn release(&self, group: usize) {
        self.lock().stages[group] = Stage::Released;
    }

    /// For makers: so many bytes of codes are needed no more.
    pub fn freed(&self, bytes: usize) {
        if bytes > 0 {
            self.lock().freed(bytes);
            self.changed.notify_all();
        }
    }

    /// For the device: the next groups: what is demanded, then what fits into the window, together at most `bytes` unless
    /// one is larger. Waits until there is something. Nothing when all were given out, and after [`Stages::halt`] or
    /// [`Stages::end`].
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

    fn batch(&self, state: &mut State<T>, bytes: usize) -> Vec<usize> {
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
            if matches!(state.stages[group], Stage::Waiting) {
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

    /// For the device: the groups that are expected to be needed after those given out, of about `bytes`.
    pub fn ahead(&self, bytes: usize) -> Vec<usize> {
        let state = self.lock();
        let mut filled = 0;
        let rest = self.order[state.next..].iter().copied();
        let rest = rest.filter(|&group| matches!(state.stages[group], Stage::Waiting));
        rest.take_while(|&group| {
            filled += self.sizes[group].source;
            filled <= bytes
        })
        .collect()
    }

    /// For the device: it brought `group`. Without a usable result, the CPU does it.
    pub fn deliver(&self, group: usize, ready: Option<T>) {
        let mut state = self.lock();
        if state.stages[group].is_awaited() {
            state.stages[group] = match ready {
                Some(ready) => Stage::Ready(Arc::new(ready)),
                None => {
                    state.freed(self.sizes[group].codes);
                    Stage::Measuring
                }
            };
            self.changed.notify_all();
        }
    }

    /// For the device: lets [`Stages::next`] give nothing until [`Stages::again`].
    pub fn halt(&self) {
        self.lock().halted = true;
        self.changed.notify_all();
    }

    /// For the device: what was given out and not delivered will be given out again, first of all: somebody may wait for it.
    pub fn again(&self) {
        let mut state = self.lock();
        state.halted = false;
        let lost = self.order.iter().rev().copied();
        let lost: Vec<usize> = lost.filter(|&g| matches!(state.stages[g], Stage::GivenOut)).collect();
        for group in lost {
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
    pub fn give_up(&self, lost: Lost) -> Vec<usize> {
        let mut state = self.lock();
        state.ended = true;
        let groups = self.order.iter().copied();
        let groups: Vec<usize> = groups.filter(|&group| state.stages[group].is_awaited()).collect();
        for &group in &groups {
            state.stages[group] = match lost {
                Lost::ToCpu => Stage::Measuring,
                Lost::Failed => Stage::Failed,
            };
        }
        self.changed.notify_all();
        groups
    }

    /// Bytes of codes beyond which a demand is refused.
    fn limit(&self) -> usize {
        self.window.saturating_mul(2)
    }

    fn wait_while<'s>(
        &self,
        state: MutexGuard<'s, State<T>>,
        group: usize,
        condition: impl Fn(&Stage<T>) -> bool,
    ) -> MutexGuard<'s, State<T>> {
        let state = self.changed.wait_while(state, |state| condition(&state.stages[group]));
        state.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<T> State<T> {
    fn freed(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of 100 bytes that give 50 codes each.
    fn stages(groups: usize, window: usize) -> Stages<usize> {
        Stages::new(vec![Size { source: 100, codes: 50 }; groups], (0..groups).collect(), window)
    }

    /// What a maker gets that claims `group` while the device brings it; the device's side runs in `device`.
    fn claimed(stages: &Stages<usize>, group: usize, device: impl FnOnce()) -> Option<usize> {
        std::thread::scope(|scope| {
            let maker = scope.spawn(move || (!stages.claim(group)).then(|| stages.get(group)));
            while matches!(stages.lock().stages[group], Stage::Waiting) {
                std::thread::yield_now();
            }
            device();
            maker.join().unwrap().flatten().map(|ready| *ready)
        })
    }

    #[test]
    fn groups_are_given_out_in_order_while_their_codes_fit_into_the_window() {
        let stages = stages(7, 200);
        assert_eq!(stages.next(300), Some(vec![0, 1, 2]));
        stages.freed(50);
        stages.freed(50);
        // 50 bytes are there: a batch of 150 codes fits.
        assert_eq!(stages.next(300), Some(vec![3, 4, 5]));
        assert_eq!(stages.ahead(1000), [6]);
        std::thread::scope(|scope| {
            let next = scope.spawn(|| stages.next(300));
            stages.freed(200);
            assert_eq!(next.join().unwrap(), Some(vec![6]));
        });
        assert_eq!(stages.next(300), None);
    }

    #[test]
    fn a_window_of_nothing_lets_one_group_after_another_through() {
        let stages = stages(3, 0);
        for group in 0..3 {
            assert_eq!(stages.next(1000), Some(vec![group]));
            stages.deliver(group, None);
            assert!(stages.claim(group), "what is of no use is the CPU's");
        }
        assert_eq!(stages.next(1000), None);
    }

    #[test]
    fn what_is_demanded_comes_first_and_beyond_the_limit_goes_to_the_cpu() {
        let stages = stages(9, 100);
        assert_eq!(stages.next(1000), Some(vec![0, 1]));
        for group in [5, 7, 8] {
            let device = || {
                assert_eq!(stages.next(200), Some(vec![group]));
                stages.deliver(group, Some(group));
            };
            assert_eq!(claimed(&stages, group, device), Some(group));
            assert!(!stages.claim(group), "once is enough");
        }
        assert!(stages.claim(6), "250 bytes of codes are more than twice the window");
        stages.freed(250);
        assert_eq!(stages.next(1000), Some(vec![2, 3]), "5 to 8 are no longer the device's");
        stages.freed(100);
        assert_eq!(stages.next(1000), Some(vec![4]));
        assert_eq!(stages.next(1000), None);
    }

    #[test]
    fn what_a_failure_lost_is_given_out_again_unless_it_is_given_up() {
        for lost in [Lost::ToCpu, Lost::Failed] {
            let stages = stages(5, 1000);
            assert_eq!(stages.next(200), Some(vec![0, 1]));
            assert_eq!(stages.next(200), Some(vec![2, 3]));
            stages.deliver(0, Some(7));
            stages.halt();
            assert_eq!(stages.next(200), None);
            stages.again();
            assert_eq!(stages.next(0), Some(vec![1]));
            assert_eq!(stages.give_up(lost), [1, 2, 3, 4]);
            assert_eq!(stages.next(200), None);
            stages.deliver(1, Some(8));
            for group in 1..5 {
                assert_eq!(stages.claim(group), matches!(lost, Lost::ToCpu));
            }
            assert_eq!(stages.get(0).as_deref(), Some(&7), "what was brought stays");
        }
    }

    #[test]
    fn a_maker_that_waits_for_the_device_goes_on_when_it_gives_up() {
        let stages = stages(2, 1000);
        assert_eq!(claimed(&stages, 1, || drop(stages.give_up(Lost::Failed))), None);
    }

    #[test]
    fn who_waits_for_those_who_measure_gets_what_they_found() {
        for found in [Some(3), None] {
            let stages: Stages<usize> = Stages::new(vec![Size::default()], vec![], 0);
            assert!(stages.claim(0));
            std::thread::scope(|scope| {
                let other = scope.spawn(|| stages.get(0));
                stages.settle(0, found);
                assert_eq!(other.join().unwrap().as_deref(), found.as_ref());
            });
            stages.release(0);
            assert_eq!(stages.get(0), None);
        }
    }

    #[test]
    fn the_end_wakes_whoever_waits() {
        let stages = stages(5, 50);
        assert_eq!(stages.next(200), Some(vec![0]));
        std::thread::scope(|scope| {
            let next = scope.spawn(|| stages.next(200));
            stages.end();
            assert_eq!(next.join().unwrap(), None);
        });
        assert!(stages.claim(4));
    }
}
