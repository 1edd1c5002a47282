//! What nodes of our kind say to each other.

use super::*;

/// A frame between the reserved ids of node 2 and node 5, as node 2 writes it.
fn kin_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32 + 12).to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&[2, 0, 0, 7, Kind::LUA.0, 0, 0, 7, 0, 0, 0, 0]);
    frame
}

fn hello(incarnation: u8) -> Vec<u8> {
    kin_frame(&[&b"\x2cHELLO\x0a"[..], &[incarnation], b"\x02"].concat())
}

/// Node 5, which looks for its kind, with a link from node 2.
fn linked_kin() -> (Bench, ConnId) {
    let hello = Some(Hello { incarnation: 1, capabilities: 0 });
    let (bench, _, link) = Bench::linked_as(Settings { hello, ..Settings::new(HarborId::new(5)) });
    (bench, link)
}

const MET: &str = "Kin { peer: (2), hello: Hello { incarnation: 9, capabilities: 0 } }";

#[test]
fn one_hello_of_a_link_counts() {
    let (mut bench, link) = linked_kin();
    for _ in 0..4 {
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(9)));
    }
    assert_eq!(bench.take(), MET, "a repeated one makes no event");
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &hello(8)));
    let conn = link.number();
    let fault = format!("PeerFault {{ conn: ConnId({conn}), peer: Some((2)), fault: OtherHello }}");
    assert_eq!(bench.take(), format!("{fault}, close, Down((2), Fault)"));
    assert_eq!(bench.harbor.kin(PEER_2), None);
}

#[test]
fn a_hello_on_a_link_that_breaks_behind_it_is_not_heard() {
    let (mut bench, link) = linked_kin();
    let broken = [&hello(9)[..], &[0, 0, 0, 1]].concat();
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &broken));
    assert!(bench.take().ends_with("Down((2), Fault)"), "nothing of the link comes behind its loss");
    assert_eq!(bench.harbor.kin(PEER_2), None);
}
