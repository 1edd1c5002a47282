//! A rank service in a Skynet cluster: Lua calls it by its global name, and it calls a Lua service back.
//! The Lua side is in `lua/`; `docs/SKYNET.md` says how to run both.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;

/// `local points, word = skynet.call("RANK", "lua", "report", { player = "ann", points = 5 })`
#[derive(Serialize, Deserialize)]
struct Report {
    player: String,
    points: i64,
}
impl Request for Report {
    type Reply = (i64, Option<String>);
}
impl Wire for Report {
    const NAME: &'static str = "report";
}

/// `local list = skynet.call("RANK", "lua", "top", 3)`: a list of lists `{ player, points }`
#[derive(Serialize, Deserialize)]
struct Top(usize);
impl Request for Top {
    type Reply = Vec<(String, i64)>;
}
impl Wire for Top {
    const NAME: &'static str = "top";
}

/// What the Lua service `HALL` is called with: `"leader", player, points`.
#[derive(Serialize, Deserialize)]
struct Leader(String, i64);
impl Request for Leader {
    type Reply = String;
}
impl Wire for Leader {
    const NAME: &'static str = "leader";
}

#[derive(Default)]
struct Rank {
    points: std::collections::BTreeMap<String, i64>,
}
impl Service for Rank {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Report>().on::<Top>();
    }
}
impl Handler<Report> for Rank {
    fn handle(&mut self, report: Report, ctx: &mut Context<'_, Self>) -> Reply<(i64, Option<String>)> {
        let best = self.points.values().copied().max().unwrap_or(0);
        let points = report.points + self.points.get(&report.player).unwrap_or(&0);
        self.points.insert(report.player.clone(), points);
        if points <= best {
            return Reply::Now((points, None)); // in Lua two values: points, nil
        }
        let (answer, later) = ctx.defer(); // the gate waits for the hall, one second at most
        ctx.call(&ctx.global("HALL"), Leader(report.player, points), secs(1), move |_, ctx, word| {
            answer.reply(ctx, (points, word.ok()));
        });
        later
    }
}
impl Handler<Top> for Rank {
    fn handle(&mut self, top: Top, _: &mut Context<'_, Self>) -> Reply<Vec<(String, i64)>> {
        let mut list: Vec<_> = self.points.clone().into_iter().collect();
        list.sort_by_key(|(_, points)| -points);
        list.truncate(top.0);
        Reply::Now(list)
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::from_file(std::env::args().nth(1).unwrap_or("node.toml".into()))?)?;
    let rank = node.spawn("rank", Rank::default())?;
    node.register_global("RANK", &rank)?;
    println!("RANK is {}", rank.handle());
    node.wait();
    node.shutdown(secs(5))
}
