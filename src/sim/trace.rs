//! A hash of everything that happens in a run, made of numbers: the same case gives the same hash (I16).

use super::real::Do;
use super::world::Due;
use crate::harbor::{Action, Event};
use crate::message::Envelope;

/// The hash so far (the multiplicative hash of Firefox and rustc, FxHash).
#[derive(Default)]
pub(super) struct Trace(u64);

impl Trace {
    pub(super) fn sum(&self) -> u64 {
        self.0
    }

    fn add(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }

    fn text(&mut self, bytes: &[u8]) {
        self.add(&[bytes.len() as u64]);
        for byte in bytes {
            self.add(&[u64::from(*byte)]);
        }
    }

    /// Something is due now.
    pub(super) fn due(&mut self, now: u64, due: &Due) {
        let numbers = match *due {
            Due::Boot { node } => [1, node as u64, 0],
            Due::Listening { node, door, .. } => [2, node as u64, door as u64],
            Due::Dial { node, conn, .. } => [3, node as u64, conn],
            Due::Accept { tcp } => [4, tcp.into(), 0],
            Due::Connected { tcp, conn } => [5, tcp.into(), conn],
            Due::Refused { node, conn, .. } => [6, node as u64, conn],
            Due::Arrive { tcp, side } => [7, tcp.into(), side as u64],
            Due::Writable { tcp, side } => [8, tcp.into(), side as u64],
            Due::GivenUp { tcp, side } => [9, tcp.into(), side as u64],
            Due::Wake { node, life } => [10, node as u64, life.into()],
            Due::Register { uid } => [11, uid.node as u64, uid.local.into()],
            Due::Act { step } => [12, step as u64, 0],
            Due::Reply { uid, number, .. } => [13, uid.node as u64, number],
            Due::GiveUp { uid, session } => [14, uid.node as u64, session.bits().into()],
            Due::Depart { conn } => [15, conn, 0],
            Due::Look => [16, 0, 0],
            Due::Heal => [17, 0, 0],
            Due::Probe => [18, 0, 0],
            Due::Probed { tcp, side } => [19, tcp.into(), side as u64],
            Due::Detected { tcp, side, .. } => [20, tcp.into(), side as u64],
        };
        self.add(&[now]);
        self.add(&numbers);
    }

    fn envelope(&mut self, envelope: &Envelope) {
        let Envelope { source, dest, session, kind, body } = envelope;
        self.add(&[source.bits().into(), dest.bits().into(), session.bits().into(), kind.0.into()]);
        let bytes = body.bytes().unwrap_or_default();
        self.text(&bytes[..bytes.len().min(8)]);
    }

    /// A machine of ours wants something done.
    pub(super) fn action(&mut self, node: usize, action: &Action) {
        let node = node as u64;
        match action {
            Action::Listen { listener, .. } => self.add(&[101, node, *listener as u64]),
            Action::StopListening(listener) => self.add(&[102, node, *listener as u64]),
            Action::Connect { conn, .. } => self.add(&[103, node, conn.number()]),
            Action::Close { conn } => self.add(&[104, node, conn.number()]),
            Action::Pause { conn } => self.add(&[117, node, conn.number()]),
            Action::Resume { conn } => self.add(&[118, node, conn.number()]),
            Action::Probe { conn } => self.add(&[116, node, conn.number()]),
            Action::Deliver(envelope) => {
                self.add(&[105, node]);
                self.envelope(envelope);
            }
            Action::Complete(envelope) => {
                self.add(&[106, node]);
                self.envelope(envelope);
            }
            Action::Answer { waiter, .. } => {
                self.add(&[107, waiter.source.bits().into(), waiter.session.bits().into()]);
            }
            Action::Publish { name, handle } => {
                self.add(&[108, node, handle.bits().into()]);
                self.text(name.as_bytes());
            }
            Action::Retract { name } => {
                self.add(&[109, node]);
                self.text(name.as_bytes());
            }
            Action::Event(event) => self.event(node, event),
        }
    }

    fn event(&mut self, node: u64, event: &Event) {
        match event {
            Event::Up(peer) => self.add(&[110, node, peer.get().into()]),
            Event::Down(peer, _) => self.add(&[111, node, peer.get().into()]),
            Event::MasterUp => self.add(&[112, node]),
            Event::MasterDown(_) => self.add(&[113, node]),
            Event::PeerFault { conn, .. } => self.add(&[114, node, conn.number()]),
            _ => self.add(&[115, node]),
        }
    }

    /// A played real node wants something done.
    pub(super) fn wish(&mut self, node: usize, wish: &Do) {
        let node = node as u64;
        match wish {
            Do::Listen(_, door) => self.add(&[201, node, *door as u64]),
            Do::StopListening(door) => self.add(&[202, node, *door as u64]),
            Do::Connect(conn, _) => self.add(&[203, node, *conn]),
            Do::Write(conn, bytes) => self.add(&[204, node, *conn, bytes.len() as u64]),
            Do::Close(conn) => self.add(&[205, node, *conn]),
        }
    }
}
