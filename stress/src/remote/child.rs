//! The second process: this program again, started and ended by the first one.

use crate::plan::{Failure, Plan};
use parking_lot::Mutex;
use skyharbor::clock::Instant;
use std::io::Read;
#[cfg(unix)]
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the second process may take to end by itself.
const END_TIME_MAX: Duration = Duration::from_secs(10);
/// How much of its stderr is kept.
const STDERR_BYTES_MAX: usize = 16 << 10;
/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(2);

/// The second process. It ends when its stdin is closed, so it never outlives this one, however this one ends.
pub(super) struct Child {
    process: process::Child,
    stderr: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Child {
    pub(super) fn start(plan: &Plan, master: &str) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(cannot_start)?;
        let mut command = Command::new(program);
        // Ctrl-C in a terminal is for the first process alone, which ends its run in order and then this one.
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command
            .args(["peer", "--master", master])
            .args(["--workers", &plan.workers.to_string(), "--seed", &plan.seed.to_string()])
            .args(["--size", &plan.size.to_string()])
            .args(plan.pin.then_some("--pin"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot_start)?;
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let (pipe, kept) = (process.stderr.take(), Arc::clone(&stderr));
        let reader = std::thread::Builder::new().name("peer-stderr".into()).spawn(move || keep(pipe, &kept));
        // From here on, dropping the child ends the process.
        let mut child = Self { process, stderr, reader: None };
        child.reader = Some(reader.map_err(cannot_start)?);
        Ok(child)
    }

    /// Fails when the process has ended, with what it said.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.ended(status)),
            Err(error) => Err(Failure::Peer(format!("cannot be waited for: {error}"))),
        }
    }

    /// Tells the process to end and waits for that.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        match self.close() {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.ended(status)),
            None => Err(Failure::Peer(format!("did not end within {} s", END_TIME_MAX.as_secs()))),
        }
    }

    /// Closes its stdin and waits for its end, a while.
    fn close(&mut self) -> Option<ExitStatus> {
        drop(self.process.stdin.take());
        let began = Instant::now();
        while Instant::now().since(began) < END_TIME_MAX {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            std::thread::sleep(LOOK);
        }
        None
    }

    fn ended(&mut self, status: ExitStatus) -> Failure {
        if let Some(reader) = self.reader.take() {
            // It ends with the process; what it read until a panic is still there.
            reader.join().ok();
        }
        let stderr = self.stderr.lock();
        let said = String::from_utf8_lossy(&stderr);
        let said = if said.trim().is_empty() { "it said nothing" } else { said.trim() };
        Failure::Peer(format!("ended with {status}: {said}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.close().is_none() {
            // It is ours and it hangs. If it ended just now, there is nothing left to kill.
            self.process.kill().ok();
            self.process.wait().ok();
        }
    }
}

/// Reads to the end and keeps the beginning, where the first error stands.
fn keep(pipe: Option<ChildStderr>, kept: &Mutex<Vec<u8>>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut chunk) {
        let mut kept = kept.lock();
        let room = STDERR_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&chunk[..read.min(room)]);
    }
}

fn cannot_start(error: std::io::Error) -> Failure {
    Failure::Peer(format!("could not be started: {error}"))
}
