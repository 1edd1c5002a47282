use super::*;
use crate::queue::pool::Depot;
use crate::sync::atomic::AtomicBool;
use std::sync::Arc;

type Mail = Mailbox<u32, u64>;

fn pool(messages_max: u64) -> Pool<u64> {
    Pool::new(&Arc::new(Depot::new(messages_max, 1 << 20)))
}

/// A mailbox that is freed at the end of a test.
struct Owned(NonNull<Mail>);

impl Owned {
    fn new(bounds: Bounds) -> (Self, Token<u32, u64>) {
        let token = Mail::create(9, 1, bounds, 7);
        (Self(token.as_ptr()), token)
    }

    fn idle() -> Self {
        let (mailbox, token) = Self::new(Bounds::default());
        token.idle().unwrap();
        mailbox
    }
}

impl std::ops::Deref for Owned {
    type Target = Mail;

    fn deref(&self) -> &Mail {
        // SAFETY: freed in `drop` only.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: these messages need no pool.
        let free = |link| unsafe { Node::<u64>::free(link) };
        // SAFETY: the test is over.
        unsafe { Mailbox::dissolve(self.0, drop, free) };
    }
}

fn sent(result: Result<Option<Token<u32, u64>>, PushError<u64>>) -> Option<Token<u32, u64>> {
    result.unwrap()
}

fn drain(token: &mut Token<u32, u64>, pool: &mut Pool<u64>) -> Vec<u64> {
    let message = |_| match token.pop(pool) {
        Pop::Message(message) => Some(message),
        Pop::Empty | Pop::Gap => None,
    };
    std::iter::repeat(()).map_while(message).collect()
}

#[test]
fn the_first_push_to_an_idle_mailbox_gets_the_token() {
    let mut pool = pool(1 << 20);
    let mailbox = Owned::idle();
    let mut token = sent(mailbox.push(&mut pool, 1, 0)).expect("it was idle");
    assert!(sent(mailbox.push(&mut pool, 2, 0)).is_none(), "a token exists");
    assert_eq!(drain(&mut token, &mut pool), [1, 2]);
    *token.state() += 1;
    assert_eq!((*token.state(), token.local(), token.generation()), (8, 9, 1));
    assert!(sent(mailbox.push(&mut pool, 3, 0)).is_none());
    let mut token = token.idle().expect_err("a message is there");
    assert_eq!(drain(&mut token, &mut pool), [3]);
    token.idle().unwrap();
    let mut token = sent(mailbox.push(&mut pool, 4, 0)).expect("it was idle again");
    assert_eq!(token.pop(&mut pool), Pop::Message(4));
    assert_eq!(token.pop(&mut pool), Pop::Empty);
}

#[test]
fn control_overtakes_and_schedules_once() {
    let mut pool = pool(1 << 20);
    let mailbox = Owned::idle();
    let mut token = mailbox.push_control(10).expect("it was idle");
    assert!(mailbox.push_control(11).is_none(), "a token exists");
    assert!(sent(mailbox.push(&mut pool, 1, 0)).is_none(), "the push takes KICK away but no second token");
    assert!(mailbox.push_control(12).is_none());
    assert!(token.has_control());
    assert_eq!(token.take_control().collect::<Vec<_>>(), [10, 11, 12]);
    assert!(!token.has_control());
    assert_eq!(drain(&mut token, &mut pool), [1]);
    let token = token.idle().expect_err("KICK is set");
    token.idle().expect("nothing came since");
    let token = mailbox.push_control(13).expect("it was idle");
    let mut token = token.idle().expect_err("control waits");
    drop(token.take_control());
    let token = token.idle().expect_err("IDLE and KICK are still set");
    token.idle().unwrap();
}

#[test]
fn a_kick_taken_by_a_push_still_counts() {
    let mut pool = pool(1 << 20);
    let (mailbox, mut token) = Owned::new(Bounds::default());
    assert!(mailbox.push_control(10).is_none());
    assert!(sent(mailbox.push(&mut pool, 1, 0)).is_none());
    assert_eq!(drain(&mut token, &mut pool), [1]);
    let mut token = token.idle().expect_err("control waits");
    assert_eq!(token.take_control().count(), 1);
    token.idle().unwrap();
}

