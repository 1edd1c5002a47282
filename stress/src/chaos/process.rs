//! The nemesis' side of one life: its process, what it is told and what it says.

use super::history::{End, Life};
use super::nets::Nets;
use super::{ledger, real};
use crate::plan::Failure;
use rustix::process::{Pid, Signal, kill_process};
use skyharbor::clock::Instant;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// One life of a slot. Dropped, it is killed.
pub(super) struct Process {
    pub(super) life: u32,
    pub(super) slot: u8,
    pub(super) harbor: u8,
    child: Child,
    /// None: it is a real node, which says nothing.
    said: Option<Receiver<String>>,
    files: PathBuf,
    stops: Vec<(Instant, Instant)>,
    stopped: Option<Instant>,
}

/// Who a process is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) life: u32,
    pub(super) slot: u8,
    pub(super) harbor: u8,
}

impl Process {
    /// Starts this program again as a member, with its files in `folder`.
    pub(super) fn member(
        identity: Identity,
        folder: &Path,
        arguments: &[String],
        nets: Option<&Nets>,
    ) -> Result<Self, Failure> {
        let Identity { life, slot, harbor } = identity;
        let files = files(folder, life);
        let mut command = Command::new(std::env::current_exe().map_err(cannot_start)?);
        command
            .arg("member")
            .args(["--life", &life.to_string(), "--slot", &slot.to_string(), "--harbor", &harbor.to_string()])
            .arg("--ledger")
            .arg(files.with_extension("ledger"))
            .args(arguments);
        let mut command = enter(nets, slot, command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Self::start(identity, files, command)?;
        let (sender, said) = mpsc::channel();
        process.said = Some(said);
        let stdout = process.child.stdout.take();
        let reader = std::thread::Builder::new().name("member-stdout".into()).spawn(move || {
            let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
            // It ends with the process, or with whoever listens.
            let _ = lines.map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        reader.map_err(cannot_start)?;
        Ok(process)
    }

    /// Starts a real node.
    pub(super) fn real(
        identity: Identity,
        folder: &Path,
        skynet: &Path,
        terms: &real::Terms,
        nets: Option<&Nets>,
    ) -> Result<Self, Failure> {
        let files = files(folder, identity.life);
        let command = real::command(skynet, folder, &files.with_extension("ledger"), identity, terms)?;
        let mut command = enter(nets, identity.slot, command);
        let log = File::create(files.with_extension("log")).map_err(cannot_start)?;
        command.stdin(Stdio::null()).stdout(log);
        Self::start(identity, files, command)
    }

    fn start(identity: Identity, files: PathBuf, mut command: Command) -> Result<Self, Failure> {
        let Identity { life, slot, harbor } = identity;
        let stderr = File::create(files.with_extension("err")).map_err(cannot_start)?;
        // Ctrl-C in a terminal is for the nemesis alone.
        let child = command.process_group(0).stderr(stderr).spawn().map_err(cannot_start)?;
        Ok(Self { life, slot, harbor, child, said: None, files, stops: Vec::new(), stopped: None })
    }

    fn signal(&self, signal: Signal) {
        // It may have ended by itself, which is found out elsewhere; until it is waited for its id is nobody else's.
        kill_process(Pid::from_child(&self.child), signal).ok();
    }

    /// SIGSTOP.
    pub(super) fn stop(&mut self) {
        self.stopped.get_or_insert(Instant::now());
        self.signal(Signal::STOP);
    }

    /// SIGCONT, if it is stopped.
    pub(super) fn go_on(&mut self) {
        if let Some(since) = self.stopped.take() {
            self.signal(Signal::CONT);
            self.stops.push((since, Instant::now()));
        }
    }

    /// Whether it is a real node.
    pub(super) fn is_real(&self) -> bool {
        self.said.is_none()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Says something to it.
    pub(super) fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.child.stdin {
            // If it is gone, that is found out elsewhere.
            let _ = writeln!(stdin, "{line}");
        }
    }

    /// Tells it to end in order.
    pub(super) fn dismiss(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The next line that it said, if it comes in time.
    pub(super) fn hear(&self, time: Duration) -> Option<String> {
        self.said.as_ref()?.recv_timeout(time).ok()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// kill -9. Says when.
    pub(super) fn kill(&mut self) -> Result<Instant, Failure> {
        let at = Instant::now();
        self.signal(Signal::KILL);
        self.child.wait().map_err(|error| Failure::Member(format!("cannot be waited for: {error}")))?;
        if let Some(since) = self.stopped.take() {
            self.stops.push((since, at));
        }
        Ok(at)
    }

    /// Bytes of its ledger.
    pub(super) fn ledger_bytes(&self) -> u64 {
        fs::metadata(self.files.with_extension("ledger")).map_or(0, |metadata| metadata.len())
    }

    /// What it wrote on stderr.
    pub(super) fn complaint(&self) -> String {
        fs::read_to_string(self.files.with_extension("err")).unwrap_or_default().trim().to_owned()
    }

    /// Its whole life, read from its ledger.
    pub(super) fn life(mut self, end: End) -> Result<Life, Failure> {
        let path = self.files.with_extension("ledger");
        let failed = |error| Failure::File(path.display().to_string(), error);
        // It may have been killed before it had a ledger.
        let (entries, is_whole) =
            if path.exists() { ledger::read(&path).map_err(failed)? } else { (Vec::new(), true) };
        let stops = std::mem::take(&mut self.stops);
        Ok(Life { life: self.life, slot: self.slot, harbor: self.harbor, end, stops, entries, is_whole })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It is ours. If it has ended, there is nothing left to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// For a process that a nemesis started: the system ends it with that one. Stopped, it would not see its stdin closed.
pub(super) fn end_with_parent() {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).ok();
}

/// The same command where its slot is.
fn enter(nets: Option<&Nets>, slot: u8, command: Command) -> Command {
    match nets {
        Some(nets) => nets.enter(slot, &command),
        None => command,
    }
}

/// The path of a life's files, without their endings.
fn files(folder: &Path, life: u32) -> PathBuf {
    folder.join(format!("life-{life:05}"))
}

fn cannot_start(error: std::io::Error) -> Failure {
    Failure::Member(format!("could not be started: {error}"))
}
