//! The machine as a whole: its roles, its names, its farewell.

use super::*;
use crate::limits::{HANDSHAKE_TIME_MAX, STRANGERS_MAX};
use crate::message::{
    Body, Handle, HarborAnswer, HarborRequest, LinkState, Name, NameEntry, Payload, Session, Waiter,
};
use crate::wire::PacketName;
use crate::wire::control::{Packet, encode};
use std::collections::BTreeMap;
use std::time::Duration;

mod calls;
mod compression;
mod kin;
mod liveness;
mod memory;
mod random;

/// One machine whose peers are played by hand.
struct Bench {
    harbor: Harbor,
    now: Instant,
    /// Dialled and not answered yet.
    dialled: BTreeMap<String, ConnId>,
    /// Everything else that it wanted done, a few words each.
    done: Vec<String>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        Self { harbor: Harbor::new(settings), now, dialled: BTreeMap::new(), done: Vec::new() }
    }

    /// Node 5 under the master `master`.
    fn slave() -> Self {
        Self::slave_as(Settings::new(HarborId::new(5)))
    }

    fn slave_as(mut settings: Settings) -> Self {
        settings.join =
            Some(Join { listen: "here".to_owned(), advertise: None, master: "master".to_owned() });
        let mut bench = Self::new(settings);
        bench.input(|harbor, now| harbor.start(now));
        bench
    }

    /// Node 5 as a member, with its control link.
    fn member() -> (Self, ConnId) {
        Self::member_as(Settings::new(HarborId::new(5)))
    }

    fn member_as(settings: Settings) -> (Self, ConnId) {
        let mut bench = Self::slave_as(settings);
        let control = bench.connect("master");
        bench.read(control);
        bench.packet(control, &Packet::Wait { n: 0 });
        bench.take();
        (bench, control)
    }

    /// A member with a link from node 2.
    fn linked() -> (Self, ConnId, ConnId) {
        Self::linked_as(Settings::new(HarborId::new(5)))
    }

    fn linked_as(settings: Settings) -> (Self, ConnId, ConnId) {
        let (mut bench, control) = Self::member_as(settings);
        let link = bench.accept(Listener::Links);
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
        bench.read(link);
        bench.take();
        (bench, control, link)
    }

    fn input(&mut self, input: impl FnOnce(&mut Harbor, Instant)) {
        input(&mut self.harbor, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        check_alarm(&mut self.harbor);
        while let Some(action) = self.harbor.poll_action() {
            assert!(self.harbor.balances());
            match action {
                Action::Listen { listener, address } => {
                    self.harbor.handle_listening(self.now, listener, Ok(address));
                }
                Action::Connect { conn, address } => {
                    self.done.push(format!("dial {address}"));
                    self.dialled.insert(address, conn);
                }
                other => self.done.push(words(&other)),
            }
        }
    }

    /// What was done since the last look.
    fn take(&mut self) -> String {
        std::mem::take(&mut self.done).join(", ").replace("HarborId", "")
    }

    fn connect(&mut self, address: &str) -> ConnId {
        let conn = self.dialled.remove(address).expect("it was dialled");
        self.input(|harbor, now| harbor.handle_connected(now, conn));
        conn
    }

    fn refuse(&mut self, address: &str) {
        let conn = self.dialled.remove(address).expect("it was dialled");
        self.input(|harbor, now| {
            harbor.handle_connect_failed(now, conn, io::ErrorKind::ConnectionRefused);
        });
    }

    fn accept(&mut self, listener: Listener) -> ConnId {
        let conn = self.harbor.handle_accepted(self.now, listener);
        self.drain();
        conn
    }

    fn packet(&mut self, conn: ConnId, packet: &Packet) {
        let mut bytes = Vec::new();
        encode(packet, &[], &mut bytes).unwrap();
        self.input(|harbor, now| harbor.handle_bytes(now, conn, &bytes));
    }

    /// The peer reads everything that was written to it.
    fn read(&mut self, conn: ConnId) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(outbox) = self.harbor.outbox(conn) {
            let mut slices = crate::wire::Slices::new();
            outbox.slices(&mut slices);
            slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
            drop(slices);
            outbox.advance(bytes.len());
        }
        self.input(|harbor, now| harbor.handle_sent(now, conn));
        bytes
    }

    fn ask(&mut self, request: HarborRequest) {
        self.input(|harbor, now| harbor.handle_request(now, request));
    }

    fn send(&mut self, session: u32, dest: u32) {
        let envelope = Envelope { source: self.service(), ..message(session, dest) };
        self.input(|harbor, now| harbor.handle_send(now, envelope));
    }

    fn send_to(&mut self, session: u32, name: &str) {
        let name = name.parse().unwrap();
        let envelope = Envelope { source: self.service(), ..message(session, 0) };
        self.ask(HarborRequest::Send { name, envelope });
    }

    /// The service of this node that sends and asks.
    fn service(&self) -> Handle {
        Handle::new(self.harbor.desk.own, 8)
    }

    fn after(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.harbor.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.input(|harbor, now| harbor.handle_timeout(now));
        }
        self.now = until;
    }
}

