//! Nodes of our kind: who they are, and the messages that they send each other.
//!
//! Nothing of this ever goes to a real node: a hello is sent when the present master has named both ends (`~sky.<id>`,
//! `registry`) and the link is up, once for each link, so one counts and a repeated one does nothing. All messages are
//! ordinary ones between two reserved ids: type LUA, session 0, packed values, a word first.
//!
//! | word | values | when |
//! |---|---|---|
//! | `HELLO` | incarnation, capabilities | the link is up |
//! | `PING` | number | the peer said hello and nothing since a while (`pulse`), and it can answer |
//! | `PONG` | number | the answer |
//! | `PAUSE` | – | this node has no memory to read the link now (`inbound`), and cannot answer |
//! | `RESUME` | – | it reads again |

use super::desk::Desk;
use super::{Event, Fault, Harbor, Hello};
use crate::limits::{KIN_BYTES_MAX, SERVICE_ID_KIN};
use crate::message::{Body, CallError, Envelope, Handle, HarborId, Kind, Payload, Session};
use crate::seri::{self, Value};
use std::collections::BTreeSet;

/// What this node said to its kind; at most one entry for each id.
#[derive(Default)]
pub(super) struct Kin {
    /// Who got our hello on the present link.
    greeted: BTreeSet<HarborId>,
}

impl Kin {
    /// The link is gone: who comes next under this id is somebody else.
    pub(super) fn lost(&mut self, id: HarborId, desk: &mut Desk) {
        self.greeted.remove(&id);
        desk.met.remove(&id);
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
    desk.is_kin && envelope.dest.local() == SERVICE_ID_KIN
}

/// The word as a message.
pub(super) fn message(own: HarborId, peer: HarborId, word: Word) -> Envelope {
    let source = Handle::new(own, SERVICE_ID_KIN);
    let dest = Handle::new(peer, SERVICE_ID_KIN);
    let body = Body::Bytes(Payload::from_vec(pack(word)));
    Envelope { source, dest, session: Session::NONE, kind: Kind::LUA, body }
}

impl Harbor {
    /// Says hello to a node of our kind, once for each link.
    pub(super) fn greet_kin(&mut self, id: HarborId) {
        let Some(hello) = self.settings.hello else { return };
        let is_due = self.slots[id.index()].is_up() && self.control.slave.is_kin(id);
        if is_due && !self.desk.leaving && self.kin.greeted.insert(id) {
            self.slots[id.index()].say(Word::Hello(hello), &mut self.desk);
            self.begin_pulse(id);
        }
    }

    /// A message for the reserved id. Anything but a word is refused as by a service that does not exist.
    pub(super) fn kin_mail(&mut self, peer: HarborId, envelope: &Envelope) {
        let slot = &mut self.slots[peer.index()];
        if !slot.is_up() {
            // Its link broke behind this message.
            return;
        }
        let is_from_kin = envelope.source == Handle::new(peer, SERVICE_ID_KIN) && envelope.kind == Kind::LUA;
        let word = envelope.body.bytes().filter(|_| is_from_kin).and_then(unpack);
        let is_met = self.desk.met.contains_key(&peer);
        match word {
            Some(Word::Hello(hello)) => self.meet(peer, hello),
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
    fn meet(&mut self, peer: HarborId, hello: Hello) {
        match self.desk.met.get(&peer) {
            None => {
                self.desk.met.insert(peer, hello);
                self.desk.event(Event::Kin { peer, hello });
                self.begin_pulse(peer);
            }
            Some(known) if *known == hello => {}
            Some(_) => self.slots[peer.index()].fault(Fault::OtherHello, &mut self.desk),
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
