//! MULTICAST: channels of this node and of one that is played by hand, as Skynet's `multicastd` speaks; channels over three
//! nodes of ours.

use super::peer::{Frame, Peer};
use super::{Do, Heard, Probe, World, lua, text};
use skyharbor::limits::MULTICAST_WAITING_BYTES_MAX;
use skyharbor::prelude::*;
use skyharbor::seri::{Value, unpack};
use skyharbor::services::Multicast;
use skyharbor::services::multicast::{Channel, Create, Delete, Publish, Subscribe, Unsubscribe};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, channel};

/// As much of Skynet's data center as channels need. (A node that has one of its own keeps it.)
#[derive(Default)]
struct DataCenter(HashMap<i64, Value>);
impl Service for DataCenter {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        let values = unpack(message.bytes()).expect("packed values");
        let key = values[2].as_int().expect("a harbor id");
        let answer = match values[0].as_bytes() {
            Some(b"UPDATE") => self.0.insert(key, values[3].clone()),
            _ => self.0.get(&key).cloned(),
        };
        ctx.reply(lua(&[answer.unwrap_or_default()]));
        Disposition::Handled
    }
}

fn spawn_datacenter(node: &Node) -> Handle {
    let center = node.spawn("datacenter", DataCenter::default()).expect("it starts");
    match node.register_global("DATACENTER", &center) {
        Ok(()) => center.handle(),
        Err(Error::NameTaken(own)) => own,
        Err(other) => panic!("{other}"),
    }
}

/// What the data center says about the multicast service of a node.
fn daemon_of(node: &Node, center: Handle, id: u8) -> Option<i64> {
    let query = lua(&[text("QUERY"), text("multicast"), Value::Int(i64::from(id))]);
    let answer = node.call_raw_blocking(center, Kind::LUA, query, secs(20)).expect("it answers");
    unpack(&answer).expect("packed values").first().and_then(Value::as_int)
}

fn spawn_multicast(node: &Node, center: Handle) -> Addr<Multicast> {
    let options = Spawn::new().local_name(".multicastd");
    let multicast = node.spawn_with("multicast", options, Multicast::default).expect("it starts");
    while daemon_of(node, center, node.harbor().get()).is_none() {
        std::thread::yield_now();
    }
    multicast
}

/// A world with a multicast service, and node 2, whose own is service 0x10.
fn world() -> (World, Peer, Addr<Multicast>) {
    let world = World::new();
    let mut peer = world.join(2);
    let center = spawn_datacenter(&world.node);
    let multicast = spawn_multicast(&world.node, center);
    let found = daemon_of(&world.node, center, 1);
    assert_eq!(found, Some(i64::from(multicast.handle().bits())));
    let handle = Value::Int(i64::from(peer.service(0x10).bits()));
    let update = lua(&[text("UPDATE"), text("multicast"), Value::Int(2), handle]);
    assert_eq!(peer.call(center, Kind::LUA, 1, &update).kind, Kind::RESPONSE);
    (world, peer, multicast)
}

fn order(command: &str, channel: Channel) -> Vec<u8> {
    lua(&[text(command), Value::Int(i64::from(channel.id()))])
}

fn published(source: Handle, channel: Channel, payload: &[u8]) -> Frame {
    let payload = payload.to_vec();
    Frame { source, dest: 0x10, kind: Kind::MULTICAST, session: channel.id(), payload }
}

fn heard(source: Handle, channel: Channel, payload: &[u8]) -> Heard {
    Heard::Message(Kind::MULTICAST, source, channel.id(), payload.to_vec())
}

/// A probe asks the multicast service; its answer is told.
fn asks<R: Request<Reply = ()>>(node: &Node, probe: Addr<Probe>, multicast: Addr<Multicast>, request: R)
where
    Multicast: Handler<R>,
{
    let asked = move |_: &mut Probe, ctx: &mut Context<'_, Probe>| {
        ctx.call(&multicast, request, secs(20), |me: &mut Probe, _, result| {
            me.tell(Heard::Answer(0, result.map(|()| Vec::new())));
        });
    };
    node.call_blocking(&probe, Do(Box::new(asked)), secs(20)).expect("the probe lives");
}

