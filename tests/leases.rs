//! Nodes that lease their harbor id from a range, over loopback.

use skyharbor::prelude::*;
use skyharbor::registry::{HarborRange, LeaseError};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

fn master_at(address: &str) -> Node {
    let config = Config::local().harbor(1).address("127.0.0.1:0").standalone(address).threads(1);
    Node::start(config).expect("the master starts")
}

fn leased(master: &str, lease: &Path) -> Result<Node, Error> {
    let range = HarborRange::new(200, 210).expect("it has ids");
    let config = Config::local().harbor_range(range, lease).address("127.0.0.1:0").master(master).threads(1);
    Node::start(config)
}

/// A file as an earlier start left it.
fn remember(path: &Path, id: u8, taken: u64) {
    let text = format!("skyharbor lease 1\nid {id}\nrefused 0\ntaken {taken}\n");
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    fs::write(path, format!("{text}sum {sum:016x}\n")).expect("the folder is ours");
}

#[test]
fn where_all_are_of_our_kind_an_id_serves_life_after_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let (lease, address) = (folder.path().join("lease"), free_address());
    remember(&lease, 204, 1_700_000_000);
    let master = master_at(&address);
    for _ in 0..3 {
        let node = leased(&address, &lease).expect("the last id, for nothing");
        assert_eq!(node.harbor().get(), 204);
        master.wait_linked(node.harbor(), PATIENCE).expect("it joins under its leased id");
        node.shutdown(PATIENCE).expect("it ends");
    }
    master.shutdown(PATIENCE).expect("it ends");
}

#[test]
fn an_id_that_the_master_refuses_is_followed_by_the_next_and_a_third_one_is_too_soon() {
    let folder = tempfile::tempdir().expect("a folder");
    let (lease, others, address) =
        (folder.path().join("lease"), folder.path().join("others"), free_address());
    let master = master_at(&address);
    remember(&others, 204, 1_700_000_000);
    let other = leased(&address, &others).expect("nobody has the id");
    master.wait_linked(other.harbor(), PATIENCE).expect("it joins");
    remember(&lease, 204, 1_700_000_000);
    let second = leased(&address, &lease).expect("204 lives, 205 is new");
    assert_eq!((other.harbor().get(), second.harbor().get()), (204, 205));
    let third = folder.path().join("third");
    fs::copy(&lease, &third).expect("the folder is ours");
    match leased(&address, &third) {
        Err(Error::Lease(LeaseError::TooSoon { wait })) => assert!(wait <= Duration::from_secs(60)),
        other => panic!("205 lives, and another one was just taken: {other:?}"),
    }
    for node in [second, other, master] {
        node.shutdown(PATIENCE).expect("it ends");
    }
}

#[test]
fn a_master_that_is_not_there_refuses_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let lease = folder.path().join("lease");
    let node = leased(&free_address(), &lease).expect("it starts and goes on dialling");
    assert_eq!(node.harbor().get(), 200);
    node.shutdown(PATIENCE).expect("it ends");
    assert!(lease.exists(), "the id is remembered all the same");
}

#[test]
fn an_id_that_cannot_be_remembered_is_not_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = folder.path().join("missing").join("lease");
    assert!(matches!(leased(&free_address(), &nowhere), Err(Error::Io { .. })));
}

#[test]
fn a_file_belongs_to_one_node_as_long_as_it_lives() {
    let folder = tempfile::tempdir().expect("a folder");
    let lease = folder.path().join("lease");
    let node = leased(&free_address(), &lease).expect("it starts and goes on dialling");
    match leased(&free_address(), &lease) {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), std::io::ErrorKind::WouldBlock),
        other => panic!("they would take each other's ids: {other:?}"),
    }
    node.shutdown(PATIENCE).expect("it ends");
    leased(&free_address(), &lease).expect("the file is free again").shutdown(PATIENCE).expect("it ends");
}
