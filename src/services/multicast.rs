//! Channels: what one service publishes, every subscriber gets, on any node. Speaks with Skynet's `multicastd`.
//!
//! ```text
//!  channel id   23-bit number │ 8-bit harbor id of its owner          31 bits; the session of its messages
//!
//!  publisher ─ Publish ─► Multicast of its node
//!      own channel       ─► subscribers of this node
//!                        ─► Multicast (or multicastd) of each node that subscribed ─► its subscribers
//!      another's channel ─► Multicast of the owner, as if published there
//! ```
//!
//! All of these are MULTICAST messages with the publisher as source and the channel as session; the payload is bytes, which
//! Lua takes for packed values. A node subscribes at the owner once, however many of its services do (`SUBR`, `USUBR`),
//! and is told of the end of a channel (`DELR`). Nodes find each other's service through Skynet's data center, under the
//! keys `"multicast", harbor id`; a node that is alone needs none.
//!
//! Messages of one publisher to one channel arrive in order. A subscriber whose mailbox is full misses the message; one that
//! ended is forgotten. A channel that ended is silent: nobody is told, as in Skynet.

use super::watch::{Watched, Watches, watch};
use crate::limits::{
    MULTICAST_CHANNELS_MAX, MULTICAST_SUBSCRIBERS_MAX, MULTICAST_TIME_MAX, MULTICAST_WAITING_MAX,
};
use crate::message::{CallError, Handle, HarborId, Kind, Name, Payload, SendReason, Session};
use crate::runtime::{
    Context, Disposition, Handler, Message, Reply, Request, Responder, Service, StartError,
};
use crate::seri::{self, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// A channel, as a number that any service of the cluster may be told (Lua: `multicast.new { channel = id }`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(u32);

impl Channel {
    /// The channel with this id; the top bit is dropped, as Skynet does.
    pub const fn from_id(id: u32) -> Self {
        Self(id & Session::MAX.bits())
    }

    /// Its id.
    pub const fn id(self) -> u32 {
        self.0
    }

    /// The node that made it.
    pub const fn owner(self) -> HarborId {
        HarborId::new(self.0 as u8)
    }

    /// The channel through which this message came, if it came through one. Its source is the publisher.
    pub fn of(message: &Message) -> Option<Self> {
        (message.kind() == Kind::MULTICAST).then(|| Self::from_id(message.session().bits()))
    }

    const fn next(self) -> Self {
        Self::from_id(self.0.wrapping_add(1 << 8))
    }

    const fn session(self) -> Session {
        Session::from_bits(self.0)
    }
}

/// Makes a channel of this node.
#[derive(Clone, Copy, Debug)]
pub struct Create;

/// Ends a channel, of any node. Its subscribers are not told.
#[derive(Clone, Copy, Debug)]
pub struct Delete(pub Channel);

/// The service that asks gets from now on what is published, as raw messages of type [`Kind::MULTICAST`].
#[derive(Clone, Copy, Debug)]
pub struct Subscribe(pub Channel);

/// The service that asks gets nothing more, but for what is on its way.
#[derive(Clone, Copy, Debug)]
pub struct Unsubscribe(pub Channel);

/// Sends bytes to all subscribers, with the service that asks as their source.
#[derive(Clone, Debug)]
pub struct Publish(pub Channel, pub Payload);

impl Request for Create {
    type Reply = Channel;
}
impl Request for Delete {
    type Reply = ();
}
impl Request for Subscribe {
    type Reply = ();
}
impl Request for Unsubscribe {
    type Reply = ();
}
impl Request for Publish {
    type Reply = ();
}

/// The channels of one node; spawn one on each node that publishes or subscribes.
///
/// ```
/// use skyharbor::prelude::*;
/// use skyharbor::services::Multicast;
/// use skyharbor::services::multicast::{Create, Publish};
/// let node = Node::start(Config::local().threads(1))?;
/// let options = Spawn::new().local_name(".multicastd");
/// let multicast = node.spawn_with("multicast", options, Multicast::default)?;
/// let channel = node.call_blocking(&multicast, Create, secs(1))?;
/// node.call_blocking(&multicast, Publish(channel, Payload::from(b"nobody listens yet")), secs(1))?;
/// # Ok::<(), skyharbor::Error>(())
/// ```
///
/// | error | why |
/// |---|---|
/// | [`CallError::Failed`] with [`Multicast::NO_CHANNEL`] | its owner knows no such channel |
/// | [`CallError::NoService`] | its owner's node has no multicast service |
/// | [`CallError::Full`] | [`MULTICAST_CHANNELS_MAX`], [`MULTICAST_SUBSCRIBERS_MAX`] or [`MULTICAST_WAITING_MAX`] is reached |
#[derive(Debug, Default)]
pub struct Multicast {
    own: HarborId,
    /// The channel that is made next, if nobody has it.
    next: Option<Channel>,
    /// Channels of this node, and those of others that have subscribers here.
    groups: HashMap<Channel, Group>,
    /// Who waits for the owner of a channel that has no subscribers here yet.
    joining: HashMap<Channel, Vec<(Handle, Responder<()>)>>,
    daemons: HashMap<HarborId, Daemon>,
    watched: Watched,
}

/// Who gets what is published in a channel.
#[derive(Debug, Default)]
struct Group {
    here: BTreeSet<Handle>,
    /// Nodes that subscribed, with their multicast services. Empty for a channel of another node.
    away: BTreeMap<HarborId, Handle>,
}

/// The multicast service of another node.
#[derive(Debug)]
enum Daemon {
    Known(Handle),
    /// The data center was asked; this is done when it answers, in order.
    Asked(Vec<Errand>),
}

/// What the multicast service of another node is wanted for.
#[derive(Debug)]
enum Errand {
    Publish(Channel, Handle, Payload, Responder<()>),
    /// For all that are joining.
    Subscribe(Channel),
    Tell(&'static str, Channel),
}

impl Multicast {
    /// The channel does not exist.
    pub const NO_CHANNEL: u32 = 1;

    const DATACENTER: &'static [u8] = b"DATACENTER";
    const KEY: &'static str = "multicast";
    const RETRY_TIME: Duration = Duration::from_secs(1);

    // The data center.

    /// Tells the data center where this service is, until it has heard.
    fn announce(&mut self, ctx: &mut Context<'_, Self>) {
        let (own, handle) = (self.own, ctx.handle());
        let values = [text("UPDATE"), text(Self::KEY), number(own.get()), number(handle.bits())];
        ask_datacenter(ctx, &values, |_, ctx, answer| {
            if answer.is_err() {
                // Without room for a timer nobody finds this service; channels of this node work.
                let _ = ctx.after(Self::RETRY_TIME, Self::announce);
            }
        });
    }

    /// Does something with the multicast service of another node, which may have to be looked for first.
    fn run_errand(&mut self, ctx: &mut Context<'_, Self>, node: HarborId, errand: Errand) {
        match self.daemons.get_mut(&node) {
            Some(Daemon::Known(daemon)) => {
                let daemon = *daemon;
                self.perform(ctx, daemon, errand);
            }
            Some(Daemon::Asked(errands)) if errands.len() < MULTICAST_WAITING_MAX => errands.push(errand),
            Some(Daemon::Asked(_)) => self.fail(ctx, errand, CallError::Full),
            None => {
                self.daemons.insert(node, Daemon::Asked(vec![errand]));
                let values = [text("QUERY"), text(Self::KEY), number(node.get())];
                ask_datacenter(ctx, &values, move |me, ctx, answer| me.found(ctx, node, answer));
            }
        }
    }

    fn found(&mut self, ctx: &mut Context<'_, Self>, node: HarborId, answer: Result<Value, CallError>) {
        let Some(Daemon::Asked(errands)) = self.daemons.remove(&node) else { return };
        let daemon = answer.and_then(|value| {
            handle_in(&value).filter(|daemon| daemon.harbor() == node).ok_or(CallError::NoService)
        });
        match daemon {
            Ok(daemon) => {
                self.daemons.insert(node, Daemon::Known(daemon));
                errands.into_iter().for_each(|errand| self.perform(ctx, daemon, errand));
                watch(self, ctx, daemon);
            }
            Err(reason) => errands.into_iter().for_each(|errand| self.fail(ctx, errand, reason)),
        }
    }

    fn perform(&mut self, ctx: &mut Context<'_, Self>, daemon: Handle, errand: Errand) {
        match errand {
            Errand::Publish(channel, source, payload, answer) => {
                match ctx.redirect(daemon, source, Kind::MULTICAST, channel.session(), payload) {
                    Ok(()) => answer.reply(ctx, ()),
                    Err(refused) => answer.fail(ctx, refused.reason.into()),
                }
            }
            Errand::Tell(command, channel) => {
                // A node that cannot be told has lost its subscriptions, or finds the channel gone.
                let _ = ctx.send_raw(daemon, Kind::LUA, Session::NONE, packed(&order(command, channel)));
            }
            Errand::Subscribe(channel) => {
                let order = packed(&order("SUBR", channel));
                ctx.call_raw(daemon, Kind::LUA, order, MULTICAST_TIME_MAX, move |me, ctx, result| {
                    if result.is_err() {
                        me.daemons.remove(&channel.owner());
                    }
                    me.joined(ctx, channel, result.and_then(|payload| first_value(&payload)));
                });
            }
        }
    }

    /// The owner answered: true if there is no such channel, nothing if this node subscribed.
    fn joined(&mut self, ctx: &mut Context<'_, Self>, channel: Channel, answer: Result<Value, CallError>) {
        let answer = match answer {
            Ok(Value::Bool(true)) => Err(CallError::Failed(Self::NO_CHANNEL)),
            other => other.map(drop),
        };
        for (subscriber, waiter) in self.joining.remove(&channel).unwrap_or_default() {
            match answer.and_then(|()| self.enter(channel, subscriber)) {
                Ok(()) => waiter.reply(ctx, ()),
                Err(reason) => waiter.fail(ctx, reason),
            }
        }
        // Whoever wanted it has changed its mind.
        if answer.is_ok() && !self.groups.contains_key(&channel) {
            self.run_errand(ctx, channel.owner(), Errand::Tell("USUBR", channel));
        }
    }

    fn fail(&mut self, ctx: &mut Context<'_, Self>, errand: Errand, reason: CallError) {
        match errand {
            Errand::Publish(.., answer) => answer.fail(ctx, reason),
            Errand::Subscribe(channel) => self.joined(ctx, channel, Err(reason)),
            Errand::Tell(..) => {}
        }
    }

    // Channels.

    fn create(&mut self) -> Result<Channel, CallError> {
        let Some(mut channel) = self.next else { return Err(CallError::Denied) };
        if self.groups.len() >= MULTICAST_CHANNELS_MAX {
            return Err(CallError::Full);
        }
        // There are more ids than channels.
        while self.groups.contains_key(&channel) {
            channel = channel.next();
        }
        self.next = Some(channel.next());
        self.groups.insert(channel, Group::default());
        Ok(channel)
    }

    /// Lets a service of this node have what is published.
    fn enter(&mut self, channel: Channel, subscriber: Handle) -> Result<(), CallError> {
        let is_new = !self.groups.contains_key(&channel);
        if is_new && channel.owner() == self.own {
            return Err(CallError::Failed(Self::NO_CHANNEL));
        }
        if is_new && self.groups.len() >= MULTICAST_CHANNELS_MAX {
            return Err(CallError::Full);
        }
        let here = &mut self.groups.entry(channel).or_default().here;
        if here.len() >= MULTICAST_SUBSCRIBERS_MAX && !here.contains(&subscriber) {
            return Err(CallError::Full);
        }
        here.insert(subscriber);
        Ok(())
    }

    /// Lets a service of this node have what is published, once the channel's owner has agreed. One question for all who
    /// come meanwhile: the end of one subscription never undoes another that the owner has answered already.
    fn join(
        &mut self,
        ctx: &mut Context<'_, Self>,
        channel: Channel,
        subscriber: Handle,
        answer: Responder<()>,
    ) {
        if let Some(waiters) = self.joining.get_mut(&channel) {
            return match waiters.len() < MULTICAST_WAITING_MAX {
                true => waiters.push((subscriber, answer)),
                false => answer.fail(ctx, CallError::Full),
            };
        }
        self.joining.insert(channel, vec![(subscriber, answer)]);
        self.run_errand(ctx, channel.owner(), Errand::Subscribe(channel));
    }

    fn unsubscribe(&mut self, ctx: &mut Context<'_, Self>, channel: Channel, subscriber: Handle) {
        let leaving = self.joining.get_mut(&channel).into_iter();
        let leaving = leaving.flat_map(|waiters| waiters.extract_if(.., |(waiter, _)| *waiter == subscriber));
        leaving.for_each(|(_, answer)| answer.reply(ctx, ()));
        let Some(group) = self.groups.get_mut(&channel) else { return };
        group.here.remove(&subscriber);
        if group.here.is_empty() && channel.owner() != self.own {
            self.groups.remove(&channel);
            self.run_errand(ctx, channel.owner(), Errand::Tell("USUBR", channel));
        }
    }

    fn delete(&mut self, ctx: &mut Context<'_, Self>, channel: Channel) {
        if channel.owner() != self.own {
            return self.run_errand(ctx, channel.owner(), Errand::Tell("DEL", channel));
        }
        let away = self.groups.remove(&channel).unwrap_or_default().away;
        for daemon in away.into_values() {
            self.perform(ctx, daemon, Errand::Tell("DELR", channel));
        }
    }

    /// Hands a message to everybody who subscribed; whether the channel is known here.
    fn spread(
        &mut self,
        ctx: &mut Context<'_, Self>,
        channel: Channel,
        source: Handle,
        bytes: &Payload,
    ) -> bool {
        let Some(group) = self.groups.get_mut(&channel) else { return false };
        let mut send = |to| ctx.redirect(to, source, Kind::MULTICAST, channel.session(), bytes.clone());
        for daemon in group.away.values() {
            // A node that is down misses it, as a full mailbox does; the harbor counts it.
            let _ = send(*daemon);
        }
        let mut ended = Vec::new();
        for subscriber in &group.here {
            if send(*subscriber).is_err_and(|refused| refused.reason == SendReason::Unknown) {
                ended.push(*subscriber);
            }
        }
        for subscriber in ended {
            self.unsubscribe(ctx, channel, subscriber);
        }
        true
    }

    // Other nodes.

    /// A command of another node's multicast service.
    fn obey(&mut self, ctx: &mut Context<'_, Self>, message: &Message) -> Option<Disposition> {
        let source = message.source();
        let values = seri::unpack(message.bytes()).ok()?;
        let [command, channel, ..] = &values[..] else { return None };
        let channel = Channel::from_id(u32::try_from(channel.as_int()?).ok()?);
        let is_own = channel.owner() == self.own;
        match command.as_bytes()? {
            b"SUBR" if source.is_remote(self.own) && is_own => {
                let group = self.groups.get_mut(&channel);
                let is_missing = group.is_none();
                if let Some(group) = group {
                    group.away.insert(source.harbor(), source);
                }
                ctx.reply(packed(&[if is_missing { Value::Bool(true) } else { Value::Nil }]));
            }
            b"USUBR" if is_own => {
                if let Some(group) = self.groups.get_mut(&channel) {
                    group.away.remove(&source.harbor());
                }
            }
            b"DEL" if is_own => self.delete(ctx, channel),
            b"DELR" if !is_own && source.harbor() == channel.owner() => drop(self.groups.remove(&channel)),
            _ => return None,
        }
        Some(Disposition::Handled)
    }
}

impl Watches for Multicast {
    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    /// Its next life has another multicast service.
    fn handle_lost(&mut self, harbor: HarborId) {
        self.daemons.retain(|node, daemon| *node != harbor || matches!(daemon, Daemon::Asked(_)));
    }
}

impl Service for Multicast {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        self.own = ctx.harbor();
        // Another incarnation of the node begins elsewhere: who still has one of its channels finds none.
        let first = Channel::from_id(ctx.handle().local() << 8 | u32::from(self.own.get()));
        self.next = Some(first);
        if !self.own.is_single() {
            self.announce(ctx);
        }
        Ok(())
    }

    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        match message.kind() {
            Kind::LUA => self.obey(ctx, &message).unwrap_or(Disposition::Unhandled),
            Kind::MULTICAST => {
                let (channel, source) = (Channel::from_id(message.session().bits()), message.source());
                self.spread(ctx, channel, source, &message.into_payload());
                Disposition::Handled
            }
            _ => Disposition::Unhandled,
        }
    }
}

