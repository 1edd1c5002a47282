//! The sleep/wake protocol, argued once.
//!
//! A sleeper must not sleep while work lies in a queue, and a producer must not make a system call per message. So
//! the producer looks at a flag, and rings only if somebody sleeps. Between "is there work" and "I sleep" lies a race;
//! this is how it is closed:
//!
//! ```text
//! sleeper                                   producer
//!   S1  flag := asleep                        R1  publish the work
//!   S2  fence(SeqCst)           [D1]          R2  fence(SeqCst)            [D1]
//!   S3  look at every queue again             R3  look at the flag
//!   S4  nothing: sleep; else flag := awake    R4  asleep: flag := awake, ring once
//! ```
//!
//! The two fences are in one total order. If R2 comes first, S3 sees the work published at R1. If S2 comes first, R3
//! sees the flag set at S1. So either the sleeper finds the work or the producer rings: never neither. Without
//! either fence both may read the past: a store may still wait in its CPU while the following load is done.
//!
//! [`Doorbell`] is this for one sleeper: the I/O thread in its poller, or a host's loop. At R4 the producer may do the
//! sleeper's work in its place, under a lock that the sleeper holds while awake; then the flag stays, and whoever finds
//! the lock taken rings. [`Crew`] is this for the
//! workers of a node, of whom at most one is woken at a time:
//!
//! ```text
//!            start_search            prepare               park
//!  running ──────────────► searching ────────► announced ──────► asleep
//!        ◄──────────────────────  ▲                │               │
//!                end_search       └────────────────┴───────────────┘
//!                                   cancel: it found work; ring or timeout
//! ```
//!
//! Its flag is one word, `asleep << 16 | searching`. R3 rings only if nobody searches and somebody sleeps: a searcher
//! that finds nothing goes through S1 to S3 itself, so it counts as awake; one that finds work as the last searcher
//! does so too, and rings for the next if there is more. A worker that is rung counts as searching from then on, so that a burst wakes one thread.
//!
//! Bells are sticky: a ring that comes before the sleep makes the next sleep end at once, so a ring that overtakes S4
//! costs one empty look at the queues, never a lost one.
//!
//! | label | pair |
//! |---|---|
//! | D1 | announce, fence, recheck ‖ publish, fence, look |

use super::atomic::{AtomicBool, AtomicU32, Ordering};
use super::shim::fence;
use super::{CachePadded, Condvar, Mutex};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Ends somebody's sleep: a condition variable, a poller's notifier.
///
/// A ring before the sleep must make that sleep end at once.
pub trait Bell: Send + Sync {
    /// Wakes the sleeper; on any thread.
    fn ring(&self);

    /// Does the sleeper's work in its place, all of it that was published before, and lets it sleep on. False: it must
    /// be woken.
    fn stand_in(&self) -> bool {
        false
    }
}

/// The flag and the bell of one sleeper; see the module's text.
pub struct Doorbell {
    /// Set by the sleeper, cleared by it and by the producer that rings.
    asleep: CachePadded<AtomicBool>,
    bell: Box<dyn Bell>,
}

impl Doorbell {
    /// The sleeper is awake; `bell` ends its sleeps.
    pub fn new(bell: impl Bell + 'static) -> Self {
        Self { asleep: CachePadded::new(AtomicBool::new(false)), bell: Box::new(bell) }
    }

    /// Sleeper: announces its sleep. It must look at all its queues after this, then sleep or not, then
    /// [`Doorbell::cancel`].
    pub fn prepare(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // [D1] S2, with R2 in `ring`.
        fence(Ordering::SeqCst);
    }

