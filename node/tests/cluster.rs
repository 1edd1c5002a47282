//! Clusters of two and three real processes: calls by global name, any start order, ports in use, wrong ids, killed
//! peers, rubbish on every port.

mod program;

use program::{Program, free_port, output, reply, stderr, until};
use rustix::process::Signal;
use skyharbor::clock::Instant;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A node that hosts the master, and its ports.
struct First {
    node: Program,
    links: u16,
    master: u16,
}

fn echo(name: &str) -> String {
    format!("[[service]]\nkind = \"echo\"\nname = \"{name}\"\n")
}

fn first_config(links: u16, master: u16) -> String {
    let keys = format!("harbor = 1\naddress = \"127.0.0.1:{links}\"\nstandalone = \"127.0.0.1:{master}\"\n");
    format!("{keys}{}[[service]]\nkind = \"kv\"\nname = \"KV\"\n", echo("ONE"))
}

/// Node 1 with the master, on ports that nobody else took meanwhile.
fn first(folder: &Path) -> First {
    for _ in 0..5 {
        let (links, master) = (free_port(), free_port());
        let mut node = Program::start(folder, "first", &first_config(links, master));
        if node.sees("running") {
            return First { node, links, master };
        }
        assert!(node.log().contains("in use"), "{}", node.log());
    }
    panic!("no free ports");
}

/// A node that joins the master at `master`, with an echo.
fn slave(folder: &Path, harbor: u8, name: &str, master: u16) -> Program {
    let keys = format!("harbor = {harbor}\naddress = \"127.0.0.1:0\"\nmaster = \"127.0.0.1:{master}\"\n");
    let mut node = Program::start(folder, &format!("node{harbor}"), &format!("{keys}{}", echo(name)));
    node.wait_for("running");
    node
}

fn linked(one: &Program, other: u8) {
    until(&format!("a link to node {other}"), || one.peer_state(other).as_deref() == Some("up"));
}

#[test]
fn three_processes_call_each_other_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, master, .. } = first(folder.path());
    let two = slave(folder.path(), 2, "TWO", master);
    let three = slave(folder.path(), 3, "THREE", master);
    for node in [&one, &two, &three] {
        for name in ["ONE", "TWO", "THREE"] {
            assert_eq!(
                node.call(&[name, "\"hello\"", "[1,{\"a\":2}]"]),
                Ok("[\"hello\",[1,{\"a\":2}]]".to_owned())
            );
        }
    }
    assert_eq!(two.call(&["KV", "\"set\"", "\"k\"", "7"]), Ok("[null]".to_owned()));
    assert_eq!(three.call(&["KV", "\"get\"", "\"k\""]), Ok("[7]".to_owned()));

    let names = one.names();
    assert_eq!(names["complete"], true, "{names}");
    let known: Vec<_> =
        names["names"].as_array().unwrap().iter().map(|name| name["name"].as_str().unwrap()).collect();
    for name in ["KV", "ONE", "THREE", "TWO"] {
        assert!(known.contains(&name), "{known:?}");
    }
    linked(&one, 2);
    linked(&one, 3);
    linked(&two, 3);
    let text = output(&["names", "--via", two.control().to_str().unwrap()]);
    let text = program::stdout(&text);
    assert!(text.starts_with("node 2, master up\n") && text.contains("perhaps not all"), "{text}");

    three.stop();
    until("node 3 is down", || one.peer_state(3).as_deref() == Some("down"));
    assert_eq!(two.call(&["ONE", "1"]), Ok("[1]".to_owned()), "the others go on");
    two.stop();
    one.stop();
}

#[test]
fn a_node_may_be_the_master_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut hub, master) = (0..5)
        .find_map(|_| {
            let port = free_port();
            let keys = format!("role = \"master\"\nstandalone = \"127.0.0.1:{port}\"\n");
            let mut hub = Program::start(folder.path(), "hub", &keys);
            hub.sees("running").then_some((hub, port))
        })
        .unwrap();
    let two = slave(folder.path(), 2, "TWO", master);
    let three = slave(folder.path(), 3, "THREE", master);
    assert_eq!(two.call(&["THREE", "1"]), Ok("[1]".to_owned()));
    assert_eq!(three.call(&["TWO", "2"]), Ok("[2]".to_owned()));
    two.stop();
    hub.wait_for("Left { id: HarborId(2)");
    three.stop();
    hub.stop();
}

