//! The unique services of a cluster, by their keys.
//!
//! ```text
//!              launch                       launched
//!   (nothing) ─────────────► Launching ───────────────► Running ──┐ it ended
//!       │ query        ┌───►  waiters  ───────────────►           │ query waits, launch launches again
//!       ▼              │ launch  │ ▲         failed  ► Failed     │
//!    Awaited ──────────┘         └─┘ query, launch      │  query: the reason
//!     waiters ◄─────────────────────────────────────────┼─────────┘
//!                                      launch: Launching ◄
//! ```
//!
//! `service_mgr.lua` keeps a failure for ever. Real nodes ask again after one that was answered in values, so the next
//! launch tries again here. Whether a service lives is known from its local name, not from this table.

use crate::message::Handle;
use std::collections::BTreeMap;

/// One unique service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unique<W> {
    /// Somebody waits that it is launched.
    Awaited(Vec<W>),
    /// It is being launched for the first of those who wait.
    Launching(Vec<W>),
    /// It was launched.
    Running(Handle),
    /// It could not be launched.
    Failed(Box<str>),
}

/// What to do with a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Query {
    Known(Handle),
    Failed(Box<str>),
    Wait,
}

/// What to do with a launch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Launch {
    Known(Handle),
    Wait,
    /// Launch it, and say so with [`Uniques::begin`].
    Begin,
}

pub(super) struct Uniques<W> {
    table: BTreeMap<Box<[u8]>, Unique<W>>,
    waiting: usize,
}

impl<W> Default for Uniques<W> {
    fn default() -> Self {
        Self { table: BTreeMap::new(), waiting: 0 }
    }
}

impl<W> Uniques<W> {
    /// Somebody asks for the service that now lives as `living`.
    pub(super) fn query(&self, key: &[u8], living: Option<Handle>) -> Query {
        match (living, self.table.get(key)) {
            (Some(handle), _) => Query::Known(handle),
            (None, Some(Unique::Failed(reason))) => Query::Failed(reason.clone()),
            (None, None | Some(Unique::Awaited(_) | Unique::Launching(_) | Unique::Running(_))) => {
                Query::Wait
            }
        }
    }

    /// Somebody wants the service that now lives as `living`.
    pub(super) fn launch(&self, key: &[u8], living: Option<Handle>) -> Launch {
        match (living, self.table.get(key)) {
            (Some(handle), _) => Launch::Known(handle),
            (None, Some(Unique::Launching(_))) => Launch::Wait,
            (None, None | Some(Unique::Awaited(_) | Unique::Running(_) | Unique::Failed(_))) => Launch::Begin,
        }
    }

    /// Lets somebody wait.
    pub(super) fn wait(&mut self, key: &[u8], waiter: W) {
        self.waiting += 1;
        match self.table.get_mut(key) {
            Some(Unique::Awaited(waiters) | Unique::Launching(waiters)) => waiters.push(waiter),
            None | Some(Unique::Running(_) | Unique::Failed(_)) => {
                self.table.insert(key.into(), Unique::Awaited(vec![waiter]));
            }
        }
    }

    /// It is being launched, for those who wait already.
    pub(super) fn begin(&mut self, key: &[u8]) {
        let waiters = self.take(key);
        self.waiting += waiters.len();
        self.table.insert(key.into(), Unique::Launching(waiters));
    }

    /// A launch ended: who waited for it.
    pub(super) fn end(&mut self, key: &[u8], outcome: Result<Handle, &str>) -> Vec<W> {
        let waiters = self.take(key);
        let unique = match outcome {
            Ok(handle) => Unique::Running(handle),
            Err(reason) => Unique::Failed(reason.into()),
        };
        self.table.insert(key.into(), unique);
        waiters
    }

    /// Forgets a key: who waited there.
    pub(super) fn take(&mut self, key: &[u8]) -> Vec<W> {
        let waiters = match self.table.remove(key) {
            Some(Unique::Awaited(waiters) | Unique::Launching(waiters)) => waiters,
            None | Some(Unique::Running(_) | Unique::Failed(_)) => Vec::new(),
        };
        self.waiting -= waiters.len();
        waiters
    }

