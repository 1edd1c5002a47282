//! E5, E16, E17: bytes that a node should not take, and an id byte that comes too early.

use crate::played::{self, Link, Played, frame, kind, text};
use crate::process::PATIENCE;
use crate::program::{output, stdout};
use crate::world::{Real, World};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;

/// The played node.
const PLAYED: u8 = 9;
/// A service of it.
const SOURCE: u32 = 0x0900_0008;
/// A service that no node has.
const MISSING: u32 = 0x00ff_fff0;

/// The played node joins; its link to one other.
fn play(world: &World, peer: u8) -> (Played, Link) {
    let played = Played::join(world.master().1, PLAYED);
    let mut links = played.accept_all();
    let place = links.iter().position(|link| link.peer == peer).unwrap();
    (played, links.swap_remove(place))
}

/// The other side still takes frames and answers: it says that there is no such service.
fn assert_alive(link: &mut Link, session: u32) {
    link.send(&frame(&[], SOURCE, kind::LUA, MISSING, session));
    let answer = link.receive_session(session).expect("the link lives");
    assert_eq!((answer.kind, answer.dest), (kind::ERROR, SOURCE & 0xff_ffff));
}

/// A frame whose length is less than its trailer, and one whose length no node may send.
const SHORT: [u8; 8] = [0, 0, 0, 4, 1, 2, 3, 4];
const LONG: [u8; 4] = [1, 0, 0, 0];

#[test]
fn e5_a_real_node_reads_past_a_short_frame_and_is_silent_about_a_long_one() {
    let Some(world) = World::found() else { return };
    let (_master, real) = (world.real_master(1), world.real(2));
    let (_played, mut link) = play(&world, 2);
    link.send(&SHORT);
    // It takes what lies before its buffer for the trailer.
    real.log().wait_for("Unknown destination");
    assert_alive(&mut link, 5);
    let watching = real.begin("lost 9");
    link.send(&LONG);
    played::wait_closed(&mut link.stream);
    let failed = real.ask("call :09000008 1 1").unwrap();
    assert!(failed.starts_with("failed "), "the only loss of a link that gives errors: {failed}");
    // The master's word comes when the played node is gone; until then nobody who waits for the loss is told.
    drop(_played);
    assert_eq!(watching.end(PATIENCE).as_deref(), Ok("lost"));
}

#[test]
fn e5_our_node_closes_the_link_of_such_a_frame_and_says_so() {
    let Some(world) = World::found() else { return };
    let (master, own) = (world.real_master(1), world.program(2));
    for (bytes, id, fault) in [(&SHORT[..], 9, "TooShort { length: 4 }"), (&LONG[..], 10, "TooLong")] {
        let played = Played::join(world.master().1, id);
        let mut links = played.accept_all();
        let link = links.iter_mut().find(|link| link.peer == 2).unwrap();
        link.send(bytes);
        played::wait_closed(&mut link.stream);
        let reason = own.log().wait_for(&format!("peer: Some(HarborId({id}))"));
        assert!(reason.contains(fault), "{reason}");
        own.log().wait_for(&format!("Down(HarborId({id}), Fault)"));
    }
    assert_eq!(master.ask("call E2 1 10").as_deref(), Ok("right"), "the others go on");
}

/// Tries with an acceptor that speaks first; it is a race, and most of them break the link.
const TRIES: std::ops::RangeInclusive<u8> = 100..=199;

/// A node that the master's node dials says its id before it was asked.
fn speak_first(world: &World, id: u8) -> (Played, Link) {
    let played = Played::join(world.master().1, id);
    let mut stream = played.accept_raw();
    stream.write_all(&[id]).unwrap();
    let mut peer = [0];
    stream.read_exact(&mut peer).unwrap();
    (played, Link { peer: peer[0], stream })
}