/// The machine is called at the latest when something is due: a deadline of which nobody told the alarm passes unseen. (An
/// alarm that is too early would hide the next one that is missing.)
fn check_alarm(harbor: &mut Harbor) {
    let due = harbor.deadline();
    let is_in_time = |due: Instant| harbor.poll_timeout().is_some_and(|alarm| alarm <= due);
    assert!(due.is_none_or(is_in_time), "nothing wakes it at {due:?}");
    harbor.desk.set_alarm(due);
}

fn message(session: u32, dest: u32) -> Envelope {
    Envelope {
        source: Handle::from_bits(0x0500_0008),
        dest: Handle::from_bits(dest),
        session: Session::from_bits(session),
        kind: Kind::LUA,
        body: Body::Bytes(Payload::from(b"hi")),
    }
}

fn words(action: &Action) -> String {
    match action {
        Action::Deliver(envelope) | Action::Complete(envelope) => match &envelope.body {
            Body::Failure(told) => format!("{} to {}: {told:?}", envelope.session.bits(), envelope.dest),
            Body::Empty | Body::Bytes(_) | Body::Typed(_) => {
                format!("{} to {}: {:?}", envelope.session.bits(), envelope.dest, envelope.kind)
            }
        },
        Action::Answer { waiter, answer } => format!("{}: {answer:?}", waiter.session.bits()),
        Action::Publish { name, handle } => format!("publish {name} {handle}"),
        Action::Event(event) => format!("{event:?}"),
        Action::Close { .. } => "close".to_owned(),
        other => format!("{other:?}"),
    }
}

fn waiter(session: u32) -> Waiter {
    Waiter { source: Handle::from_bits(0x0500_0008), session: Session::from_bits(session) }
}

fn register(name: &str, local: u32, session: u32) -> HarborRequest {
    let handle = Handle::new(HarborId::new(5), local);
    HarborRequest::Register { name: name.parse().unwrap(), handle, waiter: waiter(session) }
}

fn named(name: &str, handle: u32) -> Packet {
    Packet::Name { name: PacketName::from(name.as_bytes()), handle: Handle::from_bits(handle) }
}

const PEER_2: HarborId = HarborId::new(2);

// Roles.

#[test]
fn a_node_alone_has_names_and_no_peers() {
    let mut bench = Bench::new(Settings::new(HarborId::SINGLE));
    bench.input(|harbor, now| harbor.start(now));
    bench.send_to(1, "ECHO");
    let handle = Handle::from_bits(9);
    let name: Name = "ECHO".parse().unwrap();
    bench.ask(HarborRequest::Register { name, handle, waiter: waiter(2) });
    bench.send_to(3, "ECHO");
    let told = "2: Registered, 1 to :00000009: LUA, publish ECHO :00000009, 3 to :00000009: LUA";
    assert_eq!(bench.take(), told);
    bench.send(4, 0x0200_0008);
    bench.ask(HarborRequest::Connect { harbor: PEER_2, waiter: waiter(5) });
    assert_eq!(bench.take(), "4 to :00000008: PeerDown((2)), 5: Down");
    assert_eq!(bench.harbor.poll_timeout().filter(|due| *due < bench.now), None);
    assert_eq!(bench.harbor.node_account().delivered, 2);
}

