//! Replays one scenario row by row.

use crate::scenarios::{Difference, Ours, Plan};
use crate::stage::{MASTER, Message, Stage};
use crate::transcript::{Direction, Row, Scenario, hex};
use skyharbor::harbor::Listener;
use skyharbor::message::{
    Body, Envelope, Handle, HarborId, HarborRequest, Kind, Name, Payload, Session, Waiter,
};
use skyharbor::wire::PacketName;
use skyharbor::wire::control::{Decoder, Packet, encode};

/// Types that a peer may not send us: they are dropped (H7).
const DROPPED: [u8; 4] = [4, 5, 6, 9];

pub(crate) struct Replay<'a> {
    scenario: &'a Scenario,
    plan: Plan,
    pub(crate) stage: Stage,
    /// What the scripted peers wrote on each harbor link.
    written: Vec<(String, Vec<u8>)>,
    asked: u32,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(scenario: &'a Scenario, plan: Plan) -> Self {
        Self { scenario, plan, stage: Stage::new(), written: Vec::new(), asked: 0 }
    }

    pub(crate) fn run(mut self) -> Stage {
        self.set_the_stage();
        for index in 0..self.scenario.rows.len() {
            let row = &self.scenario.rows[index];
            self.stage.turn(row.at_ms);
            for (_, act) in self.plan.acts.extract_if(.., |(at, _)| *at == index).collect::<Vec<_>>() {
                act(&mut self.stage);
            }
            let differences: Vec<Ours> = self
                .plan
                .differences
                .extract_if(.., |difference| difference.row == index)
                .map(|difference| difference.ours)
                .collect();
            self.row(row, differences.first());
        }
        self.finish();
        self.stage
    }

    /// Everything that the scenario takes for granted.
    fn set_the_stage(&mut self) {
        let first = &self.scenario.rows[0];
        if let Some(Packet::Hello { id, address }) = packet(&first.bytes).filter(|_| is_out(first)) {
            self.stage.peers.insert(MASTER.to_owned(), "control".to_owned());
            return self.stage.start(id.get(), &address, false);
        }
        self.stage.start(1, "node:1", true);
        self.stage.peers.insert("peer:2".to_owned(), "1-2".to_owned());
        self.stage.dial("control", 1, Listener::Master);
        let mut hello = Vec::new();
        let packet = Packet::Hello { id: HarborId::new(2), address: "peer:2".to_owned() };
        encode(&packet, &[], &mut hello).unwrap();
        self.stage.write("control", &hello);
        self.expect("control", b"\x04\x0cW\x0a\x01", "W 1");
        let has_handshake = self.scenario.rows.iter().any(|row| row.link == "1-2" && row.bytes == [1]);
        if !has_handshake {
            self.expect("1-2", &[1], "the id byte of the dialler");
            self.stage.write("1-2", &[2]);
            self.written.push(("1-2".to_owned(), vec![2]));
        }
        if let Some((id, address)) = &self.plan.joiner {
            self.stage.start(*id, address, false);
        }
    }

    fn row(&mut self, row: &Row, difference: Option<&Ours>) {
        match (&row.direction, difference) {
            (Direction::In, None) => self.peer_writes(row),
            (Direction::Out, None) => self.node_writes(row, &row.bytes),
            (Direction::Out, Some(Ours::Writes(bytes))) => {
                assert_ne!(*bytes, row.bytes, "no difference");
                self.node_writes(row, bytes);
            }
            (Direction::Out, Some(Ours::Silent)) => {
                let script = self.stage.scripts.get(&row.link);
                assert!(
                    script.is_none_or(|script| !script.unread.starts_with(&row.bytes)),
                    "{}",
                    row.meaning
                );
            }
            (Direction::Note, None) => self.note(row, true),
            (Direction::Note, Some(Ours::NotSo)) => self.note(row, false),
            (direction, difference) => panic!("{direction:?} with {difference:?}"),
        }
    }

    fn peer_writes(&mut self, row: &Row) {
        if !self.stage.scripts.contains_key(&row.link) {
            let (machine, listener) = match link_ends(&row.link) {
                Some((_, acceptor)) => (acceptor, Listener::Links),
                None => (1, Listener::Master),
            };
            self.stage.dial(&row.link, machine, listener);
        }
        self.learn_address(row);
        if link_ends(&row.link).is_some() {
            match self.written.iter_mut().find(|(link, _)| *link == row.link) {
                Some((_, bytes)) => bytes.extend_from_slice(&row.bytes),
                None => self.written.push((row.link.clone(), row.bytes.clone())),
            }
        }
        self.stage.write(&row.link, &row.bytes);
    }

    /// Who is dialled at an address that a packet names.
    fn learn_address(&mut self, row: &Row) {
        let own = *self.stage.machines.keys().next().unwrap();
        let (id, address, prefix) = match packet(&row.bytes) {
            Some(Packet::Hello { id, address }) => (id, address, ""),
            Some(Packet::Connect { id, address }) => (id, address, "harbor "),
            _ => return,
        };
        if !address.ends_with(":1") {
            self.stage.peers.insert(address, format!("{prefix}{own}-{id}"));
        }
    }

    /// The machine has written it already, or a service makes it write.
    fn node_writes(&mut self, row: &Row, bytes: &[u8]) {
        let is_there = |stage: &Stage| {
            stage.scripts.get(&row.link).is_some_and(|script| script.unread.starts_with(bytes))
        };
        if !is_there(&self.stage) {
            self.service_acts(row);
        }
        self.expect(&row.link, bytes, &row.meaning);
    }

    fn expect(&mut self, link: &str, bytes: &[u8], meaning: &str) {
        let Some(script) = self.stage.scripts.get_mut(link) else { panic!("no link {link}: {meaning}") };
        let start = &script.unread[..script.unread.len().min(64)];
        assert!(script.unread.starts_with(bytes), "{link}: {meaning}, ours wrote {}", hex(start));
        script.unread.drain(..bytes.len());
    }

    /// What the real node's services did to make it write this row.
    fn service_acts(&mut self, row: &Row) {
        self.asked += 1;
        let session = Session::from_bits(1_000_000 + self.asked);
        match link_ends(&row.link) {
            Some((dialler, acceptor)) => {
                let (own, peer) = match self.stage.machines.contains_key(&dialler) {
                    true => (dialler, acceptor),
                    false => (acceptor, dialler),
                };
                self.service_sends(own, peer, &row.bytes);
            }
            None => {
                let own = *self.stage.machines.keys().next().unwrap();
                let waiter = Waiter { source: Handle::new(HarborId::new(own), 7), session };
                let deadline = self.stage.later(1000);
                let request = match packet(&row.bytes) {
                    Some(Packet::Register { name, handle }) => {
                        HarborRequest::Register { name: valid(&name), handle, waiter }
                    }
                    Some(Packet::Query { name }) => {
                        HarborRequest::Query { name: valid(&name), waiter, deadline }
                    }
                    _ => return,
                };
                self.stage.ask(own, request);
            }
        }
    }

    /// A frame whose source is a service of the node was sent by that service. Others are the machine's to write.
    fn service_sends(&mut self, own: u8, peer: u8, frame: &[u8]) {
        let Some((message, _)) = Message::read(frame, peer) else { return };
        if self.stage.machine(own).services.contains(&message.source.local()) {
            self.stage.send(own, envelope(&message));
        }
    }

    /// What the recorder remarked about the real node, and whether it holds for ours.
    fn note(&mut self, row: &Row, holds: bool) {
        let text = row.meaning.as_str();
        if peer_closes(text) {
            return self.stage.close(&row.link);
        }
        let script = self.stage.scripts.get(&row.link);
        let all_read = self.stage.scripts.values().all(|script| script.unread.is_empty());
        let claim = if text.starts_with("node closed the link") {
            script.is_some_and(|script| script.is_closed && script.unread.is_empty())
        } else if text.starts_with("nothing from the node") || text.starts_with("nothing comes") {
            script.is_none_or(|script| script.unread.is_empty())
        } else if text.starts_with("no connect") {
            all_read
        } else if text.starts_with("link still open") {
            script.is_some_and(|script| !script.is_closed)
        } else {
            // What the real node's services saw is compared at the end; the rest are remarks about the real node alone.
            holds
        };
        assert_eq!(claim, holds, "{text}");
    }

    /// Nothing is unexpected, every service got what was written for it, every difference showed up.
    fn finish(&mut self) {
        let rows = self.scenario.rows.len();
        for (link, script) in &self.stage.scripts {
            let surplus = self.plan.surplus.iter().position(|(other, _)| other == link);
            let expected = surplus.map(|at| self.plan.surplus.remove(at).1).unwrap_or_default();
            assert_eq!(hex(&script.unread), hex(&expected), "{link}: what no row expected");
        }
        assert!(self.plan.surplus.is_empty(), "bytes that ours should have written");
        assert!(self.plan.acts.iter().all(|(at, _)| *at < rows), "every act is played");
        let open: Vec<String> = self.plan.differences.iter().map(Difference::describe).collect();
        assert!(open.is_empty(), "differences without a row: {open:?}");
        for (link, bytes) in std::mem::take(&mut self.written) {
            self.check_deliveries(&link, &bytes);
        }
    }

    /// Every frame that a scripted peer wrote has reached its service, in order.
    fn check_deliveries(&mut self, link: &str, bytes: &[u8]) {
        let (dialler, acceptor) = link_ends(link).unwrap();
        let own = if self.stage.machines.contains_key(&acceptor) { acceptor } else { dialler };
        let machine = self.stage.machine(own);
        let mut frames = &bytes[1..];
        let mut expected = Vec::new();
        while let Some((message, rest)) = Message::read(frames, own) {
            frames = rest;
            let is_for_us = machine.services.contains(&message.dest.local());
            // A call is answered once; without a session nothing was asked.
            let is_again = |other: &Message| (other.kind, other.session) == (message.kind, message.session);
            let is_stray =
                message.kind == Kind::RESPONSE.0 && (message.session == 0 || expected.iter().any(is_again));
            let is_dropped = is_stray || DROPPED.contains(&message.kind);
            if is_for_us && !is_dropped && !self.plan.deaf_to.contains(&message.session) {
                expected.push(message);
            }
        }
        let mut delivered = machine.delivered.iter().filter_map(Message::of);
        for message in expected {
            let found = delivered.any(|other| other == message);
            assert!(found, "{link}: {message:?} was not delivered, or not in its turn");
        }
    }
}

