//! What the second process does.

use super::payload::Stamp;
use super::{Count, ECHO, LOOPBACK, SINK, Tally};
use crate::cli::PeerArgs;
use crate::plan::Failure;
use crate::stage::Stage;
use skyharbor::clock::Instant;
use skyharbor::message::Payload;
use skyharbor::prelude::*;
use std::io::Read;

/// Joins the cluster, serves, and ends when its stdin is closed.
pub(crate) fn peer(args: &PeerArgs) -> Result<(), Failure> {
    let config = Config::local().harbor(2).address(LOOPBACK).master(args.master.to_string());
    let stage = Stage::start(config, args.workers, args.pin)?;
    let echo = stage.spawn("echo", Echo { count: 0 })?;
    stage.register(ECHO, &echo)?;
    let sink = Sink { stamp: Stamp::new(args.seed, args.size), count: Count::default() };
    let sink = stage.spawn("sink", sink)?;
    stage.register(SINK, &sink)?;
    let mut nothing = [0; 64];
    while let Ok(1..) = std::io::stdin().read(&mut nothing) {}
    stage.end()
}

/// Answers with what it got.
struct Echo {
    count: u64,
}

impl Service for Echo {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Tally>();
    }

    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        if message.kind() != Kind::TEXT {
            return Disposition::Unhandled;
        }
        self.count += 1;
        ctx.reply(message.into_payload());
        Disposition::Handled
    }
}

impl Handler<Tally> for Echo {
    fn handle(&mut self, Tally: Tally, _: &mut Context<'_, Self>) -> Reply<Count> {
        Reply::Now(Count { count: self.count, ..Count::default() })
    }
}

/// Checks that message follows message, and answers those that ask.
struct Sink {
    stamp: Stamp,
    count: Count,
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) {
        let expected = self.count.count;
        let number = self.stamp.read(bytes);
        if number != Some(expected) && self.count.expected.is_none() {
            (self.count.expected, self.count.got) = (Some(expected), number);
        }
        if expected == 0 {
            self.count.first = Instant::now().nanos();
        }
        self.count.count += 1;
    }
}

impl Service for Sink {
    fn methods(methods: &mut Methods<Self>) {
        methods.on::<Tally>();
    }

    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        if message.kind() != Kind::TEXT {
            return Disposition::Unhandled;
        }
        self.take(message.bytes());
        if message.session() != Session::NONE {
            // The clock is read here and not for each message; the last message of a flood asks.
            self.count.last = Instant::now().nanos();
            ctx.reply(Payload::from(&self.count.count.to_le_bytes()));
        }
        Disposition::Handled
    }
}

impl Handler<Tally> for Sink {
    fn handle(&mut self, Tally: Tally, _: &mut Context<'_, Self>) -> Reply<Count> {
        Reply::Now(self.count)
    }
}
