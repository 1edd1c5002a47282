//! What becomes of calls, and for how long they are remembered.

use super::*;

#[test]
fn an_answer_that_nobody_waits_for_is_not_answered() {
    let (mut bench, _, link) = Bench::linked();
    for kind in [Kind::RESPONSE, Kind::ERROR] {
        let late = Envelope { source: Handle::from_bits(0x0200_0010), kind, ..message(7, 0x0500_0abc) };
        bench.input(|harbor, now| harbor.handle_undeliverable(now, late));
        assert!(bench.read(link).is_empty(), "{kind:?}: to its service, session 7 is a call of its own");
    }
}

#[test]
fn an_answer_over_another_link_ends_the_call() {
    let (mut bench, _, link) = Bench::linked();
    let third = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, third, &[3]));
    bench.send(7, 0x0200_0008);
    bench.read(link);
    bench.send(0, 0x0300_0008);
    bench.read(third);
    assert_eq!(bench.harbor.pending_calls(PEER_2), 1);
    let response = b"\0\0\0\x0c\x03\0\0\x09\x01\0\0\x08\0\0\0\x07";
    bench.input(|harbor, now| harbor.handle_bytes(now, third, response));
    assert_eq!(bench.harbor.pending_calls(PEER_2), 0, "node 2 had passed the request on to node 3");
    for peer in [PEER_2, HarborId::new(3)] {
        let account = bench.harbor.account(peer);
        assert_eq!((account.delivered, account.in_flight), (0, 1), "it proves nothing of the link of {peer}");
    }
    bench.take();
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.take(), "Down((2), Closed)");
}

#[test]
fn forgotten_calls_are_not_failed() {
    let (mut bench, _, link) = Bench::linked();
    bench.send(7, 0x0200_0008);
    bench.ask(HarborRequest::Forget { waiter: waiter(7) });
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.take(), "Down((2), Closed)");
}

#[test]
fn a_call_without_a_deadline_is_remembered_as_long_as_its_link_lives() {
    let (mut bench, _, link) = Bench::linked();
    bench.send(7, 0x0200_0008);
    bench.read(link);
    bench.after(100 * bench.harbor.desk.bounds.call_time_max);
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.take(), "7 to :05000008: OutcomeUnknown((2)), Down((2), Closed)");
}

#[test]
fn a_full_table_gives_up_the_oldest_call_only_when_it_is_old() {
    let (mut bench, _, link) = Bench::linked();
    bench.harbor.desk.bounds.pending_calls_max = 2;
    for session in 1..=3 {
        bench.send(session, 0x0200_0008);
    }
    bench.read(link);
    assert_eq!(bench.take(), "3 to :05000008: Full");
    bench.after(bench.harbor.desk.bounds.call_time_max);
    bench.send(4, 0x0200_0008);
    assert_eq!(bench.take(), "1 to :05000008: OutcomeUnknown((2))");
    assert_eq!(bench.harbor.pending_calls(PEER_2), 2);
}

#[test]
fn calls_that_are_passed_on_for_other_nodes_keep_nobody_out() {
    let (mut bench, _, link) = Bench::linked();
    bench.harbor.desk.bounds.pending_calls_max = 2;
    for session in 1..=5 {
        // The answer goes from node 2 to node 3, and is never seen here.
        let passed_on = Envelope { source: Handle::from_bits(0x0300_0010), ..message(session, 0x0200_0008) };
        bench.input(|harbor, now| harbor.handle_send(now, passed_on));
    }
    bench.send(9, 0x0200_0008);
    assert_eq!(bench.take(), "", "none is refused");
    assert_eq!(bench.harbor.pending_calls(PEER_2), 3, "two of node 3, one of ours");
    bench.read(link);
    bench.after(bench.harbor.desk.bounds.call_time_max);
    assert_eq!(bench.harbor.pending_calls(PEER_2), 1);
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.take(), "9 to :05000008: OutcomeUnknown((2)), Down((2), Closed)");
}

