//! Runs workloads one after the other, prints what they measured, and says how it ended.

use crate::cli::{CommonArgs, HistogramArgs, QuickArgs};
use crate::output::{complain, say};
use crate::plan::{Failure, Outcome, Plan};
use crate::report::{self, Record};
use crate::watch::{INTERRUPTED, Watch};
use crate::{hgrm, machine, remote, workload};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

/// A workload: its name, what it counts, and how it is run.
pub(crate) struct Workload {
    name: &'static str,
    unit: &'static str,
    run: fn(&Plan, &Watch) -> Result<Outcome, Failure>,
}

pub(crate) const PINGPONG: Workload = Workload { name: "pingpong", unit: "trips", run: workload::pingpong };
pub(crate) const CALL: Workload = Workload { name: "call", unit: "trips", run: workload::call };
pub(crate) const PAIRS: Workload = Workload { name: "pairs", unit: "msgs", run: workload::pairs };
pub(crate) const FANIN: Workload = Workload { name: "fanin", unit: "msgs", run: workload::fanin };
pub(crate) const RING: Workload = Workload { name: "ring", unit: "hops", run: workload::ring };
pub(crate) const MIXED: Workload = Workload { name: "mixed", unit: "hops", run: workload::mixed };
pub(crate) const TREE: Workload = Workload { name: "tree", unit: "leaves", run: workload::tree };
pub(crate) const IDLE: Workload = Workload { name: "idle", unit: "services", run: workload::idle };
pub(crate) const RTT: Workload = Workload { name: "rtt", unit: "trips", run: remote::rtt };
pub(crate) const FLOOD: Workload = Workload { name: "flood", unit: "msgs", run: remote::flood };
pub(crate) const OPENLOOP: Workload = Workload { name: "openloop", unit: "replies", run: remote::openloop };

/// The steps of `quick`, with the bytes of their messages.
const QUICK: [(Workload, usize); 4] = [(PINGPONG, 16), (PAIRS, 16), (RTT, 32), (FLOOD, 64)];

/// Runs one workload.
pub(crate) fn single(
    workload: &Workload,
    mut plan: Plan,
    common: &CommonArgs,
    histogram: Option<&HistogramArgs>,
) -> ExitCode {
    workload.name.clone_into(&mut plan.title);
    let watch = match start(common) {
        Ok(watch) => watch,
        Err(code) => return code,
    };
    let record = match run(workload, &plan, &watch) {
        Ok(record) => record,
        Err(code) => return code,
    };
    let written = histogram.and_then(|args| args.hgrm.as_deref()).map(|path| write_hgrm(path, &record));
    let shown = print(&[record], common.json);
    if let Some(Err(failure)) = written {
        return fail(workload, &failure);
    }
    end(&watch, common.json, shown)
}

/// Runs the four steps of `quick`.
pub(crate) fn quick(args: &QuickArgs) -> ExitCode {
    let watch = match start(&args.common) {
        Ok(watch) => watch,
        Err(code) => return code,
    };
    let mut records = Vec::new();
    for (number, (workload, size)) in (1..).zip(QUICK) {
        let title = format!("{number}/{} {}", QUICK.len(), workload.name);
        match run(&workload, &Plan { title, size, ..args.plan() }, &watch) {
            Ok(record) => records.push(record),
            Err(code) => {
                // It has failed, whether these are read or not.
                let _ = print(&records, args.common.json);
                return code;
            }
        }
        if watch.interrupted() {
            break;
        }
    }
    let shown = print(&records, args.common.json);
    end(&watch, args.common.json, shown)
}

/// Prints what the numbers stand on and starts the watcher.
fn start(common: &CommonArgs) -> Result<Watch, ExitCode> {
    if !common.json && !say(machine::line()) {
        return Err(ExitCode::FAILURE);
    }
    Watch::start(common.stall).map_err(|error| {
        complain(format_args!("FAIL: cannot watch over the run: {error}"));
        ExitCode::FAILURE
    })
}

fn run(workload: &Workload, plan: &Plan, watch: &Watch) -> Result<Record, ExitCode> {
    match (workload.run)(plan, watch) {
        Ok(outcome) => Ok(Record::new(workload.name, workload.unit, plan, outcome)),
        Err(failure) => Err(fail(workload, &failure)),
    }
}

fn fail(workload: &Workload, failure: &Failure) -> ExitCode {
    complain(format_args!("FAIL {}: {failure}", workload.name));
    ExitCode::FAILURE
}

/// Whether it was written.
#[must_use]
fn print(records: &[Record], json: bool) -> bool {
    if json {
        return records.iter().all(|record| say(record.json()));
    }
    let mut text = format!("\n{}", report::table(records));
    for record in records {
        if let Some(latency) = record.latency() {
            text += &format!("\n{} latency\n{}", record.workload, report::bars(latency));
        }
    }
    let facts = records.iter().map(|record| format!("\n{}", record.facts()));
    say(text + &facts.collect::<String>())
}

/// The last word of a run in which everything that was counted is right. A result that nobody could read is no pass.
fn end(watch: &Watch, json: bool, shown: bool) -> ExitCode {
    if watch.interrupted() {
        complain("interrupted; what was measured until then is verified");
        return ExitCode::from(INTERRUPTED);
    }
    let passed = shown && (json || say("PASS"));
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_hgrm(path: &Path, record: &Record) -> Result<(), Failure> {
    let failed = |error| Failure::File(path.display().to_string(), error);
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    if let Some(latency) = record.latency() {
        hgrm::write(latency, &mut file).map_err(failed)?;
    }
    file.flush().map_err(failed)
}
