//! What the services do: register, call, send, answer, give up, die.

use super::node::{message, name_of, number_of};
use super::oracle::{Outcome, Uid};
use super::world::{Due, World};
use crate::message::{
    Body, CallError, Envelope, Handle, HarborAnswer, HarborRequest, Kind, Name, Session, Waiter,
};
use std::time::Duration;

/// The session under which a service asks for its own name; calls count from 1 and never get here.
const REGISTER_SESSION: Session = Session::MAX;

/// How long a hasty caller waits.
const PATIENCE: Duration = Duration::from_millis(15);

impl World {
    pub(super) fn register(&mut self, uid: Uid) {
        if let Some((source, _)) = self.service_handle(uid) {
            let waiter = Waiter { source, session: REGISTER_SESSION };
            let request = HarborRequest::Register { name: name_of(uid), handle: source, waiter };
            self.input(uid.node, uid.life, |harbor, now| harbor.handle_request(now, request));
        }
    }

    /// The handle and name of a living service.
    fn service_handle(&mut self, uid: Uid) -> Option<(Handle, Name)> {
        let node = &mut self.nodes[uid.node];
        let handle = node.handle_of(uid.local);
        let lives = node.life == uid.life && node.harbor.is_some();
        node.service(uid.local).filter(|_| lives).map(|service| (handle, service.name))
    }

    /// A service calls or sends, or rarely dies.
    pub(super) fn act(&mut self, uid: Uid) {
        let Some((source, _)) = self.service_handle(uid) else { return };
        if self.healing {
            return;
        }
        let next = self.around(self.plan.act_every);
        self.after(next, Due::Act { uid });
        if self.rng.chance(1) && self.plan.fault_every.is_some() {
            return self.kill_service(uid);
        }
        for _ in 0..1 + self.rng.index(3) {
            self.speak(uid, source);
        }
    }

    fn speak(&mut self, uid: Uid, source: Handle) {
        let target = self.target();
        let name = target.map_or_else(nobody, name_of);
        let is_call = self.rng.chance(60);
        let number = self.oracle.sent(uid, target, is_call);
        let padding = self.rng.in_range(0..self.plan.padding_max) as usize;
        let session = if is_call { self.open_call(uid, number) } else { Session::NONE };
        let known = self.nodes[uid.node].names.get(&name).copied();
        let known = known.filter(|_| self.rng.chance(50));
        let dest = known.unwrap_or_default();
        let envelope = message(source, dest, session, Kind::LUA, number, padding);
        self.input(uid.node, uid.life, |harbor, now| match known {
            Some(_) => harbor.handle_send(now, envelope),
            None => harbor.handle_request(now, HarborRequest::Send { name, envelope }),
        });
    }

    /// Any service of the current lives, also of nodes that are dead or not there yet; sometimes nobody.
    fn target(&mut self) -> Option<Uid> {
        let node = self.rng.index(self.nodes.len());
        let services = &self.nodes[node].services;
        if services.is_empty() || self.rng.chance(3) {
            return None;
        }
        Some(services[self.rng.index(services.len())].uid)
    }

    fn open_call(&mut self, uid: Uid, number: u64) -> Session {
        let is_hasty = self.rng.chance(15);
        let Some(service) = self.nodes[uid.node].service(uid.local) else { return Session::NONE };
        let session = service.next_session();
        service.open.insert(session, number);
        if is_hasty {
            self.after(PATIENCE, Due::GiveUp { uid, session });
        }
        session
    }

    pub(super) fn give_up(&mut self, uid: Uid, session: Session) {
        let Some((source, _)) = self.service_handle(uid) else { return };
        let Some(service) = self.nodes[uid.node].service(uid.local) else { return };
        if let Some(number) = service.open.remove(&session) {
            self.oracle.ended(number, Outcome::GaveUp);
            let request = HarborRequest::Forget { waiter: Waiter { source, session } };
            self.input(uid.node, uid.life, |harbor, now| harbor.handle_request(now, request));
        }
    }

    /// A service ends: messages to it find nobody from now on.
    fn kill_service(&mut self, uid: Uid) {
        if let Some(service) = self.nodes[uid.node].service(uid.local) {
            service.alive = false;
            for number in std::mem::take(&mut service.open).into_values() {
                self.oracle.ended(number, Outcome::GaveUp);
            }
        }
    }

