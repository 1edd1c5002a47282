//! What each scenario needs besides its rows: what services did, and what ours does otherwise on purpose.

use crate::replay::{envelope, packet};
use crate::stage::{Message, Stage};
use crate::transcript::{Direction, Row, Scenario, unhex};
use skyharbor::harbor::Listener;
use skyharbor::message::{
    Body, Envelope, Handle, HarborId, HarborRequest, Kind, Name, Payload, Session, Waiter,
};
use skyharbor::wire::control::{Packet, encode};

/// Something that a service does before a row.
pub(crate) type Act = Box<dyn Fn(&mut Stage)>;

/// Something that ours does otherwise at a row, on purpose.
pub(crate) struct Difference {
    pub(crate) row: usize,
    pub(crate) ours: Ours,
    why: &'static str,
}

impl Difference {
    /// For a difference that did not show up.
    pub(crate) fn describe(&self) -> String {
        format!("row {}: {:?}, since {}", self.row, self.ours, self.why)
    }
}

#[derive(Debug)]
pub(crate) enum Ours {
    /// Writes nothing.
    Silent,
    /// Writes other bytes.
    Writes(Vec<u8>),
    /// The remark does not hold.
    NotSo,
}

#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) acts: Vec<(usize, Act)>,
    pub(crate) differences: Vec<Difference>,
    /// What ours writes in the end besides the rows.
    pub(crate) surplus: Vec<(String, Vec<u8>)>,
    /// Another real node that joins, and where it listens.
    pub(crate) joiner: Option<(u8, String)>,
    /// Messages with these sessions do not arrive, on purpose.
    pub(crate) deaf_to: Vec<u32>,
}

impl Plan {
    fn before(&mut self, row: usize, act: impl Fn(&mut Stage) + 'static) {
        self.acts.push((row, Box::new(act)));
    }

    fn differs(&mut self, row: usize, ours: Ours, why: &'static str) {
        self.differences.push(Difference { row, ours, why });
    }
}

/// The plan of a scenario of `harbor.json`; none if there is nothing to replay.
pub(crate) fn harbor_plan(scenario: &Scenario) -> Option<Plan> {
    let mut plan = Plan::default();
    let rows = &scenario.rows;
    match scenario.name.as_str() {
        // Only counts of runs were recorded, no bytes.
        "handover_gap" | "real_to_real_over_limit" => return None,
        "handshake_node_connects" => handshake_node_connects(&mut plan, rows),
        "handshake_wrong_id" => handshake_wrong_id(&mut plan),
        "handshake_we_connect"
        | "early_frame_same_segment"
        | "early_frame_after_2ms"
        | "early_frame_after_answer" => joins(&mut plan, rows),
        "frames_out_types_sessions_names" => socket_type_out(&mut plan),
        "frames_out_sizes" | "frames_in_split" => {}
        // A real service logs an answer that it did not ask for; ours does not get it.
        "calls_out" => plan.deaf_to.push(5031),
        "reserved_type_4_out" => reserved_type_out(&mut plan, 4),
        "reserved_type_5_out" => reserved_type_out(&mut plan, 5),
        "reserved_type_5_to_harbor_service" => {
            plan.differs(
                3,
                Ours::Silent,
                "types 4, 5 and 6 of peers are dropped (H7): the name is not bound",
            );
        }
        "reserved_type_4_to_harbor_service" | "reserved_type_6_to_socket_service" => {}
        "service_exit" => plan.before(5, |stage| {
            stage.machine(1).services.remove(&10);
        }),
        "frames_in_types_sessions" => negative_sessions(&mut plan, [37, 40]),
        "errors_and_answers" => {
            let why =
                "the session of an answer that comes too late means another call to the service that gave it";
            plan.differs(9, Ours::Silent, why);
            negative_sessions(&mut plan, [41, 44]);
            plan.before(17, held_for_slave_5);
        }
        "frame_in_limits" => plan.before(8, |stage| call_fails_at_once(stage, 10)),
        "frame_out_limits_stack_64MiB" => too_large(&mut plan, rows),
        "frame_out_limits_stack_8MiB" => plan.before(6, large_is_sent),
        "short_frame_0" | "short_frame_1" | "short_frame_11" => {
            plan.differs(5, Ours::NotSo, "a length below 12 breaks the link: what follows cannot be trusted");
            plan.deaf_to.push(0);
        }
        "link_lost_fin" | "link_lost_rst" => link_lost(&mut plan),
        "link_half_closed" => {
            let why = "the end of the stream is the end of the link: what it owes fails at once";
            plan.differs(3, Ours::Silent, why);
            plan.before(3, |stage| call_fails_at_once(stage, 12));
        }
        "message_to_slave_that_joins_later" => message_to_slave_that_joins_later(&mut plan, rows),
        "name_learnt_before_link" => name_learnt_before_link(&mut plan, rows),
        other => panic!("nobody has thought about {other}"),
    }
    Some(plan)
}

