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
//!
//! A node whose link is lost is no subscriber any more, until it asks again. So when the owner of a channel is lost and the
//! link to it comes back within [`MULTICAST_RETURN_TIME_MAX`], this node asks it again for its subscribers here; if the
//! owner does not know the channel any more, or stays away, the channel has ended.

mod groups;

use self::groups::{Groups, Refusal};
use super::watch::{Watched, Watches, watch};
use crate::limits::{
    MULTICAST_RETURN_TIME_MAX, MULTICAST_TIME_MAX, MULTICAST_WAITING_BYTES_MAX, MULTICAST_WAITING_MAX,
};
use crate::message::{
    CallError, Handle, HarborAnswer, HarborId, HarborRequest, Kind, Name, Payload, SendReason, Session,
};
use crate::runtime::{
    Context, Disposition, Handler, Message, Reply, Request, Responder, Service, StartError,
};
use crate::seri::{self, Value};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
/// | [`CallError::Full`] | [`MULTICAST_CHANNELS_MAX`](crate::limits::MULTICAST_CHANNELS_MAX), [`MULTICAST_SUBSCRIBERS_MAX`](crate::limits::MULTICAST_SUBSCRIBERS_MAX), [`MULTICAST_SUBSCRIPTIONS_MAX`](crate::limits::MULTICAST_SUBSCRIPTIONS_MAX), [`MULTICAST_WAITING_MAX`] or [`MULTICAST_WAITING_BYTES_MAX`] is reached |
#[derive(Debug, Default)]
pub struct Multicast {
    own: HarborId,
    /// The channel that is made next, if nobody has it.
    next: Option<Channel>,
    /// Channels of this node, and those of others that have subscribers here.
    groups: Groups,
    /// The owner of each of these channels was asked for it: who waits for the answer. Nobody, if they left meanwhile, or if
    /// the owner was lost and is asked again.
    joining: HashMap<Channel, Vec<(Handle, Responder<()>)>>,
    /// Those who wait there, all together.
    joiners: usize,
    daemons: HashMap<HarborId, Daemon>,
    /// Bytes of what waits to be published.
    waiting_bytes: usize,
    watched: Watched,
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

impl Errand {
    /// Bytes that it holds while it waits.
    fn bytes(&self) -> usize {
        match self {
            Self::Publish(_, _, payload, _) => payload.len(),
            Self::Subscribe(_) | Self::Tell(..) => 0,
        }
    }
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
        let errands = match self.daemons.get(&node) {
            Some(Daemon::Known(daemon)) => {
                let daemon = *daemon;
                return self.perform(ctx, daemon, errand);
            }
            Some(Daemon::Asked(errands)) => Some(errands.len()),
            None => None,
        };
        if !self.has_room(errands.unwrap_or(0), &errand) {
            return self.fail(ctx, errand, CallError::Full);
        }
        self.waiting_bytes += errand.bytes();
        if let Daemon::Asked(errands) = self.daemons.entry(node).or_insert_with(|| Daemon::Asked(Vec::new()))
        {
            errands.push(errand);
        }
        if errands.is_none() {
            let values = [text("QUERY"), text(Self::KEY), number(node.get())];
            ask_datacenter(ctx, &values, move |me, ctx, answer| me.found(ctx, node, answer));
        }
    }

    /// Whether something may wait behind so many others for the same node.
    fn has_room(&self, others: usize, errand: &Errand) -> bool {
        match errand {
            // There are no more than channels that are being joined.
            Errand::Subscribe(_) => true,
            Errand::Publish(..) | Errand::Tell(..) => {
                let bytes = self.waiting_bytes + errand.bytes();
                others < MULTICAST_WAITING_MAX && bytes <= MULTICAST_WAITING_BYTES_MAX
            }
        }
    }

    fn found(&mut self, ctx: &mut Context<'_, Self>, node: HarborId, answer: Result<Value, CallError>) {
        let Some(Daemon::Asked(errands)) = self.daemons.remove(&node) else { return };
        self.waiting_bytes -= errands.iter().map(Errand::bytes).sum::<usize>();
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
        let waiters = self.joining.remove(&channel).unwrap_or_default();
        self.joiners -= waiters.len();
        for (subscriber, waiter) in waiters {
            match answer.and_then(|()| self.enter(channel, subscriber)) {
                Ok(()) => waiter.reply(ctx, ()),
                Err(reason) => waiter.fail(ctx, reason),
            }
        }
        match answer {
            // Whoever wanted it has changed its mind.
            Ok(()) if !self.groups.contains(channel) => {
                self.run_errand(ctx, channel.owner(), Errand::Tell("USUBR", channel));
            }
            Ok(()) => {}
            // It was asked again and is lost again: once more when it is back.
            Err(CallError::PeerDown(node) | CallError::OutcomeUnknown(node)) if node == channel.owner() => {}
            // It ended.
            Err(CallError::Failed(Self::NO_CHANNEL) | CallError::NoService) => {
                self.groups.remove(channel);
            }
            // The owner may live: the data center is away, or one of them is busy.
            Err(_) => self.ask_later(ctx, channel),
        }
    }