    /// Drops every waiter that is gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&W) -> bool) {
        let waiting = &mut self.waiting;
        self.table.retain(|_, unique| match unique {
            Unique::Awaited(waiters) => {
                drop_waiters(waiters, waiting, &is_gone);
                !waiters.is_empty()
            }
            Unique::Launching(waiters) => {
                drop_waiters(waiters, waiting, &is_gone);
                true
            }
            Unique::Running(_) | Unique::Failed(_) => true,
        });
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &Unique<W>)> {
        self.table.iter().map(|(key, unique)| (&**key, unique))
    }
}

fn drop_waiters<W>(waiters: &mut Vec<W>, waiting: &mut usize, is_gone: &impl Fn(&W) -> bool) {
    *waiting -= waiters.len();
    waiters.retain(|waiter| !is_gone(waiter));
    *waiting += waiters.len();
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"@room";

    fn handle(local: u32) -> Handle {
        Handle::from_bits(0x0100_0000 | local)
    }

    /// The states, by how they are reached.
    fn states() -> Vec<(&'static str, Uniques<u32>)> {
        let mut all = vec![("nothing", Uniques::default())];
        let mut awaited = Uniques::default();
        awaited.wait(KEY, 1);
        all.push(("awaited", awaited));
        let mut launching = Uniques::default();
        launching.wait(KEY, 1);
        launching.begin(KEY);
        all.push(("launching", launching));
        let mut running = Uniques::default();
        running.begin(KEY);
        running.end(KEY, Ok(handle(9)));
        all.push(("ended", running));
        let mut failed = Uniques::default();
        failed.begin(KEY);
        failed.end(KEY, Err("not today"));
        all.push(("failed", failed));
        all
    }

    #[test]
    fn queries_and_launches_in_every_state() {
        let failed = || Query::Failed("not today".into());
        let answers = [
            (Query::Wait, Launch::Begin),
            (Query::Wait, Launch::Begin),
            (Query::Wait, Launch::Wait),
            (Query::Wait, Launch::Begin),
            (failed(), Launch::Begin),
        ];
        for ((state, uniques), (query, launch)) in states().iter().zip(answers) {
            assert_eq!(uniques.query(KEY, None), query, "{state}");
            assert_eq!(uniques.launch(KEY, None), launch, "{state}");
            assert_eq!(uniques.query(KEY, Some(handle(9))), Query::Known(handle(9)), "{state}");
            assert_eq!(uniques.launch(KEY, Some(handle(9))), Launch::Known(handle(9)), "{state}");
        }
    }

    #[test]
    fn whoever_waits_is_taken_by_the_end_of_the_launch() {
        for outcome in [Ok(handle(9)), Err("not today")] {
            let counts = [1, 2, 2, 1, 1];
            for ((state, mut uniques), count) in states().into_iter().zip(counts) {
                uniques.wait(KEY, 2);
                assert_eq!(uniques.waiting(), count, "{state}");
                uniques.begin(KEY);
                assert_eq!(uniques.launch(KEY, None), Launch::Wait);
                assert_eq!(uniques.waiting(), count, "{state}");
                assert_eq!(uniques.end(KEY, outcome).len(), count, "{state}");
                assert_eq!(uniques.waiting(), 0, "{state}");
            }
        }
    }

    #[test]
    fn a_key_without_waiters_is_forgotten_unless_something_became_of_it() {
        let left = [0, 0, 1, 1, 1];
        for ((state, mut uniques), left) in states().into_iter().zip(left) {
            uniques.forget(|waiter| *waiter == 1);
            assert_eq!(uniques.waiting(), 0, "{state}");
            assert_eq!(uniques.iter().count(), left, "{state}");
            assert!(uniques.take(KEY).is_empty(), "{state}");
            assert_eq!(uniques.iter().count(), 0, "{state}");
        }
    }
}
