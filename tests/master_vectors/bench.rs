//! Our machines with their links, driven by the rows of a transcript.

use crate::transcript::{Row, Scenario};
use skyharbor::clock::Instant;
use skyharbor::message::Waiter;
use skyharbor::registry::{Bounds, Master, MasterOutput, Slave, SlaveEvent, SlaveOutput};
use skyharbor::wire::ConnId;
use skyharbor::wire::control::{Decoder, Packet, encode};
use skyharbor::{Handle, HarborId, Name, Session};
use std::collections::BTreeMap;

/// What services of a slave do in its transcript, and when.
pub(crate) enum Act {
    Register(&'static str, u32),
    Query(&'static str),
    Send(&'static str),
}

pub(crate) type Script = Vec<(f64, Act)>;

pub(crate) fn script(scenario: &str, role: &str) -> Script {
    let asks_for_service = (0.0, Act::Query("SERVICE"));
    match (scenario, role) {
        ("real_master_and_three_slaves", "slave1") => vec![
            (1.0, Act::Register("DATACENTER", 0x0100_0007)),
            (2.0, Act::Register("SERVICE", 0x0100_0008)),
            (1596.0, Act::Register("LATER", 0x0100_000a)),
        ],
        ("real_master_and_three_slaves", "slave2") => {
            vec![asks_for_service, (993.0, Act::Register("ECHO2", 0x0200_0008))]
        }
        ("real_master_and_three_slaves", "slave3") => {
            vec![asks_for_service, (1194.0, Act::Query("ECHO2")), (1195.0, Act::Query("LATER"))]
        }
        ("fake_master_C_before_ready", _) => vec![asks_for_service, (1337.0, Act::Query("EARLY"))],
        ("fake_master_harbor_200", _) => {
            vec![asks_for_service, (33.0, Act::Register("HIGH", 0xc800_0008))]
        }
        ("fake_master_register_query", _) => vec![
            asks_for_service,
            (34.0, Act::Register("MINE", 0x0500_0008)),
            (300.0, Act::Query("MINE")),
            (700.0, Act::Register("MINE", 0x0500_0009)),
            (832.0, Act::Query("UNK")),
            (832.0, Act::Query("UNK")),
            (832.0, Act::Query("UNK")),
            (1132.0, Act::Send("UNK")),
            (1132.0, Act::Send("UNK")),
        ],
        (_, _) => vec![asks_for_service],
    }
}

/// One link as its other end sees it.
#[derive(Default)]
pub(crate) struct Link {
    conn: Option<ConnId>,
    decoder: Decoder,
    /// Written by the machine and not yet found in the transcript.
    pub(crate) unread: Vec<u8>,
    pub(crate) closed: bool,
}

/// A machine with its links by name.
pub(crate) trait Bench {
    fn links(&mut self) -> &mut BTreeMap<String, Link>;
    fn turn(&mut self, row: &Row);
    fn connected(&mut self, link: &str, by_us: bool);
    fn input(&mut self, link: &str, bytes: &[u8]);
    /// The peer ended the link.
    fn ended(&mut self, link: &str);
    /// Before bytes are looked for that the machine should have written.
    fn expected(&mut self, _link: &str, _bytes: &[u8]) {}
    /// Whether the machine wants to dial this node, or any.
    fn dials(&mut self, _id: Option<u8>) -> bool {
        false
    }
}

pub(crate) struct MasterBench {
    now: Instant,
    master: Master,
    links: BTreeMap<String, Link>,
    conn_last: u64,
}

impl MasterBench {
    pub(crate) fn new() -> Self {
        let master = Master::new(Bounds::default());
        Self { now: Instant::default(), master, links: BTreeMap::new(), conn_last: 0 }
    }

    /// What was there when the transcript begins: the standalone node with its names; for the later packages also the
    /// link that they come on, and a witness.
    pub(crate) fn set_up(&mut self, scenario: &Scenario) {
        if scenario.name == "real_master_and_three_slaves" {
            return;
        }
        self.say("node", Packet::Hello { id: HarborId::new(1), address: "127.0.0.1:21301".into() });
        for (name, handle) in [("DATACENTER", 0x0100_0007), ("SERVICE", 0x0100_0008)] {
            let handle = Handle::from_bits(handle);
            self.say("node", Packet::Register { name: name.as_bytes().into(), handle });
        }
        if scenario.name.starts_with("later_package") {
            let id = scenario.reported_dead().unwrap_or(100);
            self.say("control", Packet::Hello { id: HarborId::new(id), address: "127.0.0.1:1".into() });
            self.say("witness", Packet::Hello { id: HarborId::new(250), address: "127.0.0.1:1".into() });
        }
        for link in self.links.values_mut() {
            link.unread.clear();
        }
    }

    fn say(&mut self, link: &str, packet: Packet) {
        let mut bytes = Vec::new();
        encode(&packet, &[], &mut bytes).unwrap();
        self.input(link, &bytes);
    }

    fn drain(&mut self) {
        while let Some(output) = self.master.poll_output() {
            match output {
                MasterOutput::SendPacket { conn, packet, .. } => {
                    let link = self.links.values_mut().find(|link| link.conn == Some(conn)).unwrap();
                    encode(&packet, &[], &mut link.unread).unwrap();
                }
                MasterOutput::Close { conn } => {
                    let link = self.links.values_mut().find(|link| link.conn == Some(conn)).unwrap();
                    link.closed = true;
                }
                MasterOutput::Event(_) => {}
            }
        }
    }
}

impl Bench for MasterBench {
    fn links(&mut self) -> &mut BTreeMap<String, Link> {
        &mut self.links
    }

    fn turn(&mut self, row: &Row) {
        self.now = row.now();
        self.master.handle_timeout(self.now);
        self.drain();
    }

    fn connected(&mut self, link: &str, _by_us: bool) {
        self.conn_last += 1;
        let conn = ConnId::new(self.conn_last);
        self.links.insert(link.to_owned(), Link { conn: Some(conn), ..Link::default() });
        self.master.handle_accepted(self.now, conn);
    }

    fn input(&mut self, link: &str, mut bytes: &[u8]) {
        if !self.links.contains_key(link) {
            self.connected(link, false);
        }
        while let Some(link) = self.links.get_mut(link).filter(|link| !link.closed) {
            let conn = link.conn.unwrap();
            match link.decoder.feed(&mut bytes) {
                Ok(Some(received)) => self.master.handle_packet(self.now, conn, received.packet),
                Ok(None) => break,
                Err(fault) => self.master.handle_fault(self.now, conn, fault),
            }
            self.drain();
        }
    }

    fn ended(&mut self, link: &str) {
        let link = self.links.get_mut(link).unwrap();
        if !std::mem::replace(&mut link.closed, true) {
            self.master.handle_closed(self.now, link.conn.unwrap());
        }
        self.drain();
    }
}

pub(crate) struct SlaveBench {
    now: Instant,
    own: u8,
    address: String,
    pub(crate) slave: Slave,
    links: BTreeMap<String, Link>,
    script: std::vec::IntoIter<(f64, Act)>,
    dials: Vec<u8>,
    pub(crate) events: Vec<SlaveEvent>,
    /// Harbor frames were passed over.
    pub(crate) frames: bool,
}

pub(crate) const CONTROL: &str = "control";

impl SlaveBench {
    pub(crate) fn new(own: u8, address: String, script: Script) -> Self {
        let slave = Slave::new(HarborId::new(own), Bounds::default());
        let mut bench = Self {
            now: Instant::default(),
            own,
            address,
            slave,
            links: BTreeMap::new(),
            script: script.into_iter(),
            dials: Vec::new(),
            events: Vec::new(),
            frames: false,
        };
        bench.act(0.0);
        bench
    }

    fn act(&mut self, at_ms: f64) {
        while let Some((_, act)) = self.script.as_slice().first().filter(|(at, _)| *at <= at_ms) {
            let waiter = Waiter { source: Handle::NONE, session: Session::NONE };
            match *act {
                Act::Register(name, handle) => {
                    self.slave.handle_register(self.now, name_of(name), Handle::from_bits(handle), waiter);
                }
                Act::Query(name) => self.slave.handle_query(self.now, name_of(name), waiter, Instant::FAR),
                Act::Send(name) => {
                    self.slave.handle_held(self.now, name_of(name)).unwrap();
                }
            }
            self.script.next();
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.slave.poll_output() {
            match output {
                SlaveOutput::SendPacket { packet, .. } => {
                    encode(&packet, &[], &mut self.control().unread).unwrap();
                }
                SlaveOutput::Close { .. } => self.control().closed = true,
                SlaveOutput::Dial { id, .. } => self.dials.push(id.get()),
                SlaveOutput::Event(event) => self.events.push(event),
                SlaveOutput::Published { .. }
                | SlaveOutput::Forgotten { .. }
                | SlaveOutput::Answer { .. }
                | SlaveOutput::Relocated { .. }
                | SlaveOutput::Kin { .. } => {}
            }
        }
    }

    fn control(&mut self) -> &mut Link {
        self.links.iter_mut().find(|(name, _)| name.starts_with(CONTROL)).unwrap().1
    }

    fn control_input(&mut self, mut bytes: &[u8]) {
        loop {
            let control = self.control();
            if control.closed {
                return;
            }
            let conn = control.conn.unwrap();
            match control.decoder.feed(&mut bytes) {
                Ok(Some(received)) => self.slave.handle_packet(self.now, conn, received.packet),
                Ok(None) => return,
                Err(fault) => self.slave.handle_fault(self.now, conn, fault),
            }
            self.drain();
        }
    }

    /// The id bytes of a harbor link; whatever follows them are frames.
    fn harbor_input(&mut self, name: &str, bytes: &[u8]) {
        let peer = peer_of(name, self.own);
        let Some(link) = self.links.get_mut(name) else {
            assert_eq!(bytes, [peer], "the id byte of a node that dials us");
            let admitted = self.slave.admits(HarborId::new(peer));
            let unread = if admitted { vec![self.own] } else { vec![] };
            self.links.insert(name.to_owned(), Link { unread, closed: !admitted, ..Link::default() });
            if admitted {
                self.slave.handle_linked(self.now, HarborId::new(peer));
            }
            return self.drain();
        };
        // A dialled link has a number until its answer is there.
        match link.conn.take() {
            Some(_) => {
                assert_eq!(bytes, [peer], "the answer of the node that we dial");
                self.slave.handle_linked(self.now, HarborId::new(peer));
                self.drain();
            }
            None => self.frames = true,
        }
    }
}

impl Bench for SlaveBench {
    fn links(&mut self) -> &mut BTreeMap<String, Link> {
        &mut self.links
    }

    fn turn(&mut self, row: &Row) {
        self.now = row.now();
        self.slave.handle_timeout(self.now);
        self.drain();
        self.act(row.at_ms);
    }

    fn connected(&mut self, link: &str, by_us: bool) {
        if !link.starts_with(CONTROL) {
            assert!(!by_us || self.dials.contains(&peer_of(link, self.own)), "{link} was not to be dialled");
            return;
        }
        let conn = ConnId::new(1);
        self.links.insert(link.to_owned(), Link { conn: Some(conn), ..Link::default() });
        self.slave.handle_connected(self.now, conn, &self.address);
        self.drain();
    }

    fn input(&mut self, link: &str, bytes: &[u8]) {
        match link.starts_with(CONTROL) {
            true => self.control_input(bytes),
            false => self.harbor_input(link, bytes),
        }
    }

    fn ended(&mut self, link: &str) {
        if link.starts_with(CONTROL) {
            self.slave.handle_closed(self.now, ConnId::new(1));
        } else if self.links.contains_key(link) {
            self.slave.handle_unlinked(self.now, HarborId::new(peer_of(link, self.own)));
        }
        self.drain();
    }

    fn expected(&mut self, link: &str, bytes: &[u8]) {
        if link.starts_with(CONTROL) {
            return;
        }
        let peer = peer_of(link, self.own);
        if !self.links.contains_key(link) {
            let dialled = self.dials.contains(&peer);
            assert!(dialled, "{link} was not to be dialled");
            let link_to_peer = Link { conn: Some(ConnId::new(0)), unread: vec![self.own], ..Link::default() };
            self.links.insert(link.to_owned(), link_to_peer);
        } else if bytes.len() > 1 {
            self.frames = true;
            self.links.get_mut(link).unwrap().unread.extend_from_slice(bytes);
        }
    }

    fn dials(&mut self, id: Option<u8>) -> bool {
        id.map_or(!self.dials.is_empty(), |id| self.dials.contains(&id))
    }
}

pub(crate) fn name_of(text: &str) -> Name {
    text.parse().unwrap()
}

/// The other end of `harbor 2-5`.
fn peer_of(link: &str, own: u8) -> u8 {
    let ids = link.strip_prefix("harbor ").unwrap().split(' ').next().unwrap();
    let mut ids = ids.split('-').map(|id| id.parse::<u8>().unwrap());
    ids.find(|id| *id != own).unwrap()
}
