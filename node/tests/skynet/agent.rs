//! The agent of one of our nodes: what `agent.lua` is on a real one. Others call it, and it calls others as the test says.

use skyharbor::message::Kind;
use skyharbor::prelude::*;
use skyharbor::seri::{self, Value};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

/// How long a call waits for its reply.
pub(crate) const CALL_TIME: Duration = secs(30);
/// Messages of a burst between two looks at the mailbox.
const BURST_CHUNK: i64 = 256;

/// Bytes without a pattern, more than any payload here.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 12_345_u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as u8
    };
    (0..9 << 20).map(|_| next()).collect()
});

/// So many bytes, other ones for another number.
pub(crate) fn text(number: u64, size: usize) -> Vec<u8> {
    let from = (number % 1009) as usize;
    NOISE[from..from + size].to_vec()
}

/// The packed arguments `"echo", number, text`.
pub(crate) fn echo(number: u64, size: usize) -> Vec<u8> {
    arguments("echo", [Value::Int(number as i64), Value::Bytes(text(number, size))])
}

/// A packed command.
pub(crate) fn arguments<const N: usize>(command: &str, more: [Value; N]) -> Vec<u8> {
    let mut values = vec![Value::Bytes(command.into())];
    values.extend(more);
    seri::pack(&values).unwrap()
}

/// The agent.
#[derive(Default)]
pub(crate) struct Agent {
    /// Callers that are never answered.
    unanswered: Vec<Responder<Payload>>,
    notes: HashMap<(Handle, Vec<u8>), Noted>,
    jobs: HashMap<u64, Job>,
    jobs_begun: u64,
}

#[derive(Clone, Copy, Default)]
struct Noted {
    count: i64,
    wrong: i64,
}

impl Service for Agent {
    fn message(&mut self, ctx: &mut Context<'_, Self>, message: Message) -> Disposition {
        let Ok(values) = seri::unpack(message.bytes()) else { return Disposition::Unhandled };
        if message.kind() != Kind::LUA {
            return Disposition::Unhandled;
        }
        let value = |index: usize| values.get(index).cloned().unwrap_or_default();
        match values.first().map(Value::as_bytes) {
            // No values at all are echoed too.
            None | Some(Some(b"echo")) => ctx.reply(message.into_payload()),
            Some(Some(b"fail")) => ctx.fail(CallError::Failed(7)),
            Some(Some(b"exit")) => ctx.exit(),
            Some(Some(b"never")) => self.unanswered.push(ctx.defer_raw()),
            Some(Some(b"note")) => self.note(message.source(), &value(1), &value(2)),
            Some(Some(b"noted")) => {
                let Noted { count, wrong } = self.noted(message.source(), &value(1));
                ctx.reply(seri::pack(&[Value::Int(*count), Value::Int(*wrong)]).unwrap());
            }
            Some(_) => return Disposition::Unhandled,
        }
        Disposition::Handled
    }
}

impl Agent {
    fn noted(&mut self, source: Handle, tag: &Value) -> &mut Noted {
        self.notes.entry((source, tag.as_bytes().unwrap_or_default().to_vec())).or_default()
    }

    fn note(&mut self, source: Handle, tag: &Value, number: &Value) {
        let noted = self.noted(source, tag);
        noted.count += 1;
        noted.wrong += i64::from(number.as_int() != Some(noted.count));
    }
}

/// Callers that call one of the targets with one of the sizes again and again, a number of times or for a time. One whose
/// call fails makes no more.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub(crate) targets: Vec<Destination>,
    pub(crate) sizes: Vec<usize>,
    pub(crate) callers: u64,
    /// Calls of each caller.
    pub(crate) calls: u64,
    pub(crate) time: Duration,
    /// How long a caller waits after a reply.
    pub(crate) pause: Duration,
}

/// What became of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) right: u64,
    pub(crate) wrong: u64,
    pub(crate) failed: u64,
    /// What failed first.
    pub(crate) first: String,
}

