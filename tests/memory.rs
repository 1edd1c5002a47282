//! Nodes of one process over loopback, one of which has little memory and a service that takes its messages slowly.

use skyharbor::message::MemoryUse;
use skyharbor::prelude::*;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// The memory of the node that is sent to.
const MEMORY: usize = 32 << 20;
/// The largest payload.
const LARGE: usize = 16_777_203;
/// Nodes that send.
const SENDERS: u8 = 5;
/// Messages of each.
const EACH: u8 = 3;
/// Less than the links are not read for.
const HEARTBEAT: Duration = Duration::from_millis(500);
const HEARTBEAT_DEADLINE: Duration = secs(2);
const PATIENCE: Duration = secs(60);

/// Says from whom a message is and which, and takes the next one when it may.
struct Slow {
    permits: Receiver<()>,
    heard: Sender<(u8, u8, usize)>,
}
impl Service for Slow {
    fn message(&mut self, _: &mut Context<'_, Self>, message: Message) -> Disposition {
        let bytes = message.bytes();
        assert!(bytes[1..].iter().all(|byte| *byte == bytes[1]), "a message arrives as it was sent");
        // The test may have heard enough.
        let _ = self.heard.send((bytes[1], bytes[0], bytes.len()));
        // Once nobody gives permits any more, it may go on.
        let _ = self.permits.recv();
        Disposition::Unhandled
    }
}

/// Sends its messages, all at once.
struct Mouth;
struct Say(Handle, u8);
impl Request for Say {
    type Reply = ();
}
impl Service for Mouth {}
impl Handler<Say> for Mouth {
    fn handle(&mut self, Say(to, who): Say, ctx: &mut Context<'_, Self>) -> Reply<()> {
        for number in 0..EACH {
            ctx.send_raw(to, Kind::TEXT, Session::NONE, payload(who, number)).expect("there is room");
        }
        Reply::Now(())
    }
}

/// Answers after a while.
struct Clock(Option<Responder<()>>);
struct Wait(Duration);
impl Request for Wait {
    type Reply = ();
}
impl Service for Clock {}
impl Handler<Wait> for Clock {
    fn handle(&mut self, Wait(time): Wait, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (responder, later) = ctx.defer();
        self.0 = Some(responder);
        ctx.after(time, |me, ctx| me.0.take().expect("once").reply(ctx, ())).expect("there is room");
        later
    }
}

