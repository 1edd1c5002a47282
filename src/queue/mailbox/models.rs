//! The mailbox's protocol under loom. The state is the list of what was handled: loom sees it touched by two tokens.

use super::*;
use crate::queue::pool::Depot;
use crate::sync::{Mutex, explore};
use loom::thread;
use std::sync::Arc;

type Log = Vec<u32>;

/// A mailbox, the tokens that wait to be scheduled, and the depot of its senders.
struct World {
    mailbox: NonNull<Mailbox<Log, u32>>,
    scheduled: Mutex<Vec<Token<Log, u32>>>,
    depot: Arc<Depot<u32>>,
}

// SAFETY: the mailbox is shared as the directory shares it, and freed in `end` only.
unsafe impl Send for World {}
// SAFETY: as above.
unsafe impl Sync for World {}

impl World {
    /// A mailbox whose token the caller has.
    fn running() -> (Arc<Self>, Token<Log, u32>) {
        let token = Mailbox::create(1, 1, Bounds::default(), Log::new());
        let depot = Arc::new(Depot::new(1 << 10, 1 << 10));
        (Arc::new(Self { mailbox: token.as_ptr(), scheduled: Mutex::new(Vec::new()), depot }), token)
    }

    /// A mailbox that is idle.
    fn idle() -> Arc<Self> {
        let (world, token) = Self::running();
        token.idle().unwrap();
        world
    }

    fn mailbox(&self) -> &Mailbox<Log, u32> {
        // SAFETY: freed in `end` only.
        unsafe { self.mailbox.as_ref() }
    }

    fn pool(&self) -> Pool<u32> {
        Pool::new(&self.depot)
    }

    /// Sends; whoever gets the token runs it at once.
    fn push(&self, pool: &mut Pool<u32>, message: u32) {
        if let Some(token) = self.mailbox().push(pool, message, 0).unwrap() {
            self.run(pool, token);
        }
    }

    fn push_control(&self, pool: &mut Pool<u32>, message: u32) {
        if let Some(token) = self.mailbox().push_control(message) {
            self.run(pool, token);
        }
    }

    /// A worker's turns until the mailbox is idle, or until a gap sends the token back to the queue. It looks for
    /// control once a turn, as late as the protocol allows.
    fn run(&self, pool: &mut Pool<u32>, mut token: Token<Log, u32>) {
        loop {
            if token.has_control() {
                let control = token.take_control();
                token.state().extend(control);
            }
            let end = loop {
                match token.pop(pool) {
                    Pop::Message(message) => token.state().push(message),
                    end => break end,
                }
            };
            if end == Pop::Gap {
                return self.scheduled.lock().push(token);
            }
            match token.idle() {
                Ok(()) => return,
                Err(running) => token = running,
            }
        }
    }

    /// When all threads are done: runs what is scheduled, and returns what was handled. One token at most, and none
    /// left.
    fn end(self: Arc<Self>) -> Log {
        let mut scheduled = std::mem::take(&mut *self.scheduled.lock());
        assert!(scheduled.len() <= 1, "two tokens");
        if let Some(token) = scheduled.pop() {
            assert!(!self.mailbox().is_idle());
            self.run(&mut self.pool(), token);
            assert!(self.scheduled.lock().is_empty(), "a gap without a sender");
        }
        assert!(self.mailbox().is_idle(), "the token is lost");
        // SAFETY: the threads are joined.
        let free = |link| unsafe { Node::<u32>::free(link) };
        // SAFETY: as above.
        unsafe { Mailbox::dissolve(self.mailbox, |late| panic!("{late} was not handled"), free) }
    }
}

fn sorted(mut log: Log) -> Log {
    log.sort_unstable();
    log
}

