//! Any inputs in any order: nothing panics, every call has at most one outcome and in the end exactly one, the accounts
//! balance, links go up and down by turns, and what is dropped is never named again.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// One input. Connections are named by their place among all that ever were, modulo their number.
#[derive(Clone, Debug)]
enum Op {
    Accept(bool),
    Connected(u8),
    Refused(u8),
    Closed(u8),
    Bytes(u8, Vec<u8>),
    Frame(u8, u8, u8, u8),
    Packet(u8, Said),
    Write(u8, u16),
    Send { to: u8, is_call: bool, kind: u8, len: u16 },
    SendTo { name: u8, is_call: bool },
    Register(u8),
    Query(u8, u8),
    Link(u8),
    Connect(u8),
    LinkMaster,
    Forget(u8),
    Undeliverable(u8, u8),
    Time(u16),
    Leave,
}

/// A control packet.
#[derive(Clone, Debug)]
enum Said {
    Hello(u8),
    Wait(u8),
    Newcomer(u8),
    Name(u8, u8),
    Dead(u8),
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        (1u8..6).prop_map(Said::Hello),
        (0u8..3).prop_map(Said::Wait),
        (1u8..6).prop_map(Said::Newcomer),
        (0u8..4, 1u8..6).prop_map(|(name, owner)| Said::Name(name, owner)),
        (1u8..6).prop_map(Said::Dead),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => any::<bool>().prop_map(Op::Accept),
        4 => any::<u8>().prop_map(Op::Connected),
        1 => any::<u8>().prop_map(Op::Refused),
        2 => any::<u8>().prop_map(Op::Closed),
        2 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(conn, bytes)| Op::Bytes(conn, bytes)),
        6 => (any::<u8>(), 0u8..7).prop_map(|(conn, id)| Op::Bytes(conn, vec![id])),
        6 => (any::<u8>(), 0u8..13, 0u8..9, 0u8..4)
            .prop_map(|(conn, kind, session, source)| Op::Frame(conn, kind, session, source)),
        6 => (any::<u8>(), said()).prop_map(|(conn, said)| Op::Packet(conn, said)),
        4 => (any::<u8>(), any::<u16>()).prop_map(|(conn, bytes)| Op::Write(conn, bytes)),
        8 => (0u8..7, any::<bool>(), 0u8..14, 0u16..300)
            .prop_map(|(to, is_call, kind, len)| Op::Send { to, is_call, kind, len }),
        3 => (0u8..4, any::<bool>()).prop_map(|(name, is_call)| Op::SendTo { name, is_call }),
        1 => (0u8..4).prop_map(Op::Register),
        1 => (0u8..4, 0u8..100).prop_map(|(name, seconds)| Op::Query(name, seconds)),
        1 => (1u8..6).prop_map(Op::Link),
        1 => (1u8..6).prop_map(Op::Connect),
        1 => Just(Op::LinkMaster),
        1 => any::<u8>().prop_map(Op::Forget),
        1 => (0u8..7, 0u8..9).prop_map(|(source, session)| Op::Undeliverable(source, session)),
        3 => any::<u16>().prop_map(Op::Time),
        1 => prop_oneof![20 => Just(Op::Time(0)), 1 => Just(Op::Leave)],
    ]
}

/// A machine, and what must have come out of it.
struct Model {
    harbor: Harbor,
    now: Instant,
    conns: Vec<ConnId>,
    /// Sessions of calls and questions that wait.
    open: BTreeSet<u32>,
    /// Calls that were forgotten, or answered by a peer that could not know them: the machine may still speak of them once.
    over: BTreeSet<u32>,
    /// Sessions of calls, in contrast to those of questions.
    calls: BTreeSet<u32>,
    session: u32,
    up: BTreeSet<HarborId>,
}

/// The service that calls; sessions of peers' frames are small, its own are not.
const SESSIONS_FROM: u32 = 1000;

impl Model {
    fn new(hosts: bool) -> Self {
        let mut settings = Settings::new(HarborId::new(5));
        settings.join =
            Some(Join { listen: "here".to_owned(), advertise: None, master: "master".to_owned() });
        settings.master = hosts.then(|| "master".to_owned());
        settings.bounds.held_messages_max = 5;
        settings.bounds.name_held_messages_max = 3;
        settings.bounds.unsent_bytes_max = 600;
        settings.bounds.unsent_warn_bytes = 100;
        settings.bounds.pending_calls_max = 6;
        settings.bounds.call_time_max = Duration::from_secs(1_000_000);
        let mut model = Self {
            harbor: Harbor::new(settings),
            now: Instant::from_nanos(1_000_000_000),
            conns: Vec::new(),
            open: BTreeSet::new(),
            over: BTreeSet::new(),
            calls: BTreeSet::new(),
            session: SESSIONS_FROM,
            up: BTreeSet::new(),
        };
        model.harbor.start(model.now);
        model.drain();
        model
    }

