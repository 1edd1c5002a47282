//! Timers: never early, in order, cancellable, ahead of queued messages.

use skyharbor::prelude::*;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

struct Alarms(Sender<(u32, Duration)>);
impl Service for Alarms {}

struct Set(Vec<u64>);
impl Request for Set {
    type Reply = ();
}
impl Handler<Set> for Alarms {
    fn handle(&mut self, set: Set, ctx: &mut Context<'_, Self>) -> Reply<()> {
        let begin = ctx.now();
        for (index, &time) in set.0.iter().enumerate() {
            ctx.after(millis(time), move |me, ctx| {
                me.0.send((index as u32, ctx.now() - begin)).expect("the test listens");
            })
            .expect("room for a timer");
        }
        Reply::Now(())
    }
}

#[test]
fn timers_fire_in_order_and_never_early() {
    let node = Node::start(Config::local().threads(2)).expect("a local node starts");
    let (sender, fired) = channel();
    let alarms = node.spawn("alarms", Alarms(sender)).expect("it starts");
    let times = vec![30, 1, 10, 0, 20, 5];
    node.call_blocking(&alarms, Set(times.clone()), secs(5)).expect("it answers");
    let order: Vec<u32> = (0..times.len())
        .map(|_| {
            let (index, after) = fired.recv_timeout(secs(10)).expect("every timer fires");
            assert!(after >= millis(times[index as usize]), "timer {index} fired after {after:?}");
            index
        })
        .collect();
    assert_eq!(order, [3, 1, 5, 2, 4, 0]);
    node.shutdown(secs(5)).expect("all threads end");
}

struct Cancels(Sender<&'static str>);
impl Service for Cancels {
    fn start(&mut self, ctx: &mut Context<'_, Self>) -> Result<(), StartError> {
        let first = ctx.after(millis(5), |me, _| me.0.send("cancelled").unwrap()).map_err(StartError::new)?;
        ctx.after(millis(20), |me, _| me.0.send("kept").unwrap()).map_err(StartError::new)?;
        assert!(ctx.cancel(first));
        assert!(!ctx.cancel(first));
        let mut left = 3;
        ctx.every(millis(3), Overrun::Skip, move |me, ctx, tick| {
            left -= 1;
            me.0.send("tick").unwrap();
            assert!(tick.scheduled + tick.late_by <= ctx.now());
            if left == 0 {
                panic!("a panic in a timer ends the service");
            }
        })
        .map_err(StartError::new)?;
        Ok(())
    }
}

#[test]
fn a_cancelled_timer_does_not_fire_and_a_panic_in_one_ends_the_service() {
    let node = Node::start(Config::local().threads(1)).expect("a local node starts");
    let (sender, fired) = channel();
    node.spawn("cancels", Cancels(sender)).expect("it starts");
    let all: Vec<&str> = fired.iter().collect();
    assert_eq!(all.iter().filter(|&&what| what == "tick").count(), 3);
    assert!(!all.contains(&"cancelled"), "{all:?}");
    assert_eq!(node.counts()[Count::Panics], 1);
    node.shutdown(secs(5)).expect("all threads end");
}

#[test]
fn an_idle_node_sleeps_while_far_deadlines_wait() {
    let node = Node::start(Config::local().threads(2)).expect("a local node starts");
    let (sender, fired) = channel();
    // Each service's first deadline goes into its worker's wheel as it is, far from the wheel's first level.
    for time in [150, 270, 390, 510] {
        let alarms = node.spawn("alarms", Alarms(sender.clone())).expect("it starts");
        node.call_blocking(&alarms, Set(vec![time]), secs(30)).expect("it answers");
    }
    for _ in 0..4 {
        fired.recv_timeout(secs(10)).expect("every timer fires");
    }
    let parks = node.counts()[Count::Parks];
    assert!(parks < 200, "{parks} sleeps for four timers: a worker spun");
    node.shutdown(secs(5)).expect("all threads end");
}
