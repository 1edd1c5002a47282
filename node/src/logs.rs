//! The log: lines of any thread, written by one of its own so that a slow disk stops nobody.

use crate::limits::{LOG_END_TIME_MAX, LOG_LINES_MAX, LOG_WRITE_BYTES};
use crate::outcome::complain;
use skyharbor::node::LoggerLevel;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The running log.
#[derive(Debug)]
pub(crate) struct Log {
    sender: SyncSender<Entry>,
    thread: JoinHandle<()>,
    /// Disconnected when the thread ends.
    ended: Receiver<()>,
    /// Holds one mark while the file is to be opened again and no entry could say so.
    late_reopen: SyncSender<()>,
    lines: Lines,
}

#[derive(Debug)]
enum Entry {
    Line(Vec<u8>),
    Reopen,
    End,
}

/// Where the threads of the program put their lines.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    sender: SyncSender<Entry>,
    /// Holds one mark from the first line that was lost until the log has said so.
    lost: SyncSender<()>,
}

impl Log {
    /// Opens the file, or stderr if there is none, and starts the thread.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not started.
    pub(crate) fn start(path: Option<&Path>) -> io::Result<Self> {
        let output = match path {
            Some(path) => Output::File(open(path)?, path.to_owned()),
            None => Output::Stderr,
        };
        let (sender, entries) = mpsc::sync_channel(LOG_LINES_MAX);
        let (lost, losses) = mpsc::sync_channel(1);
        let (late_reopen, late_reopens) = mpsc::sync_channel(1);
        let (ending, ended) = mpsc::sync_channel(1);
        let writer = Writer { entries, losses, late_reopens, output, buffer: Vec::new(), failed: false };
        let thread = Builder::new().name("log".to_owned()).spawn(move || {
            let _ending = ending;
            writer.run();
        })?;
        let lines = Lines { sender: sender.clone(), lost };
        Ok(Self { sender, thread, ended, late_reopen, lines })
    }