    /// Sleeper: awake again, whether it slept or found work.
    pub fn cancel(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Sleeper: sleeps in `wait` unless `has_work` says otherwise once the sleep is announced.
    pub fn sleep<R>(&self, has_work: impl FnOnce() -> bool, wait: impl FnOnce() -> R) -> Option<R> {
        self.prepare();
        let slept = if has_work() { None } else { Some(wait()) };
        self.cancel();
        slept
    }

    /// Producer: after the work is published. Rings if the sleeper sleeps, and says so; of many only one rings.
    #[inline]
    pub fn ring(&self) -> bool {
        // [D1] R2, with S2 in `prepare`.
        fence(Ordering::SeqCst);
        if !self.asleep.load(Ordering::Relaxed) {
            return false;
        }
        self.ring_sleeper()
    }

    #[cold]
    fn ring_sleeper(&self) -> bool {
        // The flag stays: who publishes from now on comes here too.
        if self.bell.stand_in() {
            return false;
        }
        // Not a swap: a ringer that comes late, in the sleeper's next round, writes nothing.
        let claimed = self.asleep.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed);
        if claimed.is_ok() {
            self.bell.ring();
        }
        claimed.is_ok()
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Doorbell(asleep {})", self.asleep.load(Ordering::Relaxed))
    }
}

/// Where one thread sleeps until it is rung. Sticky: a ring before the sleep ends it at once.
#[derive(Debug)]
pub struct Parker {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Parker {
    /// Not rung.
    pub fn new() -> Self {
        Self { rung: Mutex::new(false), changed: Condvar::new() }
    }

    /// Sleeps until rung or until `timeout` has passed (none = for ever), and says whether it was rung.
    pub fn park(&self, timeout: Option<Duration>) -> bool {
        let mut rung = self.rung.lock();
        if !*rung {
            rung = self.changed.wait(rung, timeout);
        }
        std::mem::take(&mut *rung)
    }
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl Bell for Parker {
    fn ring(&self) {
        *self.rung.lock() = true;
        self.changed.notify_one();
    }
}

impl Bell for Arc<Parker> {
    fn ring(&self) {
        Parker::ring(self);
    }
}

/// The sleepers of a group of workers, of whom a producer wakes at most one; see the module's text.
#[derive(Debug)]
pub struct Crew {
    /// `asleep << 16 | searching`. `asleep` changes under the lock of `asleep` only.
    counts: CachePadded<AtomicU32>,
    /// Who announced a sleep, the latest last: it is woken first, its caches are warm.
    asleep: Mutex<Vec<u16>>,
    parkers: Box<[CachePadded<Parker>]>,
}

const SEARCHING: u32 = 1;
const ASLEEP: u32 = 1 << 16;

const fn searching(counts: u32) -> u32 {
    counts & (ASLEEP - 1)
}

const fn asleep(counts: u32) -> u32 {
    counts >> 16
}

impl Crew {
    /// A crew of `workers`, all running.
    ///
    /// # Panics
    /// With 65,536 workers or more.
    pub fn new(workers: usize) -> Self {
        assert!(workers < usize::from(u16::MAX), "too many workers");
        let parkers = (0..workers).map(|_| CachePadded::new(Parker::new())).collect();
        let asleep = Mutex::new(Vec::with_capacity(workers));
        Self { counts: CachePadded::new(AtomicU32::new(0)), asleep, parkers }
    }

    /// Worker without work: whether it may look into the others' queues. At most half of the crew searches at a time.
    pub fn start_search(&self) -> bool {
        let allowed = 2 * searching(self.counts.load(Ordering::Relaxed)) < self.parkers.len() as u32;
        if allowed {
            self.counts.fetch_add(SEARCHING, Ordering::Relaxed);
        }
        allowed
    }

    /// Searcher that found work. Whoever published more while it searched relied on it: so the last one looks once more,
    /// and wakes the next sleeper if `has_more`.
    pub fn end_search(&self, has_more: impl FnOnce() -> bool) {
        let before = self.counts.fetch_sub(SEARCHING, Ordering::Relaxed);
        if searching(before) > 1 {
            return;
        }
        // [D1] S2, with R2 in `ring`: the end of the last search is an announcement too.
        fence(Ordering::SeqCst);
        if has_more() {
            self.ring();
        }
    }

    /// Worker: announces its sleep and ends its search if it is one. It must look at all queues after this, then
    /// [`Crew::cancel`] or [`Crew::park`].
    pub fn prepare(&self, worker: usize, is_searching: bool) {
        let mut list = self.asleep.lock();
        let ends = if is_searching { SEARCHING } else { 0 };
        self.counts.fetch_add(ASLEEP - ends, Ordering::Relaxed);
        list.push(worker as u16);
        drop(list);
        // [D1] S2, with R2 in `ring`.
        fence(Ordering::SeqCst);
    }