#[test]
fn a_master_without_a_slave_only_serves() {
    let settings = Settings { master: Some("master".to_owned()), ..Settings::new(HarborId::SINGLE) };
    let mut bench = Bench::new(settings);
    bench.input(|harbor, now| harbor.start(now));
    let slave = bench.accept(Listener::Master);
    bench.packet(slave, &Packet::Hello { id: PEER_2, address: "peer".to_owned() });
    assert_eq!(bench.read(slave), b"\x03\x0cW\x02");
    let stranger = bench.accept(Listener::Links);
    assert!(!bench.harbor.is_open(stranger), "it has no links");
    assert!(bench.dialled.is_empty(), "and dials nobody");
    bench.input(|harbor, now| harbor.handle_bytes(now, slave, &[0]));
    assert!(!bench.harbor.is_open(slave));
}

#[test]
fn an_absent_master_is_dialled_until_it_is_there() {
    let mut bench = Bench::slave();
    for _ in 0..20 {
        assert!(bench.dialled.contains_key("master"));
        bench.refuse("master");
        assert!(bench.dialled.is_empty(), "not at once");
        bench.after(bench.harbor.desk.bounds.redial_time_max);
    }
    let control = bench.connect("master");
    assert_eq!(bench.read(control), b"\x09\x0cH\x0a\x05\x24here");
    bench.take();
    bench.packet(control, &Packet::Wait { n: 0 });
    assert_eq!(bench.take(), "MasterUp, Joined { missing: 0 }");
}

#[test]
fn a_master_that_does_not_answer_the_dial_is_given_up_and_dialled_again() {
    let mut bench = Bench::slave();
    let silent = bench.dialled.remove("master").unwrap();
    bench.after(HANDSHAKE_TIME_MAX);
    assert!(!bench.harbor.is_open(silent));
    bench.after(Duration::from_secs(1));
    assert!(bench.dialled.contains_key("master"));
}

/// The control link in a state, and its connection if it has one.
fn controlled(state: &str) -> (Bench, ConnId) {
    let mut bench = Bench::slave();
    let dialled = bench.dialled["master"];
    match state {
        "dialling" => {}
        "pause" => bench.refuse("master"),
        "greeting" => {
            bench.connect("master");
        }
        "ready" => {
            let control = bench.connect("master");
            bench.packet(control, &Packet::Wait { n: 0 });
        }
        other => panic!("{other}"),
    }
    bench.take();
    (bench, dialled)
}

