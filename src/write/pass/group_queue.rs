//! How far each scale group is, and which one the device gets next. One machine for all.
//!
//! ```text
//! Waiting ─► Demanded ─► GivenOut ─► Ready ─► Released
//!    │           └──── device ────┘    ▲
//!    └───────────► Measuring (CPU) ────┴─► Failed
//! ```
//!
//! Groups are given out to the device in the order in which the makers of blocks are expected to need them, as long as the
//! codes that were made ahead fit into a window. A group that somebody waits for is *demanded*, and demands come first,
//! whatever the window says.
//!
//! The order of need is a guess, so demands alone could still let codes pile up: of groups whose members lie in different
//! files, one member is used long before the other. Beyond a limit, a demand is refused and the maker takes the group to the
//! CPU, which needs no memory for it. Memory is then bounded whatever the layout of the files.

use std::collections::VecDeque;
use std::sync::Arc;

/// The size of a group.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupSize {
    /// Bytes of its weights.
    pub source: usize,
    /// Bytes of the codes that will be needed.
    pub codes: usize,
}

/// How far a group is; `T` is what encoding one needs.
pub(super) enum Stage<T> {
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
    pub fn is_awaited(&self) -> bool {
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

/// What the device is to do next.
pub(super) enum NextBatch {
    /// To quantise these groups.
    Groups(Vec<usize>),
    /// To wait: there is no room for more codes.
    Later,
    /// Nothing any more.
    Never,
}

/// All groups, and those that the device is still to get.
pub(super) struct GroupQueue<T> {
    /// By group.
    sizes: Vec<GroupSize>,
    /// The groups that the device is to quantise, in the order of need.
    order: Vec<usize>,
    /// Bytes of codes that are made ahead.
    window: usize,
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

impl<T> GroupQueue<T> {
    /// For groups of these sizes, of which the device is to quantise those in `order` and the CPU all others.
    pub fn new(sizes: Vec<GroupSize>, order: Vec<usize>, window: usize) -> Self {
        let mut stages: Vec<Stage<T>> = sizes.iter().map(|_| Stage::Measuring).collect();
        order.iter().for_each(|&group| stages[group] = Stage::Waiting);
        GroupQueue {
            sizes,
            order,
            window,
            stages,
            next: 0,
            demanded: VecDeque::new(),
            outstanding: 0,
            halted: false,
            ended: false,
        }
    }

    pub fn stage(&self, group: usize) -> &Stage<T> {
        &self.stages[group]
    }

    /// Puts `group`, which nobody has asked for, first; beyond the limit, and after the end, it becomes the CPU's.
    pub fn demand(&mut self, group: usize) {
        if self.ended || self.outstanding > self.limit() {
            self.stages[group] = Stage::Measuring;
        } else {
            self.stages[group] = Stage::Demanded;
            self.outstanding += self.sizes[group].codes;
            self.demanded.push_back(group);
        }
    }

    /// The CPU has measured `group`; without a result it failed.
    pub fn settle(&mut self, group: usize, ready: Option<T>) {
        self.stages[group] = ready.map_or(Stage::Failed, |ready| Stage::Ready(Arc::new(ready)));
    }

    /// Nobody needs `group` any more.
    pub fn release(&mut self, group: usize) {
        self.stages[group] = Stage::Released;
    }

    /// So many bytes of codes are needed no more.
    pub fn freed(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
    }

    /// What is demanded, then what fits into the window, together at most `bytes` unless one is larger.
    pub fn next(&mut self, bytes: usize) -> NextBatch {
        if self.halted || self.ended {
            return NextBatch::Never;
        }
        let batch = self.batch(bytes);
        match () {
            () if !batch.is_empty() => NextBatch::Groups(batch),
            () if self.next == self.order.len() => NextBatch::Never,
            () => NextBatch::Later,
        }
    }

    fn batch(&mut self, bytes: usize) -> Vec<usize> {
        let (mut batch, mut filled) = (vec![], 0usize);
        let sizes = &self.sizes;
        let mut takes = |batch: &mut Vec<usize>, group: usize| {
            let fits = batch.is_empty() || filled + sizes[group].source <= bytes;
            if fits {
                filled += sizes[group].source;
                batch.push(group);
            }
            fits
        };
        while let Some(&group) = self.demanded.front()
            && takes(&mut batch, group)
        {
            self.demanded.pop_front();
            self.stages[group] = Stage::GivenOut;
        }
        // Small batches are slow: begin when there is room for a whole one, with two bytes of a weight for each code.
        let room = self.outstanding == 0 || self.outstanding + bytes / 2 <= self.window;
        if batch.is_empty() && !room {
            return batch;
        }
        while let Some(&group) = self.order.get(self.next) {
            if matches!(self.stages[group], Stage::Waiting) {
                let full = self.outstanding > 0 && self.outstanding + sizes[group].codes > self.window;
                if full || !takes(&mut batch, group) {
                    break;
                }
                self.stages[group] = Stage::GivenOut;
                self.outstanding += sizes[group].codes;
            }
            self.next += 1;
        }
        batch
    }

    /// The groups that are expected to be needed after those given out, of about `bytes`.
    pub fn ahead(&self, bytes: usize) -> Vec<usize> {
        let mut filled = 0;
        let rest = self.order[self.next..].iter().copied();
        let rest = rest.filter(|&group| matches!(self.stages[group], Stage::Waiting));
        rest.take_while(|&group| {
            filled += self.sizes[group].source;
            filled <= bytes
        })
        .collect()
    }

    /// The device brought `group`, which is awaited. Without a usable result, the CPU does it.
    pub fn deliver(&mut self, group: usize, ready: Option<T>) {
        self.stages[group] = match ready {
            Some(ready) => Stage::Ready(Arc::new(ready)),
            None => {
                self.freed(self.sizes[group].codes);
                Stage::Measuring
            }
        };
    }

    /// Gives nothing out until [`GroupQueue::again`].
    pub fn halt(&mut self) {
        self.halted = true;
    }

    /// What was given out and not delivered will be given out again, first of all: somebody may wait for it.
    pub fn again(&mut self) {
        self.halted = false;
        let lost = self.order.iter().rev().copied();
        let lost: Vec<usize> = lost.filter(|&g| matches!(self.stages[g], Stage::GivenOut)).collect();
        for group in lost {
            self.stages[group] = Stage::Demanded;
            self.demanded.push_front(group);
        }
    }

    /// Gives nothing out any more.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Gives nothing out any more, and says which groups the device will not bring.
    pub fn give_up(&mut self, lost: Lost) -> Vec<usize> {
        self.ended = true;
        let groups = self.order.iter().copied();
        let groups: Vec<usize> = groups.filter(|&group| self.stages[group].is_awaited()).collect();
        for &group in &groups {
            self.stages[group] = match lost {
                Lost::ToCpu => Stage::Measuring,
                Lost::Failed => Stage::Failed,
            };
        }
        groups
    }

    /// Bytes of codes beyond which a demand is refused.
    fn limit(&self) -> usize {
        self.window.saturating_mul(2)
    }
}