/// The plan of a scenario of `master.json` with a node as slave and links of harbors.
pub(crate) fn slave_plan(scenario: &Scenario) -> Plan {
    let mut plan = Plan::default();
    let rows = &scenario.rows;
    match scenario.name.as_str() {
        "fake_master_wait_two"
        | "fake_master_D_while_waiting"
        | "fake_master_first"
        | "fake_master_nobody_connects"
        | "fake_master_not_W"
        | "fake_master_W_string"
        | "fake_master_W_float"
        | "fake_master_closes_before_W"
        | "fake_master_standalone_services"
        | "fake_master_D_for_living_link"
        | "fake_master_SERVICE_answers_error"
        | "fake_master_harbor_200" => {}
        "fake_master_C_before_ready" => {
            plan.before(14, |stage| by_name(stage, 5, "EARLY", b"hi"));
        }
        "fake_master_odd_packages" => {
            let why = "an id that was reported dead and is announced again lives again";
            plan.differs(13, Ours::NotSo, why);
            plan.surplus.push(("harbor 5-99".to_owned(), vec![5]));
        }
        "fake_master_register_query" => register_query(&mut plan),
        "fake_master_C_after_lost_link" => {
            plan.differs(10, Ours::NotSo, "a node whose link was lost may come back");
            plan.surplus.push(("harbor 5-2".to_owned(), vec![5]));
        }
        "fake_master_D_then_link_while_waiting" => {
            plan.differs(4, Ours::NotSo, "the link is the truth, a report of a death is a hint");
            plan.surplus.push(("harbor 7-5".to_owned(), vec![5]));
        }
        other => panic!("nobody has thought about {other}: {} rows", rows.len()),
    }
    plan
}

/// Messages that are there before the answer byte: to a handle, to a known name, to an unknown one.
fn handshake_node_connects(plan: &mut Plan, rows: &[Row]) {
    let payload = |row: usize| Message::read(&rows[row].bytes, 2).unwrap().0.payload;
    let (to_handle, to_known, to_unknown) = (payload(8), payload(9), payload(6));
    plan.before(3, move |stage| {
        stage.send(1, message(0x0100_0009, 0x0200_0010, 0, 0, &to_handle));
        by_name(stage, 1, "NAME2", &to_known);
        by_name(stage, 1, "NAMEQ", &to_unknown);
    });
    let why = "nothing goes out before the answer byte: a real acceptor would lose it (trap 2)";
    plan.differs(6, Ours::Silent, why);
    let late = rows[6].bytes.clone();
    plan.before(10, move |stage| {
        let unread = &mut stage.scripts.get_mut("1-2").unwrap().unread;
        assert_eq!(*unread, late, "it goes out behind what was sent before it");
        unread.clear();
    });
}

fn handshake_wrong_id(plan: &mut Plan) {
    plan.before(1, |stage| stage.send(1, message(0x0100_0009, 0x0200_0010, 9, 10, b"queued")));
    plan.before(3, |stage| {
        assert_failed(stage, 9, "the link to node 2 is down");
        stage.send(1, message(0x0100_0009, 0x0200_0010, 11, 10, b"after"));
        assert_failed(stage, 11, "the link to node 2 is down");
    });
}

