//! The node's end of the control socket: a thread that accepts, and one for each connection.

use super::lines::read_line;
use super::protocol::{Answer, Failure, Request};
use super::socket::{self, Bound};
use crate::json;
use crate::limits::{
    ANSWER_BYTES_MAX, ANSWER_TIME_MAX, CLIENT_PATIENCE, CONTROL_CONNECTIONS_MAX, REQUEST_BYTES_MAX,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Answers one request; may wait, for no longer than the request's own deadline or its client.
pub(crate) type Respond = dyn Fn(Request, Client<'_>) -> Answer + Send + Sync;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client<'a>(&'a UnixStream);

impl Client<'_> {
    /// Whether nobody will read the answer. A client that only says no more still reads.
    pub(crate) fn is_gone(self) -> bool {
        let mut ends = [PollFd::new(self.0, PollFlags::empty())];
        // What cannot be asked is found out by writing.
        let asked = poll(&mut ends, Some(&Timespec::default()));
        asked.is_ok() && ends[0].revents().contains(PollFlags::HUP)
    }
}

/// A running control socket.
#[derive(Debug)]
pub(crate) struct Server {
    acceptor: JoinHandle<()>,
    /// Dropped to end the acceptor.
    stop: Sender<()>,
    wake: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Listens at `path`.
    ///
    /// # Errors
    /// Somebody else answers there, or the system's reason.
    pub(crate) fn start(path: &Path, respond: Arc<Respond>) -> io::Result<Self> {
        Self::start_with(path, respond, ANSWER_TIME_MAX)
    }

    fn start_with(path: &Path, respond: Arc<Respond>, answer_time: Duration) -> io::Result<Self> {
        let bound = Bound::new(path)?;
        let wake = bound.listener.try_clone()?;
        let (stop, stopped) = mpsc::channel();
        let path = bound.path().to_owned();
        let (open, all_closed) = mpsc::channel();
        let connections = Vec::new();
        let acceptor = Acceptor { bound, stopped, respond, connections, open, all_closed, answer_time };
        let acceptor = Builder::new().name("control".to_owned()).spawn(move || acceptor.run())?;
        Ok(Self { acceptor, stop, wake, path })
    }

    /// Ends every connection after the request that it is working on, and removes the socket. A client that does not
    /// read its answer, or not fast enough, is left after [`ANSWER_TIME_MAX`].
    pub(crate) fn stop(self) {
        let Self { acceptor, stop, wake, path } = self;
        drop(stop);
        // Either wakes the acceptor: the connection everywhere, the shutdown on Linux even if the file is gone.
        let woken = socket::connect(&path, CLIENT_PATIENCE).is_ok();
        let shut = socket2::SockRef::from(&wake).shutdown(Shutdown::Both).is_ok();
        if woken || shut {
            // A panic there has been reported by its thread.
            let _ = acceptor.join();
        }
    }
}

struct Acceptor {
    bound: Bound,
    stopped: Receiver<()>,
    respond: Arc<Respond>,
    connections: Vec<(UnixStream, JoinHandle<()>)>,
    /// Every connection's thread holds a clone.
    open: Sender<()>,
    /// Disconnected when they are gone.
    all_closed: Receiver<()>,
    /// How long a client may take to read.
    answer_time: Duration,
}

impl Acceptor {
    fn run(mut self) {
        const PAUSE: Duration = Duration::from_millis(100);
        loop {
            let accepted = self.bound.listener.accept();
            if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                break;
            }
            let served = accepted.and_then(|(stream, _)| self.serve(stream));
            // Out of descriptors or threads: others may end soon.
            let paused = served.is_err();
            if paused && self.stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                break;
            }
        }
        self.close();
    }

    fn close(self) {
        let Self { connections, open, all_closed, answer_time, .. } = self;
        let shut = |how| connections.iter().for_each(|(stream, _)| drop(stream.shutdown(how)));
        // Each is gone, or reads the end of its stream after the answer that it is working on.
        shut(Shutdown::Read);
        drop(open);
        if all_closed.recv_timeout(answer_time) == Err(RecvTimeoutError::Timeout) {
            shut(Shutdown::Both);
        }
        for (_, thread) in connections {
            let _ = thread.join();
        }
    }

    fn serve(&mut self, stream: UnixStream) -> io::Result<()> {
        self.connections.retain(|(_, thread)| !thread.is_finished());
        stream.set_write_timeout(Some(self.answer_time))?;
        if self.connections.len() >= CONTROL_CONNECTIONS_MAX {
            let text = format!("the control socket has {CONTROL_CONNECTIONS_MAX} connections already");
            // Whoever does not listen any more needs no answer.
            let _ = write_answer(&mut &stream, &Answer::Error(Failure::new("busy", text)));
            return Ok(());
        }
        let (respond, connection) = (Arc::clone(&self.respond), stream.try_clone()?);
        let open = self.open.clone();
        let thread = Builder::new().name("control-client".to_owned()).spawn(move || {
            let _open = open;
            // A client that breaks its connection has no need of a reason.
            let _ = converse(&connection, &*respond);
            let _ = connection.shutdown(Shutdown::Both);
        })?;
        self.connections.push((stream, thread));
        Ok(())
    }
}

