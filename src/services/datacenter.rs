//! The data center: one tree of values for a whole cluster, as Skynet's `datacenterd.lua` keeps it.

mod tree;
mod waits;

use self::tree::{Fault, Found, Item, Tree};
use self::waits::{Waits, Woken};
use super::watch::{Watched, Watches, watch};
use crate::limits::DATACENTER_WAKE_BYTES_MAX;
use crate::message::{CallError, Handle, HarborId, Kind, Payload};
use crate::runtime::{Context, Disposition, Message, Responder, Service};
use crate::seri::{self, PackError, Table, Value};
use std::fmt;

/// Keeps values under paths of keys, for every node of a cluster: what Lua reaches with `skynet.datacenter`.
///
/// A standalone node starts one under the global name `DATACENTER`.
///
/// ```text
/// "QUERY", key, …         answers the value, a table with everything below it, nil if there is none
///                         (no value at all if there is nothing under the first key)
/// "UPDATE", key, …, value answers the value that was there before; nil removes it, as does a single key alone
///                         (no value at all if there was none and the new one is not nil)
/// "WAIT", key, …          answers the value when there is one
/// ```
///
/// A key is a string, a boolean or a number; 1 and 1.0 are the same. A set table and one that grew by its keys are the same.
/// A waiter is woken by an update of exactly its path, and only if nothing was there before. One update answers its waiters
/// with up to [`DATACENTER_WAKE_BYTES_MAX`] bytes: all that there can be with a value of a kilobyte. Of those who wait for a
/// larger one, the last get [`FULL`](Self::FULL), and find the value when they ask again.
///
/// Different from `datacenterd` on purpose: it has bounds; a table is no key; a refused update changes nothing, where Lua may
/// leave empty tables behind; and once nobody waits below a path any more it can be waited for itself.
///
/// An update that was done is never answered with an error. If no message can carry the table that was there before, the
/// answer is an empty table and behind it a text that says so.
///
/// Refusals are what `datacenterd` raises as errors, and bounds. A caller of this node gets the code, one of another node
/// Skynet's ERROR ([`CallError::Remote`]), a Lua caller "call failed":
///
/// | error | why |
/// |---|---|
/// | [`CallError::Unhandled`] | another kind of message or another command |
/// | [`CallError::Malformed`] | the bytes are no packed values |
/// | [`DataCenter::BAD_KEY`] | a key is missing, nil or NaN where a value shall stand or is waited for, or a table |
/// | [`DataCenter::NOT_A_TABLE`] | a key below a value that is no table |
/// | [`DataCenter::CROSSED`] | a wait above or below what others wait for |
/// | [`DataCenter::BRANCH`] | an update above or below what this one waits for: the value cannot come this way any more |
/// | [`DataCenter::FULL`] | [`DATACENTER_ENTRIES_MAX`](crate::limits::DATACENTER_ENTRIES_MAX) keys, [`DATACENTER_BYTES_MAX`](crate::limits::DATACENTER_BYTES_MAX) bytes of strings, [`DATACENTER_WAITERS_MAX`](crate::limits::DATACENTER_WAITERS_MAX) waiters or [`DATACENTER_WAKE_BYTES_MAX`] bytes for those that one update wakes are reached |
/// | [`DataCenter::TOO_LONG`] | more than [`DATACENTER_KEYS_MAX`](crate::limits::DATACENTER_KEYS_MAX) keys, a wait for more than [`DATACENTER_WAIT_BYTES_MAX`](crate::limits::DATACENTER_WAIT_BYTES_MAX) bytes of them, or an answer that is nested too deeply to be packed |
/// | [`CallError::TooLarge`] | the answer does not fit into a frame |
///
/// # Examples
///
/// By its name it is reached from any node and service, with ordinary calls:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use skyharbor::prelude::*;
/// use skyharbor::services::DataCenter;
///
/// /// `datacenter.set("room", 7, "size", 20)`
/// #[derive(Serialize, Deserialize)]
/// struct SetSize(String, u32, String, u32);
/// impl Request for SetSize {
///     type Reply = Option<u32>;
/// }
/// impl Wire for SetSize {
///     const NAME: &'static str = "UPDATE";
/// }
///
/// let node = Node::start(Config::local().threads(1))?;
/// # let service = node.spawn("DATACENTER", DataCenter::default())?;
/// # node.register_global("DATACENTER", &service)?;
/// let data_center = Global::new("DATACENTER".parse()?);
/// let set = |size| SetSize("room".into(), 7, "size".into(), size);
/// assert_eq!(node.call_blocking(&data_center, set(20), secs(1))?, None);
/// assert_eq!(node.call_blocking(&data_center, set(30), secs(1))?, Some(20));
/// # Ok::<(), skyharbor::Error>(())
/// ```
#[derive(Default)]
pub struct DataCenter {
    tree: Tree,
    waits: Waits<Waiter>,
    watched: Watched,
}

struct Waiter {
    source: Handle,
    answer: Responder<Payload>,
}