#[test]
fn a_call_that_was_passed_on_and_is_lost_with_its_link_fails_at_its_caller() {
    let (mut bench, _, link) = Bench::linked();
    let third = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, third, &[3]));
    bench.read(third);
    let passed_on = Envelope { source: Handle::from_bits(0x0300_0010), ..message(7, 0x0200_0008) };
    bench.input(|harbor, now| harbor.handle_send(now, passed_on));
    bench.read(link);
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    // In the name of its callee, with its session.
    assert_eq!(bench.read(third), b"\0\0\0\x0c\x02\0\0\x08\x07\0\0\x10\0\0\0\x07");
    assert_eq!(bench.harbor.pending_calls(PEER_2), 0);
}

#[test]
fn an_answer_for_no_call_that_went_out_ends_none() {
    let (mut bench, _, link) = Bench::linked();
    bench.send(7, 0x0200_0009);
    bench.send(9, 0x0200_0009);
    let answer = |kind: Kind, session: u8| [0, 0, 0, 12, 2, 0, 0, 9, kind.0, 0, 0, 8, 0, 0, 0, session];
    let (response, error) = (Kind::RESPONSE, Kind::ERROR);
    for (kind, session) in [(error, 7), (error, 8), (response, 8), (response, 7), (response, 9), (error, 0)] {
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &answer(kind, session)));
    }
    let told = "7 to :05000008: ERROR, 9 to :05000008: RESPONSE, 0 to :05000008: ERROR";
    assert_eq!(bench.take(), told);
    let Intake { frames, delivered, stray, .. } = bench.harbor.intake();
    assert_eq!((frames, delivered, stray), (6, 3, 3));
}

#[test]
fn only_its_own_node_says_that_a_service_is_dead() {
    let (mut bench, _, link) = Bench::linked();
    let third = bench.accept(Listener::Links);
    bench.input(|harbor, now| harbor.handle_bytes(now, third, &[3]));
    bench.take();
    bench.send(7, 0x0200_0009);
    bench.send(8, 0x0200_0009);
    let dead = |node: u8, local: u8| [0, 0, 0, 12, node, 0, 0, local, 7, 0, 0, 8, 0, 0, 0, 0];
    // Node 3 speaks for node 2, then for a service of this node.
    for node in [2, 5] {
        bench.input(|harbor, now| harbor.handle_bytes(now, third, &dead(node, 9)));
    }
    assert_eq!((bench.take().as_str(), bench.harbor.pending_calls(PEER_2)), ("", 2));
    assert_eq!(bench.harbor.intake().stray, 2);
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &dead(2, 10)));
    assert_eq!((bench.take().as_str(), bench.harbor.pending_calls(PEER_2)), ("0 to :05000008: ERROR", 2));
    bench.input(|harbor, now| harbor.handle_bytes(now, link, &dead(2, 9)));
    assert_eq!(bench.take(), "8 to :05000008: NoService, 7 to :05000008: NoService, 0 to :05000008: ERROR");
}

#[test]
fn a_peer_that_names_our_service_as_its_source_ends_no_call_that_stays_here() {
    let hello = Some(Hello { incarnation: 1, capabilities: 0 });
    let (mut bench, _, link) = Bench::linked_as(Settings { hello, ..Settings::new(HarborId::new(5)) });
    // Sources: our service, and the same without its node. Receivers: one that is missing, and the id of our kind.
    for (node, local) in [(5, 0x99), (0, 0x99), (5, 7), (0, 7)] {
        let call = [0, 0, 0, 12, node, 0, 0, 8, Kind::LUA.0, 0, 0, local, 0, 0, 0, 7];
        let envelope = undeliverable(&mut bench, link, &call);
        let refused = envelope.is_some_and(|envelope| {
            bench.input(|harbor, now| harbor.handle_undeliverable(now, envelope));
            bench.take() != ""
        });
        assert!(!refused, "session 7 of {node} is a call to somebody else");
    }
    // A call that left came back: it is answered here.
    bench.send(7, 0x0200_0008);
    let call = [0, 0, 0, 12, 5, 0, 0, 8, Kind::LUA.0, 0, 0, 0x99, 0, 0, 0, 7];
    let envelope = undeliverable(&mut bench, link, &call).expect("it is delivered");
    bench.input(|harbor, now| harbor.handle_undeliverable(now, envelope));
    assert_eq!(bench.take(), "7 to :05000008: NoService");
}