impl Tally {
    /// All replies came and were right.
    pub(crate) fn clean(right: u64) -> Self {
        Self { right, ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.failed += other.failed;
        if self.first.is_empty() {
            self.first = other.first;
        }
    }
}

impl Request for Traffic {
    type Reply = Tally;
}

/// What became of the calls of the traffic that is under way.
pub(crate) struct Progress;

impl Request for Progress {
    type Reply = Tally;
}

impl Handler<Progress> for Agent {
    fn handle(&mut self, _: Progress, _: &mut Context<'_, Self>) -> Reply<Tally> {
        let mut sum = Tally::default();
        self.jobs.values().for_each(|job| sum.add(job.tally.clone()));
        Reply::Now(sum)
    }
}

/// Traffic under way.
struct Job {
    traffic: Traffic,
    deadline: skyharbor::clock::Instant,
    living: u64,
    tally: Tally,
    answer: Responder<Tally>,
}

impl Handler<Traffic> for Agent {
    fn handle(&mut self, traffic: Traffic, ctx: &mut Context<'_, Self>) -> Reply<Tally> {
        let (answer, later) = ctx.defer();
        self.jobs_begun += 1;
        let (id, callers) = (self.jobs_begun, traffic.callers);
        let deadline = ctx.now() + traffic.time;
        let job = Job { traffic, deadline, living: callers, tally: Tally::default(), answer };
        self.jobs.insert(id, job);
        for caller in 1..=callers {
            self.call_next(ctx, id, caller, 1);
        }
        later
    }
}

impl Agent {
    fn call_next(&mut self, ctx: &mut Context<'_, Self>, id: u64, caller: u64, made: u64) {
        let job = self.jobs.get_mut(&id).expect("a job lives as long as its callers");
        if made > job.traffic.calls || ctx.now() >= job.deadline {
            return self.end_caller(ctx, id);
        }
        let number = caller * 1_000_000 + made;
        let random = (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        let target = job.traffic.targets[random % job.traffic.targets.len()];
        let request = echo(number, job.traffic.sizes[(random >> 8) % job.traffic.sizes.len()]);
        let sent = request.clone();
        ctx.call_raw(target, Kind::LUA, request, CALL_TIME, move |agent, ctx, reply| {
            let tally = &mut agent.jobs.get_mut(&id).expect("a job lives as long as its callers").tally;
            match reply {
                Ok(reply) if reply[..] == sent[..] => tally.right += 1,
                Ok(_) => tally.wrong += 1,
                Err(reason) => {
                    tally.failed += 1;
                    if tally.first.is_empty() {
                        tally.first = format!("{target:?}: {reason}");
                    }
                    return agent.end_caller(ctx, id);
                }
            }
            agent.pause(ctx, id, caller, made);
        });
    }
}

impl Agent {
    fn end_caller(&mut self, ctx: &mut Context<'_, Self>, id: u64) {
        let job = self.jobs.get_mut(&id).expect("a job lives as long as its callers");
        job.living -= 1;
        if job.living == 0 {
            let Job { tally, answer, .. } = self.jobs.remove(&id).expect("it was there");
            answer.reply(ctx, tally);
        }
    }

    fn pause(&mut self, ctx: &mut Context<'_, Self>, id: u64, caller: u64, made: u64) {
        let pause = self.jobs[&id].traffic.pause;
        if pause.is_zero() {
            return self.call_next(ctx, id, caller, made + 1);
        }
        let set = ctx.after(pause, move |agent, ctx| agent.call_next(ctx, id, caller, made + 1));
        assert!(set.is_ok(), "one timer of each caller");
    }
}

/// One-way messages in a row, then the receiver's count and how many were out of order.
#[derive(Clone)]
pub(crate) struct Burst {
    pub(crate) to: Destination,
    pub(crate) tag: String,
    pub(crate) count: i64,
    pub(crate) size: usize,
}

impl Request for Burst {
    type Reply = Result<(i64, i64), String>;
}

impl Handler<Burst> for Agent {
    fn handle(&mut self, burst: Burst, ctx: &mut Context<'_, Self>) -> Reply<Result<(i64, i64), String>> {
        let (answer, later) = ctx.defer();
        send_on(ctx, burst, 1, answer);
        later
    }
}

/// Sends a chunk, and the next one a moment later; a full queue on the way gets its time.
fn send_on(
    ctx: &mut Context<'_, Agent>,
    burst: Burst,
    from: i64,
    answer: Responder<Result<(i64, i64), String>>,
) {
    let tag = Value::Bytes(burst.tag.clone().into());
    let mut number = from;
    while number <= burst.count && number < from + BURST_CHUNK {
        let text = Value::Bytes(text(number as u64, burst.size));
        let note = arguments("note", [tag.clone(), Value::Int(number), text]);
        match ctx.send_raw(burst.to, Kind::LUA, Session::NONE, note) {
            Ok(()) => number += 1,
            Err(refused) if refused.reason == SendReason::Full => break,
            Err(refused) => return answer.reply(ctx, Err(refused.reason.to_string())),
        }
    }
    if number <= burst.count {
        let set = ctx.after(millis(1), move |_, ctx| send_on(ctx, burst, number, answer));
        assert!(set.is_ok(), "one timer of a burst at a time");
        return;
    }
    ctx.call_raw(burst.to, Kind::LUA, arguments("noted", [tag]), CALL_TIME, move |_, ctx, reply| {
        let counts = reply.map_err(|reason| reason.to_string()).and_then(|reply| {
            match seri::unpack(&reply).as_deref() {
                Ok([Value::Int(count), Value::Int(wrong)]) => Ok((*count, *wrong)),
                other => Err(format!("{other:?}")),
            }
        });
        answer.reply(ctx, counts);
    });
}