impl World {
    /// The probe asks the multicast service; its answer is told.
    fn probe_asks<R: Request<Reply = ()>>(&self, multicast: Addr<Multicast>, request: R)
    where
        Multicast: Handler<R>,
    {
        asks(&self.node, self.probe, multicast, request);
    }

    fn is_told(&self, expected: Result<(), CallError>) {
        assert_eq!(self.heard(), Heard::Answer(0, expected.map(|()| Vec::new())));
    }
}

#[test]
fn lua_services_of_another_node_subscribe_and_publish_in_a_channel_of_ours() {
    let (world, mut peer, multicast) = world();
    let (daemon, probe) = (multicast.handle(), world.probe.handle());
    let channel = world.node.call_blocking(&multicast, Create, secs(20)).expect("there is room");
    assert_eq!((channel.owner().get(), channel.id() >> 31), (1, 0));
    // As `pack(nil)`, and `pack(true)` for a channel that is not there.
    assert_eq!(peer.call(daemon, Kind::LUA, 5, &order("SUBR", channel)).payload, b"\0");
    let nowhere = Channel::from_id(channel.id() ^ 0x100);
    assert_eq!(peer.call(daemon, Kind::LUA, 6, &order("SUBR", nowhere)).payload, b"\x09");
    world.probe_asks(multicast, Subscribe(channel));
    world.is_told(Ok(()));
    world.probe_asks(multicast, Publish(channel, Payload::from(b"\x24rust")));
    assert_eq!(world.heard(), heard(probe, channel, b"\x24rust"), "the publisher is the source");
    world.is_told(Ok(()));
    assert_eq!(peer.read(), published(probe, channel, b"\x24rust"));
    let singer = peer.service(0x77);
    peer.write_as(singer, daemon, Kind::MULTICAST, channel.id(), b"\x1clua");
    assert_eq!(world.heard(), heard(singer, channel, b"\x1clua"));
    assert_eq!(peer.read(), published(singer, channel, b"\x1clua"), "its own subscribers get it too");
    // It leaves, publishes on, comes back, and hears of the end.
    peer.write(0x10, daemon, Kind::LUA, 0, &order("USUBR", channel));
    peer.write_as(singer, daemon, Kind::MULTICAST, channel.id(), b"\x14no");
    assert_eq!(world.heard(), heard(singer, channel, b"\x14no"));
    assert_eq!(peer.call(daemon, Kind::LUA, 7, &order("SUBR", channel)).payload, b"\0", "nothing before");
    peer.write(0x10, daemon, Kind::LUA, 0, &order("DEL", channel));
    let end = peer.read();
    assert_eq!((end.kind, end.session, end.payload), (Kind::LUA, 0, order("DELR", channel)));
    world.probe_asks(multicast, Publish(channel, Payload::new()));
    world.is_told(Err(CallError::Failed(Multicast::NO_CHANNEL)));
    world.end();
}

