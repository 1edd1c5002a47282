//! The service manager: which unique services a cluster has, and who launches them.

mod command;
mod uniques;

use self::command::{Command, Unknown, Wanted};
use self::uniques::{Launch, Query, Unique, Uniques};
use super::Factories;
use super::launcher::{Launcher, Order};
use super::watch::{Watched, Watches, watch};
use crate::limits::{SERI_BYTES_MAX, UNIQUE_LIST_TIME_MAX, UNIQUE_WAITERS_MAX};
use crate::message::{CallError, Handle, HarborId, Kind, Payload};
use crate::runtime::{Context, Disposition, Handler, Message, NEVER, Reply, Request, Responder, Service};
use crate::seri::{self, Table, Value};
use std::collections::BTreeMap;
use std::fmt;

/// Launches and finds the unique services of a cluster, as Skynet's `service_mgr.lua` of a master node does.
///
/// A standalone node starts one under the global name `SERVICE`. Every real node reports to that name before it runs its
/// start script; its Lua code comes here with `skynet.uniqueservice(true, …)` and `skynet.queryservice(true, …)`.
///
/// ```text
/// "REPORT", handle            a node's own service manager; answers nil. Only that node may report it
/// "LAUNCH", "@name", value, …  answers the handle of the service, launched with these values if it does not live
/// "QUERY", "@name"            answers the handle, as soon as somebody launched it
/// "GLAUNCH", "name", …        the same as "LAUNCH", "@name", …
/// "GQUERY", "name"            the same as "QUERY", "@name"
/// "LIST"                      answers a table: what became of each name, here and at those who reported
/// ```
///
/// `name` without `@` is a service of its own. `LAUNCH, "@snaxd", "name"` launches what is called `snaxd.name`. Which services
/// there are say [`Factories`].
///
/// What fails is answered with nil and a text, as `service_mgr.lua` does, and told to everyone who waits for the same
/// service; a query then gets the text too, the next launch tries again. Only a first value that is neither a string nor
/// a number is answered with an error. A real service manager keeps a service for ever; here one that ended is launched again.
///
/// Bounds: [`UNIQUE_WAITERS_MAX`] calls wait, names have up to
/// [`UNIQUE_NAME_BYTES_MAX`](crate::limits::UNIQUE_NAME_BYTES_MAX) bytes, one service manager of each node is remembered and
/// asked for its list for up to [`UNIQUE_LIST_TIME_MAX`].
///
/// # Examples
///
/// Rust services call it like any other:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use skyharbor::prelude::*;
/// use skyharbor::services::{Factories, ServiceManager};
///
/// /// `skynet.uniqueservice(true, "kv")`
/// #[derive(Serialize, Deserialize)]
/// struct Launch(String);
/// impl Request for Launch {
///     type Reply = (Option<u32>, Option<String>);
/// }
/// impl Wire for Launch {
///     const NAME: &'static str = "GLAUNCH";
/// }
///
/// let node = Node::start(Config::local().threads(1))?;
/// # let service = node.spawn("SERVICE", ServiceManager::new(Factories::default()))?;
/// # node.register_global("SERVICE", &service)?;
/// let service = Global::new("SERVICE".parse()?);
/// let (kv, refusal) = node.call_blocking(&service, Launch("kv".into()), secs(1))?;
/// assert!(kv.is_some() && refusal.is_none());
/// assert_eq!(node.call_blocking(&service, Launch("kv".into()), secs(1))?.0, kv);
/// # Ok::<(), skyharbor::Error>(())
/// ```
pub struct ServiceManager {
    factories: Factories,
    uniques: Uniques<Waiter>,
    /// The service manager of each node that reported one.
    reported: BTreeMap<HarborId, Handle>,
    listing: Option<Listing>,
    watched: Watched,
}

struct Waiter {
    source: Handle,
    answer: Responder<Payload>,
}

/// The list that is being made, for everyone who asked meanwhile.
struct Listing {
    /// Service managers whose lists are missing.
    missing: usize,
    found: Vec<(Value, Value)>,
    bytes: usize,
    waiters: Vec<Waiter>,
}

/// A service of this node became unique under this name: it has the local name already.
pub(crate) struct Provide(pub(crate) String);

impl Request for Provide {
    type Reply = ();
}

const TOO_MANY: &str = "too many wait for unique services";

impl ServiceManager {
    /// A service manager that launches what these make.
    pub fn new(factories: Factories) -> Self {
        Self {
            factories,
            uniques: Uniques::default(),
            reported: BTreeMap::new(),
            listing: None,
            watched: Watched::default(),
        }
    }

    /// The local name of the unique service of a node's cluster that is called `name`.
    pub(crate) fn local_name(name: &str) -> String {
        local_name(&format!("@{name}"))
    }

