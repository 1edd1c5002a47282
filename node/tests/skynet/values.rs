//! Typed requests of Rust are ordinary arguments in Lua, and the other way round.

use crate::process::PATIENCE;
use crate::world::World;
use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use skyharbor::seri::Value;
use std::collections::BTreeMap;

/// A table with string keys, a sequence, a table with integer keys, a value that may be nil.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Score {
    player: String,
    points: f64,
    tags: Vec<String>,
    levels: BTreeMap<i64, String>,
    best: Option<i64>,
}

/// In Lua: `"echo", score, number`; the agent answers `"echo", score, number`.
#[derive(Serialize, Deserialize)]
struct Echoed(Score, i64);
impl Request for Echoed {
    type Reply = (String, Score, i64);
}
impl Wire for Echoed {
    const NAME: &'static str = "echo";
}

/// In Lua: `skynet.call(target, "lua", "score", {…})`, one table; the answer is another.
#[derive(Serialize, Deserialize)]
struct Improve(Score);
impl Request for Improve {
    type Reply = Score;
}
impl Wire for Improve {
    const NAME: &'static str = "score";
}

/// In Lua: `"divide", 17, 5` returns two numbers.
#[derive(Serialize, Deserialize)]
struct Divide(i64, i64);
impl Request for Divide {
    type Reply = (i64, i64);
}
impl Wire for Divide {
    const NAME: &'static str = "divide";
}

struct Board;
impl Service for Board {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Improve>().on::<Divide>();
    }
}
impl Handler<Improve> for Board {
    fn handle(&mut self, Improve(mut score): Improve, _: &mut Context<'_, Self>) -> Reply<Score> {
        score.points += 0.5;
        score.tags.push("better".to_owned());
        score.levels.insert(30, score.player.clone());
        Reply::Now(score)
    }
}
impl Handler<Divide> for Board {
    fn handle(&mut self, divide: Divide, _: &mut Context<'_, Self>) -> Reply<(i64, i64)> {
        match divide.0.checked_div(divide.1) {
            Some(quotient) => Reply::Now((quotient, divide.0 % divide.1)),
            None => Reply::Fail(CallError::Failed(1)),
        }
    }
}

#[test]
fn typed_requests_in_both_directions() {
    let Some(world) = World::found() else { return };
    let lua = world.real_master(1);
    let rust = world.library(2);
    let board = rust.node.spawn("board", Board).unwrap();
    rust.node.register_global("BOARD", &board).unwrap();

    let score = Score {
        player: "ann".to_owned(),
        points: 1.25,
        tags: ["a", "", "a tag that is longer than thirty-one bytes"].map(str::to_owned).into(),
        levels: BTreeMap::from([(-1, "cellar".to_owned()), (70_000, "roof".to_owned())]),
        best: None,
    };
    let to = Global::new("L1".parse().unwrap());
    let reply = rust.node.call_blocking(&to, Echoed(score.clone(), -5), PATIENCE);
    assert_eq!(reply, Ok(("echo".to_owned(), score.clone(), -5)));
    let reply =
        rust.node.call_blocking(&lua.handle(), Echoed(Score { best: Some(3), ..score.clone() }, 0), PATIENCE);
    assert_eq!(reply, Ok(("echo".to_owned(), Score { best: Some(3), ..score }, 0)));

    // The agent sends { player = "bob", points = 7.25, tags = {"x", "y"}, levels = {[10] = "ten"} }.
    assert_eq!(lua.ask("score BOARD").as_deref(), Ok("bob 7.75 x,y,better ten bob nil"));
    assert_eq!(lua.ask("say BOARD 3000 divide 17 5").as_deref(), Ok("replied 3 2"));
    assert!(lua.ask("say BOARD 3000 divide 17 0").unwrap().starts_with("failed "));
    assert!(lua.ask("say BOARD 3000 divide seventeen 5").unwrap().starts_with("failed "), "of another type");
    assert_eq!(lua.ask("say BOARD 3000 divide 7 2 surplus").as_deref(), Ok("replied 3 1"));
}

/// In Lua: `"Dot"`, `{ Circle = 0.5 }`, `{ Frame = { w = 3, h = 4 } }`, `{ Path = { 1, -2 } }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Frame { w: u8, h: u8 },
    Path(i64, i64),
}

/// In Lua: `"shapes", { … }, bytes` returns the same and a number.
#[derive(Serialize, Deserialize)]
struct Shapes(Vec<Shape>, Value);
impl Request for Shapes {
    type Reply = (Vec<Shape>, Value, i64);
}
impl Wire for Shapes {
    const NAME: &'static str = "shapes";
}

/// In Lua: `"get", name` and `"set", name, number`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Store {
    Get(String),
    Set(String, i64),
}
impl Request for Store {
    type Reply = Option<i64>;
}
impl Wire for Store {
    const NAME: &'static str = BY_VARIANT;
}

#[derive(Default)]
struct Shelf(BTreeMap<String, i64>);
impl Service for Shelf {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Store>();
    }
}
impl Handler<Store> for Shelf {
    fn handle(&mut self, request: Store, _: &mut Context<'_, Self>) -> Reply<Option<i64>> {
        Reply::Now(match request {
            Store::Get(name) => self.0.get(&name).copied(),
            Store::Set(name, number) => self.0.insert(name, number),
        })
    }
}

#[test]
fn enums_and_bytes_in_both_directions() {
    let Some(world) = World::found() else { return };
    let lua = world.real_master(1);
    let rust = world.library(2);
    let shapes = vec![Shape::Dot, Shape::Circle(0.5), Shape::Frame { w: 3, h: 4 }, Shape::Path(70_000, -2)];
    let bytes = Value::Bytes((0..=255).cycle().take(100_000).collect());
    let reply =
        rust.node.call_blocking(&lua.handle(), Shapes(shapes.clone(), bytes.clone()), PATIENCE).unwrap();
    assert_eq!(reply, (shapes, bytes, 4));

    let shelf = rust.node.spawn("shelf", Shelf::default()).unwrap();
    rust.node.register_global("SHELF", &shelf).unwrap();
    assert_eq!(lua.ask("say SHELF 3000 get ann").as_deref(), Ok("replied nil"));
    assert_eq!(lua.ask("say SHELF 3000 set ann 5").as_deref(), Ok("replied nil"));
    assert_eq!(lua.ask("say SHELF 3000 set ann -7").as_deref(), Ok("replied 5"));
    assert_eq!(lua.ask("say SHELF 3000 get ann").as_deref(), Ok("replied -7"));
    assert!(lua.ask("say SHELF 3000 set ann").unwrap().starts_with("failed "), "an argument is missing");
    assert!(lua.ask("say SHELF 3000 drop ann").unwrap().starts_with("failed "), "no such variant");
    world.assert_healthy();
}
