//! Where tokens wait for a worker: a worker's own ring, what others steal from it, and the queue of nobody.
//!
//! ```text
//!            push (tail)              pop (head)
//!  worker ──────────────► RunQueue ──────────────► worker
//!                            │  ▲
//!              half, if full │  │ a batch
//!                            ▼  │
//!  anybody ─────────────► Global ◄── Stealer: others take up to half of a ring
//! ```
//!
//! The ring is crossbeam's Chase-Lev deque in FIFO flavour, the global queue its `Injector`; both are lock-free, with
//! orderings of their own. Under loom they are locked lists with the same answers: what the models explore is who is
//! woken, not crossbeam. Roles are types: a [`RunQueue`] is its worker's, a [`Stealer`] everybody's.

use crate::limits::RING_SERVICES_MAX;
use std::fmt;

#[cfg(not(loom))]
use crossbeam::deque::{Injector, Steal, Stealer as Thief, Worker};
#[cfg(loom)]
use locked::{Injector, Steal, Stealer as Thief, Worker};

/// What a look into another's queue found.
#[derive(Debug, PartialEq, Eq)]
pub enum Stolen<T> {
    /// The oldest, with more of them in the taker's own ring.
    Task(T),
    /// Nothing is there.
    Empty,
    /// Others took at the same moment: something may be left, look again before you sleep.
    Busy,
}

impl<T> Stolen<T> {
    /// What was taken.
    pub fn taken(self) -> Option<T> {
        match self {
            Self::Task(task) => Some(task),
            Self::Empty | Self::Busy => None,
        }
    }
}

impl<T> From<Steal<T>> for Stolen<T> {
    fn from(steal: Steal<T>) -> Self {
        match steal {
            Steal::Success(task) => Self::Task(task),
            Steal::Empty => Self::Empty,
            Steal::Retry => Self::Busy,
        }
    }
}

/// A worker's own ring of at most `RING_SERVICES_MAX`, first in first out.
pub struct RunQueue<T> {
    ring: Worker<T>,
}

impl<T> RunQueue<T> {
    /// An empty ring.
    pub fn new() -> Self {
        Self { ring: Worker::new_fifo() }
    }

    /// Adds at the tail. A full ring moves half of itself, the oldest, to `global` first and says true: that is work for
    /// others.
    pub fn push(&self, task: T, global: &Global<T>) -> bool {
        let is_full = self.ring.len() >= RING_SERVICES_MAX;
        if is_full {
            self.spill(global);
        }
        self.ring.push(task);
        is_full
    }

    #[cold]
    fn spill(&self, global: &Global<T>) {
        for _ in 0..RING_SERVICES_MAX / 2 {
            let Some(task) = self.ring.pop() else { return };
            global.push(task);
        }
    }

    /// Takes the oldest.
    pub fn pop(&self) -> Option<T> {
        self.ring.pop()
    }

    /// How many wait; others may take at any moment.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Others' access to this ring.
    pub fn stealer(&self) -> Stealer<T> {
        Stealer { ring: self.ring.stealer() }
    }
}

impl<T> Default for RunQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for RunQueue<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RunQueue({})", self.len())
    }
}

/// Another worker's ring.
pub struct Stealer<T> {
    ring: Thief<T>,
}

impl<T> Stealer<T> {
    /// Moves up to half of it to `own` and takes the first.
    pub fn steal(&self, own: &RunQueue<T>) -> Stolen<T> {
        self.ring.steal_batch_and_pop(&own.ring).into()
    }

    /// Whether nothing waits there; for the look after a sleep is announced.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

impl<T> Clone for Stealer<T> {
    fn clone(&self) -> Self {
        Self { ring: self.ring.clone() }
    }
}

impl<T> fmt::Debug for Stealer<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Stealer")
    }
}

/// The queue that every thread may add to and every worker takes from. As long as the services that exist.
pub struct Global<T> {
    tasks: Injector<T>,
}

impl<T> Global<T> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self { tasks: Injector::new() }
    }

    /// Adds at the tail.
    pub fn push(&self, task: T) {
        self.tasks.push(task);
    }

    /// Takes the oldest and moves some of the next to `own`.
    pub fn pop_into(&self, own: &RunQueue<T>) -> Stolen<T> {
        self.tasks.steal_batch_and_pop(&own.ring).into()
    }

    /// Takes the oldest alone.
    pub fn pop(&self) -> Stolen<T> {
        self.tasks.steal().into()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}