    fn execute(&mut self, ctx: &mut Context<'_, Self>, source: Handle, command: Command) {
        match command {
            Command::Report(Some(manager)) if manager.harbor() != source.harbor() => {
                ctx.reply(refused("a node reports a service manager of its own"));
            }
            Command::Report(manager) => {
                if let Some(manager) = manager {
                    self.reported.insert(manager.harbor(), manager);
                    watch(self, ctx, manager);
                }
                ctx.reply(&[0]);
            }
            Command::Query(wanted) => match self.uniques.query(&wanted.key, living(ctx, &wanted.key)) {
                Query::Known(handle) => ctx.reply(known(handle)),
                Query::Failed(reason) => ctx.reply(refused(&reason)),
                Query::Wait => self.wait(ctx, source, &wanted.key),
            },
            Command::Launch(wanted, arguments) => self.launch(ctx, source, wanted, arguments),
            Command::List => self.list(ctx, source),
            Command::Refused(reason) => ctx.reply(refused(&reason)),
        }
    }

    fn launch(&mut self, ctx: &mut Context<'_, Self>, source: Handle, wanted: Wanted, arguments: Vec<Value>) {
        match self.uniques.launch(&wanted.key, living(ctx, &wanted.key)) {
            Launch::Known(handle) => ctx.reply(known(handle)),
            Launch::Wait => self.wait(ctx, source, &wanted.key),
            // Nobody would hear what becomes of it.
            Launch::Begin if self.is_full() => ctx.reply(refused(TOO_MANY)),
            Launch::Begin => {
                self.wait(ctx, source, &wanted.key);
                self.begin(ctx, wanted, arguments);
            }
        }
    }

    fn wait(&mut self, ctx: &mut Context<'_, Self>, source: Handle, key: &[u8]) {
        if self.is_full() {
            return ctx.reply(refused(TOO_MANY));
        }
        let answer = ctx.defer_raw();
        if answer.is_awaited() {
            self.uniques.wait(key, Waiter { source, answer });
            watch(self, ctx, source);
        }
    }

    fn is_full(&self) -> bool {
        let listing = self.listing.as_ref().map_or(0, |listing| listing.waiters.len());
        self.uniques.waiting() + listing >= UNIQUE_WAITERS_MAX
    }

    /// Has it launched, in a service of its own.
    fn begin(&mut self, ctx: &mut Context<'_, Self>, wanted: Wanted, arguments: Vec<Value>) {
        let Wanted { key, kind } = wanted;
        let (Some(factory), Ok(label)) = (self.factories.find(&kind), String::from_utf8(key.clone())) else {
            // No trace of it is left: names that mean nothing would fill the table.
            let reason = format!("no service is called {}", kind.escape_ascii());
            let waiters = self.uniques.take(&key);
            return answer_all(ctx, waiters, &refused(&reason));
        };
        self.uniques.begin(&key);
        let order = Order { factory, local_name: local_name(&label), label, arguments };
        match ctx.spawn("launcher", Launcher) {
            Ok(launcher) => ctx.call(&launcher, order, NEVER, move |manager, ctx, launched| {
                let launched = launched.unwrap_or_else(|reason| Err(format!("the launch failed: {reason}")));
                manager.end(ctx, &key, launched);
            }),
            Err(reason) => self.end(ctx, &key, Err(reason.to_string())),
        }
    }

    /// A launch ended, or a service came by another way.
    fn end(&mut self, ctx: &mut Context<'_, Self>, key: &[u8], launched: Result<Handle, String>) {
        let launched = living(ctx, key).map_or(launched, Ok);
        let answer = match &launched {
            Ok(handle) => known(*handle),
            Err(reason) => refused(reason),
        };
        let waiters = self.uniques.end(key, launched.as_ref().map(|handle| *handle).map_err(String::as_str));
        answer_all(ctx, waiters, &answer);
    }