    /// Worker that announced its sleep and found work instead: it counts as searching, as if it had been rung. True:
    /// it was rung meanwhile.
    pub fn cancel(&self, worker: usize) -> bool {
        let mut list = self.asleep.lock();
        let place = list.iter().position(|&other| usize::from(other) == worker);
        if let Some(place) = place {
            list.remove(place);
            self.counts.fetch_sub(ASLEEP - SEARCHING, Ordering::Relaxed);
        }
        place.is_none()
    }

    /// Worker that announced its sleep and found nothing: sleeps until it is rung or `timeout` has passed (none = for
    /// ever), and counts as searching then. True: it was rung.
    pub fn park(&self, worker: usize, timeout: Option<Duration>) -> bool {
        self.parkers[worker].park(timeout);
        self.cancel(worker)
    }

    /// Producer: after the work is published. Wakes one sleeper if there is one and nobody searches; says so.
    #[inline]
    pub fn ring(&self) -> bool {
        // [D1] R2, with S2 in `prepare`.
        fence(Ordering::SeqCst);
        let counts = self.counts.load(Ordering::Relaxed);
        if asleep(counts) == 0 || searching(counts) > 0 {
            return false;
        }
        self.ring_one()
    }

    #[cold]
    fn ring_one(&self) -> bool {
        let mut list = self.asleep.lock();
        if searching(self.counts.load(Ordering::Relaxed)) > 0 {
            return false;
        }
        let Some(worker) = list.pop() else { return false };
        self.counts.fetch_sub(ASLEEP - SEARCHING, Ordering::Relaxed);
        drop(list);
        self.parkers[usize::from(worker)].ring();
        true
    }

    /// Wakes `worker` if it sleeps or is about to: for shutdown, and for work that only it can do.
    pub fn ring_worker(&self, worker: usize) {
        self.parkers[worker].ring();
    }

