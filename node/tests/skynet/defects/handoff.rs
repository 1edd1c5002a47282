//! E11: a service sends and goes on working, and a worker is idle: when does the receiver run? Figures go to stderr; nothing
//! here depends on them.

use crate::process::PATIENCE;
use crate::world::World;
use skyharbor::clock::Instant;
use skyharbor::prelude::*;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Messages that are timed.
const ROUNDS: u32 = 100;
/// How long a sender works on after it has sent.
const WORK: Duration = millis(10);

/// Runs when a message comes.
struct Receiver {
    latencies: Vec<Duration>,
    ran: Arc<AtomicU32>,
}

struct Sent(Instant);
impl Request for Sent {
    type Reply = ();
}

struct Latencies;
impl Request for Latencies {
    type Reply = Vec<Duration>;
}

impl Service for Receiver {}
impl Handler<Sent> for Receiver {
    fn handle(&mut self, sent: Sent, _: &mut Context<'_, Self>) -> Reply<()> {
        self.latencies.push(Instant::now().since(sent.0));
        self.ran.fetch_add(1, Ordering::Relaxed);
        Reply::Now(())
    }
}
impl Handler<Latencies> for Receiver {
    fn handle(&mut self, _: Latencies, _: &mut Context<'_, Self>) -> Reply<Vec<Duration>> {
        Reply::Now(std::mem::take(&mut self.latencies))
    }
}

/// Sends, and works on. Whether the receiver ran before its work was done.
struct Sender {
    to: Addr<Receiver>,
    ran: Arc<AtomicU32>,
}

struct Round;
impl Request for Round {
    type Reply = bool;
}

impl Service for Sender {}
impl Handler<Round> for Sender {
    fn handle(&mut self, _: Round, ctx: &mut Context<'_, Self>) -> Reply<bool> {
        let before = self.ran.load(Ordering::Relaxed);
        let (to, begun) = (self.to, Instant::now());
        ctx.send(&to, Sent(begun)).unwrap();
        while Instant::now().since(begun) < WORK {
            std::hint::spin_loop();
        }
        Reply::Now(self.ran.load(Ordering::Relaxed) > before)
    }
}

#[test]
fn e11_a_receiver_beside_a_busy_sender() {
    let Some(world) = World::found() else { return };
    let real = world.real_master(1);
    let receiver = real.ask("child").unwrap();
    let line = real.ask(&format!("handoff {receiver} {ROUNDS} {}", WORK.as_millis())).unwrap();
    let mut theirs: Vec<_> =
        line.split(' ').map(|nanos| Duration::from_nanos(nanos.parse().unwrap())).collect();
    assert_eq!(theirs.len(), ROUNDS as usize);

    let node = Node::start(Config::local().threads(2)).unwrap();
    let ran = Arc::<AtomicU32>::default();
    let receiver = Receiver { latencies: Vec::new(), ran: Arc::clone(&ran) };
    let to = node.spawn("receiver", receiver).unwrap();
    let sender = node.spawn("sender", Sender { to, ran }).unwrap();
    let during = (0..ROUNDS).filter(|_| node.call_blocking(&sender, Round, PATIENCE).unwrap()).count();
    let mut ours = node.call_blocking(&to, Latencies, PATIENCE).unwrap();
    assert_eq!(ours.len(), ROUNDS as usize);

    say("Skynet", &mut theirs);
    say("skyharbor", &mut ours);
    let line = format!("{during} of {ROUNDS} receivers of skyharbor ran while their senders worked\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Shown although the test passes.
fn say(whose: &str, latencies: &mut [Duration]) {
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
    let line = format!(
        "{whose}, from the send to the receiver: p50 {:?}, p90 {:?}, max {:?}\n",
        at(50),
        at(90),
        at(100)
    );
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
