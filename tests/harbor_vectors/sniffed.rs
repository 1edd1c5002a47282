//! The scenario that a sniffer recorded: a master and three slaves, all real, here all ours.

use crate::replay::{envelope, packet};
use crate::stage::{Message, Stage};
use crate::transcript::{Direction, Row, Scenario, hex};
use skyharbor::message::{Handle, HarborId, HarborRequest, Session, Waiter};
use skyharbor::registry::SlaveEvent;
use skyharbor::wire::control::Packet;

/// Plays every row until slave 2 is killed, then looks at what real nodes do badly.
pub(crate) fn replay(scenario: &Scenario) {
    let mut stage = Stage::new();
    let mut rows = scenario.rows.iter();
    for row in rows.by_ref() {
        stage.turn(row.at_ms);
        if row.meaning.starts_with("TCP FIN") {
            break;
        }
        let Direction::Between(from, to) = &row.direction else { panic!("{}", row.meaning) };
        match row.meaning.strip_prefix("TCP connect by ") {
            Some(_) if to == "master" => start(&mut stage, from, row, scenario),
            Some(_) => {}
            None => expect(&mut stage, from, to, row),
        }
    }
    assert!(stage.sniffed.values().all(Vec::is_empty), "everything was expected: {:?}", stage.sniffed);
    after_the_kill(&mut stage);
}

/// A node starts: what it says in its `H` is where it listens.
fn start(stage: &mut Stage, slave: &str, row: &Row, scenario: &Scenario) {
    let is_hello =
        |other: &&Row| other.at_ms >= row.at_ms && other.link == row.link && !other.bytes.is_empty();
    let hello = scenario.rows.iter().find(is_hello).and_then(|row| packet(&row.bytes));
    let Some(Packet::Hello { id, address }) = hello else { panic!("{slave} begins with H") };
    stage.start(id.get(), &address, id.get() == 1);
}

/// The bytes come next on their way from one to the other; if not, a service made the node write them.
fn expect(stage: &mut Stage, from: &str, to: &str, row: &Row) {
    let way = (from.to_owned(), to.to_owned());
    if !stage.sniffed.get(&way).is_some_and(|bytes| bytes.starts_with(&row.bytes)) {
        service_acts(stage, from, to, row);
    }
    let bytes = stage.sniffed.entry(way).or_default();
    let start = hex(&bytes[..bytes.len().min(64)]);
    assert!(bytes.starts_with(&row.bytes), "{from} to {to}: {}, ours wrote {start}", row.meaning);
    bytes.drain(..row.bytes.len());
}

fn service_acts(stage: &mut Stage, from: &str, to: &str, row: &Row) {
    let id = |who: &str| who.strip_prefix("slave").and_then(|id| id.parse::<u8>().ok());
    let Some(own) = id(from) else { return };
    if let Some(peer) = id(to) {
        let (message, _) = Message::read(&row.bytes, peer).expect("a frame");
        return stage.send(own, envelope(&message));
    }
    let source = Handle::new(HarborId::new(own), 7);
    let waiter = Waiter { source, session: Session::from_bits(row.at_ms as u32 + 1) };
    let deadline = stage.later(1000);
    match packet(&row.bytes) {
        Some(Packet::Register { name, handle }) => {
            stage.ask(own, HarborRequest::Register { name: name.to_name().unwrap(), handle, waiter });
        }
        Some(Packet::Query { name }) => {
            stage.ask(own, HarborRequest::Query { name: name.to_name().unwrap(), waiter, deadline });
        }
        other => panic!("{from} would not write {other:?}"),
    }
}

/// Slave 2 is killed. Calls to it fail at once (real ones wait for ever), and a process that comes back under its id
/// is refused by the master, as by a real one.
fn after_the_kill(stage: &mut Stage) {
    stage.kill(2);
    for own in [1, 3] {
        let call = crate::scenarios::message(u32::from(own) << 24 | 9, 0x0200_0008, 13, 10, b"x");
        stage.send(own, call);
        let told = stage.machine(own).delivered.last().unwrap();
        assert_eq!(told.session.bits(), 13, "{told:?}");
        assert!(Message::of(told).is_none(), "its own word: {told:?}");
    }
    stage.start(2, "127.0.0.1:21302", false);
    let events = &stage.machine(2).events;
    let refused = SlaveEvent::Refused { was_ready: false };
    assert!(format!("{events:?}").contains("Refused"), "{events:?}, not {refused:?}");
}