impl<T> Default for Global<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Global<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Global({})", self.len())
    }
}

/// What stands in for crossbeam's queues under loom.
#[cfg(loom)]
mod locked {
    use crate::sync::Mutex;
    use std::collections::VecDeque;
    use std::sync::Arc;

    type List<T> = Arc<Mutex<VecDeque<T>>>;

    #[derive(Debug)]
    pub(super) enum Steal<T> {
        Success(T),
        Empty,
        #[expect(dead_code, reason = "a lock never fails")]
        Retry,
    }

    pub(super) struct Worker<T>(List<T>);
    pub(super) struct Stealer<T>(List<T>);
    pub(super) struct Injector<T>(List<T>);

    fn take_half<T>(from: &List<T>, to: &Worker<T>) -> Steal<T> {
        let mut from = from.lock();
        let Some(first) = from.pop_front() else { return Steal::Empty };
        let half = from.len() / 2;
        let batch: Vec<T> = from.drain(..half).collect();
        drop(from);
        if !batch.is_empty() {
            to.0.lock().extend(batch);
        }
        Steal::Success(first)
    }

    impl<T> Worker<T> {
        pub(super) fn new_fifo() -> Self {
            Self(Arc::new(Mutex::new(VecDeque::new())))
        }

        pub(super) fn push(&self, task: T) {
            self.0.lock().push_back(task);
        }

        pub(super) fn pop(&self) -> Option<T> {
            self.0.lock().pop_front()
        }

        pub(super) fn len(&self) -> usize {
            self.0.lock().len()
        }

        pub(super) fn is_empty(&self) -> bool {
            self.len() == 0
        }

        pub(super) fn stealer(&self) -> Stealer<T> {
            Stealer(Arc::clone(&self.0))
        }
    }

    impl<T> Stealer<T> {
        pub(super) fn steal_batch_and_pop(&self, to: &Worker<T>) -> Steal<T> {
            take_half(&self.0, to)
        }

        pub(super) fn is_empty(&self) -> bool {
            self.0.lock().is_empty()
        }
    }

    impl<T> Clone for Stealer<T> {
        fn clone(&self) -> Self {
            Self(Arc::clone(&self.0))
        }
    }

    impl<T> Injector<T> {
        pub(super) fn new() -> Self {
            Self(Arc::new(Mutex::new(VecDeque::new())))
        }

        pub(super) fn push(&self, task: T) {
            self.0.lock().push_back(task);
        }

        pub(super) fn steal(&self) -> Steal<T> {
            self.0.lock().pop_front().map_or(Steal::Empty, Steal::Success)
        }

        pub(super) fn steal_batch_and_pop(&self, to: &Worker<T>) -> Steal<T> {
            take_half(&self.0, to)
        }

        pub(super) fn len(&self) -> usize {
            self.0.lock().len()
        }

        pub(super) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::Instant;
    use crate::sync::Crew;
    use crate::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    #[test]
    fn a_full_ring_spills_its_oldest_half() {
        let (own, global) = (RunQueue::new(), Global::new());
        for task in 0..RING_SERVICES_MAX {
            assert!(!own.push(task, &global));
        }
        assert!(own.push(RING_SERVICES_MAX, &global));
        assert_eq!((own.len(), global.len()), (RING_SERVICES_MAX / 2 + 1, RING_SERVICES_MAX / 2));
        assert_eq!(global.pop(), Stolen::Task(0));
        assert_eq!(own.pop(), Some(RING_SERVICES_MAX / 2));
    }

    #[test]
    fn a_thief_takes_the_oldest() {
        let (own, other, global) = (RunQueue::new(), RunQueue::new(), Global::new());
        let stealer = own.stealer();
        assert_eq!(stealer.steal(&other), Stolen::Empty);
        for task in 0..8 {
            own.push(task, &global);
        }
        assert_eq!(stealer.clone().steal(&other), Stolen::Task(0));
        assert_eq!(own.len() + other.len(), 7);
        assert_eq!(other.pop(), Some(1));
        while other.pop().is_some() {}
        global.push(9);
        assert_eq!(global.pop_into(&other), Stolen::Task(9));
        assert!(global.is_empty() && !stealer.is_empty());
        assert_eq!(global.pop_into(&other), Stolen::Empty);
    }