#[test]
fn services_of_ours_subscribe_and_publish_in_a_channel_of_another_node() {
    let (world, mut peer, multicast) = world();
    let (daemon, probe, channel) = (multicast.handle(), world.probe.handle(), Channel::from_id(0x302));
    world.probe_asks(multicast, Subscribe(channel));
    let asked = peer.read();
    assert_eq!((asked.kind, asked.dest, &asked.payload), (Kind::LUA, 0x10, &order("SUBR", channel)));
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\0");
    world.is_told(Ok(()));
    let (sender, second_heard) = channel_of_events();
    let second = world.node.spawn("second", Probe(sender)).expect("it starts");
    let join = Do(Box::new(move |_, ctx| {
        ctx.call(&multicast, Subscribe(channel), secs(20), |me: &mut Probe, _, joined| {
            me.tell(Heard::Event("joined", joined));
        });
    }));
    world.node.send(&second, join).expect("it lives");
    let second_hears = || second_heard.recv_timeout(secs(20)).expect("it is told");
    assert_eq!(second_hears(), Heard::Event("joined", Ok(())), "the owner need not be asked again");
    let singer = Handle::new(HarborId::new(3), 0x77);
    peer.write_as(singer, daemon, Kind::MULTICAST, channel.id(), b"\x1clua");
    for told in [world.heard(), second_hears()] {
        assert_eq!(told, heard(singer, channel, b"\x1clua"));
    }
    world.probe_asks(multicast, Publish(channel, Payload::from(b"\x24rust")));
    world.is_told(Ok(()));
    assert_eq!(peer.read(), published(probe, channel, b"\x24rust"), "the owner hands it to everybody");
    // One leaves, the other ends: with the last one the node leaves.
    world.probe_asks(multicast, Unsubscribe(channel));
    world.is_told(Ok(()));
    world.node.kill(second).expect("it lives");
    peer.write_as(singer, daemon, Kind::MULTICAST, channel.id(), b"\x24last");
    let left = peer.read();
    assert_eq!((left.kind, left.session, left.payload), (Kind::LUA, 0, order("USUBR", channel)));
    world.probe_asks(multicast, Delete(channel));
    world.is_told(Ok(()));
    assert_eq!(peer.read().payload, order("DEL", channel));
    // The owner says that it is gone; the end of a channel comes unasked too.
    world.probe_asks(multicast, Subscribe(channel));
    let asked = peer.read();
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\x09");
    world.is_told(Err(CallError::Failed(Multicast::NO_CHANNEL)));
    world.probe_asks(multicast, Subscribe(Channel::from_id(0x309)));
    world.is_told(Err(CallError::NoService));
    world.end();
}

fn channel_of_events() -> (std::sync::mpsc::Sender<Heard>, Receiver<Heard>) {
    channel()
}

/// One of our nodes with its multicast service and a subscriber.
struct Member {
    node: Node,
    multicast: Addr<Multicast>,
    probe: Addr<Probe>,
    heard: Receiver<Heard>,
}

impl Member {
    fn new(node: Node, center: Handle) -> Self {
        let multicast = spawn_multicast(&node, center);
        let (sender, heard) = channel();
        let probe = node.spawn("probe", Probe(sender)).expect("it starts");
        Self { node, multicast, probe, heard }
    }

    fn ask<R: Request<Reply = ()>>(&self, request: R) -> Result<(), CallError>
    where
        Multicast: Handler<R>,
    {
        let multicast = self.multicast;
        let ask = Do(Box::new(move |_, ctx: &mut Context<'_, Probe>| {
            ctx.call(&multicast, request, secs(20), |me: &mut Probe, _, result| {
                me.tell(Heard::Event("asked", result));
            });
        }));
        self.node.call_blocking(&self.probe, ask, secs(20)).expect("it lives");
        // What is published may come before the answer to who publishes it.
        let events = std::iter::from_fn(|| self.heard.recv_timeout(secs(20)).ok());
        let mut result = events.filter_map(|event| match event {
            Heard::Event("asked", result) => Some(result),
            _ => None,
        });
        result.next().expect("it is told")
    }

    fn hears(&self, count: usize) -> Vec<(Handle, Vec<u8>)> {
        let next = || match self.heard.recv_timeout(secs(20)).expect("it is published") {
            Heard::Message(Kind::MULTICAST, source, _, payload) => (source, payload),
            other => panic!("{other:?}"),
        };
        (0..count).map(|_| next()).collect()
    }
}

