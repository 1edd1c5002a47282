//! Watches a run from a thread of its own: shows how far it is, ends the process when nothing moves, notes Ctrl-C.
//!
//! Services publish what they counted in a [`Board`] of counters, each written by one service now and then and read
//! here a few times a second. The thread holds no message and is in nobody's way.

use crate::output::complain;
use crate::plan::Goal;
use crate::report;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::{Condvar, Mutex};
use signal_hook::consts::SIGINT;
use signal_hook::flag;
use skyharbor::clock::Instant;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the watcher looks.
const TICK: Duration = Duration::from_millis(100);
/// What the shell makes of a program that Ctrl-C ended: 128 + SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;

/// The watcher. Dropping it ends its thread.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    over: Condvar,
    /// Written by the signal handler, read by whoever waits for a run.
    interrupted: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    step: Option<Step>,
    is_over: bool,
}

/// The workload that runs now.
struct Step {
    name: String,
    goal: Goal,
    began: Instant,
    board: Board,
    outstanding: Outstanding,
    stall: Stall,
    bar: Option<ProgressBar>,
}

/// Says what a run still waits for, for the case that it stalls.
pub(crate) type Outstanding = Box<dyn Fn() -> String + Send>;

/// A step that is shown and watched until this is dropped.
pub(crate) struct StepGuard<'a> {
    shared: &'a Shared,
}

impl Watch {
    /// Starts the watcher and takes over Ctrl-C, once per process.
    pub(crate) fn start(stall: Duration) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        // In this order: the first Ctrl-C ends the run early, the second one the process.
        flag::register_conditional_shutdown(SIGINT, INTERRUPTED.into(), Arc::clone(&shared.interrupted))?;
        flag::register(SIGINT, Arc::clone(&shared.interrupted))?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || of_thread.run(stall))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn interrupted(&self) -> bool {
        self.shared.interrupted.load(Ordering::Relaxed)
    }

    /// Begins a step: on a terminal a bar, elsewhere one line.
    pub(crate) fn step(
        &self,
        name: &str,
        goal: Goal,
        board: Board,
        outstanding: Outstanding,
    ) -> StepGuard<'_> {
        let bar = io::stderr().is_terminal().then(|| bar(name, goal));
        if bar.is_none() {
            complain(format_args!("{name}: {}", goal.describe()));
        }
        let began = Instant::now();
        let (name, stall) = (name.to_owned(), Stall { moved: 0, since: began });
        self.shared.state.lock().step = Some(Step { name, goal, began, board, outstanding, stall, bar });
        StepGuard { shared: &self.shared }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.over.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed, and the run's result does not depend on it.
            thread.join().ok();
        }
    }
}

impl Drop for StepGuard<'_> {
    fn drop(&mut self) {
        if let Some(Step { bar: Some(bar), .. }) = self.shared.state.lock().step.take() {
            bar.finish_and_clear();
        }
    }
}

impl Shared {
    fn run(&self, limit: Duration) {
        let mut state = self.state.lock();
        while !state.is_over {
            self.over.wait_for(&mut state, TICK);
            let Some(step) = &mut state.step else { continue };
            let (now, moved) = (Instant::now(), step.board.sum());
            step.show(now, moved);
            if step.stall.is_over(now, moved, limit) {
                step.give_up(moved, limit);
            }
        }
    }
}

impl Step {
    fn show(&self, now: Instant, moved: u64) {
        let Some(bar) = &self.bar else { return };
        let elapsed = now.since(self.began);
        bar.set_position(match self.goal {
            Goal::Time(time) => elapsed.min(time).as_millis() as u64,
            Goal::Count(count) => moved.min(count),
        });
        bar.set_message(format!("{}/s", report::amount(moved as f64 / elapsed.as_secs_f64().max(0.001))));
    }

    /// Ends the process: services that never answer cannot be waited for, nor a thread that is stuck be joined. The
    /// second process ends with this one.
    fn give_up(&self, moved: u64, limit: Duration) -> ! {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
        complain(format_args!(
            "FAIL {}: no progress for {}; {moved} counted, outstanding: {}",
            self.name,
            report::duration(limit),
            (self.outstanding)()
        ));
        std::process::exit(1);
    }
}

fn bar(name: &str, goal: Goal) -> ProgressBar {
    let length = match goal {
        Goal::Time(time) => time.as_millis() as u64,
        Goal::Count(count) => count,
    };
    let style = ProgressStyle::with_template("{prefix:<22} [{bar:30}] {percent:>3} %  {msg}")
        .expect("the template is well-formed");
    let bar = ProgressBar::new(length).with_style(style.progress_chars("=> "));
    bar.set_prefix(name.to_owned());
    bar
}

/// How long nothing moved.
struct Stall {
    moved: u64,
    since: Instant,
}

impl Stall {
    /// Takes what has moved by `now`; true when that did not change for `limit`.
    fn is_over(&mut self, now: Instant, moved: u64, limit: Duration) -> bool {
        if moved != self.moved {
            *self = Self { moved, since: now };
        }
        now.since(self.since) >= limit
    }
}

/// Counters that services publish.
#[derive(Clone)]
pub(crate) struct Board {
    counters: Arc<[Counter]>,
}

/// Written by one service, with what it counted so far (or added to by several, rarely); read by the watcher. Alone on its pair of cache lines, since
/// its writer must not share it with another one.
#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

impl Board {
    pub(crate) fn new(counters: usize) -> Self {
        Self { counters: (0..counters).map(|_| Counter::default()).collect() }
    }

    /// What counter `index` counted so far, told by its only writer.
    pub(crate) fn publish(&self, index: usize, count: u64) {
        self.counters[index].0.store(count, Ordering::Relaxed);
    }

    /// Adds to a counter that has several writers.
    pub(crate) fn add(&self, index: usize, count: u64) {
        self.counters[index].0.fetch_add(count, Ordering::Relaxed);
    }

    /// What counter `index` counted when its writer last said so.
    pub(crate) fn read(&self, index: usize) -> u64 {
        self.counters[index].0.load(Ordering::Relaxed)
    }

    fn sum(&self) -> u64 {
        self.counters.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_a_time_without_any_change() {
        let limit = Duration::from_secs(10);
        let at = |secs: u64| Instant::from_nanos(secs * 1_000_000_000);
        let mut stall = Stall { moved: 0, since: at(100) };
        for (secs, moved, over) in [
            (109, 0, false),
            (110, 0, true),
            (111, 5, false),
            (120, 5, false),
            (121, 5, true),
            (122, 4, false),
        ] {
            assert_eq!(stall.is_over(at(secs), moved, limit), over, "at {secs} s");
        }
    }

    #[test]
    fn a_board_sums_what_was_published_last() {
        let board = Board::new(3);
        board.publish(0, 7);
        board.publish(2, 1);
        board.publish(2, 5);
        assert_eq!((board.read(1), board.read(2), board.sum()), (0, 5, 12));
    }
}
