//! What messages of each type mean to a real Skynet node, which is the master here. Needs `SKYNET_DIR`, the folder of a
//! built Skynet; without it the test says that it skipped itself.

use serde::{Deserialize, Serialize};
use skyharbor::prelude::*;
use skyharbor::seri::{Value, pack, unpack};
use skyharbor::services::Multicast;
use skyharbor::services::multicast::{Channel, Create, Delete, Publish, Subscribe};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const PATIENCE: Duration = secs(20);

/// A real node, which ends with this value.
struct Skynet {
    process: Child,
    folder: tempfile::TempDir,
}

impl Skynet {
    /// Node 1 with the master at `master`, running `main.lua`.
    fn start(home: &Path, master: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let own = free_address();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/skynet_messages/?.lua");
        let (log, scripts) = (folder.path().join("log"), scripts.display().to_string());
        let config = format!(
            "thread = 2\nharbor = 1\naddress = '{own}'\nmaster = '{master}'\nstandalone = '{master}'\n\
             start = 'main'\nbootstrap = 'snlua bootstrap'\nlogger = '{}'\nlogservice = 'logger'\n\
             cpath = './cservice/?.so'\nluaservice = './service/?.lua;{scripts}'\n\
             lualoader = './lualib/loader.lua'\nlua_path = './lualib/?.lua;./lualib/?/init.lua'\n\
             lua_cpath = './luaclib/?.so'\n",
            log.display()
        );
        let file = folder.path().join("config");
        std::fs::write(&file, config).expect("the folder is ours");
        let process = Command::new(home.join("skynet"))
            .arg(&file)
            .current_dir(home)
            .spawn()
            .expect("SKYNET_DIR names a built Skynet");
        Self { process, folder }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Skynet {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").to_string()
}

#[derive(Serialize, Deserialize)]
struct Double(i64);
impl Request for Double {
    type Reply = i64;
}
impl Wire for Double {
    const NAME: &'static str = "double";
}

/// Tells the test what it hears, and answers one request.
struct Probe(Sender<(Kind, Handle, u32, Vec<Value>)>, Vec<Responder<Payload>>);
impl Service for Probe {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Double>();
    }

    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        let (kind, source, session) = (message.kind(), message.source(), message.session().bits());
        let values = unpack(message.bytes()).unwrap_or_default();
        self.0.send((kind, source, session, values)).expect("the test listens");
        self.1.push(ctx.defer_raw());
        Disposition::Handled
    }
}
impl Handler<Double> for Probe {
    fn handle(&mut self, double: Double, _: &mut Context<'_, Self>) -> Reply<i64> {
        Reply::Now(2 * double.0)
    }
}

struct Join(Addr<Multicast>, Channel);
impl Request for Join {
    type Reply = ();
}
impl Handler<Join> for Probe {
    fn handle(&mut self, join: Join, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (answer, later) = ctx.defer();
        ctx.call(&join.0, Subscribe(join.1), PATIENCE, move |_, ctx, joined| match joined {
            Ok(()) => answer.reply(ctx, ()),
            Err(reason) => answer.fail(ctx, reason),
        });
        later
    }
}

struct Sing(Addr<Multicast>, Channel, Payload);
impl Request for Sing {
    type Reply = ();
}
impl Handler<Sing> for Probe {
    fn handle(&mut self, Sing(multicast, channel, payload): Sing, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (answer, later) = ctx.defer();
        ctx.call(&multicast, Publish(channel, payload), PATIENCE, move |_, ctx, sung| match sung {
            Ok(()) => answer.reply(ctx, ()),
            Err(reason) => answer.fail(ctx, reason),
        });
        later
    }
}

fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

fn int(number: impl Into<i64>) -> Value {
    Value::Int(number.into())
}

/// The real node, node 2, and a probe on it.
struct World {
    skynet: Skynet,
    node: Node,
    lua: Handle,
    probe: Addr<Probe>,
    heard: Receiver<(Kind, Handle, u32, Vec<Value>)>,
}

impl World {
    fn new(home: &Path) -> Self {
        let master = free_address();
        let skynet = Skynet::start(home, &master);
        let config = Config::local().harbor(2).address("127.0.0.1:0").master(master).threads(1);
        let node = Node::start(config).expect("it starts");
        let lua = node.query("SEMANTICS".parse().expect("a name"), PATIENCE);
        let lua = lua.unwrap_or_else(|reason| panic!("{reason}: {}", skynet.log()));
        let (sender, heard) = channel();
        let probe = node.spawn("probe", Probe(sender, Vec::new())).expect("it starts");
        Self { skynet, node, lua, probe, heard }
    }

    fn lua(&self, values: &[Value]) -> Result<Vec<Value>, CallError> {
        let request = pack(values).expect("they can be packed");
        let answer = self.node.call_raw_blocking(self.lua, Kind::LUA, request, PATIENCE)?;
        Ok(unpack(&answer).expect("packed values"))
    }

    /// The first thing that the Lua service heard in its channels: its source and its values.
    fn lua_heard(&self) -> (i64, Vec<Value>) {
        for _ in 0..2_000 {
            let all = self.lua(&[text("heard")]).expect("it lives");
            let Some(Value::Table(list)) = all.first() else { panic!("{all:?}") };
            if let Some(Value::Table(one)) = list.array.first() {
                let source = one.array[0].as_int().expect("a handle");
                return (source, one.array[1..].to_vec());
            }
        }
        panic!("nothing came: {}", self.skynet.log());
    }