    fn conn(&self, place: u8) -> Option<ConnId> {
        let len = self.conns.len().max(1);
        self.conns.get(usize::from(place) % len).copied()
    }

    fn wait(&mut self) -> Waiter {
        self.session += 1;
        self.open.insert(self.session);
        waiter(self.session)
    }

    fn run(&mut self, op: Op) {
        let now = self.now;
        match op {
            Op::Accept(links) => {
                let listener = if links { Listener::Links } else { Listener::Master };
                let conn = self.harbor.handle_accepted(now, listener);
                self.conns.push(conn);
            }
            Op::Connected(place) => self.with(place, |harbor, conn| harbor.handle_connected(now, conn)),
            Op::Refused(place) => self.with(place, |harbor, conn| {
                harbor.handle_connect_failed(now, conn, io::ErrorKind::ConnectionRefused);
            }),
            Op::Closed(place) => self.with(place, |harbor, conn| harbor.handle_closed(now, conn)),
            Op::Bytes(place, bytes) => {
                self.with(place, |harbor, conn| harbor.handle_bytes(now, conn, &bytes));
            }
            Op::Frame(place, kind, session, source) => {
                let frame = [0, 0, 0, 12, source, 0, 0, 9, kind, 0, 0, 8, 0, 0, 3, 232 + session];
                self.with(place, |harbor, conn| harbor.handle_bytes(now, conn, &frame));
            }
            Op::Packet(place, said) => {
                let mut bytes = Vec::new();
                encode(&packet(&said), &[], &mut bytes).unwrap();
                self.with(place, |harbor, conn| harbor.handle_bytes(now, conn, &bytes));
            }
            Op::Write(place, bytes) => self.with(place, |harbor, conn| {
                if let Some(outbox) = harbor.outbox(conn) {
                    let len = outbox.len().min(usize::from(bytes));
                    outbox.advance(len);
                }
                harbor.handle_sent(now, conn);
            }),
            Op::Time(millis) => self.pass(Duration::from_millis(u64::from(millis))),
            Op::Leave => self.harbor.handle_request(now, HarborRequest::Leave),
            Op::Send { .. }
            | Op::SendTo { .. }
            | Op::Register(_)
            | Op::Query(..)
            | Op::Link(_)
            | Op::Connect(_)
            | Op::LinkMaster
            | Op::Forget(_)
            | Op::Undeliverable(..) => self.ask(op),
        }
        self.drain();
    }

    fn with(&mut self, place: u8, input: impl FnOnce(&mut Harbor, ConnId)) {
        if let Some(conn) = self.conn(place) {
            input(&mut self.harbor, conn);
        }
    }

    /// What services want.
    fn ask(&mut self, op: Op) {
        let name = |name: u8| Name::new(&[b'A' + name]).unwrap();
        let request = match op {
            Op::Send { to, is_call, kind, len } => {
                let envelope = self.message(is_call, Kind(kind), u32::from(to) << 24 | 9, len);
                return self.harbor.handle_send(self.now, envelope);
            }
            Op::Undeliverable(source, session) => {
                let source = Handle::from_bits(u32::from(source) << 24 | 9);
                let session = Session::from_bits(u32::from(session));
                let lost = Envelope { source, session, ..message(0, 0x0500_0abc) };
                return self.harbor.handle_undeliverable(self.now, lost);
            }
            Op::SendTo { name: to, is_call } => {
                HarborRequest::Send { name: name(to), envelope: self.message(is_call, Kind::LUA, 0, 10) }
            }
            Op::Register(own) => {
                let handle = Handle::from_bits(0x0500_0008);
                HarborRequest::Register { name: name(own), handle, waiter: self.wait() }
            }
            Op::Query(wanted, seconds) => {
                let deadline = self.now + Duration::from_secs(u64::from(seconds));
                HarborRequest::Query { name: name(wanted), waiter: self.wait(), deadline }
            }
            Op::Link(peer) => HarborRequest::Link { harbor: HarborId::new(peer), waiter: self.wait() },
            Op::Connect(peer) => HarborRequest::Connect { harbor: HarborId::new(peer), waiter: self.wait() },
            Op::LinkMaster => HarborRequest::LinkMaster { waiter: self.wait() },
            Op::Forget(back) => {
                let session = self.session.saturating_sub(u32::from(back) % 8);
                self.forget(session);
                self.open.remove(&session);
                HarborRequest::Forget { waiter: waiter(session) }
            }
            other => panic!("{other:?} is no wish of a service"),
        };
        self.harbor.handle_request(self.now, request);
    }

