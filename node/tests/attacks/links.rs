//! Attacks on the port for links.

use crate::played::{self, Link, connect, frame, kind, text};
use crate::victim::{HEALTHY, Noise, VICTIM, attack};
use std::io::Write;
use std::net::TcpStream;

/// The attacker's id, where one is enough.
const ATTACKER: u8 = 9;
const SOURCE: u32 = 0x0900_0008;
/// A service that no node has.
const MISSING: u32 = 0x00ff_fff0;

/// Every id but those of the victim and its healthy peer.
fn ids() -> impl Iterator<Item = u8> {
    (1..=255).filter(|id| *id != VICTIM && *id != HEALTHY)
}

/// Bytes that an attacker writes at once.
const BATCH_BYTES: usize = 16 << 10;
/// The head of the largest frame.
const HEAD: [u8; 4] = [0, 0xff, 0xff, 0xff];

/// Links of all ids, each with the head of the largest frame and so many of its bytes.
fn begin_frames(links: u16, bytes: usize) -> Vec<Link> {
    let begin = |id| {
        let mut link = Link::dial(links, id);
        link.send(&HEAD);
        link.send(&vec![0x55; bytes]);
        link
    };
    ids().map(begin).collect()
}

#[test]
fn half_open_links_that_announce_the_largest_frames() {
    attack(|victim, calls| {
        let links = begin_frames(victim.links, 1000);
        calls.wait();
        drop(links);
    });
}

#[test]
fn half_open_links_that_send_a_part_of_the_largest_frames() {
    attack(|victim, calls| {
        let links = begin_frames(victim.links, 1 << 20);
        calls.wait();
        drop(links);
    });
}

#[test]
fn strangers_that_say_nothing() {
    attack(|victim, _| {
        let silent: Vec<_> = (0..400).map(|_| connect(victim.links)).collect();
        for mut stream in silent {
            played::wait_closed(&mut stream);
        }
        // There is room for others again.
        assert_eq!(Link::dial(victim.links, ATTACKER).peer, VICTIM);
    });
}

#[test]
fn connections_that_come_and_go() {
    attack(|victim, _| {
        let before = victim.descriptors();
        for round in 0..40 {
            let mut streams: Vec<_> = (0..100).map(|_| connect(victim.links)).collect();
            for (number, stream) in streams.iter_mut().enumerate() {
                if (number + round) % 2 == 0 {
                    // Its end may be known already.
                    let _ = stream.write_all(&[number as u8]);
                }
            }
        }
        let link = Link::dial(victim.links, 250);
        crate::program::until("its descriptors are free again", || victim.descriptors() <= before + 8);
        drop(link);
    });
}

#[test]
fn rubbish() {
    attack(|victim, _| {
        let mut noise = Noise(1);
        for round in 0..300 {
            let mut stream = connect(victim.links);
            let id = [ids().nth(round % 250).unwrap()];
            let len = noise.next() as usize % 20_000;
            // Whoever is faulty is closed while it writes.
            let _ = stream.write_all(&[&id[..], &noise.bytes(len)].concat());
        }
    });
}

/// Writes as long as the victim reads, without reading itself; whether all of it went out.
fn flood(stream: &mut TcpStream, bytes: &[u8], times: usize) -> bool {
    stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    (0..times).all(|_| stream.write_all(bytes).is_ok())
}

#[test]
fn frames_of_every_type_with_the_sources_of_others() {
    attack(|victim, _| {
        let mut link = Link::dial(victim.links, ATTACKER);
        let (mut noise, mut frames) = (Noise(2), Vec::new());
        for round in 0..20_000_u32 {
            let harbor = [0, VICTIM, HEALTHY, ATTACKER, 77][noise.next() as usize % 5];
            let source = u32::from(harbor) << 24 | 0xff_ff00 | noise.next() as u32 & 0xff;
            let dest = [victim.echo.bits(), MISSING, noise.next() as u32 % 16][noise.next() as usize % 3];
            let session = [0, round, u32::MAX][noise.next() as usize % 3];
            let payload = noise.bytes(round as usize % 50);
            frames.extend(frame(&payload, source, noise.next() as u8, dest, session));
            if frames.len() > BATCH_BYTES {
                link.send(&std::mem::take(&mut frames));
            }
        }
        link.send(&frame(&[], SOURCE, kind::LUA, MISSING, 77_777_777));
        assert!(link.receive_session(77_777_777).is_some());
    });
}

