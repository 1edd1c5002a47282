//! Our master is killed and comes back, among nodes of ours, which dial it again, and real ones, which never do.

use crate::agent::{CALL_TIME, echo};
use crate::process::PATIENCE;
use crate::program::until;
use crate::world::{Library, Member, Program, Real, Sort, World, assert_mesh, destination};
use skyharbor::message::{Kind, LinkState};
use skyharbor::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;

/// Every node calls every other one, by name and by handle, round after round.
struct Rounds<'a> {
    done: &'a AtomicBool,
    made: Vec<Receiver<()>>,
}

impl<'a> Rounds<'a> {
    fn begin<'scope>(
        scope: &'scope thread::Scope<'scope, 'a>,
        members: &'a [Member],
        done: &'a AtomicBool,
    ) -> Self {
        let begin = |from: &'a Member| {
            let (sender, receiver) = mpsc::channel();
            scope.spawn(move || {
                let mut number = 0;
                while !done.load(Ordering::Relaxed) {
                    for to in members.iter().filter(|to| to.id() != from.id()) {
                        for target in [to.name(), to.handle().to_string()] {
                            number += 1;
                            let called = from.call(&target, number, 100);
                            assert_eq!(called, Ok(()), "{} calls {target}, call {number}", from.name());
                        }
                    }
                    let _ = sender.send(());
                }
            });
            receiver
        };
        Self { done, made: members.iter().map(begin).collect() }
    }

    /// Waits until each node has made a round that began after this moment.
    fn wait_for_another(&self) {
        for made in &self.made {
            while made.try_recv().is_ok() {}
            // The first of them began before.
            for _ in 0..2 {
                made.recv_timeout(PATIENCE).unwrap();
            }
        }
    }
}

impl Drop for Rounds<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
    }
}

/// Two real nodes and three of ours live while the master's process is killed and started again.
#[test]
fn our_master_that_comes_back_costs_no_traffic_and_hears_the_names_of_ours_again() {
    let Some(world) = World::found() else { return };
    let master = world.program_master(1);
    let nodes =
        [(Sort::Real, 2), (Sort::Library, 3), (Sort::Real, 4), (Sort::Program, 5), (Sort::Library, 6)];
    let rest = nodes.map(|(sort, id)| world.join(sort, id));
    let done = AtomicBool::new(false);
    let master = thread::scope(|scope| {
        let rounds = Rounds::begin(scope, &rest, &done);
        rounds.wait_for_another();
        master.kill();
        wait_without_master(&rest);
        rounds.wait_for_another();
        let master = world.program_master(1);
        for name in ["R3", "E5", "R6"] {
            let reply = master.call(&[name, "\"echo\"", "1"]);
            assert_eq!(reply.as_deref(), Ok("[\"echo\",1]"), "the master knows {name} again");
        }
        rounds.wait_for_another();
        master
    });
    let master = Member::Program(master);
    let [_, three, _, five, six] = &rest;
    // Who comes now, real or ours, finds all who know the new master.
    let (seven, eight) = (world.join(Sort::Library, 7), world.join(Sort::Real, 8));
    assert_mesh(&[&master, three, five, six, &seven, &eight], 100);
    assert_mesh(&rest.iter().collect::<Vec<_>>(), 100);
}

/// Waits until everybody has noticed that the master is gone.
fn wait_without_master(members: &[Member]) {
    for member in members {
        match member {
            Member::Real(real) => drop(real.log().wait_for("Master disconnect")),
            Member::Library(library) => {
                until("it noticed", || !library.node.status().unwrap().master_up);
            }
            Member::Program(program) => drop(program.log().wait_for("MasterDown")),
        }
    }
}

/// Nodes 2 (real), 3 and 4 (ours) that saw their master, our program 1, die and come back; the real one never dials it again.
struct Restarted {
    lua: Real,
    rust: [Library; 2],
    master: Program,
    world: World,
}

fn restarted() -> Option<Restarted> {
    let world = World::found()?;
    let master = world.program_master(1);
    let (lua, rust) = (world.real(2), [world.library(3), world.library(4)]);
    assert!(rust[0].call(destination("L2"), echo(1, 10)).is_ok(), "its node remembers who that is");
    rust[1].wait_linked(2);
    master.kill();
    lua.log().wait_for("Master disconnect");
    let master = world.program_master(1);
    for own in ["R3", "R4"] {
        assert_eq!(master.call(&[own, "\"echo\"", "1"]).as_deref(), Ok("[\"echo\",1]"));
    }
    Some(Restarted { lua, rust, master, world })
}

/// Calls and answers for somebody who cannot be reached from there. (It does not forward: an answer goes straight to
/// the asker.)
struct Relay(Destination);
impl Service for Relay {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        let responder = ctx.defer_raw();
        ctx.call_raw(self.0, Kind::LUA, message.into_payload(), CALL_TIME, |_, ctx, reply| match reply {
            Ok(reply) => responder.reply(ctx, reply),
            Err(reason) => responder.fail(ctx, reason),
        });
        Disposition::Handled
    }
}

