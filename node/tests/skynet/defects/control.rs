//! E9: the link between a node and the master is cut, and nothing else.

use crate::agent::echo;
use crate::process::PATIENCE;
use crate::program::until;
use crate::world::{Draft, Member, Sort, World, assert_mesh, destination};
use parking_lot::Mutex;
use skyharbor::prelude::*;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::Builder;

/// A way to the master that can be cut; connections that come later are closed at once.
struct Way {
    port: u16,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    fn to(target: (&'static str, u16)) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Self { port, streams: Arc::default() };
        let streams = Arc::clone(&way.streams);
        let accept = move || {
            for near in listener.incoming().map_while(Result::ok) {
                let mut streams = streams.lock();
                if let (true, Ok(far)) = (streams.is_empty(), TcpStream::connect(target)) {
                    streams.extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                    carry(&near, &far);
                    carry(&far, &near);
                }
            }
        };
        Builder::new().spawn(accept).unwrap();
        way
    }

    /// A real node that reaches the master this way.
    fn lead(&self, mut draft: Draft, world: &World) -> Draft {
        let master = |port: u16| format!("master = \"127.0.0.1:{port}\"");
        draft.config = draft.config.replace(&master(world.master().1), &master(self.port));
        draft
    }

    fn cut(&self) {
        for stream in &*self.streams.lock() {
            // One of them may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn carry(from: &TcpStream, to: &TcpStream) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    Builder::new().spawn(move || io::copy(&mut from, &mut to)).unwrap();
}

#[test]
fn e9_a_real_node_without_the_master_is_called_dead_while_it_lives() {
    let Some(world) = World::found() else { return };
    let (master, other) = (world.real_master(1), world.real(2));
    let way = Way::to(world.master());
    let cut = world.start(way.lead(world.draft(3, false), &world)).ready();
    assert_eq!(other.ask("call L3 1 10").as_deref(), Ok("right"));
    let watching = other.begin("lost 3");
    way.cut();
    assert_eq!(watching.end(PATIENCE).as_deref(), Ok("lost"), "a false alarm");
    for from in [&other, &master] {
        assert_eq!(from.ask("call L3 1 10").as_deref(), Ok("right"), "the link is as it was");
    }
    cut.log().wait_for("Master disconnect");
    // It never dials the master again: no new name, no new node.
    assert_eq!(master.ask("register FRESH").as_deref(), Ok("registered"));
    assert_eq!(cut.ask("query FRESH 50").as_deref(), Ok("late"));
    let late = world.start_real(4, false);
    late.log().wait_for("Waiting for 2 harbors");
    let late = late.ready();
    assert_eq!(cut.ask("call L4 1 10 50").as_deref(), Ok("late"));
    assert_eq!(late.ask("call L3 1 10 50").as_deref(), Ok("late"));
}

/// Node 3, ours, is cut off from the master; nodes 2, real, and 4, ours, look on.
fn our_node_is_cut(master: Sort) {
    let Some(world) = World::found() else { return };
    let master = world.first(master, 1);
    let lua = world.real(2);
    let way = Way::to(world.master());
    let (cut, rust) = (world.program_by_way_of(3, way.port), world.library(4));
    rust.wait_linked(3);
    let lua = Member::Real(lua);
    let (cut, rust) = (Member::Program(cut), Member::Library(rust));
    let members = [&master, &lua, &cut, &rust];
    assert_mesh(&members, 100);
    way.cut();
    let (Member::Real(lua), Member::Program(cut)) = (&lua, &cut) else {
        unreachable!("that is what they are")
    };
    cut.log().wait_for("MasterDown");
    assert_eq!(lua.ask("lost 3").as_deref(), Ok("lost"), "real nodes believe it");
    assert_mesh(&members, 100);
}

#[test]
fn e9_our_node_without_a_real_master_goes_on() {
    our_node_is_cut(Sort::Real);
}

#[test]
fn e9_our_node_without_our_master_goes_on() {
    our_node_is_cut(Sort::Library);
}

/// Says whether node 3 was lost since it was asked first.
#[derive(Default)]
struct Lookout {
    is_lost: bool,
}

struct IsLost;

impl Request for IsLost {
    type Reply = bool;
}

impl Service for Lookout {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        ctx.link(HarborId::new(3), NEVER, |lookout, _, lost| lookout.is_lost = lost.is_ok());
        Ok(())
    }
}

impl Handler<IsLost> for Lookout {
    fn handle(&mut self, _: IsLost, _: &mut Context<'_, Self>) -> Reply<bool> {
        Reply::Now(self.is_lost)
    }
}

/// The master's word that a node is dead is no alarm as long as its link lives.
#[test]
fn e9_our_node_gives_no_false_alarm() {
    let Some(world) = World::found() else { return };
    let (master, rust) = (world.real_master(1), world.library(2));
    let way = Way::to(world.master());
    let cut = world.start(way.lead(world.draft(3, false), &world)).ready();
    rust.wait_linked(3);
    let request = echo(1, 10);
    assert_eq!(rust.call(destination("L3"), request.clone()).as_deref(), Ok(&request[..]));
    assert_eq!(cut.ask("call R2 1 10").as_deref(), Ok("right"));
    let lookout = rust.node.spawn("lookout", Lookout::default()).unwrap();
    let is_lost = || rust.node.call_blocking(&lookout, IsLost, PATIENCE).unwrap();
    way.cut();
    master.log().wait_for("slave 3 is down");
    // What the master says later comes behind what it said of node 3.
    assert_eq!(master.ask("register FRESH").as_deref(), Ok("registered"));
    assert_eq!(rust.node.query("FRESH".parse().unwrap(), PATIENCE), Ok(master.handle()));
    assert!(!is_lost());
    assert_eq!(rust.call(destination("L3"), request.clone()).as_deref(), Ok(&request[..]));
    assert_eq!(cut.ask("call R2 1 10").as_deref(), Ok("right"));
    cut.kill();
    until("it is lost now", is_lost);
}