fn payload(who: u8, number: u8) -> Vec<u8> {
    let mut payload = vec![who; LARGE];
    payload[0] = number;
    payload
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

/// Node 1, which has little memory, and those that send to its service.
struct Crowd {
    victim: Node,
    senders: Vec<Node>,
    slow: Handle,
    permits: Sender<()>,
    heard: Receiver<(u8, u8, usize)>,
}

impl Crowd {
    fn new(pause: Duration) -> Self {
        let master = free_address();
        let common = || {
            let config = Config::local().address("127.0.0.1:0").pause_deadline(pause);
            config.heartbeat(HEARTBEAT, HEARTBEAT_DEADLINE)
        };
        let first = common().harbor(1).standalone(master.clone()).threads(2).memory(MEMORY);
        let victim = Node::start(first).expect("the standalone node starts");
        let (permits, waiting) = channel();
        let (said, heard) = channel();
        let slow = victim.spawn("slow", Slow { permits: waiting, heard: said }).expect("it starts").handle();
        let senders = (2..SENDERS + 2).map(|id| {
            let config = common().harbor(id).master(master.clone()).threads(1);
            let node = Node::start(config).expect("a slave starts");
            node.wait_linked(HarborId::new(1), PATIENCE).expect("node 1 is there");
            node
        });
        let senders = senders.collect();
        Self { victim, senders, slow, permits, heard }
    }

    fn memory(&self) -> MemoryUse {
        self.victim.status().expect("it says how it is").memory
    }

    fn until(&self, is_so: impl Fn(MemoryUse) -> bool) {
        let mut n = 0;
        while !is_so(self.memory()) {
            n += 1;
            if n % 2000 == 0 {
                eprintln!("{:?}", self.victim.status().unwrap().memory);
                for p in self.victim.status().unwrap().peers {
                    eprintln!("  {p:?}");
                }
            }
            thread::yield_now();
        }
    }

    fn shutdown(self) {
        drop(self.permits);
        for node in self.senders {
            node.shutdown(secs(20)).expect("all threads end");
        }
        self.victim.shutdown(secs(20)).expect("all threads end");
    }
}

#[test]
fn many_large_messages_at_once_to_a_slow_service_stay_within_the_memory_and_all_arrive_in_order() {
    let crowd = Crowd::new(PATIENCE);
    let hear = || crowd.heard.recv_timeout(PATIENCE).expect("nobody starves, no link is lost");
    thread::scope(|scope| {
        // A node that sends nothing more, and waits for an answer: silence would cost it its link.
        let (quiet, senders) = crowd.senders.split_last().expect("there are some");
        let call = scope.spawn(|| quiet.call_raw_blocking(crowd.slow, Kind::TEXT, vec![0; 2], PATIENCE));
        assert_eq!(hear(), (0, 0, 2));
        for (node, who) in senders.iter().zip(2..) {
            let mouth = node.spawn("mouth", Mouth).expect("it starts");
            node.call_blocking(&mouth, Say(crowd.slow, who), PATIENCE).expect("it says it");
        }
        // One message is in the mailbox, and nobody is read: longer than a node may be silent.
        crowd.until(|memory| memory.waiting == usize::from(SENDERS));
        let clock = crowd.victim.spawn("clock", Clock(None)).expect("it starts");
        crowd.victim.call_blocking(&clock, Wait(2 * HEARTBEAT_DEADLINE), PATIENCE).expect("it answers");
        let mut next = [0; SENDERS as usize + 2];
        for _ in 0..(SENDERS - 1) * EACH {
            let memory = crowd.memory();
            assert!(memory.reading + memory.mailboxes <= MEMORY / 2 + LARGE + (1 << 20), "{memory:?}");
            crowd.permits.send(()).expect("it waits");
            let (who, number, len) = hear();
            assert_eq!((number, len), (next[usize::from(who)], LARGE), "of node {who}");
            next[usize::from(who)] += 1;
        }
        assert_eq!(call.join().expect("it ends"), Err(CallError::Remote), "its link was not lost");
    });
    crowd.until(|memory| (memory.waiting, memory.reading) == (0, 0));
    let memory = crowd.memory();
    assert!(memory.crowded == 0 && memory.pauses >= u64::from(SENDERS), "{memory:?}");
    crowd.shutdown();
}

#[test]
fn a_link_that_is_not_read_for_too_long_is_lost_with_a_reason_for_every_call_and_comes_back() {
    let mut crowd = Crowd::new(Duration::from_millis(300));
    // One of them arrives, and fills the memory; its link is not read after that either.
    thread::scope(|scope| {
        for (who, node) in (2..).zip(&crowd.senders) {
            let slow = crowd.slow;
            scope.spawn(move || {
                let result = node.call_raw_blocking(slow, Kind::TEXT, payload(who, 0), PATIENCE);
                let lost =
                    [CallError::PeerDown(HarborId::new(1)), CallError::OutcomeUnknown(HarborId::new(1))];
                assert!(result.as_ref().is_err_and(|error| lost.contains(error)), "node {who}: {result:?}");
            });
        }
    });
    assert!(crowd.memory().crowded >= u64::from(SENDERS));
    drop(std::mem::replace(&mut crowd.permits, channel().0));
    crowd.until(|memory| memory.waiting == 0);
    for node in &crowd.senders {
        let call = || node.call_raw_blocking(crowd.slow, Kind::TEXT, vec![7; 2], PATIENCE);
        while call() != Err(CallError::Remote) {
            thread::yield_now();
        }
    }
    crowd.shutdown();
}