/// Whether the remark says that the scripted peer closes its side.
fn peer_closes(text: &str) -> bool {
    let closes = [
        "we close",
        "we shut down",
        "master closes",
        "the harbor link to slave 2 is lost",
        "now the control link is closed",
    ];
    closes.iter().any(|start| text.starts_with(start))
}

fn is_out(row: &Row) -> bool {
    row.direction == Direction::Out
}

/// The packet, if the bytes are one.
pub(crate) fn packet(bytes: &[u8]) -> Option<Packet> {
    let mut chunk = bytes;
    let received = Decoder::new().feed(&mut chunk).ok()??;
    Some(received.packet)
}

fn valid(name: &PacketName) -> Name {
    name.to_name().unwrap_or_else(|error| panic!("{name:?}: {error}"))
}

/// The ids of dialler and acceptor of a harbor link: `1-2`, `harbor 2-5 again`.
pub(crate) fn link_ends(link: &str) -> Option<(u8, u8)> {
    let ends = link.split(' ').find(|word| word.contains('-'))?;
    let (dialler, acceptor) = ends.split_once('-')?;
    Some((dialler.parse().ok()?, acceptor.parse().ok()?))
}

pub(crate) fn envelope(message: &Message) -> Envelope {
    let body = match message.payload.is_empty() {
        true => Body::Empty,
        false => Body::Bytes(Payload::from_vec(message.payload.clone())),
    };
    let session = Session::from_bits(message.session);
    Envelope { source: message.source, dest: message.dest, session, kind: Kind(message.kind), body }
}