#[test]
fn chains_stay_together_and_stop_at_a_refusal() {
    let mut pool = pool(1 << 20);
    let (mailbox, token) = Owned::new(Bounds { messages: 3, bytes: 0 });
    token.idle().unwrap();
    let mut messages = (0..5).map(|n| (n, 0));
    let done = mailbox.push_chain(&mut pool, &mut messages);
    assert_eq!(done.count, 3);
    assert!(matches!(done.refused, Some(PushError::MailboxFull(3))));
    assert_eq!(messages.next(), Some((4, 0)), "the rest is the caller's");
    let mut token = done.token.expect("it was idle");
    assert_eq!(drain(&mut token, &mut pool), [0, 1, 2]);
    let none = mailbox.push_chain(&mut pool, &mut std::iter::empty());
    assert!(none.token.is_none() && none.refused.is_none() && none.count == 0);
}

#[test]
fn bounds_refuse_and_recover() {
    let mut pool = pool(1 << 20);
    let (mailbox, mut token) = Owned::new(Bounds { messages: 2, bytes: 100 });
    assert!(sent(mailbox.push(&mut pool, 1, 60)).is_none());
    assert!(matches!(mailbox.push(&mut pool, 2, 60), Err(PushError::MailboxFull(2))), "bytes");
    assert!(sent(mailbox.push(&mut pool, 3, 40)).is_none());
    assert!(matches!(mailbox.push(&mut pool, 4, 0), Err(PushError::MailboxFull(4))), "messages");
    assert!(mailbox.push_control(5).is_none(), "control is not bounded");
    assert_eq!(token.pop(&mut pool), Pop::Message(1));
    assert!(sent(mailbox.push(&mut pool, 6, 60)).is_none());
    assert!(matches!(mailbox.push(&mut pool, 7, 0), Err(PushError::MailboxFull(7))));
    assert!(matches!(mailbox.push(&mut pool, 8, 101), Err(PushError::MailboxFull(8))), "never fits");
    assert_eq!(drain(&mut token, &mut pool), [3, 6]);
    assert!(sent(mailbox.push(&mut pool, 9, 100)).is_none());
}

#[test]
fn the_node_budget_refuses_and_counts_nothing() {
    let depot = Arc::new(Depot::new(64, 1000));
    let mut pool = Pool::new(&depot);
    let (mailbox, mut token) = Owned::new(Bounds { messages: 100, bytes: 10_000 });
    assert!(matches!(mailbox.push(&mut pool, 0, 1001), Err(PushError::NodeFull(0))));
    for n in 0..64 {
        assert!(sent(mailbox.push(&mut pool, n, 1)).is_none());
    }
    assert!(matches!(mailbox.push(&mut pool, 64, 1), Err(PushError::NodeFull(64))));
    assert_eq!(drain(&mut token, &mut pool).len(), 64);
    assert!(sent(mailbox.push(&mut pool, 65, 1000)).is_none(), "all bytes are back");
    assert!(matches!(mailbox.push(&mut pool, 66, 1), Err(PushError::NodeFull(66))));
    assert_eq!(drain(&mut token, &mut pool), [65]);
    drop(pool);
    assert_eq!((depot.messages(), depot.bytes()), (1, 0), "the stub is still out");
}

#[test]
fn answers_go_past_the_node_budget_by_as_many_bytes_again() {
    let depot = Arc::new(Depot::new(64, 1000));
    let mut pool = Pool::new(&depot);
    let (mailbox, mut token) = Owned::new(Bounds { messages: 1, bytes: 10 });
    for n in 0..20 {
        assert!(mailbox.push_answer(&mut pool, n, 100).expect("there is room").is_none());
    }
    assert!(matches!(mailbox.push_answer(&mut pool, 20, 100), Err(PushError::NodeFull(20))));
    for n in 20..200 {
        assert!(mailbox.push_answer(&mut pool, n, 0).expect("it has no bytes").is_none());
    }
    assert!(drain(&mut token, &mut pool).into_iter().eq(0..200));
    assert!(mailbox.push_answer(&mut pool, 0, 2000).expect("all bytes are back").is_none());
    drain(&mut token, &mut pool);
    drop(pool);
    assert_eq!(depot.bytes(), 0);
}