impl Handler<Create> for Multicast {
    fn handle(&mut self, _: Create, _: &mut Context<'_, Self>) -> Reply<Channel> {
        self.create().map_or_else(Reply::Fail, Reply::Now)
    }
}

impl Handler<Delete> for Multicast {
    fn handle(&mut self, delete: Delete, ctx: &mut Context<'_, Self>) -> Reply<()> {
        self.delete(ctx, delete.0);
        Reply::Now(())
    }
}

impl Handler<Subscribe> for Multicast {
    fn handle(&mut self, subscribe: Subscribe, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let (channel, subscriber) = (subscribe.0, ctx.source());
        if channel.owner() == self.own || self.groups.contains_key(&channel) {
            return self.enter(channel, subscriber).map_or_else(Reply::Fail, Reply::Now);
        }
        let (answer, later) = ctx.defer();
        self.join(ctx, channel, subscriber, answer);
        later
    }
}

impl Handler<Unsubscribe> for Multicast {
    fn handle(&mut self, unsubscribe: Unsubscribe, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let subscriber = ctx.source();
        self.unsubscribe(ctx, unsubscribe.0, subscriber);
        Reply::Now(())
    }
}

impl Handler<Publish> for Multicast {
    fn handle(&mut self, Publish(channel, payload): Publish, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let source = ctx.source();
        if channel.owner() == self.own {
            return match self.spread(ctx, channel, source, &payload) {
                true => Reply::Now(()),
                false => Reply::Fail(CallError::Failed(Self::NO_CHANNEL)),
            };
        }
        let (answer, later) = ctx.defer();
        self.run_errand(ctx, channel.owner(), Errand::Publish(channel, source, payload, answer));
        later
    }
}

