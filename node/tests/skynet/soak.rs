//! Mixed traffic for a long time: every reply is checked, every one-way message counted. A line on stderr says each half
//! minute how far it is; the counts of wrong and failed replies in it must stay 0.

use crate::agent::{Burst, CALL_TIME, Progress, Tally, Traffic};
use crate::process::PATIENCE;
use crate::world::{Library, Program, Real, Sort, World, destination};
use skyharbor::clock::Instant;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The environment variable with the minutes, a fraction if need be.
const MINUTES: &str = "SKYNET_MINUTES";
const DEFAULT_TIME: Duration = Duration::from_secs(3);
/// Between two lines that say how far it is.
const REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// Callers of each node.
const CALLERS: u64 = 8;
/// One-way messages of one burst.
const BURST: i64 = 500;

/// What the traffic calls with: mostly small, some large.
fn sizes() -> Vec<usize> {
    let mut sizes = [0, 1, 20, 63, 64, 100, 300, 1000].repeat(8);
    sizes.extend([4 << 10, 16 << 10, 64 << 10, 64 << 10, 256 << 10, 1 << 20]);
    sizes
}

fn time() -> Duration {
    let Ok(minutes) = std::env::var(MINUTES) else { return DEFAULT_TIME };
    let minutes: f64 = minutes.parse().unwrap_or_else(|_| panic!("{MINUTES} = {minutes:?} is no number"));
    Duration::from_secs_f64(minutes * 60.0)
}

/// Three real nodes and two of ours, all of which call all others, and our program, whose echo is called.
struct Six {
    lua: Vec<Real>,
    rust: Vec<Library>,
    program: Program,
    world: World,
}

fn six(master: Sort) -> Option<Six> {
    let world = World::found()?;
    let (lua, rust) = match master {
        Sort::Real => {
            let lua = vec![world.real_master(1), world.real(2), world.real(3)];
            (lua, vec![world.library(4), world.library(5)])
        }
        Sort::Library | Sort::Program => {
            let rust = vec![world.library_master(1), world.library(2)];
            ([3, 4, 5].map(|id| world.real(id)).into(), rust)
        }
    };
    let program = world.program(6);
    Some(Six { lua, rust, program, world })
}

impl Six {
    /// Everybody but one node, by name and by handle.
    fn others(&self, own: u8) -> Vec<String> {
        let lua = self.lua.iter().map(|real| (real.name(), real.handle()));
        let rust = self.rust.iter().map(|library| (library.name(), library.agent.handle()));
        let all = lua.chain(rust).chain([("E6".to_owned(), self.program.handle())]);
        all.filter(|(_, handle)| handle.harbor().get() != own)
            .flat_map(|(name, handle)| [name, handle.to_string()])
            .collect()
    }

    /// Bursts to and fro until the time is over; counts the messages.
    ///
    /// # Errors
    /// Which burst did not arrive as it was sent; no more are made then.
    fn bursts(&self, time: Duration, messages: &AtomicU64) -> Result<(), String> {
        let (lua, rust, end) = (&self.lua[1], &self.rust[1], Instant::now() + time);
        let mut round = 0;
        while Instant::now() < end {
            round += 1;
            let counted = lua.ask(&format!("burst {} round{round} {BURST} 200", rust.name()));
            if counted != Ok(format!("{BURST} 0")) {
                return Err(format!("Lua to Rust, round {round}: {counted:?}"));
            }
            let burst =
                Burst { to: lua.handle().into(), tag: format!("round{round}"), count: BURST, size: 200 };
            let counted = rust.node.call_blocking(&rust.agent, burst, PATIENCE);
            if counted != Ok(Ok((BURST, 0))) {
                return Err(format!("Rust to Lua, round {round}: {counted:?}"));
            }
            messages.fetch_add(2 * BURST as u64, Ordering::Relaxed);
            // The pause until the next one is a call that takes a second.
            assert_eq!(lua.ask("later 100 slept").as_deref(), Ok("slept"));
        }
        Ok(())
    }

    /// What became of the calls so far, of Lua and of Rust.
    fn progress(&self) -> [Tally; 2] {
        let mut sums = [Tally::default(), Tally::default()];
        for real in &self.lua {
            sums[0].add(real.begin("progress").end_traffic(Duration::ZERO));
        }
        for library in &self.rust {
            sums[1].add(library.node.call_blocking(&library.agent, Progress, PATIENCE).unwrap());
        }
        sums
    }

    /// Says every now and then how far it is, until `done` is dropped.
    fn report(&self, master: Sort, messages: &AtomicU64, done: &mpsc::Receiver<()>) {
        let begun = Instant::now();
        while done.recv_timeout(REPORT_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let replies = |Tally { right, wrong, failed, first }: Tally| {
                format!("{right} right, {wrong} wrong, {failed} failed {first}")
            };
            let [lua, rust] = self.progress().map(replies);
            let (time, messages) = (Instant::now().since(begun).as_secs(), messages.load(Ordering::Relaxed));
            say(&format!("{time} s, {master:?} master: Lua {lua}; Rust {rust}; {messages} one-way"));
        }
    }
}

fn mixed(master: Sort) {
    let Some(six) = six(master) else { return };
    let time = time();
    let pause = Duration::from_millis(10);
    let traffic =
        Traffic { targets: Vec::new(), sizes: sizes(), callers: CALLERS, calls: 1 << 62, time, pause };
    let begin =
        |real: &Real| real.begin_traffic(&six.others(real.handle().harbor().get()).join(","), &traffic);
    let lua: Vec<_> = six.lua.iter().map(begin).collect();
    let messages = AtomicU64::new(0);
    let (bursts, rust) = thread::scope(|scope| {
        let (running, done) = mpsc::channel();
        let (six, messages) = (&six, &messages);
        scope.spawn(move || six.report(master, messages, &done));
        let calls: Vec<_> = six
            .rust
            .iter()
            .map(|library| {
                let others = six.others(library.node.harbor().get());
                let targets = others.iter().map(|target| destination(target)).collect();
                let traffic = Traffic { targets, ..traffic.clone() };
                scope.spawn(move || library.traffic(traffic))
            })
            .collect();
        let bursts = six.bursts(time, messages);
        if let Err(lost) = &bursts {
            say(&format!("{master:?} master: {lost}"));
        }
        let tallies = calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>();
        drop(running);
        (bursts, tallies)
    });
    assert_eq!(bursts, Ok(()));
    let messages = messages.into_inner();
    let mut from_lua = Tally::default();
    lua.into_iter().for_each(|calls| from_lua.add(calls.end_traffic(time + CALL_TIME)));
    let mut from_rust = Tally::default();
    rust.into_iter().for_each(|tally| from_rust.add(tally));
    say(&format!(
        "{time:?}, {master:?} master: {} replies to Lua, {} to Rust, {messages} one-way messages",
        from_lua.right, from_rust.right
    ));
    assert_eq!(from_lua, Tally::clean(from_lua.right), "calls of Lua");
    assert_eq!(from_rust, Tally::clean(from_rust.right), "calls of Rust");
    assert!(from_lua.right > 0 && from_rust.right > 0);
    six.world.assert_healthy();
}

/// Shown although the test passes.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[test]
fn mixed_traffic_under_a_real_master() {
    mixed(Sort::Real);
}

#[test]
fn mixed_traffic_under_our_master() {
    mixed(Sort::Library);
}
