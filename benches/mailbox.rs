//! What do a push and a pop cost, when the mailbox is idle and when it is not? One thread: no cache line moves.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skyharbor::queue::{Depot, Directory, Participant, Pool, Pop, Token};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const BATCH: u64 = 64;

struct World {
    participant: Participant<(), u64>,
    pool: Pool<u64>,
    local: u32,
}

impl World {
    /// A directory with one mailbox, and its token.
    fn new() -> (Self, Token<(), u64>) {
        let directory = Arc::new(Directory::new(8));
        let mut participant = directory.register();
        participant.online();
        let token = directory.insert(None, |_, _| ()).expect("a new directory has room");
        let pool = Pool::new(&Arc::new(Depot::new(1 << 20, 1 << 20)));
        (Self { participant, pool, local: token.local() }, token)
    }

    /// Finds the mailbox and pushes, as a send does.
    fn push(&mut self, message: u64) -> Option<Token<(), u64>> {
        let mailbox = self.participant.find(self.local).expect("it lives");
        mailbox.push(&mut self.pool, message, 0).expect("the budget is large")
    }

    fn pop(&mut self, token: &mut Token<(), u64>) -> u64 {
        match token.pop(&mut self.pool) {
            Pop::Message(message) => message,
            Pop::Empty | Pop::Gap => unreachable!("one thread pushed before"),
        }
    }
}

fn mailbox(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("mailbox");
    let (mut world, mut token) = World::new();
    group.throughput(Throughput::Elements(1));
    group.bench_function("push and pop, the owner at work", |bench| {
        bench.iter(|| {
            assert!(world.push(black_box(7)).is_none());
            black_box(world.pop(&mut token))
        });
    });

    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("64 pushes, then 64 pops", |bench| {
        bench.iter(|| {
            for message in 0..BATCH {
                assert!(world.push(black_box(message)).is_none());
            }
            (0..BATCH).map(|_| world.pop(&mut token)).sum::<u64>()
        });
    });

    token.idle().expect("nothing was sent");
    group.throughput(Throughput::Elements(1));
    group.bench_function("push to an idle one, pop, go idle", |bench| {
        bench.iter(|| {
            let mut woken = world.push(black_box(7)).expect("it was idle");
            black_box(world.pop(&mut woken));
            woken.idle().expect("nothing was sent");
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    targets = mailbox
}
criterion_main!(benches);
