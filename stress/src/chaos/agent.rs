//! The services of a life: they send and call each other over all nodes and record everything in the ledger.

use super::ledger::{Ledger, Record};
use super::letter::{Author, Form, HEAD_BYTES, Letter, Pen, Place};
use super::outcome::Outcome;
use crate::random::SplitMix;
use skyharbor::message::Payload;
use skyharbor::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Calls of one agent that may be open; a peer that stands still answers none.
const OPEN_CALLS_MAX: u32 = 2048;
/// How long an agent waits for a name's owner before it asks again.
const QUERY_TIME_MAX: Duration = Duration::from_secs(1);
/// Letters of a burst, one behind the other to the same agent by name and by handle in turn.
const BURST: u64 = 24;
/// Ticks that are made up for when the process was late.
const TICKS_LATE_MAX: u32 = 32;

/// What all agents of a life share.
pub(super) struct Setting {
    pub(super) life: u32,
    pub(super) slot: u8,
    pub(super) slots: u8,
    /// The last of them have real nodes, which nobody has to reach in the end.
    pub(super) real: u8,
    pub(super) agents: u16,
    /// From one letter of an agent to the next.
    pub(super) period: Duration,
    /// The deadline of calls.
    pub(super) deadline: Duration,
    pub(super) pen: Pen,
    pub(super) seed: u64,
    pub(super) ledger: Ledger,
    /// Nobody sends any more.
    pub(super) is_quiet: AtomicBool,
}

/// One agent.
pub(super) struct Agent {
    setting: Arc<Setting>,
    author: Author,
    random: SplitMix,
    /// Letters sent.
    number: u64,
    open: u32,
    /// What it knows of the agents of other slots, in the order of their places.
    known: Vec<Known>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    handle: Option<Handle>,
    is_asked: bool,
}

/// The global name of the agent at a place.
pub(super) fn name_of(place: Place) -> Name {
    let name = format!("chaos-{}-{}", place.slot, place.agent);
    name.parse().expect("two small numbers fit in a name")
}

/// How many calls are open?
pub(super) struct Outstanding;

impl Request for Outstanding {
    type Reply = u32;
}

/// Call every agent of every other slot by name: how many did not answer?
pub(super) struct Probe;

impl Request for Probe {
    type Reply = u32;
}

/// The answers that a probe still waits for.
struct Probing {
    waits: u32,
    failed: u32,
    answer: Option<Responder<u32>>,
}

impl Agent {
    pub(super) fn new(setting: &Arc<Setting>, agent: u16) -> Self {
        let author = Author { life: setting.life, agent };
        let stream = u64::from(author.life) << 16 | u64::from(agent);
        Self {
            setting: Arc::clone(setting),
            author,
            random: SplitMix::new(setting.seed, stream),
            number: 0,
            open: 0,
            known: vec![Known::default(); usize::from(setting.slots) * usize::from(setting.agents)],
        }
    }

    fn record(&self, record: Record) {
        self.setting.ledger.write(record);
    }

    // Who is where.

    fn known(&mut self, place: Place) -> &mut Known {
        let index = usize::from(place.slot) * usize::from(self.setting.agents) + usize::from(place.agent);
        &mut self.known[index]
    }

    /// Any agent of another slot.
    fn anybody(&mut self) -> Place {
        let away = 1 + self.random.below(u32::from(self.setting.slots) - 1) as u8;
        let slot = (self.setting.slot + away) % self.setting.slots;
        Place { slot, agent: self.random.below(self.setting.agents.into()) as u16 }
    }

    /// Learns who is there, now and then; a handle that is out of date is used until then.
    fn look(&mut self, ctx: &mut Context<'_, Self>, place: Place) {
        let is_due = self.known(place).handle.is_none() || self.random.below(16) == 0;
        if !is_due || std::mem::replace(&mut self.known(place).is_asked, true) {
            return;
        }
        ctx.query(name_of(place), QUERY_TIME_MAX, move |me, _, found| {
            let known = me.known(place);
            known.is_asked = false;
            if let Ok(handle) = found {
                known.handle = Some(handle);
            }
        });
    }

    // Letters.

    fn tick(&mut self, ctx: &mut Context<'_, Self>) {
        if self.setting.is_quiet.load(Ordering::Relaxed) {
            return;
        }
        let place = self.anybody();
        self.look(ctx, place);
        let letters = if self.random.below(64) == 0 { BURST } else { 1 };
        for _ in 0..letters {
            let by_name = self.random.below(2) == 0;
            let is_call = self.open < OPEN_CALLS_MAX && self.random.below(3) != 0;
            self.send(ctx, place, Form { by_name, is_call });
        }
    }

    fn letter(&mut self, to: Place, form: Form) -> Letter {
        let handle = self.known(to).handle.map_or(0, Handle::bits);
        self.number += 1;
        let wait = match self.random.below(32) {
            0 => self.random.below(400),
            1..5 => self.random.below(20),
            _ => 0,
        };
        // Without a handle there is only the name.
        let form = Form { by_name: form.by_name || handle == 0, ..form };
        Letter { from: self.author, number: self.number, to, form, handle, wait: wait as u16 }
    }

    /// Most are small, some are written from where they are, a few are in pieces for sure.
    fn size(&mut self) -> usize {
        match self.random.below(512) {
            0 => 200_000 + self.random.below(200_000) as usize,
            1..20 => 1000 + self.random.below(8000) as usize,
            _ => HEAD_BYTES + self.random.below(200) as usize,
        }
    }