/// Calls Skynet's data center; the answer's first value.
fn ask_datacenter(
    ctx: &mut Context<'_, Multicast>,
    values: &[Value],
    then: impl FnOnce(&mut Multicast, &mut Context<'_, Multicast>, Result<Value, CallError>) + Send + 'static,
) {
    let datacenter = Name::new(Multicast::DATACENTER).expect("a name by the rules");
    ctx.call_raw(datacenter, Kind::LUA, packed(values), MULTICAST_TIME_MAX, |me, ctx, result| {
        then(me, ctx, result.and_then(|payload| first_value(&payload)));
    });
}

fn first_value(payload: &[u8]) -> Result<Value, CallError> {
    Ok(seri::unpack(payload)?.into_iter().next().unwrap_or_default())
}

fn handle_in(value: &Value) -> Option<Handle> {
    let bits = u32::try_from(value.as_int()?).ok()?;
    (bits != 0).then(|| Handle::from_bits(bits))
}

fn order(command: &str, channel: Channel) -> [Value; 2] {
    [text(command), number(channel.id())]
}

fn text(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

fn number(number: impl Into<i64>) -> Value {
    Value::Int(number.into())
}

fn packed(values: &[Value]) -> Payload {
    Payload::from(seri::pack(values).expect("a few flat values"))
}