#[test]
fn a_channel_reaches_every_subscriber_of_three_nodes_in_the_order_of_its_publisher() {
    let world = World::new();
    let center = spawn_datacenter(&world.node);
    let join = |id: u8| {
        let config =
            Config::local().harbor(id).address("127.0.0.1:0").master(world.master.clone()).threads(1);
        Member::new(Node::start(config).expect("a slave starts"), center)
    };
    let members = [join(200), join(3)];
    let first = spawn_multicast(&world.node, center);
    let channel =
        members[0].node.call_blocking(&members[0].multicast, Create, secs(20)).expect("there is room");
    assert_eq!(channel.owner().get(), 200);
    world.probe_asks(first, Subscribe(channel));
    world.is_told(Ok(()));
    for member in &members {
        assert_eq!(member.ask(Subscribe(channel)), Ok(()));
    }
    let probe = world.probe.handle();
    world.does(move |_, ctx| {
        for number in 0..100 {
            ctx.send(&first, Publish(channel, Payload::from(&[number]))).expect("there is room");
        }
    });
    let expected: Vec<(Handle, Vec<u8>)> = (0..100).map(|number| (probe, vec![number])).collect();
    for member in &members {
        assert_eq!(member.hears(100), expected);
    }
    let own: Vec<Heard> = (0..100).map(|_| world.heard()).collect();
    assert_eq!(own.last(), Some(&heard(probe, channel, &[99])), "the publisher subscribed too");
    // An end that the third node asks for, of the second node's channel, which the first one hears of.
    assert_eq!(members[1].ask(Delete(channel)), Ok(()));
    loop {
        world.probe_asks(first, Subscribe(channel));
        match world.heard() {
            Heard::Answer(0, Err(CallError::Failed(Multicast::NO_CHANNEL))) => break,
            // It had not heard yet.
            Heard::Answer(0, Ok(_)) => std::thread::yield_now(),
            other => panic!("{other:?}"),
        }
    }
    for member in members {
        member.node.shutdown(secs(10)).expect("all threads end");
    }
    world.end();
}

#[test]
fn a_node_that_is_alone_has_channels_too() {
    let node = Node::start(Config::local().threads(1)).expect("it starts");
    let multicast = node.spawn("multicast", Multicast::default()).expect("it starts");
    let (sender, heard_here) = channel();
    let probe = node.spawn("probe", Probe(sender)).expect("it starts");
    let created = node.call_blocking(&multicast, Create, secs(20)).expect("there is room");
    let play = Do(Box::new(move |_, ctx| {
        ctx.send(&multicast, Subscribe(created)).expect("it lives");
        ctx.send(&multicast, Publish(created, Payload::from(b"1"))).expect("it lives");
        ctx.send(&multicast, Unsubscribe(created)).expect("it lives");
        ctx.send(&multicast, Publish(created, Payload::from(b"2"))).expect("it lives");
        ctx.send(&multicast, Subscribe(created)).expect("it lives");
        ctx.send(&multicast, Publish(created, Payload::from(b"3"))).expect("it lives");
    }));
    node.send(&probe, play).expect("it lives");
    for payload in [b"1", b"3"] {
        let told = heard_here.recv_timeout(secs(20)).expect("it is published");
        assert_eq!(told, heard(probe.handle(), created, payload));
    }
    let other = node.call_blocking(&multicast, Create, secs(20)).expect("there is room");
    assert_ne!(other, created);
    let elsewhere = Subscribe(Channel::from_id(9));
    let refused = node.call_blocking(&multicast, elsewhere, secs(20));
    assert!(matches!(refused, Err(CallError::NoName(_))), "{refused:?}");
    node.shutdown(secs(5)).expect("all threads end");
}

