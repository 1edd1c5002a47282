//! Nodes of our kind: who they are, and the messages that they send each other.
//!
//! Nothing of this ever goes to a real node: a hello is sent when the present master has named both ends (`~sky.<id>`,
//! `registry`) and the link is up, or in answer to the peer's, once for each link, so one counts and a repeated one does nothing.
//! All messages are
//! ordinary ones between two reserved ids: type LUA, session 0, packed values, a word first.
//!
//! | word | values | when |
//! |---|---|---|
//! | `HELLO` | incarnation, capabilities | the link is up |
//! | `PING` | number | the peer said hello and nothing since a while (`pulse`), and it can answer |
//! | `PONG` | number | the answer |
//! | `PAUSE` | – | this node has no memory to read the link now (`inbound`), and cannot answer |
//! | `RESUME` | – | it reads again |
//!
//! Who said that it reads compressed messages may be sent some (`wire::compress`): frames of their own between the same ids.

use super::desk::Desk;
use super::{Event, Fault, Harbor, Hello};
use crate::clock::Instant;
use crate::limits::{KIN_BYTES_MAX, SERVICE_ID_KIN};
use crate::message::{Body, CallError, Envelope, Handle, HarborId, Kind, Payload, Session};
use crate::mutant::{self, Mutant};
use crate::seri::{self, Value};
use crate::wire::{self, CompressionFault};
use std::collections::{BTreeMap, BTreeSet};

/// What this node and its kind said to each other; at most one entry for each id.
#[derive(Default)]
pub(super) struct Kin {
    /// Who got our hello on the present link.
    greeted: BTreeSet<HarborId>,
    /// Who was announced as a later life while its link had said nothing of itself, and until when it must have: the link is to
    /// the life before, or was made when the later one did not know us yet.
    unproven: BTreeMap<HarborId, Instant>,
}

impl Kin {
    /// The link is gone: who comes next under this id is somebody else.
    pub(super) fn lost(&mut self, id: HarborId, desk: &mut Desk) {
        self.greeted.remove(&id);
        self.unproven.remove(&id);
        desk.met.remove(&id);
        desk.readers.remove(&id);
    }

    fn late(&self, now: Instant) -> impl Iterator<Item = HarborId> {
        self.unproven.iter().filter(move |(_, deadline)| **deadline <= now).map(|(id, _)| *id)
    }

    /// When [`Harbor::expire_unproven`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.unproven.values().min().copied()
    }
}

/// What one node says to another of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Hello(Hello),
    Ping(u64),
    Pong(u64),
    Pause,
    Resume,
}

/// Whether a frame is for the reserved id and not for a service.
pub(super) fn is_addressed(envelope: &Envelope, desk: &Desk) -> bool {
    desk.hello.is_some() && envelope.dest.local() == SERVICE_ID_KIN
}

/// The frame of a message: compressed if its payload is large and the peer said that it reads that. The master's word is
/// not enough: what it knows may be out of date, and the node a real one.
pub(super) fn frame(message: Envelope, desk: &Desk) -> Envelope {
    let len = message.body.bytes().map_or(0, <[u8]>::len);
    let is_large = desk.compress.is_some_and(|bytes_min| len >= bytes_min);
    let reads = desk.readers.contains(&message.dest.harbor()) || mutant::is(Mutant::CompressedForAll);
    match is_large && reads {
        true => wire::compress(message, desk.own),
        false => message,
    }
}

/// Whether the message of a frame is compressed. What this node did not say that it reads is a fault: to refuse it would
/// leave nobody to tell.
pub(super) fn is_compressed(peer: HarborId, frame: &Envelope, desk: &Desk) -> Result<bool, CompressionFault> {
    match &desk.hello {
        Some(hello) if wire::is_compressed(frame, peer) => match hello.reads_compressed() {
            true => Ok(true),
            false => Err(CompressionFault::NotOffered),
        },
        Some(_) | None => Ok(false),
    }
}

