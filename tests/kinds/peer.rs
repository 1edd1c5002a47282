//! A node played by hand over TCP, as a real Skynet node speaks.

use skyharbor::prelude::*;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

/// A member of the cluster: its control link and its link to node 1.
pub(crate) struct Peer {
    pub(crate) id: u8,
    pub(crate) control: TcpStream,
    pub(crate) link: TcpStream,
    listener: TcpListener,
}

/// What stands in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) source: Handle,
    /// The low 24 bits.
    pub(crate) dest: u32,
    pub(crate) kind: Kind,
    pub(crate) session: u32,
    pub(crate) payload: Vec<u8>,
}

impl Peer {
    /// Joins the master at `address` and takes the link of node 1, which is there already.
    pub(crate) fn join(address: &str, id: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let own = listener.local_addr().expect("it is bound").to_string();
        let mut control = TcpStream::connect(address).expect("the master listens");
        let mut hello = vec![0, 0x0c, b'H', 0x0a, id, 4 | (own.len() as u8) << 3];
        hello.extend_from_slice(own.as_bytes());
        hello[0] = hello.len() as u8 - 1;
        control.write_all(&hello).expect("it reads");
        assert_eq!(packet(&mut control)[..2], *b"\x0cW");
        let link = accept(&listener, id);
        Self { id, control, link, listener }
    }

    /// Closes the link and takes the next one, which node 1 dials when it has noticed. (A real node would not.)
    pub(crate) fn link_again(&mut self) {
        self.link.shutdown(Shutdown::Both).expect("it is open");
        self.link = accept(&self.listener, self.id);
    }

    /// Registers a global name for service `local` of this node.
    pub(crate) fn register(&mut self, name: &str, local: u16) {
        let mut packet = vec![0, 0x0c, b'R', 4 | (name.len() as u8) << 3];
        packet.extend_from_slice(name.as_bytes());
        packet.push(0x22);
        packet.extend_from_slice(&self.service(local).bits().to_le_bytes());
        packet[0] = packet.len() as u8 - 1;
        self.control.write_all(&packet).expect("the master reads");
    }

    pub(crate) fn service(&self, local: u16) -> Handle {
        Handle::new(HarborId::new(self.id), u32::from(local))
    }

    pub(crate) fn write(&mut self, from: u16, to: Handle, kind: Kind, session: u32, payload: &[u8]) {
        let source = self.service(from);
        self.write_as(source, to, kind, session, payload);
    }

    pub(crate) fn write_as(&mut self, source: Handle, to: Handle, kind: Kind, session: u32, payload: &[u8]) {
        let mut frame = (payload.len() as u32 + 12).to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        frame.extend_from_slice(&source.bits().to_be_bytes());
        frame.extend_from_slice(&(u32::from(kind.0) << 24 | to.local()).to_be_bytes());
        frame.extend_from_slice(&session.to_be_bytes());
        self.link.write_all(&frame).expect("node 1 reads");
    }

    pub(crate) fn read(&mut self) -> Frame {
        let mut length = [0; 4];
        self.link.read_exact(&mut length).expect("node 1 writes");
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        self.link.read_exact(&mut body).expect("node 1 writes all of it");
        let word = |at: usize| {
            let bytes = &body[body.len() - 12 + at..][..4];
            u32::from_be_bytes(bytes.try_into().expect("four bytes"))
        };
        Frame {
            source: Handle::from_bits(word(0)),
            dest: word(4) & Handle::LOCAL_MAX,
            kind: Kind((word(4) >> 24) as u8),
            session: word(8),
            payload: body[..body.len() - 12].to_vec(),
        }
    }

    /// Calls and reads the next frame, which is the answer: nothing else was written before.
    pub(crate) fn call(&mut self, to: Handle, kind: Kind, session: u32, payload: &[u8]) -> Frame {
        self.write(0x10, to, kind, session, payload);
        let answer = self.read();
        assert_eq!((answer.source, answer.dest, answer.session), (to, 0x10, session), "{answer:?}");
        answer
    }
}

/// The link of node 1, as node `id`.
fn accept(listener: &TcpListener, id: u8) -> TcpStream {
    let (mut link, _) = listener.accept().expect("node 1 dials");
    link.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket has a deadline");
    link.set_nodelay(true).expect("a socket has this option");
    let mut first = [0];
    link.read_exact(&mut first).expect("it says who it is");
    assert_eq!(first, [1]);
    link.write_all(&[id]).expect("it reads");
    link
}

/// The next control packet, without its size.
fn packet(control: &mut TcpStream) -> Vec<u8> {
    let mut size = [0];
    control.read_exact(&mut size).expect("the master writes");
    let mut packet = vec![0; usize::from(size[0])];
    control.read_exact(&mut packet).expect("the master writes all of it");
    packet
}