#[test]
fn a_gap_is_reported_and_filled() {
    let mut pool = pool(1 << 20);
    let (mailbox, mut token) = Owned::new(Bounds::default());
    let node = mailbox.take_node(&mut pool, 0).ok().unwrap();
    // SAFETY: the node is empty and ours.
    unsafe { Node::fill(node, 1u64, 0) };
    // [A1] [A2] As in `publish`, but interrupted in the middle.
    let former = mailbox.senders.head.swap(node, Ordering::AcqRel);
    assert!(sent(mailbox.push(&mut pool, 2, 0)).is_none());
    assert_eq!(token.pop(&mut pool), Pop::Gap);
    let mut token = token.idle().expect_err("head is not tail");
    // SAFETY: the stub is alive.
    let former = unsafe { &*former };
    former.next.store(node, Ordering::Release); // [A2]
    assert_eq!(drain(&mut token, &mut pool), [1, 2]);
    token.idle().unwrap();
}

#[test]
fn sizes_are_as_promised() {
    assert_eq!(size_of::<Mailbox<[u64; 12], [u64; 9]>>(), 256, "two lines with 96 bytes of state");
    assert_eq!(size_of::<Option<Token<u32, u64>>>(), size_of::<usize>());
    assert_eq!(size_of::<Node<[u64; 9]>>(), 88);
}

const SENDERS: u64 = 3;
const EACH: u64 = 20_000;

/// Senders and workers that pass the token on: each sender's messages come in order, once, and the state is
/// never in two hands.
#[test]
fn many_senders_and_workers_lose_nothing() {
    let depot = Arc::new(Depot::new(1 << 20, 1 << 20));
    let mailbox = Owned::idle();
    let (scheduled, tokens) = crossbeam::channel::unbounded::<Token<u32, u64>>();
    let held = AtomicBool::new(false);
    let seen = crate::sync::Mutex::new(vec![Vec::new(); SENDERS as usize + 1]);
    let received = AtomicU64::new(0);
    let total = (SENDERS + 1) * EACH;
    std::thread::scope(|threads| {
        for sender in 0..=SENDERS {
            let (scheduled, mailbox, mut pool) = (scheduled.clone(), &*mailbox, Pool::new(&depot));
            threads.spawn(move || {
                for n in 0..EACH {
                    let message = sender << 32 | n;
                    let token = match sender {
                        SENDERS => mailbox.push_control(message),
                        _ => sent(mailbox.push(&mut pool, message, n as usize % 3)),
                    };
                    if let Some(token) = token {
                        scheduled.send(token).unwrap();
                    }
                }
            });
        }
        for _ in 0..2 {
            let (scheduled, tokens, mut pool) = (scheduled.clone(), tokens.clone(), Pool::new(&depot));
            let (held, seen, received) = (&held, &seen, &received);
            threads.spawn(move || {
                while received.load(Ordering::Relaxed) < total {
                    let Ok(mut token) = tokens.try_recv() else {
                        std::thread::yield_now();
                        continue;
                    };
                    assert!(!held.swap(true, Ordering::Relaxed), "two tokens");
                    *token.state() += 1;
                    let mut batch: Vec<u64> = token.take_control().collect();
                    while let Pop::Message(message) = token.pop(&mut pool) {
                        batch.push(message);
                        if batch.len() >= 16 {
                            break;
                        }
                    }
                    received.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    let mut seen = seen.lock();
                    for message in batch {
                        seen[(message >> 32) as usize].push(message as u32);
                    }
                    drop(seen);
                    held.store(false, Ordering::Relaxed);
                    if let Err(token) = token.idle() {
                        scheduled.send(token).unwrap();
                    }
                }
            });
        }
    });
    for from in &*seen.lock() {
        assert!(from.iter().copied().eq(0..EACH as u32));
    }
    assert!(depot.bytes() == 0 && depot.messages() <= 1);
}