#[test]
fn e16_a_real_node_gives_up_links_whose_acceptor_speaks_first() {
    let Some(world) = World::found() else { return };
    let master = world.real_master(1);
    let is_broken = |id: u8| {
        let (_played, mut link) = speak_first(&world, id);
        link.send(&frame(&[], u32::from(id) << 24 | 8, kind::LUA, MISSING, 5));
        link.receive_session(5).is_none()
    };
    assert!({ TRIES }.any(is_broken));
    master.log().wait_for("Invalid shakehand id");
}

#[test]
fn e16_our_node_takes_an_id_byte_whenever_it_comes() {
    let Some(world) = World::found() else { return };
    let _master = world.program_master(1);
    for id in TRIES.step_by(10) {
        let (_played, mut link) = speak_first(&world, id);
        assert_eq!(link.peer, 1);
        link.send(&frame(&[], u32::from(id) << 24 | 8, kind::LUA, MISSING, 5));
        let answer = link.receive_session(5).expect("the link is up");
        assert_eq!(answer.kind, kind::ERROR);
    }
}

/// What a harbor service takes from its own node: send these bytes, wherever they are, to this service.
fn order() -> Vec<u8> {
    let name = [b'x'; 16];
    let (padding, message, size) = ([0; 4], [0x41; 8], 0xffff_u64.to_le_bytes());
    let kind = [0; 8];
    [&name[..], &SOURCE.to_le_bytes(), &padding, &message, &size, &kind].concat()
}

/// The harbor service of a real node.
fn harbor_of(real: &Real) -> u32 {
    let line = real.log().wait_for("LAUNCH harbor");
    u32::from_str_radix(&line[2..10], 16).unwrap()
}

#[test]
fn e17_one_frame_ends_a_real_node() {
    let Some(world) = World::found() else { return };
    let real = world.real_master(1);
    let harbor = harbor_of(&real);
    let (_played, mut link) = play(&world, 1);
    link.send(&frame(&order(), SOURCE, kind::SYSTEM, harbor, 0));
    assert_eq!(real.wait().signal(), Some(11), "SIGSEGV");
}

#[test]
fn e17_one_frame_gives_a_name_of_a_real_node_away() {
    let Some(world) = World::found() else { return };
    let real = world.real_master(1);
    let harbor = harbor_of(&real);
    let (_played, mut link) = play(&world, 1);
    link.send(&frame(b"N STOLEN", SOURCE, kind::HARBOR, harbor, 0));
    assert_alive(&mut link, 5);
    let call = real.begin("call STOLEN 1 10 3000");
    let request = link.receive().expect("the link lives");
    assert_eq!((request.kind, request.dest), (kind::LUA, SOURCE & 0xff_ffff));
    link.send(&frame(&[], SOURCE, kind::ERROR, request.source, request.session));
    assert!(call.end(PATIENCE).unwrap().starts_with("failed "));
}

#[test]
fn e17_our_node_drops_such_frames() {
    let Some(world) = World::found() else { return };
    let own = world.program_master(1);
    let (_played, mut link) = play(&world, 1);
    let services = (0..32).chain([own.handle().bits()]);
    for (number, dest) in services.enumerate() {
        for kind in [kind::SYSTEM, kind::HARBOR, kind::SOCKET] {
            for payload in [&order()[..], b"N STOLEN", b""] {
                link.send(&frame(payload, SOURCE, kind, dest, 7));
            }
        }
        assert_alive(&mut link, 1000 + number as u32);
    }
    // None of them was answered, and nothing was given away.
    link.send(&frame(&text("PING"), SOURCE, kind::DEBUG, own.handle().bits(), 8));
    let answer = link.receive().expect("the link lives");
    assert_eq!((answer.kind, answer.session), (kind::RESPONSE, 8));
    let names = output(&["names", "--via", own.control()]);
    assert!(stdout(&names).contains("E1") && !stdout(&names).contains("STOLEN"), "{}", stdout(&names));
    assert_eq!(own.call(&["E1", "1"]).as_deref(), Ok("[1]"));
}