/// What the bytes bring for a service, which is not there.
fn undeliverable(bench: &mut Bench, link: ConnId, bytes: &[u8]) -> Option<Envelope> {
    bench.harbor.handle_bytes(bench.now, link, bytes);
    let mut envelopes = std::iter::from_fn(|| bench.harbor.poll_action()).map(|action| match action {
        Action::Deliver(envelope) => envelope,
        other => panic!("{}", words(&other)),
    });
    envelopes.next()
}

#[test]
fn a_call_that_comes_back_to_its_own_node_is_nobody_else_s() {
    let (mut bench, _, link) = Bench::linked();
    bench.send(7, 0x0200_0008);
    bench.send(8, 0x0200_0008);
    bench.read(link);
    // Node 2 passes call 7 on to service 9 of its asker's node.
    let home = b"\0\0\0\x0c\x05\0\0\x08\x0a\0\0\x09\0\0\0\x07";
    bench.input(|harbor, now| harbor.handle_bytes(now, link, home));
    assert_eq!(bench.take(), "7 to :05000009: LUA");
    assert_eq!(bench.harbor.pending_calls(PEER_2), 1);
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.take(), "8 to :05000008: OutcomeUnknown((2)), Down((2), Closed)");
}

#[test]
fn what_is_no_call_ends_none_with_its_number() {
    let (mut bench, _, link) = Bench::linked();
    bench.send(7, 0x0200_0008);
    bench.read(link);
    // On channel 7 our own service published, and subscribes; and a tag of the call, which is passed back behind it.
    for kind in [Kind::MULTICAST, Kind::TRACE] {
        let bytes = [0, 0, 0, 12, 5, 0, 0, 8, kind.0, 0, 0, 9, 0, 0, 0, 7];
        bench.input(|harbor, now| harbor.handle_bytes(now, link, &bytes));
        assert_eq!(bench.take(), format!("7 to :05000009: {kind:?}"));
        assert_eq!(bench.harbor.pending_calls(PEER_2), 1, "{kind:?}: nobody answers it");
        let account = bench.harbor.account(PEER_2);
        assert_eq!((account.delivered, account.in_flight), (0, 1), "{kind:?} proves nothing");
    }
    bench.input(|harbor, now| harbor.handle_closed(now, link));
    assert_eq!(bench.take(), "7 to :05000008: OutcomeUnknown((2)), Down((2), Closed)");
}

#[test]
fn a_missing_service_ends_no_call_with_the_number_of_a_channel() {
    let (mut bench, _, link) = Bench::linked();
    // A service of this node published, one of node 2 did; neither's session 7 is a call to the missing one.
    bench.send(7, 0x0200_0008);
    bench.read(link);
    let published = Envelope { kind: Kind::MULTICAST, ..message(7, 0x0500_0abc) };
    bench.input(|harbor, now| harbor.handle_undeliverable(now, published));
    assert_eq!(bench.take(), "0 to :05000008: NoService");
    let theirs =
        Envelope { source: Handle::from_bits(0x0200_0010), kind: Kind::MULTICAST, ..message(7, 0x0500_0abc) };
    bench.input(|harbor, now| harbor.handle_undeliverable(now, theirs));
    assert_eq!(bench.read(link), b"\0\0\0\x0c\x05\0\x0a\xbc\x07\0\0\x10\0\0\0\0");
}