/// What comes out, and the state behind it.
fn control_event(state: &str, event: &str) -> String {
    let (mut bench, conn) = controlled(state);
    bench.dialled.clear();
    match event {
        "connected" => bench.input(|harbor, now| harbor.handle_connected(now, conn)),
        "refused" => bench.input(|harbor, now| {
            harbor.handle_connect_failed(now, conn, io::ErrorKind::ConnectionRefused);
        }),
        "closed" => bench.input(|harbor, now| harbor.handle_closed(now, conn)),
        "W 0" => bench.packet(conn, &Packet::Wait { n: 0 }),
        "no packet" => bench.input(|harbor, now| harbor.handle_bytes(now, conn, &[0])),
        "time" => {
            bench.now = bench.now + Duration::from_secs(10);
            bench.input(|harbor, now| harbor.handle_timeout(now));
        }
        "leave" => {
            bench.read(conn);
            bench.ask(HarborRequest::Leave);
        }
        other => panic!("{other}"),
    }
    let is_up = bench.harbor.control.is_up();
    let deadline = bench.harbor.control.deadline();
    let step = match (bench.harbor.control.outbox(), deadline) {
        (Some(_), _) if is_up => "ready",
        (Some(_), _) => "greeting",
        (None, None) => "idle",
        (None, Some(_)) if bench.harbor.desk.conns_len() > 0 => "dialling",
        (None, Some(_)) => "pause",
    };
    [bench.take(), step.to_owned()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_event_in_every_state_of_the_control_link() {
    const REFUSED: &str = "ConnectFailed { address: \"master\", kind: ConnectionRefused }, pause";
    const TABLE: [(&str, [(&str, &str); 7]); 4] = [
        (
            "dialling",
            [
                ("connected", "greeting"),
                ("refused", REFUSED),
                ("closed", "pause"),
                ("W 0", "dialling"),
                ("no packet", "dialling"),
                ("time", "close, ConnectFailed { address: \"master\", kind: TimedOut }, pause"),
                ("leave", "StopListening(Links), close, idle"),
            ],
        ),
        (
            "pause",
            [
                ("connected", "pause"),
                ("refused", "pause"),
                ("closed", "pause"),
                ("W 0", "pause"),
                ("no packet", "pause"),
                ("time", "dial master, dialling"),
                ("leave", "StopListening(Links), idle"),
            ],
        ),
        (
            "greeting",
            [
                ("connected", "greeting"),
                ("refused", "Refused { was_ready: false }, pause"),
                ("closed", "Refused { was_ready: false }, pause"),
                ("W 0", "MasterUp, Joined { missing: 0 }, ready"),
                ("no packet", "close, MasterDown(Fault(Empty)), pause"),
                ("time", "close, MasterDown(Late), pause"),
                ("leave", "StopListening(Links), close, idle"),
            ],
        ),
        (
            "ready",
            [
                ("connected", "ready"),
                ("refused", "MasterDown(Closed), pause"),
                ("closed", "MasterDown(Closed), pause"),
                ("W 0", "Slave(Ignored { packet: Wait { n: 0 } }), ready"),
                ("no packet", "close, MasterDown(Fault(Empty)), pause"),
                ("time", "ready"),
                ("leave", "StopListening(Links), close, MasterDown(Closed), idle"),
            ],
        ),
    ];
    for (state, rows) in TABLE {
        for (event, expected) in rows {
            assert_eq!(control_event(state, event), expected, "{event} in {state}");
        }
    }
}

#[test]
fn losing_the_master_costs_no_traffic_and_the_next_one_hears_all() {
    let (mut bench, control, link) = Bench::linked();
    bench.ask(register("MINE", 8, 1));
    bench.ask(HarborRequest::LinkMaster { waiter: waiter(2) });
    bench.ask(HarborRequest::LinkMaster { waiter: waiter(3) });
    bench.take();
    bench.input(|harbor, now| harbor.handle_closed(now, control));
    assert_eq!(bench.take(), "MasterDown(Closed), 2: Down, 3: Down");
    bench.send(4, 0x0200_0008);
    assert!(bench.read(link).ends_with(&[0, 0, 0, 4]), "the link lives on");
    bench.ask(HarborRequest::LinkMaster { waiter: waiter(5) });
    bench.send_to(6, "WANTED");
    assert_eq!(bench.take(), "5: Down");
    bench.after(Duration::from_secs(1));
    let control = bench.connect("master");
    assert_eq!(bench.read(control), b"\x09\x0cH\x0a\x05\x24here");
    bench.packet(control, &Packet::Wait { n: 0 });
    let said = bench.read(control);
    assert_eq!(said, b"\x0c\x0cR\x24MINE\x22\x08\x00\x00\x05\x09\x0cQ\x34WANTED");
}

#[test]
fn a_master_that_leaves_declares_nobody_dead() {
    let settings = Settings { master: Some("master".to_owned()), ..Settings::new(HarborId::SINGLE) };
    let mut bench = Bench::new(settings);
    bench.input(|harbor, now| harbor.start(now));
    let slaves = [2, 3].map(|id| {
        let slave = bench.accept(Listener::Master);
        bench.packet(slave, &Packet::Hello { id: HarborId::new(id), address: "peer".to_owned() });
        slave
    });
    bench.read(slaves[0]);
    assert_eq!(bench.harbor.outbox(slaves[1]).map(|outbox| outbox.len()), Some(5), "W 1 is not written");
    bench.take();
    bench.ask(HarborRequest::Leave);
    assert_eq!(bench.take(), "StopListening(Master), close");
    assert_eq!(bench.read(slaves[1]), b"\x04\x0cW\x0a\x01", "and no D 2");
    assert!(bench.harbor.has_left());
}

// Links.

#[test]
fn a_newcomer_that_is_linked_by_a_leftover_is_dialled_when_that_is_lost() {
    let (mut bench, control, link) = Bench::linked();
    bench.packet(control, &Packet::Connect { id: PEER_2, address: "peer:2".to_owned() });
    assert!(bench.dialled.is_empty(), "the link is up");
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    bench.after(Duration::from_secs(1));
    assert!(bench.dialled.contains_key("peer:2"));
    let link = bench.connect("peer:2");
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    // Dead, says the master: the link knows better, but it is not dialled again.
    bench.packet(control, &Packet::Dead { id: PEER_2 });
    bench.take();
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.take(), "Down((2), Closed)");
    bench.after(Duration::from_secs(60));
    assert!(bench.dialled.is_empty());
}

#[test]
fn waiters_hear_of_links_once_each() {
    let (mut bench, _) = Bench::member();
    for session in 1..=3 {
        bench.ask(HarborRequest::Connect { harbor: PEER_2, waiter: waiter(session) });
    }
    bench.ask(HarborRequest::Link { harbor: PEER_2, waiter: waiter(4) });
    assert_eq!(bench.take(), "4: Down", "there is no link to lose");
    bench.ask(HarborRequest::Forget { waiter: waiter(2) });
    let link = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    assert_eq!(bench.take(), "Up((2)), 1: Up, 3: Up");
    bench.ask(HarborRequest::Connect { harbor: PEER_2, waiter: waiter(5) });
    for session in 6..=8 {
        bench.ask(HarborRequest::Link { harbor: PEER_2, waiter: waiter(session) });
    }
    bench.send(9, 0x0200_0008);
    bench.read(link);
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    let told = "5: Up, 9 to :05000008: OutcomeUnknown((2)), Down((2), Closed), 6: Down, 7: Down, 8: Down";
    assert_eq!(bench.take(), told);
}

#[test]
fn strangers_are_few_and_have_little_time() {
    let (mut bench, _) = Bench::member();
    let strangers: Vec<ConnId> = (0..=STRANGERS_MAX).map(|_| bench.accept(Listener::Links)).collect();
    let (last, first) = strangers.split_last().unwrap();
    assert!(!bench.harbor.is_open(*last), "one too many");
    for (stranger, id) in first[..3].iter().zip([5, 0, 7]) {
        bench.input(|harbor, now| harbor.handle_bytes(now, *stranger, &[id]));
        assert_eq!(bench.harbor.is_open(*stranger), id == 7);
    }
    bench.after(HANDSHAKE_TIME_MAX);
    assert!(first[3..].iter().all(|stranger| !bench.harbor.is_open(*stranger)));
    assert!(bench.harbor.is_open(first[2]), "who said its name stays");
}

#[test]
fn a_whole_cluster_may_dial_at_once() {
    let (mut bench, _) = Bench::member();
    let others = (1..=255).filter(|id| *id != 5);
    // Real nodes do not dial again: whoever is turned away is never linked.
    let dials: Vec<(u8, ConnId)> = others.map(|id| (id, bench.accept(Listener::Links))).collect();
    for (id, conn) in dials {
        bench.input(|harbor, now| harbor.handle_bytes(now, conn, &[id]));
        assert!(bench.harbor.is_open(conn), "node {id}");
    }
}

#[test]
fn an_error_for_a_missing_service_goes_to_the_source_s_node() {
    let (mut bench, control, link) = Bench::linked();
    let third = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, third, &[3]));
    bench.read(third);
    bench.take();
    for (source, expected) in [(0x0200_0010, link), (0x0300_0010, third)] {
        let mut lost = message(7, 0x0500_0abc);
        lost.source = Handle::from_bits(source);
        bench.input(|harbor, now| harbor.handle_undeliverable(now, lost));
        let error = b"\0\0\0\x0c\x05\0\x0a\xbc\x07\0\0\x10\0\0\0\x07";
        assert_eq!(bench.read(expected), error, "{source:x}");
    }
    for nowhere in [0, 0x0500_0010] {
        let mut lost = message(7, 0x0500_0abc);
        lost.source = Handle::from_bits(nowhere);
        bench.input(|harbor, now| harbor.handle_undeliverable(now, lost));
    }
    assert_eq!(bench.take(), "7 to :05000010: NoService", "our own service hears of it; nobody does not");
    assert!(bench.read(control).is_empty());
}

