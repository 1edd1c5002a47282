use super::*;
use crate::limits::SERVICE_IDS;
use crate::queue::mailbox::Pop;
use crate::queue::pool::Depot;

type Book = Directory<u32, u64>;

fn book(first_id: u32) -> (Arc<Book>, Pool<u64>) {
    (Arc::new(Directory::new(first_id)), Pool::new(&Arc::new(Depot::new(1 << 20, 1 << 20))))
}

fn insert(book: &Book) -> Token<u32, u64> {
    book.insert(None, |local, _| local).unwrap()
}

#[test]
fn ids_ascend_wrap_and_skip_the_reserved() {
    let (book, _) = book(SERVICE_IDS - 2);
    let mut tokens: Vec<_> = (0..4).map(|_| insert(&book)).collect();
    let locals: Vec<_> = tokens.iter().map(Token::local).collect();
    assert_eq!(locals, [SERVICE_IDS - 2, SERVICE_IDS - 1, 8, 9]);
    book.retire(tokens.pop().unwrap());
    assert_eq!(insert(&book).local(), 10, "9 is not used again at once");
    let reserved = book.insert_at(3, None, |local, _| local).unwrap();
    assert_eq!(reserved.local(), 3);
    for taken in [0, 3, 8, SERVICE_IDS] {
        assert_eq!(book.insert_at(taken, None, |_, _| 0).unwrap_err(), Taken(taken));
    }
    assert_eq!((book.len(), book.locals()), (5, vec![3, 8, 10, SERVICE_IDS - 2, SERVICE_IDS - 1]));
}

#[test]
fn a_full_segment_is_passed_over() {
    let (book, _) = book(SLOTS as u32);
    let tokens: Vec<_> = (0..SLOTS).map(|_| insert(&book)).collect();
    book.ids.lock().next = SLOTS as u32;
    let next = insert(&book);
    assert_eq!(next.local(), 2 * SLOTS as u32);
    let freed = tokens.into_iter().nth(70).unwrap();
    let local = freed.local();
    book.retire(freed);
    book.ids.lock().next = SLOTS as u32;
    assert_eq!(insert(&book).local(), local);
}

#[test]
fn an_empty_segment_is_freed_after_its_grace() {
    let (book, _) = book(SLOTS as u32);
    let mut participant = book.register();
    participant.online();
    let tokens: Vec<_> = (0..SLOTS + 1).map(|_| insert(&book)).collect();
    let has_segment = |number: usize| book.find_segment(number).is_some();
    tokens.into_iter().for_each(|token| book.retire(token));
    assert!(!has_segment(1) && has_segment(2), "the next id is in the latter");
    assert!(participant.find(SLOTS as u32).is_none());
    participant.quiescent();
    assert!(book.reclaim().is_none(), "the grace begins here");
    participant.quiescent();
    assert_eq!(std::iter::from_fn(|| book.reclaim()).count(), SLOTS + 1);
    assert!(book.limbo.lock().ready.is_empty(), "the segment is gone with the mailboxes");
    assert_eq!(insert(&book).local(), 2 * SLOTS as u32 + 1);
    assert!(book.insert_at(SLOTS as u32, None, |local, _| local).is_ok());
    assert!(participant.find(SLOTS as u32).is_some(), "a new segment");
}

#[test]
fn generations_tell_users_of_an_id_apart() {
    let (book, _) = book(8);
    let one = book.insert_at(5, None, |_, generation| generation).unwrap();
    let generation = one.generation();
    book.retire(one);
    let mut other = book.insert_at(5, None, |_, generation| generation).unwrap();
    assert_ne!(generation, other.generation());
    assert_eq!(other.generation(), *other.state());
}

#[test]
fn a_panic_in_make_frees_the_id() {
    let (book, _) = book(8);
    let make = std::panic::AssertUnwindSafe(|| book.insert_at(5, None, |_, _| panic!("make")));
    assert!(std::panic::catch_unwind(make).is_err());
    assert!(book.is_empty());
    assert!(book.insert_at(5, None, |_, _| 0).is_ok());
}

#[test]
fn a_retired_mailbox_waits_for_every_participant() {
    let (book, mut pool) = book(8);
    let (mut one, mut other) = (book.register(), book.register());
    assert!(!book.has_retired() && book.reclaim().is_none());
    one.online();
    let token = insert(&book);
    let found = one.find(8).expect("it is there");
    book.retire(token);
    assert!(book.has_retired());
    assert!(one.find(8).is_none(), "out of its slot at once");
    assert!(
        found.push(&mut pool, 1, 0).unwrap().is_none(),
        "whoever has it may still push, but not schedule"
    );
    assert!(found.push_control(2).is_none());
    assert!(book.reclaim().is_none(), "one may hold it");
    one.quiescent();
    other.online();
    assert!(other.find(8).is_none());
    let mut late = Vec::new();
    let retired = book.reclaim().expect("nobody holds it");
    assert_eq!((retired.local(), retired.finish(&mut pool, |message| late.push(message))), (8, 8));
    assert_eq!(late, [2, 1]);
    assert!(!book.has_retired() && book.reclaim().is_none());
}