#[test]
fn those_who_subscribe_meanwhile_share_one_question_to_the_owner() {
    let (world, mut peer, multicast) = world();
    let (daemon, channel) = (multicast.handle(), Channel::from_id(0x302));
    let (sender, heard_by_second) = std::sync::mpsc::channel();
    let second = world.node.spawn("second", Probe(sender)).expect("it starts");
    world.probe_asks(multicast, Subscribe(channel));
    let asked = peer.read();
    asks(&world.node, second, multicast, Subscribe(channel));
    // The first one leaves as soon as it is in: that is not to cost the second its place.
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\0");
    world.is_told(Ok(()));
    world.probe_asks(multicast, Unsubscribe(channel));
    world.is_told(Ok(()));
    let second_is_told = || heard_by_second.recv_timeout(secs(20)).expect("it tells what it hears");
    assert_eq!(second_is_told(), Heard::Answer(0, Ok(Vec::new())));
    let singer = peer.service(0x77);
    peer.write_as(singer, daemon, Kind::MULTICAST, channel.id(), b"x");
    assert_eq!(second_is_told(), heard(singer, channel, b"x"));
    asks(&world.node, second, multicast, Unsubscribe(channel));
    assert_eq!(peer.read().payload, order("USUBR", channel), "with the last one only");
    world.end();
}

#[test]
fn a_subscription_that_is_taken_back_before_the_owner_answers_is_undone_there() {
    let (world, mut peer, multicast) = world();
    let channel = Channel::from_id(0x302);
    world.probe_asks(multicast, Subscribe(channel));
    let asked = peer.read();
    world.probe_asks(multicast, Unsubscribe(channel));
    world.is_told(Ok(()));
    world.is_told(Ok(()));
    peer.write(0x10, multicast.handle(), Kind::RESPONSE, asked.session, b"\0");
    assert_eq!(peer.read().payload, order("USUBR", channel));
    world.end();
}

#[test]
fn a_node_that_is_lost_subscribes_no_more_until_it_asks_again() {
    let (world, mut peer, multicast) = world();
    let (daemon, probe) = (multicast.handle(), world.probe.handle());
    let channel = world.node.call_blocking(&multicast, Create, secs(20)).expect("there is room");
    assert_eq!(peer.call(daemon, Kind::LUA, 5, &order("SUBR", channel)).payload, b"\0");
    peer.link_again();
    world.probe_asks(multicast, Publish(channel, Payload::from(b"missed")));
    world.is_told(Ok(()));
    assert_eq!(peer.call(daemon, Kind::LUA, 6, &order("SUBR", channel)).payload, b"\0", "nothing before");
    world.probe_asks(multicast, Publish(channel, Payload::from(b"heard")));
    world.is_told(Ok(()));
    assert_eq!(peer.read(), published(probe, channel, b"heard"));
    world.end();
}

#[test]
fn an_owner_that_comes_back_is_asked_again_for_its_subscribers() {
    let (world, mut peer, multicast) = world();
    let (daemon, channel) = (multicast.handle(), Channel::from_id(0x302));
    world.probe_asks(multicast, Subscribe(channel));
    let asked = peer.read();
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\0");
    world.is_told(Ok(()));
    // Back with its channels, after an accident of the link only.
    peer.link_again();
    let asked = peer.read();
    assert_eq!(asked.payload, order("SUBR", channel));
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\0");
    let singer = peer.service(0x77);
    peer.write_as(singer, daemon, Kind::MULTICAST, channel.id(), b"x");
    assert_eq!(world.heard(), heard(singer, channel, b"x"));
    // Lost again while it is asked, then back without its channels: whoever subscribes later has it asked.
    peer.link_again();
    assert_eq!(peer.read().payload, order("SUBR", channel));
    peer.link_again();
    let asked = peer.read();
    assert_eq!(asked.payload, order("SUBR", channel));
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\x09");
    let nowhere = order("SUBR", Channel::from_id(0x101));
    assert_eq!(peer.call(daemon, Kind::LUA, 5, &nowhere).payload, b"\x09", "it has read what came before");
    world.probe_asks(multicast, Subscribe(channel));
    let asked = peer.read();
    assert_eq!(asked.payload, order("SUBR", channel));
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\x09");
    world.is_told(Err(CallError::Failed(Multicast::NO_CHANNEL)));
    world.end();
}