// Names.

#[test]
fn what_waits_for_a_name_moves_on_before_anybody_hears_of_it() {
    let (mut bench, control, link) = Bench::linked();
    bench.send_to(1, "FAR");
    bench.send_to(2, "FAR");
    bench.send_to(3, "HERE");
    bench.ask(HarborRequest::Query {
        name: "FAR".parse().unwrap(),
        waiter: waiter(4),
        deadline: Instant::FAR,
    });
    bench.packet(control, &named("FAR", 0x0200_0030));
    assert_eq!(bench.take(), "publish FAR :02000030, 4: Found(:02000030)");
    let written = bench.read(link);
    assert_eq!((written[17], written[35], written.len()), (1, 2, 36));
    bench.ask(register("HERE", 9, 5));
    assert_eq!(bench.take(), "5: Registered, 3 to :05000009: LUA, publish HERE :05000009");
    let account = bench.harbor.node_account();
    assert_eq!((account.accepted, account.in_flight, account.delivered), (3, 2, 1));
}

#[test]
fn nobody_s_names_expire() {
    let (mut bench, _) = Bench::member();
    let deadline = bench.now + Duration::from_secs(1);
    bench.ask(HarborRequest::Query { name: "NOBODY".parse().unwrap(), waiter: waiter(1), deadline });
    bench.send_to(2, "NOBODY");
    bench.send_to(0, "NOBODY");
    bench.after(Duration::from_secs(1));
    assert_eq!(bench.take(), "1: NotFound");
    bench.after(bench.harbor.desk.bounds.held_time_max);
    assert_eq!(bench.take(), "2 to :05000008: NoName(\"NOBODY\")");
    let account = bench.harbor.node_account();
    assert_eq!((account.failed(Failure::NoName), account.queued), (2, 0));
}

