//! Channels of real nodes and of ours: everybody publishes, everybody hears everybody, in order.

use crate::process::PATIENCE;
use crate::program::until;
use crate::world::{Library, Sort, World};
use skyharbor::prelude::*;
use skyharbor::seri::{Value, pack, unpack};
use skyharbor::services::Multicast;
use skyharbor::services::multicast::{Channel, Create, Publish, Subscribe};
use std::collections::BTreeMap;

/// What each publishes.
const MESSAGES: i64 = 2000;
/// After so many a publisher waits until its witness has heard them. A real node complains of queues of 1,024 messages.
const WINDOW: i64 = 50;

/// Publishes and hears.
struct Voice {
    multicast: Addr<Multicast>,
    channel: Channel,
    /// A subscriber of a node that does not own the channel.
    witness: Handle,
    /// By publisher: how many, how many out of order.
    heard: BTreeMap<u32, (i64, i64)>,
}

impl Service for Voice {
    fn message(&mut self, _: &mut Context<'_, Self>, message: Message) -> Disposition {
        if Channel::of(&message) != Some(self.channel) {
            return Disposition::Unhandled;
        }
        let values = unpack(message.bytes()).unwrap();
        let (count, wrong) = self.heard.entry(message.source().bits()).or_default();
        *count += 1;
        *wrong += i64::from(values != [Value::Int(*count)]);
        Disposition::Handled
    }
}

/// Subscribes.
struct Listen;
impl Request for Listen {
    type Reply = ();
}
impl Handler<Listen> for Voice {
    fn handle(&mut self, _: Listen, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (answer, later) = ctx.defer();
        let multicast = self.multicast;
        ctx.call(&multicast, Subscribe(self.channel), PATIENCE, |_, ctx, done| match done {
            Ok(()) => answer.reply(ctx, ()),
            Err(reason) => answer.fail(ctx, reason),
        });
        later
    }
}

/// Publishes all numbers.
struct Speak;
impl Request for Speak {
    type Reply = ();
}
impl Handler<Speak> for Voice {
    fn handle(&mut self, _: Speak, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (answer, later) = ctx.defer();
        publish(self, ctx, 1, answer);
        later
    }
}

fn publish(voice: &Voice, ctx: &mut Context<'_, Voice>, number: i64, answer: Responder<()>) {
    let payload = Payload::from(pack(&[Value::Int(number)]).unwrap());
    let multicast = voice.multicast;
    ctx.call(&multicast, Publish(voice.channel, payload), PATIENCE, move |voice, ctx, done| match done {
        Ok(()) if number % WINDOW == 0 => wait_for_witness(voice, ctx, number, answer),
        Ok(()) => publish(voice, ctx, number + 1, answer),
        Err(reason) => answer.fail(ctx, reason),
    });
}

/// Goes on when the witness has heard everything.
fn wait_for_witness(voice: &Voice, ctx: &mut Context<'_, Voice>, number: i64, answer: Responder<()>) {
    let tag = format!("channel{}", voice.channel.id());
    let noted = pack(&["noted".into(), tag.as_str().into()]).unwrap();
    ctx.call_raw(voice.witness, Kind::LUA, noted, PATIENCE, move |voice, ctx, noted| {
        let noted = noted.map(|noted| unpack(&noted).unwrap()[0].as_int().unwrap());
        match noted {
            Ok(heard) if heard < number => wait_for_witness(voice, ctx, number, answer),
            Ok(_) if number < MESSAGES => publish(voice, ctx, number + 1, answer),
            Ok(_) => answer.reply(ctx, ()),
            Err(reason) => answer.fail(ctx, reason),
        }
    });
}

/// What was heard from this publisher.
struct Heard(Handle);
impl Request for Heard {
    type Reply = (i64, i64);
}
impl Handler<Heard> for Voice {
    fn handle(&mut self, heard: Heard, _: &mut Context<'_, Self>) -> Reply<(i64, i64)> {
        Reply::Now(self.heard.get(&heard.0.bits()).copied().unwrap_or_default())
    }
}

fn multicast_of(library: &Library) -> Addr<Multicast> {
    let options = Spawn::new().local_name(".multicastd");
    library.node.spawn_with("multicast", options, Multicast::default).unwrap()
}

fn voice_of(library: &Library, multicast: Addr<Multicast>, channel: Channel, witness: Handle) -> Addr<Voice> {
    let voice = Voice { multicast, channel, witness, heard: BTreeMap::new() };
    let voice = library.node.spawn("voice", voice).unwrap();
    library.node.call_blocking(&voice, Listen, PATIENCE).unwrap();
    voice
}

const _: () = assert!(MESSAGES % WINDOW == 0);

/// Two real nodes and two of ours on a channel of either.
fn all_hear_all(master: Sort) {
    let Some(world) = World::found() else { return };
    let _master = world.first(master, 9);
    let (lua, other_lua) = (world.real(1), world.real(2));
    let (rust, other_rust) = (world.library(3), world.library(4));
    let (multicast, other_multicast) = (multicast_of(&rust), multicast_of(&other_rust));
    let of_lua: u32 = lua.ask("channel").unwrap().parse().unwrap();
    let of_rust = rust.node.call_blocking(&multicast, Create, PATIENCE).unwrap();
    let witness = other_lua.handle();
    for channel in [Channel::from_id(of_lua), of_rust] {
        let id = channel.id();
        let voices = [
            (&rust, voice_of(&rust, multicast, channel, witness)),
            (&other_rust, voice_of(&other_rust, other_multicast, channel, witness)),
        ];
        let reals = [&lua, &other_lua];
        for real in reals {
            assert_eq!(real.ask(&format!("subscribe {id}")).as_deref(), Ok("subscribed"));
        }
        for real in reals {
            let publish = format!("publish {id} {MESSAGES} {WINDOW} {witness}");
            assert_eq!(real.ask(&publish).as_deref(), Ok("published"));
        }
        for (library, voice) in voices {
            library.node.call_blocking(&voice, Speak, PATIENCE).unwrap();
        }
        let publishers = [lua.handle(), other_lua.handle(), voices[0].1.handle(), voices[1].1.handle()];
        for publisher in publishers {
            for (library, voice) in voices {
                let heard = || library.node.call_blocking(&voice, Heard(publisher), PATIENCE).unwrap();
                until("all of it was heard", || heard().0 == MESSAGES);
                assert_eq!(heard(), (MESSAGES, 0), "{voice:?} hears {publisher} on {id:x}");
            }
            for real in reals {
                let heard = || real.ask(&format!("heard {id} {publisher}")).unwrap();
                until("all of it was heard", || heard().starts_with(&format!("{MESSAGES} ")));
                assert_eq!(heard(), format!("{MESSAGES} 0"), "{} hears {publisher} on {id:x}", real.name());
            }
        }
    }
    world.assert_healthy();
}

#[test]
fn all_hear_all_under_a_real_master() {
    all_hear_all(Sort::Real);
}

#[test]
fn all_hear_all_under_our_master() {
    all_hear_all(Sort::Library);
}