#[test]
fn an_owner_that_comes_back_while_the_data_center_is_away_is_asked_when_that_is_back_too() {
    let (world, mut peer, multicast) = world();
    let (daemon, channel) = (multicast.handle(), Channel::from_id(0x302));
    world.probe_asks(multicast, Subscribe(channel));
    let asked = peer.read();
    peer.write(0x10, daemon, Kind::RESPONSE, asked.session, b"\0");
    world.is_told(Ok(()));
    let name: Name = "DATACENTER".parse().expect("a name");
    let away = world.node.query(name, secs(20)).expect("it is there");
    world.node.kill(away).expect("it lives");
    peer.link_again();
    // Whoever else asks for a channel of that node meanwhile hears that it cannot be found.
    world.probe_asks(multicast, Subscribe(Channel::from_id(0x402)));
    assert!(matches!(world.heard(), Heard::Answer(0, Err(_))));
    let center = world.node.spawn("datacenter", DataCenter::default()).expect("it starts");
    let handle = Value::Int(i64::from(peer.service(0x10).bits()));
    let update = lua(&[text("UPDATE"), text("multicast"), Value::Int(2), handle]);
    world.node.call_raw_blocking(center, Kind::LUA, update, secs(20)).expect("it answers");
    while world.node.register_global("DATACENTER", &center).is_err() {
        std::thread::yield_now();
    }
    assert_eq!(peer.read().payload, order("SUBR", channel));
    world.end();
}

/// Answers nothing.
struct Silent(Vec<Responder<Payload>>);
impl Service for Silent {
    fn message(&mut self, ctx: &mut Context<'_, Self>, _: Message) -> Disposition {
        self.0.push(ctx.defer_raw());
        Disposition::Handled
    }
}

#[test]
fn what_waits_for_a_search_is_bounded_in_bytes() {
    let node = Node::start(Config::local().threads(1)).expect("it starts");
    let silent = node.spawn("datacenter", Silent(Vec::new())).expect("it starts");
    node.register_global("DATACENTER", &silent).expect("it is free");
    let multicast = node.spawn("multicast", Multicast::default()).expect("it starts");
    let (sender, heard) = channel();
    let probe = node.spawn("probe", Probe(sender)).expect("it starts");
    let publish = |number: u32, len| {
        let channel = Channel::from_id(0x100 | number);
        asks(&node, probe, multicast, Publish(channel, Payload::from_vec(vec![7; len])));
    };
    let told = || heard.recv_timeout(secs(20)).expect("it is told");
    let refused = |reason| Heard::Answer(0, Err(reason));
    // For nodes 2 to 5 together; the first search fails, and then all that waited for it.
    for number in 2..=5 {
        publish(number, MULTICAST_WAITING_BYTES_MAX / 4);
    }
    for number in [2, 6] {
        publish(number, 1);
        assert_eq!(told(), refused(CallError::Full));
    }
    node.kill(silent).expect("it lives");
    for _ in 2..=5 {
        assert_eq!(told(), refused(CallError::Dropped));
    }
    node.shutdown(secs(5)).expect("all threads end");
}

#[test]
fn an_owner_that_knows_no_such_channel_is_not_looked_for_again() {
    let (world, mut peer, multicast) = world();
    let channel = Channel::from_id(0x302);
    for id in [0x11, 0x12] {
        world.probe_asks(multicast, Subscribe(channel));
        let asked = peer.read();
        assert_eq!(asked.dest, 0x10, "each search would leave a watch of its link behind");
        peer.write(0x10, multicast.handle(), Kind::RESPONSE, asked.session, b"\x09");
        world.is_told(Err(CallError::Failed(Multicast::NO_CHANNEL)));
        let handle = Value::Int(i64::from(peer.service(id).bits()));
        let update = lua(&[text("UPDATE"), text("multicast"), Value::Int(2), handle]);
        let center = world.node.query("DATACENTER".parse().expect("a name"), secs(20)).expect("it is there");
        assert_eq!(peer.call(center, Kind::LUA, 1, &update).kind, Kind::RESPONSE);
    }
    world.end();
}
