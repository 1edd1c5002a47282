//! Timers: once, again and again, cancelled. They belong to their service and cost no thread; none fires early.

use skyharbor::prelude::*;
use std::sync::mpsc::{Sender, channel};

struct Alarms {
    ended: Sender<()>,
    ticker: Option<TimerId>,
}

impl Service for Alarms {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let start = ctx.now();

        // Every 10 ms, until somebody cancels it.
        let ticker = ctx.every(millis(10), Overrun::Skip, move |_, _, tick| {
            println!("tick {} at {:?}", tick.index, tick.scheduled - start);
        });
        self.ticker = Some(ticker.map_err(StartError::new)?);

        // Once, after 35 ms.
        let stop = ctx.after(millis(35), |me, ctx| {
            let was_set = me.ticker.take().is_some_and(|ticker| ctx.cancel(ticker));
            println!("35 ms: the ticker is cancelled ({was_set})");
        });
        stop.map_err(StartError::new)?;

        // Never: cancelled before it fires.
        let never = ctx.after(millis(5), |_, _| println!("this is not printed")).map_err(StartError::new)?;
        ctx.cancel(never);

        let end = ctx.after(millis(60), |me, ctx| {
            println!("60 ms: the service exits");
            let _ = me.ended.send(());
            ctx.exit();
        });
        end.map(drop).map_err(StartError::new)
    }
}

fn main() -> Result<(), skyharbor::Error> {
    let node = Node::start(Config::local())?;
    let (ended, end) = channel();
    node.spawn("alarms", Alarms { ended, ticker: None })?;
    let _ = end.recv();
    node.shutdown(secs(1))
}
