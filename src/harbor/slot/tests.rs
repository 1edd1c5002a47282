//! Every event in every state of a slot: what comes out, and the state behind it.

use super::*;
use crate::harbor::{Action, Settings};
use crate::message::{Body, Handle, Payload, Session};
use std::time::Duration;

const OWN: HarborId = HarborId::new(3);
const PEER: HarborId = HarborId::new(2);
const HIGHER: HarborId = HarborId::new(9);
const START: Instant = Instant::from_nanos(1_000_000_000);

fn desk() -> Desk {
    let mut desk = Desk::new(&Settings::new(OWN));
    desk.now = START;
    desk
}

fn call(session: u32) -> Envelope {
    Envelope {
        source: Handle::new(OWN, 8),
        dest: Handle::new(PEER, 9),
        session: Session::from_bits(session),
        kind: Kind::LUA,
        body: Body::Bytes(Payload::from(b"hi")),
    }
}

/// The call's response, as the peer writes it.
fn response(session: u8) -> [u8; 16] {
    [0, 0, 0, 12, PEER.get(), 0, 0, 9, 1, 0, 0, 8, 0, 0, 0, session]
}

/// The connection that the slot has, if it has one.
fn conn(slot: &Slot) -> ConnId {
    match &slot.state {
        State::Wait { dial: Dial::Connecting(conn, _), .. }
        | State::Down { dial: Dial::Connecting(conn, _) } => *conn,
        State::Handshake(handshake) => handshake.conn,
        State::Up(link) => link.conn,
        State::Wait { .. } | State::Down { .. } => ConnId::new(77),
    }
}

fn state_of(slot: &Slot) -> String {
    let dial = |dial: &Dial| match dial {
        Dial::Idle => "",
        Dial::Pause(_) => " pause",
        Dial::Connecting(..) => " dialling",
    };
    let held = slot.held().map_or(0, Held::len);
    match &slot.state {
        State::Wait { dial: step, .. } => format!("wait{} held {held}", dial(step)),
        State::Handshake(handshake) if handshake.was_down => format!("shake again held {held}"),
        State::Handshake(_) => format!("shake held {held}"),
        State::Up(link) => format!("up unsent {}", link.unsent()),
        State::Down { dial: step } => format!("down{}", dial(step)),
    }
}

/// What comes out, a word or two each, and the state.
fn outcome(slot: &mut Slot, desk: &mut Desk) -> String {
    let mut words = Vec::new();
    while let Some(action) = desk.actions.pop_front() {
        words.push(match action {
            Action::Connect { .. } => "dial".to_owned(),
            Action::Close { .. } => "close".to_owned(),
            Action::Probe { .. } => "probe".to_owned(),
            Action::Deliver(envelope) | Action::Complete(envelope) => match envelope.body {
                Body::Failure(told) => format!("{}: {told:?}", envelope.session.bits()),
                Body::Empty | Body::Bytes(_) | Body::Typed(_) => {
                    format!("{}: {:?}", envelope.session.bits(), envelope.kind)
                }
            },
            Action::Event(Event::Up(_)) => "UP".to_owned(),
            Action::Event(Event::Down(_, reason)) => format!("DOWN {reason:?}"),
            Action::Event(Event::PeerFault { fault, .. }) => format!("{fault:?}"),
            Action::Event(Event::ConnectFailed { kind, .. }) => format!("{kind:?}"),
            other => panic!("{other:?}"),
        });
    }
    let mut written = Vec::new();
    while let Some(named) = desk.transmit.pop_front() {
        let outbox = slot.outbox(named).expect("an outbox that got bytes is there");
        written.push(format!("write {}", outbox.len()));
    }
    assert!(slot.account().balances(), "{:?}", slot.account());
    desk.link_changes.clear();
    words.extend(written);
    words.push(state_of(slot));
    words.join(", ").replace("HarborId", "")
}