    fn heard(&self) -> (Kind, Handle, u32, Vec<Value>) {
        let heard = self.heard.recv_timeout(PATIENCE);
        heard.unwrap_or_else(|_| panic!("nothing came: {}", self.skynet.log()))
    }
}

fn home() -> Option<PathBuf> {
    let home = std::env::var_os("SKYNET_DIR").map(PathBuf::from);
    if home.is_none() {
        eprintln!("skipped: SKYNET_DIR names no built Skynet");
    }
    home
}

#[test]
fn channels_of_both_kinds_join_services_of_both_kinds() {
    let Some(home) = home() else { return };
    let world = World::new(&home);
    let (node, probe) = (&world.node, world.probe);
    let options = Spawn::new().local_name(".multicastd");
    let multicast = node.spawn_with("multicast", options, Multicast::default).expect("it starts");
    let payload = || Payload::from(pack(&[text("from rust"), int(7)]).expect("they can be packed"));
    // A channel of the real node.
    let opened = world.lua(&[text("open")]).expect("it lives");
    let theirs = Channel::from_id(opened[0].as_int().expect("a channel") as u32);
    assert_eq!(theirs.owner().get(), 1);
    node.call_blocking(&probe, Join(multicast, theirs), PATIENCE).expect("the channel is there");
    node.call_blocking(&probe, Sing(multicast, theirs, payload()), PATIENCE).expect("it is sent");
    let from_us = (i64::from(probe.handle().bits()), vec![text("from rust"), int(7)]);
    assert_eq!(world.lua_heard(), from_us, "the publisher is the source");
    let echo = (Kind::MULTICAST, probe.handle(), theirs.id(), from_us.1.clone());
    assert_eq!(world.heard(), echo);
    world.lua(&[text("publish"), int(theirs.id()), text("from lua")]).expect("it lives");
    assert_eq!(world.heard(), (Kind::MULTICAST, world.lua, theirs.id(), vec![text("from lua")]));
    assert_eq!(world.lua_heard(), (i64::from(world.lua.bits()), vec![text("from lua")]));
    // A channel of ours.
    let ours = node.call_blocking(&multicast, Create, PATIENCE).expect("there is room");
    node.call_blocking(&probe, Join(multicast, ours), PATIENCE).expect("it is there");
    world.lua(&[text("open"), int(ours.id())]).expect("it lives");
    world.lua(&[text("publish"), int(ours.id()), text("again")]).expect("it lives");
    assert_eq!(world.heard(), (Kind::MULTICAST, world.lua, ours.id(), vec![text("again")]));
    assert_eq!(world.lua_heard(), (i64::from(world.lua.bits()), vec![text("again")]));
    node.call_blocking(&probe, Sing(multicast, ours, payload()), PATIENCE).expect("it is there");
    assert_eq!(world.lua_heard(), from_us);
    assert_eq!(world.heard(), (Kind::MULTICAST, probe.handle(), ours.id(), from_us.1));
    world.lua(&[text("leave"), int(ours.id())]).expect("it lives");
    node.call_blocking(&multicast, Delete(ours), PATIENCE).expect("it lives");
    let gone = node.call_blocking(&probe, Join(multicast, ours), PATIENCE);
    assert_eq!(gone, Err(CallError::Failed(Multicast::NO_CHANNEL)));
    world.node.shutdown(secs(10)).expect("all threads end");
    let log = world.skynet.log();
    let complaints: Vec<&str> =
        log.lines().filter(|line| line.contains("Unknown") || line.contains("stack traceback")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn debug_trace_and_the_end_of_a_lua_service() {
    let Some(home) = home() else { return };
    let world = World::new(&home);
    let probe = int(world.probe.handle().bits());
    let debug =
        |what: &str| world.lua(&[text("debug"), probe.clone(), text(what)]).map(|told| told[0].clone());
    assert_eq!(debug("PING"), Ok(Value::Bool(true)));
    assert_eq!(debug("RUN"), Ok(Value::Bool(false)), "refused, and the caller does not wait for ever");
    let doubled = world.lua(&[text("traced"), probe.clone(), text("double"), int(21)]);
    assert_eq!(doubled, Ok(vec![int(42)]));
    let (kind, source, session, _) = world.heard();
    assert_eq!((kind, source, session), (Kind::TRACE, world.lua, 0));
    assert!(world.lua(&[text("wait_for"), probe]).is_ok());
    assert_eq!(world.heard().0, Kind::TEXT, "it waits for the probe");
    // It ends: whoever waits for it hears of that.
    let request = |name: &str| pack(&[text(name)]).expect("it can be packed");
    std::thread::scope(|scope| {
        let call = || world.node.call_raw_blocking(world.lua, Kind::LUA, request("hang"), NEVER);
        let hanging = scope.spawn(call);
        let died = world.node.call_raw_blocking(world.lua, Kind::LUA, request("die"), NEVER);
        assert!(died.is_err(), "{died:?}");
        assert!(hanging.join().expect("no panic").is_err());
    });
    world.node.shutdown(secs(10)).expect("all threads end");
}