    /// Makes everything that the program and the library trace go to this log.
    pub(crate) fn install(&self, level: LoggerLevel) {
        let level = match level {
            LoggerLevel::Error => LevelFilter::ERROR,
            LoggerLevel::Warn => LevelFilter::WARN,
            LoggerLevel::Info => LevelFilter::INFO,
            LoggerLevel::Debug => LevelFilter::DEBUG,
            LoggerLevel::Trace => LevelFilter::TRACE,
        };
        let subscriber = tracing_subscriber::fmt()
            .with_writer(self.lines.clone())
            .with_ansi(false)
            .with_max_level(level)
            .finish();
        // The program installs one log; a second would be ignored.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }

    /// Opens the file again: somebody moved it away. Waits for nothing: a disk or a reader of stderr that is stuck must
    /// not stop who asks.
    pub(crate) fn reopen(&self) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Entry::Reopen) {
            // A mark that is there already says the same.
            let _ = self.late_reopen.try_send(());
        }
    }

    /// Writes what is there and ends. A log that is not written within [`LOG_END_TIME_MAX`] is left.
    pub(crate) fn end(self) {
        const PAUSE: Duration = Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        while let Err(TrySendError::Full(_)) = self.sender.try_send(Entry::End) {
            if waited >= LOG_END_TIME_MAX {
                return;
            }
            std::thread::sleep(PAUSE);
            waited += PAUSE;
        }
        let left = LOG_END_TIME_MAX.saturating_sub(waited);
        if self.ended.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
            // A panic of the log has been reported by its thread.
            let _ = self.thread.join();
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Each write is one line.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Entry::Line(line.to_vec())).is_err() {
            // Full: a mark of an earlier loss says it already.
            let _ = self.lost.try_send(());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Output {
    File(File, PathBuf),
    Stderr,
}

struct Writer {
    entries: Receiver<Entry>,
    losses: Receiver<()>,
    late_reopens: Receiver<()>,
    output: Output,
    buffer: Vec<u8>,
    /// Whether it was said that the log cannot be written.
    failed: bool,
}

impl Writer {
    fn run(mut self) {
        while let Ok(entry) = self.entries.recv() {
            let mut next = Ok(entry);
            while let Ok(entry) = next {
                match entry {
                    Entry::Line(line) => self.buffer.extend(line),
                    Entry::Reopen => self.reopen(),
                    Entry::End => return self.write(),
                }
                next = if self.buffer.len() < LOG_WRITE_BYTES {
                    self.entries.try_recv()
                } else {
                    Err(TryRecvError::Empty)
                };
            }
            self.write();
        }
    }

    fn write(&mut self) {
        if self.losses.try_recv().is_ok() {
            self.buffer.extend(b"(lines are missing here: the log could not keep up)\n");
        }
        let written = match &mut self.output {
            Output::File(file, _) => file.write_all(&self.buffer),
            Output::Stderr => io::stderr().write_all(&self.buffer),
        };
        self.buffer.clear();
        if let (Err(error), Output::File(_, path), false) = (&written, &self.output, self.failed) {
            complain(format_args!("skyharbor: cannot write {}: {error}", path.display()));
        }
        self.failed = written.is_err();
        if self.late_reopens.try_recv().is_ok() {
            self.open_again();
        }
    }

    fn reopen(&mut self) {
        self.write();
        self.open_again();
    }

    fn open_again(&mut self) {
        if let Output::File(file, path) = &mut self.output {
            match open(path) {
                Ok(opened) => *file = opened,
                Err(error) => {
                    let line = format!("cannot open {} again, writing on: {error}\n", path.display());
                    self.buffer.extend(line.into_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn lines_go_to_the_file_that_the_path_names_after_reopen() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let log = Log::start(Some(&path)).unwrap();
        let mut lines = log.lines.clone();
        lines.write_all(b"one\n").unwrap();
        fs::rename(&path, &moved).unwrap();
        lines.write_all(b"two\n").unwrap();
        log.reopen();
        lines.write_all(b"three\n").unwrap();
        log.end();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
    }

    #[test]
    fn a_log_that_cannot_keep_up_loses_lines_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (sender, entries) = mpsc::sync_channel(2);
        let (lost, losses) = mpsc::sync_channel(1);
        let mut lines = Lines { sender: sender.clone(), lost };
        for _ in 0..5 {
            lines.write_all(b"x\n").unwrap();
        }
        let output = Output::File(open(&path).unwrap(), path.clone());
        drop((sender, lines));
        let (_, late_reopens) = mpsc::sync_channel(1);
        Writer { entries, losses, late_reopens, output, buffer: Vec::new(), failed: false }.run();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "x\nx\n(lines are missing here: the log could not keep up)\n");
    }

    /// A log at a pipe, which is full as long as nobody reads it.
    #[test]
    fn a_log_that_is_stuck_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let mut reader = File::options().read(true).write(true).open(&path).unwrap();
        let log = Log::start(Some(&path)).unwrap();
        let mut lines = log.lines.clone();
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        while log.sender.try_send(Entry::Line(line.clone())).is_ok() {}
        log.reopen();
        log.reopen();
        lines.write_all(&line).unwrap();
        log.end();
        let mut first = [0; 4];
        io::Read::read_exact(&mut reader, &mut first).unwrap();
        assert_eq!(&first, b"xxxx");
    }

    #[test]
    fn a_reopen_that_found_no_room_is_done_later() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let (sender, entries) = mpsc::sync_channel(8);
        let (_, losses) = mpsc::sync_channel(1);
        let (late_reopen, late_reopens) = mpsc::sync_channel(1);
        let output = Output::File(open(&path).unwrap(), path.clone());
        fs::rename(&path, &moved).unwrap();
        let long = "a line that fills the buffer".repeat(LOG_WRITE_BYTES / 8).into_bytes();
        sender.send(Entry::Line(long.clone())).unwrap();
        late_reopen.send(()).unwrap();
        sender.send(Entry::Line(b"new\n".to_vec())).unwrap();
        drop(sender);
        Writer { entries, losses, late_reopens, output, buffer: Vec::new(), failed: false }.run();
        assert_eq!(fs::read(&moved).unwrap(), long);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_an_error() {
        assert!(Log::start(Some(Path::new("/nowhere/at/all"))).is_err());
    }
}