    /// The machine hands a message to a service.
    pub(super) fn deliver(&mut self, node: usize, envelope: Envelope) {
        let own = self.nodes[node].id;
        let is_own_word = matches!(envelope.body, Body::Failure(_));
        if envelope.source.is_remote(own) && !is_own_word {
            self.oracle.heard(node, envelope.source.harbor());
        }
        assert_eq!(envelope.dest.harbor(), own, "node {node} delivers {envelope:?}");
        let Some(service) = self.nodes[node].service(envelope.dest.local()) else {
            return self.nodes[node].undeliverable.push(envelope);
        };
        let uid = service.uid;
        match envelope.kind {
            Kind::RESPONSE | Kind::ERROR => self.ended(uid, &envelope),
            _ => self.requested(uid, &envelope),
        }
    }

    /// An answer or an error: one of the calls of this service is over.
    fn ended(&mut self, uid: Uid, envelope: &Envelope) {
        let Some(service) = self.nodes[uid.node].service(uid.local) else { return };
        // Who gave up is not interested any more; session 0 says that a service is dead.
        let Some(number) = service.open.remove(&envelope.session) else { return };
        let outcome = match (&envelope.body, envelope.kind) {
            (Body::Failure(CallError::NoService | CallError::Dropped), _) => Outcome::Refused,
            (Body::Failure(reason), _) => Outcome::Failed(*reason),
            (Body::Empty, Kind::ERROR) => Outcome::Refused,
            (Body::Empty | Body::Bytes(_) | Body::Typed(_), _) => {
                assert_eq!(number_of(envelope), Some(number), "the answer belongs to another call");
                Outcome::Answered
            }
        };
        if outcome == Outcome::Refused {
            self.oracle.refused(number, envelope.source.local());
        }
        self.oracle.ended(number, outcome);
    }

    /// A request: it is answered at once, later, or with an error.
    fn requested(&mut self, uid: Uid, envelope: &Envelope) {
        let Some(number) = number_of(envelope) else {
            panic!("{uid:?} got bytes that nobody sent: {envelope:?}")
        };
        self.oracle.delivered(uid, number);
        if envelope.session.wants_answer() {
            let delay = if self.rng.chance(50) { Duration::from_nanos(1) } else { self.delay() * 4 };
            let (to, session) = (envelope.source, envelope.session);
            self.after(delay, Due::Reply { uid, to, session, number });
        }
    }

    pub(super) fn reply(&mut self, uid: Uid, to: Handle, session: Session, number: u64) {
        let Some((source, _)) = self.service_handle(uid) else {
            return self.forget_request(uid, to, session);
        };
        let is_refused = self.rng.chance(5);
        let padding = self.rng.in_range(0..self.plan.padding_max) as usize;
        let envelope = if is_refused {
            Envelope::error(source, to, session, CallError::Dropped)
        } else {
            message(source, to, session, Kind::RESPONSE, number, padding)
        };
        self.input(uid.node, uid.life, |harbor, now| harbor.handle_send(now, envelope));
    }

    /// The callee ended with a request unanswered: its runtime says so, if it lives.
    fn forget_request(&mut self, uid: Uid, to: Handle, session: Session) {
        let source = self.nodes[uid.node].handle_of(uid.local);
        let error = Envelope::error(source, to, session, CallError::Dropped);
        self.input(uid.node, uid.life, |harbor, now| harbor.handle_send(now, error));
    }

    pub(super) fn answered(&mut self, node: usize, waiter: Waiter, answer: &HarborAnswer) {
        assert_eq!(waiter.session, REGISTER_SESSION, "node {node}: nobody asked for {answer:?}");
        let is_registered = *answer == HarborAnswer::Registered;
        assert!(is_registered, "node {node}: {waiter:?} got {answer:?} for a name that only it takes");
    }
}

/// A name that nobody ever takes.
fn nobody() -> Name {
    match Name::new(b"NOBODY") {
        Ok(name) => name,
        Err(error) => panic!("{error}"),
    }
}