    /// Workers that announced a sleep.
    pub fn asleep(&self) -> usize {
        asleep(self.counts.load(Ordering::Relaxed)) as usize
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A test that waits longer than this has lost a ring.
    const STALL: Duration = Duration::from_secs(20);

    #[test]
    fn a_bell_rings_once_and_only_for_a_sleeper() {
        let parker = Arc::new(Parker::new());
        let doorbell = Doorbell::new(Arc::clone(&parker));
        assert!(!doorbell.ring(), "nobody sleeps");
        doorbell.prepare();
        assert!(doorbell.ring());
        assert!(!doorbell.ring(), "already rung");
        assert!(parker.park(Some(STALL)), "the ring waited for the sleep");
        assert_eq!(doorbell.sleep(|| true, || ()), None, "work keeps awake");
        assert!(!doorbell.ring());
    }

    #[test]
    fn a_park_ends_with_its_timeout() {
        assert!(!Parker::new().park(Some(Duration::from_micros(1))));
    }

    #[test]
    fn a_crew_wakes_one_at_a_time() {
        let crew = Crew::new(3);
        assert!(!crew.ring(), "nobody sleeps");
        crew.prepare(0, false);
        assert!(crew.start_search());
        crew.prepare(1, true);
        assert_eq!(crew.asleep(), 2);
        assert!(crew.ring());
        assert!(!crew.ring(), "one searches now");
        assert!(crew.park(1, Some(STALL)), "the last to sleep is woken first");
        crew.end_search(|| true);
        assert!(crew.park(0, Some(STALL)), "the last searcher woke the next");
        assert_eq!(crew.asleep(), 0);
    }

    #[test]
    fn a_canceled_sleep_is_not_woken_and_searches() {
        let crew = Crew::new(2);
        crew.prepare(0, false);
        assert!(!crew.cancel(0), "nobody rang");
        crew.prepare(1, false);
        assert!(!crew.ring(), "0 searches");
        crew.end_search(|| true);
        assert!(crew.park(1, Some(STALL)), "0 rang when it found work");
        crew.prepare(1, true);
        assert!(!crew.park(1, Some(Duration::from_micros(1))), "a timeout ends a sleep");
        assert!(!crew.start_search(), "half of two searches already");
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::atomic::AtomicUsize;
    use crate::sync::explore;
    use loom::thread;

    /// M5: a sleeper is awake or rung whenever work is there. A miss is a deadlock, which loom reports.
    #[test]
    fn work_against_a_sleep() {
        explore(3, || {
            let (parker, work) = (Arc::new(Parker::new()), Arc::new(AtomicUsize::new(0)));
            let doorbell = Arc::new(Doorbell::new(Arc::clone(&parker)));
            let (bell, done) = (Arc::clone(&doorbell), Arc::clone(&work));
            let producer = thread::spawn(move || {
                for _ in 0..2 {
                    done.fetch_add(1, Ordering::Relaxed);
                    bell.ring();
                }
            });
            loop {
                let seen = work.load(Ordering::Relaxed);
                if seen == 2 {
                    break;
                }
                doorbell.sleep(|| work.load(Ordering::Relaxed) > seen, || parker.park(None));
            }
            producer.join().unwrap();
        });
    }

    /// A sleeper's work that others do while it sleeps.
    #[derive(Clone)]
    struct Helm {
        parker: Arc<Parker>,
        left: Arc<AtomicUsize>,
        done: Arc<Mutex<usize>>,
    }

    impl Helm {
        fn work(&self, done: &mut usize) {
            *done += self.left.swap(0, Ordering::Relaxed);
        }
    }

    impl Bell for Helm {
        fn ring(&self) {
            self.parker.ring();
        }

        /// The sleeper must be woken to see that all is done.
        fn stand_in(&self) -> bool {
            self.done.try_lock().is_some_and(|mut done| {
                self.work(&mut done);
                *done < 2
            })
        }
    }

    /// M5: who publishes stands in for the sleeper, or rings if somebody else is at its helm: no work is left behind.
    #[test]
    fn stand_ins_against_a_sleep() {
        explore(3, || {
            let helm = Helm {
                parker: Arc::new(Parker::new()),
                left: Arc::new(AtomicUsize::new(0)),
                done: Arc::new(Mutex::new(0)),
            };
            let doorbell = Arc::new(Doorbell::new(helm.clone()));
            let producers = [(); 2].map(|()| {
                let (bell, left) = (Arc::clone(&doorbell), Arc::clone(&helm.left));
                thread::spawn(move || {
                    left.fetch_add(1, Ordering::Relaxed);
                    bell.ring();
                })
            });
            loop {
                let mut done = helm.done.lock();
                helm.work(&mut done);
                if *done == 2 {
                    break;
                }
                doorbell.prepare();
                let is_idle = helm.left.load(Ordering::Relaxed) == 0;
                drop(done);
                if is_idle {
                    helm.parker.park(None);
                }
                doorbell.cancel();
            }
            for producer in producers {
                producer.join().unwrap();
            }
        });
    }

    /// A piece of work, if there is one.
    fn take(work: &AtomicUsize) -> bool {
        work.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// A worker that leaves with the first piece that it takes. It looks with loads, which may see the past.
    fn work_once(crew: &Crew, worker: usize, work: &AtomicUsize) {
        let mut is_searching = crew.start_search();
        loop {
            if work.load(Ordering::Relaxed) > 0 && take(work) {
                if is_searching {
                    crew.end_search(|| work.load(Ordering::Relaxed) > 0);
                }
                return;
            }
            crew.prepare(worker, is_searching);
            if work.load(Ordering::Relaxed) > 0 {
                crew.cancel(worker);
            } else {
                crew.park(worker, None);
            }
            is_searching = true;
        }
    }

    /// M5: two workers and two pieces of work: neither piece waits while a worker sleeps and nobody is awake.
    #[test]
    fn work_against_two_sleeps() {
        explore(2, || {
            let (crew, work) = (Arc::new(Crew::new(2)), Arc::new(AtomicUsize::new(0)));
            let workers = [0, 1].map(|worker| {
                let (crew, work) = (Arc::clone(&crew), Arc::clone(&work));
                thread::spawn(move || work_once(&crew, worker, &work))
            });
            for _ in 0..2 {
                work.fetch_add(1, Ordering::Relaxed);
                crew.ring();
            }
            for worker in workers {
                worker.join().unwrap();
            }
            assert_eq!((work.load(Ordering::Relaxed), crew.asleep()), (0, 0));
        });
    }
}
