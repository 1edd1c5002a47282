//! One workload from its first message to its verified result: what the services of a run share, and how the main
//! thread waits for them.

use crate::plan::{Failure, Fault, Goal, Plan};
use crate::watch::{Board, Outstanding, StepGuard, Watch};
use skyharbor::clock::Instant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

/// How often the main thread looks up from its wait for results.
const LOOK: Duration = Duration::from_millis(20);
/// A service publishes its count each time it has this many more.
const PUBLISH_EVERY: u64 = 256;

/// The main thread's side of a run whose services each come back with a `T`.
pub(crate) struct Run<'a, T> {
    pub(crate) plan: &'a Plan,
    watch: &'a Watch,
    halt: Arc<AtomicBool>,
    board: Board,
    /// Results that are in.
    done: Arc<AtomicUsize>,
    sender: Sender<Result<T, Fault>>,
    results: Receiver<Result<T, Fault>>,
    _step: StepGuard<'a>,
}

/// A service's side of a run.
pub(crate) struct Desk<T> {
    index: usize,
    halt: Arc<AtomicBool>,
    board: Board,
    results: Sender<Result<T, Fault>>,
}

impl<'a, T> Run<'a, T> {
    /// Begins a run whose services publish `counters` counts and come back with `parts` results, called `what`.
    pub(crate) fn begin(
        plan: &'a Plan,
        watch: &'a Watch,
        counters: usize,
        (parts, what): (usize, &'static str),
    ) -> Self {
        let board = Board::new(counters);
        let done = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&done);
        let outstanding: Outstanding = Box::new(move || {
            format!("{} of {parts} {what}", parts - seen.load(Ordering::Relaxed).min(parts))
        });
        let step = watch.step(&plan.title, plan.goal, board.clone(), outstanding);
        let (sender, results) = mpsc::channel();
        let halt = Arc::new(AtomicBool::new(false));
        Self { plan, watch, halt, board, done, sender, results, _step: step }
    }

    /// The desk of the service that publishes counter `index`.
    pub(crate) fn desk(&self, index: usize) -> Desk<T> {
        let (halt, board) = (Arc::clone(&self.halt), self.board.clone());
        Desk { index, halt, board, results: self.sender.clone() }
    }

    /// Waits for `parts` results. Tells the services to end when the time is over or Ctrl-C was pressed.
    pub(crate) fn collect(&self, parts: usize) -> Result<Vec<T>, Failure> {
        self.collect_while(parts, || Ok(()))
    }

    /// Waits for the one result of a run.
    pub(crate) fn collect_one(&self) -> Result<T, Failure> {
        Ok(self.collect(1)?.remove(0))
    }

    /// As [`Run::collect_one`], and gives up as soon as `check` fails.
    pub(crate) fn collect_one_while(&self, check: impl FnMut() -> Result<(), Failure>) -> Result<T, Failure> {
        Ok(self.collect_while(1, check)?.remove(0))
    }

    /// Whether the run ended before its count was reached: by time or by Ctrl-C.
    pub(crate) fn is_halted(&self) -> bool {
        self.halt.load(Ordering::Relaxed)
    }

    /// As [`Run::collect`], and gives up as soon as `check` fails.
    pub(crate) fn collect_while(
        &self,
        parts: usize,
        mut check: impl FnMut() -> Result<(), Failure>,
    ) -> Result<Vec<T>, Failure> {
        let began = Instant::now();
        let mut results = Vec::with_capacity(parts);
        while results.len() < parts {
            let step = self.next(began);
            if step.is_err() {
                self.halt.store(true, Ordering::Relaxed);
            }
            results.extend(step?);
            self.done.store(results.len(), Ordering::Relaxed);
            check().inspect_err(|_| self.halt.store(true, Ordering::Relaxed))?;
        }
        Ok(results)
    }

    /// Fails if something was found wrong behind the last result, or there was one too many: for when the node has ended
    /// and nobody says anything any more.
    pub(crate) fn close(&self) -> Result<(), Failure> {
        match self.results.try_recv() {
            Ok(Err(fault)) => Err(fault.into()),
            Ok(Ok(_)) => {
                let expected = self.done.load(Ordering::Relaxed) as u64;
                Err(Failure::Count { what: "results of services", counted: expected + 1, expected })
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => Ok(()),
        }
    }

    /// The next result, or none yet.
    fn next(&self, began: Instant) -> Result<Option<T>, Failure> {
        let left = match self.plan.goal {
            Goal::Time(time) => time.saturating_sub(Instant::now().since(began)),
            Goal::Count(_) => Duration::MAX,
        };
        if left.is_zero() || self.watch.interrupted() {
            self.halt.store(true, Ordering::Relaxed);
        }
        let wait = if left.is_zero() { LOOK } else { left.min(LOOK) };
        match self.results.recv_timeout(wait) {
            Ok(result) => Ok(Some(result?)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => unreachable!("the run holds a sender"),
        }
    }
}

impl<T> Desk<T> {
    /// Whether the run is to end: no new message leaves, those under way are counted.
    pub(crate) fn is_halted(&self) -> bool {
        self.halt.load(Ordering::Relaxed)
    }

    /// Publishes `count` now and then.
    pub(crate) fn publish(&self, count: u64) {
        if count.is_multiple_of(PUBLISH_EVERY) {
            self.publish_now(count);
        }
    }

    /// Publishes `count`.
    pub(crate) fn publish_now(&self, count: u64) {
        self.board.publish(self.index, count);
    }

    /// Adds to a counter that several services publish; for counts that are rare.
    pub(crate) fn add(&self, count: u64) {
        self.board.add(self.index, count);
    }

    /// What another service published last.
    pub(crate) fn published(&self, index: usize) -> u64 {
        self.board.read(index)
    }

    /// Comes back with a result.
    pub(crate) fn finish(&self, result: T) {
        // The main thread is gone only when the run has failed already.
        self.results.send(Ok(result)).ok();
    }

    /// Comes back with what is wrong.
    pub(crate) fn fail(&self, fault: Fault) {
        self.results.send(Err(fault)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_behind_the_last_result_fails_the_run() {
        let plan = Plan {
            title: "test".into(),
            goal: Goal::Count(1),
            workers: 1,
            pin: false,
            seed: 0,
            size: 16,
            rate: 0.0,
            window: None,
        };
        let watch = Watch::start(Duration::from_secs(600)).unwrap();
        let run = Run::begin(&plan, &watch, 1, (1, "service"));
        let desk = run.desk(0);
        desk.finish(7);
        assert_eq!(run.collect_one().unwrap(), 7);
        assert!(run.close().is_ok());
        desk.fail(Fault::Payload { who: "service", index: 0 });
        assert!(matches!(run.close(), Err(Failure::Fault(_))));
        desk.finish(8);
        assert!(matches!(run.close(), Err(Failure::Count { counted: 2, expected: 1, .. })));
    }
}