#[test]
fn a_second_ctrl_c_ends_a_node_that_cannot_flush() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: mut one, master, .. } = first(folder.path());
    let two = slave(folder.path(), 2, "TWO", master);
    assert_eq!(one.call(&["TWO"]), Ok("[]".to_owned()));
    two.signal(Signal::STOP);
    // More than two sockets hold.
    let text = "x".repeat(3 << 20);
    let line = format!("{{\"call\":{{\"to\":\"TWO\",\"arguments\":[\"{text}\"],\"timeout_ms\":60000}}}}\n");
    let clients: Vec<_> = (0..8).map(|_| UnixStream::connect(one.control()).unwrap()).collect();
    for mut client in &clients {
        client.write_all(line.as_bytes()).unwrap();
    }
    until("the calls wait for node 2", || {
        one.names()["peers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|peer| peer["harbor"] == 2 && peer["pending"] == 8)
    });
    one.signal(Signal::INT);
    one.wait_for("leaving");
    one.signal(Signal::INT);
    let (status, log) = one.wait();
    assert_eq!(status.code(), Some(130), "{log}");
}

#[test]
fn clients_that_gave_up_make_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, master, .. } = first(folder.path());
    let two = slave(folder.path(), 2, "TWO", master);
    assert_eq!(one.call(&["TWO"]), Ok("[]".to_owned()));
    // A stopped process keeps its connections and answers nothing.
    two.signal(Signal::STOP);
    let mut clients: Vec<_> = (0..16).map(|_| one.start_call("1h", &["TWO"])).collect();
    let names = || output(&["names", "--via", one.control().to_str().unwrap()]);
    // `names` is a client too: the one whose place it took tries again.
    until("no room for more", || {
        for client in &mut clients {
            if client.try_wait().unwrap().is_some() {
                *client = one.start_call("1h", &["TWO"]);
            }
        }
        stderr(&names()).contains("has 16 connections already")
    });
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    until("room", || names().status.success());
    two.signal(Signal::KILL);
    one.stop();
}

#[test]
fn large_values_cross_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, master, .. } = first(folder.path());
    let _two = slave(folder.path(), 2, "TWO", master);
    let text = format!("\"{}\"", "x".repeat(100_000));
    assert_eq!(one.call(&["TWO", &text]), Ok(format!("[{text}]")));
    one.stop();
}

#[test]
fn a_port_in_use_ends_the_start_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (links, master) in [(port, free_port()), (free_port(), port)] {
        let mut node = Program::start(folder.path(), "node", &first_config(links, master));
        assert!(!node.sees("running"), "{}", node.log());
        let socket = node.control().to_owned();
        let (status, log) = node.wait();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(log.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{log}");
        assert!(!socket.exists(), "nothing is left behind");
    }
}

#[test]
fn a_node_waits_for_a_master_that_comes_later() {
    let folder = tempfile::tempdir().unwrap();
    let master = free_port();
    let two = slave(folder.path(), 2, "TWO", master);
    assert_eq!(two.names()["master_up"], false);
    assert_eq!(two.call(&["TWO", "1"]), Ok("[1]".to_owned()), "its own services work");
    let waiting = two.start_call("25s", &["ONE", "\"early\""]);

    let mut one = Program::start(folder.path(), "first", &first_config(free_port(), master));
    one.wait_for("running");
    assert_eq!(reply(&waiting.wait_with_output().unwrap()), Ok("[\"early\"]".to_owned()));
    assert_eq!(one.call(&["TWO", "2"]), Ok("[2]".to_owned()));
    assert_eq!(two.names()["master_up"], true);
}

#[test]
fn an_id_in_use_is_refused_and_the_cluster_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, master, .. } = first(folder.path());
    let two = slave(folder.path(), 2, "TWO", master);
    assert_eq!(one.call(&["TWO"]), Ok("[]".to_owned()));
    let other = tempfile::tempdir().unwrap();
    let mut imposter = slave(other.path(), 2, "IMPOSTER", master);
    imposter.wait_for("Refused");
    assert_eq!(imposter.names()["master_up"], false);
    let called = one.start_call("300ms", &["IMPOSTER"]).wait_with_output().unwrap();
    assert!(reply(&called).is_err());
    assert_eq!(one.call(&["TWO", "3"]), Ok("[3]".to_owned()));
    imposter.stop();
    two.stop();
}