#[test]
fn names_hold_only_so_much() {
    let mut settings = Settings::new(HarborId::SINGLE);
    settings.bounds.name_held_messages_max = 2;
    settings.bounds.registry.names_waited_max = 2;
    let mut bench = Bench::new(settings);
    for (session, name) in [(1, "A"), (2, "A"), (3, "A"), (4, "B"), (5, "C")] {
        bench.send_to(session, name);
    }
    assert_eq!(bench.take(), "3 to :00000008: Full, 5 to :00000008: Full");
    assert!(bench.harbor.balances());
}

// Farewell.

#[test]
fn a_leaving_node_flushes_and_closes() {
    let (mut bench, control, link) = Bench::linked();
    let stranger = bench.accept(Listener::Links);
    bench.send(1, 0x0200_0008);
    bench.send(2, 0x0900_0008);
    bench.send_to(3, "NOBODY");
    bench.read(control);
    bench.ask(HarborRequest::Connect { harbor: HarborId::new(9), waiter: waiter(4) });
    bench.ask(HarborRequest::Query { name: "N".parse().unwrap(), waiter: waiter(5), deadline: Instant::FAR });
    bench.read(control);
    bench.take();
    bench.ask(HarborRequest::Leave);
    let farewell = "StopListening(Links), close, 3 to :05000008: Shutdown, 2 to :05000008: Shutdown, close, 4: Down, \
                    MasterDown(Closed)";
    assert_eq!(bench.take(), farewell);
    assert!(!bench.harbor.is_open(stranger));
    bench.send(6, 0x0200_0008);
    bench.ask(HarborRequest::Leave);
    assert_eq!(bench.take(), "6 to :05000008: Shutdown");
    assert!(!bench.harbor.has_left(), "the call is not written yet");
    assert!(!bench.read(link).is_empty());
    let end = "close, 1 to :05000008: OutcomeUnknown((2)), Down((2), Left), 5: NotFound";
    assert_eq!(bench.take(), end);
    assert!(bench.harbor.has_left());
    bench.after(Duration::from_secs(3600));
    assert_eq!(bench.take(), "", "nothing is dialled any more");
}

#[test]
fn a_farewell_ends_though_a_peer_does_not_read() {
    let (mut bench, _, _) = Bench::linked();
    bench.send(1, 0x0200_0008);
    bench.ask(HarborRequest::Leave);
    bench.take();
    bench.after(bench.harbor.desk.bounds.leave_time_max);
    assert_eq!(bench.take(), "close, 1 to :05000008: PeerDown((2)), Down((2), Left)");
    assert!(bench.harbor.has_left());
}

