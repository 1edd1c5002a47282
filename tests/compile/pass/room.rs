//! A room that ticks, spawned from a factory with options.

use skyharbor::prelude::*;

struct Snapshot(u64);
impl Request for Snapshot {
    type Reply = ();
}

struct Player {
    seen: u64,
}
impl Service for Player {}
impl Handler<Snapshot> for Player {
    fn handle(&mut self, snapshot: Snapshot, _: &mut Context<'_, Self>) -> Reply<()> {
        self.seen = snapshot.0;
        Reply::Now(())
    }
}

struct Seen;
impl Request for Seen {
    type Reply = u64;
}
impl Handler<Seen> for Player {
    fn handle(&mut self, _: Seen, _: &mut Context<'_, Self>) -> Reply<u64> {
        Reply::Now(self.seen)
    }
}

struct Room {
    players: Vec<Addr<Player>>,
    steps: u64,
}
impl Room {
    fn simulate(&mut self, tick: Tick) {
        self.steps += 1;
        assert!(self.steps <= tick.index + 1);
    }
}
impl Service for Room {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let ticks = ctx.every(hz(60), Overrun::Skip, |room, ctx, tick| {
            room.simulate(tick);
            for player in &room.players {
                ctx.send(player, Snapshot(room.steps)).ok();
            }
        });
        ticks.map(drop).map_err(StartError::new)
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let player = node.spawn("player", Player { seen: 0 })?;
    let options = Spawn::new().mailbox(Bounded::messages(10_000)).local_name(".room");
    node.spawn_with("room", options, move || Room { players: vec![player], steps: 0 })?;
    assert!(node.local(".room").is_some());
    while node.call_blocking(&player, Seen, secs(5))? < 3 {
        std::thread::yield_now();
    }
    node.shutdown(secs(1))
}
