//! Bytes that wait here have a bound for the whole node.

use super::*;

#[test]
fn messages_for_absent_peers_share_one_budget() {
    let (mut bench, control) = Bench::member();
    let cost = 2 + size_of::<(Instant, Envelope)>();
    bench.harbor.desk.bounds.held_bytes_all_max = 3 * cost;
    for (session, peer) in [(1, 2), (2, 3), (3, 4), (4, 2), (5, 9)] {
        bench.send(session, peer << 24 | 8);
    }
    assert_eq!(bench.take(), "4 to :05000008: Full, 5 to :05000008: Full");
    // What is held no more makes room, however it ends: its link comes up, it expires, its node is dead.
    let link = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &[2]));
    bench.send(6, 0x0900_0008);
    assert_eq!(bench.take(), "Up((2))");
    bench.packet(control, &Packet::Dead { id: HarborId::new(3) });
    bench.send(7, 0x0800_0008);
    assert!(!bench.take().contains("Full"));
    bench.after(bench.harbor.desk.bounds.held_time_max);
    assert_eq!(bench.harbor.desk.held_bytes, 0);
    assert!(bench.harbor.balances());
}
