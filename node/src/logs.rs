//! The log: lines of any thread, written by one of its own so that a slow disk stops nobody.

use crate::limits::{LOG_LINES_MAX, LOG_WRITE_BYTES};
use crate::outcome::complain;
use skyharbor::node::LoggerLevel;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::{Builder, JoinHandle};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The running log.
#[derive(Debug)]
pub(crate) struct Log {
    sender: SyncSender<Entry>,
    thread: JoinHandle<()>,
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
        let writer = Writer { entries, losses, output, buffer: Vec::new(), failed: false };
        let thread = Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        let lines = Lines { sender: sender.clone(), lost };
        Ok(Self { sender, thread, lines })
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

    /// Opens the file again: somebody moved it away.
    pub(crate) fn reopen(&self) {
        // The thread ends after its `End` only.
        let _ = self.sender.send(Entry::Reopen);
    }

    /// Writes what is there and ends.
    pub(crate) fn end(self) {
        let _ = self.sender.send(Entry::End);
        // A panic of the log has been reported by its thread.
        let _ = self.thread.join();
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
    }

    fn reopen(&mut self) {
        self.write();
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
        Writer { entries, losses, output, buffer: Vec::new(), failed: false }.run();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "x\nx\n(lines are missing here: the log could not keep up)\n");
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_an_error() {
        assert!(Log::start(Some(Path::new("/nowhere/at/all"))).is_err());
    }
}