    /// Asks the owner of a channel that has subscribers here once more, as long as its node is there.
    fn ask_later(&mut self, ctx: &mut Context<'_, Self>, channel: Channel) {
        if !self.groups.contains(channel) {
            return;
        }
        let set = ctx.after(Self::RETRY_TIME, move |me, ctx| {
            if me.groups.contains(channel)
                && let Entry::Vacant(place) = me.joining.entry(channel)
            {
                place.insert(Vec::new());
                me.run_errand(ctx, channel.owner(), Errand::Subscribe(channel));
            }
        });
        if set.is_err() {
            self.groups.remove(channel);
        }
    }

    /// The owner of channels that have subscribers here is lost. It is asked again when it comes back in time.
    fn await_return(&mut self, ctx: &mut Context<'_, Self>, owner: HarborId) {
        if self.groups.of_owner(owner).is_empty() {
            return;
        }
        let request = |waiter| HarborRequest::Connect { harbor: owner, waiter };
        ctx.ask(MULTICAST_RETURN_TIME_MAX, request, move |me, ctx, answer| {
            let is_back = answer == Ok(HarborAnswer::Up);
            for channel in me.groups.of_owner(owner) {
                if !is_back {
                    me.groups.remove(channel);
                } else if let Entry::Vacant(place) = me.joining.entry(channel) {
                    place.insert(Vec::new());
                    me.run_errand(ctx, owner, Errand::Subscribe(channel));
                }
            }
        });
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
        if self.groups.is_full() {
            return Err(CallError::Full);
        }
        // There are more ids than channels.
        while self.groups.contains(channel) {
            channel = channel.next();
        }
        self.next = Some(channel.next());
        self.groups.create(channel);
        Ok(channel)
    }

    /// Lets a service of this node have what is published.
    fn enter(&mut self, channel: Channel, subscriber: Handle) -> Result<(), CallError> {
        self.groups.enter(self.own, channel, subscriber).map_err(CallError::from)
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
        let is_asked = self.joining.contains_key(&channel);
        if self.joiners >= MULTICAST_WAITING_MAX || (!is_asked && self.joining.len() >= MULTICAST_WAITING_MAX)
        {
            return answer.fail(ctx, CallError::Full);
        }
        self.joiners += 1;
        self.joining.entry(channel).or_default().push((subscriber, answer));
        if !is_asked {
            self.run_errand(ctx, channel.owner(), Errand::Subscribe(channel));
        }
    }

    fn unsubscribe(&mut self, ctx: &mut Context<'_, Self>, channel: Channel, subscriber: Handle) {
        let leaving = self.joining.get_mut(&channel).into_iter();
        let leaving = leaving.flat_map(|waiters| waiters.extract_if(.., |(waiter, _)| *waiter == subscriber));
        for (_, answer) in leaving {
            self.joiners -= 1;
            answer.reply(ctx, ());
        }
        if self.groups.leave(channel, subscriber) && channel.owner() != self.own {
            self.groups.remove(channel);
            self.run_errand(ctx, channel.owner(), Errand::Tell("USUBR", channel));
        }
    }

    fn delete(&mut self, ctx: &mut Context<'_, Self>, channel: Channel) {
        if channel.owner() != self.own {
            return self.run_errand(ctx, channel.owner(), Errand::Tell("DEL", channel));
        }
        let away = self.groups.remove(channel).unwrap_or_default().away;
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
        let Some(group) = self.groups.get(channel) else { return false };
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
                match self.groups.enter_node(channel, source) {
                    Ok(()) => {
                        watch(self, ctx, source);
                        ctx.reply(packed(&[Value::Nil]));
                    }
                    Err(Refusal::NoChannel) => ctx.reply(packed(&[Value::Bool(true)])),
                    Err(Refusal::Full) => ctx.fail(CallError::Full),
                }
            }
            b"USUBR" if is_own => self.groups.leave_node(channel, source.harbor()),
            b"DEL" if is_own => self.delete(ctx, channel),
            b"DELR" if !is_own && source.harbor() == channel.owner() => drop(self.groups.remove(channel)),
            _ => return None,
        }
        Some(Disposition::Handled)
    }
}

impl Watches for Multicast {
    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    /// Its next life has another multicast service, and subscribes anew.
    fn handle_lost(&mut self, ctx: &mut Context<'_, Self>, harbor: HarborId) {
        self.daemons.retain(|node, daemon| *node != harbor || matches!(daemon, Daemon::Asked(_)));
        self.groups.forget_node(harbor);
        self.await_return(ctx, harbor);
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
        if channel.owner() == self.own || self.groups.contains(channel) {
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

impl From<Refusal> for CallError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoChannel => Self::Failed(Multicast::NO_CHANNEL),
            Refusal::Full => Self::Full,
        }
    }
}

/// Calls Skynet's data center; the answer's first value.
fn ask_datacenter(
    ctx: &mut Context<'_, Multicast>,
    values: &[Value],
    then: impl FnOnce(&mut Multicast, &mut Context<'_, Multicast>, Result<Value, CallError>) + Send + 'static,
) {
    let datacenter = Name::new(Multicast::DATACENTER).expect("a name by the rules");
    ctx.call_raw(datacenter, Kind::LUA, packed(values), MULTICAST_TIME_MAX, move |me, ctx, result| {
        // That there is no data center says nothing of whom it was asked for.
        let result = result.map_err(|reason| match reason {
            CallError::NoService => CallError::NoName(datacenter),
            other => other,
        });
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