#[test]
fn offline_and_dropped_participants_hold_nothing_up() {
    let (book, _) = book(8);
    let (mut one, mut other) = (book.register(), book.register());
    one.online();
    other.online();
    book.retire(insert(&book));
    assert!(book.reclaim().is_none());
    one.offline();
    assert!(!one.is_online() && book.reclaim().is_none());
    drop(other);
    assert!(book.reclaim().is_some());
    one.quiescent();
    assert!(!one.is_online());
}

#[test]
#[should_panic(expected = "offline")]
fn an_offline_participant_must_not_find() {
    let (book, _) = book(8);
    book.register().find(8);
}

#[test]
#[should_panic(expected = "retired where it was inserted")]
fn a_foreign_token_is_not_retired() {
    let ((book, _), (other, _)) = (book(8), book(8));
    let _own = insert(&other);
    other.retire(insert(&book));
}

#[test]
fn a_dropped_directory_drops_what_is_idle_or_retired() {
    let witness = Arc::new(());
    let book = Directory::<Arc<()>, Arc<()>>::new(8);
    let mut pool = Pool::new(&Arc::new(Depot::new(1 << 20, 0)));
    let idle = book.insert(None, |_, _| witness.clone()).unwrap();
    idle.idle().unwrap();
    let retired = book.insert(None, |_, _| witness.clone()).unwrap();
    assert!(retired.mailbox().push(&mut pool, witness.clone(), 0).unwrap().is_none());
    assert!(retired.mailbox().push_control(witness.clone()).is_none());
    book.retire(retired);
    assert_eq!(Arc::strong_count(&witness), 5);
    drop(book);
    assert_eq!(Arc::strong_count(&witness), 1);
}

/// Services come and go under senders that find them by id: each message is handled once or comes out late once.
#[test]
fn every_message_is_handled_or_late() {
    const SERVICES: u32 = 4_000;
    let depot = Arc::new(Depot::new(1 << 20, 0));
    let book = Arc::new(Directory::<u64, u64>::new(8));
    let (stop, pushed) = (crate::sync::atomic::AtomicBool::new(false), AtomicU64::new(0));
    let handled = std::thread::scope(|threads| {
        for _ in 0..2 {
            let (mut participant, mut pool) = (book.register(), Pool::new(&depot));
            let (stop, pushed) = (&stop, &pushed);
            threads.spawn(move || {
                participant.online();
                let mut local = 8;
                while !stop.load(Ordering::Relaxed) {
                    if let Some(mailbox) = participant.find(local) {
                        let token = mailbox.push(&mut pool, 1, 0).unwrap();
                        assert!(token.is_none(), "no service here goes idle");
                        pushed.fetch_add(1, Ordering::Relaxed);
                    }
                    local = 8 + (local - 7) % SERVICES;
                    participant.quiescent();
                    if local % 64 == 0 {
                        participant.offline();
                        participant.online();
                    }
                }
            });
        }
        let (mut pool, mut alive, mut sum) = (Pool::new(&depot), std::collections::VecDeque::new(), 0);
        for _ in 0..SERVICES {
            alive.push_back(book.insert(None, |_, _| 0).unwrap());
            if alive.len() > 50 {
                // The first ones live until the senders have found one of them, however late their threads begin.
                while pushed.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
                let mut token: Token<u64, u64> = alive.pop_front().unwrap();
                while let Pop::Message(n) = token.pop(&mut pool) {
                    *token.state() += n;
                }
                book.retire(token);
            }
            while let Some(retired) = book.reclaim() {
                let mut late = 0;
                sum += retired.finish(&mut pool, |n| late += n) + late;
            }
        }
        stop.store(true, Ordering::Relaxed);
        alive.into_iter().for_each(|token| book.retire(token));
        while book.has_retired() {
            let Some(retired) = book.reclaim() else { continue };
            let mut late = 0;
            sum += retired.finish(&mut pool, |n| late += n) + late;
        }
        sum
    });
    assert_eq!(handled, pushed.load(Ordering::Relaxed));
    assert!(handled > 0 && depot.messages() == 0 && book.is_empty());
}
