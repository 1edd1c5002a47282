//! Real processes of the program: started, watched, signalled, always ended.
//!
//! Waiting is bounded by [`PATIENCE`] and always for something that can be seen: a line of the log, the end of a
//! process, an answer of the control socket.

#![allow(dead_code, reason = "each test file uses a part")]

use rustix::process::{Pid, Signal, kill_process};
use skyharbor::clock::Instant;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::Builder;
use std::time::Duration;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Lines that are shown of a log after a failure.
const LAST_LINES: usize = 20;

/// A running `skyharbor run`. Dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
    /// The log so far.
    seen: Vec<String>,
    control: PathBuf,
}

/// A command line of the program.
pub(crate) fn skyharbor(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skyharbor"));
    command.args(arguments);
    command
}

/// Runs a command line of the program to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    skyharbor(arguments).output().unwrap()
}

/// What a process wrote to stdout.
pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// What a process wrote to stderr.
pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// A port that was free a moment ago. Somebody else may take it: whoever uses it must be ready to try another.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks again until the answer is yes.
pub(crate) fn until(what: &str, mut yes: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !yes() {
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

impl Program {
    /// Starts `skyharbor run` with this TOML, a log at stderr and a control socket, without waiting for anything.
    pub(crate) fn start(folder: &Path, name: &str, config: &str) -> Self {
        let control = folder.join(format!("{name}.sock"));
        let path = folder.join(format!("{name}.toml"));
        let text = format!("control = \"{}\"\nthread = 1\n{config}", control.display());
        fs::write(&path, text).unwrap();
        Self::start_file(&path, control)
    }

    /// Starts `skyharbor run` with a file.
    pub(crate) fn start_file(path: &Path, control: PathBuf) -> Self {
        let mut command = skyharbor(&["run", path.to_str().unwrap()]);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let read = move || stderr.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        Builder::new().spawn(read).unwrap();
        Self { child, lines, seen: Vec::new(), control }
    }

    /// Waits until the log has a line with this text.
    pub(crate) fn wait_for(&mut self, text: &str) -> &mut Self {
        assert!(self.sees(text), "{text:?} is not in the log of an ended process:\n{}", self.seen.join("\n"));
        self
    }

    /// Waits for a line with this text, or for the end of the process; whether the line came.
    pub(crate) fn sees(&mut self, text: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut from = 0;
        loop {
            if self.seen[from..].iter().any(|line| line.contains(text)) {
                return true;
            }
            from = self.seen.len();
            match self.lines.recv_timeout(deadline.since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("not in time: {text:?} in the log\n{}", self.seen.join("\n"))
                }
            }
        }
    }

    /// The log up to here.
    pub(crate) fn log(&self) -> String {
        self.seen.join("\n")
    }

    /// The last lines of the log, those that were not waited for too.
    pub(crate) fn last_lines(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen[self.seen.len().saturating_sub(LAST_LINES)..].join("\n")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Its control socket.
    pub(crate) fn control(&self) -> &Path {
        &self.control
    }

    /// `skyharbor call --via` this node, not yet ended.
    pub(crate) fn start_call(&self, timeout: &str, arguments: &[&str]) -> Child {
        let mut command = skyharbor(&["call", "--via", self.control.to_str().unwrap(), "--timeout", timeout]);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// `skyharbor call --via` this node: its reply, or what it says on stderr.
    pub(crate) fn call(&self, arguments: &[&str]) -> Result<String, String> {
        reply(&self.start_call("10s", arguments).wait_with_output().unwrap())
    }

    /// `skyharbor names --json --via` this node.
    pub(crate) fn names(&self) -> serde_json::Value {
        let output = output(&["names", "--json", "--via", self.control.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The state of a peer as this node sees it.
    pub(crate) fn peer_state(&self, harbor: u8) -> Option<String> {
        let names = self.names();
        let peers = names["peers"].as_array().unwrap();
        let peer = peers.iter().find(|peer| peer["harbor"] == harbor)?;
        peer["state"].as_str().map(str::to_owned)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end: its status and its whole log.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let ended = !self.sees("\u{0}");
        assert!(ended, "no line has a zero character");
        (self.child.wait().unwrap(), self.log())
    }

    /// Ends it as an operator does.
    pub(crate) fn stop(self) {
        self.signal(Signal::TERM);
        let (status, log) = self.wait();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The reply of a `skyharbor call`, or what it says on stderr.
pub(crate) fn reply(output: &Output) -> Result<String, String> {
    match output.status.code() {
        Some(0) => Ok(stdout(output).trim_end().to_owned()),
        Some(1) => Err(stderr(output).trim_end().to_owned()),
        code => panic!("exit code {code:?}: {}", stderr(output)),
    }
}
