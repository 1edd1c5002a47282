//! What services ask of their harbor about other nodes: where a handle is, when a link comes, when it is lost, when the
//! master is. Skynet's `skynet.harbor`, `harbor.connect`, `harbor.link`, `harbor.linkmaster`, and the same of ours.

use crate::process::PATIENCE;
use crate::world::{Library, Member, Sort, World};
use skyharbor::prelude::*;
use std::thread;

/// Waits for one of these, and answers then.
#[derive(Clone, Copy)]
enum Watch {
    Link(u8),
    Loss(u8),
    MasterLoss,
}

impl Request for Watch {
    type Reply = ();
}

struct Watcher;
impl Service for Watcher {}
impl Handler<Watch> for Watcher {
    fn handle(&mut self, watch: Watch, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (answer, later) = ctx.defer();
        let told = |_: &mut Self, ctx: &mut Context<'_, Self>, result: Result<(), CallError>| match result {
            Ok(()) => answer.reply(ctx, ()),
            Err(reason) => answer.fail(ctx, reason),
        };
        match watch {
            Watch::Link(id) => ctx.connect(HarborId::new(id), PATIENCE, told),
            Watch::Loss(id) => ctx.link(HarborId::new(id), PATIENCE, told),
            Watch::MasterLoss => ctx.link_master(PATIENCE, told),
        }
        later
    }
}

fn watch(library: &Library, watcher: &Addr<Watcher>, watch: Watch) -> Result<(), CallError> {
    library.node.call_blocking(watcher, watch, PATIENCE)
}

/// Lua on a real node and Rust on one of ours wait for a third node that comes and goes, and for the master's end.
fn all_is_seen(master: Sort, third: Sort) {
    let Some(world) = World::found() else { return };
    let master = world.first(master, 1);
    let (lua, rust) = (world.real(2), world.library(3));
    let watcher = rust.node.spawn("watcher", Watcher).unwrap();
    let third = thread::scope(|scope| {
        let waiting = (lua.begin("connected 200"), scope.spawn(|| watch(&rust, &watcher, Watch::Link(200))));
        let third = world.join(third, 200);
        assert_eq!(waiting.0.end(PATIENCE).as_deref(), Ok("connected"));
        assert_eq!(waiting.1.join().unwrap(), Ok(()));
        third
    });
    assert_eq!(lua.ask(&format!("where {}", third.handle())).as_deref(), Ok("200 true"));
    assert_eq!(lua.ask(&format!("where {}", lua.handle())).as_deref(), Ok("2 false"));
    assert_eq!(third.handle().harbor().get(), 200);
    thread::scope(|scope| {
        let waiting = (lua.begin("lost 200"), scope.spawn(|| watch(&rust, &watcher, Watch::Loss(200))));
        // Both have asked: their next question is answered.
        assert_eq!(lua.ask("connected 200").as_deref(), Ok("connected"));
        assert_eq!(watch(&rust, &watcher, Watch::Link(200)), Ok(()));
        end(third);
        assert_eq!(waiting.0.end(PATIENCE).as_deref(), Ok("lost"));
        assert_eq!(waiting.1.join().unwrap(), Ok(()));
    });
    assert_eq!(lua.ask("lost 200").as_deref(), Ok("lost"), "at once");
    assert_eq!(watch(&rust, &watcher, Watch::Loss(200)), Ok(()), "at once");
    thread::scope(|scope| {
        let waiting = (lua.begin("masterless"), scope.spawn(|| watch(&rust, &watcher, Watch::MasterLoss)));
        assert_eq!(lua.ask("call L2 1 10").as_deref(), Ok("right"));
        end(master);
        assert_eq!(waiting.0.end(PATIENCE).as_deref(), Ok("masterless"));
        assert_eq!(waiting.1.join().unwrap(), Ok(()));
    });
}

fn end(member: Member) {
    match member {
        Member::Real(real) => real.kill(),
        Member::Program(program) => program.kill(),
        Member::Library(library) => drop(library),
    }
}

#[test]
fn lua_and_rust_see_a_node_of_ours_come_and_go_under_a_real_master() {
    all_is_seen(Sort::Real, Sort::Program);
}

#[test]
fn lua_and_rust_see_a_real_node_come_and_go_under_our_master() {
    all_is_seen(Sort::Program, Sort::Real);
}

#[test]
fn nodes_of_ours_know_each_other_under_a_real_master_and_real_ones_say_nothing() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let (two, real, four) = (world.program(2), world.real(3), world.program(4));
    two.log().wait_for("Kin { peer: HarborId(4)");
    four.log().wait_for("Kin { peer: HarborId(2)");
    for from in [&master, &real] {
        assert_eq!(from.ask("query ~sky.2 3000").as_deref(), Ok(":02000007"));
        assert_eq!(from.ask("call E4 1 10").as_deref(), Ok("right"));
    }
    let known = |log: &crate::process::Log| log.lines().iter().filter(|line| line.contains(" Kin {")).count();
    assert_eq!((known(two.log()), known(four.log())), (1, 1), "nobody else is of our kind");
    world.assert_healthy();
}