#[test]
fn real_nodes_of_before_are_reached_through_ours_of_before_only() {
    let Some(Restarted { lua, rust: [three, four], master, world }) = restarted() else { return };
    let fresh = world.library(5);
    let request = echo(1, 10);
    let unheard = |reply: &Result<Payload, CallError>| {
        matches!(reply, Err(CallError::Timeout | CallError::NoName(_) | CallError::PeerDown(_)))
    };
    for to in [destination("L2"), lua.handle().into()] {
        let reply = fresh.node.call_raw_blocking(to, Kind::LUA, request.clone(), millis(300));
        assert!(unheard(&reply), "{to:?}: {reply:?}");
    }
    assert_eq!(lua.ask("query R5 30").as_deref(), Ok("late"), "no master tells it anything");
    assert_eq!(lua.ask(&format!("call {} 1 10 30", fresh.agent.handle())).as_deref(), Ok("late"));

    let relay = three.node.spawn("relay", Relay(destination("L2"))).unwrap();
    three.node.register_global("RELAY", &relay).unwrap();
    assert_eq!(fresh.call(destination("RELAY"), request.clone()).as_deref(), Ok(&request[..]));
    assert_eq!(master.call(&["RELAY", "\"echo\"", "2"]).as_deref(), Ok("[\"echo\",2]"));
    let relay = three.node.spawn("relay", Relay(destination("R5"))).unwrap();
    let through = lua.ask(&format!("call {} 1 10", relay.handle()));
    assert_eq!(through.as_deref(), Ok("right"), "by handle: it hears of no new name");

    // The new master never heard of its name: who takes it has it everywhere but there.
    fresh.node.register_global("L2", &fresh.agent).unwrap();
    for from in [&three, &four] {
        until("the name is the newcomer's", || {
            from.node.query("L2".parse().unwrap(), PATIENCE) == Ok(fresh.agent.handle())
        });
    }
    assert_eq!(lua.ask("query L2 3000"), Ok(lua.handle().to_string()));
}

/// The restarted master does not know that a living real node has this id, and takes another one in.
#[test]
fn a_living_real_slave_keeps_its_links_when_a_newcomer_is_given_its_id() {
    let Some(Restarted { lua, rust: [three, four], master, world }) = restarted() else { return };
    let fresh = world.library(2);
    let reply = master.call(&["R2", "\"echo\"", "1"]);
    assert_eq!(reply.as_deref(), Ok("[\"echo\",1]"), "who never knew the real one finds the newcomer");
    for own in [&three, &four] {
        // Its name leads over the link to the real node, where nobody has such a handle.
        let reply = own.node.call_raw_blocking(destination("R2"), Kind::LUA, echo(1, 10), millis(300));
        assert!(reply.is_err(), "{reply:?}");
        assert_eq!(own.call(lua.handle(), echo(2, 10)).as_deref(), Ok(&echo(2, 10)[..]), "the real one");
        assert_eq!(lua.ask(&format!("call {} 1 10", own.agent.handle())).as_deref(), Ok("right"));
        assert_eq!(own.link_state(2), Some(LinkState::Header));
    }
    // They go over to the newcomer when the real one is gone.
    lua.kill();
    for own in [&three, &four] {
        until("the newcomer is linked", || own.call(fresh.agent.handle(), echo(3, 10)).is_ok());
        assert_eq!(own.call(destination("R2"), echo(4, 10)).as_deref(), Ok(&echo(4, 10)[..]));
    }
}

#[test]
fn a_real_newcomer_with_the_id_of_a_living_real_slave_waits_until_that_is_gone() {
    let Some(Restarted { lua, rust: [three, four], master, world }) = restarted() else { return };
    let fresh = world.start_real(2, false);
    fresh.log().wait_for("Waiting for 3 harbors");
    fresh.log().wait_for("Harbor 1 connected");
    for own in [&three, &four] {
        assert_eq!(
            own.call(lua.handle(), echo(1, 10)).as_deref(),
            Ok(&echo(1, 10)[..]),
            "the old link stays"
        );
    }
    let waits = !fresh.log().lines().iter().any(|line| line.contains("Shakehand ready"));
    assert!(waits, "for those that have a link to the old one");
    lua.kill();
    let fresh = Member::Real(fresh.ready());
    let (three, four) = (Member::Library(three), Member::Library(four));
    assert_mesh(&[&fresh, &three, &four, &Member::Program(master)], 100);
}

#[test]
fn a_real_slave_that_is_started_again_comes_back_under_its_old_id() {
    let Some(Restarted { lua, rust: [three, four], master, world }) = restarted() else { return };
    assert_eq!(lua.ask("say SERVICE 30 QUERY @kv").as_deref(), Ok("late"), "it waits for a dead node");
    lua.kill();
    let lua = Member::Real(world.real(2));
    let (three, four) = (Member::Library(three), Member::Library(four));
    assert_mesh(&[&lua, &three, &four, &Member::Program(master)], 100);
}