/// Brings a slot of `peer` into a state, with the call 1 on its way if the state can have it.
fn made(name: &str, desk: &mut Desk) -> Slot {
    let mut slot = Slot::new(PEER, true);
    let address = || "peer:2".to_owned();
    let connect = |slot: &mut Slot, desk: &mut Desk| {
        slot.announced(address(), desk);
        let conn = conn(slot);
        slot.connected(conn, desk);
    };
    let rise = |slot: &mut Slot, desk: &mut Desk| {
        connect(slot, desk);
        let conn = conn(slot);
        slot.bytes(conn, &[PEER.get()], desk);
        let outbox = slot.outbox(conn).expect("it is up");
        let len = outbox.len();
        outbox.advance(len);
        slot.sent(desk);
    };
    match name {
        "wait" => slot.send(call(1), desk),
        "wait pause" => {
            slot.send(call(1), desk);
            slot.announced(address(), desk);
            let conn = conn(&slot);
            slot.connect_failed(conn, io::ErrorKind::ConnectionRefused, desk);
        }
        "wait dialling" => {
            slot.send(call(1), desk);
            slot.announced(address(), desk);
        }
        "shake" => {
            slot.send(call(1), desk);
            connect(&mut slot, desk);
        }
        "shake again" => {
            rise(&mut slot, desk);
            let conn = conn(&slot);
            slot.closed(conn, desk);
            desk.now = desk.now + Duration::from_secs(1);
            slot.expire(desk);
            connect(&mut slot, desk);
            slot.send(call(1), desk);
        }
        "up" => {
            slot.send(call(1), desk);
            rise(&mut slot, desk);
        }
        "down" => {
            rise(&mut slot, desk);
            slot.address = None;
            let conn = conn(&slot);
            slot.closed(conn, desk);
        }
        "down dialling" => {
            rise(&mut slot, desk);
            let conn = conn(&slot);
            slot.closed(conn, desk);
            slot.announced("other:2".to_owned(), desk);
        }
        other => panic!("{other}"),
    }
    desk.actions.clear();
    desk.transmit.clear();
    slot
}

/// Lets something happen to a slot.
fn happen(event: &str, slot: &mut Slot, desk: &mut Desk) {
    let conn = conn(slot);
    match event {
        "send" => slot.send(call(2), desk),
        "C same" => slot.announced("peer:2".to_owned(), desk),
        "C other" => slot.announced("elsewhere:2".to_owned(), desk),
        "D" => slot.dead(desk),
        "connected" => slot.connected(conn, desk),
        "connect failed" => slot.connect_failed(conn, io::ErrorKind::ConnectionRefused, desk),
        "accepted" => {
            let accepted = desk.open(Role::Stranger);
            if slot.greeted(accepted, desk).is_err() {
                desk.fault(accepted, None, Fault::IdInUse(PEER));
            }
        }
        "its id" => slot.bytes(conn, &[PEER.get()], desk),
        "response" => slot.bytes(conn, &response(1), desk),
        "bad frame" => slot.bytes(conn, &[PEER.get(), 0, 0, 0], desk),
        "closed" => slot.closed(conn, desk),
        "time" => {
            desk.now = desk.now + Duration::from_secs(5);
            slot.expire(desk);
        }
        "long time" => {
            desk.now = desk.now + Duration::from_secs(700);
            slot.expire(desk);
        }
        "leave" => {
            desk.leaving = true;
            slot.leave(desk);
        }
        other => panic!("{other}"),
    }
}

type Row = (&'static str, &'static str);