/// A word of our kind with these numbers, to the reserved id.
fn word(word: &str, numbers: &[u64]) -> Vec<u8> {
    let numbers = numbers.iter().flat_map(|number| [&[0x32][..], &number.to_le_bytes()].concat());
    let payload = [text(word), numbers.collect()].concat();
    frame(&payload, u32::from(ATTACKER) << 24 | 7, kind::LUA, 7, 0)
}

#[test]
fn words_of_our_kind_without_end() {
    attack(|victim, calls| {
        let mut link = Link::dial(victim.links, ATTACKER);
        for first in (0..20_000).step_by(500) {
            let words = (first..first + 500).flat_map(|number| {
                [
                    word("HELLO", &[1, u64::MAX]),
                    word("PING", &[number]),
                    word("PONG", &[number]),
                    word("HO", &[]),
                ]
            });
            link.send(&words.flatten().collect::<Vec<_>>());
        }
        link.send(&frame(&[], SOURCE, kind::LUA, MISSING, 5));
        assert!(link.receive_session(5).is_some(), "it goes on");
        // Two hellos of one link cannot both be true.
        link.send(&word("HELLO", &[2, 0]));
        played::wait_closed(&mut link.stream);
        calls.wait();
    });
}

#[test]
fn small_requests_whose_answers_nobody_reads() {
    attack(|victim, _| {
        let mut link = Link::dial(victim.links, ATTACKER);
        let requests: Vec<u8> =
            (0..1000).flat_map(|session| frame(&[], SOURCE, kind::LUA, MISSING, session)).collect();
        flood(&mut link.stream, &requests, 1000);
    });
}

#[test]
fn large_requests_whose_answers_nobody_reads() {
    attack(|victim, _| {
        let mut link = Link::dial(victim.links, ATTACKER);
        let request = frame(&vec![7; 60_000], SOURCE, kind::LUA, victim.echo.bits(), 1);
        flood(&mut link.stream, &request, 4000);
    });
}

/// A message of so many equal bytes, compressed as between nodes of our kind: one literal, a match, the last five literals.
fn bomb(dest: u32, session: u32, len: u32) -> Vec<u8> {
    let matched = len - 6 - 19;
    let lengths = [vec![255; matched as usize / 255], vec![(matched % 255) as u8]].concat();
    let block = [&b"\x1fx\x01\0"[..], &lengths, b"\x50xxxxx"].concat();
    let inside = (u32::from(kind::LUA) << 24 | dest & 0x00ff_ffff).to_be_bytes();
    let head = [SOURCE.to_be_bytes(), inside, session.to_be_bytes(), len.to_be_bytes()].concat();
    frame(&[head, block].concat(), u32::from(ATTACKER) << 24 | 7, 255, 7, 0)
}

#[test]
fn compressed_messages_that_become_as_large_as_messages_can_be() {
    attack(|victim, calls| {
        let mut link = Link::dial(victim.links, ATTACKER);
        for session in 1..=40 {
            // To nobody, so that an answer tells how far it is.
            link.send(&bomb(MISSING, session, 0x00ff_fff3));
        }
        assert!(link.receive_session(40).is_some(), "it took all of them");
        let smaller: Vec<u8> = (1..=2000).flat_map(|session| bomb(MISSING, session, 60_000)).collect();
        link.send(&smaller);
        assert!(link.receive_session(2000).is_some());
        calls.wait();
    });
}