    /// A message of the one service, as a call or not.
    fn message(&mut self, is_call: bool, kind: Kind, dest: u32, len: u16) -> Envelope {
        let session = if is_call { self.session + 1 } else { 0 };
        let envelope = Envelope { kind, ..message(session, dest) };
        let envelope =
            Envelope { body: Body::Bytes(Payload::from_vec(vec![1; usize::from(len)])), ..envelope };
        if is_call {
            self.session += 1;
            // To a handle of this node nobody answers here; by name (no handle yet) somebody else may.
            let is_remote = envelope.dest.is_remote(HarborId::new(5));
            let asks = link::is_call(&envelope) && (is_remote || envelope.dest.is_none());
            if asks {
                self.open.insert(self.session);
                self.calls.insert(self.session);
            }
        }
        envelope
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        if self.harbor.poll_timeout().is_some_and(|due| due <= self.now) {
            self.harbor.handle_timeout(self.now);
            let next = self.harbor.poll_timeout();
            assert!(next.is_none_or(|due| due > self.now), "{next:?} is due at once again");
        }
    }

    fn drain(&mut self) {
        assert!(self.harbor.balances(), "{:?}", self.harbor.node_account());
        check_alarm(&mut self.harbor);
        while let Some(action) = self.harbor.poll_action() {
            match action {
                Action::Listen { listener, address } => {
                    self.harbor.handle_listening(self.now, listener, Ok(address));
                }
                Action::Connect { conn, .. } => self.conns.push(conn),
                Action::Close { conn } => assert!(self.conns.contains(&conn) && !self.harbor.is_open(conn)),
                Action::Deliver(envelope) | Action::Complete(envelope) => self.delivered(&envelope),
                Action::Answer { waiter, .. } => self.ended(waiter.session.bits()),
                Action::Event(Event::Up(peer)) => assert!(self.up.insert(peer), "{peer} is up twice"),
                Action::Event(Event::Down(peer, _)) => {
                    assert!(self.up.remove(&peer), "{peer} is down without having been up");
                    assert_eq!(self.harbor.pending_calls(peer), 0);
                }
                Action::StopListening(_)
                | Action::Publish { .. }
                | Action::Retract { .. }
                | Action::Probe { .. }
                | Action::Pause { .. }
                | Action::Resume { .. }
                | Action::Event(_) => {}
            }
        }
        while let Some(conn) = self.harbor.poll_transmit() {
            let is_open = self.harbor.is_open(conn);
            assert_eq!(self.harbor.outbox(conn).is_some(), is_open, "{conn:?} has no outbox");
        }
    }

    fn delivered(&mut self, envelope: &Envelope) {
        assert!(!envelope.dest.is_remote(HarborId::new(5)), "{envelope:?}");
        let session = envelope.session.bits();
        let is_ours = envelope.dest.local() == 8 && session > SESSIONS_FROM;
        match &envelope.body {
            // The machine's own word ends a call that is open, once.
            Body::Failure(_) if is_ours => self.ended(session),
            // A peer may say what it likes, but its first answer ends the call.
            _ if matches!(envelope.kind, Kind::RESPONSE | Kind::ERROR) => self.forget(session),
            // A call by name that came back to this node: its callee is not played.
            _ if envelope.source == Handle::from_bits(0x0500_0008) => self.forget(session),
            _ => {}
        }
    }

    fn forget(&mut self, session: u32) {
        if self.calls.contains(&session) && self.open.remove(&session) {
            self.over.insert(session);
        }
    }

    fn ended(&mut self, session: u32) {
        let was_open = self.open.remove(&session);
        assert!(was_open || self.over.remove(&session), "call {session} ended twice");
    }

    /// The node leaves: whatever is open must end.
    fn finish(mut self) {
        self.run(Op::Leave);
        self.pass(Duration::from_secs(3600));
        self.drain();
        assert!(self.harbor.has_left());
        assert_eq!(self.open, BTreeSet::new(), "calls that never ended");
        assert_eq!(self.up, BTreeSet::new());
        let account = self.harbor.node_account();
        assert_eq!((account.queued, account.in_flight), (0, 0));
    }
}

fn packet(said: &Said) -> Packet {
    let id = HarborId::new;
    match *said {
        Said::Hello(n) => Packet::Hello { id: id(n), address: format!("peer:{n}") },
        Said::Wait(n) => Packet::Wait { n },
        Said::Newcomer(n) => Packet::Connect { id: id(n), address: format!("peer:{n}") },
        Said::Name(name, owner) => {
            Packet::Name { name: PacketName::from(&[b'A' + name][..]), handle: Handle::new(id(owner), 9) }
        }
        Said::Dead(n) => Packet::Dead { id: id(n) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_call_ends_exactly_once(hosts: bool, ops in prop::collection::vec(op(), 0..150)) {
        let mut model = Model::new(hosts);
        for op in ops {
            model.run(op);
        }
        model.finish();
    }
}
