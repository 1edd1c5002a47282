//! The other end of the control socket.

use super::lines::read_line;
use super::protocol::{Answer, Request};
use super::socket;
use crate::limits::{ANSWER_BYTES_MAX, CLIENT_PATIENCE};
use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a running node was not asked.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// Nobody answers at this path.
    Connect(PathBuf, io::Error),
    /// The connection broke, or nothing came in time.
    Io(io::Error),
    /// What came is no answer.
    Answer(serde_json::Error),
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(path, error) if took_too_long(error) => {
                write!(out, "the node at {} takes no connections", path.display())
            }
            Self::Connect(path, error) => write!(out, "no node answers at {}: {error}", path.display()),
            Self::Io(error) if took_too_long(error) => write!(out, "the node did not answer in time"),
            Self::Io(error) => write!(out, "the connection to the node broke: {error}"),
            Self::Answer(error) => write!(out, "the node's answer is malformed: {error}"),
        }
    }
}

impl std::error::Error for ClientError {}

fn took_too_long(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Asks the node at `path` and waits for its answer, at most `patience`.
///
/// # Errors
/// There is no node, or no answer.
pub(crate) fn ask(path: &Path, request: &Request, patience: Duration) -> Result<Answer, ClientError> {
    let connected = socket::connect(path, CLIENT_PATIENCE);
    let stream = connected.map_err(|error| ClientError::Connect(path.to_owned(), error))?;
    let line = exchange(&stream, request, patience).map_err(ClientError::Io)?;
    serde_json::from_slice(&line).map_err(ClientError::Answer)
}

fn exchange(stream: &UnixStream, request: &Request, patience: Duration) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    // A node that refuses the line in the middle of it has an answer to it all the same.
    let written = (&*stream).write_all(&line);
    match read_line(&mut BufReader::new(stream), ANSWER_BYTES_MAX)? {
        Some(answer) => Ok(answer),
        None => Err(written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
    }
}