/// For each state, what each event does: outputs, then the state behind it. `1:` is the call of [`made`], `2:` that of
/// the event.
const TABLE: [(&str, &[Row]); 8] = [
    (
        "wait",
        &[
            ("send", "wait held 2"),
            ("C same", "dial, wait dialling held 1"),
            ("C other", "dial, wait dialling held 1"),
            ("D", "1: PeerDown((2)), down"),
            ("connected", "wait held 1"),
            ("connect failed", "wait held 1"),
            ("accepted", "UP, write 19, up unsent 1"),
            ("its id", "wait held 1"),
            ("response", "wait held 1"),
            ("bad frame", "wait held 1"),
            ("closed", "wait held 1"),
            ("time", "wait held 1"),
            ("long time", "1: Expired, wait held 0"),
            ("leave", "1: Shutdown, down"),
        ],
    ),
    (
        "wait pause",
        &[
            ("send", "wait pause held 2"),
            ("C same", "dial, wait dialling held 1"),
            ("C other", "dial, wait dialling held 1"),
            ("D", "1: PeerDown((2)), down"),
            ("connected", "wait pause held 1"),
            ("connect failed", "wait pause held 1"),
            ("accepted", "UP, write 19, up unsent 1"),
            ("its id", "wait pause held 1"),
            ("response", "wait pause held 1"),
            ("bad frame", "wait pause held 1"),
            ("closed", "wait pause held 1"),
            ("time", "dial, wait dialling held 1"),
            ("long time", "1: Expired, dial, wait dialling held 0"),
            ("leave", "1: Shutdown, down"),
        ],
    ),
    (
        "wait dialling",
        &[
            ("send", "wait dialling held 2"),
            ("C same", "wait dialling held 1"),
            ("C other", "close, dial, wait dialling held 1"),
            ("D", "close, 1: PeerDown((2)), down"),
            ("connected", "write 1, shake held 1"),
            ("connect failed", "ConnectionRefused, wait pause held 1"),
            ("accepted", "close, UP, write 19, up unsent 1"),
            ("its id", "wait dialling held 1"),
            ("response", "wait dialling held 1"),
            ("bad frame", "wait dialling held 1"),
            ("closed", "ConnectionAborted, wait pause held 1"),
            ("time", "close, TimedOut, wait pause held 1"),
            ("long time", "1: Expired, close, TimedOut, wait pause held 0"),
            ("leave", "close, 1: Shutdown, down"),
        ],
    ),
    (
        "shake",
        &[
            ("send", "shake held 2"),
            ("C same", "shake held 1"),
            ("C other", "shake held 1"),
            ("D", "shake held 1"),
            ("connected", "shake held 1"),
            ("connect failed", "shake held 1"),
            ("accepted", "close, UP, write 19, up unsent 1"),
            ("its id", "UP, up unsent 1"),
            ("response", "WrongId { expected: (2), got: (0) }, close, 1: PeerDown((2)), down pause"),
            ("bad frame", "UP, up unsent 1"),
            ("closed", "wait pause held 1"),
            ("time", "HandshakeTimeout, close, wait pause held 1"),
            ("long time", "1: Expired, HandshakeTimeout, close, wait pause held 0"),
            ("leave", "close, 1: Shutdown, down"),
        ],
    ),
    (
        "shake again",
        &[
            ("send", "shake again held 2"),
            ("C same", "shake again held 1"),
            ("C other", "shake again held 1"),
            ("D", "shake again held 1"),
            ("connected", "shake again held 1"),
            ("connect failed", "shake again held 1"),
            ("accepted", "close, UP, write 19, up unsent 1"),
            ("its id", "UP, up unsent 1"),
            ("response", "WrongId { expected: (2), got: (0) }, close, 1: PeerDown((2)), down pause"),
            ("bad frame", "UP, up unsent 1"),
            ("closed", "1: PeerDown((2)), down pause"),
            ("time", "HandshakeTimeout, close, 1: PeerDown((2)), down pause"),
            ("long time", "1: Expired, HandshakeTimeout, close, down pause"),
            ("leave", "close, 1: Shutdown, down"),
        ],
    ),
    (
        "up",
        &[
            ("send", "write 18, up unsent 1"),
            ("C same", "probe, up unsent 0"),
            ("C other", "probe, up unsent 0"),
            ("D", "up unsent 0"),
            ("connected", "up unsent 0"),
            ("connect failed", "up unsent 0"),
            ("accepted", "probe, IdInUse((2)), close, up unsent 0"),
            ("its id", "up unsent 0"),
            ("response", "1: RESPONSE, up unsent 0"),
            (
                "bad frame",
                "Frame(TooLong { length: 33554432 }), close, 1: OutcomeUnknown((2)), DOWN Fault, down pause",
            ),
            ("closed", "1: OutcomeUnknown((2)), DOWN Closed, down pause"),
            ("time", "up unsent 0"),
            ("long time", "up unsent 0"),
            ("leave", "close, 1: OutcomeUnknown((2)), DOWN Left, down"),
        ],
    ),
    (
        "down",
        &[
            ("send", "2: PeerDown((2)), down"),
            ("C same", "dial, down dialling"),
            ("C other", "dial, down dialling"),
            ("D", "down"),
            ("connected", "down"),
            ("connect failed", "down"),
            ("accepted", "UP, write 1, up unsent 0"),
            ("its id", "down"),
            ("response", "down"),
            ("bad frame", "down"),
            ("closed", "down"),
            ("time", "down"),
            ("long time", "down"),
            ("leave", "down"),
        ],
    ),
    (
        "down dialling",
        &[
            ("send", "2: PeerDown((2)), down dialling"),
            ("C same", "close, dial, down dialling"),
            ("C other", "close, dial, down dialling"),
            ("D", "close, down"),
            ("connected", "write 1, shake again held 0"),
            ("connect failed", "ConnectionRefused, down pause"),
            ("accepted", "close, UP, write 1, up unsent 0"),
            ("its id", "down dialling"),
            ("response", "down dialling"),
            ("bad frame", "down dialling"),
            ("closed", "ConnectionAborted, down pause"),
            ("time", "close, TimedOut, down pause"),
            ("long time", "close, TimedOut, down pause"),
            ("leave", "close, down"),
        ],
    ),
];

