//! Who waits for a scale group: the makers of blocks for the device or the CPU, and the device for room.
//!
//! A maker that waits for a group that was not given out demands it (see [`GroupQueue`]). So nobody can wait for ever: a
//! maker waits only for what was given out, which the device brings, or for what it has demanded, which is given out next;
//! and giving out waits for makers only while none of them waits for anything new.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::group_queue::{GroupQueue, GroupSize, Lost, NextBatch, Stage};

/// The stages of all groups; `T` is what encoding one needs.
pub(super) struct Stages<T> {
    queue: Mutex<GroupQueue<T>>,
    changed: Condvar,
}

impl<T> Stages<T> {
    /// For groups of these sizes, of which the device is to quantise those in `order` and the CPU all others; codes of
    /// `window` bytes are made ahead.
    pub fn new(sizes: Vec<GroupSize>, order: Vec<usize>, window: usize) -> Self {
        Stages { queue: Mutex::new(GroupQueue::new(sizes, order, window)), changed: Condvar::new() }
    }

    /// For makers: waits while the device is to bring `group`, and says whether it is the caller's to measure, because the
    /// device will not bring it.
    pub fn claim(&self, group: usize) -> bool {
        let mut queue = self.lock();
        if matches!(queue.stage(group), Stage::Waiting) {
            queue.demand(group);
            // The device has more to do, or less: perhaps it was the last one.
            self.changed.notify_all();
        }
        matches!(self.wait_while(queue, group, Stage::is_awaited).stage(group), Stage::Measuring)
    }

    /// For makers: what a claimed group needs for its codes, once those who measure it are done. Nothing when it failed.
    pub fn get(&self, group: usize) -> Option<Arc<T>> {
        let queue = self.wait_while(self.lock(), group, |stage| matches!(stage, Stage::Measuring));
        match queue.stage(group) {
            Stage::Ready(ready) => Some(Arc::clone(ready)),
            _ => None,
        }
    }

    /// For makers: the CPU has measured `group`; without a result it failed.
    pub fn settle(&self, group: usize, ready: Option<T>) {
        self.lock().settle(group, ready);
        self.changed.notify_all();
    }

    /// For makers: nobody needs `group` any more, so that memory does not grow with the number of groups.
    pub fn release(&self, group: usize) {
        self.lock().release(group);
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
        let mut queue = self.lock();
        loop {
            match queue.next(bytes) {
                NextBatch::Groups(groups) => return Some(groups),
                NextBatch::Never => return None,
                NextBatch::Later => {
                    queue = self.changed.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
                }
            }
        }
    }

    /// For the device: the groups that are expected to be needed after those given out, of about `bytes`.
    pub fn ahead(&self, bytes: usize) -> Vec<usize> {
        self.lock().ahead(bytes)
    }

    /// For the device: it brought `group`. Without a usable result, the CPU does it.
    pub fn deliver(&self, group: usize, ready: Option<T>) {
        let mut queue = self.lock();
        if queue.stage(group).is_awaited() {
            queue.deliver(group, ready);
            self.changed.notify_all();
        }
    }

    /// For the device: lets [`Stages::next`] give nothing until [`Stages::again`].
    pub fn halt(&self) {
        self.lock().halt();
        self.changed.notify_all();
    }

    /// For the device: what was given out and not delivered will be given out again, first of all: somebody may wait for it.
    pub fn again(&self) {
        self.lock().again();
    }

    /// Gives nothing out any more.
    pub fn end(&self) {
        self.lock().end();
        self.changed.notify_all();
    }

    /// Gives nothing out any more, and says which groups the device will not bring.
    pub fn give_up(&self, lost: Lost) -> Vec<usize> {
        let groups = self.lock().give_up(lost);
        self.changed.notify_all();
        groups
    }

    fn wait_while<'s>(
        &self,
        queue: MutexGuard<'s, GroupQueue<T>>,
        group: usize,
        condition: impl Fn(&Stage<T>) -> bool,
    ) -> MutexGuard<'s, GroupQueue<T>> {
        let queue = self.changed.wait_while(queue, |queue| condition(queue.stage(group)));
        queue.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn lock(&self) -> MutexGuard<'_, GroupQueue<T>> {
        self.queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Groups of 100 bytes that give 50 codes each.
    fn stages(groups: usize, window: usize) -> Stages<usize> {
        Stages::new(vec![GroupSize { source: 100, codes: 50 }; groups], (0..groups).collect(), window)
    }

    /// What a maker gets that claims `group` while the device brings it; the device's side runs in `device`.
    fn claimed(stages: &Stages<usize>, group: usize, device: impl FnOnce()) -> Option<usize> {
        std::thread::scope(|scope| {
            let maker = scope.spawn(move || (!stages.claim(group)).then(|| stages.get(group)));
            while matches!(stages.lock().stage(group), Stage::Waiting) {
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
            let stages: Stages<usize> = Stages::new(vec![GroupSize::default()], vec![], 0);
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
