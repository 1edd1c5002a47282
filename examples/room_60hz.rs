//! A room that simulates at 60 Hz and tells its players. Ticks come on an absolute schedule and ahead of queued messages;
//! what is missed while a handler runs is skipped.

use skyharbor::prelude::*;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

struct Snapshot {
    x: f64,
}
impl Request for Snapshot {
    type Reply = ();
}

struct Player {
    seen: u32,
}
impl Service for Player {}
impl Handler<Snapshot> for Player {
    fn handle(&mut self, snapshot: Snapshot, _: &mut Context<'_, Self>) -> Reply<()> {
        self.seen += 1;
        if self.seen.is_multiple_of(10) {
            println!("player: snapshot {} says x = {:.2}", self.seen, snapshot.x);
        }
        Reply::Now(())
    }
}

struct Room {
    players: Vec<Addr<Player>>,
    x: f64,
    latest: Duration,
    done: Sender<Duration>,
}
impl Service for Room {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let ticks = ctx.every(hz(60), Overrun::Skip, |room, ctx, tick| room.simulate(ctx, tick));
        ticks.map(drop).map_err(StartError::new)
    }
}
impl Room {
    fn simulate(&mut self, ctx: &mut Context<'_, Self>, tick: Tick) {
        self.x += 0.25;
        self.latest = self.latest.max(tick.late_by);
        for player in &self.players {
            if let Err(refused) = ctx.send(player, Snapshot { x: self.x }) {
                println!("room: {refused}");
            }
        }
        if tick.index == 29 {
            let _ = self.done.send(self.latest);
            ctx.exit();
        }
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let player = node.spawn("player", Player { seen: 0 })?;
    let (done, end) = channel();
    let options = Spawn::new().mailbox(Bounded::messages(10_000)).local_name(".room");
    node.spawn_with("room", options, move || Room {
        players: vec![player],
        x: 0.0,
        latest: Duration::ZERO,
        done,
    })?;
    if let Ok(latest) = end.recv() {
        println!("room: half a second at 60 Hz, the latest tick came {latest:?} late");
    }
    node.shutdown(secs(1))
}