#[test]
fn a_listener_that_opens_while_the_node_leaves_is_closed() {
    let mut settings = Settings::new(HarborId::new(5));
    let (listen, master) = ("name:2526".to_owned(), "master".to_owned());
    settings.join = Some(Join { listen, advertise: None, master });
    let now = Instant::from_nanos(1_000_000_000);
    let mut harbor = Harbor::new(settings);
    harbor.start(now);
    assert!(matches!(harbor.poll_action(), Some(Action::Listen { .. })));
    harbor.handle_request(now, HarborRequest::Leave);
    // Its name took a while to be resolved.
    harbor.handle_listening(now, Listener::Links, Ok("127.0.0.1:2526".to_owned()));
    let actions: Vec<String> = std::iter::from_fn(|| harbor.poll_action()).map(|it| words(&it)).collect();
    assert_eq!(actions, ["StopListening(Links)"], "and no master is told of a node that leaves");
}

#[test]
fn a_node_without_connections_leaves_at_once() {
    let mut bench = Bench::new(Settings::new(HarborId::SINGLE));
    bench.ask(HarborRequest::Leave);
    assert!(bench.harbor.has_left());
}

// What it knows.

#[test]
fn the_status_shows_names_and_peers() {
    let (mut bench, control, link) = Bench::linked();
    bench.packet(control, &named("FAR", 0x0200_0030));
    bench.send(1, 0x0200_0008);
    bench.send(2, 0x0900_0008);
    bench.packet(control, &Packet::Connect { id: HarborId::new(7), address: "peer:7".to_owned() });
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[0]));
    bench.take();
    bench.harbor.handle_request(bench.now, HarborRequest::Status { waiter: waiter(3) });
    let Some(Action::Answer { answer: HarborAnswer::Status(status), .. }) = bench.harbor.poll_action() else {
        panic!("a status")
    };
    let far = NameEntry { name: "FAR".parse().unwrap(), handle: Handle::from_bits(0x0200_0030) };
    assert_eq!((status.names, status.master_up, status.names_complete), (vec![far], true, false));
    let peers: Vec<_> = status
        .peers
        .iter()
        .map(|peer| (peer.harbor.get(), peer.state, peer.held, peer.pending, peer.address.as_deref()))
        .collect();
    let expected = [
        (2, LinkState::Content, 0, 1, None),
        (7, LinkState::Wait, 0, 0, Some("peer:7")),
        (9, LinkState::Wait, 1, 0, None),
    ];
    assert_eq!(peers, expected);
}

#[test]
fn inputs_for_connections_that_are_closed_do_nothing() {
    let (mut bench, _, link) = Bench::linked();
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    bench.take();
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[0; 100]));
    bench.input(|harbor, now| harbor.handle_connected(now, link));
    bench.input(|harbor, now| harbor.handle_sent(now, link));
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    bench.input(|harbor, now| harbor.handle_connect_failed(now, link, io::ErrorKind::TimedOut));
    assert_eq!(bench.take(), "");
    assert!(bench.harbor.outbox(link).is_none());
}

#[test]
fn who_watches_a_name_is_told_of_every_other_owner_once() {
    let (mut bench, control) = Bench::member();
    let name: Name = "DB".parse().unwrap();
    let [two, three] = [0x0200_0008, 0x0300_0008].map(Handle::from_bits);
    let watch = |known, session| HarborRequest::Watch { name, known, waiter: waiter(session) };
    bench.ask(watch(two, 1));
    assert_eq!(bench.take(), "1: NotFound", "it knows of one that is none");
    bench.ask(watch(Handle::NONE, 2));
    bench.ask(watch(Handle::NONE, 3));
    bench.ask(HarborRequest::Forget { waiter: waiter(3) });
    bench.packet(control, &named("DB", two.bits()));
    assert_eq!(bench.take(), "publish DB :02000008, 2: Found(:02000008)");
    bench.ask(watch(two, 4));
    bench.packet(control, &named("DB", two.bits()));
    assert_eq!(bench.take(), "", "nothing new");
    bench.packet(control, &named("DB", 0x0200_0006));
    assert_eq!(bench.take(), "publish DB :02000006, 4: NotFound");
    bench.ask(watch(Handle::NONE, 5));
    bench.packet(control, &named("DB", 0x0300_0006));
    assert_eq!(bench.take(), "publish DB :03000006", "it is nobody's still");
    bench.ask(watch(two, 6));
    bench.ask(watch(Handle::NONE, 7));
    assert_eq!(bench.take(), "6: NotFound");
    bench.packet(control, &named("DB", three.bits()));
    assert_eq!(bench.take(), "publish DB :03000008, 5: Found(:03000008), 7: Found(:03000008)");
}
