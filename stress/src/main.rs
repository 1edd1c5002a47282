//! Stress programs for skyharbor. The README says what each workload is and which code it reaches.

#![forbid(unsafe_code)]

#[cfg(unix)]
mod chaos;
mod cli;
mod compare;
mod hgrm;
mod machine;
mod output;
mod pace;
mod plan;
mod random;
mod remote;
mod report;
mod run;
mod sample;
mod session;
mod stage;
mod watch;
mod workload;

use clap::Parser;
use cli::{Cli, Command, CompareArgs, LocalArgs, TimedArgs};
use output::{complain, say};
use plan::Failure;
use session::{Workload, single};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Quick(args) => session::quick(&args),
        Command::Pingpong(args) => timed(&session::PINGPONG, &args),
        Command::Call(args) => timed(&session::CALL, &args),
        Command::Pairs(args) => timed(&session::PAIRS, &args),
        Command::Fanin(args) => single(&session::FANIN, args.fanin_plan(), &args.common, None),
        Command::Ring(args) => counted(&session::RING, &args),
        Command::Mixed(args) => counted(&session::MIXED, &args),
        Command::Tree(args) => single(&session::TREE, args.tree_plan(), &args.common, None),
        Command::Idle(args) => single(&session::IDLE, args.idle_plan(), &args.common, None),
        Command::Rtt(args) => single(&session::RTT, args.plan(), &args.common, Some(&args.histogram)),
        Command::Flood(args) => single(&session::FLOOD, args.plan(), &args.common, None),
        Command::Openloop(args) => {
            single(&session::OPENLOOP, args.plan(), &args.common, Some(&args.histogram))
        }
        Command::Compare(args) => compare(&args),
        Command::Peer(args) => end(remote::peer(&args)),
        #[cfg(unix)]
        Command::Chaos(args) => chaos::chaos(&args),
        #[cfg(unix)]
        Command::Member(args) => end(chaos::member(&args)),
        #[cfg(unix)]
        Command::Real(args) => end(chaos::real(&args)),
    }
}

fn timed(workload: &Workload, args: &TimedArgs) -> ExitCode {
    single(workload, args.plan(), &args.common, Some(&args.histogram))
}

fn counted(workload: &Workload, args: &LocalArgs) -> ExitCode {
    single(workload, args.plan(), &args.common, None)
}

fn compare(args: &CompareArgs) -> ExitCode {
    match compare::compare(&args.first, &args.second) {
        Ok(text) if say(text.trim_end()) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            complain(format_args!("cannot compare: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// The end of a process that another one started.
fn end(ended: Result<(), Failure>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(failure);
            ExitCode::FAILURE
        }
    }
}