    fn send(&mut self, ctx: &mut Context<'_, Self>, to: Place, form: Form) {
        let letter = self.letter(to, form);
        let size = self.size();
        let bytes = self.setting.pen.write(&letter, size);
        self.record(Record::Sent { letter, bytes: size as u32 });
        if letter.form.is_call {
            let number = letter.number;
            return self.call(ctx, &letter, bytes, move |me, _, outcome, life| {
                me.record(Record::Ended { agent: me.author.agent, number, outcome, life });
            });
        }
        if let Err(refused) = ctx.send_raw(destination(&letter), Kind::TEXT, Session::NONE, bytes) {
            let outcome = refused.reason.into();
            self.record(Record::Refused { agent: self.author.agent, number: letter.number, outcome });
        }
    }

    fn call(
        &mut self,
        ctx: &mut Context<'_, Self>,
        letter: &Letter,
        bytes: Vec<u8>,
        then: impl FnOnce(&mut Self, &mut Context<'_, Self>, Outcome, u32) + Send + 'static,
    ) {
        let (number, deadline) = (letter.number, self.setting.deadline);
        self.open += 1;
        ctx.call_raw(destination(letter), Kind::TEXT, bytes, deadline, move |me: &mut Self, ctx, answer| {
            me.open -= 1;
            let (outcome, life) = me.judge(number, answer);
            then(me, ctx, outcome, life);
        });
    }

    fn judge(&self, number: u64, answer: Result<Payload, CallError>) -> (Outcome, u32) {
        match answer.map(|bytes| self.setting.pen.read_answer(&bytes, self.author, number)) {
            Ok(Some(life)) => (Outcome::Reply, life),
            Ok(None) => (Outcome::WrongReply, 0),
            Err(error) => (error.into(), 0),
        }
    }

    // Links.

    /// Follows one link for as long as this service lives: its news come behind what the link brought.
    fn follow(&mut self, ctx: &mut Context<'_, Self>, harbor: HarborId) {
        ctx.connect(harbor, NEVER, move |me: &mut Self, ctx, up| {
            if up.is_err() {
                return;
            }
            me.record(Record::Up { agent: me.author.agent, harbor: harbor.get() });
            ctx.link(harbor, NEVER, move |me: &mut Self, ctx, down| {
                if down.is_ok() {
                    me.record(Record::Down { agent: me.author.agent, harbor: harbor.get() });
                    me.follow(ctx, harbor);
                }
            });
        });
    }
}

fn destination(letter: &Letter) -> Destination {
    if letter.form.by_name { name_of(letter.to).into() } else { Handle::from_bits(letter.handle).into() }
}

impl Service for Agent {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        self.record(Record::Born { agent: self.author.agent, handle: ctx.handle().bits() });
        if self.author.agent == 0 {
            let own = ctx.harbor();
            for harbor in (1..=u8::MAX).map(HarborId::new).filter(|harbor| *harbor != own) {
                self.follow(ctx, harbor);
            }
        }
        let overrun = Overrun::CatchUp(TICKS_LATE_MAX);
        ctx.every(self.setting.period, overrun, |me, ctx, _| me.tick(ctx))?;
        Ok(())
    }

    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        let agent = self.author.agent;
        let Some(letter) = self.setting.pen.read(message.bytes()).filter(|_| message.kind() == Kind::TEXT)
        else {
            // An ERROR that answers a one-way letter has no bytes and says nothing that is promised.
            if message.kind() != Kind::ERROR {
                self.record(Record::Corrupt { agent });
            }
            return Disposition::Handled;
        };
        let asks = message.session().wants_answer();
        self.record(Record::Got { agent, letter, asks });
        if !asks {
            return Disposition::Handled;
        }
        let answer = self.setting.pen.answer(&letter, self.author.life);
        if letter.wait == 0 {
            ctx.reply(answer);
            return Disposition::Handled;
        }
        let responder = ctx.defer_raw();
        let wait = Duration::from_millis(letter.wait.into());
        // If no timer can be set the responder is dropped, and its caller told.
        let _ = ctx.after(wait, move |_: &mut Self, ctx| responder.reply(ctx, answer.into()));
        Disposition::Handled
    }
}

impl Handler<Outstanding> for Agent {
    fn handle(&mut self, Outstanding: Outstanding, _: &mut Context<'_, Self>) -> Reply<u32> {
        Reply::Now(self.open)
    }
}

impl Handler<Probe> for Agent {
    fn handle(&mut self, Probe: Probe, ctx: &mut Context<'_, Self>) -> Reply<u32> {
        let (answer, later) = ctx.defer();
        let others = (0..self.setting.slots - self.setting.real).filter(|slot| *slot != self.setting.slot);
        let places: Vec<Place> = others
            .flat_map(|slot| (0..self.setting.agents).map(move |agent| Place { slot, agent }))
            .collect();
        let probing = Probing { waits: places.len() as u32, failed: 0, answer: Some(answer) };
        let probing = Arc::new(parking_lot::Mutex::new(probing));
        for to in places {
            let letter = Letter { wait: 0, ..self.letter(to, Form { by_name: true, is_call: true }) };
            let bytes = self.setting.pen.write(&letter, HEAD_BYTES);
            self.record(Record::Sent { letter, bytes: HEAD_BYTES as u32 });
            let (number, probing) = (letter.number, Arc::clone(&probing));
            self.call(ctx, &letter, bytes, move |me, ctx, outcome, life| {
                me.record(Record::Ended { agent: me.author.agent, number, outcome, life });
                let mut probing = probing.lock();
                probing.waits -= 1;
                probing.failed += u32::from(outcome != Outcome::Reply);
                if probing.waits == 0
                    && let Some(answer) = probing.answer.take()
                {
                    answer.reply(ctx, probing.failed);
                }
            });
        }
        later
    }
}