/// A second real node joins; the scripted slave 2 is older and dials it.
fn joins(plan: &mut Plan, rows: &[Row]) {
    let Some(Packet::Connect { id, address }) = packet(&rows[0].bytes) else { panic!("C comes first") };
    plan.joiner = Some((id.get(), address));
}

fn socket_type_out(plan: &mut Plan) {
    plan.differs(6, Ours::Silent, "type 6 never leaves: the node of its receiver would follow pointers");
    plan.before(6, |stage| {
        stage.send(1, message(0x0100_0009, 0x0200_0030, 7, 6, b"t6"));
        assert_denied(stage, 7);
    });
}

fn negative_sessions(plan: &mut Plan, rows: [usize; 2]) {
    for row in rows {
        plan.differs(row, Ours::Silent, "a message with such a session is delivered: that is no error");
    }
}

fn call_fails_at_once(stage: &mut Stage, session: u32) {
    stage.send(1, message(0x0100_0009, 0x0200_0030, session, 10, b"hi"));
    assert_failed(stage, session, "the link to node 2 is down");
}

/// A real node dies of this size.
fn large_is_sent(stage: &mut Stage) {
    stage.send(1, message(0x0100_0009, 0x0200_0030, 0, 0, &vec![0x50; 8_388_608]));
    let unread = &mut stage.scripts.get_mut("1-2").unwrap().unread;
    assert_eq!(unread.len(), 8_388_624);
    unread.clear();
}

fn message_to_slave_that_joins_later(plan: &mut Plan, rows: &[Row]) {
    let call = rows[6].bytes.clone();
    plan.before(2, move |stage| {
        let (call, _) = Message::read(&call, 9).unwrap();
        stage.send(1, envelope(&call));
    });
    announced_to_slave_2(plan, &rows[2]);
}

/// A real node dies of this; ours tells the sender.
fn reserved_type_out(plan: &mut Plan, kind: u8) {
    plan.before(2, move |stage| {
        stage.send(1, message(0x0100_0009, 0x0200_0030, 5, kind, b"x"));
        assert_denied(stage, 5);
    });
}

fn held_for_slave_5(stage: &mut Stage) {
    let account = stage.machine(1).harbor.account(HarborId::new(5));
    assert_eq!(account.queued, 1, "the error waits for slave 5");
}

fn too_large(plan: &mut Plan, rows: &[Row]) {
    let payload = rows[5].bytes.clone();
    plan.before(4, move |stage| {
        stage.send(1, message(0x0100_0009, 0x0200_0030, 6, 0, &payload));
        assert_failed(stage, 6, "larger than a frame can carry");
    });
    for row in 4..=6 {
        plan.differs(row, Ours::Silent, "no reader takes a frame of that size: its sender is told");
    }
}

/// The real caller waits for ever; ours is told, and new calls fail at once. Only the node that dialled dials again.
fn link_lost(plan: &mut Plan) {
    plan.before(4, |stage| {
        assert_failed(stage, 10, "whether the request was executed is unknown");
        stage.send(1, message(0x0100_0009, 0x0200_0030, 11, 10, b"new"));
        assert_failed(stage, 11, "the link to node 2 is down");
    });
    plan.before(5, |stage| {
        assert!(stage.refused.contains(&"peer:2".to_owned()), "ours dials again");
    });
}

fn name_learnt_before_link(plan: &mut Plan, rows: &[Row]) {
    let payload = |row: usize| Message::read(&rows[row].bytes, 10).unwrap().0.payload;
    let (known, learnt) = (payload(8), payload(9));
    plan.before(2, move |stage| {
        by_name(stage, 1, "ONTEN", &known);
        by_name(stage, 1, "ONTENQ", &learnt);
    });
    let mut whole = rows[9].bytes.clone();
    let dest = whole.len() - 8;
    whole[dest + 1..dest + 4].copy_from_slice(&[0, 0, 0x45]);
    plan.differs(9, Ours::Writes(whole), "the whole handle is kept: a real node loses its low 24 bits");
    plan.before(0, slave_9_is_there);
    announced_to_slave_2(plan, &rows[4]);
    let (_, announcement) = plan.surplus[0].clone();
    let heard_by_9 = [rows[1].bytes.clone(), rows[3].bytes.clone(), announcement].concat();
    plan.surplus.push(("control 9".to_owned(), heard_by_9));
}