/// The word as a message.
pub(super) fn spoken(own: HarborId, peer: HarborId, word: Word) -> Envelope {
    let source = Handle::new(own, SERVICE_ID_KIN);
    let dest = Handle::new(peer, SERVICE_ID_KIN);
    let body = Body::Bytes(Payload::from_vec(pack(word)));
    Envelope { source, dest, session: Session::NONE, kind: Kind::LUA, body }
}

impl Harbor {
    /// Says hello to a node of our kind, once for each link.
    pub(super) fn greet_kin(&mut self, id: HarborId) {
        if self.control.slave.is_kin(id) {
            self.say_hello(id);
        }
    }

    fn say_hello(&mut self, id: HarborId) {
        let Some(hello) = self.settings.hello else { return };
        if self.slots[id.index()].is_up() && !self.desk.leaving && self.kin.greeted.insert(id) {
            self.slots[id.index()].greet(hello, &mut self.desk);
            self.begin_pulse(id);
        }
    }

    /// A message for the reserved id. Anything but a word is refused as by a service that does not exist.
    pub(super) fn kin_mail(&mut self, peer: HarborId, envelope: &Envelope) {
        let slot = &mut self.slots[peer.index()];
        if !slot.is_up() && envelope.source.harbor() == peer {
            // Its link broke behind this message. Who asked through it from elsewhere is told all the same.
            return;
        }
        let is_from_kin = envelope.source == Handle::new(peer, SERVICE_ID_KIN) && envelope.kind == Kind::LUA;
        let word = envelope.body.bytes().filter(|_| is_from_kin).and_then(unpack);
        let is_met = self.desk.met.contains_key(&peer);
        match word {
            Some(Word::Hello(hello)) => self.hear_kin(peer, hello),
            Some(Word::Ping(_)) if mutant::is(Mutant::PongMissing) => {}
            Some(Word::Ping(number)) if is_met => slot.say(Word::Pong(number), &mut self.desk),
            Some(Word::Pong(number)) if is_met => slot.pong(number),
            Some(Word::Pause) if is_met => slot.peer_pauses(&mut self.desk),
            Some(Word::Resume) if is_met => slot.peer_resumes(&mut self.desk),
            Some(Word::Ping(_) | Word::Pong(_) | Word::Pause | Word::Resume) => {}
            None if envelope.kind != Kind::ERROR && envelope.session.wants_answer() => {
                let (source, dest) = (envelope.dest, envelope.source);
                self.desk.reply(Envelope::error(source, dest, envelope.session, CallError::NoService));
            }
            None => {}
        }
    }

    /// The first hello of a link counts. Once more says nothing; another one cannot be true, since a node has one
    /// incarnation as long as its links live.
    fn hear_kin(&mut self, peer: HarborId, hello: Hello) {
        match self.desk.met.get(&peer) {
            None => {
                self.meet_kin(peer, hello);
                // It waits for ours, of whom the master has not told us yet.
                self.say_hello(peer);
            }
            Some(before) if *before == hello => {}
            Some(_) => self.slots[peer.index()].fault(Fault::OtherHello, &mut self.desk),
        }
    }

    fn meet_kin(&mut self, peer: HarborId, hello: Hello) {
        self.kin.unproven.remove(&peer);
        self.desk.met.insert(peer, hello);
        if hello.reads_compressed() {
            self.desk.readers.insert(peer);
        }
        self.desk.event(Event::Kin { peer, hello });
        self.begin_pulse(peer);
        if let Some(begun) = self.control.slave.hello_of(peer) {
            self.end_earlier_life(peer, begun);
        }
    }

    /// Once both have said hello, and both can answer, the peer's silence means something.
    fn begin_pulse(&mut self, peer: HarborId) {
        let hellos = [self.settings.hello, self.kin(peer)];
        let can_answer = |hello: Option<Hello>| hello.is_some_and(|it| it.capabilities & Hello::PULSE != 0);
        if self.kin.greeted.contains(&peer) && hellos.into_iter().all(can_answer) {
            self.slots[peer.index()].begin_pulse(&mut self.desk);
        }
    }