impl DataCenter {
    /// A key is missing, nil, NaN or a table.
    pub const BAD_KEY: u32 = 1;
    /// There is no room for another value or waiter.
    pub const FULL: u32 = 2;
    /// A key stands below a value that is no table.
    pub const NOT_A_TABLE: u32 = 3;
    /// Too many keys, or too much in them, or tables nested too deeply.
    pub const TOO_LONG: u32 = 4;
    /// Others wait for something above or below.
    pub const CROSSED: u32 = 5;
    /// What was waited for became a table, or something above it a value.
    pub const BRANCH: u32 = 6;

    fn execute(&mut self, ctx: &mut Context<'_, Self>, message: &Message) -> Result<(), CallError> {
        let values = seri::unpack(message.bytes())?;
        let (command, arguments) = values.split_first().ok_or(CallError::Unhandled)?;
        match command.as_bytes() {
            Some(b"QUERY") => ctx.reply(match self.tree.query(arguments)? {
                Found::Nothing => Payload::new(),
                Found::Nil => nil(),
                Found::Item(item) => packed(item)?,
            }),
            Some(b"UPDATE") => self.update(ctx, arguments)?,
            Some(b"WAIT") => self.wait(ctx, message.source(), arguments)?,
            Some(_) | None => return Err(CallError::Unhandled),
        }
        Ok(())
    }

    fn update(&mut self, ctx: &mut Context<'_, Self>, arguments: &[Value]) -> Result<(), CallError> {
        let (keys, value) = match arguments {
            [] | [_] => (arguments, &Value::Nil),
            [keys @ .., value] => (keys, value),
        };
        let old = self.tree.update(keys, value)?;
        if old.is_some() || *value == Value::Nil {
            ctx.reply(old.map_or_else(nil, |old| told(&old)));
            return Ok(());
        }
        match self.waits.wake(keys, value) {
            Some(Woken::Answered(waiters)) => answer_all(ctx, waiters, value),
            Some(Woken::Failed(waiters)) => {
                waiters.into_iter().for_each(|waiter| waiter.answer.fail(ctx, Fault::Branch.into()));
            }
            None => {}
        }
        ctx.reply(Payload::new());
        Ok(())
    }

    fn wait(&mut self, ctx: &mut Context<'_, Self>, source: Handle, keys: &[Value]) -> Result<(), CallError> {
        if let Found::Item(item) = self.tree.query(keys)? {
            ctx.reply(packed(item)?);
            return Ok(());
        }
        let answer = ctx.defer_raw();
        if !answer.is_awaited() {
            return Ok(());
        }
        match self.waits.insert(keys, Waiter { source, answer }) {
            Ok(()) => watch(self, ctx, source),
            Err((waiter, fault)) => waiter.answer.fail(ctx, fault.into()),
        }
        Ok(())
    }
}

impl Service for DataCenter {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        if message.kind() != Kind::LUA {
            return Disposition::Unhandled;
        }
        if let Err(reason) = self.execute(ctx, &message) {
            ctx.fail(reason);
        }
        Disposition::Handled
    }
}

impl Watches for DataCenter {
    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    fn handle_lost(&mut self, _: &mut Context<'_, Self>, harbor: HarborId) {
        self.waits.forget(|waiter| waiter.source.harbor() == harbor);
    }
}

impl fmt::Debug for DataCenter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DataCenter").finish_non_exhaustive()
    }
}

impl From<Fault> for CallError {
    fn from(fault: Fault) -> Self {
        Self::Failed(match fault {
            Fault::BadKey => DataCenter::BAD_KEY,
            Fault::Full => DataCenter::FULL,
            Fault::NotATable => DataCenter::NOT_A_TABLE,
            Fault::TooLong => DataCenter::TOO_LONG,
            Fault::Crossed => DataCenter::CROSSED,
            Fault::Branch => DataCenter::BRANCH,
        })
    }
}

/// Answers those who waited with what they waited for, in the order in which they came; one whose copy finds no room any
/// more is told so.
fn answer_all(ctx: &mut Context<'_, DataCenter>, waiters: Vec<Waiter>, value: &Value) {
    let news = seri::pack(std::slice::from_ref(value)).map(Payload::from).map_err(unpackable);
    let mut room = DATACENTER_WAKE_BYTES_MAX;
    for waiter in waiters {
        match &news {
            Ok(news) if news.len() <= room => {
                room -= news.len();
                waiter.answer.reply(ctx, news.clone());
            }
            Ok(_) => waiter.answer.fail(ctx, Fault::Full.into()),
            Err(reason) => waiter.answer.fail(ctx, *reason),
        }
    }
}

/// The one packed nil.
fn nil() -> Payload {
    Payload::from(&[0])
}

fn packed(item: &Item) -> Result<Payload, CallError> {
    item.pack().map(Payload::from).map_err(unpackable)
}

/// What an update took away, or what stands for it.
fn told(old: &Item) -> Payload {
    let stand_in =
        |reason: PackError| seri::pack(&[Table::default().into(), reason.to_string().as_str().into()]);
    old.pack().or_else(stand_in).map(Payload::from).unwrap_or_default()
}

fn unpackable(reason: PackError) -> CallError {
    match reason {
        PackError::TooDeep => Fault::TooLong.into(),
        _ => CallError::TooLarge,
    }
}
