//! Reclamation under loom. A watched cell stands for the mailbox's memory: users read it, who frees writes it, and loom
//! refuses a write that is not after every read.

use super::*;
use crate::queue::pool::Depot;
use crate::sync::{UnsafeCell, explore};
use loom::thread;

type Book = Directory<u32, u32>;

/// The only one of its segment, and not where the next id is: the segment is retired with it.
const LOCAL: u32 = SLOTS as u32 + 4;

struct Memory(UnsafeCell<()>);

// SAFETY: nothing is inside; loom checks its uses.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

impl Memory {
    fn uses(&self) {
        self.0.with(|_| ());
    }

    fn frees(&self) {
        self.0.with_mut(|_| ());
    }
}

struct World {
    book: Arc<Book>,
    depot: Arc<Depot<u32>>,
    memory: Memory,
}

fn world() -> Arc<World> {
    let book = Arc::new(Directory::new(8));
    Arc::new(World { book, depot: Arc::new(Depot::new(1 << 10, 0)), memory: Memory(UnsafeCell::new(())) })
}

impl World {
    /// Pushes if the mailbox is there; returns how many were pushed.
    fn push(&self, participant: &Participant<u32, u32>, message: u32) -> usize {
        let Some(mailbox) = participant.find(LOCAL) else { return 0 };
        let mut pool = Pool::new(&self.depot);
        assert!(mailbox.push(&mut pool, message, 0).unwrap().is_none(), "a token exists or was retired");
        self.memory.uses();
        1
    }

    /// Frees what can be freed; returns how many messages came out.
    fn reclaim(&self) -> usize {
        let Some(retired) = self.book.reclaim() else { return 0 };
        self.memory.frees();
        let mut late = 0;
        retired.finish(&mut Pool::new(&self.depot), |_| late += 1);
        late
    }

    /// When every participant is gone: one call frees what is left.
    fn end(&self, before: usize) -> usize {
        let late = before + self.reclaim();
        assert!(!self.book.has_retired() && self.depot.messages() == 0);
        late
    }
}

/// M7: what is pushed with an old reference comes out with the mailbox, once, and the mailbox is freed after it.
#[test]
fn a_late_push_against_reclaiming() {
    explore(3, || {
        let world = world();
        let token = world.book.insert_at(LOCAL, None, |_, _| 0).unwrap();
        let mut participant = world.book.register();
        let other = Arc::clone(&world);
        let sender = thread::spawn(move || {
            participant.online();
            let pushed = other.push(&participant, 1);
            participant.offline();
            pushed
        });
        world.book.retire(token);
        let late = world.reclaim();
        let pushed = sender.join().unwrap();
        assert_eq!(world.end(late), pushed);
    });
}

/// M7: a participant that stays online is waited for until its quiescent point, and finds nothing after it.
#[test]
fn a_quiescent_point_against_reclaiming() {
    explore(3, || {
        let world = world();
        let token = world.book.insert_at(LOCAL, None, |_, _| 0).unwrap();
        let mut participant = world.book.register();
        participant.online();
        let other = Arc::clone(&world);
        let sender = thread::spawn(move || {
            let mut pushed = other.push(&participant, 1);
            participant.quiescent();
            pushed += other.push(&participant, 2);
            participant.quiescent();
            participant.find(LOCAL).is_some().then(|| other.memory.uses());
            drop(participant);
            pushed
        });
        world.book.retire(token);
        let mut late = world.reclaim();
        late += world.reclaim();
        let pushed = sender.join().unwrap();
        assert_eq!(world.end(late), pushed);
    });
}

/// M7: one who goes offline and comes back between two looks of the reclaimer.
#[test]
fn coming_online_against_reclaiming() {
    explore(3, || {
        let world = world();
        let token = world.book.insert_at(LOCAL, None, |_, _| 0).unwrap();
        let mut participant = world.book.register();
        participant.online();
        let other = Arc::clone(&world);
        let sender = thread::spawn(move || {
            participant.offline();
            participant.online();
            other.push(&participant, 1)
        });
        world.book.retire(token);
        let mut late = world.reclaim();
        late += world.reclaim();
        let pushed = sender.join().unwrap();
        assert_eq!(world.end(late), pushed);
    });
}

/// A mailbox can be used by whoever finds it, in a segment that was made a moment before. (The second mailbox: loom dates
/// the making of an atomic to its thread's last step, which for the first one is the segment's.)
#[test]
fn finding_against_inserting() {
    explore(3, || {
        let world = world();
        let mut participant = world.book.register();
        let other = Arc::clone(&world);
        let sender = thread::spawn(move || {
            participant.online();
            let Some(mailbox) = participant.find(9) else { return };
            let mut pool = Pool::new(&other.depot);
            if let Some(mut token) = mailbox.push(&mut pool, 1, 0).unwrap() {
                *token.state() += 1;
                other.book.retire(token);
            }
        });
        world.book.retire(world.book.insert(None, |_, _| 0).unwrap());
        let token = world.book.insert(None, |_, _| 0).unwrap();
        if let Err(token) = token.idle() {
            world.book.retire(token);
        }
        sender.join().unwrap();
        while world.book.reclaim().is_some() {}
    });
}