    /// The master announces a life of a linked node. Which one the link is to, only the link itself can say: who dials again
    /// where the life before was may have met this one, before it was a member.
    pub(super) fn begin_life(&mut self, id: HarborId, begun: Hello) {
        if !self.slots[id.index()].is_up() {
            return;
        }
        if self.desk.met.contains_key(&id) {
            return self.end_earlier_life(id, begun);
        }
        // Whoever was never greeted may be a real node, of which a master that began again knows nothing.
        if self.kin.greeted.contains(&id) {
            self.await_hello(id);
        }
    }

    fn await_hello(&mut self, id: HarborId) {
        let deadline = self.desk.now + self.desk.bounds.heartbeat_deadline;
        self.kin.unproven.insert(id, deadline);
        self.desk.wake_at(deadline);
    }

    /// A link to a life before this one is over, before this one is dialled.
    fn end_earlier_life(&mut self, id: HarborId, begun: Hello) {
        if self.desk.met.get(&id).is_some_and(|linked| linked.incarnation < begun.incarnation) {
            self.slots[id.index()].supersede(&mut self.desk);
        }
    }

    /// Links that did not say in time which life they are to.
    pub(super) fn expire_unproven(&mut self) {
        let late: Vec<HarborId> = self.kin.late(self.desk.now).collect();
        for id in late {
            let slot = &mut self.slots[id.index()];
            match slot.is_paused() {
                // What it said may not be read yet.
                true => self.await_hello(id),
                false => slot.supersede(&mut self.desk),
            }
        }
    }

    /// Whether this peer is asked for a sign of life when it is silent: both nodes said hello on the present link.
    pub fn is_watched(&self, peer: HarborId) -> bool {
        self.slots[peer.index()].is_watched()
    }

    /// What a node of our kind said of itself on the present link; none of a real node.
    pub fn kin(&self, peer: HarborId) -> Option<Hello> {
        self.desk.met.get(&peer).copied()
    }
}

const HELLO: &str = "HELLO";
const PING: &str = "PING";
const PONG: &str = "PONG";
const PAUSE: &str = "PAUSE";
const RESUME: &str = "RESUME";

fn pack(word: Word) -> Vec<u8> {
    let number = |bits: u64| Value::Int(i64::from_ne_bytes(bits.to_ne_bytes()));
    // A few scalars always fit.
    let packed = match word {
        Word::Hello(Hello { incarnation, capabilities }) => {
            seri::pack(&[Value::from(HELLO), number(incarnation), number(capabilities)])
        }
        Word::Ping(count) => seri::pack(&[Value::from(PING), number(count)]),
        Word::Pong(count) => seri::pack(&[Value::from(PONG), number(count)]),
        Word::Pause => seri::pack(&[Value::from(PAUSE)]),
        Word::Resume => seri::pack(&[Value::from(RESUME)]),
    };
    packed.unwrap_or_default()
}

/// Values behind the known ones are for later versions.
fn unpack(bytes: &[u8]) -> Option<Word> {
    let bytes = Some(bytes).filter(|bytes| bytes.len() <= KIN_BYTES_MAX)?;
    let values = seri::unpack(bytes).ok()?;
    let (Value::Bytes(word), values) = values.split_first()? else { return None };
    let number = |at: usize| match values.get(at) {
        Some(Value::Int(int)) => Some(u64::from_ne_bytes(int.to_ne_bytes())),
        Some(_) | None => None,
    };
    match std::str::from_utf8(word).ok()? {
        HELLO => Some(Word::Hello(Hello { incarnation: number(0)?, capabilities: number(1)? })),
        PING => number(0).map(Word::Ping),
        PONG => number(0).map(Word::Pong),
        PAUSE => Some(Word::Pause),
        RESUME => Some(Word::Resume),
        _ => None,
    }
}