    fn list(&mut self, ctx: &mut Context<'_, Self>, source: Handle) {
        if self.is_full() {
            return ctx.reply(refused(TOO_MANY));
        }
        let waiter = Waiter { source, answer: ctx.defer_raw() };
        if let Some(listing) = &mut self.listing {
            return listing.waiters.push(waiter);
        }
        let reported: Vec<Handle> = self.reported.values().copied().collect();
        self.listing =
            Some(Listing { missing: reported.len(), found: Vec::new(), bytes: 0, waiters: vec![waiter] });
        for manager in reported {
            let listed = move |this: &mut Self, ctx: &mut Context<'_, Self>, reply| {
                this.add_list(ctx, manager.harbor(), reply);
            };
            ctx.call_raw(manager, Kind::LUA, packed(&["LIST".into()]), UNIQUE_LIST_TIME_MAX, listed);
        }
        self.end_list(ctx);
    }

    /// The list of another node's service manager, if it answered one.
    fn add_list(&mut self, ctx: &mut Context<'_, Self>, harbor: HarborId, reply: Result<Payload, CallError>) {
        let Some(listing) = &mut self.listing else { return };
        listing.missing -= 1;
        let bytes = reply.as_ref().map_or(0, |reply| reply.len());
        if listing.bytes + bytes <= SERI_BYTES_MAX {
            listing.bytes += bytes;
            let values = reply.ok().and_then(|reply| seri::unpack(&reply).ok()).unwrap_or_default();
            let pairs = values.into_iter().next().map_or_else(Vec::new, pairs);
            listing.found.extend(pairs.into_iter().map(|(mut name, value)| {
                name.extend_from_slice(format!("@{harbor}").as_bytes());
                (Value::Bytes(name), value)
            }));
        }
        self.end_list(ctx);
    }

    fn end_list(&mut self, ctx: &mut Context<'_, Self>) {
        let Some(Listing { mut found, waiters, .. }) = self.listing.take_if(|listing| listing.missing == 0)
        else {
            return;
        };
        let own = self.uniques.iter().filter_map(|(key, unique)| {
            Some((Value::from(key), Value::from(&*state(unique, living(ctx, key))?)))
        });
        found.extend(own);
        let answer = seri::pack(&[Table::from_pairs(found).into()])
            .map_or_else(|reason| refused(&reason.to_string()), Payload::from);
        answer_all(ctx, waiters, &answer);
    }
}

impl Service for ServiceManager {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        if message.kind() != Kind::LUA {
            return Disposition::Unhandled;
        }
        match seri::unpack(message.bytes()).map(Command::of) {
            Ok(Ok(command)) => self.execute(ctx, message.source(), command),
            Ok(Err(Unknown)) => ctx.fail(CallError::Unhandled),
            Err(reason) => ctx.fail(reason.into()),
        }
        Disposition::Handled
    }
}

impl Handler<Provide> for ServiceManager {
    fn handle(&mut self, Provide(name): Provide, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let key = format!("@{name}").into_bytes();
        if living(ctx, &key).is_some() {
            self.end(ctx, &key, Err(String::new()));
        }
        Reply::Now(())
    }
}

impl Watches for ServiceManager {
    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    fn handle_lost(&mut self, _: &mut Context<'_, Self>, harbor: HarborId) {
        self.reported.remove(&harbor);
        self.uniques.forget(|waiter| waiter.source.harbor() == harbor);
    }
}

impl fmt::Debug for ServiceManager {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ServiceManager").field("factories", &self.factories).finish_non_exhaustive()
    }
}

fn local_name(key: &str) -> String {
    format!("unique:{key}")
}

/// The service that lives under this key.
fn living(ctx: &Context<'_, ServiceManager>, key: &[u8]) -> Option<Handle> {
    ctx.local(&local_name(std::str::from_utf8(key).ok()?))
}

fn answer_all(ctx: &mut Context<'_, ServiceManager>, waiters: Vec<Waiter>, answer: &Payload) {
    for waiter in waiters {
        waiter.answer.reply(ctx, answer.clone());
    }
}

/// What a list says of a unique service; `None` if it has ended.
fn state(unique: &Unique<Waiter>, living: Option<Handle>) -> Option<String> {
    let querying = |waiters: &[Waiter]| {
        let lines = waiters.iter().map(|waiter| format!("\n{}", waiter.source));
        format!("Querying:{}", lines.collect::<String>())
    };
    Some(match unique {
        Unique::Awaited(waiters) => querying(waiters),
        Unique::Launching(waiters) => match waiters.split_first() {
            Some((first, [])) => format!("Launching from {}", first.source),
            Some((first, others)) => format!("Launching from {}\n{}", first.source, querying(others)),
            None => "Launching".to_owned(),
        },
        Unique::Running(_) => living?.to_string(),
        Unique::Failed(reason) => format!("Error: {reason}"),
    })
}

/// The pairs of a table whose keys are strings.
fn pairs(value: Value) -> Vec<(Vec<u8>, Value)> {
    let Value::Table(table) = value else { return Vec::new() };
    let pairs = table.pairs.into_iter();
    pairs
        .filter_map(|(key, value)| if let Value::Bytes(key) = key { Some((key, value)) } else { None })
        .collect()
}

fn known(handle: Handle) -> Payload {
    packed(&[Value::Int(handle.bits().into())])
}

/// How `service_mgr.lua` says that a command failed.
fn refused(reason: &str) -> Payload {
    packed(&[Value::Nil, reason.into()])
}

/// Values that fit into any message.
fn packed(values: &[Value]) -> Payload {
    seri::pack(values).map(Payload::from).unwrap_or_default()
}