#[test]
fn every_event_in_every_state() {
    for (state, rows) in TABLE {
        assert_eq!(rows.len(), 14, "{state}");
        for (event, expected) in rows {
            let mut desk = desk();
            let mut slot = made(state, &mut desk);
            happen(event, &mut slot, &mut desk);
            assert_eq!(outcome(&mut slot, &mut desk), *expected, "{event} in {state}");
        }
    }
}

#[test]
fn of_two_dials_that_cross_the_lower_id_wins() {
    for (peer, theirs_wins) in [(PEER, true), (HIGHER, false)] {
        let mut desk = desk();
        let mut slot = Slot::new(peer, true);
        slot.announced("peer".to_owned(), &mut desk);
        let own_dial = conn(&slot);
        slot.connected(own_dial, &mut desk);
        let accepted = desk.open(Role::Stranger);
        assert_eq!(slot.greeted(accepted, &mut desk).is_ok(), theirs_wins, "{peer}");
        assert_eq!(slot.is_up(), theirs_wins);
        assert_eq!(desk.role(own_dial).is_none(), theirs_wins, "one of the two connections stays");
    }
}

#[test]
fn a_peer_that_dies_in_its_handshake_is_down() {
    for (end, told) in [
        ("closed", "1: PeerDown((2)), down"),
        ("time", "HandshakeTimeout, close, 1: PeerDown((2)), down"),
        ("its id", "UP, up unsent 1"),
    ] {
        let mut desk = desk();
        let mut slot = made("shake", &mut desk);
        slot.dead(&mut desk);
        happen(end, &mut slot, &mut desk);
        assert_eq!(outcome(&mut slot, &mut desk), told, "{end}");
    }
}

#[test]
fn a_link_that_broke_the_protocol_is_dialled_again_after_the_longest_pause() {
    let mut desk = desk();
    let mut slot = made("up", &mut desk);
    happen("bad frame", &mut slot, &mut desk);
    let due = slot.deadline(&desk).expect("it waits");
    assert!(due.since(desk.now) >= desk.bounds.redial_time_max / 2);
    desk.now = due;
    slot.expire(&mut desk);
    assert_eq!(state_of(&slot), "down dialling");
}

/// The link is dialled when it is time, comes up, and is closed by its peer after so long; how long the pause before it was.
fn flap(slot: &mut Slot, desk: &mut Desk, life: Duration) -> Duration {
    let due = slot.deadline(desk).expect("it waits");
    let pause = due.since(desk.now);
    desk.now = due;
    slot.expire(desk);
    for event in ["connected", "its id"] {
        happen(event, slot, desk);
    }
    desk.now = desk.now + life;
    happen("closed", slot, desk);
    pause
}

#[test]
fn a_link_that_is_lost_again_and_again_is_dialled_ever_later() {
    let mut desk = desk();
    let mut slot = made("up", &mut desk);
    happen("closed", &mut slot, &mut desk);
    let longest = desk.bounds.redial_time_max;
    let pauses: Vec<Duration> = (0..10).map(|_| flap(&mut slot, &mut desk, Duration::ZERO)).collect();
    assert!(pauses[0] <= desk.bounds.redial_time_min && pauses[9] >= longest / 2, "{pauses:?}");
    assert!(flap(&mut slot, &mut desk, longest) >= longest / 2);
    let pause = flap(&mut slot, &mut desk, longest);
    assert!(pause <= desk.bounds.redial_time_min, "it held: {pause:?}");
}

/// Writes `len` bytes of the slot's outbox.
fn write(slot: &mut Slot, desk: &mut Desk, len: usize) {
    let conn = conn(slot);
    slot.outbox(conn).expect("it is up").advance(len);
    slot.sent(desk);
}

const FRAME: usize = 18;

#[test]
fn a_lost_link_knows_which_calls_left_in_full() {
    let mut desk = desk();
    let mut slot = made("up", &mut desk);
    for session in 2..=4 {
        slot.send(call(session), &mut desk);
    }
    // Call 2 is out, call 3 but for its last byte, call 4 not at all.
    write(&mut slot, &mut desk, 2 * FRAME - 1);
    let conn = conn(&slot);
    slot.closed(conn, &mut desk);
    desk.transmit.clear();
    let told = "1: OutcomeUnknown((2)), 2: OutcomeUnknown((2)), 3: PeerDown((2)), 4: PeerDown((2)), DOWN Closed, \
                down pause";
    assert_eq!(outcome(&mut slot, &mut desk), told);
    let account = slot.account();
    assert_eq!((account.accepted, account.unknown, account.failed(Failure::PeerDown)), (4, 2, 2));
}

