//! A process whose output is kept: started, watched, ended by its handle.

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use skyharbor::clock::Instant;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a process wrote so far, line by line. It outlives the process.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Written>, Condvar)>);

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    /// Streams that may still bring lines.
    open: u32,
}

/// A running process. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    log: Log,
}

impl Process {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Log::default();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let process = Self { child, log };
        process.log.read(stdout);
        process.log.read(stderr);
        process
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Makes it stand still; every thread of it does when this returns.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(Pid::from_child(&self.child)), WaitOptions::UNTRACED).unwrap();
        assert!(stopped.is_some_and(|(_, status)| status.stopped()));
    }

    /// Makes it go on.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Ends it as an operator does; its status.
    pub(crate) fn stop(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end: its status.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.log.wait_for_end();
        self.child.wait().unwrap()
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Log {
    fn read(&self, stream: impl Read + Send + 'static) {
        self.0.0.lock().open += 1;
        let log = self.clone();
        let read = move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                log.change(|written| written.lines.push(String::from_utf8_lossy(&line).into_owned()));
            }
            log.change(|written| written.open -= 1);
        };
        Builder::new().spawn(read).unwrap();
    }

    fn change(&self, change: impl FnOnce(&mut Written)) {
        change(&mut self.0.0.lock());
        self.0.1.notify_all();
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.0.lock().lines.clone()
    }

    /// Waits for a line with this text; the whole line.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.find(text).unwrap_or_else(|| {
            panic!("{text:?} is not in the log of an ended process:\n{}", self.lines().join("\n"))
        })
    }

    /// Waits for a line with this text or for the end of the process.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        let mut found = None;
        self.wait(text, |written| {
            found = written.lines.iter().find(|line| line.contains(text)).cloned();
            found.is_some() || written.open == 0
        });
        found
    }

    fn wait_for_end(&self) {
        self.wait("its end", |written| written.open == 0);
    }

    fn wait(&self, what: &str, mut seen: impl FnMut(&Written) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let (lock, changed) = &*self.0;
        let mut written = lock.lock();
        while !seen(&written) {
            let left = deadline.since(Instant::now());
            assert!(!left.is_zero(), "not in time: {what:?} in the log\n{}", written.lines.join("\n"));
            let _ = changed.wait_for(&mut written, left);
        }
    }
}
