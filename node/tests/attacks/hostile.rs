//! A victim whose master is the attacker.

use crate::played::{Link, frame, handle, kind, packet, small, text};
use crate::program::until;
use crate::victim::{HEALTHY, Noise, VICTIM, Victim};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const SOURCE: u32 = (HEALTHY as u32) << 24 | 8;

/// The attacker's master, its victim, and a healthy node's link to it.
struct Cluster {
    listener: TcpListener,
    control: TcpStream,
    victim: Victim,
    healthy: Link,
    session: u32,
}

impl Cluster {
    /// The victim has said `H` and got this for an answer; the healthy node has dialled it.
    fn new(answer: &[u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let victim = Victim::slave_of(listener.local_addr().unwrap().port());
        let control = greet(&listener, answer);
        let healthy = Link::dial(victim.links, HEALTHY);
        let mut cluster = Self { listener, control, victim, healthy, session: 0 };
        cluster.assert_served();
        cluster
    }

    /// The master says this; whether all of it went out.
    fn say(&mut self, packets: &[u8]) -> bool {
        self.control.write_all(packets).is_ok()
    }

    /// The healthy node is answered.
    fn assert_served(&mut self) {
        self.session += 1;
        let request = self.session.to_le_bytes();
        self.healthy.send(&frame(&request, SOURCE, kind::TEXT, self.victim.echo.bits(), self.session));
        let answer = self.healthy.receive_session(self.session).expect("its link lives");
        assert_eq!((answer.kind, &answer.payload[..]), (kind::RESPONSE, &request[..]));
    }

    fn assert_sound(mut self) {
        self.assert_served();
        self.victim.assert_sound();
    }
}

/// Accepts the victim, reads its `H` and gives this answer.
fn greet(listener: &TcpListener, answer: &[u8]) -> TcpStream {
    let mut control = accept(listener);
    let mut size = [0];
    control.read_exact(&mut size).unwrap();
    let mut hello = vec![0; usize::from(size[0])];
    control.read_exact(&mut hello).unwrap();
    assert_eq!(&hello[..3], [0x0c, b'H', 0x0a]);
    control.write_all(answer).unwrap();
    let mut drain = control.try_clone().unwrap();
    // Whatever else it says is not listened to.
    let listen = move || std::io::copy(&mut drain, &mut std::io::sink());
    std::thread::Builder::new().name("drain".into()).spawn(listen).expect("a thread");
    control
}

/// The victim dials again.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    until("the victim dials", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}

fn wait(n: u8) -> Vec<u8> {
    packet(&[&text("W"), &small(n)])
}

fn connect_to(id: u8, address: &str) -> Vec<u8> {
    packet(&[&text("C"), &small(id), &text(address)])
}

fn name(name: &str, owner: u32) -> Vec<u8> {
    packet(&[&text("N"), &text(name), &handle(owner)])
}

fn dead(id: u8) -> Vec<u8> {
    packet(&[&text("D"), &small(id)])
}

#[test]
fn a_master_that_announces_everybody() {
    let mut cluster = Cluster::new(&wait(255));
    for round in 0..40 {
        let packets: Vec<u8> = (0..=255)
            .flat_map(|id| {
                let address = match (usize::from(id) + round) % 4 {
                    0 => "127.0.0.1:1".to_owned(),
                    1 => format!("h{round}x{id}.invalid:1"),
                    2 => format!("127.0.0.1:{}", cluster.victim.links),
                    _ => "rubbish".to_owned(),
                };
                connect_to(id, &address)
            })
            .collect();
        assert!(cluster.say(&packets));
        cluster.assert_served();
    }
    cluster.assert_sound();
}

/// So many names.
fn names(count: u32) {
    let mut cluster = Cluster::new(&wait(0));
    for first in (0..count).step_by(10_000) {
        let packets: Vec<u8> = (first..first + 10_000)
            .flat_map(|number| name(&format!("storm{number:09}"), 0x0900_0008))
            .collect();
        assert!(cluster.say(&packets));
        cluster.assert_served();
    }
    cluster.assert_sound();
}

#[test]
fn a_master_that_tells_more_names_than_a_node_remembers() {
    names(200_000);
}

#[test]
fn a_master_that_gives_the_victim_s_names_away_and_calls_everybody_dead() {
    let mut cluster = Cluster::new(&wait(0));
    for round in 0..1000_u32 {
        let own = u32::from(VICTIM) << 24;
        let owners = [own | 0xff_fff0, 0x0900_0008, own, 0, u32::MAX];
        let mut packets: Vec<u8> = owners.iter().flat_map(|owner| name("ECHO", *owner)).collect();
        packets.extend((0..=255).flat_map(dead));
        packets.extend(name(&format!("~sky.{}", round % 256), round << 24 | 7));
        assert!(cluster.say(&packets));
    }
    cluster.assert_sound();
}

#[test]
fn a_master_that_says_what_no_master_says() {
    let mut cluster = Cluster::new(&wait(0));
    let mut noise = Noise(4);
    for _ in 0..10_000 {
        let letter = ["H", "R", "Q", "W", "C", "N", "X", "long letters", ""][noise.next() as usize % 9];
        let values = match noise.next() % 3 {
            0 => [small(noise.next() as u8), text("127.0.0.1:1")].concat(),
            1 => [text(&"x".repeat(noise.next() as usize % 32)), handle(noise.next() as u32)].concat(),
            _ => Vec::new(),
        };
        if !cluster.say(&packet(&[&text(letter), &values])) {
            cluster.control = greet(&cluster.listener, &wait(0));
        }
    }
    cluster.assert_sound();
}

/// What breaks the control link, or never makes one: the victim dials again, and its links live on.
#[test]
fn a_master_that_cannot_be_understood() {
    let mut cluster = Cluster::new(&wait(0));
    let mut noise = Noise(5);
    let long = [&[255][..], &[4 | 31 << 3; 255]].concat();
    let answers: Vec<Vec<u8>> = vec![
        vec![0, 0],
        long,
        dead(1),
        packet(&[&text("W"), &text("many")]),
        packet(&[&small(1)]),
        noise.bytes(300),
        wait(3),
    ];
    for answer in answers {
        // A packet that is none, also for who is a member; then another try, answered as badly.
        cluster.say(&[0, 0]);
        cluster.control = greet(&cluster.listener, &answer);
        cluster.assert_served();
    }
    drop(cluster.control.shutdown(std::net::Shutdown::Both));
    cluster.control = greet(&cluster.listener, &wait(0));
    let log = || cluster.victim.program.names();
    until("it is a member again", || log()["master_up"] != false);
    cluster.assert_sound();
}
