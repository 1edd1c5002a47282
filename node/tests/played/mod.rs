//! A node that is played by hand on raw sockets, byte by byte: it does what a test says and no more.

#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a read may take before a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Message types, as they are on the wire.
pub(crate) mod kind {
    pub(crate) const TEXT: u8 = 0;
    pub(crate) const RESPONSE: u8 = 1;
    pub(crate) const SYSTEM: u8 = 4;
    pub(crate) const HARBOR: u8 = 5;
    pub(crate) const SOCKET: u8 = 6;
    pub(crate) const ERROR: u8 = 7;
    pub(crate) const DEBUG: u8 = 9;
    pub(crate) const LUA: u8 = 10;
}

/// A control packet: its size, then packed values that are written already.
pub(crate) fn packet(values: &[&[u8]]) -> Vec<u8> {
    let values = values.concat();
    [&[u8::try_from(values.len()).unwrap()][..], &values].concat()
}

/// A packed string of up to 31 bytes.
pub(crate) fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 32);
    [&[4 | (text.len() as u8) << 3][..], text.as_bytes()].concat()
}

/// A packed string of any length that a control packet has room for.
pub(crate) fn long_text(text: &str) -> Vec<u8> {
    match text.len() {
        0..32 => self::text(text),
        len => [&[0x15][..], &(len as u16).to_le_bytes(), text.as_bytes()].concat(),
    }
}

/// A packed integer from 0 to 255.
pub(crate) fn small(number: u8) -> Vec<u8> {
    if number == 0 { vec![0x02] } else { vec![0x0a, number] }
}

/// A packed handle, as nodes write those of a node's services: eight bytes from node 128 on.
pub(crate) fn handle(bits: u32) -> Vec<u8> {
    match i32::try_from(bits) {
        Ok(bits) => [&[0x22][..], &bits.to_le_bytes()].concat(),
        Err(_) => [&[0x32][..], &i64::from(bits).to_le_bytes()].concat(),
    }
}

/// `H`: this id listens here.
pub(crate) fn hello(id: u8, address: &str) -> Vec<u8> {
    packet(&[&text("H"), &small(id), &text(address)])
}

/// A harbor frame.
pub(crate) fn frame(payload: &[u8], source: u32, kind: u8, dest: u32, session: u32) -> Vec<u8> {
    let length = payload.len() as u32 + 12;
    let dest = u32::from(kind) << 24 | dest & 0xff_ffff;
    let numbers = [source, dest, session].map(u32::to_be_bytes).concat();
    [&length.to_be_bytes()[..], payload, &numbers].concat()
}

/// A frame that came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) payload: Vec<u8>,
    pub(crate) source: u32,
    pub(crate) kind: u8,
    pub(crate) dest: u32,
    pub(crate) session: u32,
}

/// A connection to an address of this machine, with bounded reads and writes.
pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    bounded(&stream);
    stream
}

fn bounded(stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
}

/// Waits until the other side has closed; whatever it says before is passed over. A reset is a close too.
pub(crate) fn wait_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert!(
            !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            "it is not closed in time"
        );
    }
}

/// A member of a cluster whose links are made by hand.
pub(crate) struct Played {
    pub(crate) id: u8,
    /// The control link.
    pub(crate) control: TcpStream,
    listener: TcpListener,
    /// How many nodes will dial it, as the master said.
    pub(crate) announced: u8,
}

impl Played {
    /// Listens, says `H` to the master, reads `W`.
    pub(crate) fn join(master: u16, id: u8) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mut control = connect(master);
        control.write_all(&hello(id, &address.to_string())).unwrap();
        let mut size = [0];
        control.read_exact(&mut size).unwrap();
        let mut values = vec![0; usize::from(size[0])];
        control.read_exact(&mut values).unwrap();
        let announced = match values[..] {
            [0x0c, b'W', 0x02] => 0,
            [0x0c, b'W', 0x0a, n] => n,
            _ => panic!("{values:02x?} is no W"),
        };
        Self { id, control, listener, announced }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Accepts a connection and does nothing more.
    pub(crate) fn accept_raw(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        bounded(&stream);
        stream
    }

    /// Accepts the next link as a node does: reads the dialler's id, then says its own.
    pub(crate) fn accept(&self) -> Link {
        let mut stream = self.accept_raw();
        let mut peer = [0];
        stream.read_exact(&mut peer).unwrap();
        stream.write_all(&[self.id]).unwrap();
        Link { peer: peer[0], stream }
    }

    /// Accepts the links that the master announced, in the order of their ids.
    pub(crate) fn accept_all(&self) -> Vec<Link> {
        let mut links: Vec<_> = (0..self.announced).map(|_| self.accept()).collect();
        links.sort_by_key(|link| link.peer);
        links
    }
}

/// A harbor link whose handshake is done.
pub(crate) struct Link {
    pub(crate) peer: u8,
    pub(crate) stream: TcpStream,
}

impl Link {
    /// Dials a node as an older one does.
    pub(crate) fn dial(port: u16, own: u8) -> Self {
        let mut stream = connect(port);
        stream.write_all(&[own]).unwrap();
        let mut peer = [0];
        stream.read_exact(&mut peer).unwrap();
        Self { peer: peer[0], stream }
    }

    /// Writes bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next frame; none if the link was closed.
    pub(crate) fn receive(&mut self) -> Option<Frame> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("no frame came in time")
            }
            Err(_) => return None,
        }
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut frame).unwrap();
        let payload_bytes = frame.len() - 12;
        let number = |at: usize| u32::from_be_bytes(frame[payload_bytes + at..][..4].try_into().unwrap());
        let (source, dest, session) = (number(0), number(4), number(8));
        let (kind, dest) = ((dest >> 24) as u8, dest & 0xff_ffff);
        frame.truncate(payload_bytes);
        Some(Frame { payload: frame, source, kind, dest, session })
    }

    /// The next frame with this session; others, such as what real nodes ask for themselves, are passed over.
    pub(crate) fn receive_session(&mut self, session: u32) -> Option<Frame> {
        loop {
            let frame = self.receive()?;
            if frame.session == session {
                return Some(frame);
            }
        }
    }
}
