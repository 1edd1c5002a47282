//! The harbor service of a played real node: links, messages that wait, names.

use super::frame::{ERROR, Message};
use std::collections::{BTreeMap, VecDeque};

/// The state of a slot, as its sender sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Never linked: messages wait, without limit.
    #[default]
    Wait,
    /// Dialled, the answer byte is missing.
    Handshake,
    /// Also when the connection is long gone: it goes on writing.
    Up,
    /// The node itself closed it: messages are answered with errors.
    Down,
}

#[derive(Default)]
struct Slot {
    conn: Option<u64>,
    status: Status,
    queue: Vec<Message>,
    bytes: Vec<u8>,
}

/// Its 255 slots and its names.
pub struct Slots {
    own: u8,
    slots: BTreeMap<u8, Slot>,
    names: BTreeMap<String, (u32, Vec<Message>)>,
    /// What it logged as an error.
    pub log: Vec<String>,
    /// Bytes to write.
    pub writes: VecDeque<(u64, Vec<u8>)>,
    /// Connections to close, and whose they were.
    pub closes: VecDeque<(u64, u8)>,
    /// Messages for services of this node.
    pub local: VecDeque<Message>,
}

impl Slots {
    /// Nothing linked yet.
    pub fn new(own: u8) -> Self {
        Self {
            own,
            slots: BTreeMap::new(),
            names: BTreeMap::new(),
            log: Vec::new(),
            writes: VecDeque::new(),
            closes: VecDeque::new(),
            local: VecDeque::new(),
        }
    }

    /// The connection of a slot, dead or not.
    pub fn conn(&self, id: u8) -> Option<u64> {
        self.slots.get(&id)?.conn
    }

    /// The state of a slot.
    pub fn status(&self, id: u8) -> Status {
        self.slots.get(&id).map_or(Status::Wait, |slot| slot.status)
    }

    /// A link that this node made: its id byte goes out, the answer is awaited.
    pub fn dialled(&mut self, id: u8, conn: u64) {
        let slot = self.slots.entry(id).or_default();
        (slot.conn, slot.status) = (Some(conn), Status::Handshake);
        self.writes.push_back((conn, vec![self.own]));
    }

    /// A link that it took over, its id byte is out: what was queued follows at once.
    pub fn accepted(&mut self, id: u8, conn: u64) {
        self.slots.entry(id).or_default().conn = Some(conn);
        self.open(id);
    }

    fn open(&mut self, id: u8) {
        let slot = self.slots.entry(id).or_default();
        slot.status = Status::Up;
        if let Some(conn) = slot.conn {
            let frames = slot.queue.drain(..).map(|message| (conn, message.to_frame()));
            self.writes.extend(frames);
        }
    }

    /// Whether a slot has this connection.
    pub fn owns(&self, conn: u64) -> bool {
        self.slots.values().any(|slot| slot.conn == Some(conn))
    }

    /// Writes, queues, or answers with an error.
    pub fn send(&mut self, message: Message) {
        let id = (message.dest >> 24) as u8;
        if id == self.own {
            return self.local.push_back(message);
        }
        let slot = self.slots.entry(id).or_default();
        match (slot.status, slot.conn) {
            (Status::Down, _) => {
                self.log.push(format!("Drop message to harbor {id}"));
                self.local.push_back(message.answer(ERROR, b""));
            }
            (Status::Up, Some(conn)) => self.writes.push_back((conn, message.to_frame())),
            (Status::Wait | Status::Handshake | Status::Up, _) => slot.queue.push(message),
        }
    }

    /// The message with its handle, if the name is known; otherwise it waits and the name must be asked for.
    pub fn send_name(&mut self, name: &str, mut message: Message) -> Option<Message> {
        let (handle, queue) = self.names.entry(name.to_owned()).or_default();
        if *handle == 0 {
            queue.push(message);
            return None;
        }
        message.dest = *handle;
        Some(message)
    }

    /// What waited for the name goes, also before the answer byte; for a link that is not there it waits again, and has
    /// then lost the low part of its destination.
    pub fn update_name(&mut self, name: &str, handle: u32) {
        let (known, queue) = self.names.entry(name.to_owned()).or_default();
        *known = handle;
        let id = (handle >> 24) as u8;
        let messages = std::mem::take(queue);
        let slot = self.slots.entry(id).or_default();
        for mut message in messages {
            match (slot.conn, slot.status) {
                (None, Status::Down) => self.log.push(format!("Drop message to {name}")),
                (None, _) if id == self.own => {
                    message.dest = handle;
                    self.local.push_back(message);
                }
                (None, _) => {
                    message.dest = u32::from(id) << 24;
                    slot.queue.push(message);
                }
                (Some(conn), _) => {
                    message.dest = handle;
                    self.writes.push_back((conn, message.to_frame()));
                }
            }
        }
    }

    /// Bytes of a link.
    pub fn bytes(&mut self, conn: u64, bytes: &[u8]) {
        let found = self.slots.iter_mut().find(|(_, slot)| slot.conn == Some(conn));
        let Some((id, slot)) = found.map(|(id, slot)| (*id, slot)) else {
            return self.log.push("Invalid socket fd data".to_owned());
        };
        slot.bytes.extend_from_slice(bytes);
        if slot.status == Status::Handshake {
            let answer = slot.bytes.remove(0);
            if answer != id {
                self.log.push(format!("Invalid shakehand id ({answer}) from harbor {id}"));
                return self.down(id);
            }
            self.open(id);
        }
        self.frames(id);
    }

    fn frames(&mut self, id: u8) {
        while let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.status == Status::Up) {
            if slot.bytes.first().is_some_and(|first| *first != 0) {
                self.log.push(format!("Message is too long from harbor {id}"));
                return self.down(id);
            }
            if slot.bytes.len() >= 4 && slot.bytes[1..4] < [0, 0, 12][..] {
                // What a real one does then is undefined.
                self.log.push(format!("short frame from harbor {id}"));
                return self.down(id);
            }
            let Some(message) = Message::take(&mut slot.bytes, self.own) else { return };
            self.local.push_back(message);
        }
    }

    fn down(&mut self, id: u8) {
        let slot = self.slots.entry(id).or_default();
        slot.status = Status::Down;
        slot.queue.clear();
        if let Some(conn) = slot.conn.take() {
            self.closes.push_back((conn, id));
        }
    }

    /// The peer closed. The link stays "up": what is written to it from now on vanishes.
    pub fn closed(&mut self, conn: u64) -> Option<u8> {
        self.slots.iter().find(|(_, slot)| slot.conn == Some(conn)).map(|(id, _)| *id)
    }
}