/// M1, M3: no message is lost, each sender's come in order, there is one token, and a gap ends.
#[test]
fn two_senders_and_whoever_owns() {
    explore(3, || {
        let world = World::idle();
        let other = Arc::clone(&world);
        let sender = thread::spawn(move || {
            let mut pool = other.pool();
            other.push(&mut pool, 10);
            other.push(&mut pool, 11);
        });
        let mut pool = world.pool();
        world.push(&mut pool, 20);
        world.push(&mut pool, 21);
        sender.join().unwrap();
        drop(pool);
        let log = world.end();
        assert_eq!(log.iter().copied().filter(|&n| n < 20).collect::<Log>(), [10, 11]);
        assert_eq!(log.iter().copied().filter(|&n| n >= 20).collect::<Log>(), [20, 21]);
    });
}

/// M1 with three threads: two senders while an owner runs.
#[test]
fn two_senders_beside_an_owner() {
    explore(3, || {
        let (world, token) = World::running();
        let senders = [1, 2].map(|message| {
            let world = Arc::clone(&world);
            thread::spawn(move || world.push(&mut world.pool(), message))
        });
        world.run(&mut world.pool(), token);
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(sorted(world.end()), [1, 2]);
    });
}

/// M2: of a push and going idle one is first, and the other sees it.
#[test]
fn a_push_against_going_idle() {
    explore(3, || {
        let (world, mut token) = World::running();
        token.state().push(0);
        let other = Arc::clone(&world);
        let sender = thread::spawn(move || {
            let mut pool = other.pool();
            let token = other.mailbox().push(&mut pool, 1, 0).unwrap();
            let is_ours = token.is_some();
            if let Some(token) = token {
                other.run(&mut pool, token);
            }
            is_ours
        });
        let running = token.idle().err();
        let is_ours = running.is_some();
        if let Some(token) = running {
            world.run(&mut world.pool(), token);
        }
        assert!(sender.join().unwrap() != is_ours, "one of the two owns it");
        assert_eq!(world.end(), [0, 1]);
    });
}

/// M10: a control push against going idle.
#[test]
fn control_against_going_idle() {
    explore(3, || {
        let (world, token) = World::running();
        let other = Arc::clone(&world);
        let sender = thread::spawn(move || {
            let mut pool = other.pool();
            other.push_control(&mut pool, 1);
            other.push_control(&mut pool, 2);
        });
        world.run(&mut world.pool(), token);
        sender.join().unwrap();
        assert_eq!(world.end(), [1, 2]);
    });
}

/// M10: a control push, an ordinary push that may take its `KICK` away, and an owner that goes idle.
#[test]
fn control_against_a_push_and_going_idle() {
    explore(3, || {
        let (world, token) = World::running();
        let (one, two) = (Arc::clone(&world), Arc::clone(&world));
        let control = thread::spawn(move || one.push_control(&mut one.pool(), 1));
        let ordinary = thread::spawn(move || two.push(&mut two.pool(), 2));
        world.run(&mut world.pool(), token);
        control.join().unwrap();
        ordinary.join().unwrap();
        assert_eq!(sorted(world.end()), [1, 2]);
    });
}

/// M10: a control push and an ordinary push meet an idle mailbox: one of them gets the token.
#[test]
fn control_against_a_push_while_idle() {
    explore(3, || {
        let world = World::idle();
        let other = Arc::clone(&world);
        let control = thread::spawn(move || {
            let mut pool = other.pool();
            other.push_control(&mut pool, 1);
            other.push(&mut pool, 2);
        });
        let mut pool = world.pool();
        world.push(&mut pool, 3);
        world.push_control(&mut pool, 4);
        control.join().unwrap();
        drop(pool);
        assert_eq!(sorted(world.end()), [1, 2, 3, 4]);
    });
}

/// Whoever frees an idle mailbox sees what its last owner did.
#[test]
fn going_idle_against_who_frees() {
    explore(3, || {
        let (world, mut token) = World::running();
        let owner = thread::spawn(move || {
            token.state().push(1);
            token.idle().unwrap();
        });
        if world.mailbox().is_idle() {
            world.mailbox().owner.state.with(|_| ());
        }
        owner.join().unwrap();
        assert_eq!(world.end(), [1]);
    });
}