#[test]
fn a_killed_callee_ends_the_waiting_call_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, master, .. } = first(folder.path());
    let two = slave(folder.path(), 2, "TWO", master);
    assert_eq!(one.call(&["TWO"]), Ok("[]".to_owned()));
    // A stopped process keeps its connections and answers nothing.
    two.signal(Signal::STOP);
    let waiting = one.start_call("60s", &["TWO", "1"]);
    until("the call waits for node 2", || {
        one.names()["peers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|peer| peer["harbor"] == 2 && peer["pending"] == 1)
    });
    let killed = Instant::now();
    two.signal(Signal::KILL);
    let ended = waiting.wait_with_output().unwrap();
    let took = Instant::now().since(killed);
    let reason = reply(&ended).unwrap_err();
    assert!(reason.starts_with("skyharbor: TWO: the link to node 2 was lost"), "{reason}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let next = one.call(&["TWO", "2"]).unwrap_err();
    // Until the master has given the name of the dead to nobody, and after.
    assert!(next.contains("node 2") || next.contains("no such service"), "{next}");
    one.stop();
}

#[test]
fn a_killed_master_costs_no_traffic() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, master, .. } = first(folder.path());
    let two = slave(folder.path(), 2, "TWO", master);
    let three = slave(folder.path(), 3, "THREE", master);
    assert_eq!(two.call(&["THREE", "1"]), Ok("[1]".to_owned()));
    one.signal(Signal::KILL);
    one.wait();
    until("node 2 noticed", || two.names()["master_up"] == false);
    assert_eq!(two.call(&["THREE", "2"]), Ok("[2]".to_owned()));
    three.stop();
}

#[test]
fn a_throw_away_node_joins_for_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, master, .. } = first(folder.path());
    let path = folder.path().join("visitor.toml");
    let keys =
        format!("harbor = 9\naddress = \"127.0.0.1:0\"\nmaster = \"127.0.0.1:{master}\"\nthread = 1\n");
    fs::write(&path, keys).unwrap();
    let config = path.to_str().unwrap();
    let called = output(&["call", "--join", "--config", config, "ONE", "[1,2]"]);
    assert_eq!(reply(&called), Ok("[[1,2]]".to_owned()));
    let local = output(&["call", "--join", "--config", config, ".kv"]);
    assert_eq!(local.status.code(), Some(2), "{}", stderr(&local));
    one.stop();
    let called = output(&["call", "--join", "--config", config, "--timeout", "300ms", "ONE"]);
    assert_eq!(called.status.code(), Some(1));
}

#[test]
fn rubbish_on_every_port_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let First { node: one, links, master } = first(folder.path());
    let two = slave(folder.path(), 2, "TWO", master);
    assert_eq!(one.call(&["TWO"]), Ok("[]".to_owned()));
    let noise: Vec<u8> = (0..65_536u32).map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let oversize_frame = [&[7][..], &[0x01, 0, 0, 0], &noise].concat();
    let short_frame = [7, 0, 0, 0, 11, 1, 2, 3];
    let forged_system = [&[7][..], &[0, 0, 0, 12], &[7, 0, 0, 1], &[4, 0, 0, 9], &[0, 0, 0, 1]].concat();
    for port in [links, master] {
        for rubbish in
            [&noise[..], &oversize_frame, &short_frame, &forged_system, &[0], &[1], &[2], &[255; 300], b""]
        {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            stream.set_read_timeout(Some(program::PATIENCE)).unwrap();
            // The node may close before it has read everything.
            let _ = stream.write_all(rubbish);
            let _ = stream.shutdown(Shutdown::Write);
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{rubbish:?}"),
            }
        }
        assert_eq!(two.call(&["ONE", "1"]), Ok("[1]".to_owned()));
        assert_eq!(one.call(&["TWO", "2"]), Ok("[2]".to_owned()));
    }
    two.stop();
    one.stop();
}