/// Answers the requests of one connection until it ends.
fn converse(stream: &UnixStream, respond: &Respond) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let line = match read_line(&mut reader, REQUEST_BYTES_MAX) {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return write_answer(&mut &*stream, &Answer::Error(Failure::new("request", error)));
            }
            Err(error) => return Err(error),
        };
        let answer = request_of(&line).map_or_else(Answer::Error, |request| respond(request, Client(stream)));
        write_answer(&mut &*stream, &answer)?;
    }
}

fn request_of(line: &[u8]) -> Result<Request, Failure> {
    let request = serde_json::from_slice(line)
        .map_err(|error| Failure::new("request", format!("not a request: {error}")))?;
    json::find_unfit_integer(line).map_or(Ok(request), |error| Err(Failure::new("request", error)))
}

fn write_answer(stream: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    if line.len() > ANSWER_BYTES_MAX {
        let text = format!("the reply is {} bytes of JSON, at most {ANSWER_BYTES_MAX} are shown", line.len());
        line = serde_json::to_vec(&Answer::Error(Failure::new("too_large", text)))?;
    }
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Call;
    use serde_json::json;
    use std::io::{BufRead, Read};

    /// A server that echoes arguments, and waits for a word from the test if it is called as WAIT.
    fn server(path: &Path) -> (Server, Sender<()>) {
        server_with(path, ANSWER_TIME_MAX)
    }

    fn server_with(path: &Path, answer_time: Duration) -> (Server, Sender<()>) {
        let (go, gate) = mpsc::channel();
        let gate = parking_lot::Mutex::new(gate);
        let respond = move |request, _: Client<'_>| match request {
            Request::Call(Call { to, arguments, .. }) => {
                if to == "WAIT" {
                    let _ = gate.lock().recv();
                }
                Answer::Reply(arguments)
            }
            Request::Names {} => Answer::Error(Failure::new("none", "no names here")),
        };
        (Server::start_with(path, Arc::new(respond), answer_time).unwrap(), go)
    }

    fn line_of(stream: &UnixStream) -> String {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn requests_of_a_connection_are_answered_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let (server, _go) = server(&path);
        let stream = UnixStream::connect(&path).unwrap();
        let large = b"{\"call\":{\"to\":\"A\",\"arguments\":[18446744073709551616]}}\n";
        (&stream)
            .write_all(b"{\"call\":{\"to\":\"A\",\"arguments\":[1]}}\nrubbish\n{\"names\":{}}\n")
            .unwrap();
        (&stream).write_all(large).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let lines: Vec<_> = BufReader::new(&stream).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(lines[0], json!({"reply": [1]}).to_string());
        assert!(lines[1].contains("not a request"), "{lines:?}");
        assert!(lines[2].contains("no names here"), "{lines:?}");
        assert!(lines[3].contains("18446744073709551616 does not fit"), "{lines:?}");
        server.stop();
        assert!(!path.exists());
    }

    #[test]
    fn oversize_lines_end_their_connection_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let (server, _go) = server(&path);
        let stream = UnixStream::connect(&path).unwrap();
        let mut long = stream.try_clone().unwrap();
        let writer =
            Builder::new().spawn(move || long.write_all(&vec![b'x'; REQUEST_BYTES_MAX + 4096])).unwrap();
        assert!(line_of(&stream).contains("longer than"));
        let mut rest = Vec::new();
        let _ = (&stream).read_to_end(&mut rest);
        let _ = writer.join();

        let stream = UnixStream::connect(&path).unwrap();
        (&stream).write_all(b"{\"call\":{\"to\":\"A\"}}\n").unwrap();
        assert_eq!(line_of(&stream), "{\"reply\":[]}\n");
        server.stop();
    }

    #[test]
    fn connections_are_bounded_and_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let (server, go) = server(&path);
        let streams: Vec<_> =
            (0..CONTROL_CONNECTIONS_MAX).map(|_| UnixStream::connect(&path).unwrap()).collect();
        for stream in &streams {
            (&*stream).write_all(b"{\"call\":{\"to\":\"A\"}}\n").unwrap();
            assert_eq!(line_of(stream), "{\"reply\":[]}\n");
        }
        let one_more = UnixStream::connect(&path).unwrap();
        assert!(line_of(&one_more).contains("busy"));
        drop(streams);
        drop(go);
        // The threads of the closed connections end soon, not at once.
        let free = (0..10_000).any(|_| {
            let stream = UnixStream::connect(&path).unwrap();
            let _ = (&stream).write_all(b"{\"call\":{\"to\":\"A\"}}\n");
            line_of(&stream).contains("reply")
        });
        assert!(free);
        server.stop();
    }

    #[test]
    fn a_client_is_gone_when_it_has_closed_not_when_it_says_no_more() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(!Client(&ours).is_gone());
        theirs.shutdown(Shutdown::Write).unwrap();
        assert!(!Client(&ours).is_gone());
        drop(theirs);
        assert!(Client(&ours).is_gone());
    }

    #[test]
    fn stop_waits_for_a_slow_reader_only_so_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let (server, _go) = server_with(&path, Duration::from_millis(100));
        let slow = UnixStream::connect(&path).unwrap();
        // More than a socket holds: writing the answer goes on as long as somebody reads it.
        let text = "x".repeat(REQUEST_BYTES_MAX - 100);
        let request = json!({"call": {"to": "A", "arguments": [text]}}).to_string() + "\n";
        (&slow).write_all(request.as_bytes()).unwrap();
        let mut drip = [0; 1];
        (&slow).read_exact(&mut drip).unwrap();
        let (stopping, stopped) = mpsc::channel::<()>();
        let stop = Builder::new()
            .spawn(move || {
                server.stop();
                drop(stopping);
            })
            .unwrap();
        // Each of the server's writes gets somewhere long before its own time is over.
        let mut read = 0;
        let mut chunk = [0; 32 << 10];
        while stopped.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            read += (&slow).read(&mut chunk).unwrap();
        }
        stop.join().unwrap();
        assert!(read < text.len(), "the server was done with it before the end");
        assert!(!path.exists());
    }

    #[test]
    fn stop_lets_the_request_in_work_end_and_closes_idle_connections() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let (server, go) = server(&path);
        let idle = UnixStream::connect(&path).unwrap();
        let busy = UnixStream::connect(&path).unwrap();
        (&busy).write_all(b"{\"call\":{\"to\":\"WAIT\",\"arguments\":[7]}}\n").unwrap();
        // Once the next connection is answered, the ones before it have their threads.
        let last = UnixStream::connect(&path).unwrap();
        (&last).write_all(b"{\"call\":{\"to\":\"A\"}}\n").unwrap();
        assert_eq!(line_of(&last), "{\"reply\":[]}\n");
        let stopping = Builder::new().spawn(move || server.stop()).unwrap();
        assert_eq!(line_of(&idle), "", "closed");
        go.send(()).unwrap();
        assert_eq!(line_of(&busy), "{\"reply\":[7]}\n");
        stopping.join().unwrap();
    }
}