/// The real master knew slave 9 from the scenario before.
fn slave_9_is_there(stage: &mut Stage) {
    stage.dial("control 9", 1, Listener::Master);
    let mut hello = Vec::new();
    let packet = Packet::Hello { id: HarborId::new(9), address: "peer:9".to_owned() };
    encode(&packet, &[], &mut hello).unwrap();
    stage.write("control 9", &hello);
    for script in stage.scripts.values_mut() {
        script.unread.clear();
    }
}

/// The recorder did not look at the `C` that slave 2 got: it is the newcomer's `H` with another letter.
fn announced_to_slave_2(plan: &mut Plan, hello: &Row) {
    let mut announcement = hello.bytes.clone();
    announcement[2] = b'C';
    plan.surplus.push(("control".to_owned(), announcement));
}

fn register_query(plan: &mut Plan) {
    plan.before(10, |stage| register(stage, 5, "MINE", 0x0500_0008));
    plan.before(12, |stage| by_name(stage, 5, "MINE", b"to whom"));
    plan.before(14, |stage| {
        query(stage, 5, "UNK", 2);
        query(stage, 5, "UNK", 3);
    });
    plan.before(15, |stage| {
        by_name(stage, 5, "UNK", b"m1");
        by_name(stage, 5, "UNK", b"m2");
    });
    for row in [15, 16] {
        plan.differs(row, Ours::Silent, "one Q for a name, however many wait for it");
    }
    for row in [21, 22] {
        plan.differs(row, Ours::Silent, "names of more than 15 bytes cannot be made here");
    }
}

// What services do.

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn message(source: u32, dest: u32, session: u32, kind: u8, payload: &[u8]) -> Envelope {
    Envelope {
        source: Handle::from_bits(source),
        dest: Handle::from_bits(dest),
        session: Session::from_bits(session),
        kind: Kind(kind),
        body: Body::Bytes(Payload::from(payload)),
    }
}

/// The control service (`ctl`, handle 9 on node 1, 7 on node 5) sends text by name.
fn by_name(stage: &mut Stage, node: u8, to: &str, payload: &[u8]) {
    let source = if node == 1 { 0x0100_0009 } else { u32::from(node) << 24 | 7 };
    let envelope = message(source, 0, 0, 0, payload);
    stage.ask(node, HarborRequest::Send { name: name(to), envelope });
}

fn waiter(node: u8, session: u32) -> Waiter {
    Waiter { source: Handle::new(HarborId::new(node), 7), session: Session::from_bits(session) }
}

fn query(stage: &mut Stage, node: u8, text: &str, session: u32) {
    let deadline = stage.later(1000);
    stage.ask(node, HarborRequest::Query { name: name(text), waiter: waiter(node, session), deadline });
}

fn register(stage: &mut Stage, node: u8, text: &str, handle: u32) {
    let (name, handle) = (name(text), Handle::from_bits(handle));
    stage.ask(node, HarborRequest::Register { name, handle, waiter: waiter(node, 1) });
}

/// The call with this session failed, and its caller was told so.
fn assert_failed(stage: &mut Stage, session: u32, reason: &str) {
    let ours = stage.machine(*stage.machines.keys().next().unwrap());
    let told = ours.delivered.iter().find_map(|envelope| match envelope.body {
        Body::Failure(told) if envelope.session.bits() == session => Some(told.to_string()),
        _ => None,
    });
    let told = told.unwrap_or_else(|| panic!("the caller of {session} was not told"));
    assert!(told.contains(reason), "{told}");
}

fn assert_denied(stage: &mut Stage, session: u32) {
    assert_failed(stage, session, "not allowed");
}

/// Whether the row is one that somebody wrote.
pub(crate) fn is_written(row: &Row) -> bool {
    !row.bytes.is_empty() && row.direction != Direction::Note
}

#[test]
fn hex_is_read() {
    assert_eq!(unhex("00ff10"), [0, 255, 16]);
}
