//! Host names become addresses on a thread of their own: the system's resolver may take half a minute.
//!
//! ```text
//!  I/O thread  ── Question ──►  resolver thread: getaddrinfo
//!              ◄── Answer ────  and a ring at the poller
//! ```
//!
//! The I/O thread never waits for an answer; its own deadline ends the attempt, and a later answer is dropped. A question
//! that was given up while others were being asked is not asked any more: a name that takes long to fail, dialled again and
//! again, would otherwise keep the resolver from all others.

use super::bell::PollerBell;
use super::reactor::Key;
use crate::clock::Instant;
use crate::limits::{ADDRESSES_MAX, QUESTIONS_MAX};
use crate::sync::Bell;
use crate::sync::channel::{self, Receiver, Sender, TryRecvError};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// The addresses of one name, in the system's order.
pub(super) type Addresses = Vec<SocketAddr>;

/// A question: the addresses of a host.
pub(super) struct Question {
    pub(super) key: Key,
    pub(super) host: String,
    pub(super) port: u16,
    /// Nobody waits for the answer after this.
    pub(super) by: Instant,
}

/// What became of a question.
pub(super) struct Answer {
    pub(super) key: Key,
    pub(super) addresses: Result<Addresses, io::ErrorKind>,
}

/// The resolver's seat; it waits for its thread.
pub struct Resolver {
    questions: Receiver<Question>,
    answers: Sender<Answer>,
    bell: PollerBell,
}

impl Resolver {
    /// Resolves until the I/O thread is gone. Call it on a thread of its own, which nobody should have to wait for: a
    /// question that is being asked cannot be broken off.
    pub fn run(self) {
        while let Ok(Question { key, host, port, by }) = self.questions.recv() {
            let is_late = by <= Instant::now();
            let addresses = if is_late { Err(io::ErrorKind::TimedOut) } else { resolve(&host, port) };
            if self.answers.send(Answer { key, addresses }).is_err() {
                return;
            }
            self.bell.ring();
        }
    }
}

fn resolve(host: &str, port: u16) -> Result<Addresses, io::ErrorKind> {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Addresses = addresses.take(ADDRESSES_MAX).collect();
            if addresses.is_empty() { Err(io::ErrorKind::NotFound) } else { Ok(addresses) }
        }
        Err(error) => Err(error.kind()),
    }
}

/// The I/O thread's side.
pub(super) struct Inquiry {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    open: usize,
}

impl Inquiry {
    pub(super) fn new(bell: &PollerBell) -> (Self, Resolver) {
        let (questions, asked) = channel::bounded(QUESTIONS_MAX);
        let (answered, answers) = channel::bounded(QUESTIONS_MAX);
        let resolver = Resolver { questions: asked, answers: answered, bell: bell.clone() };
        (Self { questions, answers, open: 0 }, resolver)
    }

    /// Asks.
    ///
    /// # Errors
    /// `ResourceBusy`: [`QUESTIONS_MAX`] are open; `NotConnected`: the resolver's thread is gone.
    pub(super) fn ask(&mut self, question: Question) -> Result<(), io::ErrorKind> {
        if self.open >= QUESTIONS_MAX {
            return Err(io::ErrorKind::ResourceBusy);
        }
        self.questions.try_send(question).map_err(|_| io::ErrorKind::NotConnected)?;
        self.open += 1;
        Ok(())
    }

    /// The next answer.
    pub(super) fn poll_answer(&mut self) -> Option<Answer> {
        if self.open == 0 {
            return None;
        }
        match self.answers.try_recv() {
            Ok(answer) => {
                self.open -= 1;
                Some(answer)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.open = 0;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harbor::Listener;

    fn question(listener: Listener, host: &str) -> Question {
        Question { key: Key::listener(listener), host: host.into(), port: 2526, by: Instant::FAR }
    }

    #[test]
    fn names_are_resolved_and_unknown_ones_fail_and_those_given_up_are_not_asked() {
        let bell = PollerBell::new().unwrap();
        let (mut inquiry, resolver) = Inquiry::new(&bell);
        inquiry.ask(question(Listener::Links, "localhost")).unwrap();
        inquiry.ask(question(Listener::Master, "no.such.name.invalid")).unwrap();
        inquiry.ask(Question { by: Instant::default(), ..question(Listener::Links, "localhost") }).unwrap();
        let Inquiry { questions, answers, .. } = inquiry;
        drop(questions);
        resolver.run();
        let known = answers.try_recv().unwrap();
        assert!(known.addresses.unwrap().iter().all(|at| at.ip().is_loopback() && at.port() == 2526));
        let unknown = answers.try_recv().unwrap();
        assert!(unknown.key == Key::listener(Listener::Master) && unknown.addresses.is_err());
        let given_up = answers.try_recv().unwrap();
        assert_eq!(given_up.addresses, Err(io::ErrorKind::TimedOut), "not asked any more");
    }

    #[test]
    fn questions_are_bounded_and_end_with_their_resolver() {
        let bell = PollerBell::new().unwrap();
        let (mut inquiry, resolver) = Inquiry::new(&bell);
        let ask = |inquiry: &mut Inquiry| inquiry.ask(question(Listener::Links, "localhost"));
        for _ in 0..QUESTIONS_MAX {
            ask(&mut inquiry).unwrap();
        }
        assert_eq!(ask(&mut inquiry), Err(io::ErrorKind::ResourceBusy));
        drop(resolver);
        assert!(inquiry.poll_answer().is_none());
        assert_eq!(ask(&mut inquiry), Err(io::ErrorKind::NotConnected));
    }
}