    const WORKERS: usize = 3;
    const ROOTS: usize = 40;
    /// Tasks under one root: a binary tree of this depth.
    const DEPTH: u32 = 9;
    const TASKS: usize = ROOTS << (DEPTH + 1);
    /// A test that waits longer than this has lost a ring.
    const STALL: std::time::Duration = std::time::Duration::from_secs(20);

    struct Office {
        global: Global<u64>,
        stealers: Vec<Stealer<u64>>,
        crew: Crew,
        done: Vec<AtomicU32>,
        left: AtomicUsize,
    }

    impl Office {
        /// A task from elsewhere, and whether somebody else's hand was in the way.
        fn search(&self, own: &RunQueue<u64>) -> Stolen<u64> {
            let mut result = self.global.pop_into(own);
            for stealer in &self.stealers {
                if result == Stolen::Empty {
                    result = stealer.steal(own);
                }
            }
            result
        }

        fn has_work(&self) -> bool {
            !self.global.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty())
        }

        /// Marks `root << 16 | node` done and adds its two children.
        fn run(&self, task: u64, own: &RunQueue<u64>) {
            let (root, node) = ((task >> 16) as usize, task & 0xffff);
            self.done[root << (DEPTH + 1) | node as usize].fetch_add(1, Ordering::Relaxed);
            if node < 1 << DEPTH {
                for child in [2 * node, 2 * node + 1] {
                    own.push((root as u64) << 16 | child, &self.global);
                }
                self.crew.ring();
            }
            if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                (0..WORKERS).for_each(|worker| self.crew.ring_worker(worker));
            }
        }

        fn work(&self, worker: usize, own: &RunQueue<u64>) {
            let mut is_searching = false;
            while self.left.load(Ordering::Relaxed) > 0 {
                if let Some(task) = own.pop() {
                    self.run(task, own);
                    continue;
                }
                is_searching = is_searching || self.crew.start_search();
                match self.search(own) {
                    Stolen::Task(task) => {
                        if std::mem::take(&mut is_searching) {
                            self.crew.end_search(|| self.has_work());
                        }
                        self.run(task, own);
                    }
                    Stolen::Busy => {}
                    Stolen::Empty => {
                        self.crew.prepare(worker, is_searching);
                        if self.has_work() || self.left.load(Ordering::Relaxed) == 0 {
                            self.crew.cancel(worker);
                        } else {
                            let start = Instant::now();
                            self.crew.park(worker, Some(STALL));
                            let is_stalled = Instant::now() - start >= STALL && self.has_work();
                            assert!(!is_stalled, "a ring is lost");
                        }
                        is_searching = true;
                    }
                }
            }
        }
    }

    /// Tasks that make tasks, on workers that steal and sleep: each runs once, and nobody oversleeps.
    #[test]
    fn workers_run_every_task_once() {
        let rings: Vec<RunQueue<u64>> = (0..WORKERS).map(|_| RunQueue::new()).collect();
        let office = Office {
            global: Global::new(),
            stealers: rings.iter().map(RunQueue::stealer).collect(),
            crew: Crew::new(WORKERS),
            done: (0..TASKS).map(|_| AtomicU32::new(0)).collect(),
            left: AtomicUsize::new(ROOTS * ((2 << DEPTH) - 1)),
        };
        let office = &office;
        std::thread::scope(|threads| {
            for (worker, own) in rings.into_iter().enumerate() {
                threads.spawn(move || office.work(worker, &own));
            }
            for root in 0..ROOTS as u64 {
                office.global.push(root << 16 | 1);
                office.crew.ring();
                std::thread::yield_now();
            }
        });
        for (number, done) in office.done.iter().enumerate() {
            let is_node = number % (2 << DEPTH) > 0;
            assert_eq!(done.load(Ordering::Relaxed), u32::from(is_node), "task {number:x}");
        }
    }
}
