//! The master inside a played real node.

use super::Do;
use super::frame::packet_bytes;
use crate::message::{Handle, HarborId};
use crate::wire::PacketName;
use crate::wire::control::{Decoder, Packet};
use std::collections::{BTreeMap, VecDeque};

/// Members, and the first owner of each name.
#[derive(Default)]
pub struct Master {
    guests: BTreeMap<u64, Decoder>,
    members: BTreeMap<u64, (HarborId, Decoder)>,
    /// Every id that ever was: a dead one has no connection.
    ids: BTreeMap<HarborId, Option<u64>>,
    /// The first handle of each name, for ever.
    pub names: BTreeMap<PacketName, Handle>,
    /// What it wrote as an error.
    pub log: Vec<String>,
    /// It does not get to names any more.
    pub is_stuck: bool,
    /// Packets that it was sent, for tests that count them.
    pub heard: Vec<Packet>,
}

impl Master {
    /// A slave connected.
    pub fn accepted(&mut self, conn: u64) {
        self.guests.insert(conn, Decoder::new());
    }

    /// Whether it is a connection of a slave.
    pub fn owns(&self, conn: u64) -> bool {
        self.guests.contains_key(&conn) || self.members.contains_key(&conn)
    }

    /// The connection of a member.
    pub fn conn_of(&self, id: u8) -> Option<u64> {
        self.ids.get(&HarborId::new(id)).copied().flatten()
    }

    /// Bytes of a slave.
    ///
    /// # Panics
    /// If it is told more than real slaves say.
    pub fn bytes(&mut self, conn: u64, mut bytes: &[u8], wishes: &mut VecDeque<Do>) {
        loop {
            let decoder = match (self.guests.get_mut(&conn), self.members.get_mut(&conn)) {
                (Some(decoder), _) | (None, Some((_, decoder))) => decoder,
                (None, None) => return,
            };
            let received = match decoder.feed(&mut bytes) {
                Ok(Some(received)) => received,
                Ok(None) => return,
                Err(fault) => {
                    self.log.push(format!("{fault}"));
                    wishes.push_back(Do::Close(conn));
                    return self.closed(conn, wishes);
                }
            };
            // What our nodes say behind their `H` a real master passes over; there is nothing else.
            let is_greeting = matches!(received.packet, Packet::Hello { .. });
            assert!(is_greeting || received.extra.is_empty(), "a real master was told {received:?}");
            self.heard.push(received.packet.clone());
            if self.guests.contains_key(&conn) {
                self.handshake(conn, received.packet, wishes);
            } else {
                self.dispatch(conn, received.packet, wishes);
            }
        }
    }

    fn handshake(&mut self, conn: u64, packet: Packet, wishes: &mut VecDeque<Do>) {
        let decoder = self.guests.remove(&conn).unwrap_or_default();
        let Packet::Hello { id, address } = packet else {
            self.log.push("Invalid handshake type".to_owned());
            return wishes.push_back(Do::Close(conn));
        };
        if self.ids.contains_key(&id) {
            self.log.push(format!("Slave {id} already register"));
            return wishes.push_back(Do::Close(conn));
        }
        let n = self.members.len() as u8;
        self.broadcast(&Packet::Connect { id, address }, wishes);
        self.ids.insert(id, Some(conn));
        self.members.insert(conn, (id, decoder));
        write(conn, &Packet::Wait { n }, wishes);
    }

    fn dispatch(&mut self, conn: u64, packet: Packet, wishes: &mut VecDeque<Do>) {
        match packet {
            Packet::Register { .. } | Packet::Query { .. } if self.is_stuck => {}
            Packet::Register { name, handle } => {
                self.names.entry(name.clone()).or_insert(handle);
                self.broadcast(&Packet::Name { name, handle }, wishes);
            }
            Packet::Query { name } => {
                if let Some(handle) = self.names.get(&name).copied() {
                    write(conn, &Packet::Name { name, handle }, wishes);
                }
            }
            other => self.log.push(format!("Invalid slave message type {other:?}")),
        }
    }

    /// A slave is gone.
    pub fn closed(&mut self, conn: u64, wishes: &mut VecDeque<Do>) {
        self.guests.remove(&conn);
        if let Some((id, _)) = self.members.remove(&conn) {
            self.ids.insert(id, None);
            self.broadcast(&Packet::Dead { id }, wishes);
        }
    }

    fn broadcast(&self, packet: &Packet, wishes: &mut VecDeque<Do>) {
        for conn in self.members.keys() {
            write(*conn, packet, wishes);
        }
    }
}

fn write(conn: u64, packet: &Packet, wishes: &mut VecDeque<Do>) {
    wishes.push_back(Do::Write(conn, packet_bytes(packet)));
}
