//! Attacks on the port of the master that the victim hosts.

use crate::played::{self, Played, connect, handle, hello, long_text, packet, small, text};
use crate::victim::{HEALTHY, Noise, VICTIM, Victim, attack};
use skyharbor::prelude::*;
use std::io::{BufWriter, Read, Write};
use std::net::TcpStream;
use std::thread;

/// The attacker's id, where one is enough.
const ATTACKER: u8 = 9;
const SOURCE: u32 = 0x0900_0008;

/// Bytes that an attacker writes at once.
const BATCH_BYTES: usize = 16 << 10;
/// Names that an attacker registers before it waits for an answer.
const BATCH_NAMES: usize = 10_000;
/// Questions of one member.
const QUESTIONS: usize = 30_000;

/// `R` of a name.
fn register(name: &str) -> Vec<u8> {
    packet(&[&text("R"), &text(name), &handle(SOURCE)])
}

/// Reads what the master says, so many bytes.
fn read(mut stream: &TcpStream, mut bytes: usize) {
    let mut buffer = vec![0; 1 << 16];
    while bytes > 0 {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the master hung up");
        bytes = bytes.saturating_sub(read);
    }
}

/// Whether the master ends the connection, behind what it said before.
fn hangs_up(mut stream: &TcpStream) -> bool {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Reads what the master says, up to the answer to a question for the victim's echo. Names for which the master has no room
/// get no answer.
fn read_to_answer(mut stream: &TcpStream, victim: &Victim) {
    let told = packet(&[&text("N"), &text("ECHO"), &handle(victim.echo.bits())]);
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while !seen.ends_with(&told) {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the master hung up");
        seen.drain(..seen.len().saturating_sub(told.len()));
        seen.extend_from_slice(&buffer[..read]);
    }
}

/// A member registers all of these, and then this is done.
fn flood_of_names(mut names: impl Iterator<Item = String> + Send, then: impl FnOnce(&Victim)) {
    attack(|victim, calls| {
        let played = Played::join(victim.master, ATTACKER);
        let _links = played.accept_all();
        let question = packet(&[&text("Q"), &text("ECHO")]);
        let mut is_more = true;
        while is_more {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let mut control = BufWriter::with_capacity(BATCH_BYTES, &played.control);
                    for _ in 0..BATCH_NAMES {
                        let Some(name) = names.next() else {
                            is_more = false;
                            break;
                        };
                        let register = packet(&[&text("R"), &long_text(&name), &handle(SOURCE)]);
                        control.write_all(&register).unwrap();
                    }
                    control.write_all(&question).unwrap();
                });
                read_to_answer(&played.control, victim);
            });
        }
        then(victim);
        calls.wait();
    });
}

fn numbered(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("flood{number:09}"))
}

#[test]
fn more_names_than_a_node_remembers() {
    flood_of_names(numbered(200_000), |_| ());
}

#[test]
fn many_names_that_no_node_can_use() {
    flood_of_names((0..30_000).map(|number| format!("{number:0>230}")), |_| ());
}

#[test]
fn a_hundred_thousand_names_that_the_operator_asks_for() {
    flood_of_names(numbered(100_000), |victim| {
        let names = victim.program.names();
        // As many as there is memory for.
        assert!(names["names"].as_array().is_some_and(|names| names.len() > 10_000));
    });
}

#[test]
fn a_name_that_a_member_does_not_want_to_hear_of() {
    attack(|victim, calls| {
        let mut played = Played::join(victim.master, ATTACKER);
        let _links = played.accept_all();
        // It is told of it each time and reads nothing: the master takes it for dead.
        let batch = register("again").repeat(1000);
        let was_refused = (0..10_000).any(|_| played.control.write_all(&batch).is_err());
        // A connection that is closed is still read for a moment, so all of that may have been taken.
        assert!(was_refused || hangs_up(&played.control));
        calls.wait();
    });
}

#[test]
fn questions_without_end() {
    attack(|victim, calls| {
        let played = Played::join(victim.master, ATTACKER);
        let _links = played.accept_all();
        let told = packet(&[&text("N"), &text("ECHO"), &handle(victim.echo.bits())]);
        thread::scope(|scope| {
            let mut control = BufWriter::with_capacity(BATCH_BYTES, &played.control);
            scope.spawn(move || {
                for number in 0..QUESTIONS {
                    let unknown = packet(&[&text("Q"), &text(&format!("none{number:09}"))]);
                    let known = packet(&[&text("Q"), &text("ECHO")]);
                    control.write_all(&[unknown, known].concat()).unwrap();
                }
            });
            read(&played.control, QUESTIONS * told.len());
        });
        calls.wait();
    });
}

#[test]
fn guests_that_say_nothing() {
    attack(|victim, _| {
        let silent: Vec<_> = (0..400).map(|_| connect(victim.master)).collect();
        for mut stream in silent {
            played::wait_closed(&mut stream);
        }
        assert_eq!(Played::join(victim.master, ATTACKER).announced, 2, "there is room for others again");
    });
}

#[test]
fn rubbish() {
    attack(|victim, calls| {
        let mut noise = Noise(3);
        for _ in 0..300 {
            let len = noise.next() as usize % 2000;
            // Whoever is faulty is closed while it writes.
            let _ = connect(victim.master).write_all(&noise.bytes(len));
        }
        // Packets of a member, with values that mean nothing.
        for id in 10..40 {
            let mut played = Played::join(victim.master, id);
            for letter in ["H", "R", "Q", "W", "C", "N", "D", "X", ""] {
                let len = noise.next() as usize % 40;
                let values =
                    [small(noise.next() as u8), text(&"n".repeat(len % 32)), noise.bytes(len)].concat();
                if played.control.write_all(&packet(&[&text(letter), &values])).is_err() {
                    break;
                }
            }
        }
        calls.wait();
    });
}

#[test]
fn every_id_taken_and_left() {
    attack(|victim, calls| {
        for id in (1..=255).filter(|id| *id != VICTIM && *id != HEALTHY) {
            drop(Played::join(victim.master, id));
        }
        for id in 0..=255 {
            let mut stream = connect(victim.master);
            stream.write_all(&hello(id, "127.0.0.1:1")).unwrap();
            played::wait_closed(&mut stream);
        }
        calls.wait();
    });
}

#[test]
fn members_at_addresses_that_are_none() {
    attack(|victim, calls| {
        let addresses = [
            "",
            ":",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "no.such.host.invalid:1",
            "[::1]:1",
            "\0:1",
            "::1:1",
            "255.255.255.255:1",
            "%:%",
        ];
        let members: Vec<_> = addresses
            .iter()
            .zip(20..)
            .map(|(address, id)| {
                let mut stream = connect(victim.master);
                stream.write_all(&hello(id, address)).unwrap();
                stream
            })
            .collect();
        for mut stream in members {
            let mut size = [0];
            stream.read_exact(&mut size).unwrap();
            assert!(size[0] > 0, "W");
        }
        calls.wait();
        // A healthy newcomer behind them waits for none of them for long.
        let master = format!("127.0.0.1:{}", victim.master);
        let late = Node::start(Config::local().harbor(201).address("127.0.0.1:0").master(master).threads(1))
            .unwrap();
        late.wait_linked(HarborId::new(VICTIM), secs(30)).unwrap();
        late.wait_linked(HarborId::new(HEALTHY), secs(30)).unwrap();
    });
}
