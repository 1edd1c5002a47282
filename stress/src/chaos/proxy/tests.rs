//! What each fault does to a connection, against both of its ends.

use super::super::history::{Wound, WoundKind};
use super::super::weather::{Fault, Lane, Sky};
use super::Proxy;
use skyharbor::clock::Instant;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// How long a socket may be silent before a test fails.
const PATIENCE: Duration = Duration::from_secs(20);
const THERE: Lane = Lane { from: 0, to: 1 };

/// Slot 0 with id 11, which dials, and slot 1 with id 12, which listens.
struct Scene {
    sky: Arc<Sky>,
    proxy: Proxy,
    listener: TcpListener,
}

impl Scene {
    fn new() -> Self {
        let sky = Arc::new(Sky::default());
        let proxy = Proxy::start(2, Arc::clone(&sky), 7).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        proxy.admit(0, 1, 11, nowhere);
        proxy.admit(1, 2, 12, listener.local_addr().unwrap());
        Self { sky, proxy, listener }
    }

    /// Dials slot 1 as whoever has this id.
    fn dial(&self, id: u8) -> TcpStream {
        let mut dialler = TcpStream::connect(self.proxy.addresses(1).links).unwrap();
        dialler.set_read_timeout(Some(PATIENCE)).unwrap();
        dialler.write_all(&[id]).unwrap();
        dialler
    }

    /// Both ends of a connection whose id bytes are past.
    fn connect(&self) -> (TcpStream, TcpStream) {
        let mut dialler = self.dial(11);
        let (mut dialled, _) = self.listener.accept().unwrap();
        dialled.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut id = [0];
        dialled.read_exact(&mut id).unwrap();
        assert_eq!(id, [11]);
        dialled.write_all(&[12]).unwrap();
        dialler.read_exact(&mut id).unwrap();
        assert_eq!(id, [12]);
        (dialler, dialled)
    }

    fn begin(&self, fault: Fault, time: Duration) {
        self.sky.begin(THERE, fault, Instant::now() + time);
    }
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

fn read(socket: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut got = vec![0; count];
    socket.read_exact(&mut got).unwrap();
    got
}

#[test]
fn what_only_slows_bytes_down_changes_and_loses_none() {
    let millis = Duration::from_millis;
    for fault in [
        Fault::Delay { least: millis(5), jitter: millis(20) },
        Fault::Stall,
        Fault::Split,
        Fault::Cap { bytes: 100_000 },
    ] {
        let scene = Scene::new();
        let (mut dialler, mut dialled) = scene.connect();
        scene.begin(fault, millis(50));
        let sent = bytes(20_000);
        for part in sent.chunks(997) {
            dialler.write_all(part).unwrap();
            dialled.write_all(part).unwrap();
        }
        assert!(read(&mut dialled, sent.len()) == sent, "{fault:?}");
        assert!(read(&mut dialler, sent.len()) == sent, "{fault:?}, back");
        drop(dialler);
        assert_eq!(dialled.read(&mut [0]).unwrap(), 0, "its end comes too");
        assert_eq!(scene.sky.take_wounds(), []);
    }
}

#[test]
fn a_truncated_connection_ends_inside_what_was_sent() {
    let scene = Scene::new();
    let (mut dialler, mut dialled) = scene.connect();
    scene.begin(Fault::Truncate, PATIENCE);
    dialler.write_all(&bytes(1000)).unwrap();
    let mut got = Vec::new();
    dialled.read_to_end(&mut got).unwrap();
    assert!(got.len() < 1000 && got == bytes(1000)[..got.len()], "{} bytes", got.len());
    let wounds = scene.sky.take_wounds();
    assert!(matches!(wounds[..], [Wound { lives: (1, 2), kind: WoundKind::Hard, .. }]), "{wounds:?}");
}

#[test]
fn a_reset_connection_is_reset_at_both_ends() {
    let scene = Scene::new();
    let (mut dialler, mut dialled) = scene.connect();
    scene.begin(Fault::Reset, PATIENCE);
    for socket in [&mut dialler, &mut dialled] {
        assert_eq!(socket.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert!(scene.sky.take_wounds().iter().all(|wound| wound.kind == WoundKind::Hard));
}

#[test]
fn a_flip_changes_one_bit_behind_the_id_and_ends_the_connection_after_a_while() {
    let scene = Scene::new();
    let (mut dialler, mut dialled) = scene.connect();
    scene.begin(Fault::Flip, PATIENCE);
    let sent = bytes(500);
    dialler.write_all(&sent).unwrap();
    let got = read(&mut dialled, sent.len());
    let changed: u32 = got.iter().zip(&sent).map(|(got, sent)| (got ^ sent).count_ones()).sum();
    assert_eq!(changed, 1);
    assert_eq!(dialled.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let sky = Arc::clone(&scene.sky);
    drop(scene);
    let is_flip = |wound: &Wound| wound.kind == WoundKind::Flip && wound.is_between(2, 1);
    assert!(sky.take_wounds().iter().any(is_flip));
}

#[test]
fn a_cut_lets_nobody_through_and_ends_what_was_there() {
    let scene = Scene::new();
    let (mut dialler, mut dialled) = scene.connect();
    scene.begin(Fault::Cut, PATIENCE);
    dialler.write_all(&bytes(10)).unwrap();
    let mut newcomer = scene.dial(11);
    assert!(matches!(newcomer.read(&mut [0]), Ok(0) | Err(_)), "nobody answers");
    scene.listener.set_nonblocking(true).unwrap();
    assert_eq!(scene.listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    scene.sky.clear();
    assert_eq!(dialled.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn who_is_not_known_is_let_down() {
    let scene = Scene::new();
    let mut stranger = scene.dial(99);
    assert!(matches!(stranger.read(&mut [0]), Ok(0) | Err(_)));
}