#[test]
fn an_answer_proves_all_that_was_sent_before_it() {
    let mut desk = desk();
    let mut slot = made("up", &mut desk);
    for session in 2..=4 {
        slot.send(call(session), &mut desk);
    }
    write(&mut slot, &mut desk, 2 * FRAME);
    let conn = conn(&slot);
    slot.bytes(conn, &response(3), &mut desk);
    let account = slot.account();
    assert_eq!((account.delivered, account.in_flight, account.queued), (3, 0, 1));
    assert_eq!(slot.pending(&desk), 3, "the other calls still wait");
    // An answer to a call that is not out proves nothing of it.
    slot.bytes(conn, &response(4), &mut desk);
    assert_eq!((slot.account().delivered, slot.account().queued), (3, 1));
    assert!(slot.account().balances());
    // When the link is lost, only what was not proved is unknown: call 4 was written meanwhile.
    write(&mut slot, &mut desk, FRAME);
    slot.closed(conn, &mut desk);
    let account = slot.account();
    assert_eq!((account.delivered, account.unknown, account.failed_total()), (3, 1, 0));
}

#[test]
fn full_links_and_full_tables_refuse() {
    let mut desk = desk();
    desk.bounds.pending_calls_max = 2;
    desk.bounds.unsent_bytes_max = 10 * FRAME;
    let mut slot = made("up", &mut desk);
    for session in [2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
        slot.send(call(session), &mut desk);
    }
    let account = slot.account();
    assert_eq!((account.accepted, account.queued, account.failed(Failure::Full)), (13, 10, 2));
    // A response that finds no room leaves as an ERROR, for which there is room: its caller waits for it.
    slot.send(Envelope { kind: Kind::RESPONSE, ..call(7) }, &mut desk);
    let told = desk.replies.pop_front().expect("the caller on the other side is told");
    assert_eq!((told.kind, told.session.bits(), told.dest), (Kind::ERROR, 7, call(7).dest));
    slot.send(told, &mut desk);
    assert_eq!(slot.account().queued, 11);
    assert!(desk.replies.is_empty());
}

#[test]
fn unsent_bytes_are_warned_of_at_each_doubling() {
    let mut desk = desk();
    desk.bounds.unsent_warn_bytes = 2 * FRAME;
    let mut slot = made("up", &mut desk);
    let warned = |desk: &mut Desk| {
        let actions = std::mem::take(&mut desk.actions);
        let bytes = |action| match action {
            Action::Event(Event::Unsent { bytes, .. }) => Some(bytes / FRAME),
            _ => None,
        };
        actions.into_iter().filter_map(bytes).collect::<Vec<usize>>()
    };
    for _ in 0..9 {
        slot.send(call(0), &mut desk);
    }
    assert_eq!(warned(&mut desk), [2, 4, 8]);
    write(&mut slot, &mut desk, 9 * FRAME);
    slot.send(call(0), &mut desk);
    slot.send(call(0), &mut desk);
    assert_eq!(warned(&mut desk), [2], "an empty outbox begins anew");
}

#[test]
fn what_cannot_leave_is_refused_in_every_state() {
    for (state, _) in TABLE {
        for (kind, body, told) in [
            (Kind::LUA, Body::Typed(crate::queue::Parcel::new(1u32)), CallError::Denied),
            (Kind::LUA, Body::Failure(CallError::Timeout), CallError::Denied),
            (Kind::SYSTEM, Body::Empty, CallError::Denied),
            (Kind::HARBOR, Body::Empty, CallError::Denied),
            (Kind::SOCKET, Body::Empty, CallError::Denied),
            (
                Kind::LUA,
                Body::Bytes(Payload::from_vec(vec![0; crate::limits::PAYLOAD_BYTES_MAX + 1])),
                CallError::TooLarge,
            ),
        ] {
            let mut desk = desk();
            let mut slot = made(state, &mut desk);
            slot.send(Envelope { kind, body, ..call(5) }, &mut desk);
            match desk.actions.pop_front() {
                Some(Action::Deliver(Envelope { body: Body::Failure(reason), session, .. })) => {
                    assert_eq!((reason, session.bits()), (told, 5), "{kind:?} in {state}");
                }
                other => panic!("{kind:?} in {state}: {other:?}"),
            }
            assert!(slot.account().balances());
        }
    }
}
